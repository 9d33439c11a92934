"""The DCGAN of the report: 64-dimensional noise, 64x64 RGB faces in [-1, 1].

Radford, Metz & Chintala, Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks,
2016 (https://arxiv.org/abs/1511.06434).
"""
import torch
from torch import nn

from common.training.weights import demand_finite

NOISE_SIZE = 64


class Generator(nn.Module):
    """noise float [N, 64] -> images float32 [N, 3, 64, 64] in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(NOISE_SIZE, 512, kernel_size=4, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(512, 256, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(256, 128, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(128, 64, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(64, 3, kernel_size=4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise):
        return self.main(noise[:, :, None, None]).float()


class Discriminator(nn.Module):
    """images float [N, 3, 64, 64] in [-1, 1] -> probability of being real, float32 [N] in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(64, 128, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(128),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(128, 256, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(256, 512, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(512, 1, kernel_size=4, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, images):
        logits = self.main[:-1](images).flatten()
        # in float32: bfloat16 would round a confident probability to 1, whose log-loss has no gradient
        return self.main[-1](logits.float())


# ---- in use, once it is trained -----------------------------------------------------------------------------------------

def make_noise(count, distribution, generator=None, device="cpu"):
    """Noise for `count` images, float32 [count, 64], from U(-1, 1) ("uniform") or N(0, 1) ("gaussian")."""
    if distribution == "gaussian":
        return torch.randn(count, NOISE_SIZE, generator=generator, device=device)
    return torch.rand(count, NOISE_SIZE, generator=generator, device=device) * 2 - 1


@torch.no_grad()
def generate(generator, noise, batch_size=256):
    """Faces float32 [N, 3, 64, 64] in [0, 1], on the CPU, for noise [N, 64] on the generator's device (eval mode).

    Raises UserError if they are not finite.
    """
    generator.eval()
    return demand_finite(torch.cat([(generator(batch).cpu() + 1) / 2 for batch in noise.split(batch_size)]))
