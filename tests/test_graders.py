"""What graders run: hw_p1.sh … hw_p4.sh and hw_eval.py, from another folder, on images of every kind."""
import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY, add_rivals


@pytest.fixture
def run_script(tmp_path):
    """run_script("hw_p1.sh", …): runs it in tmp_path, with this test run's Python as `python3`."""
    def call(script, *words):
        environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
        runner = ["python3"] if str(script).endswith(".py") else ["bash"]
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


def test_what_graders_run_imports_no_training():
    modules = [f"{problem}.inference" for problem in ("p1_vae", "p2_dcgan", "p3_dann", "p4_adda")]
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert loaded.issuperset(modules)
    assert not loaded.intersection(("common.training.run", "common.training.steps", *(
        module.replace("inference", "train") for module in modules)))


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


@pytest.mark.parametrize("script", ["hw_p1.sh", "hw_p2.sh"])
def test_the_shipped_weights_draw_faces(run_script, tmp_path, script):
    add_rivals(tmp_path)
    result = run_script(script, "out.png")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "out.png") as image:
        faces = np.mean([np.asarray(image.crop((left, top, left + 64, top + 64)), float)
                         for left in range(2, 530, 66) for top in range(2, 266, 66)], axis=0)
    gray, (red, _, blue) = faces.mean(axis=2), faces[20:44, 20:44].mean(axis=(0, 1))
    assert np.corrcoef(gray.ravel(), gray[:, ::-1].ravel())[0, 1] > 0.5, "the mean of 32 faces is nearly symmetric"
    assert red > blue + 20, "and has the colour of skin"


def test_each_image_is_reconstructed_under_its_name(run_script, weights, mixed_folder, tmp_path):
    folder, names = mixed_folder
    result = run_script("hw_p1.sh", "--reconstruct", folder.name, "out", "--weights", weights["p1"])
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "mse.csv"])
    with open(tmp_path / "out/mse.csv", newline="", encoding="utf-8") as file:
        header, *rows, mean = csv.reader(file)
    assert header == ["image_name", "mse"] and [name for name, _ in rows] == names and mean[0] == "mean"
    assert float(mean[1]) == pytest.approx(sum(float(error) for _, error in rows) / 6, abs=1e-6)
    for name, error in rows:
        with Image.open(folder / name) as image, Image.open(tmp_path / "out" / name) as reconstruction:
            assert reconstruction.format == "PNG" and reconstruction.size == (64, 64)
            if name == "10.png":
                pixels = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)) / 255
                difference = np.mean((pixels - np.asarray(reconstruction) / 255) ** 2)
                assert float(error) == pytest.approx(difference, rel=0.01), "anyone finds the same from the files"


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


@pytest.mark.parametrize("script, words, code, message", [
    ("hw_p1.sh", ["nowhere/out.png"], 1, "the folder nowhere does not exist"),
    ("hw_p2.sh", [], 2, "required: OUT.png"),
    ("hw_p3.sh", ["some images", "mnist", "pred.csv"], 2, "invalid choice: 'mnist'"),
    ("hw_p4.sh", ["nowhere", "mnistm", "pred.csv"], 1, "nowhere is not a folder"),
])
def test_the_scripts_pass_errors_on(run_script, weights, mixed_folder, tmp_path, script, words, code, message):
    """Bad input of all kinds, for the Python commands that they call, is in test_bad_input.py."""
    before = sorted(tmp_path.rglob("*"))
    result = run_script(script, *words, "--weights", weights[script[3:5]])
    assert result.returncode == code
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("problem", ["p3_dann", "p4_adda"])
def test_without_weights_the_error_says_how_to_make_them(run_script, tmp_path, problem):
    clone, script = tmp_path / "clone", f"hw_{problem[:2]}.sh"
    for part in ("common", problem):
        shutil.copytree(REPOSITORY / part, clone / part, ignore=shutil.ignore_patterns("*.pt", "__pycache__"))
    shutil.copy(REPOSITORY / script, clone)
    result = run_script(clone / script, ".", "svhn", "pred.csv")
    assert result.returncode == 1
    assert "there are no trained weights at" in result.stderr and "train with `bash p" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clone"]


def test_eval_counts_by_name(run_script, tmp_path):
    (tmp_path / "truth.csv").write_text("image_name,label\na.png,1\nb.png,2\nc.png,3\n")
    (tmp_path / "pred.csv").write_text("image_name,label\nc.png,3\na.png,1\nb.png,0\n")
    result = run_script("hw_eval.py", "pred.csv", "truth.csv")
    assert result.stdout == "Accuracy: 2/3 (66.67%)\n" and result.returncode == 0
