"""The downloader, against a server on loopback that gives small archives in the official formats."""
import bz2
import csv
import fcntl
import gzip
import hashlib
import http.server
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import types
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import scipy.io
from PIL import Image

from common import download
from common.cli import UserError
from common.data import fetch, official
from common.data.layout import ATTRIBUTES, load_digits, load_faces

REPOSITORY = Path(__file__).parents[1]
RANDOM = np.random.default_rng(0)
USPS_LABELS = {"train": [10, 1, 3, 9, 10, 2, 7, 5], "test": [1, 10, 4]}
SVHN_LABELS = {"train": [1, 9, 2, 10, 3], "test": [5, 2, 1, 10, 6, 1, 9, 1, 1, 8]}
MNIST_LABELS = {"train": [5, 0, 4, 1, 9, 2], "test": [7, 2, 1]}
# digits of gray pixels and of black ones
MNIST = {split: RANDOM.integers(0, 256, (len(labels), 28, 28), np.uint8) * RANDOM.integers(0, 2, (28, 28), np.uint8)
         for split, labels in MNIST_LABELS.items()}
FACES = {"train": 4, "test": 2}


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `log` holds (name, Range header) of each request."""
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.log = {}, []
        self.cuts = []          # for the next requests: close the connection after so many bytes of the answer
        self.ranges = True      # whether it can send the rest of a file
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name, asked = self.server, self.path.rpartition("/")[2], self.headers["Range"]
        server.log.append((name, asked))
        body = server.files.get(name)
        if body is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start and start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][:server.cuts.pop(0) if server.cuts else None])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server of all official files, as the mirror; the table of sources has their checksums and counts."""
    with Server() as server:
        server.files = official_files()
        monkeypatch.setattr(download, "DATASETS", small_datasets(server.files))
        monkeypatch.setattr(fetch, "RETRY_SECONDS", 0)
        monkeypatch.setenv("HW_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        yield server
        server.shutdown()


def small_datasets(files):
    """download.DATASETS with the sizes, checksums and counts of `files`."""
    labels = {"usps": USPS_LABELS, "svhn": SVHN_LABELS, "mnistm": MNIST_LABELS}
    counts = {name: {split: len(some[split]) for split in some} for name, some in labels.items()} | {"face": FACES}

    def small(file):
        content = files[file.name]
        return file._replace(checksum=f"md5:{hashlib.md5(content).hexdigest()}", size=len(content))

    return {name: dataset._replace(files=tuple(map(small, dataset.files)), counts=counts[name])
            for name, dataset in download.DATASETS.items()}


def official_files():
    files = {"usps.bz2": bz2.compress(usps_text("train")), "usps.t.bz2": bz2.compress(usps_text("test"))}
    for split, labels in SVHN_LABELS.items():
        file = io.BytesIO()
        images = np.stack([svhn_image(i) for i in range(len(labels))], axis=3)
        scipy.io.savemat(file, {"X": images, "y": np.array(labels, np.uint8)[:, None]}, do_compression=True)
        files[f"{split}_32x32.mat"] = file.getvalue()
    for split, prefix in (("train", "train"), ("test", "t10k")):
        files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx(MNIST[split]))
        files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.array(MNIST_LABELS[split], np.uint8)))
    files["BSR_bsds500.tgz"] = tar([(f"BSR/BSDS500/data/images/train/{name}.jpg", photograph(seed))
                                    for seed, name in enumerate(("300", "200", "100"))]
                                   + [("BSR/BSDS500/data/images/train/Thumbs.db", b"x"), ("BSR/run.sh", "a link")])
    names = sorted(["Young", "Eyeglasses", *ATTRIBUTES], reverse=True)      # CelebA's order is not ours
    lines = ["7", " ".join(names)] + [" ".join([f"{i:06d}.jpg", *(" 1" if has(i, name) else "-1" for name in names)])
                                      for i in range(1, 8)]
    files["list_attr_celeba.txt"] = "\n".join(lines).encode()
    files["img_align_celeba.zip"] = zip_([(f"img_align_celeba/{i:06d}.jpg", face(i)) for i in range(7, 0, -1)])
    return files


def usps_text(split):
    lines = []
    for i, label in enumerate(USPS_LABELS[split]):
        pixels = np.full((16, 16), i / 10 - 0.5)
        pixels[:, 8:], pixels[12:] = -1, 1          # the right half is black, the bottom white
        lines.append(" ".join([str(label), *(f"{j}:{value:.6f}" for j, value in enumerate(pixels.flat, 1))]))
    return "\n".join([*lines, ""]).encode()


