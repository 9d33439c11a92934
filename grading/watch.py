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
import threading
import time

BE_SUBREAPER, TAIL = 36, 4000       # PR_SET_CHILD_SUBREAPER of linux/prctl.h; bytes that are kept of what is printed


def descendants():
    """The ids of all living processes that stem from this one; none where there is no /proc."""
    parents, found, before = {}, {os.getpid()}, 0
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state not in b"ZX":
                parents[int(name)] = int(parent)
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {os.getpid()}


def written(processes):
    """Bytes that these processes, and those of this one that have ended, have written to anything; of the current folder, those
    that it takes on the disk, if these are more."""
    found = subprocess.run(["du", "-sk", "."], stdin=subprocess.DEVNULL, capture_output=True).stdout.split()
    total = 0
    for process in (os.getpid(), *processes):
        with contextlib.suppress(OSError), open(f"/proc/{process}/io") as file:
            total += int(file.read().partition("wchar: ")[2].split()[0])
    return max(total, 1024 * int(found[0]) if found else 0)


def watch(command, seconds, disk, output, processes):
    """Run the command here, for so many seconds, bytes written, bytes printed and processes at most, and while standard input
    is open. Returns a dict: "broke", the limit that ended it or "stopped", else None; its exit "code", negative for a signal;
    how many processes it "left"; "seconds"; "mib", the peak memory of its largest process; "output" and "errors", the ends of
    both."""
    statuses, broke, left, tails, printed = {}, None, 0, {}, {}
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(BE_SUBREAPER, 1, 0, 0, 0)
    for limit, most in ((resource.RLIMIT_FSIZE, disk), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):      # a limit that is lower already stays
            resource.setrlimit(limit, (most, most))
    before, start = written(()), time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    with contextlib.suppress(OSError), open(f"/proc/{process.pid}/oom_score_adj", "w") as file:
        file.write("1000")      # where memory runs out, it goes first

    def read(name, stream):
        tails[name], printed[name] = b"", 0
        while piece := stream.read1(1 << 16):
            tails[name], printed[name] = (tails[name] + piece)[-TAIL:], printed[name] + len(piece)

    def reap():
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                statuses[ended[0]] = ended[1]

    readers = [threading.Thread(target=read, args=pair, daemon=True)
               for pair in (("output", process.stdout), ("errors", process.stderr))]
    for reader in readers:
        reader.start()
    look = start
    while process.pid not in statuses and not broke:
        stopped, now = select.select([0], [], [], 0.05)[0], time.monotonic()
        reap()
        if now > look or now - start > seconds:
            living = descendants()
            broke = ("processes" if len(living) > processes else
                     "disk" if written(living) - sum(printed.values()) - before > disk else None)
            look = 1 + 11 * time.monotonic() - 10 * now     # a tenth of the time goes into looking, at most
        broke = ("stopped" if stopped else broke if broke else "output" if sum(printed.values()) > output else
                 "seconds" if now - start > seconds else None)
    took = time.monotonic() - start
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
    for reader in readers:
        reader.join(1)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    code = os.waitstatus_to_exitcode(statuses[process.pid]) if process.pid in statuses else None
    return {"broke": broke, "code": code, "left": 0 if broke else left, "seconds": took, "mib": memory,
            **{name: tail.decode("utf-8", "replace") for name, tail in tails.items()}}


def run_watched(command, folder, environment, alive, **limits):
    """Call `watch` in a process of its own, in `folder`, whose standard input is the file `alive`. Returns what it does. Raises
    OSError if somebody ended it."""
    process = subprocess.run([sys.executable, "-I", __file__, json.dumps({"command": command, **limits})], cwd=folder,
                             env=environment, stdin=alive, capture_output=True, text=True, errors="replace",
                             start_new_session=True)
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
