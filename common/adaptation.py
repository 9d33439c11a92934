"""What DANN and ADDA share: the pairs of digit domains, augmentation, pseudo-labels, evaluation, the grader's csv."""
import torch
from torch import nn
from torch.nn import functional as F

from common.cli import CommandParser, UsageError, UserError, any_path, path_to_write, progress, say
from common.data.csv_files import LABELS, write_csv
from common.data.images import left_out, list_images, stream_images
from common.data.layout import DIGIT_SIZE, DOMAINS, load_digits
from common.files import written_whole
from common.training.augment import (
    chance,
    change_geometry,
    invert,
    normalise,
    permute_colours,
    put_on_backgrounds,
    to_float,
)
from common.training.device import autocast, pick_device, pick_precision
from common.training.distributed import gather
from common.training.settings import Setting
from common.training.weights import demand_finite, find_weights, load_weights

# (source, target), in the report's order
PAIRS = (("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps"))
MODES = ("source", "dann", "target")        # of problem 3: the lower bound, DANN, the upper bound
SOURCE_OF = {target: source for source, target in reversed(PAIRS)}     # of the first pair with that target
NAMES = {"usps": "USPS", "mnistm": "MNIST-M", "svhn": "SVHN"}
# the report's accuracies on the target's test images: trained on the source, DANN, ADDA, trained on the target
REPORTED = {("usps", "mnistm"): {"source": 0.1367, "dann": 0.2873, "adda": 0.1007, "target": 0.9128},
            ("mnistm", "svhn"): {"source": 0.1999, "dann": 0.4820, "adda": 0.15938, "target": 0.9149},
            ("svhn", "usps"): {"source": 0.4051, "dann": 0.5167, "adda": 0.13154, "target": 0.9691}}
# the best accuracy that another answer to the assignment states, by any method
OTHERS = {("usps", "mnistm"): 0.567, ("mnistm", "svhn"): 0.664, ("svhn", "usps"): 0.851}

# rows of a settings table, for both methods; the report only normalises. Why tuned has these values: docs/adaptation.md
AUGMENTATION = (
    Setting("rotation",       float,   0.0,  15.0,  15.0, "random rotation of digits, up to ± this many degrees",
            bounds=(0, 180), neutral=0.0),
    Setting("shrink",         float,   0.0,   0.4,   0.2, "random shrinking of source digits, up to this fraction",
            bounds=(0, 0.9), neutral=0.0, note="each of width and height by its own"),
    Setting("enlarge",        float,   0.0,   0.4,   0.4, "random enlarging of coloured ones, up to this fraction",
            bounds=(0, 9), neutral=0.0, note="gray ones, USPS's, fill their frame"),
    Setting("shift",          float,   0.0,   0.1,   0.1, "random shift of digits, up to ± this fraction", bounds=(0, 1),
            neutral=0.0),
    Setting("inversion",      bool,  False,  True, False, "turn half of the coloured source digits into negatives",
            neutral=False, note="a gray one's polarity follows from its background"),
    Setting("backgrounds",    float,   0.0,   0.8,   0.5, "fraction of gray source digits put on backgrounds", bounds=(0, 1),
            neutral=0.0, note="on corners of target images, as MNIST-M was made; not in DANN's bounds"),
    Setting("permute_colours", bool, False,  True, False, "random order of a source digit's colour channels", neutral=False),
    Setting("standardise",    bool,  False,  True,  True, "give each image mean 0 and standard deviation 1", neutral=False),
)


def pair_name(pair):
    """A (source, target), as figures and tables call it: "USPS → MNIST-M"."""
    return " → ".join(NAMES[domain] for domain in pair)


def load_pair(settings, split):
    """The source's and the target's Digits of that split, as common.data.layout.load_digits gives them."""
    return tuple(load_digits(settings["data"], settings[role], split, settings["limit"]) for role in ("source", "target"))


def reported(pair, mode):
    """The report's accuracy of a pair, 0 to 1, for a mode as in REPORTED; None where it has none."""
    return REPORTED.get(pair, {}).get(mode)


def augment(images, settings, backgrounds=None):
    """Source digits float [N, 3, H, W] in [0, 1] -> the same, changed as the AUGMENTATION settings say.

    `backgrounds`, unlabelled target images of the same shape, are what gray digits are put on; without them, on nothing.
    A coloured digit, as MNIST-M's and SVHN's, lies on a background already. It gets what SVHN's have: any size, either
    polarity, any colours.
    """
    if settings["enlarge"] or settings["inversion"] or settings["backgrounds"]:
        gray = (images == images[:, :1]).flatten(1).all(dim=1).view(-1, 1, 1, 1)
    if settings["rotation"] or settings["shrink"] or settings["enlarge"] or settings["shift"]:
        largest = 1 + settings["enlarge"] * ~gray.view(-1, 1) if settings["enlarge"] else 1
        images = change_geometry(images, settings["rotation"], (1 - settings["shrink"], largest), settings["shift"])
    if settings["inversion"]:
        images = torch.where(gray, images, invert(images))
    if settings["permute_colours"]:
        images = permute_colours(images)
    if settings["backgrounds"] and backgrounds is not None:
        chosen = gray & chance(images, settings["backgrounds"])
        images = torch.where(chosen, put_on_backgrounds(images, backgrounds), images)
    return images


