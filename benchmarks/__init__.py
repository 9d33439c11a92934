"""Speed, measured side by side; each command prints a ratio."""
from common import requirements

requirements.demand()       # before torch is imported
