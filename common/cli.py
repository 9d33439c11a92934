"""What every command shares: one-line errors, exit codes, progress bars, threads, files that appear whole or not at all."""
import contextlib
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
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


def progress(iterable, description, unit="batch", total=None):
    """A tqdm bar on standard error, silent when that is no terminal. `total` is for an iterable that has no length."""
    return tqdm(iterable, desc=description, unit=unit, total=total, leave=False, disable=None, dynamic_ncols=True)


def in_threads(work, count, description):
    """Call work(0) … work(count - 1) from several threads behind a progress bar; the first exception ends it.

    Threads suffice for work of Pillow's: it decodes, resizes and encodes outside Python's lock.
    """
    def do(block):
        for i in block:
            work(i)
        return block

    # by blocks, as handing a single small image to a thread takes longer than decoding it
    blocks = [range(start, min(start + 64, count)) for start in range(0, count, 64)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            done = (i for block in pool.map(do, blocks) for i in block)
            for _ in progress(done, description, "image", count):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


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
