"""Several commands at once, each a process of its own: each starts as soon as it can, and a failure stops no other."""
import os
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from tqdm import tqdm

from common.cli import STARTED_BY, is_quiet, write_line
from common.files import REPOSITORY

START = REPOSITORY / "common" / "start.py"


class Job(NamedTuple):
    name: str               # how its lines begin
    command: list
    after: tuple = ()       # names of the jobs that must have ended before it starts, well or not
    environment: dict = {}  # variables on top of this process's


def python(module):
    """The first words of a Job's command that runs this module of ours, which is named in the list of processes."""
    return [sys.executable, str(START), module]


class Console:
    """Where all jobs' lines go, one at a time, until it is closed: what a job says when it is stopped says this process."""

    def __init__(self):
        self.lock, self.closed = threading.Lock(), False

    def write(self, line, stream):
        with self.lock:
            if not self.closed:
                write_line(line, stream)


def run_jobs(jobs, at_once):
    """Run the jobs, `at_once` of them side by side, and show their lines, each behind its job's name.

    Returns the names of those that failed. Where this process is interrupted, they all are, and it waits for them to end.
    """
    waiting, running, over, failed = list(jobs), {}, set(), []
    console = Console()
    bar = tqdm(total=len(jobs), desc="report", unit="job", disable=is_quiet() or None, leave=False, dynamic_ncols=True)
    try:
        while waiting or running:
            for job in [job for job in waiting if not (set(job.after) - over)]:
                if len(running) == at_once:
                    break
                waiting.remove(job)
                running[job.name] = _start(job, console)
            time.sleep(0.05)
            for name, (process, readers) in list(running.items()):
                if process.poll() is None:
                    continue
                _wait(process, readers)
                del running[name]
                over.add(name)
                bar.update()
                if process.returncode:
                    failed.append(name)
    finally:
        bar.close()
        console.closed = bool(running)
        for process, _ in running.values():
            process.terminate()     # not SIGINT, which is ignored by what a script started in the background
        for process, readers in running.values():
            _wait(process, readers)
    return failed


def _start(job, console):
    # in a session of its own, so that Ctrl-C reaches it once, from here
    environment = os.environ | {STARTED_BY: str(os.getpid())} | job.environment
    process = subprocess.Popen(job.command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="backslashreplace")

    def show(lines, stream):
        for line in lines:
            console.write(line.rstrip() if line.startswith(job.name) else f"{job.name}: {line.rstrip()}", stream)
    readers = [threading.Thread(target=show, args=pair, daemon=True)
               for pair in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))]
    for reader in readers:
        reader.start()
    return process, readers


def _wait(process, readers):
    process.wait()
    for reader in readers:
        reader.join()
