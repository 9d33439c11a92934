"""From the official sources to the course layout (common/data.py shows it).

    bash hw_download.sh [--data hw3_data] [--only usps mnistm svhn face]

Downloads are checked and kept in DATA/.download under their official names; a file put there by hand is used like a
downloaded one. Each dataset is converted in a hidden folder of DATA and comes to its place with one rename, so that a
run that is killed leaves all of it or nothing.

Sources, with the addresses and checksums that torchvision maintains where it has the dataset:
  usps    LIBSVM's copy of Hull 1994, https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps
  mnistm  Ganin et al. 2016, https://jmlr.org/papers/v17/15-239.html: MNIST digits on photographs of BSDS500
  svhn    Netzer et al. 2011, cropped digits, http://ufldl.stanford.edu/housenumbers/
  face    CelebA, Liu et al. 2015, http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""
import contextlib
import csv
import errno
import gzip
import hashlib
import http.client
import math
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import scipy.io
from PIL import Image
from sklearn.datasets import load_svmlight_file
from torchvision.datasets import MNIST, SVHN, USPS, CelebA
from tqdm import tqdm

from common.archive import Archive
from common.cli import CommandParser, UserError, in_threads, lock, move_folder, run_command, say, warn
from common.data import (
    ATTRIBUTES,
    DIGIT_SIZE,
    FACE_SIZE,
    SPLITS,
    is_sample_data,
    list_images,
    put_on_photograph,
)
from common.requirements import REPOSITORY, install
from common.table import parse_csv

ATTEMPTS = 5                # connections for one file and address; each goes on where the last one broke off
RETRY_SECONDS = 2
TIMEOUT_SECONDS = 30        # a server that is silent for so long counts as a broken connection
BLOCK = 1 << 18             # bytes read at once
MNISTM_SEED = 42
MB = 1_000_000


class File(NamedTuple):
    name: str
    checksum: str                       # "md5:…" or "sha256:…"
    size: int                           # bytes, rounded up; only for the check of the free disk space
    addresses: tuple[str, ...] = ()     # tried in this order
    drive_id: str = ""                  # instead of addresses, for files that are on Google Drive


class Dataset(NamedTuple):
    folder: str                         # its place below DATA
    files: tuple[File, ...]
    build: Callable                     # build(downloads, folder, counts) fills a folder from the official files
    counts: dict[str, int]              # images in each split
    room: int                           # bytes that the images take on a disk with 4 kB blocks
    other_counts: dict[str, int] = {}   # also accepted


def main(arguments=None):
    parser = CommandParser(
        prog="bash hw_download.sh", description="Download the datasets and bring them into the course layout.",
        epilog="Downloads are kept in DATA/.download; files that you put there yourself are not downloaded. With "
               "HW_MIRROR=http://host/base in the environment, files of the same names come from that address.")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), metavar="DIR", help="default: hw3_data")
    parser.add_argument("--only", nargs="+", choices=DATASETS, default=list(DATASETS), help="default: all")
    parser.add_argument("--mnistm", type=Path, metavar="ARCHIVE", help="take MNIST-M from a zip or tar: its authors' "
                        "mnist_m.tar.gz, or one that holds mnistm/train.csv, mnistm/train/00000.png and so on")
    parser.add_argument("--archive", type=Path, metavar="FILE", help="take the datasets that are in this zip or tar of "
                        "the course (hw3_data.zip) from there, and download the others")
    args = parser.parse_args(arguments)
    if args.mnistm and "mnistm" not in args.only:
        parser.error("--mnistm needs mnistm among --only")
    for path in (args.mnistm, args.archive):
        if path and not path.is_file():
            raise UserError(f"{path} is not a file; give the archive to take the images from")
    mirror = os.environ.get("HW_MIRROR", "").rstrip("/")
    if mirror and not mirror.startswith(("http://", "https://")):
        raise UserError(f"HW_MIRROR is {mirror!r}; expected an address like http://host/base")
    if is_sample_data(args.data):
        raise UserError(f"{args.data} holds the built-in sample data; choose another folder with --data or delete it")

    failed = []
    with working_folder(args.data) as downloads:
        for name in args.only:
            try:
                provide(name, args.data, downloads, mirror, args.mnistm, args.archive)
            except UserError as error:
                warn(f"error: {name}: {error}")
                failed.append(name)
    print_table(args.data, args.only)
    if failed:
        raise UserError(f"not ready: {', '.join(failed)}; see the lines above")
    say(f"The data: {args.data.resolve()}; next: bash hw_report.sh --data {args.data}", "green")


@contextlib.contextmanager
def working_folder(data):
    """Make data/.download and give its path; keep other runs out, and remove what killed runs left in `data`."""
    downloads = data / ".download"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        held = lock(downloads / ".lock", f"another download into {data} is running; wait for it or stop it")
    except OSError as error:
        raise UserError(f"cannot write to {data}: {error.strerror}; choose another folder with --data") from None
    with held:
        for leftover in data.glob(".building-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield downloads


def provide(name, data, downloads, mirror="", mnistm=None, archive=None):
    """Bring one dataset to its place below `data`, unless it is there.

    Args: `name` a key of DATASETS, `data` the folder of the course layout, `downloads` the folder of the official
    files, `mirror` an address to take them from instead of the official ones, `mnistm` and `archive` the paths of
    archives that the user has. Raises UserError with the reason if the dataset cannot be had.
    """
    dataset = DATASETS[name]
    place = data / dataset.folder
    building = data / f".building-{name}"
    try:
        if place.is_dir() and any(place.iterdir()):
            try:
                check_counts(dataset, place, place)
            except UserError as error:
                raise UserError(f"{error}; delete or rename {place} to have it made anew") from None
            say(f"{name}: {place} is complete, nothing to do")
            return
        check_room(data, dataset.room)
        building.mkdir()
        source = build_from_archives(name, building, mnistm, archive)
        if source is None:
            source = downloads
            check_room(data, dataset.room + bytes_to_download(dataset, downloads))
            for file in dataset.files:
                try:
                    fetch(file, dataset, downloads, mirror)
                except UserError as error:
                    raise UserError(f"{archive} does not hold it, and {error}" if archive else str(error)) from None
            say(f"{name}: converting the images")
            dataset.build(downloads, building, dataset.counts)
        check_counts(dataset, building, source)
        place.parent.mkdir(parents=True, exist_ok=True)
        move_folder(building, place)
    except OSError as error:
        raise UserError(f"{error.filename or place}: {error.strerror or error}; mend that and run the command again"
                        ) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    say(f"{name}: {place} is ready")


def count_images(folder):
    """The number of images in each split of a dataset's folder: {split: count}.

    Raises UserError where a csv file or a folder is missing or unreadable, or a csv file has not one row for each image.
    """
    counts = {}
    for split in SPLITS:
        table = folder / f"{split}.csv"
        try:
            rows = len(parse_csv(table.read_bytes(), table, ("image_name",)))
        except OSError as error:
            raise UserError(f"cannot read {table}: {error.strerror}") from None
        counts[split] = len(list_images(folder / split))
        if rows != counts[split]:
            raise UserError(f"{table} has {rows:,} rows for {counts[split]:,} images")
    return counts


def check_counts(dataset, folder, source):
    """Raise UserError unless `folder` holds as many images as `dataset` has; the message names `source`."""
    counts = count_images(folder)
    if counts not in (dataset.counts, dataset.other_counts):
        raise UserError(f"{source} holds {counts['train']:,} train and {counts['test']:,} test images; expected "
                        f"{dataset.counts['train']:,} and {dataset.counts['test']:,}")


def print_table(data, names):
    say(f"\n{'dataset':<9}{'split':<7}{'images':>9}{'expected':>10}")
    for name in names:
        dataset = DATASETS[name]
        try:
            counts = count_images(data / dataset.folder)
        except UserError:
            counts = {}
        expected = dataset.other_counts if counts and counts == dataset.other_counts else dataset.counts
        for split in SPLITS:
            found = f"{counts[split]:,}" if counts else "not ready"
            say(f"{name:<9}{split:<7}{found:>9}{expected[split]:>10,}")


# ---- downloads ------------------------------------------------------------------------------------------------------

def free_bytes(folder):
    """How much room there is in a folder; as much as one likes where its file system does not say."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return math.inf
    return disk.free or (0 if disk.total else math.inf)


