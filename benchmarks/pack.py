"""Packs the digits of a data folder into one small file, to be carried to a machine that has neither a network nor the data.

    python3 -m benchmarks.pack hw3_data digits.zip --limit 13000

benchmarks/on_gpu.sh takes digits.zip from the repository's folder. A split is one picture in it (WebP, without loss, half as
large as its png files), and a text with its labels.
"""
import io
import re
import shutil
import zipfile

import numpy as np
from PIL import Image

from common.cli import CommandParser, UsageError, UserError, any_path, in_threads, number, path_to_write, run_command, say
from common.data.csv_files import write_csv
from common.data.layout import DIGIT_SIZE, DOMAINS, SPLITS, load_digits
from common.files import folder_written_whole, written_whole

COLUMNS = 500       # digits side by side: a WebP picture has at most 16,383 pixels a side


def pack(root, path, limit=None):
    """Write the digits of the data folder `root`, the first `limit` of each split, to the file `path`, whole or not at all.

    The images' names are not kept. Raises UserError as `load_digits` does, or if the file cannot be written.
    """
    with written_whole(path) as part, zipfile.ZipFile(part, "w") as archive:
        for domain in DOMAINS:
            for split in SPLITS:
                images, labels, _ = load_digits(root, domain, split, limit)
                picture = io.BytesIO()
                Image.fromarray(_side_by_side(images.numpy())).save(picture, "WEBP", lossless=True, quality=50)
                archive.writestr(f"{domain}/{split}.webp", picture.getvalue())
                archive.writestr(f"{domain}/{split}.txt", "".join(map(str, labels.tolist())))


def _side_by_side(images):
    """uint8 [N, 3, 28, 28] -> one picture, uint8 [rows × 28, COLUMNS × 28, 3], black where the last row is not full."""
    rows = -(-len(images) // COLUMNS)
    padded = np.zeros((rows * COLUMNS, *images.shape[1:]), np.uint8)
    padded[:len(images)] = images
    grid = padded.reshape(rows, COLUMNS, 3, DIGIT_SIZE, DIGIT_SIZE).transpose(0, 3, 1, 4, 2)
    return grid.reshape(rows * DIGIT_SIZE, COLUMNS * DIGIT_SIZE, 3)


def unpack(path, root):
    """Write the digits of a file of `pack` to the folder `root` in the course layout; it appears whole or not at all.

    Raises UserError if the file is missing or damaged, or if `root` holds something.
    """
    try:
        with zipfile.ZipFile(path) as archive, folder_written_whole(root) as folder:
            for domain in DOMAINS:
                for split in SPLITS:
                    labels = archive.read(f"{domain}/{split}.txt").decode()
                    content = io.BytesIO(archive.read(f"{domain}/{split}.webp"))
                    try:
                        with Image.open(content, formats=["WEBP"]) as picture:
                            grid = np.asarray(picture.convert("RGB"))
                    except OSError:         # Pillow's own, not the disk's
                        raise ValueError(f"{domain}/{split}.webp is no picture") from None
                    rows = len(grid) // DIGIT_SIZE
                    if not re.fullmatch("[0-9]+", labels) or rows != -(-len(labels) // COLUMNS):
                        raise ValueError(f"{domain}/{split}.txt has no label for each digit")
                    images = grid.reshape(rows, DIGIT_SIZE, COLUMNS, DIGIT_SIZE, 3).transpose(0, 2, 1, 3, 4)
                    write_split(folder / "digits" / domain, split, ("label",), list(labels),
                                images.reshape(-1, DIGIT_SIZE, DIGIT_SIZE, 3))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; python3 -m benchmarks.pack makes it") from None
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged, or not of python3 -m benchmarks.pack ({error})") from None


def write_split(folder, split, columns, rows, images):
    """Write FOLDER/SPLIT.csv and FOLDER/SPLIT/00000.png …: for each of the `rows`, values of the `columns`, an image.

    `images` are uint8 [N, H, W] or [N, H, W, 3]. Where there are fewer than rows, they come again as further names (hard
    links) of the same files.
    """
    (folder / split).mkdir(parents=True)
    names = [f"{i:05d}.png" for i in range(len(rows))]
    paths = [folder / split / name for name in names]
    images = images[:len(rows)]
    in_threads(lambda i: Image.fromarray(images[i]).save(paths[i], compress_level=1), len(images), f"writing {folder.name}")
    for i in range(len(images), len(rows)):
        try:
            paths[i].hardlink_to(paths[i % len(images)])
        except OSError:     # a file system without links
            shutil.copyfile(paths[i % len(images)], paths[i])
    write_csv(folder / f"{split}.csv", ("image_name", *columns), ((name, *row) for name, row in zip(names, rows)))


def main():
    parser = CommandParser(description="Pack the digits of a data folder into one small file, for benchmarks/on_gpu.sh.")
    parser.add_argument("data", type=any_path, metavar="DATA", help="a folder in the course layout")
    parser.add_argument("file", type=path_to_write, metavar="FILE.zip", help="the file to write")
    parser.add_argument("--limit", type=number(int, 1), metavar="N", help="only the first N images of each split")
    args = parser.parse_args()
    if not args.data.is_dir():
        raise UsageError(f"{args.data} is not a folder; give one in the course layout")
    pack(args.data, args.file, args.limit)
    say(f"{args.file}: {args.file.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    run_command(main)
