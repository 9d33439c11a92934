"""The models that come with the code, as the page and README show them; and two reports side by side."""
import csv
import json
import re
import shutil
import statistics
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hw_report
import hw_shipped
from common import ship
from common.adaptation import OTHERS, reported
from common.report import __main__ as command
from common.training.weights import load_file, load_weights, save_file
from p1_vae.figures import REPORTED_MSE
from p3_dann.model import Classifier, FeatureExtractor
from tests import tiny
from tests.conftest import REPOSITORY
from tests.test_results import run_folder

ABOUT = {"data": "real digits", "command": "python3 -m p4_adda.train", "epochs": 3, "train_seconds": 90.0,
         "target_accuracy": 0.81234, "seed": 0}


@pytest.fixture
def shipped(weights, tmp_path, monkeypatch):
    """A repository that ships USPS → MNIST-M of DANN, and of ADDA over three seeds; and weights that are not to be shown."""
    root = tmp_path / "repository"
    monkeypatch.setattr(hw_shipped, "REPOSITORY", root)
    monkeypatch.setattr(hw_shipped, "PAIRS", tuple(OTHERS))     # of the columns below, whatever pairs are added

    def add(name, source, meta=None, **about):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = load_file(weights[source])
        save_file(path, content | {"meta": content["meta"] | (meta or {})})
        path.with_suffix(".json").write_text(json.dumps(ABOUT | about))
    add("p3_dann/weights/usps-mnistm.pt", "p3", target_absent_digits=[7, 9])
    add("p4_adda/weights/usps-mnistm.pt", "p4", seeds={"0": 0.80, "1": 0.82, "2": 0.84}, source_only_accuracy=0.7)
    add("p4_adda/weights/svhn-usps.pt", "p4", meta={"sample_data": True})
    shutil.copy(weights["p4"], root / "p4_adda" / "weights" / "mnistm-svhn.pt")      # says nothing of itself
    return root


def drawn(out, data):
    hw_shipped.draw_shipped(out, data)
    section = json.loads((out / "shipped.json").read_text())
    table, trained = (block for block in section["blocks"] if block["kind"] == "table")
    return section, {row[0]: row[1:] for row in table["rows"]}, table["caption"], trained


def test_the_page_shows_what_the_weights_say_of_themselves(shipped, sample_data, tmp_path):
    section, rows, caption, trained = drawn(tmp_path / "out", sample_data)
    assert rows == {
        "DANN, shipped": ["81.23", None, None], "DANN, the report": ["28.73", "48.20", "51.67"],
        "ADDA, shipped": ["81.23", None, None], "ADDA, mean ± sd (seeds)": ["82.00 ± 2.00 (3)", None, None],
        "ADDA, before adaptation": ["70.00", None, None], "ADDA, the report": ["10.07", "15.94", "13.15"],
        "best other answer, any method": ["56.70", "66.40", "85.10"]}
    assert ("DANN's for USPS → MNIST-M was measured on images without the digits 7, 9, and does not compare with the others; "
            in caption)
    assert any("in percentage points: USPS → MNIST-M +25.3." in block.get("text", "") for block in section["blocks"])
    assert [row[:2] for row in trained["rows"]] == [[f"{name}, USPS → MNIST-M", "real digits"] for name in ("DANN", "ADDA")]
    charts, = (block["charts"] for block in section["blocks"] if block["kind"] == "charts")
    assert charts[0]["rows"] == [["DANN", "dann", None, 0.2873], ["ADDA", "adda", pytest.approx(0.82), 0.1007],
                                 ["best other", "bound", 0.567, None]]
    assert section["results"] == {"faces": {}}, "sample data is not what they were trained for"


def test_real_test_images_are_measured_too(shipped, tiny_data, tmp_path):
    section, rows, *_ = drawn(tmp_path / "out", tiny_data)
    images, labels, _ = tiny.read(tiny_data, "mnistm", "test")
    extractor, classifier = FeatureExtractor(), Classifier()
    load_weights(shipped / "p3_dann/weights/usps-mnistm.pt", extractor=extractor, classifier=classifier)
    with torch.no_grad():
        right = classifier(extractor(tiny.as_seen(images, 8, standardised=True))).argmax(dim=1) == labels
    assert section["results"]["usps-mnistm_dann"] == pytest.approx(right.double().mean().item())
    for name, kind in (("DANN", "dann"), ("ADDA", "adda")):
        share = section["results"][f"usps-mnistm_{kind}"]
        assert rows[f"{name}, shipped, on the test images here"] == [f"{100 * share:.2f}", None, None]


