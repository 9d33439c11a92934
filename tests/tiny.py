"""A few images a split in the course layout, each of them unlike all others, so that a test knows an image when it sees it.

They are read here by Pillow and csv alone: what a test expects owes nothing to the code that it tests.
"""
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from common.data.layout import ATTRIBUTES

DOMAINS = ("usps", "mnistm", "svhn")
# images in train and test; the rows of each csv are in another order than its names, the attributes than those of the course
SIZES = {"usps": (12, 9), "mnistm": (8, 11), "svhn": (10, 7), "face": (8, 6)}


def place(root, dataset, split):
    return Path(root) / ("face" if dataset == "face" else f"digits/{dataset}") / split


def make(root):
    """Write all datasets below the folder `root`: patches and noise, gray in USPS, with labels and attributes at random."""
    random = np.random.default_rng(0)
    for dataset, counts in SIZES.items():
        size, header = (64, ATTRIBUTES[::-1]) if dataset == "face" else (28, ("label",))
        for split, count in zip(("train", "test"), counts):
            folder = place(root, dataset, split)
            folder.mkdir(parents=True)
            rows = []
            for name in random.permutation(count):
                patches = random.integers(0, 201, (4, 4) if dataset == "usps" else (4, 4, 3))
                pixels = patches.repeat(size // 4, 0).repeat(size // 4, 1)
                pixels += random.integers(0, 56, pixels.shape)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name:05d}.png")
                values = [f"{value:.1f}" for value in random.integers(0, 2, len(ATTRIBUTES))]
                rows.append([f"{name:05d}.png", *(values if dataset == "face" else [random.integers(0, 10)])])
            write_rows(folder.with_suffix(".csv"), [["image_name", *header], *rows])


def write_rows(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def read(root, dataset, split):
    """Images float [N, 3, H, W] in [0, 1], their second column (a digit's label) int64 [N], and their names."""
    folder = place(root, dataset, split)
    _, *rows = read_rows(folder.with_suffix(".csv"))
    images = [np.asarray(Image.open(folder / name).convert("RGB")).transpose(2, 0, 1) for name, *_ in rows]
    return torch.from_numpy(np.stack(images)).float() / 255, torch.tensor([int(float(row[1])) for row in rows]), [
        row[0] for row in rows]


def as_seen(images, size=28, standardised=False):
    """Digits float [N, 3, 28, 28] in [0, 1] as a network is to receive them: [N, 3, size, size]."""
    images = 2 * images - 1
    if size != images.shape[-1]:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    if standardised:
        mean, deviation = (f(images.flatten(1), dim=1).view(-1, 1, 1, 1) for f in (torch.mean, torch.std))
        images = (images - mean) / deviation
    return images


def which(seen, images):
    """For each of the images `seen` [N, …], which of `images` [M, …] it is: a list, None for one that is none of them."""
    same = ((seen[:, None] - images[None]).flatten(2).abs().amax(dim=2) < 1e-3)
    return [row.nonzero().item() if row.any() else None for row in same]
