"""What adaptation is made of besides the models: labels of the network's own, schedules, what a run tells without labels."""
import copy
import math

import pytest
import torch
from torch.nn import functional as F

import hw_eval
from common.adaptation import (
    AUGMENTATION,
    NO_LABEL,
    MultilinearMap,
    PseudoLabels,
    absent_digits,
    augment,
    augment_target,
    label_target_train,
)
from common.data.layout import Digits
from common.training.augment import resize, to_float
from common.training.steps import ScheduledAdam, schedule_of

PLAIN = {setting.name: setting.neutral for setting in AUGMENTATION}


def logits_of(digit, probability):
    """Logits whose softmax gives `digit` that probability and the others equal shares of the rest."""
    logits = torch.full((10,), math.log((1 - probability) / 9))
    logits[digit] = math.log(probability)
    return logits


def ten_images(probability):
    """Logits [10, 10] for ten images, each of which is given a digit of its own."""
    return torch.stack([logits_of(digit, probability) for digit in range(10)])


def test_labels_start_from_the_source_network_and_follow_the_running_mean():
    labels, everyone = PseudoLabels(10, confidence=0.6, alignment=True), torch.arange(10)
    labels.start(ten_images(0.8).softmax(dim=1))
    assert labels.look_up(everyone).tolist() == list(range(10))
    turned = ten_images(0.8).flip(0)
    labels.update(everyone, turned)
    # means 0.6 * 0.8 + 0.4 * 0.2 / 9 = 0.489 for the digit before, 0.6 * 0.2 / 9 + 0.4 * 0.8 = 0.333 for the new one
    assert labels.look_up(everyone).tolist() == [NO_LABEL] * 10, "the mean is under the confidence asked for"
    labels.confidence = 0.45
    assert labels.look_up(everyone).tolist() == list(range(10)), "what was said before weighs more"
    labels.confidence = 0.6
    labels.update(everyone, turned)
    labels.update(everyone, turned)
    assert labels.look_up(everyone).tolist() == list(range(9, -1, -1))


def test_a_digit_that_is_rarely_predicted_is_given_its_share():
    """Distribution alignment: probabilities are divided by their means over all target images."""
    labels = PseudoLabels(10, confidence=0.5, alignment=True)
    shares = torch.zeros(10, 10)
    shares[:, 3], shares[:, 8] = 0.9, 0.1
    shares[9, 3], shares[9, 8] = 0.6, 0.4           # of all, this is the likeliest 8
    labels.start(shares)
    # 3 has 0.87 of all, 8 has 0.13: the last is 0.6 / 0.87 = 0.69 to 0.4 / 0.13 = 3.08, the others 1.03 to 0.77
    assert labels.look_up(torch.arange(10)).tolist() == [3] * 9 + [8]
    labels.alignment = False
    assert labels.look_up(torch.arange(10)).tolist() == [3] * 10, "the means as they are"


def test_labels_follow_the_images_that_were_seen_alone():
    labels = PseudoLabels(10, confidence=0.3, alignment=True)
    labels.start(ten_images(0.8).softmax(dim=1))
    before = labels.means.clone()
    labels.update(torch.tensor([7, 2]), torch.stack([logits_of(1, 0.9), logits_of(5, 0.9)]))
    for image, digit in ((7, 1), (2, 5)):
        expected = 0.6 * before[image] + 0.4 * logits_of(digit, 0.9).softmax(dim=0)
        assert torch.allclose(labels.means[image], expected)
    assert torch.equal(labels.means[[0, 1, 3, 4, 5, 6, 8, 9]], before[[0, 1, 3, 4, 5, 6, 8, 9]])


def test_a_discriminator_compares_the_domains_digit_by_digit():
    """Long et al. 2018, equation 6: (R f) * (S p) / sqrt(D), with R and S from N(0, 1)."""
    torch.manual_seed(0)
    together = MultilinearMap(400)
    for fixed in (together.of_features, together.of_predictions):
        assert abs(fixed.mean()) < 0.05 and fixed.std() == pytest.approx(1, rel=0.03)
    features, logits = torch.randn(6, 400, requires_grad=True), torch.randn(6, 10, requires_grad=True)
    seen = together(features, logits)
    of_features = torch.einsum("nd,de->ne", features, together.of_features)
    of_predictions = torch.einsum("nc,ce->ne", F.softmax(logits, dim=1), together.of_predictions)
    assert torch.allclose(seen, of_features * of_predictions / math.sqrt(400), rtol=1e-3, atol=1e-4)
    seen.square().sum().backward()
    assert features.grad.abs().max() > 0 and logits.grad is None, "no gradient to the predictions"
    assert not list(together.parameters()) and set(together.state_dict()) == {"of_features", "of_predictions"}


def test_digits_that_a_split_lacks():
    assert absent_digits(torch.tensor([9, 0, 1, 3, 4, 5, 6, 7, 0])) == [2, 8] and absent_digits(torch.arange(10)) == []


def test_before_the_first_prediction_no_image_has_a_label():
    assert PseudoLabels(3, confidence=0.6, alignment=True).look_up(torch.arange(3)).tolist() == [NO_LABEL] * 3


def test_images_without_label_add_nothing_to_the_loss():
    logits = torch.stack([logits_of(3, 0.5), logits_of(3, 0.5)])
    given = torch.tensor([3, NO_LABEL])
    assert F.cross_entropy(logits, given, reduction="sum").item() == pytest.approx(math.log(2), rel=1e-5)


def test_a_checkpoint_keeps_the_labels():
    labels, other = (PseudoLabels(10, 0.5, alignment=True) for _ in range(2))
    labels.start(ten_images(0.9).softmax(dim=1))
    other.load_state_dict(labels.state_dict())
    assert other.look_up(torch.tensor([9, 4])).tolist() == [9, 4]


