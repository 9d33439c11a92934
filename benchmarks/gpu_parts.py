"""The parts of benchmarks/on_gpu.sh, which starts each as a process of its own:

    python3 -m benchmarks.gpu_parts throughput --scratch DIR [--done FILE]

A part is a list of items, each of which finds something out. What it is goes to standard output as it comes, as lines that
begin with MARK; on_gpu.py reads them. Without a GPU the same is done on the CPU, so small that only its working is shown.
"""
import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.levers import DANN_LEVERS
from benchmarks.measure import ceilings, report_settings, stepping, train, train_watched
from benchmarks.pack import unpack, write_split
from benchmarks.throughput import measure
from common.adaptation import PAIRS
from common.cli import CommandParser, UserError, any_path, run_command
from common.data.layout import ATTRIBUTES, DIGIT_SIZE, DOMAINS, FACE_SIZE, SPLITS, has_dataset, load_digits, load_faces
from common.files import REPOSITORY, folder_written_whole, read_json
from common.runs.jobs import Job, python, run_jobs
from common.runs.plan import PACKAGES, RUNS
from common.training.device import hardware_name, pick_device, pick_precision
from common.training.run import git_revision
from common.training.settings import words_of
from tests.gpu_checks import CHECKS

MARK = "@on_gpu "
REAL, PACK = REPOSITORY / "hw3_data", REPOSITORY / "digits.zip"     # real data, in the course layout or packed
# images to train on and to test on
OFFICIAL = {"face": (40_000, 2_621), "usps": (7_291, 2_007), "mnistm": (60_000, 10_000), "svhn": (73_257, 26_032)}
FEW = {name: (40, 40) for name in OFFICIAL}
DIFFERENT = 1000        # images of a split, which come again under other names: that makes no difference to any time
# a run of each kind whose cost differs; the others cost as much as one of these (see kind_of)
KINDS = ("p3:svhn-usps:dann", "p4:usps-mnistm", "p2:uniform", "p1", "p3:mnistm-svhn:source", "p3:mnistm-svhn:dann",
         "p4:mnistm-svhn", "p4:svhn-usps", "p3:svhn-usps:source", "p3:usps-mnistm:dann", "p3:usps-mnistm:source")
STEPS = {"p3": "400", "p4": "1500"}     # of an epoch whose time is compared: some seconds
AT_ONCE = 14            # trainings of real data, whose kernels are small
TINY = ("--limit", "24", "--batch-size", "8")       # of every training without a GPU


