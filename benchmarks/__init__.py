"""Speed, measured side by side; each command prints a ratio."""
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
