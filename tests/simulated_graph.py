"""CUDA graphs on a CPU, for tests: a recorded step is computed again, operation by operation, into the same memory.

As on a GPU, Python that ran while it was recorded does not run again, so a number from the host stays what it was then.
"""
import contextlib

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from common.training import recording

WAIT = ("aten::_local_scalar_dense", "aten::lift_fresh", "aten::nonzero")      # to read a number, to send one


class Graph(TorchDispatchMode):
    """In place of torch.cuda.CUDAGraph: records what happens while it is entered."""

    def __init__(self):
        super().__init__()
        self.operations, self.is_done = [], True

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        assert operation.name() not in WAIT, "a step that waits cannot be recorded"
        if not operation.is_view:
            self.operations.append((operation, arguments, options or {}, result))
        return result

    def replay(self):
        """A CPU carried the step out while it was recorded, which a GPU does not, so the first call does nothing."""
        with torch._C._AutoDispatchBelowAutograd():
            for operation, arguments, options, result in () if self.is_done else self.operations:
                # also what an operation in place returns, onto itself
                for before, now in zip(tensors(result), tensors(operation(*arguments, **options))):
                    before.copy_(now)
        self.is_done = False


def tensors(values):
    return [value for value in pytree.tree_leaves(values) if isinstance(value, torch.Tensor)]


def simulate(monkeypatch):
    """Let trainings on the CPU record their steps. Gives the list of all graphs that they make."""
    graphs = []

    def make():
        graphs.append(Graph())
        return graphs[-1]
    monkeypatch.setattr(recording, "can_record", lambda device: True)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    return graphs


class Stream:
    def wait_stream(self, other):
        pass
