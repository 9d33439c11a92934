"""What all problems share; README.md says in "Where things are" where it lies."""
import logging

# Before it is imported anywhere: where HOME cannot be written to, it works all the same, but says so at length
logging.getLogger("matplotlib").setLevel(logging.ERROR)
