"""Train the DCGAN on faces.   python3 -m p2_dcgan.train --data hw3_data --preset report --run runs/report/p2_dcgan"""
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.cli import run_command
from common.data.grid import save_grid
from common.data.layout import load_faces
from common.metrics.faces import pairwise_diversity, sharpness
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
from common.training.settings import read_settings
from common.training.steps import Averages, binary_cross_entropy, shuffled_batches
from common.training.weights import save_weights
from p2_dcgan.model import NOISE_SIZE, Discriminator, Generator

SETTINGS = (
    # name             report    tuned   sample   meaning, unit, source where the report is silent
    ("epochs",            100,     100,       2, "passes over the training faces"),
    ("batch_size",        128,      64,      16, "real (and as many generated) faces a step; 128 as in Radford et al."),
    ("generator_lr",     1e-3,    2e-4,    5e-4, "Adam's learning rate for the generator at the start; 2e-4 in Radford et al."),
    ("discriminator_lr", 1e-3,    2e-4,    5e-4, "Adam's learning rate for the discriminator at the start"),
    ("beta1",             0.5,     0.5,     0.5, "Adam's first momentum; not in the report, 0.5 in Radford et al.", (0, 0.999)),
    ("lr_step",            15,      30,      15, "epochs between two cuts of the learning rate"),
    ("lr_decay",          0.6,     0.6,     0.6, "factor of each cut"),
    ("noise",       "uniform", "uniform", "uniform", "distribution of the noise: U(-1, 1) or N(0, 1)", ("uniform", "gaussian")),
    ("horizontal_flip",  True,    True,    True, "mirror half of the training faces"),
    ("vertical_flip",    True,   False,   False, "turn half of the training faces upside down"),
    ("brightness_contrast", 0.2,   0.0,     0.0, "random brightness and contrast of the training faces: up to this share"),
    ("real_label",        1.0,     0.9,     0.9, "what the discriminator is asked to say of real faces; below 1 is "
                                                 "one-sided label smoothing (Salimans et al. 2016)"),
    ("diff_augment",   "none", "translation", "none", "how real and generated faces alike are changed for the discriminator: "
                                                 "none, translation or colour, which is both (Zhao et al. 2020)",
                                                 ("none", "translation", "colour")),
    ("ema_decay",         0.0,   0.995,     0.0, "share that the tested generator, a moving average of the trained one's "
                                                 "weights, keeps at each step; 0 takes the weights as they are", (0, 0.9999)),
)
SAMPLES_EVERY = 5       # epochs between two grids in samples/


def make_noise(count, distribution, generator=None, device="cpu"):
    """Noise for `count` images, float32 [count, 64], from U(-1, 1) ("uniform") or N(0, 1) ("gaussian")."""
    if distribution == "gaussian":
        return torch.randn(count, NOISE_SIZE, generator=generator, device=device)
    return torch.rand(count, NOISE_SIZE, generator=generator, device=device) * 2 - 1


def initialise(module):
    """Radford et al., section 4: convolutions from N(0, 0.02); BatchNorm scales around 1 likewise."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


@torch.no_grad()
def generate(generator, noise, batch_size=256):
    """Faces float32 [N, 3, 64, 64] in [0, 1], on the CPU, for noise [N, 64] on the generator's device (eval mode)."""
    generator.eval()
    return torch.cat([(generator(batch).cpu() + 1) / 2 for batch in noise.split(batch_size)])


