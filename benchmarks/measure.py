"""Tools of the benchmarks: our training under a stopwatch, clocks, memory, what the device can do at best."""
import contextlib
import ctypes
import gc
import importlib
import math
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from common import cli
from common.runs.jobs import python
from common.training.settings import full_settings

PAIR = ("--source", "usps", "--target", "mnistm")
TRAININGS = {       # the module that trains each problem, and the flags that it needs
    "p1": ("p1_vae.train", ()),
    "p2": ("p2_dcgan.train", ()),
    "p3": ("p3_dann.train", (*PAIR, "--mode", "dann")),
    "p4": ("p4_adda.train", (*PAIR, "--source-epochs", "1")),
}
# how a step is run: as train.py does, on a GPU recorded as a CUDA graph, DANN's networks compiled; neither recorded nor
# compiled; recorded, but not compiled; by kernels that repeat exactly
VARIANTS = ("usual", "eager", "uncompiled", "deterministic")


# ---- our training ----------------------------------------------------------------------------------------------------

def report_settings(problem):
    """All settings of that problem's training in preset `report`, by name."""
    return full_settings(importlib.import_module(TRAININGS[problem][0]).SETTINGS, {"preset": "report"})


def train(problem, *words):
    """Call main() of that problem's train.py in this process, as the command line with these words would."""
    module, flags = TRAININGS[problem]
    words = [module, *flags, "--quiet", *map(str, words)]
    with mock.patch.object(sys, "argv", words), mock.patch.object(cli, "_quiet", cli._quiet):
        importlib.import_module(module).main()


class Through(Exception):
    """Ends a training that was watched."""


def train_watched(problem, watch, *words, epoch=-1):
    """As `train`, with a run folder of its own, until the end of the steps of one epoch (counted from 0; -1: the last).

    That epoch's batches go through `watch`, a function of an iterable, before the run takes them: when the next is asked for,
    the step on the one before is under way.
    """
    module = importlib.import_module(TRAININGS[problem][0])

    def watched(indices):
        yield from watch(indices)
        raise Through

    class Run(module.Run):
        def batches(self, indices, averages):
            return super().batches(watched(indices) if self.epoch == epoch % self.epochs else indices, averages)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(module, "Run", Run), contextlib.suppress(Through):
        adapting = ("--source-epochs", 0) if problem == "p3" else ()      # DANN's step, not that of the source alone
        train(problem, "--epochs", 1, *adapting, "--run", Path(folder) / "run", *words)


class Stopwatch:
    """Hands on batches for up to `seconds`, or one step, after `warm_up` steps; then `steps` took `taken` seconds."""

    def __init__(self, device, warm_up, seconds):
        self.device, self.warm_up, self.seconds = device, warm_up, seconds
        self.steps, self.taken = 0, math.nan

    def __call__(self, batches):
        started = math.inf
        for number, batch in enumerate(batches):
            if number == self.warm_up:
                started = self._now()
            if self.steps > 0 and time.perf_counter() - started > self.seconds:
                break
            yield batch
            self.steps = number + 1 - self.warm_up
        self.taken = self._now() - started

    def _now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@contextlib.contextmanager
def stepping(problem, variant="usual", longer=math.inf):
    """While this is entered, that problem's training steps as the variant, one of VARIANTS, says, and as in a run that is so
    many times longer. Gives the flags that the training needs for it.
    """
    module, cudnn = importlib.import_module(TRAININGS[problem][0]), torch.backends.cudnn
    deterministic = cudnn.deterministic
    with contextlib.ExitStack() as patches:
        if pays := getattr(module, "compiling_pays", None):
            patches.enter_context(mock.patch.object(module, "compiling_pays", lambda device, pixels: (
                variant != "uncompiled" and pays(device, longer * pixels))))
            torch.compiler.reset()      # of networks of one kind, dynamo compiles only a few
        cudnn.deterministic = deterministic or variant == "deterministic"
        try:
            yield ("--eager",) if variant == "eager" else ()
        finally:
            cudnn.deterministic = deterministic


