"""Train ADDA on a pair of digit domains.

    python3 -m p4_adda.train --source usps --target mnistm --data hw3_data --run runs/report/p4_usps-mnistm
"""
import torch
from torch.nn import functional as F

from common.adaptation import (
    AUGMENTATION,
    NO_LABEL,
    MultilinearMap,
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
from common.training.augment import normalise, standardise, to_float
from common.training.device import autocast, on_device
from common.training.distributed import share, wrap
from common.training.run import WHEN_STOPPED, Run
from common.training.settings import read_settings
from common.training.steps import SCHEDULES, Averages, make_schedule, shuffled_batches
from common.training.weights import save_weights
from p4_adda.model import Discriminator, LeNetClassifier, LeNetEncoder2

FLAGS = (
    ("source", DOMAINS, "domain with labels"),
    ("target", DOMAINS, "domain to adapt to; its labels are used to test, by nothing else"),
)
SETTINGS = (
    # name             report   tuned  sample   meaning, unit, source where the report is silent
    ("source_epochs",      20,     12,     12, "epochs that train the source encoder and the classifier"),
    ("epochs",             20,     40,      8, "epochs that adapt the target encoder"),
    ("steps_per_epoch",     0,    250,      0, "steps of an epoch; 0: one pass, over the source at first, over the larger of "
                                               "both sets when adapting", (0,)),
    ("batch_size",         64,     64,     32, "images of each domain a step; not in the report"),
    ("lr",               5e-3,   1e-3,   1e-3, "Adam's learning rate for source encoder and classifier"),
    ("encoder_lr",       5e-3,   1e-3,   5e-5, "Adam's learning rate for the target encoder"),
    ("discriminator_lr", 5e-3,   1e-3,   1e-3, "Adam's learning rate for the discriminator"),
    ("lr_schedule", "constant", "cosine", "constant", "constant, half a cosine, or one cycle; the latter two fall to 0, "
                                                      "each over its steps, one cycle after a rise", SCHEDULES),
    ("beta1",             0.9,    0.5,    0.5, "Adam's first momentum while adapting; not in the report", (0, 0.999)),
    ("target_dropout",   True,   True,  False, "dropout in the target encoder while it adapts"),
    ("conditional",     False,   True,   True, "let the discriminator see predictions too; Long et al. 2018"),
    ("adversarial_weight", 1.0,   0.1,    0.1, "weight of the target encoder's loss with inverted labels"),
    ("pseudo_weight",     0.0,    1.0,    1.0, "weight of the label loss on target images; with labels that the network "
                                               "gives them"),
    ("pseudo_confidence", 0.6,    0.6,    0.6, "probability from which a digit is such a label", (0, 1)),
    *AUGMENTATION,
)
SOURCE, TARGET = 1, 0       # the discriminator's two classes


def prepare(images, settings):
    """Digits float [N, 3, 28, 28] in [-1, 1] -> what the encoders see, of the same shape."""
    return standardise(images) if settings["standardise"] else images


def make_network(encoder, classifier, settings, device):
    """The classifier as used for testing: images float [N, 3, 28, 28] in [-1, 1] -> logits float32 [N, 10], eval mode."""
    encoder.to(device, memory_format=torch.channels_last).eval()
    classifier.to(device).eval()

    def network(images):
        with autocast(device, settings["precision"]):
            return classifier(encoder(prepare(images, settings)))
    return network


def main():
    settings = read_settings(
        __package__, "Train ADDA (problem 4) on one pair of domains. Target labels neither train it nor choose settings.",
        SETTINGS, FLAGS)
    check_pair(settings)
    device = torch.device(settings["device"])
    source = load_digits(settings["data"], settings["source"], "train", settings["limit"])
    target = load_digits(settings["data"], settings["target"], "train", settings["limit"])
    batch_size = min(settings["batch_size"], max(len(source.images), len(target.images)))
    source_images, source_labels = on_device(source.images, device), source.labels.to(device)
    target_images = on_device(target.images, device)

    torch.manual_seed(settings["seed"])
    source_encoder = wrap(LeNetEncoder2().to(device, memory_format=torch.channels_last))
    target_encoder = wrap(LeNetEncoder2().to(device, memory_format=torch.channels_last))
    classifier, discriminator = wrap(LeNetClassifier().to(device)), wrap(Discriminator().to(device))
    together = MultilinearMap(500).to(device)
    source_optimizer = torch.optim.Adam([*source_encoder.parameters(), *classifier.parameters()], settings["lr"], fused=True)
    betas = (settings["beta1"], 0.999)
    target_optimizer = torch.optim.Adam(target_encoder.parameters(), settings["encoder_lr"], betas, fused=True)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), settings["discriminator_lr"], betas, fused=True)
    # of an epoch, of the source alone and of both domains
    source_steps = settings["steps_per_epoch"] or max(1, len(source_images) // batch_size)
    steps = settings["steps_per_epoch"] or max(len(source_images), len(target_images)) // batch_size
    source_schedule, target_schedule, discriminator_schedule = (
        make_schedule(optimizer, settings["lr_schedule"], total) for optimizer, total in (
            (source_optimizer, settings["source_epochs"] * source_steps),
            (target_optimizer, settings["epochs"] * steps), (discriminator_optimizer, settings["epochs"] * steps)))
    pseudo_labels = PseudoLabels(len(target_images), settings["pseudo_confidence"]).to(device)
    run = Run(settings, settings["source_epochs"] + settings["epochs"], dict(
        source_encoder=source_encoder, target_encoder=target_encoder, classifier=classifier, discriminator=discriminator,
        together=together, source_optimizer=source_optimizer, target_optimizer=target_optimizer,
        discriminator_optimizer=discriminator_optimizer, source_schedule=source_schedule, target_schedule=target_schedule,
        discriminator_schedule=discriminator_schedule, pseudo_labels=pseudo_labels))

    # Tzeng et al. 2017, section 4. First, source encoder and classifier learn the labelled source (eq. 9, first line)
    while run.epoch < settings["source_epochs"] and not run.finished:
        source_encoder.train()
        losses = Averages()
        for indices in run.batches(shuffled_batches(len(source_images), batch_size, source_steps, device), losses):
            backgrounds = target_images[share(torch.randint(len(target_images), (batch_size,), device=device))]
            images = augment(to_float(source_images[indices]), settings, to_float(backgrounds))
            with autocast(device, settings["precision"]):
                logits = classifier(source_encoder(prepare(normalise(images), settings)))
            loss = F.cross_entropy(logits, source_labels[indices])
            source_optimizer.zero_grad()
            loss.backward()
            source_optimizer.step()
            source_schedule.step()
            losses.add(label_loss=loss, train_accuracy=(logits.argmax(dim=1) == source_labels[indices]).float().mean())
        run.end_epoch(**losses.means())

    # Then both are frozen, and the target encoder, which starts from the source's, learns to give features that the
    # discriminator takes for the source's, while the discriminator learns to tell them apart (eq. 9, other lines)
    if run.epoch == settings["source_epochs"] and not run.finished:
        target_encoder.load_state_dict(source_encoder.state_dict())
        if settings["pseudo_weight"]:
            pseudo_labels.start(probabilities(make_network(source_encoder, classifier, settings, device),
                                              target.images.split(256), device))
    source_encoder.eval().requires_grad_(False)
    classifier.eval().requires_grad_(False)
    is_source = share(torch.full((batch_size,), SOURCE, device=device))
    is_target = share(torch.full((batch_size,), TARGET, device=device))
    while run.epoch < run.epochs and not run.finished:
        target_encoder.train(settings["target_dropout"])
        losses = Averages()
        source_order = shuffled_batches(len(source_images), batch_size, steps, device)
        target_order = shuffled_batches(len(target_images), batch_size, steps, device)
        for source_indices, target_indices in run.batches(torch.stack([source_order, target_order], dim=1), losses):
            target_batch = to_float(target_images[target_indices])
            source_batch = augment(to_float(source_images[source_indices]), settings, backgrounds=target_batch)
            target_batch = augment_target(target_batch, settings)

            with autocast(device, settings["precision"]):
                source_features = source_encoder(prepare(normalise(source_batch), settings))
                target_features = target_encoder(prepare(normalise(target_batch), settings))
                logits = classifier(target_features)
                if settings["conditional"]:
                    source_features = together(source_features, classifier(source_features))
                    target_features = together(target_features, logits)

                # the discriminator's step; detach keeps its gradient out of the target encoder
                guesses = discriminator(torch.cat([source_features, target_features.detach()]))
            truth = torch.cat([is_source, is_target])
            discriminator_loss = F.nll_loss(guesses, truth)
            discriminator_optimizer.zero_grad()
            discriminator_loss.backward()
            discriminator_optimizer.step()
            discriminator_schedule.step()

            # the target encoder's step with inverted labels: target features shall be called source
            with autocast(device, settings["precision"]):
                guesses_for_target = discriminator(target_features)
            encoder_loss = F.nll_loss(guesses_for_target, is_source)
            # ours: labels that the network gives the target itself
            given = pseudo_labels.look_up(target_indices)
            pseudo_loss = F.cross_entropy(logits, given, reduction="sum") / len(given)
            pseudo_labels.update(target_indices, logits)
            loss = settings["adversarial_weight"] * encoder_loss + settings["pseudo_weight"] * pseudo_loss
            target_optimizer.zero_grad()
            loss.backward()
            target_optimizer.step()
            target_schedule.step()
            losses.add(discriminator_loss=discriminator_loss, encoder_loss=encoder_loss, pseudo_loss=pseudo_loss,
                       pseudo_share=(given != NO_LABEL).float().mean(),
                       domain_accuracy=(guesses.argmax(dim=1) == truth).float().mean())
        run.end_epoch(**losses.means())

    if run.writes and not run.finished:
        # the last epoch's weights: none is picked, so the target's test labels choose nothing
        target_test, source_test = (load_digits(settings["data"], settings[name], "test", settings["limit"])
                                    for name in ("target", "source"))
        before = make_network(source_encoder, classifier, settings, device)
        adapted = make_network(target_encoder, classifier, settings, device)
        save_weights(run.folder / "weights.pt", run.meta(), source_encoder=source_encoder, target_encoder=target_encoder,
                     classifier=classifier)
        run.finish(target_accuracy=accuracy(adapted, target_test, device),
                   source_only_accuracy=accuracy(before, target_test, device),
                   source_accuracy=accuracy(before, source_test, device),
                   target_entropy=label_target_train(adapted, target, device, run.folder),
                   target_test_images=len(target_test.labels), train_images=len(source_images),
                   target_absent_digits=absent_digits(target_test.labels))


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
