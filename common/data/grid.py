"""Many images in one picture; not in common/report/plots.py, because graders need no matplotlib for it."""
import math

import torch
from PIL import Image

from common.cli import UserError
from common.data.images import IMAGE_SUFFIXES
from common.files import written_whole


def make_grid(images, columns, padding=2, background=0):
    """Images [N, C, H, W] of any dtype, row by row in one picture [C, ·, ·], `padding` pixels of `background` around each.

    As torchvision.utils.make_grid does, whose import alone takes longer than that of torch.
    """
    count, channels, height, width = images.shape
    columns = min(columns, count)
    down, across = height + padding, width + padding
    grid = images.new_full((channels, math.ceil(count / columns) * down + padding, columns * across + padding), background)
    for i, image in enumerate(images):
        top, left = padding + i // columns * down, padding + i % columns * across
        grid[:, top:top + height, left:left + width] = image
    return grid


def save_grid(path, images, columns=8):
    """Write images float [N, 3, H, W] in [0, 1] side by side, `columns` a row. Raises UserError if it cannot."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"{path} is not the name of an image; it must end in {', '.join(IMAGE_SUFFIXES)}")
    pixels = (make_grid(images.detach(), columns).cpu() * 255 + 0.5).clamp(0, 255).to(torch.uint8)
    with written_whole(path) as part:
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(part)