def svhn_image(i):
    image = np.full((32, 32, 3), (10 * i, 200, 5), np.uint8)
    image[:16] = (0, 0, 255)                        # the upper half is blue
    return image


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def photograph(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return encoded(Image.fromarray(noise).resize((40 + seed, 33)), "JPEG")


def has(i, attribute):
    return (i + len(attribute)) % 3 == 0


def face(i):
    """178x218: gray 30 i, with red bars above and below the middle square, and a white left edge."""
    image = Image.new("RGB", (178, 218), (30 * i,) * 3)
    image.paste((255, 255, 255), (0, 0, 60, 218))
    image.paste((255, 0, 0), (0, 0, 178, 16))
    image.paste((255, 0, 0), (0, 202, 178, 218))
    return encoded(image, "JPEG")


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


TAR_TYPES = {"a link": tarfile.SYMTYPE, "a hard link": tarfile.LNKTYPE, "a pipe": tarfile.FIFOTYPE}


def tar(entries):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.type = TAR_TYPES[content]
                entry.linkname = "/etc/passwd"
                archive.addfile(entry)
    return file.getvalue()


def zip_(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            if content == "a link":
                entry.external_attr, content = 0o120777 << 16, b"/etc/passwd"
            archive.writestr(entry, content)
    return file.getvalue()


def run(*arguments):
    """Run the command in this process; returns the error that it ends with, "" if it succeeds."""
    try:
        download.main([str(argument) for argument in arguments])
    except UserError as error:
        return str(error)
    return ""


def left_over(data):
    """What is in the data folder beside the downloads."""
    return sorted(path.name for path in data.iterdir() if path.name != ".download")


# ---- each dataset ---------------------------------------------------------------------------------------------------

def test_usps(server, tmp_path):
    assert run("--data", tmp_path, "--only", "usps") == ""
    train = load_digits(tmp_path, "usps", "train")
    assert train.labels.tolist() == [9, 0, 2, 8, 9, 1, 6, 4]
    assert train.names == [f"{i:05d}.png" for i in range(8)]
    assert load_digits(tmp_path, "usps", "test").labels.tolist() == [0, 9, 3]
    for i, name in enumerate(train.names):
        with Image.open(tmp_path / "digits/usps/train" / name) as image:
            assert (image.mode, image.size) == ("L", (28, 28))
            assert image.getpixel((3, 3)) == round((i / 10 + 0.5) * 127.5)
            assert image.getpixel((24, 3)) == 0
            assert image.getpixel((3, 26)) == image.getpixel((24, 26)) == 255


def test_svhn_begins_as_the_course_says(server, tmp_path):
    assert run("--data", tmp_path, "--only", "svhn") == ""
    test = load_digits(tmp_path, "svhn", "test")
    assert test.labels.tolist() == [5, 2, 1, 0, 6, 1, 9, 1, 1, 8]
    assert load_digits(tmp_path, "svhn", "train").labels.tolist() == [1, 9, 2, 0, 3]
    for i, name in enumerate(test.names):
        with Image.open(tmp_path / "digits/svhn/test" / name) as image:
            assert (image.mode, image.size) == ("RGB", (28, 28))
            assert image.getpixel((14, 3)) == (0, 0, 255)
            assert image.getpixel((14, 24)) == (10 * i, 200, 5)


def test_mnistm_inverts_a_photograph_where_the_digit_is(server, tmp_path):
    assert run("--data", tmp_path / "a", "--only", "mnistm") == ""
    photographs = [np.asarray(Image.open(io.BytesIO(photograph(seed))), int) for seed in range(3)]
    crop = lambda photo, y, x: photo[y:y + 28, x:x + 28]
    used = set()
    for split, digits in MNIST.items():
        found = load_digits(tmp_path / "a", "mnistm", split)
        assert found.labels.tolist() == MNIST_LABELS[split]
        for image, digit in zip(found.images.permute(0, 2, 3, 1).numpy(), digits.astype(int), strict=True):
            crops = [(i, y, x) for i, photo in enumerate(photographs) for y in range(photo.shape[0] - 27)
                     for x in range(photo.shape[1] - 27)
                     if (image == np.where(digit[..., None] == 0, crop(photo, y, x), 255 - crop(photo, y, x))).all()]
            assert len(crops) == 1
            used.update(crops)
    assert len(used) > 6, "the crops should differ"

    assert run("--data", tmp_path / "b", "--only", "mnistm") == ""
    for path in (tmp_path / "a/digits").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b/digits" / path.relative_to(tmp_path / "a/digits")).read_bytes()


def test_face(server, tmp_path):
    assert run("--data", tmp_path, "--only", "face") == ""
    train, test = load_faces(tmp_path, "train"), load_faces(tmp_path, "test")
    # the numbers of the test faces go on from the train faces
    assert train.names + test.names == [f"{i:05d}.png" for i in range(6)] and len(test.names) == 2
    with open(tmp_path / "face/test.csv") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image_name", *ATTRIBUTES]
    assert rows[1] == ["00004.png", *("1.0" if has(5, name) else "0.0" for name in ATTRIBUTES)]
    assert train.attributes[2].tolist() == [has(3, name) for name in ATTRIBUTES]
    for i, image in enumerate((*train.images, *test.images), 1):
        assert image.shape == (3, 64, 64)
        assert (image[:, :, 30:].int() - 30 * i).abs().max() <= 3, "a uniform gray, without the bars above and below"
        assert image[:, :, 5].min() > 250, "the left edge is in the picture, which is not stretched"
        assert (image[:, 32].int() > 200).all(0).sum() in ((21, 22) if i < 7 else ())


def test_table_and_second_run(server, tmp_path, capsys):
    assert run("--data", tmp_path) == ""
    table = capsys.readouterr().out
    for line in ("usps     train          8         8", "svhn     test          10        10",
                 "mnistm   train          6         6", "face     test           2         2"):
        assert line in table
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    requests = len(server.log)
    assert run("--data", tmp_path) == ""
    assert capsys.readouterr().out.count("nothing to do") == 4
    assert len(server.log) == requests
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert left_over(tmp_path) == ["digits", "face"]


def test_existing_folder_with_other_counts_is_kept_and_named(server, tmp_path, capsys):
    assert run("--data", tmp_path, "--only", "usps") == ""
    table = tmp_path / "digits/usps/train.csv"
    with open(table, "a") as file:
        file.write("\n")           # an empty line is no row
    assert run("--data", tmp_path, "--only", "usps") == ""
    (tmp_path / "digits/usps/train/00003.png").unlink()
    assert run("--data", tmp_path, "--only", "usps") == "not ready: usps; see the lines above"
    assert f"{table} has 8 rows for 7 images; delete or rename {tmp_path}/digits/usps" in capsys.readouterr().err
    table.write_bytes(b"\xff")
    assert run("--data", tmp_path, "--only", "usps") == "not ready: usps; see the lines above"
    assert f"cannot read {table}" in capsys.readouterr().err
    assert (tmp_path / "digits/usps/train/00002.png").exists()


def test_official_table_is_complete():
    counts = {name: tuple(dataset.counts.values()) for name, dataset in download.DATASETS.items()}
    assert counts == {"usps": (7291, 2007), "mnistm": (60000, 10000), "svhn": (73257, 26032), "face": (40000, 2621)}
    files = [file for dataset in download.DATASETS.values() for file in dataset.files]
    assert len(files) == 11
    for file in files:
        assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)
        assert file.drive_id or all(address.endswith(f"/{file.name}") for address in file.addresses)
        assert file.drive_id or file.addresses


# ---- downloads that go wrong ----------------------------------------------------------------------------------------

def test_connection_breaks_and_goes_on(server, tmp_path):
    whole = server.files["usps.bz2"]
    server.cuts = [500]
    assert run("--data", tmp_path, "--only", "usps") == ""
    assert server.log[:2] == [("usps.bz2", None), ("usps.bz2", "bytes=500-")]
    assert (tmp_path / ".download/usps.bz2").read_bytes() == whole


def test_next_run_goes_on(server, tmp_path, capsys):
    whole = server.files["usps.bz2"]
    server.cuts = [300] + [0] * (fetch.ATTEMPTS - 1)
    assert run("--data", tmp_path, "--only", "usps") != ""
    assert "broke off" in capsys.readouterr().err
    assert left_over(tmp_path) == []
    assert (tmp_path / ".download/usps.bz2.part").read_bytes() == whole[:300]
    server.log.clear()
    assert run("--data", tmp_path, "--only", "usps") == ""
    assert server.log == [("usps.bz2", "bytes=300-"), ("usps.t.bz2", None)]
    assert (tmp_path / ".download/usps.bz2").read_bytes() == whole
    assert not (tmp_path / ".download/usps.bz2.part").exists()


@pytest.mark.parametrize("case", ["server without ranges", "foreign part", "whole part", "part too long"])
def test_odd_parts(server, tmp_path, case):
    whole = server.files["usps.bz2"]
    part = tmp_path / ".download/usps.bz2.part"
    part.parent.mkdir()
    part.write_bytes({"server without ranges": whole[:200], "foreign part": b"?" * 200, "whole part": whole,
                      "part too long": whole + b"?"}[case])
    server.ranges = case != "server without ranges"
    assert run("--data", tmp_path, "--only", "usps") == ""
    assert (tmp_path / ".download/usps.bz2").read_bytes() == whole
    # only a part that turns out wrong costs a second request
    wrong = case in ("foreign part", "part too long")
    assert [name for name, _ in server.log].count("usps.bz2") == (2 if wrong else 1)


def test_truncated_file_on_the_server(server, tmp_path, capsys):
    server.files["train_32x32.mat"] = server.files["train_32x32.mat"][:-100]
    assert run("--data", tmp_path, "--only", "svhn", "usps") == "not ready: svhn; see the lines above"
    assert "train_32x32.mat is not the official file" in capsys.readouterr().err
    assert left_over(tmp_path) == ["digits"] and os.listdir(tmp_path / "digits") == ["usps"]
    assert "train_32x32.mat" not in os.listdir(tmp_path / ".download")


def test_server_always_stops_early(server, tmp_path, capsys):
    size = len(server.files["usps.bz2"])
    server.cuts = [100] + [0] * 20
    assert run("--data", tmp_path, "--only", "usps") != ""
    assert f"100 of {size:,} bytes arrived" in capsys.readouterr().err
    assert len(server.log) == fetch.ATTEMPTS
    assert left_over(tmp_path) == []


def test_wrong_checksum(server, tmp_path, capsys):
    expected = download.DATASETS["usps"].files[0].checksum
    server.files["usps.bz2"] = wrong = bz2.compress(b"1 1:0\n")
    assert run("--data", tmp_path, "--only", "usps") != ""
    error = capsys.readouterr().err
    assert expected in error and hashlib.md5(wrong).hexdigest() in error
    assert server.log == [("usps.bz2", None)], "asking again would bring the same bytes"
    assert left_over(tmp_path) == []
    assert not [name for name in os.listdir(tmp_path / ".download") if "usps" in name]


def test_404_and_the_others_go_on(server, tmp_path, capsys):
    del server.files["usps.t.bz2"]
    assert run("--data", tmp_path) == "not ready: usps; see the lines above"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    # usps.bz2 has come, so only the other is to be put there by hand
    assert re.search(rf"404.* put usps\.t\.bz2 into {tmp_path}/\.download by hand", errors[0])
    assert sorted(os.listdir(tmp_path / "digits")) == ["mnistm", "svhn"] and left_over(tmp_path) == ["digits", "face"]


@pytest.mark.parametrize("address", ["http://[::1", "http://a..b"])
def test_a_mirror_that_is_no_address(server, tmp_path, monkeypatch, capsys, address):
    monkeypatch.setenv("HW_MIRROR", address)
    assert run("--data", tmp_path, "--only", "usps", "svhn") == "not ready: usps, svhn; see the lines above"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all(f"cannot reach {address}" in error for error in errors)


def test_an_answer_that_is_no_http(server, tmp_path, monkeypatch, capsys):
    """As of a hotel's portal."""
    monkeypatch.setattr(Handler, "send_header", lambda self, name, value: http.server.BaseHTTPRequestHandler.send_header(
        self, name, "abc" if name == "Content-Length" else value))
    assert run("--data", tmp_path, "--only", "usps") == "not ready: usps; see the lines above"
    error, = capsys.readouterr().err.splitlines()
    assert "cannot reach http://127.0.0.1" in error


def test_no_network_then_files_put_by_hand(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HW_MIRROR", "http://127.0.0.1:9")       # the discard port: nobody answers
    assert run("--data", tmp_path) == "not ready: usps, mnistm, svhn, face; see the lines above"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    for error, dataset in zip(errors, download.DATASETS.values(), strict=True):
        assert all(file.name in error for file in dataset.files) and f"{tmp_path}/.download" in error
    for name, content in server.files.items():
        (tmp_path / ".download" / name).write_bytes(content)
    assert run("--data", tmp_path) == ""
    assert server.log == []
    assert len(load_digits(tmp_path, "mnistm", "train").labels) == 6


def test_wrong_file_put_by_hand_is_kept_and_named(server, tmp_path, capsys):
    file = tmp_path / ".download/usps.bz2"
    file.parent.mkdir()
    file.write_bytes(b"mine")
    assert run("--data", tmp_path, "--only", "usps") != ""
    assert f"{file} is not the official file" in capsys.readouterr().err
    assert file.read_bytes() == b"mine"


def test_second_address_after_the_first(server, tmp_path, monkeypatch):
    good = os.environ["HW_MIRROR"]
    dataset = download.DATASETS["usps"]
    monkeypatch.delenv("HW_MIRROR")
    monkeypatch.setitem(download.DATASETS, "usps", dataset._replace(files=tuple(
        file._replace(addresses=(f"http://127.0.0.1:9/{file.name}", f"{good}{file.name}")) for file in dataset.files)))
    assert run("--data", tmp_path, "--only", "usps") == ""


def test_google_drive(server, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HW_MIRROR")
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert run("--data", tmp_path, "--only", "face") != ""
    error = capsys.readouterr().err
    assert f"{sys.executable} -m pip install -r {REPOSITORY}/requirements-download.txt" in error
    assert "put list_attr_celeba.txt, img_align_celeba.zip into " in error

    ids = {file.drive_id: file.name for file in download.DATASETS["face"].files}

    def give(id, output, resume, quiet):
        Path(output).write_bytes(server.files[ids[id]])

    def refuse(id, output, resume, quiet):
        raise RuntimeError("Too many users have viewed\n  or downloaded this file recently")

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=refuse))
    assert run("--data", tmp_path, "--only", "face") != ""
    assert "(Too many users have viewed or downloaded this file recently)" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=give))
    assert run("--data", tmp_path, "--only", "face") == ""
    assert len(load_faces(tmp_path, "train").names) == 4