def test_the_faces_of_this_repository_are_shown_and_measured(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(hw_shipped, "METHODS", {})
    hw_shipped.draw_shipped(tmp_path, tiny_data)
    section = json.loads((tmp_path / "shipped.json").read_text())
    figures = [block for block in section["blocks"] if block["kind"] == "figure"]
    for block, name in zip(figures, ("vae", "dcgan"), strict=True):
        grid = np.asarray(Image.open(tmp_path / block["path"]))
        assert grid.shape == (4 * 66 + 2, 8 * 66 + 2, 3) and grid.std() > 30 and block["path"] == f"figures/shipped_{name}.png"
    assert f"{np.mean(REPORTED_MSE):.4f}" in figures[0]["caption"], "the report's mean is the one of the ten images"
    assert 0 < section["results"]["faces"]["VAE"]["test_mse"] < 1 and section["results"]["faces"]["DCGAN"]["swd"]
    assert any("this machine's 6 test faces: VAE, mean squared error" in block.get("text", "") for block in section["blocks"])


def test_readme_says_what_the_data_says():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:5]] for line in readme.splitlines()
            if len(cells := line.split("|")) == 6}
    assert rows["best other answer to the assignment, any method"] == [f"{100 * OTHERS[pair]:.1f}" for pair in OTHERS]
    for method, folder in (("ADDA", "p4_adda"), ("DANN", "p3_dann")):
        assert rows[f"{method}, the report"] == [f"{100 * reported(pair, method.lower()):.2f}" for pair in OTHERS]
        shipped = [REPOSITORY / folder / "weights" / f"{'-'.join(pair)}.json" for pair in OTHERS]
        seeds = [[*json.loads(path.read_text())["seeds"].values()] if path.exists() else [] for path in shipped]
        assert rows[f"{method}, `--preset tuned`"] == [
            f"**{100 * statistics.mean(each):.1f}" + (f" ± {100 * statistics.stdev(each):.1f}**" if each[1:] else "**")
            if each else "–" for each in seeds]
    with open(REPOSITORY / "docs" / "adaptation.csv", newline="") as file:
        found = {row["command"]: row for row in csv.DictReader(file)}
    for bound, mode in (("upper", "target"), ("lower", "source")):
        each = [found[f"python3 -m p3_dann.train --source {source} --target {target} --mode {mode} --preset tuned"]
                for source, target in OTHERS]
        assert rows[f"{bound} bound: `p3_dann.train --mode {mode} --preset tuned`"] == [
            f"{100 * float(row['mean']):.1f} ± {100 * float(row['standard_deviation']):.1f}" for row in each]
    assert f"MSE {hw_shipped.OTHERS_MSE}" in readme
    for picture in re.findall(r"!\[.*\]\((.*)\)", readme):
        assert (REPOSITORY / picture).is_file()


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", *(f"docs/{path.name}" for path in
                                                                         sorted((REPOSITORY / "docs").glob("*.md")))])
def test_links_lead_somewhere(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        other = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert other.exists(), path
        headings = re.findall(r"^#+ (.*)", other.read_text(encoding="utf-8"), re.M) if anchor else []
        # as GitHub makes them of headings
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings], anchor


def test_readme_s_picture_is_drawn_from_files_here(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hw_shipped.py", str(tmp_path / "picture.png")])
    hw_shipped.main()
    picture = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).astype(int)
    assert picture.shape == (1200, 1050, 3) and [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    coloured = (picture.max(axis=2) - picture.min(axis=2)) > 60
    for part in np.array_split(coloured, 3):
        assert part.mean() > 0.01, "faces, bars and points"


def test_the_command_that_repeats_a_part_names_what_made_it_another():
    args = Namespace(only=["p3:usps-mnistm", "p4"], data=Path("my data"), preset="sample", runs=Path("runs/sample"),
                     out=Path("report"), seeds=2, seed=None, device=None, precision=None)
    assert hw_report.repeating(args, {"epochs": 1, "standardise": False}, "p3") == (
        "bash hw_report.sh --only p3:usps-mnistm --data 'my data' --preset sample --runs runs/sample --out report --seeds 2 "
        "--epochs 1 --no-standardise")


def test_two_reports_are_compared_number_by_number(tmp_path, monkeypatch, capsys):
    for name, share, swd in (("one", 0.5, [1.0, 2.0]), ("two", 0.75, [1.0, 2.5])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps({
            "p3_dann": {"preset": [name], "usps-mnistm_dann": share}, "p1_vae": {"swd": {"mean": swd}}}))
    monkeypatch.setattr(sys, "argv", ["report", "--compare", str(tmp_path / "one"), str(tmp_path / "two")])
    command.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["p3", "dann", "preset", "1", "one", "two"],
                         ["p3", "dann", "usps-mnistm", "dann", "0.5000", "0.7500", "+0.2500"],
                         ["p1", "vae", "swd", "mean", "2", "2.0000", "2.5000", "+0.5000"],
                         ["1", "of", "4", "values", "are", "the", "same", "in", "both", "reports."]]


def test_shipping_a_run_says_how_other_seeds_did(tmp_path, monkeypatch):
    for name, words, accuracy in (("a", ["--seed", "0"], 0.70), ("b", ["--seed", "1"], 0.72), ("c", ["--epochs", "9"], 0.5),
                                  ("0 again", ["--seed", "0"], 0.1), ("other data", ["--seed", "2"], 0.2)):
        run_folder(tmp_path / name, [*words, "--run", name], accuracy, "1", data_digests={"usps/train": name == "other data"})
    save_file(tmp_path / "a" / "weights.pt", {"meta": {}, "modules": {"part": {"weight": torch.zeros(2)}}})
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "summary.json").write_text("junk")
    monkeypatch.setattr(sys, "argv", ["ship", str(tmp_path / "a"), str(tmp_path / "out.pt"), "--data", "four images"])
    ship.main()
    assert json.loads((tmp_path / "out.json").read_text())["seeds"] == {"0": 0.70, "1": 0.72}
