"""Metrics of faces: what raises and lowers them, and the command that shows them."""
import math
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

import hw_faces
from common.metrics import faces as metrics
from common.metrics.faces import laplacian_pyramid, sliced_wasserstein
from common.metrics.fid import find_inception
from tests.conftest import REPOSITORY


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


def test_the_distance_of_two_known_sets_of_colours(monkeypatch):
    """Even gray images, black and white, against all grays: on the smallest level all pixels of a patch are alike, z.

    Standardised, z is -1 or 1 in one set, and even over ±sqrt(3) in the other; their Wasserstein distance is the mean of
    |1 - sqrt(3) t| for t from 0 to 1, which is 2.5 / sqrt(3) - 1. The numbers of a random direction of length 1 sum to
    N(0, 1), so a patch's projection is z times that, whose mean size is sqrt(2 / pi).
    """
    monkeypatch.setattr(metrics, "REPEATS", 4)
    two = torch.tensor([0, 255]).repeat(100)
    every = torch.linspace(0, 255, 200).round()
    one, other = (level.byte().view(-1, 1, 1, 1).expand(-1, 3, 64, 64).contiguous() for level in (two, every))
    expected = 1000 * math.sqrt(2 / math.pi) * (2.5 / math.sqrt(3) - 1)
    assert sliced_wasserstein(one, other)["16"][0] == pytest.approx(expected, rel=0.1)


def test_fewer_images_and_other_numbers_of_references_do():
    assert sliced_wasserstein(smooth_images(2, 0), smooth_images(5, 1))["mean"][0] > 0


def test_the_pyramid_has_detail_above_and_the_small_image_below():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fine, middle, coarse = laplacian_pyramid(images)
    assert [level.shape[-1] for level in (fine, middle, coarse)] == [64, 32, 16]
    flat = laplacian_pyramid(torch.full((1, 3, 64, 64), 0.3))
    assert flat[0].abs().max() < 1e-6 and torch.allclose(flat[2], torch.full((1, 3, 16, 16), 0.3))


@pytest.fixture
def inception():
    """find_inception, which looks once a process, before and after this test's looking."""
    find_inception.cache_clear()
    yield find_inception
    find_inception.cache_clear()


def test_without_torch_fidelity_it_says_what_to_install(inception, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    assert inception() is None and inception() is None
    assert capsys.readouterr().out == ("No FID: the package torch-fidelity is not installed; "
                                       f"{sys.executable} -m pip install -r {REPOSITORY}/requirements-metrics.txt\n")


def test_weights_that_cannot_be_fetched_may_be_put_there_by_hand(inception, monkeypatch, tmp_path, capsys):
    address = "http://127.0.0.1:9/inception.pth"        # where nobody listens
    monkeypatch.setitem(sys.modules, "torch_fidelity", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", SimpleNamespace(URL_INCEPTION_V3=address))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    place = tmp_path / "checkpoints" / "inception.pth"
    assert inception() is None
    line, = capsys.readouterr().out.splitlines()
    assert line.startswith(f"No FID: {address} cannot be fetched") and line.endswith(f"put that file by hand at {place}")
    place.write_bytes(b"")
    inception.cache_clear()
    assert inception() == place


def test_folders_and_weights_in_one_table(inception, sample_data, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    monkeypatch.setattr(metrics, "REPEATS", 2)
    monkeypatch.setattr(metrics, "MOST_IMAGES", 20)
    shutil.copytree(sample_data / "face" / "test", tmp_path / "faces")
    words = [str(path) for path in (tmp_path / "faces", weights["p1"], weights["p2"])]
    monkeypatch.setattr(sys, "argv", ["hw_faces.py", *words, "--data", str(sample_data)])
    hw_faces.main()
    no_fid, header, *rows, note = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[:3]] == words and rows[3].startswith("real test faces")
    faces, vae, generator, floor = (row.replace("real test faces", "real").split()[1:] for row in rows)
    assert faces == floor, "a copy of the test faces has the floor's numbers"
    assert vae[0] == generator[0] == "20" and float(vae[-4]) > float(floor[-4])
    assert "1,200 train faces" in note and faces[-1] == "–" and no_fid.startswith("No FID: the package torch-fidelity")