# ---- the disk, other runs, killed runs ------------------------------------------------------------------------------

def test_disk_too_full_to_begin(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=39_000_000))
    assert run("--data", tmp_path, "--only", "usps") != ""
    error = capsys.readouterr().err
    assert "39 MB free" in error and "40 MB are needed" in error
    assert server.log == [] and left_over(tmp_path) == []
    archive = tmp_path / "hw3_data.zip"
    archive.write_bytes(zip_(course_entries()))
    assert run("--data", tmp_path / "b", "--only", "usps", "--archive", archive) != ""
    assert "40 MB are needed" in capsys.readouterr().err
    # room for the images, but not for the download
    monkeypatch.setitem(download.DATASETS, "usps", download.DATASETS["usps"]._replace(
        room=0, files=(download.DATASETS["usps"].files[0]._replace(size=50_000_000),)))
    assert run("--data", tmp_path, "--only", "usps") != ""
    assert "50 MB are needed" in capsys.readouterr().err
    assert server.log == []


def test_disk_runs_full_in_download(server, tmp_path, capsys):
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/usps.bz2.part").symlink_to("/dev/full")      # every write there fails as on a full disk
    assert run("--data", tmp_path, "--only", "usps") != ""
    assert "No space left on device" in capsys.readouterr().err
    assert len(server.log) == 1, "connecting again does not help"


