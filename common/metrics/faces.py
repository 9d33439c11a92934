"""Numbers for sets of faces: how sharp each is, how much they differ among themselves, how far they are from real ones.

METRICS, at the end, is the table of them: hw_faces.py, problem 1 and problem 2 measure and show what is in it.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from common.cli import progress
from common.metrics.fid import find_inception, frechet_inception_distance
from common.training.augment import to_float

LEVELS = (64, 32, 16)       # pixels a side, of the Laplacian pyramid
SWD_PARTS = (*map(str, LEVELS), "mean")
PATCHES, PATCH_SIZE = 128, 7        # patches of each image on each level, pixels a side
DIRECTIONS = 128        # onto which they are projected
REPEATS = 10        # of it all, with other halves of the images, patches and directions
MOST_IMAGES = 1000      # of a set that is measured


def spread(items):
    """At most MOST_IMAGES of the items, a list or a tensor, spread evenly over them."""
    chosen = torch.linspace(0, len(items) - 1, min(MOST_IMAGES, len(items))).long()
    return items[chosen] if isinstance(items, torch.Tensor) else [items[i] for i in chosen.tolist()]


def show_interval(interval):
    """A (mean, half the width) of `sliced_wasserstein` as a text, a dash for None."""
    return "–" if interval is None else "{:.1f} ± {:.1f}".format(*interval)


def sharpness(images):
    """Mean over images of the variance of the gray image's Laplacian: blurred images have little (Pertuz et al. 2013).

    `images` float [N, 3, H, W] in [0, 1]. Returns a float, in squared gray levels of [0, 1].
    """
    gray = images.mean(dim=1, keepdim=True)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return F.conv2d(gray, kernel).var(dim=(1, 2, 3)).mean().item()


def pairwise_diversity(images):
    """Mean over all pairs of different images of their root mean squared pixel difference; 0 if all are alike.

    `images` float [N, 3, H, W] in [0, 1]. Returns a float, in gray levels of [0, 1]; None for fewer than 2 images.
    """
    if len(images) < 2:
        return None
    return (torch.pdist(images.flatten(start_dim=1)) / images[0].numel() ** 0.5).mean().item()


def nearest(images, reference):
    """The reference image that is nearest to each, mirrored or not; it tells copies. Both sets are uint8 [N, 3, H, W].

    Returns (float [N], the root mean squared pixel differences, in gray levels of [0, 1]; int64 [N], which images they are).
    """
    both = torch.cat([images, images.flip(-1)]).flatten(start_dim=1) / 255
    distances = torch.cat([torch.cdist(both, block.flatten(start_dim=1) / 255) for block in reference.split(1000)], dim=1)
    return tuple((distances / both.shape[1] ** 0.5).view(2, len(images), -1).amin(dim=0).min(dim=1))


def sliced_wasserstein(images, reference, seed=0):
    """Multi-scale sliced Wasserstein distance (Karras et al. 2018, "Progressive Growing of GANs", section 5), times 1000.

    How differently two sets' 7x7 patches are distributed, on each level of a Laplacian pyramid: the finest holds texture and
    sharpness, the coarsest, which is the small image itself, shapes and colours. Fewer images give larger distances, so
    compare sets of the same number, and with the floor that two sets of real images have.

    It is computed ten times, each time from a random half of the images (and as many of the reference), other patches and
    other directions. The spread over random halves is that of the whole set's own estimate (Shao & Wu 1989, the jackknife
    that deletes half), whence the intervals. Args: `images` and `reference` uint8 [N, 3, 64, 64], N may differ.
    Returns {"64": (mean, half the width of the 95 % interval), "32": …, "16": …, "mean": … of the three levels}; None if
    either set has fewer than 2 images.
    """
    from scipy.special import stdtrit  # slow, and the DCGAN's training needs none of it

    random = torch.Generator().manual_seed(seed)
    count = min(len(images), len(reference)) // 2
    if not count:
        return None
    estimates = []
    for _ in progress(range(REPEATS), "sliced Wasserstein", "repeat"):
        pyramids = [laplacian_pyramid(to_float(whole[torch.randperm(len(whole), generator=random)[:count]]))
                    for whole in (images, reference)]
        estimates.append([1000 * _sliced_distance(_patches(ours, random), _patches(theirs, random), random)
                          for ours, theirs in zip(*pyramids)])
    estimates = torch.tensor(estimates)
    columns = torch.cat([estimates, estimates.mean(dim=1, keepdim=True)], dim=1)
    student = float(stdtrit(REPEATS - 1, 0.975))        # the 97.5th percentile of Student's t
    return dict(zip(SWD_PARTS, zip(columns.mean(dim=0).tolist(), (student * columns.std(dim=0)).tolist())))


def laplacian_pyramid(images):
    """float [N, 3, 64, 64] -> a list of float [N, 3, H, H], H as in LEVELS: what each halving of the size loses, and the rest
    (Burt & Adelson 1983)."""
    pyramid = []
    for _ in LEVELS[1:]:
        smaller = _blur(images)[:, :, ::2, ::2]
        sparse = torch.zeros_like(images)
        sparse[:, :, ::2, ::2] = smaller
        pyramid.append(images - 4 * _blur(sparse))      # 4: three of four pixels were zero
        images = smaller
    return [*pyramid, images]


def _blur(images):
    """Binomial filter of 5x5 pixels, which repeats the images mirrored beyond their borders."""
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = torch.outer(line, line).expand(3, 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)


def _patches(images, random):
    """Random patches of each image, float32 [N * PATCHES, 147], of mean 0 and deviation 1 in each channel over all of them."""
    windows = images.unfold(2, PATCH_SIZE, 1).unfold(3, PATCH_SIZE, 1)      # a view: [N, 3, H - 6, H - 6, 7, 7]
    row, column = torch.randint(windows.shape[2], (2, len(images), PATCHES), generator=random)
    patches = windows[torch.arange(len(images))[:, None], :, row, column].flatten(0, 1)
    deviation, mean = torch.std_mean(patches, dim=(0, 2, 3), keepdim=True)
    return ((patches - mean) / deviation.clamp_min(1e-8)).flatten(start_dim=1)


def _sliced_distance(ours, theirs, random):
    """Mean Wasserstein distance of two sets of points, float [P, D], over random projections onto a line."""
    directions = F.normalize(torch.randn(DIRECTIONS, ours.shape[1], generator=random), dim=1)
    # NumPy, which sorts float32 ten times as fast as torch
    ours, theirs = (np.sort((directions @ points.T).numpy(), axis=1) for points in (ours, theirs))
    return np.abs(ours - theirs).mean().item()


def fid_of(images, reference):
    """frechet_inception_distance, or None where a set has fewer than 2 images or the package or its weights are not there."""
    weights = find_inception() if min(len(images), len(reference)) > 1 else None
    return weights and frechet_inception_distance(images, reference, weights)


class Metric(NamedTuple):
    """A metric of a set of faces.

    `measure` takes the images and the reference, real faces, both uint8 [N, 3, 64, 64], and returns a plain value for json,
    None where it cannot be measured. `columns`: {title of a column: what makes its text of that value}. `meaning`: a sentence
    for the caption of a table.
    """
    measure: Callable
    columns: dict
    meaning: str


# a metric that is added here is measured for both problems and for hw_faces.py, and stands in all their tables
METRICS = {
    "images": Metric(lambda images, reference: len(images), {"images": str}, ""),
    "sharpness": Metric(lambda images, reference: sharpness(images / 255), {"sharpness": "{:.4f}".format},
                        "Sharpness: variance of the Laplacian."),
    "diversity": Metric(lambda images, reference: pairwise_diversity(images / 255), {"diversity": "{:.4f}".format},
                        "Diversity: mean distance of two images (root mean square)."),
    "swd": Metric(sliced_wasserstein,
                  {f"SWD {part}": lambda swd, part=part: show_interval(swd.get(part)) for part in SWD_PARTS},
                  "SWD: sliced Wasserstein distance × 1000 of 7×7 patches to those of the training faces, at 64, 32 and 16 "
                  "pixels (from texture to shape) and the mean, with 95 % intervals."),
    "fid": Metric(fid_of, {"FID": "{:.1f}".format},
                  "FID: Fréchet Inception Distance to the training faces, a dash where torch-fidelity or its weights are "
                  "missing."),
}

def lacking():
    """Which of METRICS cannot be measured here for want of a package, or of what it fetches: a list of names."""
    return [] if find_inception() else ["fid"]


COLUMNS = tuple(title for metric in METRICS.values() for title in metric.columns)
MEANINGS = " ".join(metric.meaning for metric in METRICS.values() if metric.meaning)


def measure(images, reference):
    """All METRICS of a set of images, held against `reference`, real ones; both uint8 [N, 3, 64, 64].

    Returns {name: plain value}, from which `as_row` makes a row of a table; what cannot be measured, as distances of fewer
    than 2 images, is None.
    """
    return {name: metric.measure(images, reference) for name, metric in METRICS.items()}


def as_row(measured):
    """What `measure` returned as texts, one for each of COLUMNS: a dash for what it has not, as one of an older report."""
    return ["–" if measured.get(name) is None else show(measured[name])
            for name, metric in METRICS.items() for show in metric.columns.values()]
