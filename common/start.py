"""Runs a module of this repository as `python3 -m` does, but from any folder: nothing is imported from the caller's.

    python3 common/start.py p1_vae.inference OUT.png
"""
import os
import sys

# `-m` puts the current folder first on this path, and a script (but for PYTHONSAFEPATH) its own folder
folder = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [os.path.dirname(folder), *(entry for entry in sys.path if os.path.realpath(entry) != folder)]

import runpy  # noqa: E402

if __name__ == "__main__":
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:       # while the module's packages are imported; later, run_command says what is left
        sys.stderr.write("stopped: nothing was written\n")
        sys.exit(130)