def test_what_is_done_to_the_source_alone_leaves_the_target_as_it_is():
    images = torch.rand(8, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    of_source = PLAIN | dict(shrink=0.4, enlarge=0.4, inversion=True, permute_colours=True, backgrounds=1.0)
    assert torch.equal(augment_target(images, of_source), images)
    assert not torch.equal(augment(images, of_source, backgrounds=images), images)


def test_the_target_is_turned_and_shifted():
    square = torch.zeros(200, 3, 28, 28)
    square[:, :, 8:20, 8:20] = 1
    turned = augment_target(square, PLAIN | dict(rotation=30.0))
    assert not torch.equal(turned, square) and turned.sum().item() == pytest.approx(square.sum().item(), rel=0.02)
    shifted = augment_target(square, PLAIN | dict(shift=0.2))
    assert not torch.equal(shifted, square) and shifted.sum().item() == pytest.approx(square.sum().item(), rel=0.02)


def test_gray_digits_alone_are_put_on_backgrounds():
    """A coloured digit lies on a background already."""
    coloured = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    digits = torch.cat([coloured, coloured[:, :1].expand_as(coloured)])
    placed = augment(digits, PLAIN | dict(backgrounds=1.0), backgrounds=torch.full_like(digits, 0.25))
    assert torch.equal(placed[:4], digits[:4])
    # 0.25, or its negative where the digit is
    assert set(placed[4:].flatten().tolist()) == {0.25, 0.75}


def test_coloured_digits_alone_are_enlarged():
    coloured = torch.rand(8, 3, 28, 28)
    gray = coloured[:, :1].expand(-1, 3, -1, -1)
    changed = augment(torch.cat([gray, coloured]), PLAIN | {"enlarge": 0.9})
    assert torch.allclose(changed[:8], gray, atol=1e-5)
    assert all((one - other).abs().max() > 0.1 for one, other in zip(changed[8:], coloured))


def test_half_of_the_coloured_digits_become_negatives():
    coloured = torch.rand(200, 3, 8, 8)
    gray = coloured[:, :1].expand(-1, 3, -1, -1)
    changed = augment(torch.cat([gray, coloured]), PLAIN | {"inversion": True})
    assert torch.equal(changed[:200], gray)
    assert 60 < (changed[200:] == 1 - coloured).flatten(1).all(dim=1).sum() < 140


@pytest.mark.parametrize("change, least, most", [("shrink", 0.6, 1.0), ("enlarge", 1.0, 1.4)])
def test_a_source_digit_is_shrunk_or_enlarged_by_up_to_the_share(change, least, most):
    square = torch.zeros(300, 3, 120, 120)
    square[:, 0, 30:90, 30:90] = 1      # red, as gray ones are not enlarged
    wide = augment(square, PLAIN | {change: 0.4})[:, 0, 60].sum(dim=1) / 60
    assert least - 0.02 < wide.min() < least + 0.05 and most - 0.05 < wide.max() < most + 0.02


def test_the_share_of_digits_on_backgrounds():
    gray = torch.rand(400, 1, 8, 8).expand(-1, 3, -1, -1)
    placed = augment(gray, PLAIN | {"backgrounds": 0.2}, backgrounds=torch.rand(400, 3, 8, 8))
    assert 50 < (placed != gray).flatten(1).any(dim=1).sum() < 110


def test_preset_report_changes_no_digit():
    images = torch.rand(4, 3, 28, 28)
    assert torch.equal(augment(images, PLAIN, backgrounds=1 - images), images)
    assert torch.equal(augment_target(images, PLAIN), images)


def test_schedules():
    assert schedule_of("constant", 3).tolist() == [1, 1, 1]
    assert schedule_of("cosine", 4).tolist() == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])
    for steps in (1, 2, 10, 20, 21, 40):
        few = schedule_of("one-cycle", steps)
        assert len(few) == steps and 0 < few.min() and few.max() <= 1, "a short run has one, too"
    cycle = schedule_of("one-cycle", 100).tolist()
    assert cycle[0] == pytest.approx(1 / 25) and cycle[5] == 1 and cycle[99] < 1e-3
    assert cycle[:6] == sorted(cycle[:6]) and cycle[5:] == sorted(cycle[5:], reverse=True)


def test_schedules_are_pytorchs():
    """Its cycle rises one step earlier, as its first step is its lowest rate and its last one 0."""
    schedulers = torch.optim.lr_scheduler
    make = {"cosine": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 1000),
            "one-cycle": lambda optimizer: schedulers.OneCycleLR(optimizer, 1.0, 1000, pct_start=0.05, cycle_momentum=False)}
    for kind in make:
        theirs, optimizer = [], torch.optim.SGD([torch.zeros(1)], lr=1.0)
        schedule = make[kind](optimizer)
        for _ in range(1000):
            theirs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert schedule_of(kind, 1000).tolist() == pytest.approx(theirs, abs={"cosine": 1e-9, "one-cycle": 0.04}[kind])


def test_scheduled_adam_takes_each_step_at_its_rate_and_goes_on():
    """Adam's first steps down a constant gradient are as long as the learning rate."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = ScheduledAdam([weight], 0.5, "cosine", 4)
    for before in (0, 0.5):
        assert weight.item() == pytest.approx(-before)
        optimizer.descend(weight.sum())
    assert weight.item() == pytest.approx(-0.5 - 0.5 * schedule_of("cosine", 4)[1].item()) and optimizer.steps_done == 2
    other = torch.tensor([weight.item()], requires_grad=True)
    later = ScheduledAdam([other], 0.5, "cosine", 4)
    later.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, parameter in ((optimizer, weight), (later, other)):
        one.descend(parameter.sum())
    assert weight.item() == other.item() and later.steps_done == 3


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