def test_disk_runs_full_in_conversion(server, tmp_path, monkeypatch, capsys):
    real = Path.mkdir

    def mkdir(folder, *rest, **options):
        real(folder, *rest, **options)
        if folder.name == "train":
            (folder / "00002.png").symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert run("--data", tmp_path, "--only", "usps") != ""
    assert "No space left on device" in capsys.readouterr().err
    assert left_over(tmp_path) == []


def test_published_with_one_rename(server, tmp_path, monkeypatch):
    rename, places = os.rename, []

    def watch(source, place):
        if os.path.isfile(source):
            return rename(source, place)        # a download
        assert not place.exists()
        assert len(list(Path(source).rglob("*.png"))) == 11 and len(list(Path(source).glob("*.csv"))) == 2
        places.append(place)
        return rename(source, place)

    monkeypatch.setattr(download.os, "rename", watch)
    assert run("--data", tmp_path, "--only", "usps") == ""
    assert places == [tmp_path / "digits/usps"]


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    assert f"cannot write to {tmp_path}/file" in run("--data", tmp_path / "file")


def test_two_runs_at_once(server, tmp_path):
    (tmp_path / ".download").mkdir()
    with open(tmp_path / ".download/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another download" in run("--data", tmp_path, "--only", "usps")
    assert run("--data", tmp_path, "--only", "usps") == ""


def test_sample_data_is_not_mixed_in(server, tmp_path):
    (tmp_path / "SAMPLE_DATA.txt").touch()
    assert "sample data" in run("--data", tmp_path)
    assert server.log == []


# What hw_download.sh starts, with the small sources and a slow conversion.
DRIVER = """
import json, sys, time
from common import cli, download
from common.data import fetch, official
for name, (files, counts) in json.load(open(sys.argv[1])).items():
    files = tuple(fetch.File(*file) for file in files)
    download.DATASETS[name] = download.DATASETS[name]._replace(files=files, counts=counts)
quick = official.resized
official.resized = lambda *rest: (time.sleep(0.5), quick(*rest))[1]
cli.run_command(lambda: download.main(sys.argv[2:]))
"""


def test_killed_in_conversion(server, tmp_path):
    data, sources = tmp_path / "data", tmp_path / "sources.json"
    sources.write_text(json.dumps({name: (dataset.files, dataset.counts)
                                   for name, dataset in download.DATASETS.items()}))
    process = subprocess.Popen([sys.executable, "-c", DRIVER, sources, "--data", data, "--only", "usps"],
                               cwd=REPOSITORY)
    deadline = time.monotonic() + 200       # on a busy machine the imports alone take a minute
    try:
        while not list(data.glob(".building-usps/train/*.png")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert left_over(data) == [".building-usps"], "neither published nor finished"
    server.log.clear()
    assert run("--data", data, "--only", "usps") == ""
    assert server.log == [], "what was downloaded is used"
    assert left_over(data) == ["digits"]
    assert load_digits(data, "usps", "train").labels.tolist() == [9, 0, 2, 8, 9, 1, 6, 4]


def test_interrupted_in_conversion(server, tmp_path, monkeypatch):
    resized, calls = official.resized, itertools.count()

    def stop(image, size):
        if next(calls) == 0:
            time.sleep(0.2)         # until the main thread waits for results: it is the one that hears the signal
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        return resized(image, size)

    monkeypatch.setattr(official, "resized", stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)      # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run("--data", tmp_path, "--only", "usps")
    finally:
        signal.signal(signal.SIGINT, before)
    assert left_over(tmp_path) == []


def test_script_from_another_folder(server, tmp_path):
    server.files.clear()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", REPOSITORY / "hw_download.sh", "--data", "mine", "--only", "usps"], cwd=tmp_path,
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: usps: \S+/usps.bz2 answers 404 Not Found; try again later, or put usps.bz2, "
                        r"usps.t.bz2 into mine/.download by hand and run the command again\n"
                        r"error: not ready: usps; see the lines above\n", done.stderr)
    assert os.listdir(tmp_path) == ["mine"]


# ---- archives that the user has -------------------------------------------------------------------------------------

def course_entries(top="hw3_data/"):
    """The course's archive with usps and face: [(name, content)]."""
    entries = [("__MACOSX/hw3_data/digits/usps/._train.csv", b"x")]
    first = 0
    for split, count in FACES.items():
        names = [f"{first + i:05d}.png" for i in range(count)]
        entries += [(f"{top}face/{split}/{name}", encoded(Image.new("RGB", (64, 64), (i, 0, 9))))
                    for i, name in enumerate(names, first)]
        lines = [",".join([name, *(["1.0", "0.0"] * 7)[:13]]) for name in names]
        entries.append((f"{top}face/{split}.csv", "\n".join([",".join(["image_name", *ATTRIBUTES]), *lines]).encode()))
        first += count
    for split, labels in USPS_LABELS.items():
        lines = ["image_name,label", *(f"{i:05d}.png,{label % 10}" for i, label in enumerate(labels))]
        entries.append((f"{top}digits/usps/{split}.csv", "\r\n".join(lines).encode()))
        entries += [(f"{top}digits/usps/{split}/{i:05d}.png", encoded(Image.new("L", (28, 28), 20 * i)))
                    for i in range(len(labels))]
    return entries


def by_macos_zip(entries):
    beside = (PurePosixPath("__MACOSX", name) for name, _ in entries)
    return zip_((dict(entries) | {str(path.with_name(f"._{path.name}")): b"x" for path in beside}).items())


def by_macos_tar(entries):
    """With hidden pictures of other programs, too."""
    paths = [PurePosixPath(name) for name, _ in entries]
    beside = [path.with_name(hidden) for path in paths for hidden in (f"._{path.name}", ".DS_Store", f".{path.name}")]
    thumbnails = [path.parent / ".thumbnails" / "9.png" for path in paths]
    return tar([*((str(path), b"x") for path in beside), *entries, *((str(path), b"x") for path in thumbnails)])


def by_windows(entries):
    folders = {f"{parent}/" for name, _ in entries for parent in PurePosixPath(name).parents if parent.name}
    return zip_([(name.replace("/", "\\"), content) for name, content in [*((name, b"") for name in folders), *entries]])


@pytest.mark.parametrize(("pack", "top"), [
    (zip_, "hw3_data/"), (tar, ""), (tar, "./hw3_data/"), (by_macos_zip, "hw3_data/"), (by_macos_tar, "hw3_data/"),
    (by_windows, "hw3_data/"), (by_windows, "")])
def test_course_archive(server, tmp_path, capsys, pack, top):
    archive = tmp_path / "hw3_data.anything"
    archive.write_bytes(pack(course_entries(top)))
    data = tmp_path / "data"
    assert run("--data", data, "--archive", archive) == ""
    # what the archive lacks is downloaded
    assert not {name for name, _ in server.log} & {"usps.bz2", "img_align_celeba.zip"} and len(server.log) == 7
    assert "svhn     test          10        10" in capsys.readouterr().out
    train = load_digits(data, "usps", "train")
    assert train.labels.tolist() == [0, 1, 3, 9, 0, 2, 7, 5]
    assert train.images[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 80, 100, 120, 140]
    with Image.open(data / "digits/usps/train/00001.png") as image:
        assert image.mode == "L"
    faces = load_faces(data, "test")
    assert faces.names == ["00004.png", "00005.png"] and faces.images[1, :, 5, 5].tolist() == [5, 0, 9]
    assert faces.attributes[0].tolist() == [1, 0] * 6 + [1]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("hw3_data/digits/usps/train/00003.png", None, "lacks hw3_data/digits/usps/train/00003.png"),
    ("hw3_data/digits/usps/train/00003.png", b"no image", "00003.png in .* is not a readable image"),
    ("hw3_data/digits/usps/train/00003.png", encoded(Image.new("L", (30, 28))), "is 30x28; expected 28x28"),
    ("hw3_data/digits/usps/train/00008.png", encoded(Image.new("L", (28, 28))), "has no row for the image 00008.png"),
    ("hw3_data/digits/usps/test.csv", None, "lacks hw3_data/digits/usps/test.csv"),
    ("hw3_data/digits/usps/test.csv", b"image_name\n00000.png", "test.csv in .*: the header lacks label"),
    ("hw3_data/digits/usps/test.csv", b"image_name,label\n00000.png,10", r"test.csv in .*, line 2: found \['10'\]"),
    ("hw3_data/digits/usps/test.csv", b"image_name,label\n../train.png,1", "line 2: '../train.png' is not a plain file name"),
    ("hw3_data/digits/usps/test.csv", b"image_name,label\n" + b"00000.png,1\n" * 2,
     "line 3: 00000.png is listed twice"),
    ("hw3_data/digits/usps/test.csv", b"\xff\xfe\x00", "is not a text file"),
    ("hw3_data/digits/usps/test.csv", b"image_name,label\n" + b"0" * 200_000, "cannot read .*test.csv in .*field larger"),
])
def test_course_archive_with_a_mistake(server, tmp_path, capsys, name, content, message):
    entries = dict(course_entries())
    entries[name] = content
    archive = tmp_path / "hw3_data.zip"
    archive.write_bytes(zip_([(key, value) for key, value in entries.items() if value is not None]))
    data = tmp_path / "data"
    assert run("--data", data, "--archive", archive, "--only", "usps", "face") == "not ready: usps; see the lines above"
    error = capsys.readouterr().err
    assert re.search(message, error) and str(archive) in error
    assert left_over(data) == ["face"]


