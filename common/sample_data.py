"""The built-in sample data: a small dataset in the course layout, so that everything runs without a download.

    python3 -m common.sample_data sample_data

It is made from what the installed packages carry. Each domain is a stand-in for one of the course's:

    usps    real handwritten digits of scikit-learn (8x8), smoothly enlarged to fill the frame, gray
    mnistm  other digits of the same set, smaller, inverting scikit-learn's two photographs, as MNIST-M's do
    svhn    digits of matplotlib's fonts with neighbours, colours, rotation, blur and noise
    face    drawn portraits that show the 13 attributes

The same packages give the same bytes each time. Results on this data say that the code works, nothing more.
"""
import csv
import functools
from pathlib import Path

# before the packages below: it says which are missing
from common.cli import CommandParser, UserError, progress, run_command, say

# isort: split
import numpy as np
import sklearn.datasets
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from common.data.drawn_faces import draw_attributes, portrait
from common.data.images import put_on_photograph
from common.data.layout import ATTRIBUTES, DIGIT_SIZE, SAMPLE_MARK, SPLITS, is_sample_data
from common.files import folder_written_whole
from common.plain_matplotlib import matplotlib

# images in train and test; usps and mnistm share the 1,797 handwritten digits of scikit-learn
SIZES = {"usps": (700, 200), "mnistm": (700, 190), "svhn": (800, 200), "face": (1200, 200)}
SEED = 20190503

MARK_TEXT = """\
This folder holds the built-in sample data, not the course's datasets: handwritten digits of scikit-learn, the same
kind of digits on scikit-learn's sample photographs, digits set in matplotlib's fonts, and drawn faces.
It was made by `python3 -m common.sample_data` and shows that the scripts work from end to end.
Results on it must not be compared with the report's numbers.
"""

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif",
         "DejaVuSerif-Bold", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmb10", "cmr10", "cmss10", "cmtt10")


def make_sample_data(root):
    """Write the sample data to the folder `root`, which appears whole or not at all.

    Does nothing but say so where `root` already holds sample data. Returns whether it wrote any. Raises UserError, with
    nothing touched, where `root` is a file or a folder with something else in it, or where its parent is missing or not
    writable.
    """
    root = Path(root).resolve()
    if is_sample_data(root):
        say(f"{root} already holds the sample data")
        return False
    try:
        with folder_written_whole(root) as folder:
            for domain, images in (("usps", usps_images), ("mnistm", mnistm_images), ("svhn", svhn_images)):
                for split in SPLITS:
                    _write_split(folder / "digits" / domain, split, ("label",), images(split), SIZES[domain])
            for split in SPLITS:
                _write_split(folder / "face", split, ATTRIBUTES, face_images(split), SIZES["face"])
            (folder / SAMPLE_MARK).write_text(MARK_TEXT, encoding="utf-8", newline="\n")
    except UserError:
        if not is_sample_data(root):        # otherwise another process was faster: the data is there
            raise
    return True


def _write_split(folder, split, columns, images, sizes):
    """Write one split of one domain as PNG files and their csv; `images` yields (pixels, values of the columns)."""
    # the course numbers the test faces on from the last training face, but each split of the digits from 0
    first = sizes[0] if folder.name == "face" and split == "test" else 0
    numbers = range(first, first + sizes[SPLITS.index(split)])
    (folder / split).mkdir(parents=True)
    with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image_name", *columns))
        for number in progress(numbers, f"{folder.name} {split}", unit="image"):
            pixels, values = next(images)
            name = f"{number:05d}.png"
            Image.fromarray(pixels).save(folder / split / name)
            writer.writerow((name, *values))


def _generator(domain, split):
    """A random generator for each split, so that a change to one leaves the others as they are."""
    return np.random.default_rng((SEED, list(SIZES).index(domain), SPLITS.index(split)))


# --- digits ---

def usps_images(split):
    """Yield the usps stand-in of a split as (uint8 [28, 28], (label,)) pairs; gray, the digit light on black."""
    for digit, label in _handwritten("usps", split):
        # the outer columns are nearly always empty, and real USPS digits touch the frame
        digit = _resize(np.pad(digit, ((1, 1), (0, 0))), DIGIT_SIZE, DIGIT_SIZE, box=(0.5, 0.6, 7.5, 9.4))
        soft = Image.fromarray(_to_bytes(digit)).filter(ImageFilter.GaussianBlur(1.1))
        yield _to_bytes(np.asarray(soft) / 255 * 1.5 - 0.15), (label,)


def mnistm_images(split):
    """Yield the mnistm stand-in of a split as (uint8 [28, 28, 3], (label,)) pairs; a digit is about 20 pixels high."""
    rng = _generator("mnistm", split)
    photographs = sklearn.datasets.load_sample_images().images
    for digit, label in _handwritten("mnistm", split):
        height, width = rng.integers(18, 23), rng.integers(17, 22)
        top, left = (DIGIT_SIZE - np.array((height, width))) // 2 + rng.integers(-2, 3, 2)
        large = np.zeros((DIGIT_SIZE, DIGIT_SIZE))
        # enlarged from 8x8, a stroke is blurred: what is dark gray is no stroke
        large[top:top + height, left:left + width] = (_resize(digit, height, width) - 0.4).clip(0, 1)
        yield put_on_photograph(large, _patch(rng, photographs)), (label,)


