"""Train DANN, or one of its two bounds, on a pair of digit domains.

    python3 -m p3_dann.train --source usps --target mnistm --mode dann --data hw3_data --run runs/report/p3_usps-mnistm_dann
"""
import functools
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from common.adaptation import (
    AUGMENTATION,
    MODES,
    PseudoLabels,
    absent_digits,
    accuracy,
    augment,
    augment_pair,
    augment_target,
    check_pair,
    label_target_train,
    load_pair,
    make_network,
    probabilities,
)
from common.cli import run_command
from common.data.layout import DOMAINS
from common.training.augment import normalise, to_float
from common.training.device import autocast, compiled, compiling_pays, on_device
from common.training.distributed import wrap
from common.training.run import WHEN_STOPPED, Run
from common.training.settings import Needed, Setting, read_settings
from common.training.steps import (
    SCHEDULES,
    Averages,
    ScheduledAdam,
    accuracy_of,
    binary_cross_entropy,
    random_batch,
    shuffled_batches,
)
from common.training.weights import save_weights
from p3_dann.model import IMAGE_SIZES, Classifier, Discriminator, FeatureExtractor, prepare

FLAGS = (
    Needed("source", DOMAINS, "domain with labels"),
    Needed("target", DOMAINS, "domain to adapt to"),
    Needed("mode", MODES, "the lower bound, DANN or the upper bound"),
)
SETTINGS = (       # why `tuned` differs from `report`: docs/adaptation.md
    #        name                kind   report   tuned  sample   meaning and unit
    Setting("source_epochs",     int,        0,      8,      4, "mode dann: first epochs, on source labels alone", bounds=(0,),
            neutral=0, note="at most all but the last"),
    Setting("epochs",            int,       50,     30,      7, "epochs in all, the source's included"),
    Setting("steps_per_epoch",   int,        0,    500,      0, "steps in an epoch; 0: a pass over the labelled images",
            bounds=(0,), neutral=0, note="as in the notebook that the report cites"),
    Setting("batch_size",        int,       64,     32,      8, "images of each domain a step",
            note="not in the report; 64 in the notebook that it cites, as in Ganin et al. 2016"),
    Setting("lr",                float,   1e-3,   3e-3,   3e-3, "Adam's learning rate",
            note="at the start if it is annealed, at its height in one cycle"),
    Setting("lr_schedule",       str, "constant", "one-cycle", "one-cycle", "constant, cosine (half of one) or one-cycle",
            choices=SCHEDULES, neutral="constant", note="the latter two fall to 0 over a phase, one-cycle after a rise"),
    Setting("classifier_gain",   float,    1.0,   10.0,   10.0, "factor on the classifier's first-layer weights at the start",
            neutral=1.0, note="without it, features averaged over all places, which differ little, are learned slowly"),
    Setting("image_size",        int,       28,     12,      6, "digits are resized to this many pixels a side",
            bounds=(IMAGE_SIZES[0], IMAGE_SIZES[-1]),
            note="at 12 the extractor's receptive field of 11 pixels covers nearly all of the digit"),
    Setting("domain_weight",     float,   0.05,    0.1,    0.1, "largest weight of the reversed gradient",
            note="it grows from 0 to this; 1 in Ganin et al. 2016, not in the report; in the notebook that it cites 0.1, "
                 "of a mean over both domains, which is half of our loss"),
    Setting("pseudo_weight",     float,    0.0,    1.0,    1.0, "weight of the loss on pseudo-labels", neutral=0.0,
            note="which the network itself gives the target's images"),
    Setting("pseudo_confidence", float,    0.6,    0.6,    0.8, "least probability at which a digit is a pseudo-label",
            bounds=(0, 1), neutral=0.6),
    Setting("alignment",         bool,    True,   True,   True, "give pseudo-labels the ten digits equally often",
            neutral=True, note="Berthelot et al. 2020; harmful where some of the target's digits are rare"),
    *AUGMENTATION,
)


class ReverseGradient(torch.autograd.Function):
    """The gradient reversal layer (Ganin et al. 2016, eq. 16–17): identity forward, gradient times -weight backward."""

    @staticmethod
    def forward(context, features, weight):
        context.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(context, gradient):
        return -context.weight * gradient, None


