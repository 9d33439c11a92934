"""Train ADDA on a pair of digit domains.

    python3 -m p4_adda.train --source usps --target mnistm --data hw3_data --run runs/report/p4_usps-mnistm
"""
import functools
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from common.adaptation import (
    AUGMENTATION,
    MultilinearMap,
    PseudoLabels,
    absent_digits,
    accuracy,
    augment,
    augment_pair,
    check_pair,
    label_target_train,
    load_pair,
    make_network,
    probabilities,
)
from common.cli import run_command
from common.data.layout import DOMAINS
from common.training.augment import normalise, to_float
from common.training.device import autocast, on_device
from common.training.distributed import wrap
from common.training.run import WHEN_STOPPED, Run
from common.training.settings import Needed, Setting, read_settings
from common.training.steps import (
    SCHEDULES,
    Averages,
    ScheduledAdam,
    accuracy_of,
    random_batch,
    shuffled_batches,
)
from common.training.weights import save_weights
from p4_adda.model import Discriminator, LeNetClassifier, LeNetEncoder2, prepare

FLAGS = (
    Needed("source", DOMAINS, "domain with labels"),
    Needed("target", DOMAINS, "domain to adapt to"),
)
SETTINGS = (       # why `tuned` differs from `report`: docs/adaptation.md
    #        name                 kind   report   tuned  sample   meaning and unit
    Setting("source_epochs",      int,       20,     12,     12, "epochs that train the source encoder and the classifier"),
    Setting("epochs",             int,       20,     40,     12, "further epochs, which adapt the target encoder"),
    Setting("steps_per_epoch",    int,        0,    250,      0, "steps in an epoch; 0: one pass over the data", bounds=(0,),
            neutral=0, note="over the source at first, over the larger of both sets when adapting"),
    Setting("batch_size",         int,       64,     64,      8, "images of each domain a step", note="not in the report"),
    Setting("lr",                 float,   5e-3,   1e-3,   1e-3, "Adam's learning rate for source encoder and classifier"),
    Setting("encoder_lr",         float,   5e-3,   1e-3,   1e-3, "Adam's learning rate for the target encoder"),
    Setting("discriminator_lr",   float,   5e-3,   1e-3,   1e-3, "Adam's learning rate for the discriminator"),
    Setting("lr_schedule",        str, "constant", "cosine", "cosine", "constant, cosine (half of one) or one-cycle",
            choices=SCHEDULES, neutral="constant",
            note="the latter two fall to 0, each over its steps, one-cycle after a rise"),
    Setting("beta1",              float,    0.9,    0.5,    0.5, "Adam's first momentum while adapting", bounds=(0, 0.999),
            note="not in the report"),
    Setting("conditional",        bool,   False,   True,   True, "let the discriminator see predictions too", neutral=False,
            note="Long et al. 2018"),
    Setting("adversarial_weight", float,    1.0,    0.1,    0.1, "weight of the target encoder's loss with inverted labels",
            neutral=1.0),
    Setting("pseudo_weight",      float,    0.0,    1.0,    1.0, "weight of the loss on pseudo-labels", neutral=0.0,
            note="which the network itself gives the target's images"),
    Setting("pseudo_confidence",  float,    0.6,    0.6,    0.4, "least probability at which a digit is a pseudo-label",
            bounds=(0, 1), neutral=0.6),
    Setting("alignment",          bool,    True,   True,   True, "give pseudo-labels the ten digits equally often",
            neutral=True, note="Berthelot et al. 2020; harmful where some of the target's digits are rare"),
    *AUGMENTATION,
)
SOURCE, TARGET = 1, 0       # the discriminator's two classes


class Networks(NamedTuple):
    source_encoder: nn.Module
    target_encoder: nn.Module
    classifier: nn.Module
    discriminator: nn.Module
    multilinear_map: nn.Module