class Place(NamedTuple):
    """Where a part works, and with what."""
    scratch: Path           # a folder for data and runs, which later parts use again
    device: torch.device

    @property
    def gpu(self):
        return self.device.type == "cuda"

    def words(self, problem):
        """The flags of every training of a problem here."""
        small = () if self.gpu else (*TINY, *(("--image-size", "8") if problem == "p3" else ()))
        return ("--device", str(self.device), "--quiet", *small)

    def made(self, name, make):
        """The folder `name` in the scratch folder, by make(folder) if it is not there; by one process at a time."""
        with open(self.scratch / f"{name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not (self.scratch / name).is_dir():
                make(self.scratch / name)
        return self.scratch / name

    def random_data(self, sizes):
        """A data folder with so many images to train on and to test on, by data set."""
        count = sum(map(sum, sizes.values()))
        return self.made(f"random_{count}", partial(make_random_data, sizes=sizes))

    def official(self):
        return self.random_data(OFFICIAL if self.gpu else FEW)

    def real(self):
        """A folder with real digits, of the pack if there is no other; None where there is neither."""
        if all(has_dataset(REAL, domain) for domain in DOMAINS):
            return REAL
        return self.made(f"digits_{PACK.stat().st_size}", partial(unpack, PACK)) if PACK.is_file() else None


def make_random_data(root, sizes):
    """Write random images to the folder `root` in the course layout, and the product's cache of them.

    `sizes`: {"face" or a domain: (images to train on, images to test on)}.
    """
    random = np.random.default_rng(0)
    with folder_written_whole(root) as folder:
        for name, counts in sizes.items():
            for split, count in zip(SPLITS, counts):
                size, different = FACE_SIZE if name == "face" else DIGIT_SIZE, min(count, DIFFERENT)
                # of 4×4 pixels each, so that they compress as pictures do; USPS's are gray
                channels = () if name == "usps" else (3,)
                coarse = random.integers(0, 256, (different, size // 4, size // 4, *channels), np.uint8)
                images = coarse.repeat(4, axis=1).repeat(4, axis=2)
                if name == "face":
                    rows = random.integers(0, 2, (count, len(ATTRIBUTES))).astype(float).tolist()
                    write_split(folder / "face", split, ATTRIBUTES, rows, images)
                else:
                    labels = random.permutation(np.arange(count) % 10).tolist()
                    write_split(folder / "digits" / name, split, ("label",), [(label,) for label in labels], images)
        for split in SPLITS:
            load_faces(folder, split)
            for domain in DOMAINS:
                load_digits(folder, domain, split)


# ---- 1: the machine --------------------------------------------------------------------------------------------------

def hardware(place):
    yield "machine", partial(machine, place)
    yield "float32", partial(peaks, place, "float32", tf32=False)
    yield "bfloat16", partial(peaks, place, "bfloat16")
    if place.gpu:
        yield "TF32", partial(peaks, place, "float32", tf32=True)
    yield "start", partial(seconds_to_start, place)


def machine(place):
    facts = {"device": hardware_name(place.device), "precision": pick_precision(place.device), "cores": os.cpu_count(),
             "python": platform.python_version(), "torch": torch.__version__, "git revision": git_revision()}
    if place.gpu:
        cuda = torch.cuda.get_device_properties(place.device)
        facts |= {"GPU memory, GiB": round(cuda.total_memory / 2**30), "multiprocessors": cuda.multi_processor_count,
                  "CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version(),
                  "NCCL": ".".join(map(str, torch.cuda.nccl.version()))}
        with contextlib.suppress(OSError):
            result = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm",
                                     "--format=csv,noheader"], capture_output=True, text=True)
            facts["driver, power, clock"] = result.stdout.strip()
    return facts


def peaks(place, precision, tf32=False):
    """The speed of a product and of a copy; of float32 with or without rounding to TF32, as PyTorch does in convolutions."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = tf32
    try:
        return dict(zip(("product", "copy"), ceilings(place.device, precision, 1 if place.gpu else 0.1)))
    finally:
        for backend, value in zip(backends, before):
            backend.allow_tf32 = value


def seconds_to_start(place):
    """How long a training takes to import what it needs and to find its device."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import torch, p4_adda.train; torch.ones(1, device='{place.device}')"],
                   cwd=REPOSITORY, check=True)
    return {"seconds": time.monotonic() - started}


# ---- 2: correctness --------------------------------------------------------------------------------------------------

def correctness(place):
    # those of problem 4 are seconds on a CPU
    for name, check in CHECKS.items():
        if place.gpu or name.startswith("p4"):
            yield name, partial(run_check, place, check, name)


def run_check(place, check, name):
    folder = emptied(place.scratch / "checks" / "".join(c if c.isalnum() else "_" for c in name))
    started = time.monotonic()
    found = check(place.device, place.random_data(FEW), folder)
    return {"seconds": time.monotonic() - started} | (found or {})


