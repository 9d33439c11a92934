"""The built-in sample data: in the course layout, the same each time, and never in the place of something else."""
import csv
import os
from itertools import islice

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from common.cli import UserError
from common.data.images import put_on_photograph
from common.data.layout import ATTRIBUTES, SAMPLE_MARK, is_sample_data, load_digits, load_faces
from common.sample_data import (
    SIZES,
    _glyph,
    _handwritten,
    face_images,
    make_sample_data,
    mnistm_images,
    svhn_images,
    usps_images,
)

GENERATORS = {"usps": usps_images, "mnistm": mnistm_images, "svhn": svhn_images, "face": face_images}
MODES = {"usps": ("L", 28), "mnistm": ("RGB", 28), "svhn": ("RGB", 28), "face": ("RGB", 64)}
SPLITS = [(domain, split) for domain in SIZES for split in ("train", "test")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "data"
    make_sample_data(folder)
    return folder


def place(root, domain, split):
    return (root if domain == "face" else root / "digits") / domain / split


def rows(root, domain, split):
    with open(place(root, domain, f"{split}.csv"), newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(("domain", "split"), SPLITS)
def test_the_files_are_those_of_the_course_layout(root, domain, split):
    count = SIZES[domain][split == "test"]
    first = SIZES["face"][0] if (domain, split) == ("face", "test") else 0
    names = [f"{number:05d}.png" for number in range(first, first + count)]
    header, *body = rows(root, domain, split)
    assert header == ["image_name", *(ATTRIBUTES if domain == "face" else ["label"])]
    assert [row[0] for row in body] == names == sorted(os.listdir(place(root, domain, split)))
    assert {value for row in body for value in row[1:]} == ({"0.0", "1.0"} if domain == "face" else set("0123456789"))
    text = place(root, domain, f"{split}.csv").read_bytes()
    assert b"\r" not in text and text.endswith(b"\n")


@pytest.mark.parametrize(("domain", "split"), SPLITS)
def test_every_image_has_the_mode_and_size_of_its_domain(root, domain, split):
    mode, side = MODES[domain]
    for path in place(root, domain, split).iterdir():
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", mode, (side, side)), path


@pytest.mark.parametrize("domain", ["usps", "mnistm", "svhn"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_digits_are_balanced(root, domain, split):
    counts = np.bincount([int(label) for _, label in rows(root, domain, split)[1:]], minlength=10)
    assert abs(counts - counts.mean()).max() <= 0.3 * counts.mean()


def test_nothing_else_is_written(root):
    assert sorted(entry.name for entry in root.parent.iterdir()) == [root.name]
    assert {entry.name for entry in root.iterdir()} - {".cache"} == {"digits", "face", SAMPLE_MARK}


def test_the_mark_says_what_the_data_is(root):
    text = (root / SAMPLE_MARK).read_text()
    assert is_sample_data(root)
    assert "sample data" in text and "not be compared" in text


@pytest.mark.parametrize(("domain", "split"), SPLITS)
def test_a_second_generation_gives_the_same_bytes(root, tmp_path, domain, split):
    # the first hundred: each image draws from the same generator as those before it
    for (name, *values), (pixels, again) in zip(rows(root, domain, split)[1:101], GENERATORS[domain](split),
                                                strict=False):
        Image.fromarray(pixels).save(tmp_path / name)
        assert values == [str(value) for value in again]
        assert (tmp_path / name).read_bytes() == (place(root, domain, split) / name).read_bytes()


@pytest.mark.parametrize("domain", SIZES)
def test_no_image_occurs_twice_in_train_and_test(root, domain):
    images = [path.read_bytes() for split in ("train", "test") for path in place(root, domain, split).iterdir()]
    assert len(set(images)) == len(images) == sum(SIZES[domain])


def test_usps_and_mnistm_share_no_handwritten_digit():
    digits = [digit.tobytes() for domain in ("usps", "mnistm") for split in ("train", "test")
              for digit, _ in _handwritten(domain, split)]
    assert len(set(digits)) == len(digits) == sum(SIZES["usps"] + SIZES["mnistm"])


def test_a_digit_inverts_its_photograph_however_gray_it_is():
    digit = np.array([[0, 1, 128, 255]], np.uint8)
    crop = np.array([[[9, 80, 200]] * 4], np.uint8)
    assert put_on_photograph(digit, crop)[0].tolist() == [[9, 80, 200]] + 3 * [[246, 175, 55]]


def test_the_strokes_of_mnistm_have_hard_edges(monkeypatch):
    monkeypatch.setattr("common.sample_data._patch", lambda rng, photographs: np.full((28, 28, 3), 40, np.uint8))
    for image, _ in islice(mnistm_images("test"), 20):
        assert set(image.flat) == {40, 215} and 0.05 < (image == 215).mean() < 0.4


def test_the_digits_load(root):
    for domain in ("usps", "mnistm", "svhn"):
        for split, count in zip(("train", "test"), SIZES[domain], strict=True):
            digits = load_digits(root, domain, split)
            assert digits.images.shape == (count, 3, 28, 28)
            # contrast everywhere: no image came out blank
            assert digits.images.float().std((1, 2, 3)).min() > 8
    assert len(load_digits(root, "usps", "test", limit=20).labels) == 20


def test_a_label_is_the_digit_that_one_sees(monkeypatch):
    """By the nearest mean of scikit-learn's digits; of the house numbers' mean images, by the nearest letter."""
    monkeypatch.setattr("common.sample_data._patch", lambda rng, photographs: np.full((28, 28, 3), 40, np.uint8))
    normal = lambda rows: (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    shrunk = lambda pixels, size: np.asarray(
        Image.fromarray(pixels.astype(np.float32)).resize(size, Image.Resampling.BOX)).ravel()
    frame = lambda mask: mask[mask.any(axis=1)][:, mask.any(axis=0)]        # what is bright, without what is around
    written = sklearn.datasets.load_digits()
    means = normal(np.stack([written.data[written.target == digit].mean(axis=0) for digit in range(10)]))
    for images, part in ((usps_images, lambda pixels: pixels), (mnistm_images, lambda pixels: frame(pixels[:, :, 0] == 215))):
        pixels, labels = zip(*images("test"))
        nearest = (normal(np.stack([shrunk(part(image), (8, 8)) for image in pixels])) @ means.T).argmax(axis=1)
        assert (nearest == np.ravel(labels)).mean() > 0.6

    pixels, labels = zip(*svhn_images("test"))
    light = normal(np.stack([image[4:24, 8:20].mean(axis=2).ravel() for image in pixels]))      # brighter than its wall
    light = normal(np.stack([light[np.ravel(labels) == digit].mean(axis=0) for digit in range(10)]))
    letters = normal(np.stack([shrunk(np.asarray(_glyph("DejaVuSans", digit)), (12, 20)) for digit in range(10)]))
    assert ((light @ letters.T).argmax(axis=1) == np.arange(10)).sum() >= 8


def test_the_faces_load_and_their_attributes_make_sense(root):
    faces = load_faces(root, "train")
    assert faces.images.shape == (SIZES["face"][0], 3, 64, 64)
    column = {name: faces.attributes[:, i].bool() for i, name in enumerate(ATTRIBUTES)}
    colours = faces.attributes[:, [ATTRIBUTES.index(f"{colour}_Hair") for colour in ("Black", "Blond", "Brown")]]
    assert colours.sum(1).max() == 1
    assert not (column["Straight_Hair"] & column["Wavy_Hair"]).any()
    share = faces.attributes.float().mean(0)
    assert share.min() > 0.1 and share.max() < 0.7
    assert column["Wearing_Lipstick"][column["Male"]].float().mean() < 0.1
    assert column["High_Cheekbones"][column["Smiling"]].float().mean() > 0.6
    # the drawings show what the table says: black hair is darker above the forehead than blond hair
    top = faces.images[:, :, 8:16, 28:36].float().mean((1, 2, 3))
    assert top[column["Blond_Hair"]].mean() - top[column["Black_Hair"]].mean() > 50


def test_sample_data_that_is_there_is_left_alone(root, capsys):
    before = (root / SAMPLE_MARK).stat().st_mtime_ns
    make_sample_data(root)
    assert "already holds the sample data" in capsys.readouterr().out
    assert (root / SAMPLE_MARK).stat().st_mtime_ns == before


def test_a_foreign_folder_is_refused_and_not_touched(tmp_path):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="thesis holds something already"):
        make_sample_data(foreign)
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]
    assert (foreign / "chapter.txt").read_text() == "years of work"


def test_a_file_or_a_missing_parent_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file; give the name of a new folder"):
        make_sample_data(tmp_path / "file")
    with pytest.raises(UserError, match="does not exist; make it first"):
        make_sample_data(tmp_path / "missing" / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(split):
        yield from islice(usps_images(split), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr("common.sample_data.usps_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_sample_data(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path, monkeypatch):
    monkeypatch.setattr("common.sample_data._write_split", lambda *arguments: None)     # the images matter not here
    (tmp_path / "data").mkdir()
    make_sample_data(tmp_path / "data")
    assert is_sample_data(tmp_path / "data")