def train_source(run, networks, optimizer, source, target_images, shuffled):
    """Phase 1: source encoder and classifier learn the labelled `source` Digits (Tzeng et al. 2017, eq. 9, first line)."""
    settings, precision = run.settings, autocast(run.device, run.settings["precision"])
    encoder, classifier = networks.source_encoder, networks.classifier
    while run.epoch < settings["source_epochs"]:
        encoder.train()
        losses = Averages()
        for indices in run.batches(shuffled(len(source.images)), losses):
            # ours: the images are changed; unlabelled ones of the target give backgrounds
            backgrounds = to_float(target_images[random_batch(len(target_images), indices)])
            images = normalise(augment(to_float(source.images[indices]), settings, backgrounds))
            labels = source.labels[indices]
            with precision:
                logits = classifier(encoder(prepare(images, settings)))
            loss = F.cross_entropy(logits, labels)
            optimizer.descend(loss)
            losses.add(label_loss=loss, train_accuracy=accuracy_of(logits, labels))
        run.end_epoch(**losses.means())


def adda_step(networks, discriminator_optimizer, source_images, target_images, conditional, precision):
    """Tzeng et al. 2017, eq. 9, other lines: takes the discriminator's step; the caller descends the target encoder's loss.

    Images float [N, 3, 28, 28]; `precision`, the context of forward passes. Returns both losses, the discriminator's
    accuracy, and the logits [N, 10] of the target's images.
    """
    source_encoder, target_encoder, classifier, discriminator, multilinear_map = networks
    with precision:
        source_features = source_encoder(source_images)     # which is frozen, as the classifier is
        target_features = target_encoder(target_images)
        logits = classifier(target_features)
        source_seen, target_seen = source_features, target_features
        if conditional:     # ours: the discriminator sees predictions too
            source_seen = multilinear_map(source_features, classifier(source_features))
            target_seen = multilinear_map(target_features, logits)
        domain_scores = discriminator(torch.cat([source_seen, target_seen.detach()]))
    # the discriminator learns to tell the domains apart; detach keeps its gradient out of the target encoder
    source_label = torch.full((len(source_features),), SOURCE, device=domain_scores.device)
    target_label = torch.full((len(target_features),), TARGET, device=domain_scores.device)
    domains = torch.cat([source_label, target_label])
    discriminator_loss = F.nll_loss(domain_scores, domains)
    discriminator_optimizer.descend(discriminator_loss)

    # the target encoder learns with inverted labels: its features are to be taken for the source's
    with precision:
        target_scores = discriminator(target_seen)
    encoder_loss = F.nll_loss(target_scores, source_label)
    return discriminator_loss, encoder_loss, accuracy_of(domain_scores, domains), logits


def adapt(run, networks, discriminator_optimizer, encoder_optimizer, source, target_images, pseudo_labels, shuffled):
    """Phase 2: source encoder and classifier are frozen. The target encoder learns to give features that the discriminator
    takes for the source's, while the discriminator learns to tell them apart."""
    settings, precision = run.settings, autocast(run.device, run.settings["precision"])
    networks.source_encoder.eval().requires_grad_(False)
    networks.classifier.eval().requires_grad_(False)
    while run.epoch < run.epochs:
        networks.target_encoder.train()
        losses = Averages()
        # [steps, 2, N]: the indices of each step's images, of the source and of the target
        batches = torch.stack([shuffled(len(source.images)), shuffled(len(target_images))], dim=1)
        for source_indices, target_indices in run.batches(batches, losses):
            # ours: the images are changed, those of the source into what a target's may be
            changed = augment_pair(to_float(source.images[source_indices]), to_float(target_images[target_indices]), settings)
            source_batch, target_batch = (prepare(normalise(images), settings) for images in changed)

            discriminator_loss, encoder_loss, domain_accuracy, logits = adda_step(
                networks, discriminator_optimizer, source_batch, target_batch, settings["conditional"], precision)
            # ours: labels that the network gives the target itself
            pseudo_loss, pseudo_share = pseudo_labels.loss(logits, target_indices)
            encoder_optimizer.descend(
                settings["adversarial_weight"] * encoder_loss + settings["pseudo_weight"] * pseudo_loss)
            losses.add(discriminator_loss=discriminator_loss, encoder_loss=encoder_loss, pseudo_loss=pseudo_loss,
                       pseudo_share=pseudo_share, domain_accuracy=domain_accuracy)
        run.end_epoch(**losses.means())