def test_course_archive_with_too_few_images(server, tmp_path, capsys, monkeypatch):
    archive = tmp_path / "hw3_data.zip"
    archive.write_bytes(zip_(course_entries()))
    monkeypatch.setitem(download.DATASETS, "usps",
                        download.DATASETS["usps"]._replace(counts={"train": 8, "test": 2007}))
    data = tmp_path / "data"
    assert run("--data", data, "--archive", archive, "--only", "usps") != ""
    assert f"{archive} holds 8 train and 3 test images; expected 8 and 2,007" in capsys.readouterr().err
    assert left_over(data) == []


def test_archive_that_holds_something_else(server, tmp_path, capsys):
    server.files.clear()
    archive = tmp_path / "archive"
    archive.write_bytes(zip_([("hw3_data.zip", b"x")]))
    assert run("--data", tmp_path / "data", "--archive", archive, "--only", "usps") != ""
    assert f"error: usps: {archive} does not hold it, and http" in capsys.readouterr().err


def mnistm_entries():
    entries = []
    for split, labels in MNIST_LABELS.items():
        names = [f"{7 * i:08d}.png" for i in range(len(labels) - 1)]        # fewer than in MNIST, as the authors' are
        lines = [f"{name} {label}\n" for name, label in zip(names, labels, strict=False)]
        entries.append((f"mnist_m/mnist_m_{split}_labels.txt", "".join(lines).encode()))
        entries += [(f"mnist_m/mnist_m_{split}/{name}", encoded(Image.new("RGB", (32, 32), (i, 2, 3))))
                    for i, name in reversed(list(enumerate(names)))]
    return entries