def reversal_weight(progress):
    """Ganin et al. 2016, section 5.2.2: from 0 to 1 along a sigmoid, as `progress` of the training, a tensor, does."""
    return 2 / (1 + torch.exp(-10 * progress)) - 1


class Networks(NamedTuple):
    extractor: nn.Module
    classifier: nn.Module
    discriminator: nn.Module


def dann_step(networks, images, labels, domains, weight, precision):
    """Ganin et al. 2016, algorithm 1: the losses of a step; the caller descends their sum.

    `images` float [2 N, 3, S, S]: N of the source, which have the `labels` int64 [N], then N of the target; `domains` float
    [2 N], 1 for source and 0 for target; `weight` of the reversed gradient; `precision`, the context of forward passes. Returns
    (label loss, domain loss, source logits [N, 10], target logits [N, 10], domain scores [2 N]).
    """
    extractor, classifier, discriminator = networks
    with precision:
        features = extractor(images)
        logits, target_logits = classifier(features).chunk(2)
        # reversed, the domain loss's gradient makes the features of both domains alike
        domain_scores = discriminator(ReverseGradient.apply(features, weight))
    label_loss = F.cross_entropy(logits, labels)
    domain_loss = 2 * binary_cross_entropy(domain_scores, domains)      # eq. 9 adds one mean for each domain
    return label_loss, domain_loss, logits, target_logits, domain_scores


def supervised_step(extractor, classifier, images, labels, precision):
    """A step of the bounds, and of our first epochs: the loss of the `labels` int64 [N] alone, and the logits [N, 10]."""
    with precision:
        logits = classifier(extractor(images))
    return F.cross_entropy(logits, labels), logits


def augment_labelled(images, settings, target_images):
    """Ours, where labels alone are learned: the images changed, in mode target as a target's. Mode source sees no target."""
    if settings["mode"] == "target":
        return augment_target(images, settings)
    if settings["mode"] == "source":
        return augment(images, settings)
    return augment(images, settings, to_float(target_images[random_batch(len(target_images), images)]))


def train_on_labels(run, until, extractor, classifier, optimizer, labelled, target_images, shuffled):
    """Train the two on the `labelled` Digits up to the epoch `until`: the bounds, and DANN's first epochs."""
    precision = autocast(run.device, run.settings["precision"])
    while run.epoch < until:
        extractor.train()
        classifier.train()
        losses = Averages()
        for indices in run.batches(shuffled(len(labelled.images)), losses):
            images, labels = to_float(labelled.images[indices]), labelled.labels[indices]
            images = prepare(normalise(augment_labelled(images, run.settings, target_images)), run.settings)
            loss, logits = supervised_step(extractor, classifier, images, labels, precision)
            optimizer.descend(loss)
            losses.add(label_loss=loss, train_accuracy=accuracy_of(logits, labels))
        run.end_epoch(**losses.means())


def adapt(run, adapt_from, networks, optimizer, source, target_images, pseudo_labels, shuffled):
    """DANN, from the epoch `adapt_from` to the last: learn the `source` Digits by features that both domains share."""
    settings, precision = run.settings, autocast(run.device, run.settings["precision"])
    while run.epoch < run.epochs:
        networks.extractor.train()
        networks.classifier.train()
        losses = Averages()
        # [steps, 2, N]: the indices of each step's images, of the source and of the target
        batches = torch.stack([shuffled(len(source.images)), shuffled(len(target_images))], dim=1)
        # what the discriminator is to say: 1 for source, 0 for target, in the order in which a batch holds them
        domains = torch.tensor([1.0, 0.0], device=run.device).repeat_interleave(batches.shape[-1])
        for source_indices, target_indices in run.batches(batches, losses):
            # ours: the images are changed, those of the source into what a target's may be
            changed = augment_pair(to_float(source.images[source_indices]), to_float(target_images[target_indices]), settings)
            images = prepare(normalise(torch.cat(changed)), settings)

            labels = source.labels[source_indices]
            progress = (optimizer.steps_done / len(batches) - adapt_from) / (run.epochs - adapt_from)
            weight = settings["domain_weight"] * reversal_weight(progress)
            label_loss, domain_loss, logits, target_logits, domain_scores = dann_step(
                networks, images, labels, domains, weight, precision)
            # ours: labels that the network gives the target itself
            pseudo_loss, pseudo_share = pseudo_labels.loss(target_logits, target_indices)
            optimizer.descend(label_loss + domain_loss + settings["pseudo_weight"] * pseudo_loss)
            losses.add(label_loss=label_loss, domain_loss=domain_loss, pseudo_loss=pseudo_loss, pseudo_share=pseudo_share,
                       domain_accuracy=((domain_scores > 0.5) == domains.bool()).float().mean(),
                       train_accuracy=accuracy_of(logits, labels))
        run.end_epoch(**losses.means())


