"""matplotlib without the user's settings: `from common.plain_matplotlib import matplotlib`, wherever it is needed.

On import it reads MPLBACKEND, where a notebook may name a backend that is not installed here, and the first matplotlibrc of the
current folder, MATPLOTLIBRC and the home folder. Some of these end the import, or have it warn of each line.
"""
import contextlib
import os
import sys


@contextlib.contextmanager
def _on_its_own():
    before = {name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ |= {"MPLBACKEND": "", "MATPLOTLIBRC": os.devnull}
    # a file in the current folder comes before MATPLOTLIBRC
    folder = os.getcwd() if os.path.exists("matplotlibrc") else None
    if folder:
        os.chdir(os.sep)
    try:
        yield
    finally:
        if folder:
            os.chdir(folder)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


with _on_its_own():
    import matplotlib
    import matplotlib.figure
    import matplotlib.image
    import matplotlib.style

# our figures need no backend, but those that a notebook draws after them do
if "matplotlib.pyplot" not in sys.modules:
    with contextlib.suppress(KeyError, ValueError):
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]
