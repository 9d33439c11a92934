"""Reading the course layout: what is read, what is cached, what is refused and how."""
import hashlib
import resource
import shutil
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from common.cli import UserError
from common.data import grid
from common.data import layout as course_layout
from common.data.archive import Archive
from common.data.images import list_images, read_image
from common.data.layout import ATTRIBUTES, digest, load_digits, load_faces
from common.training import device
from common.training.device import StreamedImages, on_device


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
    monkeypatch.setattr(course_layout, "read_images", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(load_digits(layout, "usps", "train").images, first.images)


def test_cache_notices_a_changed_image(layout):
    load_digits(layout, "usps", "train")
    Image.new("L", (28, 28), 200).save(layout / "digits/usps/train/00001.png")
    assert load_digits(layout, "usps", "train").images[1].unique().tolist() == [200]


def test_a_digest_is_of_pixels_and_labels(layout):
    table, images = layout / "digits/usps/train.csv", layout / "digits/usps/train"
    found = [digest(layout, "usps", "train")]
    table.write_text(table.read_text().replace("00001.png,0", "00001.png,1"))
    found.append(digest(layout, "usps", "train"))
    Image.new("L", (28, 28), 21).save(images / "00002.png")
    found.append(digest(layout, "usps", "train"))
    assert len(set(found)) == 3
    (images / "00002.png").rename(images / "other.png")
    table.write_text(table.read_text().replace("00002.png", "other.png"))
    assert digest(layout, "usps", "train") == found[-1], "but not of the files' names"


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
    ("image_name,label\n00009.png,1\n", "00009.png is not a file, but .*train.csv lists it"),
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
    monkeypatch.setattr(course_layout, "read_images", lambda *_: pytest.fail("decoded into memory"))
    images = load_digits(layout, "usps", "train").images
    assert on_device(images, torch.device("cpu")) is images, "training on a CPU reads the memory map itself"


def test_images_that_do_not_fit_on_the_device_are_streamed(layout, monkeypatch):
    images = load_digits(layout, "usps", "train").images
    monkeypatch.setattr(device, "_free_memory", lambda device: 2 * images.nbytes - 1)
    streamed = on_device(images, torch.device("cpu"))
    assert isinstance(streamed, StreamedImages) and len(streamed) == 3
    assert torch.equal(streamed[torch.tensor([2, 0])], images[[2, 0]])
    monkeypatch.setattr(device, "_free_memory", lambda device: 2 * images.nbytes)
    assert torch.is_tensor(on_device(images, torch.device("cpu")))


@pytest.mark.parametrize("mode, value, expected", [
    ("L", 100, [100, 100, 100]), ("RGB", (10, 20, 30), [10, 20, 30]), ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
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


def png(depth, colour_type, rows, *chunks):
    """A png of 2x2 pixels as bytes: its two rows, and (name, content) of chunks before them."""
    header = struct.pack(">IIBBBBB", 2, 2, depth, colour_type, 0, 0, 0)
    body = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    number = lambda value: value.to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        number(len(content)) + name + content + number(zlib.crc32(name + content)) for name, content in body)


def two_bytes(*values):
    return struct.pack(f">{len(values)}H", *values)


GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
COLOURS = (b"PLTE", bytes([9, 9, 9, 100, 100, 100]))


@pytest.mark.parametrize("depth, kind, row, chunks, left, right", [
    (1, GRAY, b"\x40", [(b"tRNS", two_bytes(0))], 255, 255),
    (1, GRAY, b"\x40", [(b"tRNS", two_bytes(1))], 0, 255),
    (2, GRAY, b"\x60", [(b"tRNS", two_bytes(1))], 255, 170),
    (4, GRAY, b"\x5a", [(b"tRNS", two_bytes(5))], 255, 170),
    (8, GRAY, b"\x05\x06", [(b"tRNS", two_bytes(5))], 255, 6),
    (16, GRAY, two_bytes(257 * 40, 257 * 41), [(b"tRNS", two_bytes(257 * 40))], 255, 41),
    (8, RGB, b"\1\2\3\5\5\5", [(b"tRNS", two_bytes(1, 2, 3))], 255, 5),
    (16, RGB, two_bytes(0x1234, 0x2345, 0x3456, 1285, 1285, 1285), [(b"tRNS", b"\x12\x34\x23\x45\x34\x56")], 255, 5),
    (8, PALETTE, b"\0\1", [COLOURS, (b"tRNS", b"\xff\0")], 9, 255),
    (8, PALETTE, b"\0\1", [COLOURS, (b"tRNS", b"\x80")], 132, 100),
    (1, PALETTE, b"\x40", [COLOURS, (b"tRNS", b"\0")], 255, 100),
    (4, PALETTE, b"\x10", [COLOURS, (b"tRNS", b"\xff\x80")], 177, 9),
    (8, GRAY_ALPHA, bytes([0, 0, 50, 255]), [], 255, 50),
    (8, GRAY_ALPHA, bytes([0, 128, 50, 51]), [], 127, 214),
    (16, GRAY_ALPHA, two_bytes(0, 0, 257 * 50, 65535), [], 255, 50),
    (16, GRAY_ALPHA, two_bytes(0, 257 * 128, 257 * 50, 257 * 51), [], 127, 214),
    (8, RGB_ALPHA, bytes([0, 0, 0, 0, 6, 6, 6, 255]), [], 255, 6),
    (16, RGB_ALPHA, two_bytes(0, 0, 0, 0, 1542, 1542, 1542, 65535), [], 255, 6),
    (8, GRAY, b"\x05\x06", [(b"tEXt", b"transparency\0none")], 5, 6),
])
def test_what_is_transparent_shows_white(tmp_path, depth, kind, row, chunks, left, right):
    (tmp_path / "1.png").write_bytes(png(depth, kind, [row, row], *chunks))
    assert read_image(tmp_path / "1.png", 2).tolist() == 2 * [[3 * [left], 3 * [right]]]


def test_an_archive_shows_its_images_alike(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.png", png(16, GRAY, 2 * [two_bytes(257 * 40, 257 * 41)], (b"tRNS", two_bytes(257 * 40))))
        archive.writestr("2.png", png(16, GRAY, 2 * [two_bytes(257 * 40, 257 * 41)]))
    with Archive(tmp_path / "a.zip") as archive:
        assert np.asarray(archive.image("1.png")).tolist() == 2 * [[3 * [255], 3 * [41]]]
        assert np.asarray(archive.image("2.png")).tolist() == 2 * [[40, 41]], "and gray ones stay gray"


@pytest.mark.parametrize("alpha, expected", [(0, [30, 20, 10]), (128, [142, 137, 132]), (255, [30, 20, 10])])
def test_a_bmp_whose_alpha_is_nowhere_set_is_opaque(tmp_path, alpha, expected):
    header = struct.pack("<IiiHHIIiiIIIIII", 108, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0, 0xff0000, 0xff00, 0xff, 0xff000000)
    (tmp_path / "1.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 138, 0, 0, 122) + header + bytes(52)
                                     + 4 * bytes([10, 20, 30, alpha]))
    assert read_image(tmp_path / "1.bmp", 2).tolist() == 2 * [2 * [expected]]


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("orientation, corner", [
    (0, "upper left"), (1, "upper left"), (2, "upper right"), (3, "lower right"), (4, "lower left"), (5, "upper left"),
    (6, "upper right"), (7, "lower right"), (8, "lower left"), (9, "upper left")])
def test_exif_says_which_way_is_up(tmp_path, orientation, corner, kind):
    pixels = np.zeros((28, 56), np.uint8)
    pixels[:12, :16] = 255          # in the corner that the file has first; more wide than high
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(tmp_path / "image", kind, exif=exif)
    shown = read_image(tmp_path / "image", 28)[:, :, 0] > 128
    bright = {"upper left": shown[:8, :8], "upper right": shown[:8, -8:], "lower left": shown[-8:, :8],
              "lower right": shown[-8:, -8:]}
    assert [place for place in bright if bright[place].mean() > 0.5] == [corner]
    # a quarter turn or a mirror at the diagonal swaps width and height: 16 of 56 and 12 of 28 pixels
    height, width = shown.any(axis=1).sum(), shown.any(axis=0).sum()
    assert (height < width) == (5 <= orientation <= 8)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("damaged", [b"", b"junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x07\0\0\0\1"])
def test_damaged_exif_is_passed_over(tmp_path, damaged):
    Image.new("L", (28, 28), 77).save(tmp_path / "1.jpg", exif=b"Exif\0\0" + damaged)
    assert np.unique(read_image(tmp_path / "1.jpg", 28)).tolist() == [77]


@pytest.mark.parametrize("kind, mode", [
    *(("png", mode) for mode in ("1", "L", "P", "RGB", "LA", "RGBA")), ("jpeg", "L"), ("jpeg", "RGB"), ("jpeg", "CMYK"),
    ("bmp", "P"), ("bmp", "RGB")])
@pytest.mark.parametrize("size", [28, 16])
def test_opaque_upright_images_have_the_pixels_that_pillow_reads(tmp_path, kind, mode, size):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8))
    noise.convert(mode).save(tmp_path / "image", kind)
    with Image.open(tmp_path / "image") as image:
        expected = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    assert read_image(tmp_path / "image", size).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name, before", [(b"tEXt", b"Comment\0"), (b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0"),
                                          (b"iCCP", b"profile\0\0")])
