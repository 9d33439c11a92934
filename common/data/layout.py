"""The course's data layout as uint8 tensors.

    ROOT/face/{train,test}/*.png                       64x64 RGB
    ROOT/face/{train,test}.csv                         image_name,<13 attributes as 0.0 or 1.0>
    ROOT/digits/{usps,mnistm,svhn}/{train,test}/*.png  28x28, gray or RGB
    ROOT/digits/{usps,mnistm,svhn}/{train,test}.csv    image_name,label

A split is decoded once. The tensor is kept in ROOT/.cache under a name made from the way of decoding, the csv's content and
each image's name, size and time, so that a change is noticed; where ROOT cannot be written to, every start decodes anew.
It is a memory map of the cache, of which only the images in use need memory: a split may be larger than that of the
computer, and (`on_device` in common/training/device.py) than that of the GPU.
"""
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from common.cli import UserError
from common.data.csv_files import LABELS, digits_of, number, parse_csv
from common.data.images import is_image_name, plain_files, read_images, stream_images
from common.files import written_whole

DOMAINS = ("usps", "mnistm", "svhn")
SPLITS = ("train", "test")
ATTRIBUTES = ("Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
              "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Lipstick")
DIGIT_SIZE = 28
FACE_SIZE = 64
SAMPLE_MARK = "SAMPLE_DATA.txt"        # common/sample_data.py leaves this file in the folder it writes
DECODING = b"2"         # part of the caches' names; to be changed wherever the pixels of some image change


class Digits(NamedTuple):
    images: torch.Tensor        # uint8 [N, 3, 28, 28]
    labels: torch.Tensor        # int64 [N], 0–9
    names: list[str]


class Faces(NamedTuple):
    images: torch.Tensor        # uint8 [N, 3, 64, 64]
    attributes: torch.Tensor    # uint8 [N, 13], 0 or 1, columns as in ATTRIBUTES
    names: list[str]


def load_digits(root, domain, split, limit=None):
    """Read one split of one digit domain.

    Args: `root` the data folder, `domain` one of DOMAINS, `split` one of SPLITS, `limit` the first N rows only.
    Returns Digits; gray images become RGB. Raises UserError where a file is missing, unreadable or inconsistent.
    """
    csv_path = Path(root) / "digits" / domain / f"{split}.csv"
    names, labels = zip(*digits_of(_read_csv(csv_path, LABELS, limit), csv_path))
    images = _load_images(root, csv_path, names, DIGIT_SIZE, f"digits-{domain}-{split}", limit)
    return Digits(images, torch.tensor(labels), list(names))


def load_faces(root, split, limit=None):
    """Read one split of the faces. Arguments, checks and errors as in `load_digits`; returns Faces."""
    csv_path = Path(root) / "face" / f"{split}.csv"
    rows = _read_csv(csv_path, ("image_name", *ATTRIBUTES), limit)
    attributes = []
    for line, (name, *fields) in rows:
        values = [number(field) for field in fields]
        if not set(values) <= {0, 1}:
            wrong = next(a for a, v in zip(ATTRIBUTES, values) if v not in (0, 1))
            raise UserError(f"{csv_path}, line {line}: {wrong} of {name} is neither 0.0 nor 1.0")
        attributes.append(values)
    names = [name for _, (name, *_) in rows]
    images = _load_images(root, csv_path, names, FACE_SIZE, f"face-{split}", limit)
    return Faces(images, torch.tensor(attributes, dtype=torch.uint8), names)


def digest(root, dataset, split, limit=None):
    """A digest of the pixels and labels of a split, whatever its path and its files are called: 16 hexadecimal digits.

    `dataset` is one of DOMAINS, or "face". Errors as of `load_digits`.
    """
    images, labels, _ = load_faces(root, split, limit) if dataset == "face" else load_digits(root, dataset, split, limit)
    content = hashlib.blake2b(digest_size=8)
    for part in (*images.split(1000), labels):
        content.update(part.contiguous().numpy())
    return content.hexdigest()


def datasets_of(settings):
    """The datasets that a run of these settings sees: its domain or its two, or the faces."""
    return [settings[role] for role in ("source", "target", "domain") if role in settings] or ["face"]


def has_dataset(root, dataset):
    """Whether the data folder has both splits of a dataset: one of DOMAINS, or "face"."""
    folder = Path(root) / "face" if dataset == "face" else Path(root) / "digits" / dataset
    return all((folder / f"{split}.csv").is_file() for split in SPLITS)


def digests(settings, digest=digest):
    """The `digest` of each split that a run of these settings sees: {"usps/train": "4068f5bb19c67a02", …}."""
    return {f"{dataset}/{split}": digest(settings["data"], dataset, split, settings["limit"])
            for dataset in datasets_of(settings) for split in SPLITS}


def is_sample_data(root):
    """Whether `root` holds the built-in sample data rather than the course's data."""
    return (Path(root) / SAMPLE_MARK).is_file()


def _read_csv(path, header, limit):
    try:
        return parse_csv(path.read_bytes(), path, header, limit)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; download the dataset (bash hw_download.sh) or give its folder with "
                        "--data") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _load_images(root, csv_path, names, size, kind, limit):
    """The named images of the split beside `csv_path`, from the cache where it is fresh: uint8 [N, 3, size, size]."""
    folder = csv_path.with_suffix("")
    files = plain_files(folder)
    digest = hashlib.sha256(DECODING + csv_path.read_bytes())
    for name in names:
        if name not in files:
            raise UserError(f"{folder / name} is not a file, but {csv_path} lists it")
        digest.update(f"{name} {files[name].st_size} {files[name].st_mtime_ns}\n".encode())
    if limit is None:
        listed = set(names)
        for name in sorted(files):
            if is_image_name(name) and name not in listed:
                raise UserError(f"{csv_path} has no row for {folder / name}; add one or remove the image")

    cache = Path(root) / ".cache"
    prefix = f"{kind}-{len(names)}-"
    cached = cache / f"{prefix}{digest.hexdigest()[:16]}.npy"
    shape = (len(names), 3, size, size)
    try:
        return _map(cached, shape)
    except (OSError, EOFError, TypeError, ValueError):
        pass    # a missing or damaged cache file is made below
    what = [folder / name for name in names], size, f"decoding {kind}", False
    if not cache.is_symlink():      # nothing is written outside ROOT
        try:
            cache.mkdir(exist_ok=True)
            for stale in set(cache.glob(f"{prefix}*.npy")) - {cached}:
                stale.unlink(missing_ok=True)
            with written_whole(cached) as part, open(part, "wb") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for images in stream_images(*what):
                    file.write(images.numpy().tobytes())
            return _map(cached, shape)
        except (OSError, UserError):
            pass        # a read-only or full disk: the images must fit into memory; a damaged image is named below
    return read_images(*what)


def _map(path, shape):
    """The uint8 array of that shape in a npy file, as a tensor. Raises ValueError if it is another, or what np.load does."""
    # a private (copy-on-write) map: pages are read when touched, the file is never changed
    try:
        images = np.load(path, mmap_mode="c")
    except FileNotFoundError:
        raise
    except OSError:         # a file system that maps no files: as an array, which must fit into memory
        images = np.load(path)
    if images.shape != shape or images.dtype != np.uint8:
        raise ValueError
    return torch.from_numpy(images)
