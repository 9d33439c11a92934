"""A check of the tests themselves: small faults, each put into a copy of the code, all of which the tests must notice.

    python3 -m tests.mutants                       # all; prints what survives, and exits with 1 if something does
    python3 -m tests.mutants --only p4_adda/train  # those of files whose path has this in it

PyTorch is imported once; each fault is then tried by a process forked from there, in a copy of the repository. The faults are
in FAULTS, in tests/faults.py; test_mutants.py sees that their places are still found.
"""
import argparse
import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import FAULTS

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST = 600       # seconds that the tests of one fault may take; a fault that makes them hang is noticed
PRELOADED = ("torch", "torchvision", "torch.optim.swa_utils", "matplotlib.pyplot", "sklearn.manifold", "sklearn.linear_model",
             "sklearn.datasets", "scipy.io", "pytest", "hypothesis")
SHOWN = {"fails": "noticed", "hangs": "noticed, for it hangs", "passes": "SURVIVED"}


def with_fault(text, old, new):
    """The text of a file with the fault. Raises ValueError unless `old` is there exactly once."""
    if text.count(old) != 1:
        raise ValueError(f"{old!r} is there {text.count(old)} times; expected once")
    return text.replace(old, new)


def copy_repository(folder):
    names = subprocess.run(["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():       # and not just removed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)


def call_pytest(folder, tests, log):
    """In a process of its own: run these tests in the copy `folder`; the exit code is pytest's."""
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    for name, module in list(sys.modules.items()):      # nothing of the repository itself
        if str(getattr(module, "__file__", None) or "").startswith(f"{REPOSITORY}{os.sep}") and name != "__main__":
            del sys.modules[name]
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path or ".").resolve() != REPOSITORY)]
    os.chdir(folder)
    import pytest
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(log.with_suffix(".tests")), *tests])
    sys.stdout.flush()
    os._exit(code)


def try_tests(folder, tests, log):
    """How these tests end in the copy `folder`: a key of SHOWN. Raises RuntimeError if pytest itself could not run them."""
    process = multiprocessing.get_context("fork").Process(target=call_pytest, args=(folder, tests, log))
    process.start()
    process.join(LONGEST)
    hangs = process.is_alive()
    if hangs:
        process.kill()
        process.join()
    shutil.rmtree(log.with_suffix(".tests"), ignore_errors=True)
    if not hangs and process.exitcode not in (0, 1, 2):     # passed, failed, or the tests cannot even be imported
        raise RuntimeError(f"pytest ended with {process.exitcode}: {log.read_text()[-2000:]}")
    return "hangs" if hangs else "fails" if process.exitcode else "passes"


def work(number, root, tasks, results):
    """One of the workers: takes (path, old, new, tests) until there is None, and tries each in a copy of its own."""
    folder = root / f"copy{number}"
    copy_repository(folder)
    for count, (path, old, new, tests) in enumerate(iter(tasks.get, None)):
        try:
            if path:
                original = (folder / path).read_text(encoding="utf-8")
                (folder / path).write_text(with_fault(original, old, new), encoding="utf-8")
                # Python compares times of a second's precision with those of what it compiled before
                os.utime(folder / path, (count + 1, count + 1))
            started = time.monotonic()
            log = root / f"log{number}.txt"
            ending = try_tests(folder, tests, log)
            results.put((path, old, new, ending, time.monotonic() - started, log.read_text()[-3000:]))
        except Exception as error:      # whatever it is, the main process is to say it
            results.put((path, old, new, None, 0.0, str(error)))
        finally:
            if path:
                (folder / path).write_text(original, encoding="utf-8")


def run(tasks, jobs):
    """Yield what `work` says of each of the tasks, as soon as it is known."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as root:
        waiting, results = fork.SimpleQueue(), fork.SimpleQueue()       # which have no threads that a fork would break
        workers = [fork.Process(target=work, args=(number, Path(root), waiting, results)) for number in range(jobs)]
        for worker in workers:
            worker.start()
        todo = iter([*tasks, *[None] * jobs])
        try:
            for _ in workers:
                waiting.put(next(todo))
            for _ in tasks:
                result = results.get()
                waiting.put(next(todo))     # no earlier: a pipe full of tasks would wait for a worker that waits for its result
                yield result
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()


def main():
    parser = argparse.ArgumentParser(prog="python3 -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD",
                        help="faults in files whose path has a WORD in it, or whose new text has")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="tried at once (default: one a core)")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in PRELOADED:
        __import__(name)
    gc.freeze()         # pytest collects garbage at its end, five times, which among all of these takes longer than most tests
    faults = [(path, old, new, tests) for path, rows in FAULTS.items() for old, new, *tests in rows
              if any(word in path or word in new for word in args.only)]
    started = time.monotonic()
    # without any fault they must pass, or failing says nothing
    files = {}
    for *_, tests in faults:
        for test in tests:
            files.setdefault(test.split("::")[0], {})[test] = True
    for *_, ending, _, said in run([(None, "", "", list(tests)) for tests in files.values()], args.jobs):
        if ending != "passes":
            sys.exit(f"error: tests fail without any fault, so that nothing can be said:\n{said}")
    print(f"the tests pass without any fault ({time.monotonic() - started:.0f} s)", flush=True)

    survivors, broken = [], []
    for path, old, new, ending, seconds, said in run(faults, args.jobs):
        fault = f"{path}: {' '.join(old.split())}  →  {' '.join(new.split())}"
        print(f"{SHOWN.get(ending, 'ERROR')} ({seconds:.0f} s) {fault}", *[said] * (ending is None), sep="\n", flush=True)
        if ending is None:
            broken.append(fault)
        elif ending == "passes":
            survivors.append(fault)
    print(f"\n{len(faults)} faults in {time.monotonic() - started:.0f} s: {len(survivors)} survived, {len(broken)} could not "
          "be tried", *survivors, *broken, sep="\n")
    sys.exit(bool(survivors or broken))


if __name__ == "__main__":
    main()
