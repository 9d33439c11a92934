"""Many images in one picture; apart from plots.py, because graders need no matplotlib for it."""
import torch

from common.cli import UserError, written_whole
from common.data import IMAGE_SUFFIXES, read_image

MOST_GAP = 16       # pixels between two images of a grid that is read
ONE_COLOUR = 2      # standard deviation in gray levels, up to which a cell is empty: in a jpg it is not quite 0


def save_grid(path, images, columns=8):
    """Write images float [N, 3, H, W] in [0, 1] side by side, `columns` a row. Raises UserError if it cannot."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"{path} is not an image's name; let it end in {', '.join(IMAGE_SUFFIXES)}")
    from torchvision.utils import save_image  # brings in twice as much as torch, for a command that may save none

    with written_whole(path) as part:
        save_image(images, part, nrow=columns)


def read_grid(path, count, size):
    """The images, uint8 [N, 3, size, size], row by row, in a picture that shows `count` of them side by side.

    The grid has any number of columns, and as many rows as it needs; between its cells are gaps of up to 16 pixels, all alike,
    and around it is as much or nothing, as make_grid of torchvision draws it. So the picture's size tells the grid. Cells of
    one colour are empty and left out. Raises UserError if the picture cannot be read, or no such grid has its size.
    """
    picture = torch.from_numpy(read_image(path, None).copy()).permute(2, 0, 1)
    for columns, gap in ((columns, gap) for columns in range(1, count + 1) for gap in range(MOST_GAP + 1)):
        step, shape = size + gap, (-(-count // columns), columns)
        for frame in (0, gap):
            if picture.shape[1:] == tuple(cells * step - gap + 2 * frame for cells in shape):
                cells = picture[:, frame:, frame:].unfold(1, size, step).unfold(2, size, step)
                cells = cells.permute(1, 2, 0, 3, 4).flatten(0, 1)
                inside = cells[:, :, size // 4:-size // 4, size // 4:-size // 4]        # a jpg's neighbours show at the edges
                return cells[inside.float().std(dim=(2, 3)).amax(dim=1) > ONE_COLOUR]
    raise UserError(f"{path} has {picture.shape[2]}x{picture.shape[1]} pixels, as no grid of {count} images of {size}x{size} "
                    f"with gaps of up to {MOST_GAP} pixels has, whatever its columns")
