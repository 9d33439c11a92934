"""Training steps on a GPU: each epoch records one as a CUDA graph, and replays it for the batches after that.

A step of these small networks is hundreds of kernels, which take the host longer to start than the GPU to carry out; a graph is
started as one. What the host computes in a step, it computes once, while the step is recorded. So whatever differs from step to
step is a tensor on the device.
"""
import contextlib
import functools

import torch

from common.training.distributed import processes

WARM_UP = 2     # steps of each epoch before one is recorded: the first of a run makes optimizers' state and finds fast kernels
_step = None    # the one that is under way


def can_record(device):
    """Whether steps on this torch.device can be recorded; those of several processes are not."""
    return device.type == "cuda" and processes() == 1


def needs_host():
    """Said by what makes the host wait for the device in each step: such steps are not recorded."""
    if _step:
        _step.recordable = False


@contextlib.contextmanager
def recording(device, averages, eager=False):
    """Within an epoch's loop, gives a function of a batch, an int64 tensor of one shape, for `yield from step(batch)`.

    That hands the batch to the loop's body or, once a step is recorded, replays it and leaves the body out. With `eager`, on
    a CPU, or of several processes, the body gets every batch. `averages` are the Averages to which the body adds.
    """
    global _step
    if eager or not can_record(device):
        yield lambda batch: (batch,)
        return
    # also the steps before, on the stream that records: what is left of them must not make it wait for another stream
    stream, outside = _stream_of(device), torch.cuda.current_stream(device)
    stream.wait_stream(outside)
    try:
        with torch.cuda.stream(stream):
            _step = Step(averages, stream)
            yield _step
    finally:
        _step = None
        outside.wait_stream(stream)


@functools.cache
def _stream_of(device):
    return torch.cuda.Stream(device)    # one for all epochs, as cuBLAS keeps memory for each


class Step:
    """What `recording` gives."""

    def __init__(self, averages, stream):
        self.averages, self.stream = averages, stream
        self.taken, self.recordable, self.graph = 0, True, None

    def __call__(self, batch):
        self.taken += 1
        if self.graph is None:
            if self.taken <= WARM_UP or not self.recordable:
                yield batch
                return
            self.held, graph = batch.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                yield self.held         # the body starts its kernels, but none runs
            self.graph, self.losses = graph, self.averages.take_back()
        self.held.copy_(batch)
        self.graph.replay()
        self.averages.put(self.losses.clone())
