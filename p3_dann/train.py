"""Train DANN, or one of its two bounds, on a pair of digit domains.

    python3 -m p3_dann.train --source usps --target mnistm --mode dann --data hw3_data --run runs/report/p3_usps-mnistm_dann
"""
import math

import torch
from torch.nn import functional as F

from common.adaptation import (
    AUGMENTATION,
    MODES,
    NO_LABEL,
    PseudoLabels,
    absent_digits,
    accuracy,
    augment,
    augment_target,
    check_pair,
    label_target_train,
    probabilities,
)
from common.cli import run_command
from common.data.layout import DOMAINS, load_digits
from common.training.augment import normalise, resize, standardise, to_float
from common.training.device import autocast, on_device
from common.training.distributed import share, wrap
from common.training.run import WHEN_STOPPED, Run
from common.training.settings import read_settings
from common.training.steps import SCHEDULES, Averages, binary_cross_entropy, make_schedule, shuffled_batches
from common.training.weights import save_weights
from p3_dann.model import Classifier, Discriminator, FeatureExtractor

FLAGS = (
    ("source", DOMAINS, "domain with labels"),
    ("target", DOMAINS, "domain to adapt to; its labels are used by mode target, and to test, by nothing else"),
    ("mode", MODES, "the lower bound, DANN or the upper bound; that is, trained on the source alone, adapted to the "
                    "unlabelled target, or trained on the labelled target"),
)
SETTINGS = (
    # name             report   tuned  sample   meaning, unit, source where the report is silent
    ("source_epochs",       0,     16,      0, "first epochs of mode dann, of the source alone", (0,)),
    ("epochs",             50,     48,      5, "epochs in all"),
    ("steps_per_epoch",     0,    250,      0, "steps of an epoch; 0: one pass over the larger of the training sets that are "
                                               "used", (0,)),
    ("batch_size",         64,     16,     16, "images of each domain a step; not in the report, half of 128 as in Ganin "
                                               "et al. 2016"),
    ("lr",               1e-3,   3e-3,   1e-3, "Adam's learning rate; at the start if it is annealed"),
    ("lr_schedule", "constant", "one-cycle", "cosine", "constant, half a cosine, or one cycle; the latter two fall to 0 "
                                                       "over all steps, one cycle after a rise", SCHEDULES),
    ("classifier_gain",   1.0,   10.0,    1.0, "factor of the classifier's first weights at the start; features averaged over "
                                               "all places differ little from image to image, and learn slowly without it"),
    ("image_size",         28,     10,      8, "pixels a side to which digits are resized; at 10 the extractor's receptive "
                                               "field of 11 pixels covers the whole digit"),
    ("domain_weight",     1.0,    0.1,    0.1, "largest weight of the reversed gradient; it grows from 0 as in Ganin et al. "
                                               "2016; not in the report, 1 as there"),
    ("pseudo_weight",     0.0,    1.0,    0.0, "weight of the label loss on target images; with labels that the network gives "
                                               "them"),
    ("pseudo_confidence", 0.6,    0.6,    0.6, "probability from which a digit is such a label", (0, 1)),
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
    """Ganin et al. 2016, section 5.2.2: from 0 to 1 along a sigmoid, as `progress` of the training goes from 0 to 1."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def prepare(images, settings):
    """Digits float [N, 3, H, W] in [-1, 1] -> what the extractor sees: float [N, 3, `image_size`, `image_size`]."""
    images = resize(images, settings["image_size"])
    return standardise(images) if settings["standardise"] else images


def make_network(extractor, classifier, settings, device):
    """The classifier as used for testing: images float [N, 3, H, W] in [-1, 1] -> logits float32 [N, 10], eval mode."""
    extractor.to(device, memory_format=torch.channels_last).eval()
    classifier.to(device).eval()

    def network(images):
        with autocast(device, settings["precision"]):
            return classifier(extractor(prepare(images, settings)))
    return network


def main():
    settings = read_settings(
        __package__, "Train DANN (problem 3) or a bound of it. But in mode target, target labels neither train nor choose.",
        SETTINGS, FLAGS)
    check_pair(settings)
    mode, device = settings["mode"], torch.device(settings["device"])
    source = load_digits(settings["data"], settings["source"], "train", settings["limit"])
    target = load_digits(settings["data"], settings["target"], "train", settings["limit"])
    labelled = target if mode == "target" else source
    images, labels = on_device(labelled.images, device), labelled.labels.to(device)
    target_images = on_device(target.images, device)
    larger = max(len(images), len(target_images)) if mode == "dann" else len(images)
    batch_size = min(settings["batch_size"], larger)
    steps = settings["steps_per_epoch"] or larger // batch_size
    epochs = settings["epochs"]
    alone = min(settings["source_epochs"], epochs) if mode == "dann" else epochs      # epochs of the labelled domain alone

    torch.manual_seed(settings["seed"])
    extractor = wrap(FeatureExtractor().to(device, memory_format=torch.channels_last))
    classifier = Classifier()
    classifier.linear1.weight.data.mul_(settings["classifier_gain"])
    classifier, discriminator = wrap(classifier.to(device)), wrap(Discriminator().to(device))
    parameters = [*extractor.parameters(), *classifier.parameters(), *discriminator.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=settings["lr"], fused=True)
    schedule = make_schedule(optimizer, settings["lr_schedule"], epochs * steps)
    pseudo_labels = PseudoLabels(len(target_images), settings["pseudo_confidence"]).to(device)
    run = Run(settings, epochs, dict(
        extractor=extractor, classifier=classifier, discriminator=discriminator, optimizer=optimizer, schedule=schedule,
        pseudo_labels=pseudo_labels))

    def learn(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    while run.epoch < alone and not run.finished:
        extractor.train()
        classifier.train()
        losses = Averages()
        for indices in run.batches(shuffled_batches(len(images), batch_size, steps, device), losses):
            batch = to_float(images[indices])
            if mode == "target":
                batch = augment_target(batch, settings)
            elif mode == "source":
                batch = augment(batch, settings)
            else:
                backgrounds = target_images[share(torch.randint(len(target_images), (batch_size,), device=device))]
                batch = augment(batch, settings, to_float(backgrounds))
            with autocast(device, settings["precision"]):
                logits = classifier(extractor(prepare(normalise(batch), settings)))
            loss = F.cross_entropy(logits, labels[indices])
            learn(loss)
            losses.add(label_loss=loss, train_accuracy=(logits.argmax(dim=1) == labels[indices]).float().mean())
        run.end_epoch(**losses.means())

    if run.epoch == alone and mode == "dann" and settings["pseudo_weight"] and not run.finished:
        network = make_network(extractor, classifier, settings, device)
        pseudo_labels.start(probabilities(network, target.images.split(256), device))
    # the domains in the order in which a batch holds them: the discriminator says 1 for source, 0 for target
    domains = torch.cat([share(torch.ones(batch_size)), share(torch.zeros(batch_size))]).to(device)
    while run.epoch < epochs and not run.finished:
        extractor.train()
        classifier.train()
        losses = Averages()
        source_order = shuffled_batches(len(images), batch_size, steps, device)
        target_order = shuffled_batches(len(target_images), batch_size, steps, device)
        pairs = torch.stack([source_order, target_order], dim=1)
        for step, (source_indices, target_indices) in enumerate(run.batches(pairs, losses)):
            target_batch = to_float(target_images[target_indices])
            source_batch = augment(to_float(images[source_indices]), settings, backgrounds=target_batch)
            target_batch = augment_target(target_batch, settings)
            weight = settings["domain_weight"] * reversal_weight(
                ((run.epoch - alone) * steps + step) / ((epochs - alone) * steps))

            # Ganin et al. 2016, algorithm 1. One pass for both domains; label loss on the source half, domain loss on both.
            # Reversed, the domain loss's gradient makes the features of both domains alike
            with autocast(device, settings["precision"]):
                features = extractor(prepare(normalise(torch.cat([source_batch, target_batch])), settings))
                logits, target_logits = classifier(features).chunk(2)
                domain_scores = discriminator(ReverseGradient.apply(features, weight))
            label_loss = F.cross_entropy(logits, labels[source_indices])
            domain_loss = 2 * binary_cross_entropy(domain_scores, domains)      # the sum of both domains' means

            # ours: labels that the network gives the target itself
            given = pseudo_labels.look_up(target_indices)
            pseudo_loss = F.cross_entropy(target_logits, given, reduction="sum") / len(given)
            pseudo_labels.update(target_indices, target_logits)

            learn(label_loss + domain_loss + settings["pseudo_weight"] * pseudo_loss)
            losses.add(label_loss=label_loss, domain_loss=domain_loss, pseudo_loss=pseudo_loss,
                       pseudo_share=(given != NO_LABEL).float().mean(),
                       domain_accuracy=((domain_scores > 0.5) == domains.bool()).float().mean(),
                       train_accuracy=(logits.argmax(dim=1) == labels[source_indices]).float().mean())
        run.end_epoch(**losses.means())

    if run.writes and not run.finished:
        # the last epoch's weights: none is picked, so the target's test labels choose nothing
        network = make_network(extractor, classifier, settings, device)
        tests = {name: load_digits(settings["data"], settings[name], "test", settings["limit"])
                 for name in ("source", "target")}
        save_weights(run.folder / "weights.pt", run.meta(), extractor=extractor, classifier=classifier)
        run.finish(target_accuracy=accuracy(network, tests["target"], device),
                   source_accuracy=accuracy(network, tests["source"], device),
                   target_entropy=label_target_train(network, target, device, run.folder),
                   target_test_images=len(tests["target"].labels), train_images=len(images),
                   target_absent_digits=absent_digits(tests["target"].labels))


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
