"""What DANN and ADDA share: the three pairs of digit domains, source augmentation, evaluation, the grader's csv."""
from pathlib import Path

import torch
from torch import nn

from common.augment import (
    blend_into_backgrounds,
    chance,
    change_geometry,
    invert,
    normalise,
    to_float,
)
from common.cli import CommandParser, UsageError, UserError, progress, say, written_whole
from common.data import DIGIT_SIZE, DOMAINS, list_images, stream_images, write_csv
from common.distributed import gather

# (source, target), in the report's order
PAIRS = (("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps"))
SOURCE_OF = {target: source for source, target in reversed(PAIRS)}     # of the first pair with that target
NAMES = {"usps": "USPS", "mnistm": "MNIST-M", "svhn": "SVHN"}
# the report's accuracies on the target's test images: trained on the source, DANN, ADDA, trained on the target
REPORT = {("usps", "mnistm"): {"source": 0.1367, "dann": 0.2873, "adda": 0.1007, "target": 0.9128},
          ("mnistm", "svhn"): {"source": 0.1999, "dann": 0.4820, "adda": 0.15938, "target": 0.9149},
          ("svhn", "usps"): {"source": 0.4051, "dann": 0.5167, "adda": 0.13154, "target": 0.9691}}

# rows of a settings table, for both methods: (name, report, tuned, sample, help); the report only normalises
AUGMENTATION = (
    ("rotation",    0.0,  15.0,   0.0, "random rotation of digits, up to ± degrees"),
    ("shrink",      0.0,   0.4,   0.2, "random shrinking of source digits; of width and height, by up to this share",
                                       (0, 0.9)),
    ("enlarge",     0.0,   0.1,   0.2, "random enlarging of them"),
    ("shift",       0.0,   0.1,   0.0, "random shift of digits, up to ± this share"),
    ("inversion", False,  True, False, "make half of the labelled digits negatives"),
    ("blend",       0.0,   0.8,   0.5, "share of gray source digits blended into target images; into corners of them, by "
                                       "absolute difference, in adaptation only"),
    ("standardise", False, True,  True, "give each image mean 0 and standard deviation 1"),
)


def reported(pair, mode):
    """The report's accuracy of a pair, 0 to 1, for a mode as in REPORT; None where it has none."""
    return REPORT.get(pair, {}).get(mode)


def augment(images, settings, backgrounds=None):
    """Digits float [N, 3, H, W] in [0, 1] -> the same, changed as the AUGMENTATION settings say.

    `backgrounds`, unlabelled target images of the same shape, are used for `blend`; without them nothing is blended.
    """
    changed = images
    if settings["rotation"] or settings["shrink"] or settings["enlarge"] or settings["shift"]:
        scales = (1 - settings["shrink"], 1 + settings["enlarge"])
        changed = change_geometry(changed, settings["rotation"], scales, settings["shift"])
    if settings["inversion"]:
        changed = invert(changed)
    if settings["blend"] and backgrounds is not None:
        # a coloured digit lies on a background already, and on two it is lost
        gray = (images == images[:, :1]).flatten(1).all(dim=1).view(-1, 1, 1, 1)
        chosen = gray & chance(changed, settings["blend"])
        changed = torch.where(chosen, blend_into_backgrounds(changed, backgrounds), changed)
    return changed


NO_LABEL = -100     # which F.cross_entropy leaves out


def augment_target(images, settings):
    """Digits of the target float [N, 3, H, W] in [0, 1] -> the same, rotated and shifted as the settings say.

    Their own sizes and colours are left as they are: those are what the networks are to adapt to.
    """
    if settings["rotation"] or settings["shift"]:
        images = change_geometry(images, settings["rotation"], (1, 1), settings["shift"])
    return images