def emptied(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


# ---- 3: throughput ---------------------------------------------------------------------------------------------------

def throughput(place):
    args = SimpleNamespace(limit=None, batch_size=None, rounds=1, seconds=3, workers=8)
    if not place.gpu:
        args = SimpleNamespace(limit=6, batch_size=2, rounds=1, seconds=0, workers=0)
    order = ("p3", "p1", "p2", "p4")
    precision = pick_precision(place.device)

    def speeds(variant, problems=order):
        return [(f"{variant} {problem}", partial(speed, problem, args, place, precision, variant)) for problem in problems]
    # the most important first
    yield from speeds("usual")
    if place.gpu:
        yield from (*speeds("eager"), *speeds("uncompiled", ["p3"]))
    yield from ((f"profile {problem}", partial(profile, problem, args, place, precision)) for problem in order)
    if place.gpu:
        yield from speeds("deterministic")


def speed(problem, args, place, precision, variant):
    found = measure(problem, args, place.official(), place.device, precision, variant, reference=variant == "usual")
    return found._asdict()


def profile(problem, args, place, precision):
    """Which operations a step spends the device's time on: {"ms": of a step, "operations": [[name, calls, ms] …]}."""
    warm_up, steps = (15, 10) if place.gpu else (1, 1)
    kinds = torch.profiler.ProfilerActivity
    profiler = torch.profiler.profile(activities=[kinds.CPU, *([kinds.CUDA] if place.gpu else [])])

    def watch(batches):
        for number, batch in zip(range(warm_up + steps), batches):
            if number == warm_up:
                profiler.start()
            yield batch
        if place.gpu:
            torch.cuda.synchronize()
        profiler.stop()
    words = () if place.gpu else ("--limit", args.limit, "--batch-size", args.batch_size)
    # a graph's kernels belong to no operation
    with stepping(problem), mock.patch("common.training.recording.can_record", lambda device: False):
        train_watched(problem, watch, "--data", place.official(), "--device", place.device, "--precision", precision, *words)
    # of what the host calls, each with the time of the kernels that it starts
    rows = [[event.key, event.count / steps, (event.self_device_time_total if place.gpu else event.self_cpu_time_total)
             / 1000 / steps] for event in profiler.key_averages() if event.device_type == torch.autograd.DeviceType.CPU]
    rows.sort(key=lambda row: -row[2])
    return {"ms": sum(row[2] for row in rows), "operations": rows[:12]}


# ---- 4: the report's runs at full size -------------------------------------------------------------------------------

def full_size(place):
    for selector in KINDS if place.gpu else ("p4:usps-mnistm", "p1"):
        yield selector, partial(cost, place, selector)
        if selector == "p4:usps-mnistm":
            yield "4 at once p4", partial(at_once, place, selector)
        if selector == "p1":
            yield "4 at once p3", partial(at_once, place, "p3:svhn-usps:dann")
    yield "figures", partial(figures, place)
    for selector in ("p2:uniform", "p1") if place.gpu else ():
        yield f"4 at once {selector[:2]}", partial(at_once, place, selector)


def planned(selector):
    """A run of the plan by its selector: (its problem, its folder's name, the flags that make it that run)."""
    run = next(run for run in RUNS if run.selector == selector)
    return run.problem, run.folder, [*words_of(run.defining)]


def kind_of(selector):
    """Which of KINDS costs what that run of the plan does."""
    problem = selector.split(":")[0]
    if problem in ("p1", "p2"):
        return {"p1": "p1", "p2": "p2:uniform"}[problem]
    return selector


def two_epochs(problem):
    return ("--epochs", "2", *(("--source-epochs", "2") if problem == "p4" else ()))


def cost(place, selector):
    """Train that run for two epochs (of ADDA, of either phase): the seconds in all, and each epoch's as it was counted."""
    problem, name, flags = planned(selector)
    folder, data = emptied(place.scratch / "kinds" / name), place.official()
    started = time.monotonic()
    with stepping(problem, longer=report_settings(problem)["epochs"] / 2):
        train(problem, "--data", data, "--run", folder, *flags, *two_epochs(problem), *place.words(problem))
    return {"seconds": time.monotonic() - started, "epochs": seconds_of_epochs(folder)}


def seconds_of_epochs(folder):
    lines = (folder / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("seconds")
    ends = [float(line.split(",")[column]) for line in lines[1:]]
    return [end - start for start, end in zip([0.0, *ends], ends)]


def at_once(place, selector):
    """An epoch of a run that has the device to itself, and of four such runs side by side, each a process."""
    problem, _, flags = planned(selector)
    folder, data = emptied(place.scratch / "at_once"), place.official()
    short = ("--epochs", "2", *(("--source-epochs", "1") if problem == "p4" else ()),
             *(("--steps-per-epoch", steps) if (steps := STEPS.get(problem)) and place.gpu else ()))

    def jobs(names):
        return [Job(name, [*python(f"{PACKAGES[problem]}.train"), "--data", str(data), "--run",
                           str(folder / name), *flags, *place.words(problem), *short]) for name in names]
    count = 4 if place.gpu else 2
    for names in (["alone"], [f"beside_{i}" for i in range(count)]):
        if failed := run_jobs(jobs(names), count):
            raise UserError(f"{len(failed)} of {len(names)} trainings failed; log.txt says why")
    alone, *beside = (seconds_of_epochs(path)[-1] for path in sorted(folder.iterdir()))
    return {"count": count, "alone": alone, "beside": beside}


def figures(place):
    """How long the sections of all problems take to draw, those that need another's after it, as hw_report.sh does it."""
    runs, out = place.scratch / "kinds", emptied(place.scratch / "report")
    there = [problem for problem in PACKAGES if any(runs.glob(f"{problem}_*/summary.json"))]
    needs = {"p2": "p1", "p4": "p3"}
    started = time.monotonic()
    failed = run_jobs([Job(problem, [*python(f"{PACKAGES[problem]}.figures"), "--runs", str(runs), "--out",
                                     str(out), "--quiet"], after=tuple(other for other in there if other == needs.get(problem)))
                       for problem in there], len(PACKAGES))
    if failed:
        raise UserError(f"{', '.join(failed)} could not be drawn; log.txt says why")
    return {"seconds": time.monotonic() - started}


# ---- 5: real data ----------------------------------------------------------------------------------------------------

def real_data(place):
    if not place.real():
        return
    # alone at first, for the time that one run takes
    for selector in ("p4:usps-mnistm", "p4:svhn-usps")[:2 if place.gpu else 1]:
        yield f"{selector} alone", partial(train_real, place, [real_job(place, selector, 0)])
    yield "side by side", partial(train_real, place, [real_job(place, *run) for run in real_runs()[:None if place.gpu else 2]])


@contextlib.contextmanager
def multi_process_service(gpu):
    """NVIDIA's Multi-Process Service, if it is installed: so the small kernels of several processes run side by side."""
    control = shutil.which("nvidia-cuda-mps-control") if gpu else None
    # another's, if that is running: then it does not start, and is not stopped
    started = control and subprocess.run([control, "-d"], capture_output=True).returncode == 0
    try:
        yield
    finally:
        if started:
            subprocess.run([control], input=b"quit\n", capture_output=True)


def real_runs():
    """(selector, seed, preset, further flags) of the runs that are trained side by side, the most important first."""
    pairs = [f"{source}-{target}" for source, target in PAIRS]

    def three_seeds(*selectors, flags=""):
        return [(selector.format(pair), seed, "tuned", *flags.split())
                for seed in range(3) for pair in pairs for selector in selectors]
    tuned = three_seeds("p4:{}", "p3:{}:dann")
    bounds = three_seeds("p3:{}:source", "p3:{}:target")
    no_adversary = three_seeds("p3:{}:dann", flags="--domain-weight 0") + three_seeds("p4:{}", flags="--adversarial-weight 0")
    # what else levers' study of DANN leaves out, at full length
    dann_without = [run for line in DANN_LEVERS if line.off not in ("", "--domain-weight 0")
                    for run in three_seeds("p3:{}:dann", flags=line.off)]
    # in preset report an upper bound is the same training as another pair's lower bound; the slowest come last
    report = [(f"p4:{pair}", 0, "report") for pair in pairs] + [
        (f"p3:{pair}:{mode}", 0, "report") for mode in ("source", "dann") for pair in pairs]
    return [*tuned, *no_adversary, *bounds, *dann_without, *report]


def real_job(place, selector, seed, preset="tuned", *more):
    problem, name, flags = planned(selector)
    small = () if place.gpu else ("--epochs", "1", "--source-epochs", "1", "--steps-per-epoch", "2")
    name = "_".join([preset, name, *(word.strip("-") for word in more), f"seed{seed}"])
    # the words of docs/adaptation.csv first, in its order
    return Job(name, [*python(f"{PACKAGES[problem]}.train"), *flags, "--preset", preset, *more, "--seed", str(seed),
                      "--data", str(place.real()), "--run", str(place.scratch / "real" / name), "--resume",
                      *place.words(problem), *small], environment={"OMP_NUM_THREADS": "1"})


def train_real(place, jobs):
    """Train these runs, several side by side; each that ends is told at once."""
    over, told = threading.Event(), set()

    def tell_finished():
        for job in jobs:
            summary = place.scratch / "real" / job.name / "summary.json"
            if job.name not in told and summary.is_file():
                told.add(job.name)
                tell(f"run {job.name}", result=read_json(summary))

    def look():
        while not over.wait(0.5):
            tell_finished()
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with multi_process_service(place.gpu and len(jobs) > 1):
            failed = run_jobs(jobs, AT_ONCE)
    finally:
        over.set()
        watcher.join()
        tell_finished()
    if failed:
        raise UserError(f"{', '.join(failed)} failed; log.txt says why")
    return {"runs": [job.name for job in jobs]}


# ---- running a part --------------------------------------------------------------------------------------------------

PARTS = {part.__name__: part for part in (hardware, correctness, throughput, full_size, real_data)}


def tell(item, **found):
    tqdm.write(f"{MARK}{json.dumps({'item': item} | found)}")     # under the same lock as the lines of run_jobs
    sys.stdout.flush()


def run_items(items, done):
    """Find out each of the items, (name, function that returns plain values) …, whose name is not in `done`."""
    for name, work in items:
        if name in done:
            continue
        tell(name, started=True)
        try:
            found = work()
        except (AssertionError, UserError) as error:
            tell(name, failed=str(error) or type(error).__name__)
        except Exception as error:
            # after an error of CUDA's nothing works in this process: the part is started again, for the items that are left
            tell(name, failed=f"{type(error).__name__}: {error}"[:500])
            raise
        else:
            tell(name, result=found)


def stop_with_parent():
    """Be interrupted when standard input ends, which it does when the process that started this one is gone, however."""
    def wait():
        while os.read(0, 1):        # not sys.stdin, whose lock this thread would hold when Python ends
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=wait, daemon=True).start()


def main():
    parser = CommandParser(description="One part of benchmarks/on_gpu.sh, which starts this.")
    parser.add_argument("part", choices=("data", *PARTS))
    parser.add_argument("--scratch", type=any_path, required=True, metavar="DIR", help="where data and runs go")
    parser.add_argument("--done", type=any_path, metavar="FILE", help="a json file: what it has of this part is not done again")
    args = parser.parse_args()
    stop_with_parent()
    if args.part == "data":
        gpu = torch.cuda.is_available()
        place = Place(args.scratch, torch.device("cuda" if gpu else "cpu"))
        place.official()
        place.real()
        return
    done = read_json(args.done).get(args.part, {}) if args.done and args.done.is_file() else {}
    run_items(PARTS[args.part](Place(args.scratch, pick_device())), done)


if __name__ == "__main__":
    run_command(main, "what was found out is kept")