def augment_target(images, settings):
    """Digits of the target float [N, 3, H, W] in [0, 1] -> the same, changed as the AUGMENTATION settings say.

    They keep their own backgrounds, size and colours: these are what the networks are to adapt to.
    """
    if settings["rotation"] or settings["shift"]:
        images = change_geometry(images, settings["rotation"], (1, 1), settings["shift"])
    return images


def augment_pair(source_images, target_images, settings):
    """A batch of each domain, float [N, 3, H, W] in [0, 1] -> both, changed: the source's by `augment`, with the target's for
    backgrounds, and the target's by `augment_target`."""
    return augment(source_images, settings, backgrounds=target_images), augment_target(target_images, settings)


NO_LABEL = -100     # which F.cross_entropy leaves out


class PseudoLabels(nn.Module):
    """Labels that the network under training itself gives the unlabelled target images (Lee 2013).

    For each image a running mean of the probabilities that it was given so far (temporal ensembling, Laine & Aila 2017,
    section 2.2), which starts from the network that the source alone has trained. With `alignment`, each digit's probability
    is divided by its mean over all target images before a label is taken, so that the ten are equally likely over the whole
    set (distribution alignment, Berthelot et al. 2020, section 3.1): without that, a digit that the network overlooks at
    first is never seen again. The largest is the label if it then reaches `confidence`, 0 to 1.

    A module only so that a checkpoint keeps the means.
    """

    MOMENTUM = 0.6      # as in Laine & Aila

    def __init__(self, count, confidence, alignment):
        super().__init__()
        self.confidence, self.alignment = confidence, alignment
        self.register_buffer("means", torch.full((count, 10), 0.1))

    def start(self, probabilities):
        """Begin with these `probabilities` float [count, 10] of all target images."""
        self.means.copy_(probabilities)

    def look_up(self, indices):
        """The labels of the target images `indices` int64 [N]: int64 [N], NO_LABEL where none is sure enough."""
        means = self.means[indices]
        if self.alignment:
            means = means / self.means.mean(dim=0).clamp(min=1e-4)
            means = means / means.sum(dim=1, keepdim=True)
        confidence, labels = means.max(dim=1)
        # not torch.where, which would send NO_LABEL to the GPU and wait
        return labels.masked_fill(~(confidence >= self.confidence), NO_LABEL)

    def loss(self, logits, indices):
        """The label loss of the `logits` [N, 10] that the network now gives the images `indices` int64 [N], which enter their
        means afterwards. Returns it and the fraction of these images that have a label; the others add nothing to the loss."""
        labels = self.look_up(indices)
        loss = F.cross_entropy(logits, labels, reduction="sum") / len(labels)
        self.update(indices, logits)
        return loss, (labels != NO_LABEL).float().mean()

    def update(self, indices, logits):
        """Let the `logits` [N, 10] that were just given to the images `indices` int64 [N] enter their means."""
        indices, now = gather(indices), gather(logits.detach().softmax(dim=1))
        self.means[indices] = self.MOMENTUM * self.means[indices] + (1 - self.MOMENTUM) * now


class MultilinearMap(nn.Module):
    """What a discriminator of features sees of features and predictions together (Long et al. 2018, eq. 6).

    features [N, D] and logits [N, 10] -> [N, D]: both mapped to D numbers by fixed random matrices and multiplied, so that
    the discriminator compares the domains digit by digit. No gradient goes to the predictions.
    """

    def __init__(self, size):
        super().__init__()
        self.register_buffer("of_features", torch.randn(size, size))
        self.register_buffer("of_predictions", torch.randn(10, size))

    def forward(self, features, logits):
        predictions = logits.detach().softmax(dim=1)
        return (features @ self.of_features) * (predictions @ self.of_predictions) / len(self.of_features) ** 0.5


def make_network(encoder, classifier, prepare, settings, device):
    """The two as used for testing, in eval mode: images float [N, 3, 28, 28] in [-1, 1] -> logits float32 [N, 10].

    `prepare`, of the problem's model.py, makes of such images, by the `settings`, what the encoder sees.
    """
    encoder.to(device, memory_format=torch.channels_last).eval()
    classifier.to(device).eval()

    def network(images):
        with autocast(device, settings["precision"]):
            return classifier(encoder(prepare(images, settings)))
    return network


@torch.no_grad()
def probabilities(network, batches, device):
    """The probability of each digit for each image: float32 [N, 10] on the CPU.

    `batches` yields the images, uint8 [B, 3, 28, 28] on any device; `network` maps float [B, 3, 28, 28] in [-1, 1] to
    logits [B, 10] and is in eval mode. Raises UserError if it gives any that are not finite.
    """
    return demand_finite(torch.cat(
        [network(normalise(to_float(batch.to(device)))).softmax(dim=1).cpu() for batch in batches]))


