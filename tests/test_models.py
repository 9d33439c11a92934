"""The modules are the report's, line by line, and map what they should to what they should."""
import math
from pathlib import Path

import pytest
import torch

import p1_vae.model
import p2_dcgan.model
import p3_dann.model
import p4_adda.model

# listings/ holds the report's printed trees, without its scanning errors, and with LogSoftmax's dim=None mended to 1
LISTINGS = sorted((Path(__file__).parent / "listings").glob("*.txt"))
MODULES = {"p1_vae": p1_vae.model, "p2_dcgan": p2_dcgan.model, "p3_dann": p3_dann.model, "p4_adda": p4_adda.model}


def test_there_is_a_listing_of_every_printed_module():
    assert [path.stem for path in LISTINGS] == [
        "p1_vae_VAE", "p2_dcgan_Discriminator", "p2_dcgan_Generator", "p3_dann_Classifier", "p3_dann_Discriminator",
        "p3_dann_FeatureExtractor", "p4_adda_Discriminator", "p4_adda_LeNetClassifier", "p4_adda_LeNetEncoder2"]


@pytest.mark.parametrize("path", LISTINGS, ids=lambda path: path.stem)
def test_printed_tree(path):
    problem, name = path.stem.rsplit("_", 1)
    # newer versions of PyTorch than the report's print one more (default) flag of BatchNorm
    printed = str(getattr(MODULES[problem], name)()).replace("affine=True, bias=True", "affine=True")
    assert printed.splitlines() == path.read_text().splitlines()


def test_vae_shapes_and_range():
    reconstruction, mu, logvar = p1_vae.model.VAE()(torch.rand(2, 3, 64, 64))
    assert mu.shape == logvar.shape == (2, 256)
    assert reconstruction.shape == (2, 3, 64, 64)
    assert 0 <= reconstruction.min() and reconstruction.max() <= 1


@torch.no_grad()
def test_vae_draws_its_latent_from_the_encoders_distribution():
    vae = p1_vae.model.VAE()
    vae.decoder = torch.nn.Identity()
    for layer, value in ((vae.encoder.fc_mu, 3.0), (vae.encoder.fc_logvar, 1.6)):
        layer.weight.zero_()
        layer.bias.fill_(value)
    latents, mu, logvar = vae(torch.rand(8, 3, 64, 64))
    assert mu.unique().item() == 3 and logvar.unique().item() == pytest.approx(1.6)
    latents = (latents.flatten() - 3) / math.exp(0.8)       # sigma is the root of the variance
    assert abs(latents.mean()) < 0.1 and latents.std() == pytest.approx(1, abs=0.06)
    assert latents.abs().max() > 2.5 and latents.unique().numel() > 2000


def test_vae_draws_a_new_latent_each_time():
    vae, images = p1_vae.model.VAE(), torch.rand(1, 3, 64, 64)
    assert not torch.equal(vae(images)[0], vae(images)[0])


def test_dcgan_shapes_and_ranges():
    images = p2_dcgan.model.Generator()(torch.rand(2, 64))
    assert images.shape == (2, 3, 64, 64)
    assert images.abs().max() <= 1
    scores = p2_dcgan.model.Discriminator()(images)
    assert scores.shape == (2,)
    assert 0 <= scores.min() and scores.max() <= 1


@pytest.mark.parametrize("size", [28, 16, 9, 40])
def test_dann_takes_digits_of_any_size(size):
    features = p3_dann.model.FeatureExtractor()(torch.rand(2, 3, size, size))
    assert features.shape == (2, 512)
    assert p3_dann.model.Classifier()(features).shape == (2, 10)
    scores = p3_dann.model.Discriminator()(features)
    assert scores.shape == (2,)
    assert 0 <= scores.min() and scores.max() <= 1


def test_adda_shapes():
    features = p4_adda.model.LeNetEncoder2()(torch.rand(2, 3, 28, 28))
    assert features.shape == (2, 500)
    assert p4_adda.model.LeNetClassifier()(features).shape == (2, 10)
    log_probabilities = p4_adda.model.Discriminator()(features)
    assert torch.allclose(log_probabilities.exp().sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("make, shape", [
    (p2_dcgan.model.Discriminator, (4, 3, 64, 64)), (p3_dann.model.Discriminator, (4, 512))])
def test_probabilities_are_float32_under_autocast(make, shape):
    """bfloat16 has no number between 0.996 and 1; a score that rounds to 1 would end the training."""
    with torch.autocast("cpu", torch.bfloat16):
        assert make()(torch.randn(shape)).dtype == torch.float32
