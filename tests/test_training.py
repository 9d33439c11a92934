"""Training: what a run leaves, that it can be repeated and resumed exactly, and what each algorithm may touch."""
import csv
import json
import math
import shutil
import subprocess

import pytest
import torch

from common import adaptation
from common.cli import UserError
from common.files import write_json
from common.training import device
from common.training import run as run_folder
from common.training.run import git_revision
from common.training.steps import Averages, shuffled_batches
from tests.conftest import SMALL, assert_same_weights, modules

PROBLEMS = list(SMALL)


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_run_folder_determinism_and_exact_resume(problem, train, interrupted, tmp_path):
    few = ("--limit", 12, "--batch-size", 4)        # three steps an epoch, of which a run is stopped in the last
    whole = train(problem, tmp_path / "whole", *SMALL[problem], *few)

    config, summary = (json.loads((whole / name).read_text()) for name in ("config.json", "summary.json"))
    assert config["settings"]["seed"] == 0 and config["versions"]["torch"] == torch.__version__
    assert config["sample_data"] is True
    assert {"p1_vae": "test_mse", "p2_dcgan": "diversity"}.get(problem, "target_accuracy") in summary
    assert [row["epoch"] for row in rows(whole)] == ["1", "2", "3"]
    if problem in ("p1_vae", "p2_dcgan"):
        assert (whole / "samples" / "epoch_003.png").is_file()

    resume_untouched = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(problem, tmp_path / "stopped", *SMALL[problem], *few)
    resume_untouched()
    assert not (tmp_path / "stopped" / "summary.json").exists()
    stopped = train(problem, tmp_path / "stopped", "--resume", *few)
    assert_same_weights(whole, stopped)
    assert rows(whole) == rows(stopped)

    other = train(problem, tmp_path / "other", *SMALL[problem], *few, "--seed", 1)
    with pytest.raises(AssertionError):
        assert_same_weights(whole, other)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_streamed_images_train_the_same_weights(problem, train, tmp_path, monkeypatch):
    """As for a dataset that is larger than the memory of the device."""
    flags = (*SMALL[problem], "--epochs", "1")
    resident = train(problem, tmp_path / "resident", *flags)
    monkeypatch.setattr(device, "_free_memory", lambda device: 0)
    get, taken = device.StreamedImages.__getitem__, []
    monkeypatch.setattr(device.StreamedImages, "__getitem__", lambda images, indices: taken.append(1) or get(images, indices))
    streamed = train(problem, tmp_path / "streamed", *flags)
    assert len(taken) >= 5, "a batch in each step"
    assert_same_weights(resident, streamed)


@pytest.fixture
def repositories(tmp_path, monkeypatch):
    """(their repository, ours unpacked in a folder of it, with no .git yet), and a function that calls git."""
    def git(folder, *words):
        return subprocess.run(["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True,
                              capture_output=True, text=True).stdout.strip()
    ours = tmp_path / "theirs" / "homework"
    (ours / "common").mkdir(parents=True)
    (ours / "common" / "cli.py").write_text("1\n")
    git(tmp_path / "theirs", "init", "-q")
    git(tmp_path / "theirs", "add", ".")
    git(tmp_path / "theirs", "commit", "-q", "-m", "theirs")
    monkeypatch.setattr(run_folder, "REPOSITORY", ours)
    return tmp_path / "theirs", ours, git


def test_the_revision_is_of_this_repository_or_none(repositories, monkeypatch):
    theirs, ours, git = repositories
    assert git_revision() is None
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(ours))
    assert git_revision() is None
    monkeypatch.delenv("GIT_WORK_TREE")
    monkeypatch.delenv("GIT_DIR")
    git(ours, "init", "-q")
    assert git_revision() is None, "no revision yet"
    git(ours, "add", ".")
    git(ours, "commit", "-q", "-m", "ours")
    revision = git(ours, "rev-parse", "--short", "HEAD")
    assert git_revision() == revision
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(theirs / ".git" / "index"))
    assert git_revision() == revision
    (ours / "common" / "cli.py").write_text("2\n")
    assert git_revision() == f"{revision}+"


def test_json_has_null_for_what_is_no_number(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [1.5, -math.inf, (math.inf, "NaN")], "c": {"d": None, "e": True}})
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == {
        "a": None, "b": [1.5, None, [None, "NaN"]], "c": {"d": None, "e": True}}


def test_adda_moves_the_target_encoder_alone(train, interrupted, tmp_path):
    resume_untouched = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train("p4_adda", tmp_path, *SMALL["p4_adda"], "--encoder-lr", "5e-5")
    resume_untouched()
    pretrained = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["parts"]
    final = modules(train("p4_adda", tmp_path, "--resume"))
    for name in ("source_encoder", "classifier"):
        for key, tensor in final[name].items():
            assert torch.equal(tensor, pretrained[name][key]), f"{name}.{key} changed while adapting"
    for key, tensor in final["target_encoder"].items():
        start = pretrained["source_encoder"][key]
        assert not torch.equal(tensor, start), f"target_encoder.{key} did not adapt"
        # it started from the source's: a few steps of Adam at 5e-5 cannot carry it far
        assert torch.allclose(tensor, start, atol=1e-3)


def test_dann_adapts_in_its_last_epoch_however_few_there_are(train, tmp_path):
    train("p3_dann", tmp_path, *SMALL["p3_dann"], "--source-epochs", "9", "--epochs", "1")
    [row] = rows(tmp_path)
    assert float(row["domain_loss"]) > 0