def accuracy(network, digits, device):
    """Fraction of the `digits` (common.data.layout.Digits) that the network (see `probabilities`) labels rightly, 0 to 1."""
    found = probabilities(network, progress(digits.images.split(256), "predicting"), device).argmax(dim=1)
    return (found == digits.labels).double().mean().item()


def label_target_train(network, target, device, folder):
    """Label the target's training `target` images (Digits), looking at none of their labels; write target_train.csv.

    Two runs can be compared by that file (python3 hw_eval.py ONE OTHER): where networks from different seeds disagree, at
    least one is wrong, so their agreement helps to choose settings without target labels (Jiang et al. 2022, "Assessing
    generalization of SGD via disagreement"). Returns the mean entropy of the predictions in nats, 0 to 2.30.
    """
    found = probabilities(network, progress(target.images.split(256), "predicting"), device)
    with written_whole(folder / "target_train.csv") as part:
        write_labels(part, target.names, found.argmax(dim=1))
    return torch.distributions.Categorical(found).entropy().mean().item()


def absent_digits(labels):
    """Which of the ten digits none of the labels (int64 [N]) is: a list, empty for a complete split.

    A pair whose domains differ in this adapts worse, as features of all source digits are pulled towards fewer.
    """
    return sorted(set(range(10)) - set(labels.tolist()))


def write_labels(path, names, labels):
    """Write the grader's csv: header image_name,label, then one row for each of the names (texts) and labels int64 [N]."""
    write_csv(path, LABELS, zip(names, labels.tolist()))


def check_pair(settings):
    """Raises UsageError unless source and target are two domains."""
    if settings["source"] == settings["target"]:
        raise UsageError(f"--source and --target are both {settings['source']}; give two domains")


def load_network(path, device, prepare, needs, **modules):
    """The weights at `path` as (network, their meta): images float [N, 3, 28, 28] in [-1, 1] -> logits float32 [N, 10].

    Args: `prepare` as for make_network; `needs`, the settings that it reads, each with the values that it may have; an
    encoder and a classifier by their names in the weights file. Raises UserError for weights of another model, or without those
    settings.
    """
    meta = load_weights(path, {"target": DOMAINS} | needs, **modules)
    return make_network(*modules.values(), prepare, meta | {"precision": pick_precision(device)}, device), meta


def answer_grader(problem, method, run, shipped, load):
    """What hw_p3.sh and hw_p4.sh do: read their command line, and label the images that it names with the weights it means.

    Args: `problem`, the package; `method`, its name in the help; `run`, its run folders' name, with {pair}; `shipped`, the
    folder of the weights that come with the code; `load`, a function of a path and a device that returns what load_network
    does. Raises UserError for weights of another target or model.
    """
    parser = CommandParser(prog=f"bash hw_{problem[:2]}.sh",
                           description=f"Label the digit images of a folder with the {method} adapted to TARGET.")
    parser.add_argument("images", type=any_path, metavar="IMAGE_DIR", help="folder of png, jpg or bmp files")
    parser.add_argument("target", choices=DOMAINS, metavar="TARGET", help=f"the images' domain: {', '.join(DOMAINS)}")
    parser.add_argument("output", type=path_to_write, metavar="PRED.csv", help="csv to write: image_name,label")
    parser.add_argument("--weights", type=any_path, metavar="FILE", help="weights.pt of a run (default: those shipped here)")
    parser.add_argument("--device", default="auto", help="cpu, cuda … (default: cuda where there is one)")
    args = parser.parse_args()

    pair = f"{SOURCE_OF[args.target]}-{args.target}"
    path = find_weights(args.weights, shipped / f"{pair}.pt", problem, run.format(pair=pair))
    device = pick_device(args.device)
    network, meta = load(path, device)
    if meta["target"] != args.target:
        raise UserError(f"{path} was trained for target {meta['target']}, not {args.target}; give other --weights")
    label_folder(network, args.images, args.output, device)


def label_folder(network, folder, output, device):
    """The grader's job: label each image of `folder`, write `output`: header image_name,label, rows sorted by name.

    An image's way: list_images and stream_images decode it (common/data/images.py), `probabilities` above gives it to the
    network, whose most probable digit write_labels puts into its row (write_csv, common/data/csv_files.py). The csv is written
    whole or not at all.
    Raises UserError for an empty folder, an unreadable image, an unwritable output.
    """
    paths, others = list_images(folder), left_out(folder)
    if output.name in (path.name for path in paths) and output.parent.resolve() == folder.resolve():
        raise UserError(f"{output} is one of the images; give the name of the csv to write")
    with written_whole(output) as part:       # first, so that a wrong path shows before the work
        labels = probabilities(network, stream_images(paths, DIGIT_SIZE, "labelling"), device).argmax(dim=1)
        write_labels(part, [path.name for path in paths], labels)
    say(f"{output}: labels of {len(paths)} images{others}")