def check_room(data, needed):
    free = free_bytes(data)
    if free < needed:
        raise UserError(f"the disk of {data} has {free / MB:,.0f} MB free, but about {needed / MB:,.0f} MB are needed; "
                        "make room or choose a folder on another disk with --data")


def bytes_to_download(dataset, downloads):
    total = 0
    for file in dataset.files:
        if not (downloads / file.name).exists():
            part = partial(downloads / file.name)
            total += max(0, file.size - (part.stat().st_size if part.exists() else 0))
    return total


def partial(path):
    return path.with_name(f"{path.name}.part")


def checksum(path, like):
    """The checksum of a file by the algorithm of `like`, and in its form: "md5:…" or "sha256:…"."""
    algorithm = like.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{algorithm}:{digest.hexdigest()}"


def fetch(file, dataset, downloads, mirror):
    """Have one official file of `dataset` in the folder `downloads`, checked; it is downloaded if it is not there.

    Raises UserError with the reason and with what the user can do by hand.
    """
    path = downloads / file.name
    if path.exists():
        found = checksum(path, file.checksum)
        if found != file.checksum:
            raise UserError(f"{path} is not the official file: it has {found}, expected {file.checksum}; replace or "
                            "remove it and run the command again")
        return
    say(f"downloading {file.name}")
    addresses = [f"{mirror}/{file.name}"] if mirror else file.addresses
    reasons = []
    for address in addresses or [None]:
        try:
            if address:
                download(address, file, path)
            else:
                download_from_drive(file, path)
            return
        except UserError as error:
            reasons.append(str(error))
    missing = ", ".join(other.name for other in dataset.files if not (downloads / other.name).exists())
    raise UserError(f"{', '.join(reasons)}; try again later, or put {missing} by hand into {downloads} and run the "
                    "command again")


