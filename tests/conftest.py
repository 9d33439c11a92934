"""Fixtures: the sample data, made once for all tests, and a way to run a training script in this process."""
import importlib
import sys
from pathlib import Path

import pytest
import torch

from common.sample_data import make_sample_data

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "sample_data"
    make_sample_data(root)
    return root


@pytest.fixture
def train(monkeypatch, sample_data):
    """train("p1_vae", run_folder, flag, …): calls that problem's main() on a few sample images."""
    def call(problem, folder, *flags):
        # a test must not depend on what ran before it in this process
        torch.manual_seed(12345)
        words = ["--data", str(sample_data), "--preset", "sample", "--run", str(folder), "--limit", "40", "--batch-size", "8"]
        monkeypatch.setattr(sys, "argv", [problem, *words, *PAIR.get(problem, ()), *map(str, flags)])
        importlib.import_module(f"{problem}.train").main()
        return Path(folder)
    return call


PAIR = {"p3_dann": ("--source", "usps", "--target", "mnistm"), "p4_adda": ("--source", "usps", "--target", "mnistm")}
# the flags that make each problem's smallest run of three epochs
SMALL = {
    "p1_vae": ("--epochs", "3"),
    "p2_dcgan": ("--epochs", "3"),
    "p3_dann": ("--epochs", "3", "--mode", "dann", "--image-size", "8"),
    "p4_adda": ("--epochs", "2", "--source-epochs", "1"),
}
