"""gpu_checks.py as tests: all of it where there is a GPU; elsewhere, that its checks pass and fail where they should."""
import pytest
import torch

from common.training.device import StreamedImages
from tests import gpu_checks
from tests.gpu_checks import CHECKS

CPU = torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", CHECKS)
def test_on_cuda(name, sample_data, tmp_path):
    CHECKS[name](torch.device("cuda"), sample_data, tmp_path)


@pytest.mark.parametrize("name", [name for name in CHECKS if name.startswith("p4")])
def test_a_check_passes_on_a_cpu(name, sample_data, tmp_path):
    CHECKS[name](CPU, sample_data, tmp_path)


def other_weight(monkeypatch):
    """The second training has another setting."""
    train, calls = gpu_checks.train, []
    monkeypatch.setattr(gpu_checks, "train", lambda *words: calls.append(1) or train(
        *words, "--adversarial-weight", 0.1 * len(calls)))


def other_numbers(monkeypatch):
    """A run that goes on draws other random numbers than it would have."""
    monkeypatch.setattr(torch, "set_rng_state", lambda state: torch.manual_seed(1))


def other_images(monkeypatch):
    """A streamed batch has its images in another order."""
    get = StreamedImages.__getitem__
    monkeypatch.setattr(StreamedImages, "__getitem__", lambda images, indices: get(images, indices.flip(0)))


def finite_losses(monkeypatch):
    monkeypatch.setitem(gpu_checks.DIVERGE, "p4", ("--lr", 1e-3))


@pytest.mark.parametrize("name, fault, message", [
    ("p4: a step is the CPU's", other_weight, "a gradient .* differs by"),
    ("p4: a group of one computes the same", other_weight, "a gradient .* differs by"),
    ("p4: resume is exact", other_numbers, "other weights"),
    ("p4: streamed is resident", other_images, "other weights"),
    ("p4: NaN stops the run", finite_losses, "the run went on"),
])
def test_a_check_notices(name, fault, message, sample_data, tmp_path, monkeypatch):
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=message):
        CHECKS[name](CPU, sample_data, tmp_path)
