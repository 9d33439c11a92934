"""Problem 2: a DCGAN on faces."""
from common import requirements

requirements.demand()       # before torch is imported