class Counter(TorchDispatchMode):
    """Counts the arithmetic of the first of the batches that it hands on: `flops`, and `traffic`, the bytes that its
    operations read and write if each reads its inputs from memory and writes its results there."""

    def __call__(self, batches):
        self.traffic = 0
        with FlopCounterMode(display=False) as counter, self:
            yield next(iter(batches))
        self.flops = counter.get_total_flops()

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        if not operation.is_view:
            self.traffic += _bytes((arguments, options, result))
        return result


def _bytes(values):
    if isinstance(values, torch.Tensor):
        return values.numel() * values.element_size()
    if isinstance(values, dict):
        values = values.values()
    return sum(map(_bytes, values)) if isinstance(values, (list, tuple, type({}.values()))) else 0


# ---- memory ----------------------------------------------------------------------------------------------------------

def resident(field):
    """Bytes of this process in memory: now ("VmRSS"), or at most ("VmHWM"). NaN where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return math.nan
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def memory_growth(device, work):
    """Call work(); returns by how many bytes the device's memory in use grew meanwhile, at most."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)        # so that memory which was freed before counts when it is used again
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")       # sets VmHWM to VmRSS
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


# ---- what the device can do ------------------------------------------------------------------------------------------

def ceilings(device, precision, seconds):
    """(FLOP/s of a matrix product in that precision, bytes/s read and written by a copy): medians over `seconds` each.

    Medians, not bests, so that on a busy machine they are slowed down as the training beside them is.
    """
    cuda = device.type == "cuda"
    size, dtype = 8192 if cuda else 2048, getattr(torch, precision)
    matrix = torch.randn(size, size, device=device).to(dtype)
    # the same product as a convolution: on a CPU it is another library's (oneDNN), which may be the faster one
    pixels = matrix.t().reshape(1, size, size // 32, 32).contiguous(memory_format=torch.channels_last)
    kernel = matrix.view(size, size, 1, 1)
    buffer = torch.ones(2**28 if cuda else 2**24, device=device)
    copy = torch.empty_like(buffer)
    typical = lambda work: _typical_time(device, work, seconds)
    product = min(typical(lambda: matrix @ matrix), typical(lambda: F.conv2d(pixels, kernel)))
    return 2 * size**3 / product, 2 * buffer.nbytes / typical(lambda: copy.copy_(buffer))


def _typical_time(device, work, seconds):
    """The median time of a call of work() among as many calls as fit into these seconds, at least 3, in seconds."""
    work()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        watch = Stopwatch(device, 0, math.inf)
        for _ in watch([0]):
            work()
        times.append(watch.taken)
    return statistics.median(times)


# ---- processes and data ----------------------------------------------------------------------------------------------

def in_fresh_process(work, *arguments):
    """work(*arguments), a function of a module, in a new Python process, which ends with this call, however that ends."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def add_arguments(parser):
    """The flags that the benchmarks share: --problem, --data, --device."""
    parser.add_argument("--problem", choices=TRAININGS, action="append", metavar="P",
                        help=f"one of {', '.join(TRAININGS)}; can be given several times (default: all)")
    parser.add_argument("--data", type=cli.any_path, metavar="DIR",
                        help="a folder in the course layout (default: hw3_data where it is there, else sample data)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda … (default: cuda where there is one)")


@contextlib.contextmanager
def data_folder(given):
    """The folder of the data: the one `given`, else hw3_data where it is there, else sample data that is made and removed."""
    if given or Path("hw3_data").is_dir():
        yield Path(given or "hw3_data").resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        # by its own command, as its module takes a second to import, which would count as a training's start
        subprocess.run([*python("common.sample_data"), f"{folder}/sample_data"], check=True)
        yield Path(folder) / "sample_data"