class PseudoLabels(nn.Module):
    """Labels that the network under training itself gives the unlabelled target images.

    For each image a running mean of the probabilities that it was given in the epochs so far (temporal ensembling, Laine
    & Aila 2017, section 2.2), whose largest is the label (Lee 2013) if it reaches `confidence`, 0 to 1. A module only so
    that a checkpoint keeps the means.
    """

    MOMENTUM = 0.6      # as in Laine & Aila

    def __init__(self, count, confidence):
        super().__init__()
        self.confidence = confidence
        self.register_buffer("means", torch.zeros(count, 10))

    def look_up(self, indices):
        """The labels of the target images `indices` int64 [N]: int64 [N], NO_LABEL where there is none yet."""
        means = self.means[indices]
        # they start from zero, so their sum is the weight of what they have seen; 0 / 0 is NaN, which is no confidence
        confidence, labels = (means / means.sum(dim=1, keepdim=True)).max(dim=1)
        return torch.where(confidence >= self.confidence, labels, NO_LABEL)

    def update(self, indices, logits):
        """Let the `logits` [N, 10] that were just given to the images `indices` int64 [N] enter their means."""
        indices, now = gather(indices), gather(logits.detach().softmax(dim=1))
        self.means[indices] = self.MOMENTUM * self.means[indices] + (1 - self.MOMENTUM) * now


@torch.no_grad()
def probabilities(network, batches, device):
    """The probability of each digit for each image: float32 [N, 10] on the CPU.

    `batches` yields the images, uint8 [B, 3, 28, 28] on any device; `network` maps float [B, 3, 28, 28] in [-1, 1] to
    logits [B, 10] and is in eval mode.
    """
    return torch.cat([network(normalise(to_float(batch.to(device)))).softmax(dim=1).cpu() for batch in batches])


def predict(network, images, device, batch_size=256):
    """The most probable digit of each of the images uint8 [N, 3, 28, 28], as `probabilities`: int64 [N] on the CPU."""
    return probabilities(network, progress(images.split(batch_size), "predicting"), device).argmax(dim=1)


def accuracy(network, digits, device):
    """Share of the `digits` (common.data.Digits) that the network (see `predict`) labels rightly, 0 to 1."""
    return (predict(network, digits.images, device) == digits.labels).double().mean().item()


def label_target_train(network, target, device, folder):
    """Label the target's training `target` images (Digits), looking at none of their labels; write target_train.csv.

    Two runs can be compared by that file (python3 hw_eval.py ONE OTHER): where networks from different seeds disagree, at
    least one is wrong, so their agreement helps to choose settings without target labels (Jiang et al. 2022, "Assessing
    generalization of SGD via disagreement"). Returns the mean entropy of the predictions in nats, 0 to 2.30.
    """
    shares = probabilities(network, progress(target.images.split(256), "predicting"), device)
    with written_whole(folder / "target_train.csv") as part:
        write_labels(part, target.names, shares.argmax(dim=1))
    return torch.distributions.Categorical(shares).entropy().mean().item()


def absent_digits(labels):
    """Which of the ten digits none of the labels (int64 [N]) is: a list, empty for a complete split.

    A pair whose domains differ in this adapts worse, as features of all source digits are pulled towards fewer.
    """
    return sorted(set(range(10)) - set(labels.tolist()))


def write_labels(path, names, labels):
    """Write the grader's csv: header image_name,label, then one row for each of the names (texts) and labels int64 [N]."""
    write_csv(path, ("image_name", "label"), zip(names, labels.tolist()))


def read_grader_arguments(script, description):
    """The command line of `script`, hw_p3.sh or hw_p4.sh: `images` (Path), `target`, `output` (Path), `weights`, `device`."""
    parser = CommandParser(prog=f"bash {script}", description=description)
    parser.add_argument("images", type=Path, metavar="IMAGE_DIR", help="folder of png, jpg or bmp files")
    parser.add_argument("target", choices=DOMAINS, metavar="TARGET", help=f"the images' domain: {', '.join(DOMAINS)}")
    parser.add_argument("output", type=Path, metavar="PRED.csv", help="csv to write: image_name,label")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights.pt of a run (default: those shipped here)")
    parser.add_argument("--device", default="auto", help="cpu, cuda … (default: cuda where there is one)")
    return parser.parse_args()


def check_pair(settings):
    """Raises UsageError unless source and target are two domains."""
    if settings["source"] == settings["target"]:
        raise UsageError(f"--source and --target are both {settings['source']}; give two domains")


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
        labels = probabilities(network, stream_images(paths, DIGIT_SIZE, "labelling"), device).argmax(dim=1)
        write_labels(part, [path.name for path in paths], labels)
    say(f"{output}: labels of {len(paths)} images")
