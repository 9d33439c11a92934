"""Training: what a run leaves, that it can be repeated and resumed exactly, and what each algorithm may touch."""
import csv
import json
import subprocess
import sys

import pytest
import torch

from common.cli import UserError
from common.training import Run, load_weights, shuffled_batches
from p1_vae.model import VAE
from tests.conftest import REPOSITORY, SMALL

PROBLEMS = list(SMALL)


def modules(folder):
    return torch.load(folder / "weights.pt", weights_only=True)["modules"]


def assert_same_weights(one, other):
    one, other = modules(one), modules(other)
    assert one.keys() == other.keys()
    for name in one:
        for key, tensor in one[name].items():
            assert torch.equal(tensor, other[name][key]), f"{name}.{key}"


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


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


@pytest.mark.parametrize("problem", PROBLEMS)
def test_run_folder_determinism_and_exact_resume(problem, train, interrupted, tmp_path):
    whole = train(problem, tmp_path / "whole", *SMALL[problem])

    config, summary = (json.loads((whole / name).read_text()) for name in ("config.json", "summary.json"))
    assert config["settings"]["seed"] == 0 and config["versions"]["torch"] == torch.__version__
    assert config["sample_data"] is True
    assert {"p1_vae": "test_mse", "p2_dcgan": "diversity"}.get(problem, "target_accuracy") in summary
    assert [row["epoch"] for row in rows(whole)] == ["1", "2", "3"]
    if problem in ("p1_vae", "p2_dcgan"):
        assert (whole / "samples" / "epoch_003.png").is_file()

    resume_untouched = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(problem, tmp_path / "stopped", *SMALL[problem])
    resume_untouched()
    assert not (tmp_path / "stopped" / "summary.json").exists()
    stopped = train(problem, tmp_path / "stopped", "--resume")
    assert_same_weights(whole, stopped)
    assert rows(whole) == rows(stopped)

    other = train(problem, tmp_path / "other", *SMALL[problem], "--seed", 1)
    with pytest.raises(AssertionError):
        assert_same_weights(whole, other)


def test_adda_moves_the_target_encoder_alone(train, interrupted, tmp_path):
    resume_untouched = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train("p4_adda", tmp_path, *SMALL["p4_adda"])
    resume_untouched()
    pretrained = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["parts"]
    final = modules(train("p4_adda", tmp_path, "--resume"))
    for name in ("source_encoder", "classifier"):
        for key, tensor in final[name].items():
            assert torch.equal(tensor, pretrained[name][key]), f"{name}.{key} changed while adapting"
    for key, tensor in final["target_encoder"].items():
        start = pretrained["source_encoder"][key]
        assert not torch.equal(tensor, start), f"target_encoder.{key} did not adapt"
        # it started from the source's: a few steps of Adam at 1e-5 cannot carry it far
        assert torch.allclose(tensor, start, atol=1e-3)


def test_dann_does_not_read_target_labels(train, tmp_path, monkeypatch):
    import p3_dann.train
    real = p3_dann.train.load_digits

    def without_labels(root, domain, split, limit):
        digits = real(root, domain, split, limit)
        return digits._replace(labels=None) if (domain, split) == ("mnistm", "train") else digits
    expected = train("p3_dann", tmp_path / "labels", *SMALL["p3_dann"])
    monkeypatch.setattr(p3_dann.train, "load_digits", without_labels)
    assert_same_weights(expected, train("p3_dann", tmp_path / "none", *SMALL["p3_dann"]))


@pytest.mark.parametrize("mode", ["source", "target"])
def test_bounds_learn_their_own_domain(train, tmp_path, mode):
    folder = train("p3_dann", tmp_path, "--mode", mode, "--epochs", "1", "--image-size", "8")
    summary = json.loads((folder / "summary.json").read_text())
    assert 0 <= summary["target_accuracy"] <= 1 and 0 <= summary["source_accuracy"] <= 1


def test_a_second_run_into_a_folder_is_refused(train, tmp_path):
    train("p1_vae", tmp_path, "--epochs", "1")
    before = (tmp_path / "weights.pt").read_bytes()
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        train("p1_vae", tmp_path, "--epochs", "1")
    train("p1_vae", tmp_path, "--resume")        # a finished run is left as it is
    assert (tmp_path / "weights.pt").read_bytes() == before


def test_resume_refuses_other_settings(train, tmp_path):
    train("p1_vae", tmp_path, "--epochs", "1")
    with pytest.raises(UserError, match="was started with kl_weight = 0.25, not 2.0"):
        train("p1_vae", tmp_path, "--epochs", "1", "--resume", "--kl-weight", "2")


def test_resume_refuses_a_run_of_a_version_with_fewer_settings(train, tmp_path):
    train("p1_vae", tmp_path, "--epochs", "1")
    config = json.loads((tmp_path / "config.json").read_text())
    del config["settings"]["lr_step"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="is of a version that did not know lr_step; choose another --run"):
        train("p1_vae", tmp_path, "--epochs", "1", "--resume")


def test_a_damaged_checkpoint_is_one_clear_error(train, tmp_path):
    train("p1_vae", tmp_path, "--epochs", "1")
    (tmp_path / "summary.json").unlink()
    (tmp_path / "checkpoint.pt").write_bytes(b"PK no checkpoint")
    with pytest.raises(UserError, match="cannot go on from .*checkpoint.pt"):
        train("p1_vae", tmp_path, "--resume")


def test_losses_that_are_not_finite_end_the_run(train, tmp_path):
    with pytest.raises(UserError, match="became (nan|inf) in epoch 1.*try a smaller --lr"):
        train("p1_vae", tmp_path, "--epochs", "1", "--lr", "1e6")


def test_shuffled_batches_cycle_evenly():
    order = shuffled_batches(5, batch_size=4, steps=5, device="cpu")
    assert order.shape == (5, 4)
    assert torch.bincount(order.flatten()).tolist() == [4, 4, 4, 4, 4]
    assert sorted(order.flatten()[:5].tolist()) == [0, 1, 2, 3, 4]


def test_weights_with_code_in_them_are_refused(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))
    torch.save({"meta": {}, "modules": Payload()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="does not hold the weights"):
        load_weights(tmp_path / "weights.pt", vae=VAE())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("flags, code, message", [
    (("--epochs", "0"), 2, "0 is not a number from 1 up"),
    (("--lr", "nan"), 2, "nan is not a number"),
    (("--preset", "best"), 2, "invalid choice: 'best'"),
    (("--device", "cuda:99"), 1, "error: the device cuda:99 cannot be used"),
    (("--data", "nowhere"), 1, "train.csv does not exist"),
])
def test_wrong_flags_are_one_clear_line(tmp_path, flags, code, message):
    result = subprocess.run(
        [sys.executable, "-m", "p1_vae.train", "--run", tmp_path / "run", *flags],
        cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == code
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
