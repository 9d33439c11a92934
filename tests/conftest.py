"""Fixtures: the sample data and a small report, made once for all tests, and a way to train in this process."""
import importlib
import os
import subprocess
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


def report(folder, *words):
    """Run hw_report.sh in that folder, with this test run's Python as `python3`."""
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", REPOSITORY / "hw_report.sh", *map(str, words)], cwd=folder, env=environment,
                          capture_output=True, text=True)


@pytest.fixture(scope="session")
def small_report(sample_data, tmp_path_factory):
    """The whole report at its smallest: (the folder it was made in, what the command left)."""
    folder = tmp_path_factory.mktemp("report run")
    result = report(folder, "--data", sample_data, "--preset", "sample", "--epochs", "1", "--limit", "30",
                    "--batch-size", "8", "--tex")
    assert result.returncode == 0, result.stderr
    return folder, result


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
