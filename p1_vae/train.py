"""Train the VAE on faces.   python3 -m p1_vae.train --data hw3_data --preset report --run runs/report/p1_vae"""
import torch
from torch.nn import functional as F

from common.cli import run_command
from common.data.grid import save_grid
from common.data.layout import load_faces
from common.training.augment import flip_horizontally, flip_vertically, to_float
from common.training.device import autocast, on_device
from common.training.distributed import wrap
from common.training.run import WHEN_STOPPED, Run
from common.training.settings import Setting, read_settings
from common.training.steps import Adam, Averages, shuffled_batches
from common.training.weights import save_weights
from p1_vae.model import LATENT_SIZE, VAE, encode, image_mse

SETTINGS = (       # why `tuned` differs from `report`, value by value: docs/faces.md
    #        name              kind   report  tuned  sample   meaning and unit
    Setting("epochs",          int,       50,    50,      3, "passes over the training faces"),
    Setting("batch_size",      int,      128,    64,     16, "faces a step", note="not in the report; 128 is the usual choice"),
    Setting("lr",              float,   1e-3,  1e-3,   1e-3, "Adam's learning rate at the start"),
    Setting("lr_step",         int,       15,    15,      5, "epochs between two cuts of the learning rate"),
    Setting("lr_decay",        float,    0.6,   0.6,    0.6, "factor of each cut"),
    Setting("horizontal_flip", bool,    True,  True,   True, "mirror half of the training faces"),
    Setting("vertical_flip",   bool,    True, False,  False, "turn half of the training faces upside down"),
    Setting("kl_weight",       float,    1.0,   0.4,   0.25, "weight of the KL divergence (summed over the latent) against the "
            "squared error (summed over pixels)", note="not in the report; 1 is for a decoder variance of 1/2"),
)
SAMPLES_EVERY = 5       # epochs between two grids in samples/


def vae_loss(reconstruction, images, mu, logvar):
    """The two terms of the negative evidence lower bound (Kingma & Welling 2014, eq. 7 and appendix B).

    Both are sums over one image (pixels and channels, latent dimensions) and means over the batch: the squared error,
    which is -log p(x | z) of a Gaussian decoder up to scale and constant, and KL(q(z | x) || N(0, I)) in nats.
    """
    squared_error = F.mse_loss(reconstruction, images, reduction="sum") / len(images)
    return squared_error, image_kl(mu, logvar).mean()


def image_kl(mu, logvar):
    """KL(N(mu, exp(logvar)) || N(0, I)) of each image in nats: [N], for mu and logvar float [N, 256]."""
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(dim=1)


@torch.no_grad()
def evaluate(vae, images):
    """Means over uint8 images [N, 3, 64, 64]: the squared error per pixel of the reconstructions from the latent mean, on
    [0, 1] (distortion), and the KL divergence in nats (rate)."""
    errors, rates, device = [], [], next(vae.parameters()).device
    for batch in images.split(256):     # all reconstructions at once would take four times the memory of the images
        batch = batch.to(device)
        mu, logvar = encode(vae, batch)
        errors.append(image_mse(vae.decoder(mu), batch))
        rates.append(image_kl(mu, logvar))
    return {"test_mse": torch.cat(errors).mean().item(), "test_kl": torch.cat(rates).mean().item()}


def augment(images, settings):
    """The faces float [N, 3, 64, 64] of a step, half of them mirrored, half upside down, as the settings say."""
    if settings["horizontal_flip"]:
        images = flip_horizontally(images)
    if settings["vertical_flip"]:
        images = flip_vertically(images)
    return images


def main():
    settings = read_settings(__package__, "Train the VAE of problem 1 on faces.", SETTINGS)
    device = torch.device(settings["device"])
    train = on_device(load_faces(settings["data"], "train", settings["limit"]).images, device)
    test = load_faces(settings["data"], "test", settings["limit"]).images
    batch_size = min(settings["batch_size"], len(train))

    torch.manual_seed(settings["seed"])
    vae = wrap(VAE(), device)
    optimizer = Adam(vae.parameters(), settings["lr"])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, settings["lr_step"], settings["lr_decay"])
    fixed_latent = torch.randn(32, LATENT_SIZE, generator=torch.Generator().manual_seed(settings["seed"])).to(device)
    run = Run(settings, settings["epochs"], dict(vae=vae, optimizer=optimizer, schedule=schedule))
    if run.finished:
        return

    while run.epoch < run.epochs:
        vae.train()
        losses = Averages()
        for indices in run.batches(shuffled_batches(len(train), batch_size, len(train) // batch_size, device), losses):
            images = augment(to_float(train[indices]), settings)

            # Kingma & Welling 2014: descend -log p(x | z) + KL(q(z | x) || N(0, I)), with one z from q(z | x) an image
            with autocast(device, settings["precision"]):
                reconstruction, mu, logvar = vae(images)
            squared_error, kl = vae_loss(reconstruction, images, mu, logvar)
            loss = squared_error + settings["kl_weight"] * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.add(reconstruction=squared_error, kl=kl)
        schedule.step()

        if run.writes and ((run.epoch + 1) % SAMPLES_EVERY == 0 or run.epoch + 1 == run.epochs):
            with torch.no_grad():
                save_grid(run.folder / "samples" / f"epoch_{run.epoch + 1:03d}.png", vae.decoder(fixed_latent))
        run.end_epoch(**losses.means(), **evaluate(vae, test))

    if run.writes:
        save_weights(run.folder / "weights.pt", run.meta(), vae=vae)
        tested = run.rows[-1]       # with these weights, at the end of the last epoch
        run.finish(test_mse=tested["test_mse"], test_kl=tested["test_kl"], test_images=len(test), train_images=len(train))


if __name__ == "__main__":
    run_command(main, WHEN_STOPPED)
