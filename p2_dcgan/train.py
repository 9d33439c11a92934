"""Train the DCGAN on faces.   python3 -m p2_dcgan.train --data hw3_data --noise uniform --run runs/report/p2_dcgan_uniform"""
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.cli import run_command
from common.data.grid import save_grid
from common.data.layout import load_faces
from common.metrics.faces import pairwise_diversity, sharpness
from common.runs.plan import NOISES
from common.training.augment import (
    change_brightness_and_contrast,
    flip_horizontally,
    flip_vertically,
    normalise,
    recolour,
    to_float,
    translate,
)
from common.training.device import autocast, on_device
from common.training.distributed import share, wrap
from common.training.run import WHEN_STOPPED, Run
from common.training.settings import Setting, read_settings
from common.training.steps import Adam, Averages, binary_cross_entropy, shuffled_batches
from common.training.weights import save_weights
from p2_dcgan.model import Discriminator, Generator, generate, make_noise

SETTINGS = (       # why `tuned` differs from `report`, value by value: docs/faces.md
    #        name                  kind    report    tuned   sample   meaning and unit
    Setting("epochs",              int,       100,     100,       2, "passes over the training faces"),
    Setting("batch_size",          int,       128,      64,       8, "real (and as many generated) faces a step",
            note="128 as in Radford et al."),
    Setting("generator_lr",        float,    1e-3,    2e-4,    5e-4, "Adam's learning rate for the generator at the start",
            note="2e-4 in Radford et al."),
    Setting("discriminator_lr",    float,    1e-3,    2e-4,    5e-4, "Adam's learning rate for the discriminator at the start"),
    Setting("beta1",               float,     0.5,     0.5,     0.5, "Adam's first momentum", bounds=(0, 0.999),
            note="not in the report; 0.5 in Radford et al."),
    Setting("lr_step",             int,        15,      30,      15, "epochs between two cuts of the learning rate"),
    Setting("lr_decay",            float,     0.6,     0.6,     0.6, "factor of each cut"),
    Setting("noise",               str, "uniform", "uniform", "uniform", "distribution of the noise: U(-1, 1) or N(0, 1)",
            choices=NOISES),
    Setting("horizontal_flip",     bool,     True,    True,    True, "mirror half of the training faces"),
    Setting("vertical_flip",       bool,     True,   False,   False, "turn half of the training faces upside down"),
    Setting("brightness_contrast", float,     0.2,     0.0,     0.0, "random brightness and contrast of the training faces: "
            "up to this fraction"),
    Setting("real_label",          float,     1.0,     0.9,     0.9, "what the discriminator is asked to say of real faces",
            note="below 1 is one-sided label smoothing (Salimans et al. 2016)"),
    Setting("diff_augment",        str, "none", "translation", "none", "how real and generated faces alike are changed for the "
            "discriminator: none, translation or colour, which is both (Zhao et al. 2020)",
            choices=("none", "translation", "colour"), neutral="none"),
    Setting("ema_decay",           float,     0.0,   0.995,     0.0, "what fraction the tested generator, a moving average of "
            "the trained one's weights, keeps at each step", bounds=(0, 0.9999), neutral=0.0,
            note="0 takes the weights as they are"),
)
SAMPLES_EVERY = 5       # epochs between two grids in samples/


