"""Losses and layers against values worked out by hand."""
import math

import pytest
import torch

from common.metrics.faces import pairwise_diversity, sharpness
from p1_vae.model import image_mse
from p1_vae.train import vae_loss
from p2_dcgan.model import make_noise
from p3_dann.train import ReverseGradient, reversal_weight


def test_vae_loss_by_hand():
    images = torch.zeros(2, 3, 64, 64)
    reconstruction = torch.full_like(images, 0.5)
    mu, logvar = torch.zeros(2, 256), torch.zeros(2, 256)
    mu[0, 0], logvar[1, 3] = 2.0, math.log(4)
    squared_error, kl = vae_loss(reconstruction, images, mu, logvar)
    assert squared_error == pytest.approx(0.25 * 3 * 64 * 64)           # 0.25 a value, summed over the image
    # KL(N(2, 1) || N(0, 1)) = 2; KL(N(0, 4) || N(0, 1)) = (4 - 1 - log 4) / 2; the mean of both images
    assert kl == pytest.approx((2 + (3 - math.log(4)) / 2) / 2)


def test_kl_against_torch_distributions():
    mu, logvar = torch.randn(5, 256), torch.randn(5, 256)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).sum(dim=1).mean()
    _, kl = vae_loss(torch.zeros(5, 3, 2, 2), torch.zeros(5, 3, 2, 2), mu, logvar)
    assert kl == pytest.approx(expected.item(), rel=1e-5)


def test_image_mse_is_per_image_on_unit_pixels():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    errors = image_mse(torch.full((2, 3, 4, 4), 0.25), images)
    assert errors.tolist() == pytest.approx([0.0625, 0.5625])


def test_gradient_reversal_sign_and_scale():
    features = torch.tensor([[1.0, -2.0]], requires_grad=True)
    reversed_ = ReverseGradient.apply(features, 0.3)
    assert torch.equal(reversed_, features)
    (reversed_ * torch.tensor([[5.0, 7.0]])).sum().backward()
    assert features.grad.tolist() == [pytest.approx([-1.5, -2.1])]


def test_reversal_weight_follows_the_paper():
    begin, tenth, end = reversal_weight(torch.tensor([0, 0.1, 1])).tolist()
    assert begin == 0 and tenth == pytest.approx(2 / (1 + math.exp(-1)) - 1) and end == pytest.approx(1, abs=1e-4)


def test_noise_distributions():
    uniform, gaussian = make_noise(2000, "uniform"), make_noise(2000, "gaussian")
    assert uniform.shape == gaussian.shape == (2000, 64)
    assert uniform.abs().max() <= 1 and uniform.std() == pytest.approx(1 / math.sqrt(3), rel=0.02)
    assert gaussian.abs().max() > 3 and gaussian.std() == pytest.approx(1, rel=0.02)


def test_diversity_by_hand():
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8), torch.ones(3, 8, 8)])
    assert pairwise_diversity(images) == pytest.approx(2 / 3)            # of three pairs, two differ by 1 everywhere
    assert pairwise_diversity(images[1:]) == 0


def test_blur_lowers_sharpness():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert sharpness(torch.nn.functional.avg_pool2d(images, 3, 1)) < 0.2 * sharpness(images)
    assert sharpness(torch.full((2, 3, 8, 8), 0.5)) == pytest.approx(0, abs=1e-10)
