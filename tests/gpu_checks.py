"""What must hold on a GPU, as plain functions: test_gpu.py makes tests of them, and benchmarks/on_gpu.sh calls them too.

Each of CHECKS takes a torch.device, a data folder (40 images a split are enough) and an empty folder to train into; it raises
AssertionError, and may return numbers to keep, by name. All run on a CPU as well, where the first kind compares it with itself.
"""
import contextlib
import csv
import functools
import subprocess
import sys
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm as sync_batch_norm
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from benchmarks.measure import TRAININGS, train, train_watched
from common.cli import UserError
from common.files import REPOSITORY
from common.training import device as training_device
from common.training import distributed, recording
from common.training.run import Run

FEW = ("--limit", 40, "--batch-size", 8)
# all that draws random numbers; small steps, as Adam divides a gradient that is 0 but for rounding by its own size
STEP = {
    "p1": ("p1", "--preset", "tuned", "--limit", 16, "--epochs", 1, "--lr", 1e-6),
    "p2": ("p2", "--preset", "tuned", "--limit", 16, "--epochs", 1, "--diff-augment", "colour", "--brightness-contrast", 0.2,
           "--ema-decay", 0.5, "--generator-lr", 1e-6, "--discriminator-lr", 1e-6),
    "p3": ("p3", "--preset", "tuned", "--source-epochs", 1, "--epochs", 2, "--steps-per-epoch", 2, "--lr", 1e-6,
           "--pseudo-confidence", 0.1),
    "p3 report": ("p3", "--preset", "report", "--limit", 8, "--batch-size", 4, "--epochs", 1, "--lr", 1e-6),
    "p4": ("p4", "--preset", "tuned", "--source-epochs", 1, "--epochs", 1, "--steps-per-epoch", 2, "--lr", 1e-6,
           "--encoder-lr", 1e-6, "--discriminator-lr", 1e-6, "--pseudo-confidence", 0.1),
}
# three epochs of each problem; without what is not repeatable on CUDA: gradients through a translation, added up by atomics
WHOLE = {
    "p1": ("--preset", "sample", "--epochs", 3),
    "p2": ("--preset", "tuned", "--epochs", 3, "--diff-augment", "none"),
    "p3": ("--preset", "tuned", "--source-epochs", 1, "--epochs", 3, "--steps-per-epoch", 4),
    "p4": ("--preset", "tuned", "--source-epochs", 1, "--epochs", 2, "--steps-per-epoch", 4),
}
# learning rates at which losses are soon no numbers
DIVERGE = {"p1": ("--lr", 1e30), "p2": ("--generator-lr", 1e30, "--discriminator-lr", 1e30), "p3": ("--lr", 1e30),
           "p4": ("--lr", 1e30)}


class Comparable(TorchFunctionMode):
    """Every device gets the random numbers that the CPU's generator draws, and no activation or pooling has a kink: one value
    that rounding brings to the other side of ReLU's, or of its neighbour, would change a gradient by 1e-3 of its size."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function in (torch.rand, torch.randn, torch.randint, torch.randperm):
            return function(*arguments, **options | {"device": "cpu"}).to(options.get("device") or "cpu")
        if function == torch.Tensor.uniform_:
            tensor, *bounds = arguments
            return tensor.copy_(torch.empty(tensor.shape).uniform_(*bounds))
        if function == F.dropout2d:
            images, *how = arguments
            return images * F.dropout2d(torch.ones(*images.shape[:2], 1, 1), *how).to(images)
        if function in (F.relu, F.leaky_relu):
            return F.softplus(arguments[0])
        if function is F.max_pool2d:
            return F.avg_pool2d(*arguments)
        return function(*arguments, **options)


@contextlib.contextmanager
def plain_kernels():
    """float32 is not rounded to TF32, and kernels that repeat exactly are taken."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = False, False, True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before


def weights(folder):
    """The tensors of a run's weights.pt by name."""
    modules = torch.load(folder / "weights.pt", weights_only=True, map_location="cpu")["modules"]
    return {f"{name}.{key}": tensor for name, module in modules.items() for key, tensor in module.items()}


def few_steps(name, device, data, folder):
    """Train as STEP says in float32: (the gradients at each step of an optimizer, the losses of each epoch, the weights)."""
    gradients = []

    def note(optimizer, *_):
        gradients.append([weight.grad.detach().to("cpu", torch.float32, copy=True) for group in optimizer.param_groups
                          for weight in group["params"] if weight.grad is not None])
    hook = register_optimizer_step_pre_hook(note)
    problem, *words = STEP[name]
    try:
        with plain_kernels(), Comparable():
            train(problem, "--data", data, "--device", device, "--run", folder, *FEW, *words, "--precision", "float32",
                  "--eager")
    finally:
        hook.remove()
    with open(folder / "metrics.csv", newline="") as file:
        losses = [float(value or 0) for row in csv.DictReader(file) for key, value in row.items() if key != "seconds"]
    return gradients, losses, weights(folder)