def test_dann_does_not_read_target_labels(train, tmp_path, monkeypatch):
    real = adaptation.load_digits

    def without_labels(root, domain, split, limit):
        digits = real(root, domain, split, limit)
        return digits._replace(labels=None) if (domain, split) == ("mnistm", "train") else digits
    expected = train("p3_dann", tmp_path / "labels", *SMALL["p3_dann"])
    monkeypatch.setattr(adaptation, "load_digits", without_labels)
    assert_same_weights(expected, train("p3_dann", tmp_path / "none", *SMALL["p3_dann"]))


@pytest.mark.parametrize("problem", ["p3_dann", "p4_adda"])
def test_an_epoch_has_the_steps_that_are_asked_for(problem, train, tmp_path, monkeypatch):
    taken = []
    add = Averages.add
    monkeypatch.setattr(Averages, "add", lambda averages, **values: taken.append(1) or add(averages, **values))
    train(problem, tmp_path, *SMALL[problem], "--steps-per-epoch", "7")
    assert len(taken) == 3 * 7


def test_dann_learns_the_source_alone_first(train, tmp_path):
    folder = train("p3_dann", tmp_path, *SMALL["p3_dann"], "--source-epochs", "2", "--pseudo-weight", "1")
    assert [bool(row["domain_loss"]) for row in rows(folder)] == [False, False, True]
    assert float(rows(folder)[2]["pseudo_share"]) >= 0


def test_dann_learns_a_pale_source_beside_a_target_of_black_and_white(train, tmp_path):
    """In batches of both, BatchNorm would lose the contrast of SVHN in that of USPS."""
    folder = train("p3_dann", tmp_path, "--source", "svhn", "--target", "usps", "--mode", "dann", "--limit", "800",
                   "--batch-size", "16", "--epochs", "3")
    assert float(rows(folder)[-1]["train_accuracy"]) > 0.5


def test_the_upper_bound_is_changed_as_a_target_is(train, tmp_path):
    """A change that makes a source more like a target would make a target less like itself."""
    flags = ("--epochs", "1", "--mode", "target", "--image-size", "4", "--rotation", "10")
    plain = train("p3_dann", tmp_path / "plain", *flags, "--shrink", "0", "--enlarge", "0", "--backgrounds", "0")
    strong = ("--shrink", "0.5", "--enlarge", "0.5", "--backgrounds", "1", "--inversion", "--permute-colours")
    assert_same_weights(plain, train("p3_dann", tmp_path / "strong", *flags, *strong))
    turned = train("p3_dann", tmp_path / "turned", *flags, "--rotation", "0")
    with pytest.raises(AssertionError):
        assert_same_weights(plain, turned)


@pytest.mark.parametrize("mode", ["source", "target"])
def test_bounds_learn_their_own_domain(train, tmp_path, mode):
    folder = train("p3_dann", tmp_path, "--mode", mode, "--epochs", "1", "--image-size", "4")
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
    with pytest.raises(UserError, match="is from another version, without lr_step; choose another --run"):
        train("p1_vae", tmp_path, "--epochs", "1", "--resume")


@pytest.mark.parametrize("changed", ["the settings", "the checkpoint"])
def test_resume_refuses_a_checkpoint_of_other_settings(train, interrupted, tmp_path, changed):
    undo = interrupted(epochs=1)
    for run, seed in (("run", "0"), ("other", "7")):
        with pytest.raises(KeyboardInterrupt):
            train("p1_vae", tmp_path / run, "--epochs", "2", "--seed", seed)
    undo()
    if changed == "the checkpoint":
        shutil.copy(tmp_path / "other/checkpoint.pt", tmp_path / "run")
    else:
        config = json.loads((tmp_path / "run/config.json").read_text())
        config["settings"]["seed"] = 7
        (tmp_path / "run/config.json").write_text(json.dumps(config))
    before = (tmp_path / "run/checkpoint.pt").read_bytes()
    with pytest.raises(UserError, match=r"checkpoint.pt was made with other settings than config.json has beside it \(seed\)"):
        train("p1_vae", tmp_path / "run", "--resume")
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == before


def test_resume_makes_weights_again_that_are_missing(train, tmp_path, capsys):
    train("p1_vae", tmp_path, "--epochs", "1")
    before = modules(tmp_path)
    (tmp_path / "weights.pt").unlink()
    train("p1_vae", tmp_path, "--resume")
    assert f"warning: {tmp_path / 'weights.pt'} is missing; it is made again from the checkpoint" in capsys.readouterr().err
    for name, weight in modules(tmp_path)["vae"].items():
        assert torch.equal(weight, before["vae"][name])


def test_resume_refuses_a_checkpoint_with_other_parts(train, interrupted, tmp_path):
    """As that of another version, whose optimizers have other names."""
    undo = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train("p3_dann", tmp_path, *SMALL["p3_dann"])
    undo()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["parts"]["learn"] = state["parts"].pop("optimizer")
    torch.save(state, tmp_path / "checkpoint.pt")
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(UserError, match=r"checkpoint.pt is from another version, without optimizer; move the folder away, or"):
        train("p3_dann", tmp_path, "--resume")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_shuffled_batches_cycle_evenly():
    order = shuffled_batches(5, batch_size=4, steps=5, device="cpu")
    assert order.shape == (5, 4)
    assert torch.bincount(order.flatten()).tolist() == [4, 4, 4, 4, 4]
    assert sorted(order.flatten()[:5].tolist()) == [0, 1, 2, 3, 4]
