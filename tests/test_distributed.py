"""Two processes that train one model: the numbers of one process, one writer, one line when they end early."""
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from common.cli import UsageError, UserError
from common.training import distributed
from common.training.distributed import Group, share, use_own_gpu
from common.training.run import Run
from tests.conftest import PAIR, REPOSITORY, add_rivals, call_training, modules
from tests.two_processes import gradients

# as the script torchrun does, which is not always beside this Python
TORCHRUN = (sys.executable, "-c", "import sys; sys.path[:] = filter(None, sys.path)\n"
            "from torch.distributed.run import main; main()", "--standalone", "--nproc_per_node=2")
# all that draws random numbers; and small steps, because Adam divides gradients that are 0 up to rounding by themselves
FLAGS = {
    "p1_vae": ("--epochs", "1", "--lr", "1e-5", "--limit", "24"),
    "p2_dcgan": ("--epochs", "1", "--diff-augment", "colour", "--brightness-contrast", "0.2", "--generator-lr", "1e-5",
                 "--discriminator-lr", "1e-5", "--limit", "24"),
    "p3_dann": ("--epochs", "2", "--mode", "dann", "--preset", "tuned", "--image-size", "4", "--pseudo-confidence", "0.1",
                "--source-epochs", "1", "--steps-per-epoch", "5", "--lr", "1e-5"),
    "p4_adda": ("--epochs", "2", "--source-epochs", "1", "--steps-per-epoch", "5", "--preset", "tuned",
                "--pseudo-confidence", "0.1"),
}
PROBLEMS = list(FLAGS)


def command(problem, folder, sample_data, *flags):
    return [problem, "--data", str(sample_data), "--preset", "sample", "--run", str(folder), "--limit", "40",
            "--batch-size", "8", "--precision", "float32", *PAIR.get(problem, ()), *flags]


def torchrun(*words, folder=REPOSITORY):
    """Start two processes in `folder`: subprocess.Popen, the leader of a process group of its own."""
    return subprocess.Popen([*TORCHRUN, *map(str, words)], cwd=folder, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: float(value or 0) for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def one(sample_data, tmp_path_factory):
    """A folder of runs that one process made, by problem, and "stopped", a run of problem 4 without its last epoch."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        for problem in PROBLEMS:
            call_training(patch, sample_data, problem, folder / problem, "--precision", "float32", *FLAGS[problem])
        end_epoch = Run.end_epoch

        def stop(run, **metrics):
            if run.epoch == 2:
                raise KeyboardInterrupt
            end_epoch(run, **metrics)
        patch.setattr(Run, "end_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            call_training(patch, sample_data, "p4_adda", folder / "stopped", "--precision", "float32", *FLAGS["p4_adda"])
    return folder


@pytest.fixture(scope="module")
def two(one, sample_data, tmp_path_factory):
    """The same runs by two processes, "stopped" resumed, at last one whose losses are NaN: folder, code, output, error."""
    folder = tmp_path_factory.mktemp("two")
    commands = [command(problem, folder / problem, sample_data, *FLAGS[problem]) for problem in PROBLEMS]
    commands.append(["p4_adda", "--run", str(one / "stopped"), "--resume", *PAIR["p4_adda"]])
    commands.append(command("p4_adda", folder / "nan", sample_data, "--lr", "1e30"))
    (folder / "commands.json").write_text(json.dumps(commands))
    around = tmp_path_factory.mktemp("around")      # not where the runs are: some rivals have their names
    add_rivals(around)
    process = torchrun("--", REPOSITORY / "common/start.py", "tests.two_processes", folder / "gradients.pt",
                       folder / "commands.json", folder=around)
    output, error = process.communicate(timeout=300)
    return SimpleNamespace(folder=folder, code=process.returncode, output=output, error=error)


def assert_alike(one, two, rtol):
    for row, other in zip(rows(one), rows(two), strict=True):
        assert row == pytest.approx(other, rel=rtol, abs=rtol)
    for name, module in modules(one).items():
        for key, tensor in module.items():
            assert torch.allclose(tensor, modules(two)[name][key], rtol, rtol), f"{name}.{key}"


def test_gradients_and_statistics_are_those_of_the_whole_batch(two):
    expected, found = gradients(), torch.load(two.folder / "gradients.pt")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.allclose(tensor, found[name], rtol=1e-4, atol=1e-5 * float(tensor.abs().max())), name


@pytest.mark.parametrize("problem", PROBLEMS)
def test_two_processes_compute_what_one_computes(one, two, problem):
    assert_alike(one / problem, two.folder / problem, rtol=1e-3)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_one_process_alone_writes_and_prints(one, two, problem):
    assert files(one / problem) == files(two.folder / problem)
    assert max(Counter(two.output.splitlines()).values()) == 1 and f"{problem} epoch 1/" in two.output
    hardware = json.loads((two.folder / problem / "config.json").read_text())["hardware"]
    assert hardware == "2 × CPU, 1 thread"


def test_two_processes_go_on_with_a_run_of_one(one, two):
    assert "going on after epoch 2 of 3" in two.output
    assert_alike(one / "p4_adda", one / "stopped", rtol=1e-3)


def test_losses_that_are_not_finite_stop_all_processes_with_one_line(two):
    told = [line for line in two.error.splitlines() if line.startswith(("error:", "stopped:"))]
    assert two.code != 0 and len(told) == 1 and "not all losses are finite at step" in told[0]
    assert not list((two.folder / "nan").glob("*.pt"))


def test_a_signal_to_one_process_stops_all_with_one_line(sample_data, train, tmp_path):
    flags = ("--epochs", "1", "--source-epochs", "500")
    process = torchrun("-m", "--", *(f"{w}.train" if w == "p4_adda" else w for w in command(
        "p4_adda", tmp_path / "run", sample_data, *flags)))
    while not (tmp_path / "run" / "checkpoint.pt").is_file() and process.poll() is None:
        time.sleep(0.05)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[1]), signal.SIGTERM)
    output, error = process.communicate(timeout=300)
    told = [line for line in error.splitlines() if line.startswith(("error:", "stopped:"))]
    assert len(told) == 1 and "the same command with --resume continues from there" in told[0]
    assert "epoch 1/501" in output and "done in" not in output


@pytest.mark.parametrize("work, kind, message", [
    (lambda: share(torch.zeros(7)), UsageError,
     "a batch of 7 images cannot be shared equally by 2 processes; choose a --batch-size that 2 divides"),
    (lambda: use_own_gpu(torch.device("cuda:1")), UsageError, "--device cuda:1 is one GPU for 2 processes"),
    (lambda: use_own_gpu(torch.device("cuda")), UserError, "2 processes on a machine with 1 GPU; start torchrun with"),
])
def test_what_several_processes_cannot_do_is_said(monkeypatch, work, kind, message):
    monkeypatch.setattr(distributed, "_group", Group(0, 2, None))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(kind, match=message):
        work()