def assert_alike(one, other):
    """What few_steps returned twice is the same within 1e-4 of its size. Returns the largest difference of a gradient."""
    largest = 0.0
    assert [len(step) for step in one[0]] == [len(step) for step in other[0]] and one[0]
    for number, (step, others) in enumerate(zip(one[0], other[0])):
        # a bias before BatchNorm has no gradient but rounding, for which the whole step's size stands
        whole = torch.stack([gradient.norm() for gradient in step]).norm()
        for gradient, theirs in zip(step, others):
            difference = (gradient - theirs).norm() / (gradient.norm() + whole / 100)
            assert difference < 1e-4, f"step {number}: a gradient {list(gradient.shape)} differs by {difference:.1e}"
            largest = max(largest, difference.item())
    for value, theirs in zip(one[1], other[1], strict=True):
        assert abs(value - theirs) <= 1e-4 * abs(value), f"a loss is {theirs}, not {value}"
    assert one[2].keys() == other[2].keys()
    for name, tensor in one[2].items():
        difference = (tensor - other[2][name]).float().norm() / tensor.float().norm().clamp(min=1e-2)
        assert difference < 1e-4, f"{name} differs by {difference:.1e} of its size"
    return {"largest": largest}


def step_as_on_cpu(name, device, data, folder):
    """Gradients, losses and weights of a few steps are the CPU's."""
    return assert_alike(few_steps(name, "cpu", data, folder / "cpu"), few_steps(name, device, data, folder / "device"))


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    different = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert not different, f"other weights: {', '.join(different)}"


def train_whole(problem, device, data, folder, *words):
    with plain_kernels():
        train(problem, "--data", data, "--device", device, "--run", folder, *FEW, *WHOLE[problem], *words)


def resume_is_exact(problem, device, data, folder):
    """A run that is stopped in its second epoch, and gone on with, ends in the same weights."""
    train_whole(problem, device, data, folder / "whole")
    batches = Run.batches

    def stop(run, indices, averages):
        for number, batch in enumerate(batches(run, indices, averages)):
            if run.epoch == 1 and number == 2:
                raise KeyboardInterrupt
            yield batch
    with mock.patch.object(Run, "batches", stop), contextlib.suppress(KeyboardInterrupt):
        train_whole(problem, device, data, folder / "stopped")
    assert not (folder / "stopped" / "weights.pt").exists()
    train_whole(problem, device, data, folder / "stopped", "--resume")
    assert_same_weights(folder / "whole", folder / "stopped")


def streamed_is_resident(problem, device, data, folder):
    """Images that are brought to the device batch by batch train the same weights as images that are held there."""
    train_whole(problem, device, data, folder / "resident")
    get, taken = training_device.StreamedImages.__getitem__, []
    count = lambda images, indices: taken.append(1) or get(images, indices)
    with mock.patch.object(training_device, "_free_memory", lambda device: 0), \
            mock.patch.object(training_device.StreamedImages, "__getitem__", count):
        train_whole(problem, device, data, folder / "streamed")
    assert len(taken) >= 12, "a batch in each step"
    assert_same_weights(folder / "resident", folder / "streamed")


def replayed_is_eager(problem, device, data, folder):
    """Steps that are recorded once an epoch, and replayed, train the same weights as steps that are not."""
    train_whole(problem, device, data, folder / "eager", "--eager")
    replay, replayed = torch.cuda.CUDAGraph.replay, []
    count = lambda graph: replayed.append(1) or replay(graph)
    with mock.patch.object(torch.cuda.CUDAGraph, "replay", count):
        train_whole(problem, device, data, folder / "replayed")
    epochs = (folder / "replayed" / "metrics.csv").read_text().count("\n") - 1
    assert len(replayed) >= 2 * epochs or device.type == "cpu", "the steps of each epoch but two"
    assert_same_weights(folder / "eager", folder / "replayed")


