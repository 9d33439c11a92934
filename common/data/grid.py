"""Many images in one picture; not in common/report/plots.py, because graders need no matplotlib for it."""
import itertools
import math

import torch
from PIL import Image

from common.cli import UserError
from common.data.images import IMAGE_SUFFIXES, read_image
from common.files import written_whole

MOST_GAP = 16       # pixels between two images of a grid that is read
ONE_COLOUR = 2      # standard deviation in gray levels, up to which a cell is empty: in a jpg it is not quite 0


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


def read_grid(path, count, size):
    """The images, uint8 [N, 3, size, size], row by row, in a picture that shows `count` of them side by side.

    The grid has any number of columns, and as many rows as it needs; between its cells are gaps of up to 16 pixels, all alike,
    and around it is as much or nothing, as make_grid of torchvision draws it. So the picture's size tells the grid. Cells of
    one colour are empty and left out. Raises UserError if the picture cannot be read, or no such grid has its size.
    """
    picture = torch.from_numpy(read_image(path, None).copy()).permute(2, 0, 1)
    for columns, gap, framed in itertools.product(range(1, count + 1), range(MOST_GAP + 1), (False, True)):
        step, frame, shape = size + gap, gap * framed, (-(-count // columns), columns)
        if picture.shape[1:] == tuple(cells * step - gap + 2 * frame for cells in shape):
            cells = picture[:, frame:, frame:].unfold(1, size, step).unfold(2, size, step)
            cells = cells.permute(1, 2, 0, 3, 4).flatten(0, 1)
            inside = cells[:, :, size // 4:-size // 4, size // 4:-size // 4]        # a jpg's neighbours show at the edges
            return cells[inside.float().std(dim=(2, 3)).amax(dim=1) > ONE_COLOUR]
    raise UserError(f"{path} has {picture.shape[2]}x{picture.shape[1]} pixels, as no grid of {count} images of {size}x{size} "
                    f"with gaps of up to {MOST_GAP} pixels has, whatever its columns")
