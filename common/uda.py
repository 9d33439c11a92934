"""What DANN and ADDA share: the three pairs of digit domains, source augmentation, evaluation, the grader's csv."""
import argparse
import csv
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from common.augment import (
    blend_into_backgrounds,
    change_geometry,
    invert,
    normalise,
    to_float,
)
from common.cli import UserError, progress, written_whole
from common.data import DIGIT_SIZE, DOMAINS, list_images, read_images

PAIRS = (("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps"))      # (source, target), in the report's order
SOURCE_OF = {target: source for source, target in PAIRS}
NAMES = {"usps": "USPS", "mnistm": "MNIST-M", "svhn": "SVHN"}

# rows of a settings table, for both methods: (name, report, tuned, sample, help); the report only normalises
AUGMENTATION = (
    ("rotation",    0.0,  15.0,   0.0, "random rotation of training digits, up to ± degrees"),
    ("shrink",      0.0,   0.4,   0.2, "random shrinking of training digits in width and height, by up to this share"),
    ("enlarge",     0.0,   0.1,   0.2, "random enlarging of them, likewise"),
    ("shift",       0.0,   0.1,   0.0, "random shift of training digits, up to ± this share of the image"),
    ("inversion", False,  True, False, "make half of the training digits negatives"),
    ("blend",       0.0,   0.8,   0.5, "share of source digits that are blended, by absolute difference, into corners of "
                                       "unlabelled target images (adaptation only)"),
)


def augment(images, settings, backgrounds=None):
    """Digits float [N, 3, H, W] in [0, 1] -> the same, changed as the AUGMENTATION settings say.

    `backgrounds`, unlabelled target images of the same shape, are used for `blend`; without them nothing is blended.
    """
    if settings["rotation"] or settings["shrink"] or settings["enlarge"] or settings["shift"]:
        scales = (1 - settings["shrink"], 1 + settings["enlarge"])
        images = change_geometry(images, settings["rotation"], scales, settings["shift"])
    if settings["inversion"]:
        images = invert(images)
    if settings["blend"] and backgrounds is not None:
        chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < settings["blend"]
        images = torch.where(chosen, blend_into_backgrounds(images, backgrounds), images)
    return images


class PseudoLabels(nn.Module):
    """Labels that the networks under training give the unlabelled target images themselves.

    For each image a running mean of the probabilities that it was given in the epochs so far (temporal ensembling, Laine
    & Aila 2017, section 2.2); its largest is the label (Lee 2013). A module only so that a checkpoint keeps it.
    """

    MOMENTUM = 0.6      # as in Laine & Aila

    def __init__(self, count):
        super().__init__()
        self.register_buffer("probabilities", torch.zeros(count, 10))

    def loss(self, indices, logits):
        """Cross-entropy of `logits` [N, 10] of the target images `indices` [N] with their labels so far; then the logits
        enter the running means. Images that have no label yet count as loss 0. Returns a float32 scalar, the mean.
        """
        means = self.probabilities[indices]
        no_label = -100
        labels = torch.where(means.sum(dim=1) > 0, means.argmax(dim=1), no_label)
        self.probabilities[indices] = self.MOMENTUM * means + (1 - self.MOMENTUM) * logits.detach().softmax(dim=1)
        return F.cross_entropy(logits, labels, ignore_index=no_label, reduction="sum") / len(logits)


@torch.no_grad()
def predict(network, images, device, batch_size=256):
    """The most probable digit of each image: int64 [N] on the CPU.

    `images` uint8 [N, 3, 28, 28] on any device; `network` maps float [N, 3, 28, 28] in [-1, 1] to logits [N, 10] and is
    in eval mode.
    """
    return torch.cat([network(normalise(to_float(batch.to(device)))).argmax(dim=1).cpu()
                      for batch in progress(images.split(batch_size), "predicting")])


def accuracy(network, digits, device):
    """Share of the `digits` (common.data.Digits) that the network (see `predict`) labels rightly, 0 to 1."""
    return (predict(network, digits.images, device) == digits.labels).double().mean().item()


def absent_digits(labels):
    """Which of the ten digits none of the labels (int64 [N]) is: a list, empty for a complete split.

    A pair whose domains differ in this adapts worse, as features of all source digits are pulled towards fewer.
    """
    return sorted(set(range(10)) - set(labels.tolist()))


def read_grader_arguments(description):
    """The command line of hw_p3.sh and hw_p4.sh: `images` (Path), `target`, `output` (Path), `weights`, `device`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", type=Path, metavar="IMAGE_DIR", help="folder of png, jpg or bmp files")
    parser.add_argument("target", choices=DOMAINS, metavar="TARGET", help=f"the images' domain: {', '.join(DOMAINS)}")
    parser.add_argument("output", type=Path, metavar="PRED.csv", help="csv to write: image_name,label")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights.pt of a run (default: those shipped here)")
    parser.add_argument("--device", default="auto", help="cpu, cuda … (default: cuda where there is one)")
    return parser.parse_args()


def check_target(meta, target, path):
    """Raises UserError if the weights at `path`, whose meta this is, were not trained for that target."""
    if meta["target"] != target:
        raise UserError(f"{path} was trained for target {meta['target']}, not {target}; give other --weights")


def label_folder(network, folder, output, device):
    """The grader's job: label each image of `folder`, write `output`: header image_name,label, rows sorted by name.

    The csv appears whole or not at all. Raises UserError for an empty folder, an unreadable image, an unwritable output.
    """
    paths = list_images(folder)
    with written_whole(output) as part:       # first, so that a wrong path shows before the work
        labels = predict(network, read_images(paths, DIGIT_SIZE), device)
        with open(part, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image_name", "label"))
            writer.writerows(zip((path.name for path in paths), labels.tolist()))
    print(f"{output}: labels of {len(paths)} images")
