"""Numbers for sets of images: how sharp each is, how much they differ among themselves."""
import torch
from torch.nn import functional as F


def sharpness(images):
    """Mean over images of the variance of the gray image's Laplacian: blurred images have little (Pertuz et al. 2013).

    `images` float [N, 3, H, W] in [0, 1]. Returns a float, in squared gray levels of [0, 1].
    """
    gray = images.mean(dim=1, keepdim=True)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return F.conv2d(gray, kernel).var(dim=(1, 2, 3)).mean().item()


def pairwise_diversity(images):
    """Mean over all pairs of different images of their root mean squared pixel difference; 0 if all are alike.

    `images` float [N, 3, H, W] in [0, 1], N at least 2. Returns a float, in gray levels of [0, 1].
    """
    return (torch.pdist(images.flatten(start_dim=1)) / images[0].numel() ** 0.5).mean().item()