def test_a_long_text_makes_no_image_unreadable(tmp_path, name, before):
    text = 2_000_000 * b"x"
    content = before + (text if name == b"tEXt" else zlib.compress(text))
    (tmp_path / "1.png").write_bytes(png(8, GRAY, [b"\1\2", b"\1\2"], (name, content)))
    assert read_image(tmp_path / "1.png", 2)[0, :, 0].tolist() == [1, 2]


def test_a_cache_of_an_older_way_to_decode_is_not_read(layout):
    """Its name was made of the csv and of the files, and of no way to decode."""
    images = load_digits(layout, "usps", "train").images.clone()
    table = layout / "digits/usps/train.csv"
    name = hashlib.sha256(table.read_bytes())
    for file in sorted(table.with_suffix("").iterdir()):
        name.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
    new, = (layout / ".cache").iterdir()
    old = layout / ".cache" / f"digits-usps-train-3-{name.hexdigest()[:16]}.npy"
    new.rename(old)
    np.save(old, np.full(images.shape, 99, np.uint8))
    assert torch.equal(load_digits(layout, "usps", "train").images, images)
    assert [path.name for path in (layout / ".cache").iterdir()] == [new.name], "and it is cleared away"


def test_images_are_listed_by_name_whatever_their_case(tmp_path):
    for name in ("b.PNG", "a b.jpg", "ü.bmp", "c.jpeg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a b.jpg", "b.PNG", "c.jpeg", "ü.bmp"]
    shutil.rmtree(tmp_path / "folder.png")
    with pytest.raises(UserError, match="is not a folder"):
        list_images(tmp_path / "folder.png")


@pytest.mark.parametrize("count, columns, padding, background", [(32, 8, 2, 0), (5, 3, 0, 0), (2, 8, 1, 0.5), (7, 7, 16, 1.0)])
def test_a_grid_is_torchvisions(count, columns, padding, background):
    images = torch.rand(count, 3, 6, 4)
    expected = torchvision.utils.make_grid(images, columns, padding, pad_value=background)
    assert torch.equal(grid.make_grid(images, columns, padding, background), expected)


def test_a_saved_grid_is_torchvisions_byte_for_byte(tmp_path):
    images = torch.rand(9, 3, 5, 5) * 1.2 - 0.1         # a generator's may lie a little outside
    grid.save_grid(tmp_path / "ours.png", images, 4)
    torchvision.utils.save_image(images, tmp_path / "theirs.png", nrow=4)
    assert (np.asarray(Image.open(tmp_path / "ours.png")) == np.asarray(Image.open(tmp_path / "theirs.png"))).all()
