"""Problem 3: DANN on digits."""
from common import requirements

requirements.demand()       # before torch is imported
