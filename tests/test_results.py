"""Tables of runs over seeds, and weights made ready to ship."""
import contextlib
import csv
import json
import re
import sys

import pytest
import torch

from common import results, ship
from common.cli import UserError
from common.training.weights import load_weights, save_weights
from p4_adda.model import LeNetClassifier, LeNetEncoder2

COMMAND = ["python3", "-m", "p4_adda.train", "--source", "usps", "--target", "mnistm", "--preset", "tuned"]


def run_folder(folder, words, accuracy, labels, hardware="CPU", images=100, **config):
    folder.mkdir(parents=True)
    seed = re.search(r"--seed[ =](\d+)", " ".join(words))
    (folder / "config.json").write_text(json.dumps({
        "command": [*COMMAND, *words], "hardware": hardware, "git_revision": "abc1234",
        "settings": {"seed": int(seed[1]) if seed else 0, "preset": "tuned"}} | config))
    (folder / "summary.json").write_text(json.dumps({
        "target_accuracy": accuracy, "source_only_accuracy": accuracy / 2, "target_entropy": 0.25, "train_images": images,
        "epochs": 3, "train_seconds": 90.0}))
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (folder / "target_train.csv").write_text("image_name,label\n" + rows)


def table(monkeypatch, *folders, out):
    monkeypatch.setattr(sys, "argv", ["results", *map(str, folders), "--out", str(out)])
    results.main()
    with open(out, newline="") as file:
        return {row["command"]: row for row in csv.DictReader(file)}


