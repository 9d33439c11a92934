"""Many images in one picture; apart from common/report/plots.py, because graders need no matplotlib for it."""
from common.cli import UserError
from common.data.images import IMAGE_SUFFIXES
from common.files import written_whole


def save_grid(path, images, columns=8):
    """Write images float [N, 3, H, W] in [0, 1] side by side, `columns` a row. Raises UserError if it cannot."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"{path} is not an image's name; let it end in {', '.join(IMAGE_SUFFIXES)}")
    from torchvision.utils import save_image  # brings in twice as much as torch, for a command that may save none

    with written_whole(path) as part:
        save_image(images, part, nrow=columns)
