"""Image files: which a folder has, and what a viewer shows of them, as uint8 arrays and tensors."""
import contextlib
import itertools
import os
import stat
import warnings
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from common.cli import UserError, in_threads, one_line, progress

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP")      # no others, whatever a file's name says: some would start other programs
ORIENTATION = 0x112     # of EXIF: how a picture is turned for showing
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}

# what Pillow finds odd about an image that it reads all the same is nothing to tell a user
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# Pillow warns of an image of more than 89 million pixels and refuses one of twice as many; here both are refused
warnings.simplefilter("error", Image.DecompressionBombWarning)
# texts in a png, such as the settings of the program that drew it, may be longer than Pillow's 1 MB
PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = 2**26, 2**28        # bytes


def list_images(folder):
    """The image files of a folder (png, jpg, jpeg, bmp in any case), sorted by name, hidden ones left out.

    Returns a list of Path. Raises UserError if the folder is missing or holds no image, or for a link to nowhere. What is
    there besides, `left_out` says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds the images")
    names = sorted(name for name in plain_files(folder) if is_image_name(name))
    if not names:
        raise UserError(f"{folder} holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}{left_out(folder)}")
    return [folder / name for name in names]


def left_out(folder):
    """The end of a sentence on the files of a folder that `list_images` leaves out, hidden ones aside; empty if none is."""
    kinds = Counter(Path(name).suffix.lower() or "without a suffix" for name in sorted(plain_files(folder))
                    if not is_image_name(name) and not name.startswith("."))
    shown = [f"{count} {kind}" for kind, count in kinds.most_common(5)] + ["…"] * (len(kinds) > 5)
    count = kinds.total()
    return one_line(f"; left out {count} file{'s that are' if count > 1 else ' that is'} not png, jpg or bmp: "
                    f"{', '.join(shown)}") if kinds else ""


def plain_files(folder):
    """The plain files of a folder, links to files among them, as {name: os.stat_result}. Raises UserError for an image's link
    that leads nowhere; others, such as an editor's locks, are no files."""
    found = {}
    try:
        for entry in os.scandir(folder):
            with contextlib.nullcontext() if is_image_name(entry.name) else contextlib.suppress(OSError):
                found[entry.name] = entry.stat()
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror}; make it readable or leave it out") from None
    return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}


def is_image_name(name):
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


def put_on_photograph(digit, crop):
    """An MNIST-M image as its authors make them: uint8 [H, W, 3], the `crop` of a photograph, inverted where the digit is.

    `digit` [H, W] is anywhere that it is not 0, however gray, so strokes have hard edges. Ganin et al. 2016, section 5.2.4,
    say |crop - digit|, which is the same for a digit of 0 and 255 only; the rule here is read off their own images.
    """
    return np.where(digit[:, :, None] > 0, 255 - crop, crop)
