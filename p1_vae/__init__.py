"""Problem 1: a VAE on faces."""
from common import requirements

requirements.demand()       # before torch is imported
