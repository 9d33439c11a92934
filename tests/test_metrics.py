"""Metrics of faces: what raises and lowers them, and the command that shows them."""
import shutil
import sys

import pytest
import torch
from torch.nn import functional as F

import hw_faces
from common import metrics
from common.metrics import laplacian_pyramid, sliced_wasserstein


def smooth_images(count, seed):
    """uint8 [count, 3, 64, 64]: random colours that change slowly, as other seeds give them too."""
    corners = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(corners, (64, 64), mode="bicubic").clamp(0, 1) * 255).byte()


@pytest.fixture(scope="module")
def real():
    return smooth_images(80, seed=0)


@pytest.fixture(scope="module")
def floor(real):
    return sliced_wasserstein(smooth_images(80, seed=1), real)


def test_noise_shows_on_the_finest_level_alone(real, floor):
    noise = torch.randn(80, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    noisy = sliced_wasserstein((smooth_images(80, seed=1) + 5 * noise).clamp(0, 255).byte(), real)
    assert noisy["64"][0] > 5 * floor["64"][0]
    assert noisy["16"][0] == pytest.approx(floor["16"][0], rel=0.1)
    assert noisy["mean"][0] == pytest.approx(sum(noisy[level][0] for level in ("64", "32", "16")) / 3)


def test_light_and_dark_images_show_on_the_coarsest_level(real, floor):
    images = smooth_images(80, seed=1) // 2
    images[::2] += 127
    changed = sliced_wasserstein(images, real)
    assert changed["16"][0] > 2 * floor["16"][0] and changed["32"][0] < 1.5 * floor["32"][0]


def test_real_images_are_within_their_own_interval(real, floor):
    again = sliced_wasserstein(smooth_images(80, seed=3), real)
    for level, (mean, half_width) in floor.items():
        assert 0 < half_width < mean and abs(again[level][0] - mean) < 2 * half_width
    assert sliced_wasserstein(smooth_images(80, seed=1), real) == floor, "the same seed gives the same numbers"


def test_fewer_images_and_other_numbers_of_references_do():
    assert sliced_wasserstein(smooth_images(2, 0), smooth_images(5, 1))["mean"][0] > 0


def test_the_pyramid_has_detail_above_and_the_small_image_below():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fine, middle, coarse = laplacian_pyramid(images)
    assert [level.shape[-1] for level in (fine, middle, coarse)] == [64, 32, 16]
    flat = laplacian_pyramid(torch.full((1, 3, 64, 64), 0.3))
    assert flat[0].abs().max() < 1e-6 and torch.allclose(flat[2], torch.full((1, 3, 16, 16), 0.3))


def test_folders_and_weights_in_one_table(sample_data, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "REPEATS", 2)
    monkeypatch.setattr(metrics, "MOST_IMAGES", 20)
    shutil.copytree(sample_data / "face" / "test", tmp_path / "faces")
    words = [str(path) for path in (tmp_path / "faces", weights["p1"], weights["p2"])]
    monkeypatch.setattr(sys, "argv", ["hw_faces.py", *words, "--data", str(sample_data)])
    hw_faces.main()
    header, *rows, note = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[:3]] == words and rows[3].startswith("real test faces")
    faces, vae, generator, floor = (row.replace("real test faces", "real").split()[1:] for row in rows)
    assert faces == floor, "a copy of the test faces has the floor's numbers"
    assert vae[0] == generator[0] == "20" and float(vae[-3]) > float(floor[-3])
    assert "1,200 train faces" in note