@pytest.mark.parametrize("pack", [tar, zip_, by_macos_tar, by_windows])
def test_authors_mnistm(server, tmp_path, monkeypatch, capsys, pack):
    archive = tmp_path / "mnist_m"
    archive.write_bytes(pack(mnistm_entries()))
    data = tmp_path / "data"
    assert run("--data", data, "--only", "mnistm", "--mnistm", archive) != ""
    assert "holds 5 train and 2 test images; expected 6 and 3" in capsys.readouterr().err
    monkeypatch.setitem(download.DATASETS, "mnistm",
                        download.DATASETS["mnistm"]._replace(other_counts={"train": 5, "test": 2}))
    assert run("--data", data, "--only", "mnistm", "--mnistm", archive) == ""
    assert "mnistm   train          5         5" in capsys.readouterr().out
    train = load_digits(data, "mnistm", "train")
    assert train.labels.tolist() == [5, 0, 4, 1, 9]
    assert train.images[:, :, 9, 9].tolist() == [[i, 2, 3] for i in range(5)]
    with Image.open(data / "digits/mnistm/train/00000.png") as image:
        assert image.size == (28, 28)
    assert server.log == []


def test_mnistm_in_the_course_layout(server, tmp_path):
    archive = tmp_path / "mnistm.zip"
    archive.write_bytes(zip_([(name.replace("usps", "mnistm"), content) for name, content in course_entries("")
                              if "usps" in name]))
    download.DATASETS["mnistm"] = download.DATASETS["mnistm"]._replace(counts={"train": 8, "test": 3})
    assert run("--data", tmp_path / "data", "--only", "mnistm", "--mnistm", archive) == ""
    assert load_digits(tmp_path / "data", "mnistm", "test").labels.tolist() == [1, 0, 4]