def main():
    settings = read_settings(__package__, "Train the DCGAN of problem 2 on faces.", SETTINGS)
    device = torch.device(settings["device"])
    train = on_device(load_faces(settings["data"], "train", settings["limit"]).images, device)
    test = load_faces(settings["data"], "test", settings["limit"]).images

    torch.manual_seed(settings["seed"])
    generator = Generator().apply(initialise).to(device, memory_format=torch.channels_last)
    discriminator = Discriminator().apply(initialise).to(device, memory_format=torch.channels_last)
    betas = (settings["beta1"], 0.999)
    generator_optimizer = torch.optim.Adam(generator.parameters(), settings["generator_lr"], betas, fused=True)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), settings["discriminator_lr"], betas, fused=True)
    schedules = [torch.optim.lr_scheduler.StepLR(optimizer, settings["lr_step"], settings["lr_decay"])
                 for optimizer in (generator_optimizer, discriminator_optimizer)]
    # its faces change less from step to step than those of the generator under training (Yazıcı et al. 2019)
    move_average = get_ema_multi_avg_fn(settings["ema_decay"])
    averaged = AveragedModel(generator, multi_avg_fn=move_average, use_buffers=True)
    kept, trained = ([value for value in network.state_dict().values() if value.is_floating_point()]
                     for network in (averaged.module, generator))
    generator, discriminator = wrap(generator), wrap(discriminator)
    run = Run(settings, settings["epochs"], dict(
        generator=generator, averaged=averaged, discriminator=discriminator, generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer, generator_schedule=schedules[0],
        discriminator_schedule=schedules[1]))

    fixed = torch.Generator().manual_seed(settings["seed"])
    fixed_noise = make_noise(max(32, len(test)), settings["noise"], fixed).to(device)
    batch_size = min(settings["batch_size"], len(train))
    ones, zeros = share(torch.ones(batch_size, device=device)), share(torch.zeros(batch_size, device=device))
    real_target = settings["real_label"] * ones

    # the generator's faces are changed as the real ones are, so that it gains nothing by drawing a change itself
    show = {"none": nn.Identity(), "translation": translate,
            "colour": lambda images: translate(recolour(images))}[settings["diff_augment"]]
    while run.epoch < run.epochs and not run.finished:
        generator.train()
        discriminator.train()
        losses = Averages()
        order = shuffled_batches(len(train), batch_size, len(train) // batch_size, device)
        for step, indices in enumerate(run.batches(order, losses)):
            images = to_float(train[indices])
            if settings["horizontal_flip"]:
                images = flip_horizontally(images)
            if settings["vertical_flip"]:
                images = flip_vertically(images)
            if settings["brightness_contrast"]:
                images = change_brightness_and_contrast(images, settings["brightness_contrast"])
            real = normalise(images)

            # Goodfellow et al. 2014, algorithm 1. The discriminator ascends log D(x) + log(1 - D(G(z))); detach keeps
            # this step's gradient out of the generator
            with autocast(device, settings["precision"]):
                fake = generator(share(make_noise(batch_size, settings["noise"], device=device)))
                real_score = discriminator(show(real))
                fake_score = discriminator(show(fake.detach()))
            discriminator_loss = binary_cross_entropy(real_score, real_target) + binary_cross_entropy(fake_score, zeros)
            discriminator_optimizer.zero_grad()
            discriminator_loss.backward()
            discriminator_optimizer.step()

            # the generator ascends log D(G(z)), the non-saturating form of its loss
            with autocast(device, settings["precision"]):
                score = discriminator(show(fake))
            generator_loss = binary_cross_entropy(score, ones)
            generator_optimizer.zero_grad()
            generator_loss.backward(inputs=list(generator.parameters()))        # none for the discriminator's weights
            generator_optimizer.step()
            if run.epoch or step:       # not by update_parameters, whose counter makes the host wait for a GPU in each step
                move_average(kept, trained, None)
            else:
                averaged.update_parameters(generator)

            losses.add(discriminator_loss=discriminator_loss, generator_loss=generator_loss,
                       real_score=real_score.mean(), fake_score=fake_score.mean())
        for schedule in schedules:
            schedule.step()

        if run.writes and ((run.epoch + 1) % SAMPLES_EVERY == 0 or run.epoch + 1 in (1, run.epochs)):
            save_grid(run.folder / "samples" / f"epoch_{run.epoch + 1:03d}.png", generate(averaged, fixed_noise[:32]))
        run.end_epoch(**losses.means())

    if run.writes and not run.finished:
        samples = generate(averaged, fixed_noise[:len(test)])
        save_weights(run.folder / "weights.pt", run.meta(), generator=averaged.module)
        run.finish(sharpness=sharpness(samples), diversity=pairwise_diversity(samples),
                   real_sharpness=sharpness(test / 255), real_diversity=pairwise_diversity(test / 255),
                   train_images=len(train))


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