def initialise(module):
    """Radford et al., section 4: convolutions from N(0, 0.02); BatchNorm scales around 1 likewise."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def augment(images, settings):
    """The real faces float [N, 3, 64, 64] in [0, 1] of a step, augmented as the settings say."""
    if settings["horizontal_flip"]:
        images = flip_horizontally(images)
    if settings["vertical_flip"]:
        images = flip_vertically(images)
    if settings["brightness_contrast"]:
        images = change_brightness_and_contrast(images, settings["brightness_contrast"])
    return images


def moving_average(generator, decay):
    """A moving average of the generator's weights, whose faces change less from step to step (Yazıcı et al. 2019).

    Returns the averaged model, and the function to call after each step; the first step's weights are where it begins.
    """
    average = get_ema_multi_avg_fn(decay)
    averaged = AveragedModel(generator, multi_avg_fn=average)
    kept, trained = ([value for value in network.state_dict().values() if value.is_floating_point()]
                     for network in (averaged.module, generator))

    def update(is_first):
        if is_first:
            averaged.update_parameters(generator)
        else:       # the other has a counter that would make the host wait for a GPU in each step
            average(kept, trained, None)
    return averaged, update


def dcgan_step(generator, discriminator, generator_optimizer, discriminator_optimizer, real, noise, real_label,
               diff_augment, precision):
    """Goodfellow et al. 2014, algorithm 1: a step of the discriminator, then one of the generator.

    `real` faces [N, 3, 64, 64] in [-1, 1], `noise` [N, 64], `real_label` what the discriminator is to say of real faces,
    `diff_augment` the change of every face, real or generated, before it sees them, `precision` the context of forward passes.
    Returns both losses and the mean score of either kind.
    """
    # the discriminator ascends log D(x) + log(1 - D(G(z))); detach keeps this step's gradient out of the generator
    with precision:
        fake = generator(noise)
        real_score = discriminator(diff_augment(real))
        fake_score = discriminator(diff_augment(fake.detach()))
    discriminator_loss = (binary_cross_entropy(real_score, torch.full_like(real_score, real_label))
                          + binary_cross_entropy(fake_score, torch.zeros_like(fake_score)))
    discriminator_optimizer.zero_grad()
    discriminator_loss.backward()
    discriminator_optimizer.step()

    # the generator ascends log D(G(z)), the non-saturating form of its loss
    with precision:
        score = discriminator(diff_augment(fake))
    generator_loss = binary_cross_entropy(score, torch.ones_like(score))
    generator_optimizer.zero_grad()
    generator_loss.backward(inputs=list(generator.parameters()))        # none for the discriminator's weights
    generator_optimizer.step()
    return discriminator_loss, generator_loss, real_score.mean(), fake_score.mean()


def main():
    settings = read_settings(__package__, "Train the DCGAN of problem 2 on faces.", SETTINGS)
    device = torch.device(settings["device"])
    train = on_device(load_faces(settings["data"], "train", settings["limit"]).images, device)
    test = load_faces(settings["data"], "test", settings["limit"]).images
    batch_size = min(settings["batch_size"], len(train))

    torch.manual_seed(settings["seed"])
    generator = Generator().apply(initialise).to(device, memory_format=torch.channels_last)
    averaged, update_average = moving_average(generator, settings["ema_decay"])
    generator, discriminator = wrap(generator, device), wrap(Discriminator().apply(initialise), device)
    betas = (settings["beta1"], 0.999)
    optimizers = [Adam(network.parameters(), settings[f"{name}_lr"], betas)
                  for name, network in (("generator", generator), ("discriminator", discriminator))]
    schedules = [torch.optim.lr_scheduler.StepLR(optimizer, settings["lr_step"], settings["lr_decay"])
                 for optimizer in optimizers]
    run = Run(settings, settings["epochs"], dict(
        generator=generator, averaged=averaged, discriminator=discriminator, generator_optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1], generator_schedule=schedules[0], discriminator_schedule=schedules[1]))
    if run.finished:
        return

    fixed = torch.Generator().manual_seed(settings["seed"])
    fixed_noise = make_noise(max(32, len(test)), settings["noise"], fixed).to(device)
    # real and generated faces get the same changes, so the generator gains nothing by drawing one itself
    diff_augment = {"none": nn.Identity(), "translation": translate,
                    "colour": lambda images: translate(recolour(images))}[settings["diff_augment"]]
    while run.epoch < run.epochs:
        generator.train()
        discriminator.train()
        losses = Averages()
        order = shuffled_batches(len(train), batch_size, len(train) // batch_size, device)
        for step, indices in enumerate(run.batches(order, losses)):
            real = normalise(augment(to_float(train[indices]), settings))
            noise = share(make_noise(batch_size, settings["noise"], device=device))
            discriminator_loss, generator_loss, real_score, fake_score = dcgan_step(
                generator, discriminator, *optimizers, real, noise, settings["real_label"], diff_augment,
                autocast(device, settings["precision"]))
            update_average(is_first=run.epoch == step == 0)
            losses.add(discriminator_loss=discriminator_loss, generator_loss=generator_loss, real_score=real_score,
                       fake_score=fake_score)
        for schedule in schedules:
            schedule.step()

        if run.writes and ((run.epoch + 1) % SAMPLES_EVERY == 0 or run.epoch + 1 in (1, run.epochs)):
            save_grid(run.folder / "samples" / f"epoch_{run.epoch + 1:03d}.png", generate(averaged, fixed_noise[:32]))
        run.end_epoch(**losses.means())

    if run.writes:
        samples = generate(averaged, fixed_noise[:len(test)])
        save_weights(run.folder / "weights.pt", run.meta(), generator=averaged.module)
        run.finish(diversity=pairwise_diversity(samples), sharpness=sharpness(samples),
                   real_sharpness=sharpness(test / 255), real_diversity=pairwise_diversity(test / 255),
                   train_images=len(train))


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
