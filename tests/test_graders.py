"""What graders run: hw_p1.sh … hw_p4.sh and hw_eval.py, from another folder, on images of every kind."""
import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from common.training import save_weights
from p1_vae.model import VAE
from p2_dcgan.model import Generator
from p3_dann.model import Classifier, FeatureExtractor
from p4_adda.model import LeNetClassifier, LeNetEncoder2
from tests.conftest import REPOSITORY


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Untrained weights of all four problems, as training leaves them: {"p1": path, …}."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_weights(folder / "p1.pt", {}, vae=VAE())
    save_weights(folder / "p2.pt", {"noise": "uniform"}, generator=Generator())
    save_weights(folder / "p3.pt", {"target": "mnistm", "image_size": 8}, extractor=FeatureExtractor(),
                 classifier=Classifier())
    save_weights(folder / "p4.pt", {"target": "mnistm"}, target_encoder=LeNetEncoder2(), classifier=LeNetClassifier())
    return {name: folder / f"{name}.pt" for name in ("p1", "p2", "p3", "p4")}


@pytest.fixture
def run_script(tmp_path):
    """run_script("hw_p1.sh", …): runs it in tmp_path, with this test run's Python as `python3`."""
    def call(script, *words):
        environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
        runner = ["python3"] if script.endswith(".py") else ["bash"]
        return subprocess.run([*runner, REPOSITORY / script, *map(str, words)], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)
    return call


@pytest.fixture
def mixed_folder(tmp_path):
    """Six images of different kinds and names, and things that are no images; names in the order of the answer."""
    folder = tmp_path / "some images"
    folder.mkdir()
    digit = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8))
    digit.save(folder / "10.png")
    digit.resize((61, 40)).convert("RGBA").save(folder / "9.png")
    digit.convert("P").save(folder / "A b.png")
    digit.convert("L").save(folder / "c,d.jpg")
    Image.new("I;16", (28, 28), 40000).save(folder / "sixteen.png")
    digit.save(folder / "é.BMP")
    (folder / "notes.txt").write_text("no image")
    (folder / "folder.png").mkdir()
    return folder, ["10.png", "9.png", "A b.png", "c,d.jpg", "sixteen.png", "é.BMP"]


@pytest.mark.parametrize("problem", ["p1", "p2"])
def test_32_faces_the_same_each_time(run_script, weights, tmp_path, problem):
    (tmp_path / "out").mkdir()
    for name in ("one.png", "two.png"):
        result = run_script(f"hw_{problem}.sh", f"out/{name}", "--weights", weights[problem])
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/one.png").read_bytes() == (tmp_path / "out/two.png").read_bytes()
    with Image.open(tmp_path / "out/one.png") as image:
        assert image.size == (8 * 66 + 2, 4 * 66 + 2)           # 8 by 4 faces of 64 pixels, 2 pixels between them
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize("problem", ["p3", "p4"])
def test_every_image_gets_a_label(run_script, weights, mixed_folder, tmp_path, problem):
    folder, names = mixed_folder
    result = run_script(f"hw_{problem}.sh", folder.name, "mnistm", "pred.csv", "--weights", weights[problem])
    assert result.returncode == 0, result.stderr
    lines = (tmp_path / "pred.csv").read_bytes().decode().split("\n")
    assert lines[0] == "image_name,label" and lines[-1] == ""
    rows = list(csv.reader(lines[1:-1]))
    assert [name for name, _ in rows] == names
    assert all(label in set("0123456789") for _, label in rows)
    first = (tmp_path / "pred.csv").read_bytes()
    run_script(f"hw_{problem}.sh", folder.name, "mnistm", "pred.csv", "--weights", weights[problem])
    assert (tmp_path / "pred.csv").read_bytes() == first


@pytest.mark.parametrize("problem", ["p3", "p4"])
@pytest.mark.parametrize("change, code, message", [
    ({"target": "mnist"}, 2, "invalid choice: 'mnist'"),
    ({"target": "usps"}, 1, "was trained for target mnistm, not usps"),
    ({"folder": "nowhere"}, 1, "nowhere is not a folder"),
    ({"folder": "empty"}, 1, "empty holds no image"),
    ({"folder": "damaged"}, 1, "cannot read the image damaged/2.png"),
    ({"output": "nowhere/pred.csv"}, 1, "the folder nowhere does not exist"),
    ({"output": "empty"}, 1, "empty is a folder"),
    ({"weights": "nothing.pt"}, 1, "nothing.pt do not exist"),
    ({"weights": "junk.pt"}, 1, "junk.pt does not hold the weights of this model"),
])
def test_bad_input_is_one_line_and_leaves_nothing(run_script, weights, tmp_path, problem, change, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for name in ("good", "damaged"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (28, 28)).save(tmp_path / name / "1.png")
    (tmp_path / "damaged/2.png").write_text("text")
    given = {"folder": "good", "target": "mnistm", "output": "pred.csv", "weights": weights[problem]} | change
    before = sorted(tmp_path.rglob("*"))
    result = run_script(f"hw_{problem}.sh", given["folder"], given["target"], given["output"], "--weights", given["weights"])
    assert result.returncode == code
    assert message in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("script, words", [
    ("hw_p1.sh", ["out.png"]), ("hw_p2.sh", ["out.png"]), ("hw_p3.sh", [".", "svhn", "pred.csv"]),
    ("hw_p4.sh", [".", "svhn", "pred.csv"])])
def test_without_weights_the_error_says_how_to_make_them(run_script, tmp_path, script, words):
    # svhn's weights are not shipped, as its images are not everywhere; for the faces, none are shipped yet
    result = run_script(script, *words)
    assert result.returncode == 1
    assert "there are no trained weights at" in result.stderr and "train with `bash p" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_face_grid_must_be_an_image(run_script, weights, tmp_path):
    result = run_script("hw_p1.sh", "out.txt", "--weights", weights["p1"])
    assert result.returncode == 1 and "out.txt is not an image's name" in result.stderr
    assert not (tmp_path / "out.txt").exists()


def test_eval_counts_by_name(run_script, tmp_path):
    (tmp_path / "truth.csv").write_text("image_name,label\na.png,1\nb.png,2\nc.png,3\n")
    (tmp_path / "pred.csv").write_text("image_name,label\nc.png,3\na.png,1\nb.png,0\n")
    result = run_script("hw_eval.py", "pred.csv", "truth.csv")
    assert result.stdout == "Accuracy: 2/3 (66.67%)\n" and result.returncode == 0


@pytest.mark.parametrize("prediction, message", [
    ("image_name,label\na.png,1\n", "pred.csv has no row for b.png"),
    ("image_name,label\na.png,1\nb.png,12\n", "line 3: the label of b.png is '12'"),
    ("image_name,label\na.png,1\na.png,1\n", "a.png is listed twice"),
    ("a.png,1\n", "the header lacks image_name, label"),
    ("", "the header lacks"),
    (None, "pred.csv does not exist"),
])
def test_eval_names_what_is_wrong(run_script, tmp_path, prediction, message):
    (tmp_path / "truth.csv").write_text("image_name,label\na.png,1\nb.png,2\n")
    if prediction is not None:
        (tmp_path / "pred.csv").write_text(prediction)
    result = run_script("hw_eval.py", "pred.csv", "truth.csv")
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