def download(address, file, path):
    """Download `file` from `address` to `path`, going on from path.part where an earlier try broke off.

    Raises UserError if that fails; what has arrived stays in path.part unless its checksum is wrong.
    """
    part = partial(path)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_SECONDS)
        resuming = part.exists()
        try:
            receive(address, part, file.name)
        except urllib.error.HTTPError as error:
            # 416: nothing comes after the part that we have, so that is complete, or wrong
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise UserError(f"{address} answers {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise UserError(f"cannot reach {address} ({error.reason})") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise       # our disk, not the connection
            reason = f"the download of {address} broke off ({error})"
            continue
        found = checksum(part, file.checksum)
        if found == file.checksum:
            part.rename(path)
            return
        part.unlink()
        reason = f"{address} is not the official file: it has {found}, expected {file.checksum}"
        if not resuming:
            break           # all of it came from this address just now; another try would bring the same
    raise UserError(reason)


def receive(address, part, name):
    """Append to the file `part` what it lacks of `address`. Raises ConnectionError if the server stops too early."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "hw_download"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0        # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if have else "wb") as file, \
                tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, leave=False, disable=None,
                     dynamic_ncols=True) as bar:
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                bar.update(len(block))
    if total is not None and have < total:
        raise ConnectionError(f"{have:,} of {total:,} bytes came")


def download_from_drive(file, path):
    """Download a file from Google Drive to `path` with gdown, which resumes too. Raises UserError if that fails."""
    try:
        import gdown
    except ImportError:
        raise UserError(f"{file.name} is on Google Drive, which takes gdown "
                        f"({install('-r', f'{REPOSITORY}/requirements-download.txt')})") from None
    arrived = path.with_name(f"{path.name}.drive")
    try:
        gdown.download(id=file.drive_id, output=str(arrived), resume=True, quiet=not sys.stderr.isatty())
    except Exception as error:      # gdown passes on whatever the libraries below it raise
        raise UserError(f"Google Drive does not give {file.name} ({' '.join(str(error).split())})") from None
    if not arrived.exists():
        raise UserError(f"Google Drive does not give {file.name}")
    found = checksum(arrived, file.checksum)
    if found != file.checksum:
        arrived.unlink()
        raise UserError(f"{file.name} from Google Drive is not the official file: it has {found}, expected "
                        f"{file.checksum}")
    arrived.rename(path)


# ---- archives that the user has -------------------------------------------------------------------------------------

def build_from_archives(name, folder, mnistm, archive):
    """Fill `folder` from an archive of the user. Returns the archive's path, or None if no archive has this dataset."""
    if name == "mnistm" and mnistm:
        with Archive(mnistm) as opened:
            if listing := opened.ending("mnist_m_train_labels.txt"):
                for split in SPLITS:
                    copy_mnistm_split(opened, PurePosixPath(listing).parent, split, folder)
            elif table := opened.ending("mnistm/train.csv"):
                for split in SPLITS:
                    copy_course_split(opened, PurePosixPath(table).parent, split, folder)
            else:
                raise UserError(f"{mnistm} holds neither mnist_m_train_labels.txt nor mnistm/train.csv; give an "
                                "archive of MNIST-M")
        return mnistm
    if archive:
        with Archive(archive) as opened:
            if table := opened.ending(f"{DATASETS[name].folder}/train.csv"):
                for split in SPLITS:
                    copy_course_split(opened, PurePosixPath(table).parent, split, folder)
                return archive
        say(f"{name}: {archive} does not hold it")
    return None


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


# ---- conversion -----------------------------------------------------------------------------------------------------

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


# ---- what there is --------------------------------------------------------------------------------------------------

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

if __name__ == "__main__":
    run_command(main, when_stopped="what has arrived is kept; run the same command again to go on")
