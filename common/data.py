"""The course's data layout as uint8 tensors.

    ROOT/face/{train,test}/*.png                       64x64 RGB
    ROOT/face/{train,test}.csv                         image_name,<13 attributes as 0.0 or 1.0>
    ROOT/digits/{usps,mnistm,svhn}/{train,test}/*.png  28x28, gray or RGB
    ROOT/digits/{usps,mnistm,svhn}/{train,test}.csv    image_name,label

A split is decoded once. The tensor is kept in ROOT/.cache under a name made from the way of decoding, the csv's content and
each image's name, size and time, so that a change is noticed; where ROOT cannot be written to, every start decodes anew.
It is a memory map of the cache, of which only the images in use need memory: a split may be larger than that of the
computer, and (`on_device`) than that of the GPU.
"""
import hashlib
import itertools
import math
import os
import stat
import warnings
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from common.cli import UserError, in_threads, one_line, progress, written_whole
from common.table import LABELS, digits_of, number, parse_csv

DOMAINS = ("usps", "mnistm", "svhn")
SPLITS = ("train", "test")
ATTRIBUTES = ("Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
              "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Lipstick")
DIGIT_SIZE = 28
FACE_SIZE = 64
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP")      # no others, whatever a file's name says: some would start other programs
SAMPLE_MARK = "SAMPLE_DATA.txt"        # common/sample_data.py leaves this file in the folder it writes
DECODING = b"2"         # part of the caches' names; to be changed wherever the pixels of some image change
ORIENTATION = 0x112     # of EXIF: how a picture is turned for showing
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}
RESIDENT_SHARE = 0.5    # of a GPU's free memory, up to which a split's images may be held there; training needs the rest


# what Pillow finds odd about an image that it reads all the same is nothing to tell a user
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# Pillow warns of an image of more than 89 million pixels and refuses one of twice as many; here both are refused
warnings.simplefilter("error", Image.DecompressionBombWarning)
# texts in a png, such as the settings of the program that drew it, may be longer than Pillow's 1 MB
PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = 2**26, 2**28        # bytes


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

    Returns a list of Path. Raises UserError if the folder is missing or holds no image, or for a link to nowhere. What is
    there besides, `left_out` says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds the images")
    names = sorted(name for name in _files(folder) if _is_image_name(name))
    if not names:
        raise UserError(f"{folder} holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}{left_out(folder)}")
    return [folder / name for name in names]


def left_out(folder):
    """The end of a sentence on the files of a folder that `list_images` leaves out, hidden ones aside; empty if none is."""
    kinds = Counter(Path(name).suffix.lower() or "without a suffix" for name in sorted(_files(folder))
                    if not _is_image_name(name) and not name.startswith("."))
    shown = [f"{count} {kind}" for kind, count in kinds.most_common(5)] + ["…"] * (len(kinds) > 5)
    count = kinds.total()
    return one_line(f"; left out {count} file{'s that are' if count > 1 else ' that is'} no png, jpg or bmp: {', '.join(shown)}"
                    ) if kinds else ""


def _files(folder):
    """The plain files of a folder, links to files among them, as {name: os.stat_result}."""
    try:
        found = {entry.name: entry.stat() for entry in os.scandir(folder)}
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror}") from None
    return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}


def _is_image_name(name):
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def as_shown(image):
    """What a viewer shows of a PIL image that was just opened: upright by its EXIF data, and on white where it is transparent.

    Returns a PIL image of 8 bits a channel and without alpha; where there is nothing to turn or to see through, of the same
    mode and pixels, but 16-bit gray, which is scaled to 8 bits. Raises what Pillow does for a damaged file.
    """
    kind = image.format, image.tile[0][3] if image.tile else None       # Pillow forgets both as it goes on
    image.load()
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:       # damaged EXIF data can fail anywhere in its parser; viewers pass over it
        turn = None
    clear = image.info.pop("transparency", None)        # a colour, or what a palette's have for alpha
    if isinstance(clear, str):      # a text of that name in the file
        clear = None
    if image.mode.startswith("I"):
        # 16-bit gray; PIL's own conversion would clip at 255 instead of scaling
        pixels = np.asarray(image)
        image = Image.fromarray((pixels.clip(0, 65535) / 257).round().astype(np.uint8))
        if clear is not None:
            image.putalpha(Image.fromarray(np.where(pixels == clear, 0, 255).astype(np.uint8)))
    elif clear is not None:
        # Pillow scales a png's pixels to 8 bits, but not this colour
        if kind[1] in ("L;2", "L;4"):
            clear *= {"L;2": 85, "L;4": 17}[kind[1]]
        elif kind[1] == "RGB;16B":
            clear = tuple(value >> 8 for value in clear)
        image.info["transparency"] = clear
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        alpha, picture = image.getchannel("A"), Image.new("RGB", image.size, "white")
        # programs that write bmp files with room for alpha often leave it 0 everywhere, which viewers know
        unused = kind[0] == "BMP" and not alpha.getbbox()
        picture.paste(image, mask=None if unused else alpha)
        image = picture
    return image if turn is None else image.transpose(turn)


def read_image(path, size, resize=True):
    """Decode one image of any mode and size.

    Returns uint8 [size, size, 3], what a viewer shows (`as_shown`): gray, palette and CMYK images become RGB, of an
    animation the first picture counts, other sizes are resized bilinearly; where `size` is None, the image has its own,
    uint8 [H, W, 3]. Raises UserError if the file is no readable png, jpg or bmp image, has more than 89 million pixels or,
    without `resize`, another size.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            if not resize and image.size != (size, size):
                raise UserError(f"{path} has {image.width}x{image.height} pixels; expected {size}x{size}")
            image = as_shown(image).convert("RGB")
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
    files = _files(folder)
    digest = hashlib.sha256(DECODING + csv_path.read_bytes())
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
