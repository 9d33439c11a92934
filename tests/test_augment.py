"""Augmentations: shapes, ranges, and that each does what its name says."""
import pytest
import torch

from common.data.layout import DOMAINS, load_digits
from common.training import augment


@pytest.fixture
def images():
    return torch.rand(64, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_every_domain_is_normalised_to_one_range(sample_data):
    """Domains in different ranges are the commonest cause of an ADDA that stays at chance."""
    for domain in DOMAINS:
        pixels = augment.normalise(augment.to_float(load_digits(sample_data, domain, "train").images))
        assert pixels.dtype == torch.float32 and pixels.shape[1:] == (3, 28, 28)
        assert -1 <= pixels.min() < -0.9 and 0.9 < pixels.max() <= 1


def test_to_float_ends():
    assert augment.to_float(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)).flatten().tolist() == [0, 1]


def test_standardised_images_differ_in_neither_brightness_nor_contrast(images):
    seen = augment.standardise(images)
    assert torch.allclose(seen.mean((1, 2, 3)), torch.zeros(64), atol=1e-5)
    assert torch.allclose(seen.std((1, 2, 3)), torch.ones(64), atol=1e-3)
    pale = images * torch.linspace(0.1, 0.5, 64).view(-1, 1, 1, 1) + 0.4
    assert torch.allclose(augment.standardise(pale), seen, atol=0.02)


def test_an_even_image_is_standardised_to_zeros():
    assert augment.standardise(torch.full((2, 3, 8, 8), 0.7)).abs().max() < 1e-3


@pytest.mark.parametrize("flip, axis", [(augment.flip_horizontally, 3), (augment.flip_vertically, 2)])
def test_flips_turn_about_half(images, flip, axis):
    flipped = flip(images)
    turned = (flipped == images.flip(axis)).flatten(1).all(1)
    assert torch.all(turned | (flipped == images).flatten(1).all(1))
    assert 16 < turned.sum() < 48


def test_brightness_and_contrast_vary_and_stay_in_range(images):
    changed = augment.change_brightness_and_contrast(images, 0.2)
    assert 0 <= changed.min() and changed.max() <= 1
    means = changed.mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert means.std() > 0.05 and 0.75 < means.min() and means.max() < 1.25


def test_contrast_changes_about_the_gray_that_the_eye_sees():
    """Half of each image is blue, half of it a brighter blue: both move away from, or towards, the gray of their luminance."""
    images = torch.zeros(400, 3, 8, 8)
    images[:, 2, :4], images[:, 2, 4:] = 0.4, 0.6
    red, _, blue = augment.change_brightness_and_contrast(images, 0.2).unbind(1)
    dark, bright = blue[:, 0, 0], blue[:, -1, 0]
    spread, level = (bright - dark) / 0.2, (bright + dark) / 2
    # with a factor b of brightness and c of contrast: a spread of bc, a level of 0.114 * 0.5b + (0.5b - 0.114 * 0.5b) * c
    brightness = (level - 0.5 * 0.886 * spread) / (0.5 * 0.114)
    contrast = spread / brightness
    black = (red[:, 0, 0] > 0).float().mean()       # which contrast above 1 leaves black
    for factor in (brightness, contrast):
        assert 0.79 < factor.min() < 0.83 and 1.17 < factor.max() < 1.21 and factor.mean() == pytest.approx(1, abs=0.02)
    assert black == pytest.approx((contrast < 1).float().mean().item())


def test_geometry_of_nothing_changes_nothing(images):
    assert torch.allclose(augment.change_geometry(images, 0, (1, 1), 0), images, atol=1e-5)


def test_geometry_scales_about_the_centre():
    square = torch.zeros(1, 3, 28, 28)
    square[:, :, 7:21, 7:21] = 1
    assert augment.change_geometry(square, 0, (0.5, 0.5), 0).mean() == pytest.approx(square.mean().item() / 4, rel=0.1)


def place_of(images):
    """The middle of what is bright in each image, in shares of its size from the image's middle: across and down, each [N]."""
    weights = images.mean(dim=1) / images.mean(dim=1).sum(dim=(1, 2), keepdim=True)
    axis = (torch.arange(images.shape[-1]) + 0.5) / images.shape[-1] - 0.5
    return (weights.sum(dim=1) * axis).sum(dim=1), (weights.sum(dim=2) * axis).sum(dim=1)


