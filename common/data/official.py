"""The official datasets: which files each has, and how they become folders in the course layout."""
import csv
import gzip
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import scipy.io
from PIL import Image
from sklearn.datasets import load_svmlight_file
from torchvision.datasets import MNIST, SVHN, USPS, CelebA

from common.cli import UserError, in_threads
from common.data.archive import Archive
from common.data.csv_files import parse_csv
from common.data.fetch import MB, File
from common.data.images import put_on_photograph
from common.data.layout import ATTRIBUTES, DIGIT_SIZE, FACE_SIZE, SPLITS

MNISTM_SEED = 42


class Dataset(NamedTuple):
    folder: str                         # its place below DATA
    files: tuple[File, ...]
    build: Callable                     # build(downloads, folder, counts) fills a folder from the official files
    counts: dict[str, int]              # images in each split
    room: int                           # bytes that the images take on a disk with 4 kB blocks
    other_counts: dict[str, int] = {}   # also accepted


def copy_course_split(archive, top, split, folder):
    """Copy one split of the dataset that is in the course layout at `top` in an Archive to `folder`, all of it checked.

    Raises UserError, with the place in the archive, where table and images do not fit together.
    """
    is_face = top.name == "face"
    size = FACE_SIZE if is_face else DIGIT_SIZE
    columns = ATTRIBUTES if is_face else ("label",)
    allowed = r"[01](\.0)?" if is_face else r"[0-9](\.0)?"
    table = f"{top / split}.csv in {archive.path}"
    rows = []
    for line, (name, *fields) in parse_csv(archive.read(f"{top / split}.csv"), table, ("image_name", *columns)):
        if not name.endswith(".png"):
            raise UserError(f"{table}, line {line}: {name!r} is not the name of a png file")
        if not all(re.fullmatch(allowed, field) for field in fields):
            raise UserError(f"{table}, line {line}: found {fields}; expected "
                            f"{'0.0 and 1.0' if is_face else 'a label from 0 to 9'}")
        rows.append((name, *(f"{field[0]}.0" if is_face else field[0] for field in fields)))
    # as in a folder, not those in others below it, nor hidden ones, as macOS adds to each
    images = {path.name for path in map(PurePosixPath, archive.names)
              if path.parent == top / split and path.name.endswith(".png") and not path.name.startswith(".")}
    if unlisted := images.difference(row[0] for row in rows):
        raise UserError(f"{table} has no row for the image {min(unlisted)}")

    def picture(i):
        name = str(top / split / rows[i][0])
        image = archive.image(name)
        if image.size != (size, size):
            raise UserError(f"{name} in {archive.path} is {image.width}x{image.height}; expected {size}x{size}")
        return image

    write_split(folder, split, columns, rows, picture)


def copy_mnistm_split(archive, top, split, folder):
    """Convert one split of the authors' mnist_m.tar.gz: 32x32 images and a list of `image label`, at `top`."""
    listing = str(top / f"mnist_m_{split}_labels.txt")
    images, rows = [], []
    for line in archive.text(listing).splitlines():
        fields = line.split()
        if len(fields) != 2 or not re.fullmatch("[0-9]", fields[1]):
            raise UserError(f"{listing} in {archive.path}, line {len(rows) + 1}: found {line!r}; expected an image and "
                            "its label")
        images.append(str(top / f"mnist_m_{split}" / fields[0]))
        rows.append((f"{len(rows):05d}.png", fields[1]))
    write_split(folder, split, ("label",), rows, lambda i: resized(archive.image(images[i]), DIGIT_SIZE))


def write_split(folder, split, columns, rows, picture):
    """Write folder/SPLIT/*.png and folder/SPLIT.csv.

    Args: `columns` the csv's header after image_name; `rows` its rows, (image name, field, …); `picture(i)` gives the
    PIL image of row i and is called from several threads.
    """
    images = folder / split
    images.mkdir()
    in_threads(lambda i: picture(i).save(images / rows[i][0]), len(rows), f"{split} images")
    with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("image_name", *columns), *rows])


def write_digits(folder, split, images, labels):
    """Write one split of digits. `images`: uint8 [N, H, W] (gray) or [N, H, W, 3] (RGB); `labels`: N numbers, 0–9."""
    rows = [(f"{i:05d}.png", int(label)) for i, label in enumerate(labels)]
    write_split(folder, split, ("label",), rows, lambda i: resized(Image.fromarray(images[i]), DIGIT_SIZE))