def test_one_row_a_command_over_its_seeds(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    run_folder(runs / "a", ["--seed", "0", "--run", "x y", "--resume"], 0.70, "1234")
    run_folder(runs / "b", ["--data", "elsewhere", "--seed", "1", "--run", "z"], 0.72, "1235")
    run_folder(runs / "c", ["--blend", "0", "--run", "w"], 0.5, "1234")
    (runs / "unfinished").mkdir()
    rows = table(monkeypatch, runs, out=tmp_path / "table.csv")
    tuned = " ".join(COMMAND)
    assert list(rows) == [tuned, f"{tuned} --blend 0"]
    row = rows[tuned]
    assert (row["metric"], row["seeds"], row["mean"]) == ("target_accuracy", "2", "0.7100")
    assert float(row["standard_deviation"]) == pytest.approx(0.0141, abs=1e-4)
    assert row["source_only_mean"] == "0.3550" and row["entropy_nats"] == "0.250"
    assert row["agreement_percent"] == "75.0" and row["minutes_each"] == "1.5"
    alone = rows[f"{tuned} --blend 0"]
    assert (alone["seeds"], alone["standard_deviation"], alone["agreement_percent"]) == ("1", "", "")


def test_runs_on_other_data_make_no_mean(tmp_path, monkeypatch, capsys):
    # the first is of a version that did not say
    for seed, digests in enumerate(({}, {"usps/train": "a1"}, {"usps/train": "b2"}, {"usps/train": "a1"})):
        run_folder(tmp_path / "runs" / str(seed), [f"--seed={seed}"], 0.70 + seed / 100, "1234", data_digests=digests)
    row, = table(monkeypatch, tmp_path / "runs", out=tmp_path / "table.csv").values()
    assert (row["seeds"], row["mean"], row["command"]) == ("3", "0.7133", " ".join(COMMAND))
    line, _ = capsys.readouterr().out.splitlines()
    assert line == f"Left out {tmp_path / 'runs/2'}: {tmp_path / 'runs/1'} has the same command, but not the same usps/train"


def test_runs_of_versions_whose_presets_differ_make_no_mean(tmp_path, monkeypatch, capsys):
    """A setting that is off may be one that a version did not have."""
    for seed, setting in enumerate(({}, {"target_images": 12000}, {"target_images": 0}, {"lr": 0.1}, {"device": "cuda"})):
        run_folder(tmp_path / "runs" / str(seed), ["--seed", str(seed)], 0.70 + seed / 100, "1234",
                   settings={"seed": seed, "preset": "tuned", "lr": 0.2} | setting)
    row, = table(monkeypatch, tmp_path / "runs", out=tmp_path / "table.csv").values()
    assert (row["seeds"], row["mean"]) == ("3", "0.7200")
    lines = capsys.readouterr().out.splitlines()[:2]
    assert lines == [f"Left out {tmp_path / 'runs' / run}: {tmp_path / 'runs/0'} has the same command, but not the same {name}"
                     for run, name in (("1", "target_images"), ("3", "lr"))]


def test_agreement_is_of_the_same_images_alone(tmp_path, monkeypatch):
    """As of data whose images were given other names, or of a file that was cut."""
    for seed in (0, 1):
        run_folder(tmp_path / "runs" / str(seed), ["--seed", str(seed)], 0.70, "1234")
    path = tmp_path / "runs/1/target_train.csv"
    for change in (("0.png", "img_0.png"), ("img_0.png,1\n", "")):
        path.write_text(path.read_text().replace(*change))
        row, = table(monkeypatch, tmp_path / "runs", out=tmp_path / "table.csv").values()
        assert (row["seeds"], row["agreement_percent"]) == ("2", "")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", "null"])
def test_what_is_no_number_makes_no_mean(tmp_path, monkeypatch, capsys, value):
    for seed in (0, 1):
        run_folder(tmp_path / "runs" / str(seed), ["--seed", str(seed)], 0.75, "1234")
    path = tmp_path / "runs/1/summary.json"
    path.write_text(path.read_text().replace("0.75", value))
    row, = table(monkeypatch, tmp_path / "runs", out=tmp_path / "table.csv").values()
    assert (row["seeds"], row["mean"]) == ("1", "0.7500")
    assert "no number for target_accuracy" in capsys.readouterr().out


def test_a_seed_is_counted_once(tmp_path, monkeypatch, capsys):
    for name, seed, accuracy in (("a", 0, 0.70), ("b", 0, 0.70), ("c", 1, 0.74)):
        run_folder(tmp_path / "runs" / name, ["--seed", str(seed)], accuracy, "1234")
    row, = table(monkeypatch, tmp_path / "runs", tmp_path / "runs", out=tmp_path / "table.csv").values()
    assert (row["seeds"], row["mean"]) == ("2", "0.7200")
    line, _ = capsys.readouterr().out.splitlines()
    assert line == f"Left out {tmp_path / 'runs/b'}: {tmp_path / 'runs/a'} has the same command and seed, and is counted"


def test_a_row_of_runs_on_several_machines_and_data_says_so(tmp_path, monkeypatch):
    for number, (hardware, images) in enumerate((("GPU", 900), ("CPU", 900), ("GPU", 1000))):
        run_folder(tmp_path / "runs" / str(number), ["--seed", str(number)], 0.70, "1234", hardware, images)
    row, = table(monkeypatch, tmp_path / "runs", out=tmp_path / "table.csv").values()
    assert (row["hardware"], row["train_images"], row["epochs"]) == ("CPU, GPU", "900, 1000", "3")
    assert row["minutes_each"] == "", "a mean over both is neither's"


@pytest.mark.parametrize("files, reason", [
    ({"config.json": "[1]"}, "config.json is damaged"),
    ({"config.json": ""}, "cannot read"),
    ({"config.json": '{"model": "bert"}'}, "config.json is damaged"),
    ({"summary.json": "{}"}, "summary.json is damaged"),
    ({"summary.json": '{"accuracy": 1, "train_images": 1, "epochs": 1, "train_seconds": 1.0}'}, "no number for target"),
    ({"summary.json": '{"diversity": null, "train_images": 1, "epochs": 1, "train_seconds": 1.0}'}, "no number for target"),
    ({"target_train.csv": "junk"}, "target_train.csv: the header lacks image_name, label"),
])
def test_what_is_no_run_of_ours_is_left_out(tmp_path, monkeypatch, capsys, files, reason):
    for name in ("ours", "other"):
        run_folder(tmp_path / "runs" / name, [], 0.70, "1234")
    for name, content in files.items():
        (tmp_path / "runs" / "other" / name).write_text(content)
    row, = table(monkeypatch, tmp_path / "runs", out=tmp_path / "table.csv").values()
    assert row["seeds"] == "1"
    line, _ = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Left out {tmp_path / 'runs/other'}: ") and reason in line


@pytest.mark.parametrize("number, column", [("0.25", "entropy_nats"), ("90.0", "minutes_each")])
@pytest.mark.parametrize("value", ["null", "NaN"])
def test_another_number_that_is_none_is_left_out(tmp_path, monkeypatch, number, column, value):
    run_folder(tmp_path / "a", [], 0.70, "1234")
    path = tmp_path / "a/summary.json"
    path.write_text(path.read_text().replace(number, value))
    if (number, value) == ("90.0", "null"):
        with pytest.raises(UserError, match="no finished run"):
            table(monkeypatch, tmp_path, out=tmp_path / "table.csv")
        return
    row, = table(monkeypatch, tmp_path, out=tmp_path / "table.csv").values()
    assert (row["mean"], row[column]) == ("0.7000", "")


def test_a_folder_without_runs_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"{tmp_path}: no finished run"):
        table(monkeypatch, tmp_path, out=tmp_path / "table.csv")