def finish(run, networks, source, target):
    """After the last epoch: keep the weights, and test both encoders. `source` and `target` are the training Digits."""
    settings, device = run.settings, run.device
    before, adapted = (make_network(encoder, networks.classifier, prepare, settings, device)
                       for encoder in (networks.source_encoder, networks.target_encoder))
    source_test, target_test = load_pair(settings, "test")
    # the last epoch's weights: none is picked, so the target's test labels choose nothing
    save_weights(run.folder / "weights.pt", run.meta(), source_encoder=networks.source_encoder,
                 target_encoder=networks.target_encoder, classifier=networks.classifier)
    run.finish(target_accuracy=accuracy(adapted, target_test, device),
               source_only_accuracy=accuracy(before, target_test, device),
               source_accuracy=accuracy(before, source_test, device),
               target_entropy=label_target_train(adapted, target, device, run.folder),
               target_test_images=len(target_test.labels), train_images=len(source.images),
               target_absent_digits=absent_digits(target_test.labels))


def main():
    settings = read_settings(
        __package__, "Train ADDA (problem 4) on one pair of domains. Target labels are not used.",
        SETTINGS, FLAGS)
    check_pair(settings)
    device = torch.device(settings["device"])
    source, target = load_pair(settings, "train")
    source = source._replace(images=on_device(source.images, device), labels=source.labels.to(device))
    target_images = on_device(target.images, device)
    larger = max(len(source.images), len(target_images))
    batch_size = min(settings["batch_size"], larger)
    # of an epoch, of the source alone and of both domains
    source_steps = settings["steps_per_epoch"] or max(1, len(source.images) // batch_size)
    steps = settings["steps_per_epoch"] or larger // batch_size
    shuffled = functools.partial(shuffled_batches, batch_size=batch_size, device=device)

    torch.manual_seed(settings["seed"])
    networks = Networks(*(wrap(network, device) for network in (
        LeNetEncoder2(), LeNetEncoder2(), LeNetClassifier(), Discriminator())), MultilinearMap(500).to(device))
    source_encoder, target_encoder, classifier, discriminator, _ = networks
    schedule, betas = settings["lr_schedule"], (settings["beta1"], 0.999)
    source_optimizer = ScheduledAdam([*source_encoder.parameters(), *classifier.parameters()], settings["lr"], schedule,
                                     settings["source_epochs"] * source_steps)
    encoder_optimizer = ScheduledAdam(target_encoder.parameters(), settings["encoder_lr"], schedule,
                                      settings["epochs"] * steps, betas=betas)
    discriminator_optimizer = ScheduledAdam(discriminator.parameters(), settings["discriminator_lr"], schedule,
                                            settings["epochs"] * steps, betas=betas)
    pseudo_labels = PseudoLabels(len(target_images), settings["pseudo_confidence"], settings["alignment"]).to(device)
    run = Run(settings, settings["source_epochs"] + settings["epochs"], networks._asdict() | dict(
        source_optimizer=source_optimizer, encoder_optimizer=encoder_optimizer,
        discriminator_optimizer=discriminator_optimizer, pseudo_labels=pseudo_labels))
    if run.finished:
        return

    train_source(run, networks, source_optimizer, source, target_images, functools.partial(shuffled, steps=source_steps))
    if run.epoch == settings["source_epochs"]:       # later, the checkpoint has what is set here
        target_encoder.load_state_dict(source_encoder.state_dict())
        if settings["pseudo_weight"]:       # ours: the first labels that the target gets are those of the source's network
            network = make_network(source_encoder, classifier, prepare, settings, device)
            pseudo_labels.start(probabilities(network, target.images.split(256), device))
    adapt(run, networks, discriminator_optimizer, encoder_optimizer, source, target_images, pseudo_labels,
          functools.partial(shuffled, steps=steps))
    if run.writes:
        finish(run, networks, source, target)


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
