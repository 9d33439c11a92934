"""Runs a command of somebody else's within limits, and ends all that it started.   python3 -I watch.py '{"command": […], …}'

A process of its own, so that whatever stems from it stems from that command: Linux hands it the orphans too, even those that
left their session. Elsewhere the command's process group is ended. Prints what `watch` returns as json.
"""
import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
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


def reap(statuses):
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            statuses[ended[0]] = ended[1]


def end_all(group, statuses):
    deadline = time.monotonic() + 10        # a process that waits for a broken disk cannot be ended
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    while (left := descendants()) and time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGKILL):     # stopped first, so that none forks while others are ended
            for process in left:
                with contextlib.suppress(OSError):
                    os.kill(process, number)
        time.sleep(0.02)
        reap(statuses)


def watch(command, seconds, disk, output, processes):
    """Run the command here, for so many seconds, bytes written, bytes printed and processes at most. Returns a dict: "broke",
    the limit that ended it or "stopped", else None; its exit "code", negative for a signal; how many processes it "left";
    "seconds"; "mib", the peak memory of its largest process; "output" and "errors", the ends of both."""
    stopped, statuses, parent, broke = [], {}, os.getppid(), None
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
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
    tails, printed, selector = {"output": b"", "errors": b""}, 0, selectors.DefaultSelector()
    for name, stream in zip(tails, (process.stdout, process.stderr)):
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ, name)

    def read(wait):
        nonlocal printed
        for key, _ in selector.select(wait):
            if not (piece := os.read(key.fd, 1 << 16)):
                selector.unregister(key.fileobj)
            tails[key.data] = (tails[key.data] + piece)[-TAIL:]
            printed += len(piece)
        reap(statuses)

    look = start
    while process.pid not in statuses and not broke:
        read(0.05)
        now = time.monotonic()
        if now > look:
            living = descendants()
            broke = "processes" if len(living) > processes else "disk" if written(living) - printed - before > disk else None
            look = 1 + 11 * time.monotonic() - 10 * now     # a tenth of the time goes into looking, at most
        broke = ("stopped" if stopped or os.getppid() != parent else "seconds" if now - start > seconds
                 else "output" if printed > output else broke)
    took = time.monotonic() - start
    if broke:
        with contextlib.suppress(OSError):      # the client of a container passes this on, but not the signal that kills it
            os.killpg(process.pid, signal.SIGTERM)
    patience = time.monotonic() + (2 if broke else 1)       # what is about to end by itself is no fault
    while (left := descendants()) and time.monotonic() < patience:
        read(0.05)
    end_all(process.pid, statuses)
    for _ in range(100):        # the rest in the pipes
        read(0)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    code = os.waitstatus_to_exitcode(statuses[process.pid]) if process.pid in statuses else None
    return {"broke": broke, "code": code, "left": 0 if broke else len(left), "seconds": took, "mib": memory,
            **{name: tail.decode("utf-8", "replace") for name, tail in tails.items()}}


def run_watched(command, folder, environment, stop, **limits):
    """Call `watch` in a process of its own, in `folder`. Returns what it does. Raises OSError if somebody ended it, and
    KeyboardInterrupt once the threading.Event `stop` is set; the command has ended then."""
    process = subprocess.Popen([sys.executable, "-I", __file__, json.dumps({"command": command, **limits})], cwd=folder,
                               env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace")
    told = None
    while told is None:
        try:
            told, errors = process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                process.terminate()
    if stop.is_set():
        raise KeyboardInterrupt
    try:
        return json.loads(told)
    except ValueError:
        raise OSError(f"the watch over it has ended: {errors[-200:] or process.returncode}") from None


def remove(folder):
    """Remove a folder with whatever such a command left there: paths too long for Python, folders that it may not open."""
    subprocess.run(["bash", "-c", 'rm -rf "$0" || { chmod -R u+rwX "$0"; rm -rf "$0"; }', folder], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    print(json.dumps(watch(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)     # without waiting for what could not be ended
