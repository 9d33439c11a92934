"""The course's data layout as uint8 tensors.

    ROOT/face/{train,test}/*.png                       64x64 RGB
    ROOT/face/{train,test}.csv                         image_name,<13 attributes as 0.0 or 1.0>
    ROOT/digits/{usps,mnistm,svhn}/{train,test}/*.png  28x28, gray or RGB
    ROOT/digits/{usps,mnistm,svhn}/{train,test}.csv    image_name,label

A split is decoded once. The tensor is kept in ROOT/.cache under a name made from the csv's content and each image's
name, size and time, so that a changed file is noticed; where ROOT cannot be written to, every start decodes anew.
It is a memory map of the cache, of which only the images in use need memory: a split may be larger than that of the
computer, and (`on_device`) than that of the GPU.
"""
import csv
import hashlib
import itertools
import math
import os
import stat
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from common.cli import UserError, in_threads, progress, written_whole

DOMAINS = ("usps", "mnistm", "svhn")
SPLITS = ("train", "test")
ATTRIBUTES = ("Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
              "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Lipstick")
DIGIT_SIZE = 28
FACE_SIZE = 64
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP")      # no others, whatever a file's name says: some would start other programs
SAMPLE_MARK = "SAMPLE_DATA.txt"        # common/sample_data.py leaves this file in the folder it writes
RESIDENT_SHARE = 0.5    # of a GPU's free memory, up to which a split's images may be held there; training needs the rest


# Pillow warns of an image of more than 89 million pixels and refuses one of twice as many; here both are refused
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Digits(NamedTuple):
    images: torch.Tensor        # uint8 [N, 3, 28, 28]
    labels: torch.Tensor        # int64 [N], 0–9
    names: list[str]


class Faces(NamedTuple):
    images: torch.Tensor        # uint8 [N, 3, 64, 64]
    attributes: torch.Tensor    # uint8 [N, 13], 0 or 1, columns as in ATTRIBUTES
    names: list[str]


def put_on_photograph(digit, crop):
    """An MNIST-M image as its authors make them: uint8 [H, W, 3], the `crop` of a photograph, inverted where the digit is.

    `digit` [H, W] is anywhere that it is not 0, however gray, so strokes have hard edges. Ganin et al. 2016, section 5.2.4,
    say |crop - digit|, which is the same for a digit of 0 and 255 only; the rule here is read off their own images.
    """
    return np.where(digit[:, :, None] > 0, 255 - crop, crop)


def load_digits(root, domain, split, limit=None):
    """Read one split of one digit domain.

    Args: `root` the data folder, `domain` one of DOMAINS, `split` one of SPLITS, `limit` the first N rows only.
    Returns Digits; gray images become RGB. Raises UserError where a file is missing, unreadable or inconsistent.
    """
    csv_path = Path(root) / "digits" / domain / f"{split}.csv"
    rows = _read_csv(csv_path, ("image_name", "label"), limit)
    labels = []
    for number, (name, label) in rows:
        value = _number(label)
        if value not in range(10):
            raise UserError(f"{csv_path}, line {number}: the label of {name} is {label!r}; expected 0 to 9")
        labels.append(int(value))
    names = [name for _, (name, _) in rows]
    images = _load_images(root, csv_path, names, DIGIT_SIZE, f"digits-{domain}-{split}", limit)
    return Digits(images, torch.tensor(labels), names)


def load_faces(root, split, limit=None):
    """Read one split of the faces. Arguments, checks and errors as in `load_digits`; returns Faces."""
    csv_path = Path(root) / "face" / f"{split}.csv"
    rows = _read_csv(csv_path, ("image_name", *ATTRIBUTES), limit)
    attributes = []
    for number, (name, *fields) in rows:
        values = [_number(field) for field in fields]
        if not set(values) <= {0, 1}:
            wrong = next(a for a, v in zip(ATTRIBUTES, values) if v not in (0, 1))
            raise UserError(f"{csv_path}, line {number}: {wrong} of {name} is neither 0.0 nor 1.0")
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


def on_device(images, device):
    """The images uint8 [N, 3, H, W] of a split for training: result[indices], indices int64 [B], is a batch on `device`.

    Images that fit are held on the device. Others are streamed: each batch is read from the memory map when it is asked for.
    """
    if images.nbytes <= RESIDENT_SHARE * _free_memory(device):
        return images.to(device)        # on a CPU the memory map itself
    return StreamedImages(images, device)


def _free_memory(device):
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


class StreamedImages:
    """Images uint8 [N, 3, H, W] in the computer's memory or on its disk, whose batches are brought to `device`."""

    def __init__(self, images, device):
        self.images, self.device = images, device

    def __len__(self):
        return len(self.images)

    def __getitem__(self, indices):
        # the host has to know the indices, so it waits for the device here, once a step
        batch = self.images[indices.cpu()]
        return batch.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else batch.to(self.device)


def is_sample_data(root):
    """Whether `root` holds the built-in sample data rather than the course's data."""
    return (Path(root) / SAMPLE_MARK).is_file()


