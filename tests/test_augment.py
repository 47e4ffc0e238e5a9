"""Augmentation: each change, its bounds, and that it depends only on its generator."""

import pytest
import torch
from torch import Tensor

from vaekit.core.errors import ConfigError, DataError
from vaekit.core.rng import generator
from vaekit.data import Augmentation, augmenter, compose, sample_binary
from vaekit.experiment.prepare import load_splits
from vaekit.runs.recipe import load_recipe

SHAPES = [(1, 9, 9), (3, 12, 8)]


def noise(num: int, *shape: int) -> Tensor:
    return torch.randint(0, 256, (num, *shape), dtype=torch.uint8)


def augment(x: Tensor, seed: int = 0, background: str = "white", **options: float) -> Tensor:
    channels, height, width = x.shape[1:]
    return augmenter(Augmentation(**options), (channels, height, width), background)(x, generator(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_unchanged_by_default(shape: tuple[int, int, int]) -> None:
    x = noise(5, *shape)
    assert torch.equal(augment(x), x)


@pytest.mark.parametrize("shape", SHAPES)
def test_flips_with_probability_one_mirror_every_image(shape: tuple[int, int, int]) -> None:
    x = noise(5, *shape)
    assert torch.equal(augment(x, flip=1.0), x.flip(-1))
    assert torch.equal(augment(x, vertical_flip=1.0), x.flip(-2))


def test_half_of_the_images_are_flipped() -> None:
    x = noise(1, 1, 4, 4).expand(2000, -1, -1, -1)
    flipped = (augment(x, flip=0.5) == x.flip(-1)).flatten(1).all(1)
    kept = (augment(x, flip=0.5) == x).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert abs(int(flipped.sum()) - 1000) < 5 * 500**0.5  # five standard errors


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0), ("#646464", 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_uncovered_pixels_get_the_background(background: str, level: int, channels: int) -> None:
    x = torch.full((200, channels, 16, 16), 200, dtype=torch.uint8)
    moved = augment(x, background=background, shift=0.5).int()
    between = (moved >= min(level, 200) - 1) & (moved <= max(level, 200) + 1)
    assert between.all()
    corner = moved[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corner == level).any(2).float().mean() > 0.9  # nearly every translation uncovers a corner
    assert (moved[:, :, 8, 8] == 200).float().mean() > 0.8


def test_rotations_keep_the_center_and_reach_their_largest_angle() -> None:
    x = torch.full((300, 1, 33, 33), 255, dtype=torch.uint8)
    x[:, :, 16, 16:] = 0  # a line from the center to the right
    turned = augment(x, rotate=30.0)
    assert (turned[:, 0, 16, 16] < 60).all()
    rows = (255.0 - turned[:, 0, :, 28].float()) / 255
    heights = (rows * (16 - torch.arange(33.0))).sum(1) / rows.sum(1)  # of the line, 12 pixels from the center
    angles = torch.rad2deg(torch.atan2(heights, torch.tensor(12.0)))
    assert angles.abs().max() <= 31
    assert angles.max() > 25
    assert angles.min() < -25


def test_zoom_and_crop_change_the_size_within_their_bounds() -> None:
    x = torch.full((300, 1, 41, 41), 255, dtype=torch.uint8)
    x[:, :, 10:31, 10:31] = 0  # 21 pixels a side
    sides = (augment(x, zoom=0.2)[:, 0, 20] < 128).sum(1)
    assert 21 * 0.8 - 1 <= sides.min() < 19
    assert 23 < sides.max() <= 21 * 1.2 + 1
    sides = (augment(x, crop=0.4)[:, 0] < 128).flatten(1).sum(1).sqrt()
    assert sides.min() >= 20
    assert 24 < sides.max() <= 21 / 0.6**0.5 + 1.5


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_changes_a_constant_image_within_its_bounds(channels: int) -> None:
    x = torch.full((200, channels, 6, 6), 100, dtype=torch.uint8)
    levels = augment(x, jitter=0.2)[:, :, 3, 3].float()
    assert levels.min() >= 100 - 2 * 51 - 1  # kornia shifts brightness by a share of white
    assert levels.max() <= (100 + 51) * 1.2 + 1
    assert levels.std() > 10


def test_hue_rotates_colors_and_gray_images_have_none() -> None:
    x = torch.zeros(50, 3, 4, 4, dtype=torch.uint8)
    x[:, 0] = 200
    turned = augment(x, hue=0.5)
    assert (turned[:, 1:].flatten(1).amax(1) > 100).float().mean() > 0.5
    with pytest.raises(DataError, match=r"data\.augment\.hue"):
        augment(noise(2, 1, 4, 4), hue=0.1)


def test_augmentation_depends_only_on_the_generator() -> None:
    x = noise(20, 3, 8, 8)
    options = {"flip": 0.5, "rotate": 20.0, "shift": 0.1, "zoom": 0.1, "crop": 0.1, "jitter": 0.1}
    before = torch.get_rng_state()
    first = augment(x, **options)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert torch.equal(augment(x, **options), first)
    assert not torch.equal(augment(x, seed=1, **options), first)
    same = augment(x[:1].expand(20, -1, -1, -1), **options)
    assert len(same.flatten(1).unique(dim=0)) > 15  # each image independently


def test_validation_and_test_images_are_never_changed() -> None:
    plain = load_recipe("digits").data
    changed = load_recipe("digits", {"data.augment": {"flip": 0.5, "rotate": 10.0}, "data.binarize": "dynamic"}).data
    splits, expected = load_splits(changed, 0), load_splits(plain.model_copy(update={"binarize": "dynamic"}), 0)
    assert torch.equal(splits.valid.pixels, expected.valid.pixels)
    assert torch.equal(splits.test.pixels, expected.test.pixels)
    assert torch.equal(splits.train.pixels, expected.train.pixels)
    assert splits.transform is not None
    seen = splits.transform(splits.train.first(50).pixels, generator(0))
    assert set(seen.unique().tolist()) == {0, 255}  # augmented before they are binarized
    with pytest.raises(ConfigError, match=r"data\.augment"):
        load_splits(changed.model_copy(update={"binarize": "static"}), 0)


def test_compose_applies_transforms_in_order() -> None:
    x = noise(3, 1, 4, 4)
    flip = augmenter(Augmentation(flip=1.0), (1, 4, 4))
    assert compose([]) is None
    assert compose([flip]) is flip
    both = compose([flip, flip])
    assert both is not None
    assert torch.equal(both(x, generator(0)), x)
    binary = compose([flip, sample_binary])
    assert binary is not None
    assert set(binary(x, generator(0)).unique().tolist()) <= {0, 255}
