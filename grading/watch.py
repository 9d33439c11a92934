"""Runs a command of somebody else's within limits, and ends all that it started.   python3 -I watch.py '{"command": […], …}'

A process of its own, so that whatever stems from it stems from that command: Linux hands it the orphans too, even those that
left their session. Elsewhere the command's process group is ended. Prints what `watch` returns as json.
"""
import contextlib
import ctypes
import itertools
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

BE_SUBREAPER, TAIL = 36, 4000       # PR_SET_CHILD_SUBREAPER of linux/prctl.h; bytes that are kept of what is printed


def descendants():
    """The ids of all living processes that stem from this one; none where there is no /proc."""
    parents, found = {}, {os.getpid()}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state not in b"ZX":
                parents[int(folder.name)] = int(parent)
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def written(processes):
    """Bytes that these processes, and those of this one that have ended, have written to anything; of the current folder, those
    that it takes on the disk, if these are more."""
    du, total = subprocess.run(["du", "-sk", "."], stdin=subprocess.DEVNULL, capture_output=True).stdout.split(), 0
    for process in (os.getpid(), *processes):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{process}/io").read_text().partition("wchar: ")[2].split()[0])
    return max(total, 1024 * int(du[0]) if du else 0)


def watch(command, seconds, disk, output, processes):
    """Run the command here, for so many seconds, bytes written, bytes printed and processes at most, and while standard input
    is open. Returns a dict: "broke", the limit that it broke, "stopped" or None; its exit "code", negative for a signal;
    how many processes it "left"; "seconds"; "mib", the peak memory of its largest process; "stdout" and "stderr", the ends of
    both."""
    codes, broke, left, living, wrote, look = {}, None, 0, (), 0, 0
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(BE_SUBREAPER, 1, 0, 0, 0)
    with contextlib.suppress(ValueError, OSError):      # a limit that is lower already stays
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    before, start = written(()), time.monotonic()
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **pipes)
    tails, printed = dict.fromkeys(pipes, b""), dict.fromkeys(pipes, 0)

    def read(name):
        while piece := getattr(process, name).read1(1 << 16):
            tails[name], printed[name] = (tails[name] + piece)[-TAIL:], printed[name] + len(piece)

    def reap():
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])

    pool = ThreadPoolExecutor()
    readers = [pool.submit(read, name) for name in pipes]
    while process.pid not in codes and not broke:
        stopped, now = select.select([0], [], [], 0.05)[0], time.monotonic()
        reap()
        if now > look:
            living = descendants()
            wrote = written(living) - sum(printed.values()) - before
            look = 1 + 11 * time.monotonic() - 10 * now     # a tenth of the time goes into looking, at most
        over = {"stopped": stopped, f"ran more than {processes:,} processes at once": len(living) > processes,
                f"wrote more than {disk:,} bytes": wrote > disk,
                f"printed more than {output:,} bytes": sum(printed.values()) > output,
                f"ran longer than {seconds:,.0f} seconds": now - start > seconds}
        broke = next(filter(over.get, over), None)
    if broke:
        with contextlib.suppress(OSError):      # the client of a container passes this on, but not the signal that kills it
            os.killpg(process.pid, signal.SIGTERM)
    patience = time.monotonic() + (2 if broke else 1)       # what is about to end by itself is no fault
    while (living := descendants()) and time.monotonic() < patience + 10:      # what waits for a broken disk cannot be ended
        if time.monotonic() > patience:
            left = left or len(living)
            for kind, one in itertools.product((signal.SIGSTOP, signal.SIGKILL), living):       # stopped first: none forks now
                with contextlib.suppress(OSError):
                    os.kill(one, kind)
        time.sleep(0.02)
        reap()
    with contextlib.suppress(OSError):      # where there is no /proc
        os.killpg(process.pid, signal.SIGKILL)
    wait(readers, 5)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"broke": broke, "code": codes.get(process.pid), "left": 0 if broke else left, "seconds": now - start, "mib": memory,
            **{name: tail.decode("utf-8", "replace") for name, tail in tails.items()}}


def run_watched(command, folder, temporary, alive, **limits):
    """Call `watch` in a process of its own, in `folder`, with `temporary` for temporary files, whose standard input is the file
    `alive`; python3 is there what it is here. Returns what it does. Raises OSError if somebody ended it."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    process = subprocess.run([sys.executable, "-I", __file__, json.dumps({"command": command, **limits})], cwd=folder,
                             env=os.environ | {"PATH": path, "TMPDIR": temporary}, stdin=alive, capture_output=True, text=True,
                             errors="replace", start_new_session=True)
    try:
        return json.loads(process.stdout)
    except ValueError:
        raise OSError(f"the watch over it has ended: {process.stderr[-200:] or process.returncode}") from None


def remove(folder):
    """Remove a folder with whatever such a command left there: paths too long for Python, folders that it may not open."""
    subprocess.run(["bash", "-c", 'rm -rf "$0" || { chmod -R u+rwX "$0"; rm -rf "$0"; }', folder], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    print(json.dumps(watch(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)     # without waiting for what could not be ended