@pytest.mark.parametrize(("pack", "name", "content"), [
    (zip_, "hw3_data/digits/usps/train/../../../../../evil.png", b"x"),
    (zip_, "../evil.png", b"x"),
    (zip_, "..\\evil.png", b"x"),
    (zip_, "hw3_data\\..\\..\\evil.png", b"x"),
    (zip_, "__MACOSX/../../evil.png", b"x"),
    (zip_, "{tmp}/evil.png", b"x"),
    (zip_, "hw3_data/digits/usps/more", "a link"),
    (tar, "hw3_data/digits/usps/train/../../../../../evil.png", b"x"),
    (tar, "../evil.png", b"x"),
    (tar, "{tmp}/evil.png", b"x"),
    (tar, "hw3_data/digits/usps/train", "a link"),
    (tar, "hw3_data/digits/usps/train/00000.png", "a hard link"),
    (tar, "hw3_data/digits/usps/more", "a pipe"),
])
def test_hostile_archive(server, tmp_path, capsys, pack, name, content):
    """Without its last entry the archive is good."""
    archive = tmp_path / "archive"
    archive.write_bytes(pack([*course_entries(), (name.format(tmp=tmp_path), content)]))
    data = tmp_path / "data"
    assert run("--data", data, "--only", "usps", "--archive", archive) != ""
    assert re.search(f"{archive} is refused: its entry .*({'outside' if content == b'x' else 'link or a device'})",
                     capsys.readouterr().err)
    assert left_over(data) == [] and not list(tmp_path.rglob("evil.png")) and not list(tmp_path.parent.glob("evil.png"))


