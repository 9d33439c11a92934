"""What every command shares: flags, colours, one-line errors, exit codes, progress bars, threads, files written whole."""
import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

_quiet = False          # set by --quiet


class UserError(Exception):
    """Something the user can mend. The message is one sentence: what is wrong, where, and what to do."""


class HelpFormatter(argparse.HelpFormatter):
    """Help of at most 100 columns, with a line for most flags."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=30, width=min(100, shutil.get_terminal_size().columns))

    def _format_action_invocation(self, action):
        if isinstance(action, argparse.BooleanOptionalAction):
            return action.option_strings[0].replace("--", "--[no-]")
        return super()._format_action_invocation(action)


class CommandParser(argparse.ArgumentParser):
    """An argument parser with the flag --quiet."""

    def __init__(self, **options):
        module = sys.modules["__main__"].__spec__       # None for a script that was not started with python3 -m
        super().__init__(**{"prog": module and f"python3 -m {module.name}", "formatter_class": HelpFormatter} | options)
        self.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")

    def parse_args(self, words=None):
        global _quiet
        arguments = super().parse_args(words)
        _quiet = arguments.quiet
        del arguments.quiet
        return arguments


def say(text, colour=None):
    """Print a line, unless --quiet was given; progress bars stay below it."""
    if not _quiet:
        tqdm.write(_coloured(text, colour, sys.stdout))
        sys.stdout.flush()          # who watches a log file sees it now


def _coloured(text, colour, stream):
    """The text in that colour where `stream` is a terminal that shows some and NO_COLOR (no-color.org) is not set."""
    if colour is None or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{dict(red=31, green=32, yellow=33)[colour]}m{text}\033[0m"


def run_command(main, when_stopped="nothing was written"):
    """Call `main()` as a program: exit 0 when done, 1 on a UserError, 130 when interrupted, no tracebacks.

    Wrong flags exit with 2 (argparse). SIGTERM is treated like Ctrl-C, so that a batch system's stop is a clean one.
    `when_stopped` tells the interrupted user what is left of the work and how to go on.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except UserError as error:
        sys.exit(f"{_coloured('error:', 'red', sys.stderr)} {error}")
    except KeyboardInterrupt:
        print(f"{_coloured('stopped:', 'yellow', sys.stderr)} {when_stopped}", file=sys.stderr)
        sys.exit(130)


def progress(iterable, description, unit="batch", total=None):
    """A tqdm bar on standard error with the time left; none with --quiet, or where that is no terminal.

    `total` is for an iterable that has no length.
    """
    return tqdm(iterable, desc=description, unit=unit, total=total, leave=False, disable=_quiet or None,
                dynamic_ncols=True)


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


def duration(seconds):
    """Seconds as a person says it: 45 s, 12 min, 3 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


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
