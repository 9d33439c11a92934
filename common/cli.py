"""What every command shares: one-line errors, exit codes, progress bars, files that appear whole or not at all."""
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm


class UserError(Exception):
    """Something the user can mend. The message is one sentence: what is wrong, where, and what to do."""


def run_command(main, when_stopped="nothing was written"):
    """Call `main()` as a program: exit 0 when done, 1 on a UserError, 130 when interrupted, no tracebacks.

    Wrong flags exit with 2 (argparse). SIGTERM is treated like Ctrl-C, so that a batch system's stop is a clean one.
    `when_stopped` tells the interrupted user what is left of the work and how to go on.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(f"stopped: {when_stopped}", file=sys.stderr)
        sys.exit(130)


def progress(iterable, description, unit="batch"):
    """A tqdm bar on standard error, silent when that is no terminal."""
    return tqdm(iterable, desc=description, unit=unit, leave=False, disable=None, dynamic_ncols=True)


@contextlib.contextmanager
def written_whole(path):
    """Give a temporary path beside `path`; on success it is renamed to `path`, on failure removed.

    Raises UserError if the folder of `path` is missing or cannot be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file to write")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    except FileNotFoundError:
        raise UserError(f"the folder {path.parent} does not exist; make it first or write elsewhere") from None
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose a folder you may write to") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; give the usual permissions of a new file
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