def test_entry_that_unpacks_to_more_than_it_states(server, tmp_path, capsys):
    bomb, stated = 100_000_000, 1_000
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in course_entries():
            zipped.writestr(name, bytes(bomb) if name.endswith("usps/train/00000.png") else content)
    archive = tmp_path / "archive"
    archive.write_bytes(file.getvalue().replace(bomb.to_bytes(4, "little"), stated.to_bytes(4, "little")))
    tracemalloc.start()
    assert run("--data", tmp_path / "data", "--only", "usps", "--archive", archive) != ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < bomb / 4
    assert "cannot read hw3_data/digits/usps/train/00000.png" in capsys.readouterr().err


@pytest.mark.parametrize(("pack", "limit", "value", "message"), [
    (zip_, "ENTRY_LIMIT", 400, r"'hw3_data/face/train.csv' has \d+ bytes"),
    (tar, "ENTRY_LIMIT", 400, r"'hw3_data/face/train.csv' has \d+ bytes"),
    (tar, "TAR_LIMIT", 2_000, "it unpacks to more than 2,000 bytes"),
    (zip_, "PIXEL_LIMIT", 28 * 28 - 1, "has 28x28 pixels, too many"),
])
def test_archive_with_more_than_datasets_have(server, tmp_path, monkeypatch, capsys, pack, limit, value, message):
    archive = tmp_path / "archive"
    archive.write_bytes(pack(course_entries()))
    monkeypatch.setattr(f"common.data.archive.{limit}", value)
    assert run("--data", tmp_path / "data", "--only", "usps", "--archive", archive) != ""
    assert re.search(message, capsys.readouterr().err)
    assert left_over(tmp_path / "data") == []


def test_hostile_mnistm_archive(server, tmp_path, capsys):
    archive = tmp_path / "archive"
    archive.write_bytes(tar([*mnistm_entries(), ("mnist_m/../../evil.png", b"x")]))
    assert run("--data", tmp_path / "data", "--only", "mnistm", "--mnistm", archive) != ""
    assert "is refused" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "no archive", "flipped"])
@pytest.mark.parametrize("pack", [zip_, tar])
def test_damaged_archive(server, tmp_path, capsys, pack, damage):
    archive = tmp_path / "archive"
    content = bytearray(pack(course_entries()))
    if damage == "cut":
        del content[len(content) // 2:]
    elif damage == "flipped":
        middle = content.rindex(b"IHDR") if pack is zip_ else len(content) // 2
        content[middle:middle + 40] = bytes(40)
    archive.write_bytes(b"text" if damage == "no archive" else content)
    assert run("--data", tmp_path / "data", "--archive", archive, "--only", "usps") != ""
    assert str(archive) in capsys.readouterr().err
    assert left_over(tmp_path / "data") == []


@pytest.mark.parametrize("damage", ["compression", "version", "name"])
def test_an_archive_damaged_in_a_rarer_way(server, tmp_path, capsys, damage):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA if damage == "compression" else zipfile.ZIP_STORED) as archive:
        for name, content in course_entries():
            archive.writestr(name, content)
        if damage == "name":
            archive.writestr("\u00e9", b"x")
    content = bytearray(file.getvalue())
    directory = content.index(b"PK\1\2")
    if damage == "compression":
        at = content.index(b"usps/train.csv") + len(b"usps/train.csv") + 12
        content[at:at + 20] = bytes(20)
    elif damage == "version":
        content[directory + 6] = 99
    else:
        at = content.index("\u00e9".encode(), directory)
        content[at] = 0xff
    (tmp_path / "archive").write_bytes(content)
    assert run("--data", tmp_path / "data", "--archive", tmp_path / "archive", "--only", "usps") != ""
    assert str(tmp_path / "archive") in capsys.readouterr().err
    assert left_over(tmp_path / "data") == []


def test_wrong_use(server, tmp_path, monkeypatch, capsys):
    assert "nowhere.zip is not a file" in run("--data", tmp_path / "data", "--archive", tmp_path / "nowhere.zip")
    with pytest.raises(SystemExit) as stop:
        run("--only", "usps", "--mnistm", tmp_path / "x")
    assert stop.value.code == 2 and "--mnistm needs mnistm" in capsys.readouterr().err
    monkeypatch.setenv("HW_MIRROR", "example.org")
    assert "HW_MIRROR is 'example.org'" in run("--data", tmp_path / "data")
    assert not (tmp_path / "data").exists()