def finish(run, extractor, classifier, train_images, target):
    """After the last epoch: keep the weights, and test them. `target`: the training Digits."""
    settings, device = run.settings, run.device
    network = make_network(extractor, classifier, prepare, settings, device)
    source_test, target_test = load_pair(settings, "test")
    # the last epoch's weights: none is picked, so the target's test labels choose nothing
    save_weights(run.folder / "weights.pt", run.meta(), extractor=extractor, classifier=classifier)
    run.finish(target_accuracy=accuracy(network, target_test, device),
               source_accuracy=accuracy(network, source_test, device),
               target_entropy=label_target_train(network, target, device, run.folder),
               target_test_images=len(target_test.labels), train_images=train_images,
               target_absent_digits=absent_digits(target_test.labels))


def main():
    settings = read_settings(
        __package__, "Train DANN (problem 3) or one of its bounds. Target labels are used in mode target alone.",
        SETTINGS, FLAGS)
    check_pair(settings)
    mode, epochs, device = settings["mode"], settings["epochs"], torch.device(settings["device"])
    source, target = load_pair(settings, "train")
    labelled = target if mode == "target" else source       # the only use of target labels in training
    labelled = labelled._replace(images=on_device(labelled.images, device), labels=labelled.labels.to(device))
    torch.manual_seed(settings["seed"])
    target_images = on_device(target.images, device)
    batch_size = min(settings["batch_size"], max(len(labelled.images), len(target_images) if mode == "dann" else 0))
    steps = settings["steps_per_epoch"] or max(1, len(labelled.images) // batch_size)
    shuffled = functools.partial(shuffled_batches, batch_size=batch_size, steps=steps, device=device)

    networks = Networks(FeatureExtractor(), Classifier(), Discriminator())
    networks.classifier.linear1.weight.data.mul_(settings["classifier_gain"])
    networks = Networks(*(wrap(network, device) for network in networks))
    extractor, classifier, _ = networks
    parameters = [parameter for network in networks for parameter in network.parameters()]
    adapt_from = min(settings["source_epochs"], epochs - 1) if mode == "dann" else epochs
    # a schedule for each phase: the first labels of target images are those of a network that has settled
    optimizer = ScheduledAdam(parameters, settings["lr"], settings["lr_schedule"],
                              adapt_from * steps, (epochs - adapt_from) * steps)
    pseudo_labels = PseudoLabels(len(target_images), settings["pseudo_confidence"], settings["alignment"]).to(device)
    run = Run(settings, epochs, networks._asdict() | dict(optimizer=optimizer, pseudo_labels=pseudo_labels))
    if run.finished:
        return

    images = (2 * epochs - adapt_from) * steps * batch_size      # those of both domains while adapting
    if not settings["eager"] and compiling_pays(device, images * settings["image_size"] ** 2):
        # for the steps; what is tested and kept are the plain networks, which share the weights
        networks = Networks(*compiled(networks))
    train_on_labels(run, adapt_from, networks.extractor, networks.classifier, optimizer, labelled, target_images, shuffled)
    if mode == "dann":
        if run.epoch == adapt_from and settings["pseudo_weight"]:       # later, the checkpoint has them
            network = make_network(extractor, classifier, prepare, settings, device)
            pseudo_labels.start(probabilities(network, target.images.split(256), device))
        adapt(run, adapt_from, networks, optimizer, labelled, target_images, pseudo_labels, shuffled)

    if run.writes:
        finish(run, extractor, classifier, len(labelled.images), target)


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
