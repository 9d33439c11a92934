"""Reading the course layout: what is read, what is cached, what is refused and how."""
import resource
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from common import data
from common.cli import UserError
from common.data import ATTRIBUTES, StreamedImages, list_images, load_digits, load_faces, on_device, read_image


@pytest.fixture
def layout(tmp_path):
    """Three gray digits of one value each."""
    folder = tmp_path / "digits" / "usps" / "train"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("L", (28, 28), 10 * number).save(folder / f"0000{number}.png")
    (tmp_path / "digits/usps/train.csv").write_text("image_name,label\n00000.png,7\n00001.png,0\n00002.png,9\n")
    return tmp_path


def test_digits(layout):
    digits = load_digits(layout, "usps", "train")
    assert digits.images.shape == (3, 3, 28, 28) and digits.images.dtype == torch.uint8
    assert digits.images[:, :, 0, 0].tolist() == [[0] * 3, [10] * 3, [20] * 3]      # gray became RGB
    assert digits.labels.tolist() == [7, 0, 9] and digits.labels.dtype == torch.int64
    assert digits.names == ["00000.png", "00001.png", "00002.png"]
    assert load_digits(layout, "usps", "train", limit=2).labels.tolist() == [7, 0]


def test_faces(sample_data):
    faces = load_faces(sample_data, "test", limit=5)
    assert faces.images.shape == (5, 3, 64, 64) and faces.attributes.shape == (5, 13)
    assert set(faces.attributes.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("text, message", [
    ("image_name,Bangs\n", "face/test.csv: the header lacks Big_Lips"),
    (",".join(["image_name", *ATTRIBUTES]) + "\n1.png" + ",1.0,0.5" + ",0" * 11, "test.csv, line 2: Big_Lips of 1.png is"),
])
def test_a_bad_csv_of_faces_is_named(tmp_path, text, message):
    (tmp_path / "face").mkdir()
    (tmp_path / "face/test.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_faces(tmp_path, "test")


def test_second_load_comes_from_the_cache(layout, monkeypatch):
    first = load_digits(layout, "usps", "train")
    monkeypatch.setattr(data, "read_images", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(load_digits(layout, "usps", "train").images, first.images)


def test_cache_notices_a_changed_image(layout):
    load_digits(layout, "usps", "train")
    Image.new("L", (28, 28), 200).save(layout / "digits/usps/train/00001.png")
    assert load_digits(layout, "usps", "train").images[1].unique().tolist() == [200]


def test_a_damaged_cache_is_made_again(layout):
    first = load_digits(layout, "usps", "train").images.clone()
    for file in (layout / ".cache").iterdir():
        file.write_bytes(b"not an array")
    assert torch.equal(load_digits(layout, "usps", "train").images, first)


def test_changing_a_loaded_tensor_leaves_the_cache_alone(layout):
    load_digits(layout, "usps", "train")
    load_digits(layout, "usps", "train").images.fill_(99)
    assert load_digits(layout, "usps", "train").images[0].unique().tolist() == [0]


@pytest.mark.parametrize("text, message", [
    ("image_name,label\n00000.png,7\n00001.png,10\n", "train.csv, line 3: the label of 00001.png is '10'; expected 0 to 9"),
    ("image_name,label\n00000.png,x\n", "line 2: the label of 00000.png is 'x'"),
    ("image_name,label\n00000.png,1.5\n", "line 2: the label of 00000.png is '1.5'"),
    ("image_name,label\n00009.png,1\n", "00009.png is no file, but .*train.csv lists it"),
    ("image_name,label\n00000.png,1\n", "train.csv has no row for .*00001.png"),
    ("image_name,label\n00000.png,1\n00000.png,1\n", "00000.png is listed twice"),
    ("image_name,label\n../usps/00000.png,1\n", "is not a plain file name"),
    ("image_name,label\n00000.png,1,2\n", "line 2: 3 fields; expected 2"),
    ("name,label\n00000.png,1\n", "the header lacks image_name"),
    ("image_name,label\n", "lists no images"),
    ("", "the header lacks image_name, label"),
])
def test_a_bad_csv_is_named(layout, text, message):
    (layout / "digits/usps/train.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_digits(layout, "usps", "train")


def test_labels_like_4_0_bom_and_crlf_are_fine(layout):
    (layout / "digits/usps/train.csv").write_bytes(
        b"\xef\xbb\xbfimage_name,label\r\n00000.png,4.0\r\n00001.png,5\r\n00002.png,6\r\n")
    assert load_digits(layout, "usps", "train").labels.tolist() == [4, 5, 6]


def test_a_damaged_image_is_named(layout):
    (layout / "digits/usps/train/00001.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match="cannot read the image .*00001.png"):
        load_digits(layout, "usps", "train")


def test_an_image_of_the_wrong_size_is_named(layout):
    Image.new("L", (32, 28)).save(layout / "digits/usps/train/00002.png")
    with pytest.raises(UserError, match="00002.png has 32x28 pixels; expected 28x28"):
        load_digits(layout, "usps", "train")


def test_a_missing_split_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match="train.csv does not exist; download the dataset"):
        load_faces(tmp_path, "train")


def test_a_full_disk_still_loads(layout):
    """The limit on the size of files stands for the disk: the system refuses a write in the middle of the cache."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        images = load_digits(layout, "usps", "train").images
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((layout / ".cache").iterdir())
    assert torch.equal(load_digits(layout, "usps", "train").images, images)


def test_a_split_is_decoded_into_its_cache_not_into_memory(layout, monkeypatch):
    monkeypatch.setattr(data, "read_images", lambda *_: pytest.fail("decoded into memory"))
    images = load_digits(layout, "usps", "train").images
    assert on_device(images, torch.device("cpu")) is images, "training on a CPU reads the memory map itself"


def test_images_that_do_not_fit_on_the_device_are_streamed(layout, monkeypatch):
    images = load_digits(layout, "usps", "train").images
    monkeypatch.setattr(data, "_free_memory", lambda device: 2 * images.nbytes - 1)
    streamed = on_device(images, torch.device("cpu"))
    assert isinstance(streamed, StreamedImages) and len(streamed) == 3
    assert torch.equal(streamed[torch.tensor([2, 0])], images[[2, 0]])
    monkeypatch.setattr(data, "_free_memory", lambda device: 2 * images.nbytes)
    assert torch.is_tensor(on_device(images, torch.device("cpu")))


@pytest.mark.parametrize("mode, value, expected", [
    ("L", 100, [100, 100, 100]), ("RGB", (10, 20, 30), [10, 20, 30]), ("RGBA", (10, 20, 30, 0), [10, 20, 30]),
    ("LA", (50, 255), [50, 50, 50]), ("1", 1, [255, 255, 255]), ("I;16", 65535, [255, 255, 255]),
    ("I;16", 257 * 40, [40, 40, 40]), ("P", 0, [1, 2, 3]),
])
@pytest.mark.parametrize("size", [(28, 28), (1, 1), (61, 17)])
def test_every_mode_and_size_becomes_rgb(tmp_path, mode, value, expected, size):
    image = Image.new(mode, size, value)
    if mode == "P":
        image.putpalette([1, 2, 3] + [0] * 765)
    image.save(tmp_path / "image.png")
    pixels = read_image(tmp_path / "image.png", 28)
    assert pixels.shape == (28, 28, 3) and pixels.dtype == np.uint8
    assert pixels.reshape(-1, 3).min(0).tolist() == pixels.reshape(-1, 3).max(0).tolist() == expected


def test_images_are_listed_by_name_whatever_their_case(tmp_path):
    for name in ("b.PNG", "a b.jpg", "ü.bmp", "c.jpeg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a b.jpg", "b.PNG", "c.jpeg", "ü.bmp"]
    shutil.rmtree(tmp_path / "folder.png")
    with pytest.raises(UserError, match="is not a folder"):
        list_images(tmp_path / "folder.png")