def list_images(folder):
    """The image files of a folder (png, jpg, jpeg, bmp in any case), sorted by name, hidden ones left out.

    Returns a list of Path. Raises UserError if the folder is missing or holds no image, or for a link to nowhere.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds the images")
    names = sorted(name for name in _files(folder) if _is_image_name(name))
    if not names:
        raise UserError(f"{folder} holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
    return [folder / name for name in names]


def _files(folder):
    """The plain files of a folder, links to files among them, as {name: os.stat_result}."""
    try:
        found = {entry.name: entry.stat() for entry in os.scandir(folder)}
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror}") from None
    return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}


def _is_image_name(name):
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def read_image(path, size, resize=True):
    """Decode one image of any mode and size.

    Returns uint8 [size, size, 3]: gray, palette and CMYK images become RGB, 16-bit ones are scaled to 8 bits, an alpha
    channel is dropped, of an animation the first picture counts, other sizes are resized bilinearly; where `size` is None,
    the image has its own, uint8 [H, W, 3]. Raises UserError if the file is no readable png, jpg or bmp image, has more than 89
    million pixels or, without `resize`, another size.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            if not resize and image.size != (size, size):
                raise UserError(f"{path} has {image.width}x{image.height} pixels; expected {size}x{size}")
            image.info.pop("transparency", None)        # Pillow warns where it cannot keep a palette's
            if image.mode.startswith("I"):
                # 16-bit gray; PIL's own conversion would clip at 255 instead of scaling
                image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
            image = image.convert("RGB")
            if size is not None and image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(image)
    except UserError:
        raise
    except Exception as error:      # a damaged file can fail anywhere in the decoder, in any way
        reason = getattr(error, "strerror", None) or "not a readable png, jpg or bmp image"
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            reason = f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        raise UserError(f"cannot read the image {path}: {reason}; replace or remove the file") from None


def read_images(paths, size, description="decoding", resize=True):
    """Decode many images in parallel, each as `read_image` does. Returns uint8 [N, 3, size, size]."""
    images = np.empty((len(paths), 3, size, size), np.uint8)

    def read(i):
        images[i] = read_image(paths[i], size, resize).transpose(2, 0, 1)

    in_threads(read, len(paths), description)
    return torch.from_numpy(images)


def stream_images(paths, size, description, resize=True, block=128):
    """As `read_images`, but yields uint8 [`block` or fewer, 3, size, size], so that few images are in memory at once."""
    def read(start):
        return np.stack([read_image(path, size, resize).transpose(2, 0, 1) for path in paths[start:start + block]])

    starts = iter(range(0, len(paths), block))
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress(range(len(paths)), description, "image") as bar:
        ahead = deque(pool.submit(read, start) for start in itertools.islice(starts, os.cpu_count()))
        try:
            while ahead:
                images = ahead.popleft().result()
                ahead.extend(pool.submit(read, start) for start in itertools.islice(starts, 1))
                yield torch.from_numpy(images)
                bar.update(len(images))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def parse_csv(file, path, header, limit=None):
    """Read the csv of a split from an open text file; `path` is what messages call it.

    Returns [(line number, fields in the order of `header`)], where the first field is the name of an image; `limit`
    takes the first N rows only. Raises UserError where columns, fields or rows are missing, or a name is listed twice
    or is no plain file name.
    """
    try:
        reader = csv.reader(file)
        found = next(reader, [])
        if missing := [name for name in header if name not in found]:
            raise UserError(f"{path}: the header lacks {', '.join(missing)}; expected {','.join(header)}")
        columns = [found.index(name) for name in header]
        rows, seen = [], set()
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(found):
                raise UserError(f"{path}, line {reader.line_num}: {len(fields)} fields; expected {len(found)}")
            row = tuple(fields[column] for column in columns)
            if row[0] in seen:
                raise UserError(f"{path}, line {reader.line_num}: {row[0]} is listed twice; remove one row")
            if row[0] in ("", ".", "..") or Path(row[0]).name != row[0]:
                raise UserError(f"{path}, line {reader.line_num}: {row[0]!r} is not a plain file name")
            seen.add(row[0])
            rows.append((reader.line_num, row))
            if len(rows) == limit:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not rows:
        raise UserError(f"{path} lists no images")
    return rows


def write_csv(path, header, rows):
    """Write a csv of texts and numbers, its first column names of images, which may hold bytes that no encoding knows."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _read_csv(path, header, limit):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return parse_csv(file, path, header, limit)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; download the dataset (bash hw_download.sh) or give its folder with "
                        "--data") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def _load_images(root, csv_path, names, size, kind, limit):
    """The named images of the split beside `csv_path`, from the cache where it is fresh: uint8 [N, 3, size, size]."""
    folder = csv_path.with_suffix("")
    files = _files(folder)
    digest = hashlib.sha256(csv_path.read_bytes())
    for name in names:
        if name not in files:
            raise UserError(f"{folder / name} is no file, but {csv_path} lists it")
        digest.update(f"{name} {files[name].st_size} {files[name].st_mtime_ns}\n".encode())
    if limit is None:
        listed = set(names)
        for name in sorted(files):
            if _is_image_name(name) and name not in listed:
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
