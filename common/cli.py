"""What every command shares: flags, colours, one-line errors, exit codes, progress bars, threads, locks, texts of numbers."""
import argparse
import contextlib
import errno
import math
import os
import shutil
import signal
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import requirements
from common.errors import UsageError, UserError, one_line

requirements.demand()       # before the first of these packages, which may be missing

from tqdm import tqdm  # noqa: E402

try:
    import fcntl
except ImportError:
    sys.exit("error: this runs on Linux, macOS and WSL, not on Windows itself; install WSL (wsl --install) and run it there")

MOST = 10**9            # for whole numbers on the command line
YES_NO = {"True": "yes", "False": "no"}
STARTED_BY = "HW_STARTED_BY"    # the variable that gives a job (common/runs/jobs.py) the number of the process that started it
_starter = os.getppid() if os.environ.get(STARTED_BY) == str(os.getppid()) else None       # None where this process is no job
_quiet = False          # set by --quiet
_lost = None            # the OSError for which not all was printed
_locks = weakref.WeakSet()      # the files that `lock` gave out
_group = None           # where this process is one of several that work together: their Group (common/training/distributed.py)


def join(group):
    """Be one of several processes: only the first prints, and when they end early, the one with the last word says why."""
    global _group
    _group = group


def is_quiet():
    """Whether this process prints nothing but errors."""
    return _quiet or (_group is not None and _group.rank > 0)


class HelpFormatter(argparse.HelpFormatter):
    """Help of at most 100 columns, with a line for most flags."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=30, width=min(100, shutil.get_terminal_size().columns))

    def _format_action_invocation(self, action):
        if isinstance(action, argparse.BooleanOptionalAction):
            return action.option_strings[0].replace("--", "--[no-]")
        return super()._format_action_invocation(action)


class CommandParser(argparse.ArgumentParser):
    """An argument parser with the flag --quiet, whose errors are one line like all others."""

    def __init__(self, first_group=None, **options):
        # None for a script that was not started with python3 -m; a notebook's may not have it
        module = getattr(sys.modules["__main__"], "__spec__", None)
        name = module and module.name.removesuffix(".__main__")
        super().__init__(**{"prog": name and f"python3 -m {name}", "formatter_class": HelpFormatter,
                            "allow_abbrev": False, "add_help": False} | options)
        self.first_group = self.add_argument_group(first_group) if first_group else self
        self.first_group.add_argument("-h", "--help", action="help", help="show this help message and exit")
        self.first_group.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")

    def parse_args(self, words=None):
        global _quiet
        arguments = super().parse_args(words)
        _quiet = arguments.quiet
        del arguments.quiet
        return arguments

    def print_help(self, file=None):
        write_line(self.format_help().rstrip("\n"), file or sys.stdout)

    def error(self, message):
        if odd := next((word for word in sys.argv[1:] if word.startswith("-") and os.path.lexists(word)), None):
            message += f"; a path must not begin with a dash: write ./{odd}"
        _leave("error:", "red", f"{message}; see --help", UsageError.exit_code)


def number(kind, least, most=MOST):
    def convert(text):
        value = kind(text)
        if not least <= value <= most or value == math.inf:
            bounds = f"from {least} up" if most == math.inf else f"from {least} to {most:,}"
            raise argparse.ArgumentTypeError(f"{text} is not a number {bounds}")
        return value
    convert.__name__ = kind.__name__      # argparse names the type in its own message
    return convert


def any_path(text):
    """A path on the command line, as a Path. Not an empty one, as of a shell's unset variable: for Path, that is the current
    folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give a path")
    return Path(text)


def path_to_write(text):
    """The path of a file to write. One that ends in a slash is a folder's, which Path would forget."""
    if text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text} is a folder; give the name of a file to write")
    return any_path(text)


def say(text, colour=None):
    """Print a line, unless --quiet was given; progress bars stay below it.

    Raises KeyboardInterrupt in a job that has outlived who started it, as nobody would know of what it does.
    """
    if _starter not in (None, os.getppid()):
        raise KeyboardInterrupt
    if not is_quiet():
        write_line(_coloured(text, colour, sys.stdout), sys.stdout)


def warn(text):
    """Print a line on standard error, --quiet or not, with what would break it escaped."""
    write_line(one_line(text), sys.stderr)


