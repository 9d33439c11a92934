"""Augmentations of whole batches on the device. Images are float [N, 3, H, W] in [0, 1], and stay in that range.

Each image of a batch gets random numbers of its own, from torch's global generator of that device.
"""
import math

import torch
from torch.nn import functional as F

from common.training.distributed import share, whole


def to_float(images):
    """uint8 [N, 3, H, W] -> float32 in [0, 1], channels last (the layout in which convolutions are fastest)."""
    return images.to(torch.float32, memory_format=torch.channels_last) / 255


def to_bytes(images):
    """[0, 1] -> uint8 [N, 3, H, W], as in a picture file."""
    return (images * 255).round().to(torch.uint8)


def normalise(images):
    """[0, 1] -> [-1, 1]: transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)) of the report."""
    return images * 2 - 1


def standardise(images):
    """Float [N, C, H, W] of any range -> each image with mean 0 and standard deviation 1; one that is all even becomes 0."""
    variance, mean = torch.var_mean(images, dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (variance + 1e-5).rsqrt()


def _uniform(images, low, high, shape=(1, 1, 1)):
    """Numbers for each image, one in a shape that broadcasts over it unless `shape` says otherwise: [N, *shape]."""
    return share(torch.empty(whole(len(images)), *shape, device=images.device).uniform_(low, high))


def chance(images, probability):
    """One decision an image: bool [N, 1, 1, 1]."""
    return _uniform(images, 0, 1) < probability


def flip_horizontally(images):
    """Mirror half of the images left to right."""
    return torch.where(chance(images, 0.5), images.flip(3), images)


def flip_vertically(images):
    """Turn half of the images upside down."""
    return torch.where(chance(images, 0.5), images.flip(2), images)


def change_brightness_and_contrast(images, strength):
    """Scale the brightness, then the contrast about the mean gray, each by a factor in [1 - strength, 1 + strength].

    As torchvision's ColorJitter(brightness=strength, contrast=strength) with a fixed order.
    """
    images = (images * _uniform(images, 1 - strength, 1 + strength)).clamp(0, 1)
    # no tensor of these weights: bringing one to a GPU in each step would make the host wait for it
    red, green, blue = images.split(1, dim=1)
    mean = (0.299 * red + 0.587 * green + 0.114 * blue).mean((2, 3), keepdim=True)
    return (mean + (images - mean) * _uniform(images, 1 - strength, 1 + strength)).clamp(0, 1)


def translate(images):
    """Shift by up to ±1/8 of the size, in whole pixels; zeros come in. Images in any range; gradients flow back to them.

    DiffAugment's translation (Zhao et al. 2020, section 3.3; https://arxiv.org/abs/2006.10738).
    """
    count, size, device = len(images), images.shape[-1], images.device
    moves = share(torch.randint(-(size // 8), size // 8 + 1, (2, whole(count), 1), device=device), dim=1) * (2 / size)
    across, down = torch.arange(1, 2 * size, 2, device=device) / size - 1 + moves
    grid = torch.stack([across[:, None, :].expand(-1, size, -1), down[:, :, None].expand(-1, -1, size)], dim=3)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def recolour(images):
    """Move the brightness by up to ±0.5, multiply the saturation by 0 to 2 and the contrast by 0.5 to 1.5.

    DiffAugment's colour (see `translate`), here for images in [-1, 1], which may leave that range; gradients flow back.
    """
    images = images + _uniform(images, -0.5, 0.5)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * _uniform(images, 0, 2)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * _uniform(images, 0.5, 1.5)


def change_geometry(images, degrees, scales, shift):
    """Rotate by up to ±degrees, scale width and height each by a factor in `scales`, shift by up to ±shift of the size.

    `scales` are the smallest and the largest factor, numbers or float [N, 1]. What comes in from outside repeats the border.
    """
    smallest, largest = scales
    angle = _uniform(images, -degrees, degrees, shape=()) * (math.pi / 180)
    # the grid maps output to input positions, so a factor of 0.7 reads from a 1 / 0.7 larger window
    scale = 1 / (smallest + (largest - smallest) * _uniform(images, 0, 1, shape=(2,)))
    move = _uniform(images, -2 * shift, 2 * shift, shape=(2,))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack([scale[:, 0] * cos, -scale[:, 0] * sin, move[:, 0],
                        scale[:, 1] * sin, scale[:, 1] * cos, move[:, 1]], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)


def put_on_backgrounds(images, backgrounds):
    """Gray digits on backgrounds as MNIST-M's are: the background is inverted where the digit is, with hard edges.

    `backgrounds` are other images (unlabelled, of any content) of the same size. A corner of each, where digits rarely
    are, is brought to the full size so that their own digit does not show: half of them stretched, which gives a smooth
    background, half as a mosaic of its mirror images, which keeps its texture. Where a stroke ends is drawn for each image.
    """
    size = images.shape[-1]
    corner = math.ceil(size / 4)
    turned = torch.where(chance(images, 0.5), backgrounds.flip(3), backgrounds)
    turned = torch.where(chance(images, 0.5), turned.flip(2), turned)
    patches = turned[:, :, :corner, :corner]
    stretched = F.interpolate(patches, size=(size, size), mode="bilinear", align_corners=False)
    strip = torch.cat([patches, patches.flip(3)], dim=3)
    mosaic = torch.cat([strip, strip.flip(2)], dim=2).repeat(1, 1, 2, 2)[:, :, :size, :size]
    background = torch.where(chance(images, 0.5), stretched, mosaic)
    return torch.where(images[:, :1] > _uniform(images, 0.05, 0.6), 1 - background, background)


def permute_colours(images):
    """Red, green and blue in another order, drawn for each image."""
    order = _uniform(images, 0, 1, shape=(3,)).argsort(dim=1)
    return images.gather(1, order.view(-1, 3, 1, 1).expand_as(images))


def resize(images, size):
    """Bilinear, with antialiasing, to [N, 3, size, size]; images that have that size come back as they are."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