def test_shipped_weights_are_half_as_large_and_predict_alike(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run_folder(run, [], 0.7, "1")
    torch.manual_seed(0)
    encoder, classifier = LeNetEncoder2().eval(), LeNetClassifier()
    save_weights(run / "weights.pt", {"target": "mnistm"}, target_encoder=encoder, classifier=classifier)
    shipped = tmp_path / "weights" / "usps-mnistm.pt"
    monkeypatch.setattr(sys, "argv", ["ship", str(run), str(shipped), "--data", "four images"])
    ship.main()
    assert shipped.stat().st_size < 0.6 * (run / "weights.pt").stat().st_size
    other, head = LeNetEncoder2(), LeNetClassifier()
    assert load_weights(shipped, target_encoder=other, classifier=head) == {"target": "mnistm"}
    images = torch.rand(5, 3, 28, 28) * 2 - 1
    assert other.fc1.weight.dtype == torch.float32
    assert torch.allclose(head(other(images)), classifier(encoder(images)), atol=2e-3)
    about = json.loads(shipped.with_suffix(".json").read_text())
    assert about["data"] == "four images" and about["target_accuracy"] == 0.7 and about["git_revision"] == "abc1234"
    assert about["command"] == " ".join(COMMAND) and (about["preset"], about["seed"]) == ("tuned", 0)


@pytest.mark.parametrize("place, settings, message", [
    ("p4_adda/weights/usps-mnistm.pt", {"problem": "p3_dann"}, "is for weights of p4_adda; this is a run of p3_dann"),
    ("p4_adda/weights/usps-mnistm.pt", {"source": "svhn"}, "is for weights of usps-mnistm; this is a run of svhn-mnistm"),
    ("p3_dann/weights/usps-mnistm.pt", {"problem": "p3_dann", "mode": "source"}, "for an adapted network; .* mode source"),
    ("p4_adda/weights/usps-mnistm.pt", {}, None),
    ("p4_adda/weights/mine/usps-mnistm.pt", {"source": "svhn"}, None),
    ("p4_adda/weights/usps-mnistm_seed1.pt", {}, None),
    ("out/weights/usps-mnistm.pt", {"source": "svhn"}, None),
])
def test_the_graders_weights_are_replaced_by_their_like_alone(place, settings, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ship, "REPOSITORY", tmp_path)
    config = {"problem": "p4_adda", "source": "usps", "target": "mnistm"} | settings
    with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
        ship.check_place(tmp_path / place, config)


def test_weights_and_their_json_are_written_both_or_not_at_all(tmp_path, monkeypatch):
    run_folder(tmp_path / "run", [], 0.7, "1", settings={"seed": 0, "problem": "p4_adda"})
    save_weights(tmp_path / "run" / "weights.pt", {}, classifier=LeNetClassifier())
    (tmp_path / "out.json").symlink_to(tmp_path / "elsewhere.json")
    monkeypatch.setattr(sys, "argv", ["ship", str(tmp_path / "run"), str(tmp_path / "out.pt"), "--data", "four images"])
    with pytest.raises(UserError, match=r"out\.json is a link"):
        ship.main()
    monkeypatch.setattr(ship, "REPOSITORY", tmp_path)
    monkeypatch.setattr(sys, "argv", [*sys.argv[:2], str(tmp_path / "p3_dann/weights/usps-svhn.pt"), *sys.argv[3:]])
    with pytest.raises(UserError, match="is for weights of p3_dann; this is a run of p4_adda"):
        ship.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "run"]


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    with pytest.raises(UserError, match="scale cannot be held in half precision"):
        ship.halve({"scale": torch.tensor([1e6]), "count": torch.tensor(3)})