def test_geometry_turns_shifts_and_scales_by_up_to_what_is_said():
    dot = torch.zeros(500, 3, 40, 40)
    dot[:, :, 18:22, 30:34] = 1         # 0.3 of the width to the right of the middle
    across, down = place_of(augment.change_geometry(dot, 30, (1, 1), 0))
    angle = torch.rad2deg(torch.atan2(down, across))
    assert -30.5 < angle.min() < -27 and 27 < angle.max() < 30.5
    assert torch.allclose((across ** 2 + down ** 2).sqrt(), torch.tensor(0.3), atol=0.01)
    across, down = place_of(augment.change_geometry(dot, 0, (1, 1), 0.1))
    for move in (across - 0.3, down):
        assert -0.101 < move.min() < -0.09 and 0.09 < move.max() < 0.101
    assert abs(torch.corrcoef(torch.stack([across, down]))[0, 1]) < 0.3, "in both directions on its own"
    square = torch.zeros(300, 1, 120, 120)
    square[:, :, 30:90, 30:90] = 1
    changed = augment.change_geometry(square, 0, (0.6, torch.full((300, 1), 1.4)), 0)[:, 0]
    wide, high = changed[:, 60].sum(dim=1) / 60, changed[:, :, 60].sum(dim=1) / 60
    for scale in (wide, high):
        assert 0.58 < scale.min() < 0.65 and 1.35 < scale.max() < 1.42
    assert abs(torch.corrcoef(torch.stack([wide, high]))[0, 1]) < 0.3, "width and height on their own"


def test_a_background_is_inverted_where_the_digit_is(images):
    digits = (images[:, :1] > 0.9).float().expand_as(images)
    on_blue = augment.put_on_backgrounds(digits, torch.tensor([0.1, 0.2, 0.9]).view(1, 3, 1, 1).expand_as(images))
    blue, yellow = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ([0.1, 0.2, 0.9], [0.9, 0.8, 0.1]))
    assert torch.allclose(on_blue, torch.where(digits > 0, yellow, blue))


def test_where_a_gray_stroke_ends_is_drawn_for_each_image():
    edge = torch.linspace(0, 1, 28).expand(200, 3, 28, 28)
    widths = augment.put_on_backgrounds(edge, torch.zeros_like(edge))[:, 0, 0].sum(dim=1)
    assert widths.min() < 14 and widths.max() > 24 and widths.unique().numel() > 8


def test_corners_hide_the_digit(images):
    digit_in_the_middle = torch.zeros_like(images)
    digit_in_the_middle[:, :, 8:20, 8:20] = 1
    placed = augment.put_on_backgrounds((images > 0.7).float(), digit_in_the_middle)
    assert torch.equal(placed, (images[:, :1] > 0.7).float().expand_as(images))


def test_permuted_colours_are_the_same_in_another_order(images):
    changed = augment.permute_colours(images)
    assert torch.equal(changed.sort(dim=1).values, images.sort(dim=1).values)
    assert not torch.equal(changed, images)


def test_resize_keeps_the_mean(images):
    small = augment.resize(images, 16)
    assert small.shape == (64, 3, 16, 16)
    assert small.mean() == pytest.approx(images.mean().item(), abs=0.01)
    assert augment.resize(images, 28) is images


def test_what_the_discriminator_is_shown_moves_and_recolours_each_image_and_lets_gradients_through():
    torch.manual_seed(0)
    images = torch.full((50, 3, 64, 64), -0.3)
    images[:, :, 22:44, 22:44] = 0.3                                    # a square on a plain background
    images.requires_grad_()
    changed = augment.translate(augment.recolour(images))
    middle = changed[:, :, 32:33, 32:33]
    contrast = (middle - changed[:, :, 10:11, 10:11]).abs() / 0.6
    assert 0.5 <= contrast.min() < 0.6 and 1.4 < contrast.max() <= 1.5
    square = ((changed - middle).abs() < 1e-5).all(dim=1)
    assert (square.sum(dim=(1, 2)) == 22 * 22).all(), "a shift by whole pixels leaves the square whole"
    top = square.any(dim=2).int().argmax(dim=1)
    assert top.min() == 14 and top.max() == 30, "shifted by up to an eighth of 64 pixels"
    changed.sum().backward()
    assert images.grad[:, :, 32, 32].abs().min() > 0


def test_saturation_and_brightness_of_what_the_discriminator_is_shown():
    images = torch.tensor([-0.3, 0.0, 0.3]).view(1, 3, 1, 1).expand(500, 3, 8, 8)
    changed = augment.recolour(images)
    saturation = (changed[:, 2] - changed[:, 0])[:, 0, 0] / 0.6         # times a contrast of 0.5 to 1.5
    assert 0 <= saturation.min() < 0.05 and 2.5 < saturation.max() <= 3
    brightness = changed.mean(dim=(1, 2, 3))
    assert -0.5 <= brightness.min() < -0.48 and 0.48 < brightness.max() <= 0.5
