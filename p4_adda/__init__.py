"""Problem 4: ADDA on digits."""
from common import requirements

requirements.demand()       # before torch is imported
