"""Fréchet Inception Distance (Heusel et al. 2017, "GANs trained by a two time-scale update rule"), by torch-fidelity.

That package is no requirement of ours: python3 -m pip install -r requirements-metrics.txt. The weights of its Inception
network come over the network once, and are then kept where torch.hub keeps such files.
"""
import functools
import hashlib
import http.client
import pickle
from pathlib import Path

import torch

from common.cli import UserError, progress, say
from common.data.fetch import partial, receive
from common.requirements import REPOSITORY, install


@functools.cache        # one try a process
def find_inception():
    """The path of the Inception network's weights, fetched if they are not there yet. None, after a line that says why, where
    the package is not installed or they cannot be fetched."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3 as address
    except ImportError:
        say("No FID: the package torch-fidelity is not installed; "
            + install("-r", f"{REPOSITORY}/requirements-metrics.txt"))
        return None
    path = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            receive(address, partial(path), path.name)
            partial(path).rename(path)
        except (OSError, http.client.HTTPException) as error:
            say(f"No FID: {address} cannot be fetched ({error}); try again later, or put that file by hand at {path}")
            return None
    return path


class _Images(torch.utils.data.Dataset):
    """What torch-fidelity takes a set of images as, behind a progress bar."""

    def __init__(self, images, description):
        self.images, self.bar = images, progress(None, description, "image", len(images))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        self.bar.update()
        return self.images[i]


def frechet_inception_distance(images, reference, weights):
    """FID of two sets, uint8 [N, 3, H, W], N at least 2 and better thousands; `weights` is the path of find_inception.

    The statistics of the reference are cached beside the weights. Raises UserError if the weights are damaged.
    """
    from torch_fidelity import calculate_metrics
    name = hashlib.sha256(reference.numpy()).hexdigest()[:16]
    try:
        return calculate_metrics(
            input1=_Images(images, "FID"), input2=_Images(reference, "FID, reference"), input2_cache_name=name, fid=True,
            feature_extractor_weights_path=str(weights), cuda=torch.cuda.is_available(), save_cpu_ram=True,
            verbose=False)["frechet_inception_distance"]
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"FID failed with the weights {weights} ({str(error).splitlines()[0]}); remove that file to have it "
                        "downloaded again") from None