def resized(image, size):
    """A PIL image at `size`x`size`, resampled bilinearly (with antialiasing where it shrinks)."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def build_usps(downloads, folder, counts):
    """LIBSVM text: `label 1:value … 256:value`, labels 1–10 for the digits 0–9, 16x16 values in [-1, 1]."""
    for split in SPLITS:
        path = downloads / USPS.split_list[split][1]
        pixels, labels = load_svmlight_file(str(path), n_features=256, zero_based=False)
        images = ((pixels.toarray() + 1) * 127.5).round().clip(0, 255).astype(np.uint8).reshape(-1, 16, 16)
        write_digits(folder, split, images, labels - 1)


def build_svhn(downloads, folder, counts):
    """MATLAB v5: X uint8 [32, 32, 3, N] and y [N, 1], labels 1–10, where 10 stands for the digit 0."""
    for split in SPLITS:
        content = scipy.io.loadmat(downloads / SVHN.split_list[split][1], variable_names=("X", "y"))
        write_digits(folder, split, np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2)), content["y"].ravel() % 10)


def build_mnistm(downloads, folder, counts):
    """MNIST-M by its authors' rule: MNIST on random crops of photographs (`put_on_photograph`).

    The digits keep MNIST's order. The crops come from the train photographs of BSDS500, drawn with a fixed seed, so
    they are not the authors' own.
    """
    with Archive(downloads / "BSR_bsds500.tgz", below="BSR/BSDS500/data/images/train/") as archive:
        photographs = [np.asarray(archive.image(name)) for name in archive.names if name.endswith(".jpg")]
    # RandomState, as its numbers are the same in every version of NumPy, unlike default_rng's
    random = np.random.RandomState(MNISTM_SEED)
    files = [downloads / name for name, _ in MNIST.resources]
    for split, (images_path, labels_path) in zip(SPLITS, (files[:2], files[2:]), strict=True):
        digits = read_idx(images_path)
        images = np.empty((*digits.shape, 3), np.uint8)
        for i, digit in enumerate(digits):
            photograph = photographs[random.randint(len(photographs))]
            y = random.randint(photograph.shape[0] - DIGIT_SIZE + 1)
            x = random.randint(photograph.shape[1] - DIGIT_SIZE + 1)
            images[i] = put_on_photograph(digit, photograph[y:y + DIGIT_SIZE, x:x + DIGIT_SIZE])
        write_digits(folder, split, images, read_idx(labels_path))


def read_idx(path):
    """A file of MNIST, gzipped IDX: returns int16 [N, 28, 28] images or int16 [N] labels, 0–255."""
    with gzip.open(path) as file:
        content = file.read()
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).astype(np.int16)


def build_face(downloads, folder, counts):
    """CelebA's aligned 178x218 images, centre-cropped to 178x178 and resized, with 13 of the 40 attributes.

    list_attr_celeba.txt: the number of images, the 40 names, then `000001.jpg -1 1 …` for each image. Which 42,621
    images the course took is not published. These are the first in CelebA's order, so they are other faces.
    """
    lines = (downloads / "list_attr_celeba.txt").read_text().splitlines()
    columns = [lines[1].split().index(attribute) + 1 for attribute in ATTRIBUTES]
    with Archive(downloads / "img_align_celeba.zip") as archive:
        # the numbers of the test faces go on from those of the train faces, as in the course
        for split, first in (("train", 0), ("test", counts["train"])):
            faces = [line.split() for line in lines[2 + first:2 + first + counts[split]]]
            rows = [(f"{first + i:05d}.png", *("1.0" if face[column] == "1" else "0.0" for column in columns))
                    for i, face in enumerate(faces)]
            files = [f"img_align_celeba/{face[0]}" for face in faces]
            write_split(folder, split, ATTRIBUTES, rows, lambda i, files=files: centre(archive.image(files[i])))


def centre(image):
    """The middle square of a PIL image, FACE_SIZE pixels wide."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return resized(image.crop((left, top, left + side, top + side)), FACE_SIZE)


def official_files():
    """The files of each dataset, {name: (File, …)}, with torchvision's addresses and checksums where it has them."""
    usps = [File(name, f"md5:{md5}", 7 * MB, (address,)) for address, name, md5 in map(USPS.split_list.get, SPLITS)]
    svhn = [File(name, f"md5:{md5}", 183 * MB, (address,)) for address, name, md5 in map(SVHN.split_list.get, SPLITS)]
    mnist = [File(name, f"md5:{md5}", 10 * MB, tuple(mirror + name for mirror in MNIST.mirrors))
             for name, md5 in MNIST.resources]
    # Berkeley publishes no checksum: this is what several independent projects recorded of the file (70,763,455 bytes)
    photographs = File("BSR_bsds500.tgz", "sha256:97e49d31764f3912f0c4122707d53062ac9e783ba0f095e447a4d53c1a41af8e",
                       71 * MB, tuple(f"{server}/Research/Projects/CS/vision/grouping/BSR/BSR_bsds500.tgz"
                                      for server in ("http://www.eecs.berkeley.edu", "https://www2.eecs.berkeley.edu")))
    sizes = {"list_attr_celeba.txt": 27 * MB, "img_align_celeba.zip": 1444 * MB}
    celeba = {name: File(name, f"md5:{md5}", sizes[name], drive_id=drive_id)
              for drive_id, md5, name in CelebA.file_list if name in sizes}
    return {"usps": tuple(usps), "mnistm": (*mnist, photographs), "svhn": tuple(svhn),
            "face": tuple(celeba[name] for name in sizes)}


FILES = official_files()
DATASETS = {
    "usps": Dataset("digits/usps", FILES["usps"], build_usps, {"train": 7_291, "test": 2_007}, 40 * MB),
    # the archive that MNIST-M's authors gave out lacks 999 images of either split
    "mnistm": Dataset("digits/mnistm", FILES["mnistm"], build_mnistm, {"train": 60_000, "test": 10_000}, 290 * MB,
                      other_counts={"train": 59_001, "test": 9_001}),
    "svhn": Dataset("digits/svhn", FILES["svhn"], build_svhn, {"train": 73_257, "test": 26_032}, 410 * MB),
    "face": Dataset("face", FILES["face"], build_face, {"train": 40_000, "test": 2_621}, 530 * MB),
}
