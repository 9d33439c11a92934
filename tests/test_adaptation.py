"""What adaptation is made of besides the models: labels of the network's own, schedules, what a run tells without labels."""
import math

import pytest
import torch
from torch.nn import functional as F

import hw_eval
from common.augment import resize, to_float
from common.data import Digits
from common.training import make_schedule
from common.uda import NO_LABEL, PseudoLabels, augment, augment_target, label_target_train

PLAIN = dict(rotation=0.0, shrink=0.0, enlarge=0.0, shift=0.0, inversion=False, blend=0.0)


def logits_of(digit, probability):
    """Logits whose softmax gives `digit` that probability and the others equal shares of the rest."""
    logits = torch.full((10,), math.log((1 - probability) / 9))
    logits[digit] = math.log(probability)
    return logits


def test_an_image_has_no_label_before_it_was_seen():
    labels = PseudoLabels(3, confidence=0.0)
    labels.update(torch.tensor([1]), logits_of(4, 0.9)[None])
    assert labels.look_up(torch.tensor([0, 1, 2])).tolist() == [NO_LABEL, 4, NO_LABEL]


def test_labels_come_from_the_running_mean_of_what_was_said():
    labels = PseudoLabels(1, confidence=0.6)
    first = torch.tensor([0])
    labels.update(first, logits_of(7, 0.8)[None])
    assert labels.look_up(first).item() == 7
    labels.update(first, logits_of(2, 0.8)[None])
    # weights 0.4 * 0.6 and 0.4, that is 0.375 and 0.625: digit 2 has 0.375 * 0.2 / 9 + 0.625 * 0.8 = 0.508, digit 7 0.314
    assert labels.look_up(first).item() == NO_LABEL, "the mean is under the confidence asked for"
    labels.update(first, logits_of(2, 0.8)[None])
    assert labels.look_up(first).item() == 2


def test_images_without_label_add_nothing_to_the_loss():
    logits = torch.stack([logits_of(3, 0.5), logits_of(3, 0.5)])
    given = torch.tensor([3, NO_LABEL])
    assert F.cross_entropy(logits, given, reduction="sum").item() == pytest.approx(math.log(2), rel=1e-5)


def test_a_checkpoint_keeps_the_labels():
    labels, other = PseudoLabels(2, 0.5), PseudoLabels(2, 0.5)
    labels.update(torch.tensor([0]), logits_of(9, 0.9)[None])
    other.load_state_dict(labels.state_dict())
    assert other.look_up(torch.tensor([0, 1])).tolist() == [9, NO_LABEL]


def test_the_target_keeps_its_size_and_colours():
    images = torch.rand(8, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    strong = PLAIN | dict(shrink=0.4, inversion=True, blend=0.8)
    assert torch.equal(augment_target(images, strong), images)
    assert not torch.equal(augment(images, strong, backgrounds=images), images)
    square = torch.zeros(8, 3, 28, 28)
    square[:, :, 8:20, 8:20] = 1
    turned = augment_target(square, strong | dict(rotation=30.0))
    assert not torch.equal(turned, square) and turned.sum().item() == pytest.approx(square.sum().item(), rel=0.02)


def test_gray_digits_alone_are_blended():
    """A coloured digit lies on a background already."""
    coloured = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    digits = torch.cat([coloured, coloured[:, :1].expand_as(coloured)])
    blended = augment(digits, PLAIN | dict(blend=1.0), backgrounds=torch.full_like(digits, 0.25))
    assert torch.equal(blended[:4], digits[:4])
    assert torch.allclose(blended[4:], (digits[4:] - 0.25).abs())


def test_preset_report_changes_no_digit():
    images = torch.rand(4, 3, 28, 28)
    assert torch.equal(augment(images, PLAIN, backgrounds=1 - images), images)
    assert torch.equal(augment_target(images, PLAIN), images)


def test_schedules():
    def rates(kind):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        schedule, seen = make_schedule(optimizer, kind, steps=4), []
        for _ in range(5):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return seen
    assert rates("constant") == [0.5] * 5
    assert rates("cosine") == pytest.approx([0.5, 0.25 * (1 + math.sqrt(0.5)), 0.25, 0.25 * (1 - math.sqrt(0.5)), 0])


def test_what_a_run_says_of_its_target_without_labels(tmp_path):
    bright = to_float(torch.tensor([[0, 255]], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 28, 28))
    images = (bright * 255).to(torch.uint8)
    digits = Digits(images, torch.tensor([0, 0]), ["a,b.png", "c.png"])      # true labels, which must not matter

    def network(batch):      # sure of 1 for bright images, undecided about dark ones
        sure = resize(batch, 1).mean(dim=(1, 2, 3)) > 0
        return torch.where(sure[:, None], 50.0 * F.one_hot(torch.tensor(1), 10), torch.zeros(10))
    entropy = label_target_train(network, digits, torch.device("cpu"), tmp_path)
    assert entropy == pytest.approx(math.log(10) / 2, rel=1e-4)
    assert hw_eval.read_labels(tmp_path / "target_train.csv") == {"a,b.png": 0, "c.png": 1}
