"""Faults while a run goes on: what stops it, what it leaves, and that it can go on. The long ones are in torture.py."""
import contextlib
import fcntl
import itertools
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.nn import functional as F

from common.adaptation import label_folder
from common.cli import UserError, run_command
from common.data import images
from common.files import PART, read_json
from common.runs.read import read_metrics
from common.training import run as run_folder
from common.training.run import Run
from common.training.steps import Averages, binary_cross_entropy
from common.training.weights import load_file
from tests.conftest import PAIR, REPOSITORY, SMALL, assert_same_weights, call_training

PROBLEMS = list(SMALL)


@pytest.fixture
def settings(sample_data, tmp_path):
    """Of a run of no problem."""
    return {"problem": "p0", "device": "cpu", "seed": 0, "data": str(sample_data), "limit": 2, "domain": "usps",
            "resume": False, "tensorboard": False, "eager": False, "run": tmp_path}


@pytest.fixture(scope="module")
def whole(sample_data, tmp_path_factory):
    """The folder of an undisturbed run of problem 1."""
    with pytest.MonkeyPatch.context() as patch:
        return call_training(patch, sample_data, "p1_vae", tmp_path_factory.mktemp("whole"), *SMALL["p1_vae"])


@pytest.fixture
def stopped(train, interrupted, tmp_path):
    """The same run, stopped as by Ctrl-C in its third epoch."""
    undo = interrupted(epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train("p1_vae", tmp_path / "run", *SMALL["p1_vae"])
    undo()
    return tmp_path / "run"


def cut(content):
    return content[:-1000]


def flip(content):
    return content[:100_000] + bytes([content[100_000] ^ 4]) + content[100_001:]


@pytest.mark.parametrize("damage", [cut, flip])
def test_the_checkpoint_before_a_damaged_one_is_used(whole, stopped, train, capsys, damage):
    checkpoint = stopped / "checkpoint.pt"
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    train("p1_vae", stopped, "--resume")
    output, error = capsys.readouterr()
    assert f"warning: {checkpoint} is damaged" in error and "going on after epoch 1 of 3" in output
    assert_same_weights(whole, stopped)


def test_killed_between_two_checkpoints(whole, stopped, train):
    (stopped / "checkpoint.pt").rename(stopped / "checkpoint_before.pt")
    (stopped / "samples" / f"{PART}x.png").write_bytes(b"half an image")
    train("p1_vae", stopped, "--resume")
    assert_same_weights(whole, stopped)
    assert not list(stopped.rglob(f"{PART}*"))


def test_a_full_disk_leaves_the_last_checkpoint(whole, stopped, train, monkeypatch):
    """The limit on the size of files stands for the disk: the system refuses a write in the middle of the checkpoint."""
    before = (stopped / "checkpoint.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write .*checkpoint.pt: File too large; make room"):
            train("p1_vae", stopped, "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (stopped / "checkpoint.pt").read_bytes() == before
    assert not list(stopped.rglob(f"{PART}*"))
    train("p1_vae", stopped, "--resume")
    assert_same_weights(whole, stopped)


def test_a_second_process_is_refused(whole, stopped, train):
    with open(stopped / ".lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process trains into .*run; wait for it or stop it"):
            train("p1_vae", stopped, "--resume")
    assert (stopped / ".lock").is_file(), "what a killed process leaves"
    train("p1_vae", stopped, "--resume")
    assert_same_weights(whole, stopped)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_losses_that_are_not_finite_stop_the_run(train, tmp_path, problem):
    with pytest.raises(UserError, match=r"not all losses are finite at step \d+ of epoch 1: .*(nan|inf).*a smaller learn"):
        train(problem, tmp_path, *SMALL[problem], "--generator-lr" if problem == "p2_dcgan" else "--lr", "1e30")
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize("device, last", [("cpu", 6), ("cuda", 8)])
def test_the_step_is_named_however_rarely_one_looks(settings, monkeypatch, device, last):
    """On a CPU at once; on a GPU, where the losses of many steps are read at once, soon."""
    monkeypatch.setattr(run_folder, "CHECK_EVERY", 4)
    run = Run(settings | {"eager": True}, 1, {})
    run.device = torch.device(device)
    losses, steps = Averages(), 0
    with pytest.raises(UserError, match="step 6 of epoch 1: loss nan, other 6;"):
        for number in run.batches(range(1, 100), losses):
            losses.add(loss=torch.tensor(float("nan") if number >= 6 else 1.0), other=torch.tensor(float(number)))
            steps = number
    assert steps == last


def test_averages():
    losses = Averages()
    for value in (1.0, 2.0, 6.0):
        losses.add(loss=torch.tensor(value, requires_grad=True), share=torch.tensor(value / 2))
    assert losses.means() == {"loss": 3.0, "share": 1.5} and losses.read() == []


def test_weights_that_are_not_finite_reach_no_checkpoint(settings, tmp_path):
    network = torch.nn.Linear(2, 2)
    run = Run(settings, 2, {"network": network})
    list(run.batches(range(1), Averages()))
    run.end_epoch(loss=1.0)
    list(run.batches(range(1), Averages()))
    network.bias.data[0] = float("inf")
    with pytest.raises(UserError, match="at the end of epoch 2: loss 1, weights of network nan"):
        run.end_epoch(loss=1.0)
    state = load_file(tmp_path / "checkpoint.pt")
    assert state["epoch"] == 1 and state["parts"]["network"]["bias"].isfinite().all()


def test_the_time_of_a_run_is_that_of_all_its_epochs(settings, monkeypatch):
    """By a clock that ticks whenever it is read; the run goes on after its second epoch."""
    monkeypatch.setattr(run_folder.time, "perf_counter", itertools.count().__next__)
    for resume, epochs in ((False, 2), (True, 3)):
        run = Run(settings | {"resume": resume}, 3, {})
        while run.epoch < epochs:
            list(run.batches(range(1), Averages()))
            run.end_epoch(loss=1.0)
        run.lock.close()
    run.finish()
    rows = read_metrics(run.folder)
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds[0] >= 1 and all(later >= before + 1 for before, later in zip(seconds, seconds[1:]))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    summary = read_json(run.folder / "summary.json")
    assert (summary["train_seconds"], summary["epochs"]) == (seconds[-1], 3)


def test_binary_cross_entropy_is_torchs_but_for_nan():
    probabilities = torch.tensor([0.0, 0.3, 1.0], requires_grad=True)
    targets = torch.tensor([0.0, 1.0, 1.0])
    ours, theirs = (loss(probabilities, targets) for loss in (binary_cross_entropy, F.binary_cross_entropy))
    assert ours == theirs
    assert torch.equal(*(torch.autograd.grad(loss, probabilities)[0] for loss in (ours, theirs)))
    assert binary_cross_entropy(torch.tensor([0.5, float("nan")]), torch.ones(2)).isnan()


def test_out_of_memory_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: torch.empty(10**15))
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: out of memory; try a smaller --batch-size or --limit\n"


def test_labelling_decodes_no_more_than_the_next_images(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    for number in range(2000):
        (tmp_path / f"images/{number}.png").touch()
    decoded, seen = [], []
    monkeypatch.setattr(images, "read_image", lambda path, *_: decoded.append(path) or images.np.zeros((28, 28, 3), "uint8"))

    def network(images):
        seen.append(len(images))
        assert len(decoded) <= sum(seen) + 128 * (os.cpu_count() + 1)
        return torch.zeros(len(images), 10)
    label_folder(network, tmp_path / "images", tmp_path / "pred.csv", torch.device("cpu"))
    assert sum(seen) == len(decoded) == 2000 and max(seen) == 128


@pytest.mark.parametrize("words", [
    [sys.executable, "-m", "p4_adda.train", *PAIR["p4_adda"], "--run", "runs/p4_usps-mnistm", "--preset", "sample"],
    ["bash", REPOSITORY / "p4_adda/run.sh"]])
def test_sigterm_says_how_to_go_on(sample_data, tmp_path, words):
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}",
                                "PYTHONPATH": str(REPOSITORY)}
    how = "with --resume continues"
    if words[0] == "bash":
        words, how = [*words, "--runs", "runs", "--preset", "sample"], "continues"
    # in the background of a script, where SIGINT is ignored
    words = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *words, "--data", sample_data, "--source-epochs", "1000"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "runs/p4_usps-mnistm/checkpoint.pt").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)      # whatever has not ended by itself
    assert process.returncode == 130
    assert error == f"stopped: the finished epochs are saved; the same command {how} from there\n"
    with open(tmp_path / "runs/p4_usps-mnistm/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)        # nothing goes on in the background
    assert load_file(tmp_path / "runs/p4_usps-mnistm/checkpoint.pt")["epoch"] >= 1