def write_line(text, stream):
    """Write a line to sys.stdout or sys.stderr, above the progress bars.

    A fault there stops no work. Where nobody reads any more, as behind `| head` or in a terminal that was closed, it is none;
    for any other, as of a full disk, `run_command` exits with 1 when all is done.
    """
    global _lost
    try:
        tqdm.write(text, file=stream)
        stream.flush()          # who watches a log file sees it now
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())      # where Python finds a place for what it has kept, too
        os.close(null)
        if error.errno not in (errno.EPIPE, errno.EIO):
            _lost = error


def _coloured(text, colour, stream):
    """The text in that colour where `stream` is a terminal that shows some and NO_COLOR (no-color.org) is not set."""
    if colour is None or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{dict(red=31, green=32, yellow=33)[colour]}m{text}\033[0m"


@contextlib.contextmanager
def _borrowed_process(*stopped_by):
    """A context in which the signals `stopped_by` are KeyboardInterrupts, unless they are ignored, as nohup has it.

    Afterwards they mean what they did, and no lock is held, because a notebook goes on in this process.
    """
    if threading.current_thread() is not threading.main_thread():
        stopped_by = ()     # where Python lets no one say so
    before = {number: signal.getsignal(number) for number in stopped_by}
    ours = [number for number in before if before[number] not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        for file in _locks:
            file.close()


@_borrowed_process(signal.SIGTERM, signal.SIGHUP)
def run_command(main, when_stopped="nothing was written"):
    """Call `main()` as a program: exit 0 when done, 1 on a UserError, 2 on wrong usage, 130 when interrupted, no tracebacks.

    SIGTERM is treated like Ctrl-C, so that a batch system's stop is a clean one, and so is SIGHUP, the end of the terminal.
    `when_stopped` tells the interrupted user what is left of the work and how to go on.
    """
    global _lost
    _lost = None
    _open_what_is_closed()
    if hasattr(sys.stdout, "reconfigure"):      # a notebook's has not
        sys.stdout.reconfigure(errors="backslashreplace")       # a file's name may hold bytes that no encoding knows
    try:
        main()
    except UserError as error:
        _leave("error:", "red", str(error), error.exit_code)
    except OSError as error:        # whatever else the system refuses: a full disk, a folder that went away
        _leave("error:", "red", f"{error.filename or 'the system refuses'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _leave("stopped:", "yellow", when_stopped, 130)
    except (MemoryError, RuntimeError) as error:
        if _group and _group.is_broken_by(error):
            _leave("error:", "red", f"another process of this run has ended; {when_stopped}", 1)
        # torch has no error of its own for a CPU's memory; "allocate" is in its words for every device
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        _leave("error:", "red", "out of memory; try a smaller --batch-size or --limit", 1)
    if _lost:
        _leave("error:", "red", f"some output could not be printed ({_lost.strerror}); the work itself is done", 1)
    if _group:
        _exit(0)


def _open_what_is_closed():
    """Let standard input, output and error lead nowhere where the caller has closed them, so that no file gets their number."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", errors="backslashreplace"))  # noqa: SIM115


def _leave(kind, colour, message, code):
    if _group:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):   # torchrun passes on what the terminal has sent already
            signal.signal(number, signal.SIG_IGN)
    if _group is None or _group.has_last_word():
        write_line(f"{_coloured(kind, colour, sys.stderr)} {one_line(message)}", sys.stderr)
    _exit(code)


def _exit(code):
    if _group:
        # at once: torch's clean-up would wait for the other processes, which may have ended
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def lock(path, message):
    """Lock the file `path`, made if it is missing, until the returned file is closed or this program ends, however it ends.

    Raises UserError with `message` if another process holds the lock, OSError if the file cannot be made.
    """
    file = open(path, "a")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # what else there is says that the disk has no locks, as of some networks
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):        # the latter on Windows' shares
            file.close()
            raise UserError(message) from None
    _locks.add(file)
    return file


def progress(iterable, description, unit="batch", total=None):
    """A tqdm bar on standard error with the time left; none with --quiet, or where that is no terminal.

    `total` is for an iterable that has no length.
    """
    return tqdm(iterable, desc=description, unit=unit, total=total, leave=False, disable=is_quiet() or None,
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


def some_of(names):
    """The first three names as a person lists them, and … for any others."""
    return ", ".join([*names[:3], *["…"] * (len(names) > 3)])


def percent(fraction):
    """A number from 0 to 1 as a text in percent, None (shown as a dash) for None."""
    return None if fraction is None else f"{100 * fraction:.2f}"


def format_table(header, rows):
    """Rows of texts as lines, the columns aligned."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (header, *rows))
