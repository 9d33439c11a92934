"""What is read from the VAE's latent: probes, paths between faces, attributes as directions, rate and distortion."""
import json

import pytest
import torch

from common.data.layout import ATTRIBUTES, load_faces
from common.training.weights import load_weights
from p1_vae.latent import direction, interpolate, probe
from p1_vae.model import VAE, decode, encode, image_mse


def test_a_probe_finds_what_the_latent_holds_and_nothing_else():
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(600, 256, generator=random)
    attributes = (torch.rand(600, 13, generator=random) < 0.3).to(torch.uint8)
    attributes[:, 0] = latents[:, 5] > 0        # the first is in the latent, the last is on all faces
    attributes[:, -1] = 1
    rows = probe(latents[:400], attributes[:400], latents[400:], attributes[400:])
    held, chance = rows[ATTRIBUTES[0]], rows[ATTRIBUTES[1]]
    assert list(rows) == list(ATTRIBUTES) and rows[ATTRIBUTES[-1]] is None
    assert held["auc"] > 0.8 and held["accuracy"] > held["majority"] + 0.2
    assert 0.35 < chance["auc"] < 0.65
    assert chance["majority"] == pytest.approx(1 - attributes[400:, 1].double().mean().item())


def test_a_probe_is_fitted_on_the_training_faces_alone():
    """On test faces whose marks are the other way round it is wrong."""
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(300, 20, generator=random)
    marks = (latents[:, 3:4] > 0).to(torch.uint8).expand(-1, 13)
    row = probe(latents[:200], marks[:200], latents[200:], 1 - marks[200:])[ATTRIBUTES[0]]
    assert row["auc"] < 0.1 and row["accuracy"] < 0.2


def test_a_path_between_two_faces_keeps_its_distance_from_the_origin():
    first, second = torch.zeros(256), torch.zeros(256)
    first[0], second[1] = 2.0, 4.0
    path = interpolate(first, second, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(path[0], first) and torch.equal(path[2], second)
    assert path[1].norm() == pytest.approx(3.0), "the straight line's middle is at 2.2"
    assert interpolate(first, first, torch.tensor([0.5]))[0] == pytest.approx(first)


def test_a_direction_leads_from_faces_without_to_those_with():
    latents, marks = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 0.0]]), torch.tensor([0, 0, 1])
    assert direction(latents, marks).tolist() == [3.0, -1.0]


def test_summary_has_rate_and_distortion_of_its_weights(train, sample_data, tmp_path):
    summary = json.loads((train("p1_vae", tmp_path / "run", "--epochs", "1") / "summary.json").read_text())
    vae = VAE()
    load_weights(tmp_path / "run" / "weights.pt", vae=vae)
    images = load_faces(sample_data, "test", 40).images
    mu, logvar = encode(vae, images)
    assert summary["test_mse"] == pytest.approx(image_mse(decode(vae, mu), images).mean().item(), rel=1e-4)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).sum(dim=1).mean()
    assert summary["test_kl"] == pytest.approx(kl.item(), rel=1e-4)
