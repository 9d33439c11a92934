"""Fixtures: the sample data and a small report, made once for all tests, and a way to train in this process."""
import fcntl
import functools
import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hw_report
from common.adaptation import PAIRS
from common.sample_data import make_sample_data
from common.training.run import Run
from common.training.weights import save_weights
from p1_vae.model import VAE
from p2_dcgan.model import Generator
from p3_dann.model import Classifier, FeatureExtractor
from p4_adda.model import LeNetClassifier, LeNetEncoder2
from tests import tiny

signal.signal(signal.SIGINT, signal.default_int_handler)      # which a script's background processes ignore
REPOSITORY = Path(__file__).resolve().parent.parent
SLOWEST = ("test_report", "test_plan", "test_training", "test_graders", "test_distributed", "test_faults", "test_steps",
           "test_benchmarks", "test_grade")


def pytest_configure(config):
    config.option.loadscopereorder = False      # pytest-xdist's order would have the files with most tests first


def pytest_collection_modifyitems(items):
    """The slowest files first, so that pytest's processes end at about the same time."""
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def once(tmp_path_factory, name, make):
    """A new folder and what make(folder) returned; once for all of pytest's processes."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / name
    with open(folder.with_suffix(".result"), "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not file.seek(0, os.SEEK_END):
            folder.mkdir()
            pickle.dump(make(folder), file)
        file.seek(0)
        return folder, pickle.load(file)


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory):
    folder, _ = once(tmp_path_factory, "data", lambda folder: make_sample_data(folder / "sample_data"))
    return folder / "sample_data"


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """See tests/tiny.py."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    tiny.make(folder)
    return folder


def report(folder, *words):
    """Run hw_report.sh in that folder, with this test run's Python as `python3`."""
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", REPOSITORY / "hw_report.sh", *map(str, words)], cwd=folder, env=environment,
                          capture_output=True, text=True)


RIVALS = ("common/__init__", "common/cli", *(f"{problem}/__init__" for problem in ("p1_vae", "p2_dcgan", "p3_dann", "p4_adda")),
          "hw_report", "runpy", "tokenize", "types", "torch/__init__", "numpy", "packaging", "venv/__init__", "pip")


def add_rivals(folder):
    """Put modules into `folder` that are named as ours, Python's and packages', and end the program that imports them."""
    for name in RIVALS:
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit(f'imported {__file__}')\n")


def run_here(jobs, at_once):
    """Does what common.runs.jobs.run_jobs does in this process, as another takes seconds to import torch."""
    for job in sorted(jobs, key=lambda job: bool(job.after)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", job.command[2:])
            importlib.import_module(job.command[2]).main()
    return []


def draw_nothing(patch):
    """Have hw_report.py draw neither runs nor the models that come with the code, as long as `patch` holds."""
    patch.setattr(hw_report, "drawing_jobs", lambda *_: ())
    patch.setattr(hw_report, "draw_shipped", lambda *_: None)


def train_here(folder, *words):
    """Train what hw_report.sh with these words would train in that folder, in this process, and draw nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(hw_report, "run_jobs", run_here)
        draw_nothing(patch)
        patch.setattr(sys, "argv", ["hw_report.py", *map(str, words)])
        hw_report.main()


SMALLEST = ("--preset", "sample", "--epochs", "1", "--source-epochs", "1", "--limit", "30", "--batch-size", "8")


@pytest.fixture(scope="session")
def small_report(sample_data, tmp_path_factory):
    """The whole report at its smallest, made in a folder with rivals: (that folder, what the command left).

    The command itself trains one run of each problem; the others are there.
    """
    others = ("p1:kl1", "p2:gaussian", "p3:usps-mnistm", "p3:mnistm-svhn", "p3:svhn-usps:source", "p3:svhn-usps:target",
              *(f"p4:{source}-{target}" for source, target in PAIRS))

    def make(folder):
        words = ("--data", sample_data, *SMALLEST)
        train_here(folder, *words, "--only", *others)
        shutil.rmtree(folder / "report")
        add_rivals(folder)
        return report(folder, *words, "--tex")
    folder, result = once(tmp_path_factory, "report run", make)
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Untrained weights as training leaves them, of all problems, and p4's without its target ("bare"): {"p1": path, …}."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_weights(folder / "p1.pt", {"problem": "p1_vae"}, vae=VAE())
    save_weights(folder / "p2.pt", {"problem": "p2_dcgan", "noise": "uniform"}, generator=Generator())
    save_weights(folder / "p3.pt", {"problem": "p3_dann", "target": "mnistm", "image_size": 8, "standardise": True},
                 extractor=FeatureExtractor(), classifier=Classifier())
    save_weights(folder / "p4.pt", {"target": "mnistm", "standardise": True}, target_encoder=LeNetEncoder2(),
                 classifier=LeNetClassifier())
    save_weights(folder / "bare.pt", {}, target_encoder=LeNetEncoder2(), classifier=LeNetClassifier())
    return {path.stem: path for path in folder.iterdir()}


def call_training(monkeypatch, sample_data, problem, folder, *flags):
    """Calls that problem's main() on a few sample images."""
    # a test must not depend on what ran before it in this process
    torch.manual_seed(12345)
    words = ["--data", str(sample_data), "--preset", "sample", "--run", str(folder), "--limit", "40", "--batch-size", "8"]
    monkeypatch.setattr(sys, "argv", [problem, *words, *PAIR.get(problem, ()), *map(str, flags)])
    importlib.import_module(f"{problem}.train").main()
    return Path(folder)


@pytest.fixture
def train(monkeypatch, sample_data):
    """train("p1_vae", run_folder, flag, …): see call_training."""
    return functools.partial(call_training, monkeypatch, sample_data)


@pytest.fixture
def interrupted(monkeypatch):
    """interrupted(epochs): from now on, training is stopped as by Ctrl-C in the middle of the epoch after that many."""
    def arm(epochs):
        batches = Run.batches

        def stop_midway(run, indices, averages):
            for number, batch in enumerate(batches(run, indices, averages)):
                if run.epoch == epochs and number == 2:
                    raise KeyboardInterrupt
                yield batch
        monkeypatch.setattr(Run, "batches", stop_midway)
        return lambda: monkeypatch.setattr(Run, "batches", batches)
    return arm


def modules(folder):
    return torch.load(folder / "weights.pt", weights_only=True)["modules"]


def assert_same_weights(one, other):
    one, other = modules(one), modules(other)
    assert one.keys() == other.keys()
    for name in one:
        for key, tensor in one[name].items():
            assert torch.equal(tensor, other[name][key]), f"{name}.{key}"


PAIR = {"p3_dann": ("--source", "usps", "--target", "mnistm"), "p4_adda": ("--source", "usps", "--target", "mnistm")}
# the flags that make each problem's smallest run of three epochs
SMALL = {
    "p1_vae": ("--epochs", "3"),
    "p2_dcgan": ("--epochs", "3"),
    "p3_dann": ("--epochs", "3", "--mode", "dann", "--image-size", "4"),
    "p4_adda": ("--epochs", "2", "--source-epochs", "1"),
}
