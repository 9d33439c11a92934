"""Several processes, on one machine or more, that train one model; started by torchrun. With one process nothing here acts.

Each process holds the whole model. From the same seed it draws the random numbers of the whole batch (the global batch, of
--batch-size images), and works on its share of the batch's rows; BatchNorm takes its statistics over all shares, and
DistributedDataParallel averages the gradients. So N processes compute what one computes, up to rounding.

The first process alone writes files and prints. If one process ends early, for whatever reason, all do, and one says why.
"""
import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from common import cli
from common.cli import UsageError, UserError


class Group(NamedTuple):
    """The processes that train together, as this one sees them."""
    rank: int               # of this process, 0 to size - 1
    size: int
    store: dist.Store       # which all of them reach; it is torchrun's, and outlives each of them

    def has_last_word(self):
        """Whether this process is to say why the group ends: the first that asks."""
        try:
            return self.store.add("ended", 1) == 1
        except RuntimeError:        # torchrun itself has gone
            return False

    def is_broken_by(self, error):
        """Whether this RuntimeError is how one process learns of another's end: NCCL's errors, and Gloo's without a type."""
        return isinstance(error, dist.DistError) or "gloo" in str(error)


_group = None


def start():
    """Meet the other processes that torchrun started, if it did. Afterwards the functions below know of them."""
    global _group
    if _group or not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return
    store, rank, size = next(dist.rendezvous("env://"))
    # by the tensors' device: NCCL between GPUs, Gloo between CPUs
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", store=store, rank=rank,
                            world_size=size)
    _group = Group(rank, size, store)
    cli.join(_group)


def processes():
    """How many processes train together; 1 without torchrun."""
    return _group.size if _group else 1


def is_first():
    """Whether this is the process that writes files and prints."""
    return not _group or _group.rank == 0


def use_own_gpu(device):
    """Of several processes, let each mean a GPU of its own by "cuda".

    Raises UsageError if `device` (torch.device) is one certain GPU, UserError if this machine has fewer than processes.
    """
    if processes() == 1 or device.type != "cuda":
        return
    if device.index is not None:
        raise UsageError(f"--device {device} is one GPU for {processes()} processes; with --device cuda each takes its own")
    here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if here > gpus:
        raise UserError(f"{here} processes on a machine with {gpus} GPU{'s' * (gpus > 1)}; start torchrun with "
                        f"--nproc_per_node={gpus}, or train with --device cpu")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


# ---- the batch -------------------------------------------------------------------------------------------------------

def share_size(count):
    """How many of the `count` images of the global batch are this process's. Raises UsageError unless all have equally many."""
    if count % processes():
        raise UsageError(f"a batch of {count} images cannot be shared equally by {processes()} processes; choose a "
                         f"--batch-size that {processes()} divides")
    return count // processes()


def share(rows, dim=0):
    """This process's part of what has a row (along `dim`) for each image of the global batch. Errors as of `share_size`."""
    size = share_size(rows.shape[dim])
    return rows.narrow(dim, _group.rank * size, size) if _group else rows


def whole(count):
    """The size of the global batch of which this process has `count` images.

    Random numbers are drawn as share(torch.rand(whole(count), …)), so that they are those of one process.
    """
    return count * processes()


def gather(rows):
    """The reverse of `share`: the rows of the global batch, from the part that each process has. No gradients."""
    if not _group:
        return rows
    parts = [torch.empty_like(rows) for _ in range(_group.size)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def mean(values):
    """The mean of a float tensor over the processes. No gradients."""
    if not _group:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / _group.size


def from_first(value):
    """The first process's `value` (anything that can be pickled), on all of them."""
    if not _group:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


# ---- the model -------------------------------------------------------------------------------------------------------

def wrap(module, device):
    """The module on the device, channels last (the layout in which convolutions are fastest), to be trained by all processes.

    With several of them the result is used as the module is, but their gradients are averaged, and its BatchNorm and Dropout
    treat the shares of a batch as one batch.
    """
    module = module.to(device, memory_format=torch.channels_last)
    if not _group:
        return module
    if next(module.parameters()).is_cuda:
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for layer in module.modules():
        layer.__class__ = {nn.BatchNorm2d: _BatchNorm2d, nn.Dropout2d: _Dropout2d}.get(type(layer), type(layer))
    replica = _Replica(module)
    replica.broadcast_buffers = False       # they are alike, as their batch statistics are
    return replica


class _Replica(nn.parallel.DistributedDataParallel):
    """DistributedDataParallel which, but for averaging gradients, behaves as the module in it."""

    def forward(self, *inputs):
        # of a frozen module, or for an evaluation by one process alone, no gradient will come that others wait for
        trains = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.module.parameters())
        return super().forward(*inputs) if trains else self.module(*inputs)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def state_dict(self, **options):
        return self.module.state_dict(**options)

    def load_state_dict(self, state):
        return self.module.load_state_dict(state)


class _Mean(torch.autograd.Function):
    """`mean`, with gradients: that of a mean over the processes is the mean of their gradients."""

    @staticmethod
    def forward(context, values):
        return mean(values)

    @staticmethod
    def backward(context, gradient):
        return mean(gradient)


class _BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the shares of all processes, for the CPU, whose tensors nn.SyncBatchNorm refuses."""

    def forward(self, images):
        if not self.training:
            return super().forward(images)
        values = images.float()
        average = _Mean.apply(values.mean(dim=(0, 2, 3)))
        centred = values - average[:, None, None]
        variance = _Mean.apply(centred.square().mean(dim=(0, 2, 3)))
        with torch.no_grad():
            count = whole(values.numel() // values.shape[1])
            self.num_batches_tracked += 1
            self.running_mean.lerp_(average, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(images.dtype)


class _Dropout2d(nn.Dropout2d):
    """Dropout of channels by this process's share of the mask that one process would draw."""

    def forward(self, images):
        mask = F.dropout2d(images.new_ones(whole(len(images)), images.shape[1], 1, 1), self.p, self.training)
        return images * share(mask)
