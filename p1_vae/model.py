"""The VAE of the report: 64x64 RGB faces, a 256-dimensional Gaussian latent.

Kingma & Welling, Auto-Encoding Variational Bayes, 2014 (https://arxiv.org/abs/1312.6114).
"""
import torch
from torch import nn

from common.training.augment import to_float
from common.training.distributed import share, whole
from common.training.weights import demand_finite

LATENT_SIZE = 256


class Encoder(nn.Module):
    """q(z | x): images float [N, 3, 64, 64] in [0, 1] -> mean and log-variance, each float [N, 256]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=4, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 128, kernel_size=4, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(128, 256, kernel_size=4, stride=2, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(256, 64, kernel_size=4, stride=2, padding=1)
        self.relu4 = nn.ReLU()
        self.fc_mu = nn.Linear(1024, LATENT_SIZE)
        self.fc_logvar = nn.Linear(1024, LATENT_SIZE)

    def forward(self, images):
        hidden = self.relu1(self.conv1(images))
        hidden = self.relu2(self.conv2(hidden))
        hidden = self.relu3(self.conv3(hidden))
        hidden = self.relu4(self.conv4(hidden)).flatten(start_dim=1)
        # float32, because the loss takes exp(logvar)
        return self.fc_mu(hidden).float(), self.fc_logvar(hidden).float()


class Decoder(nn.Module):
    """p(x | z): latent float [N, 256] -> images float32 [N, 3, 64, 64] in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(LATENT_SIZE, 512, kernel_size=4),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(512, 128, kernel_size=4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(128, 32, kernel_size=4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 16, kernel_size=4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(16, 3, kernel_size=4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, latent):
        logits = self.main[:-1](latent[:, :, None, None])
        return self.main[-1](logits.float())


class VAE(nn.Module):
    """images float [N, 3, 64, 64] in [0, 1] -> (reconstructions float32 in [0, 1], mu and logvar float32 [N, 256])."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, images):
        mu, logvar = self.encoder(images)
        # the reparameterisation trick (eq. 10 of the paper): z = mu + sigma * eps, eps ~ N(0, I)
        eps = share(torch.randn(whole(len(mu)), LATENT_SIZE, device=mu.device))
        latent = mu + torch.exp(0.5 * logvar) * eps
        return self.decoder(latent), mu, logvar


# ---- in use, once it is trained -----------------------------------------------------------------------------------------

@torch.no_grad()
def encode(vae, images, batch_size=256):
    """uint8 [N, 3, 64, 64] -> mu and logvar of the latent, each float32 [N, 256], on the VAE's device (eval mode)."""
    vae.eval()
    device = next(vae.parameters()).device
    mu, logvar = zip(*(vae.encoder(to_float(batch.to(device))) for batch in images.split(batch_size)))
    return torch.cat(mu), torch.cat(logvar)


@torch.no_grad()
def decode(vae, latents, batch_size=256):
    """Latents float [N, 256] on the VAE's device -> images float32 [N, 3, 64, 64] in [0, 1], on the CPU (eval mode).

    Raises UserError if they are not finite.
    """
    vae.eval()
    return demand_finite(torch.cat([vae.decoder(batch).cpu() for batch in latents.split(batch_size)]))


def image_mse(reconstructions, images):
    """Mean squared error of each image on [0, 1] pixels: float32 [N], for uint8 images [N, 3, 64, 64]."""
    return (reconstructions - images / 255).square().mean(dim=(1, 2, 3))