def compiled_is_usual(device, data, folder):
    """DANN's steps with compiled networks have the same losses, but for rounding; recorded, they train the same weights."""
    losses, made, compiled, can_record = [], [], training_device.compiled, recording.can_record
    for name, compiles, records in (("usual", False, True), ("compiled", True, True), ("unrecorded", True, False)):
        with mock.patch("p3_dann.train.compiling_pays", lambda device, pixels, compiles=compiles: compiles), \
                mock.patch("p3_dann.train.compiled", lambda modules: made.append(1) or compiled(modules)), \
                mock.patch.object(recording, "can_record", lambda device, records=records: records and can_record(device)):
            train_whole("p3", device, data, folder / name, "--precision", "float32", "--source-epochs", 0, "--epochs", 1)
        with open(folder / name / "metrics.csv", newline="") as file:
            losses.append({key: float(value) for key, value in next(csv.DictReader(file)).items() if "loss" in key})
    assert len(made) == 2 and len(losses[0]) == 3
    for key, value in losses[0].items():
        assert abs(value - losses[1][key]) <= 1e-2 * abs(value), f"{key} is {losses[1][key]}, not {value}"
    assert_same_weights(folder / "compiled", folder / "unrecorded")


def nan_stops_the_run(problem, device, data, folder):
    """Losses that are no numbers end the run with its sentence, and the device can still be used."""
    try:
        train(problem, "--data", data, "--device", device, "--run", folder / "run", *FEW, "--preset", "sample",
              *DIVERGE[problem])
    except UserError as error:
        assert "not all losses are finite at step" in str(error), error
    else:
        raise AssertionError("the run went on")
    assert not list((folder / "run").glob("*.pt"))
    assert torch.ones(3, device=device).sum().item() == 3


def nan_is_one_line(device, data, folder):
    """The same as a command, of the problem whose loss would otherwise fail an assertion of CUDA's."""
    words = ["p2_dcgan.train", "--data", data, "--device", device, "--run", folder / "run", *FEW, "--preset", "sample",
             *DIVERGE["p2"]]
    result = subprocess.run([sys.executable, "-m", *map(str, words)], cwd=REPOSITORY, capture_output=True, text=True)
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: "), result.stderr


def step_without_waiting(problem, preset, device, data, folder):
    """After two steps that warm up, a step never makes the host wait for the device."""
    def watch(batches):
        try:
            for number, batch in zip(range(4), batches):
                if number == 2 and device.type == "cuda":
                    torch.cuda.set_sync_debug_mode("error")
                yield batch
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    steps = {"p3": ("--steps-per-epoch", 4), "p4": ("--steps-per-epoch", 4)}.get(problem, ())
    train_watched(problem, watch, "--data", data, "--device", device, *FEW, "--preset", preset, "--eager", *steps)


@contextlib.contextmanager
def group_of_one(device):
    """A process group with this process alone, over NCCL on a GPU. Gives a list of the BatchNorm layers that exchanged."""
    exchanged = []

    def forward(layer, images):
        # PyTorch's own leaves the exchange out for one process
        if not layer.training:
            return nn.BatchNorm2d.forward(layer, images)
        exchanged.append(layer)
        layer.num_batches_tracked.add_(1)
        return sync_batch_norm.apply(images, layer.weight, layer.bias, layer.running_mean, layer.running_var, layer.eps,
                                     layer.momentum, dist.group.WORLD, 1)
    backend, store = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", dist.HashStore()
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        with mock.patch.object(distributed, "_group", distributed.Group(0, 1, store)), \
                mock.patch.object(nn.SyncBatchNorm, "forward", forward):
            yield exchanged
    finally:
        dist.destroy_process_group()


def group_computes_the_same(name, device, data, folder):
    """One process in a group computes what it computes alone: DistributedDataParallel, SyncBatchNorm, exchanged batches."""
    alone = few_steps(name, device, data, folder / "alone")
    with group_of_one(device) as exchanged:
        found = assert_alike(alone, few_steps(name, device, data, folder / "group"))
    assert device.type == "cpu" or name not in ("p2", "p3") or exchanged, "no BatchNorm layer exchanged its statistics"
    return found


CHECKS = {
    **{f"{name}: a step is the CPU's": functools.partial(step_as_on_cpu, name) for name in STEP},
    **{f"{problem}, {preset}: no step waits": functools.partial(step_without_waiting, problem, preset)
       for problem in TRAININGS for preset in ("report", "tuned")},
    **{f"{problem}: resume is exact": functools.partial(resume_is_exact, problem) for problem in TRAININGS},
    **{f"{problem}: a replayed step is the eager one": functools.partial(replayed_is_eager, problem) for problem in TRAININGS},
    "p3: a compiled step is the usual one": compiled_is_usual,
    **{f"{problem}: streamed is resident": functools.partial(streamed_is_resident, problem) for problem in TRAININGS},
    **{f"{problem}: NaN stops the run": functools.partial(nan_stops_the_run, problem) for problem in TRAININGS},
    "p2: NaN is one line": nan_is_one_line,
    **{f"{name}: a group of one computes the same": functools.partial(group_computes_the_same, name)
       for name in ("p2", "p3", "p1", "p4")},
}
