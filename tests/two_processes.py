"""What test_distributed.py lets torchrun start twice: gradients, then training commands, as each start takes seconds.

    torchrun --standalone --nproc_per_node=2 tests/two_processes.py GRADIENTS.pt COMMANDS.json
"""
import importlib
import json
import sys
from pathlib import Path

import torch
from torch import nn

from common.cli import run_command
from common.training.distributed import is_first, share, start, wrap
from common.training.run import WHEN_STOPPED


def gradients():
    """Two steps' gradients, and the buffers, of a network with BatchNorm and Dropout: {name: tensor}."""
    torch.manual_seed(0)
    # no bias before BatchNorm: its gradient is 0, but for rounding
    network = wrap(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(),
                                 nn.Conv2d(8, 4, 3)), "cpu")
    images = torch.randn(8, 3, 6, 6) * torch.arange(1, 9).view(8, 1, 1, 1)      # so each share has statistics of its own
    for _ in range(2):
        # two passes and one backward, as in the discriminator's step
        (network(share(images)).square().mean() + network(share(images.flip(3))).mean()).backward()
    return {name: weight.grad for name, weight in network.named_parameters()} | dict(network.named_buffers())


def main():
    for problem, *words in json.loads(Path(sys.argv[2]).read_text()):
        sys.argv[1:] = words
        importlib.import_module(f"{problem}.train").main()


if __name__ == "__main__":
    start()
    found = gradients()
    if is_first():
        torch.save({name.removeprefix("module."): tensor for name, tensor in found.items()}, sys.argv[1])
    run_command(main, WHEN_STOPPED)