def svhn_images(split):
    """Yield the svhn stand-in of a split as (uint8 [28, 28, 3], (label,)) pairs; the label is the middle digit's."""
    rng = _generator("svhn", split)
    labels = rng.permutation(np.arange(SIZES["svhn"][SPLITS.index(split)]) % 10)
    for label in labels:
        mask = _house_number(rng, int(label))
        mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
        paper, ink = _two_colours(rng)
        opacity = np.asarray(mask)[..., None] / 255
        pixels = paper * (1 - opacity) + ink * opacity
        # light falls on the wall from one side
        y, x = np.mgrid[-1:1:DIGIT_SIZE * 1j, -1:1:DIGIT_SIZE * 1j]
        light = rng.uniform(-0.12, 0.12, 2)
        pixels = pixels * (1 + light[0] * y + light[1] * x)[..., None]
        pixels = pixels + rng.normal(0, rng.uniform(0.005, 0.04), pixels.shape)
        yield _to_bytes(pixels), (int(label),)


def _handwritten(domain, split):
    """The digits of scikit-learn that are this split's alone: a list of (float64 [8, 8] in 0..1, label) pairs."""
    digits = sklearn.datasets.load_digits()
    rng = np.random.default_rng(SEED)
    # 0, 1, …, 9, 0, 1, … : any run of this order holds each class about equally often
    by_class = [rng.permutation(np.flatnonzero(digits.target == label)) for label in range(10)]
    order = [indices[turn] for turn in range(max(map(len, by_class))) for indices in by_class if turn < len(indices)]
    ends = np.cumsum(SIZES["usps"] + SIZES["mnistm"])
    block = 2 * ("usps", "mnistm").index(domain) + SPLITS.index(split)
    chosen = rng.permutation(order[ends[block] - SIZES[domain][SPLITS.index(split)]:ends[block]])
    return [(digits.images[index] / 16, int(digits.target[index])) for index in chosen]


def _patch(rng, photographs):
    """A random piece of a photograph that leaves a digit legible: uint8 [28, 28, 3]."""
    while True:
        photograph = photographs[rng.integers(len(photographs))]
        top, left = rng.integers(0, np.array(photograph.shape[:2]) - DIGIT_SIZE)
        patch = photograph[top:top + DIGIT_SIZE, left:left + DIGIT_SIZE]
        # a plain middle gray would be the same gray again where it is inverted
        if patch.std((0, 1)).max() < 38 and abs(patch.mean() - 127.5) > 38:
            return patch


def _resize(pixels, height, width, box=None):
    """Enlarge a float array [h, w], or the part in `box` (left, top, right, bottom), smoothly to [height, width]."""
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize((int(width), int(height)), Image.Resampling.BICUBIC, box=box))


def _to_bytes(pixels):
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)


@functools.cache
def _glyph(font, digit):
    """A digit in one of matplotlib's fonts, cut to its box: an 8-bit gray image, white on black."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    drawn = ImageFont.truetype(str(path), 120, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = drawn.getbbox(str(digit))
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), str(digit), fill=255, font=drawn)
    return image


def _house_number(rng, digit):
    """`digit` between neighbours that the frame cuts off: an 8-bit gray mask of 28x28."""
    fine = 4        # drawn four times as large, for smooth edges
    side = fine * DIGIT_SIZE
    canvas = Image.new("L", (side, side))
    font = FONTS[rng.integers(len(FONTS))]
    height = rng.uniform(0.7, 0.88) * side
    narrow = rng.uniform(0.85, 1.1)

    def scaled(value):
        glyph = _glyph(font, value)
        width = min(glyph.width / glyph.height * narrow, 0.75) * height
        return glyph.resize((round(width), round(height)), Image.Resampling.BILINEAR)

    middle = scaled(digit)
    left = round((side - middle.width) / 2 + rng.uniform(-6, 6))
    top = round((side - height) / 2 + rng.uniform(-6, 6))
    canvas.paste(middle, (left, top))
    gap = round(rng.uniform(5, 16))
    before, after = rng.random(2) < 0.6
    if before:
        neighbour = scaled(rng.integers(10))
        canvas.paste(neighbour, (left - gap - neighbour.width, top))
    if after:
        canvas.paste(scaled(rng.integers(10)), (left + middle.width + gap, top))
    canvas = canvas.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR)
    return canvas.reduce(fine)


def _two_colours(rng):
    """A dark and a light colour, for wall and digit: float64 [3] each, in 0..1."""
    while True:
        # drawn towards gray, because few house numbers are as gaudy as independent channels would be
        colours = rng.uniform(0.05, 0.95, (2, 1)) + rng.uniform(-0.2, 0.2, (2, 3))
        colours = colours.clip(0, 1)
        paper, ink = colours @ (0.299, 0.587, 0.114)
        if ink - paper > 0.35:
            return colours


# --- faces ---

def face_images(split):
    """Yield the drawn faces of a split as (uint8 [64, 64, 3], 13 values 0.0 or 1.0 as in ATTRIBUTES) pairs."""
    rng = _generator("face", split)
    for _ in range(SIZES["face"][SPLITS.index(split)]):
        traits = draw_attributes(rng)
        yield portrait(rng, traits), tuple(float(traits[attribute]) for attribute in ATTRIBUTES)


def main():
    parser = CommandParser(description="Write the built-in sample data: a small dataset in the course layout.")
    parser.add_argument("root", nargs="?", default="sample_data", help="the folder to make (default: %(default)s)")
    root = parser.parse_args().root
    if make_sample_data(root):
        say(f"wrote the sample data to {root}")


if __name__ == "__main__":
    run_command(main)
