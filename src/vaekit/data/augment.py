"""Augmentation: training images as they might also have been, drawn anew each time they are seen.

Whole batches are changed where they lie, by ``kornia``. What is uncovered at the borders gets the background's color.
Validation and test images are never changed.
"""

from typing import Annotated, Any

import torch
from PIL import ImageColor
from pydantic import Field
from torch import Generator, Tensor

from vaekit.core.config import Section
from vaekit.core.errors import DataError
from vaekit.core.rng import fixed_seed
from vaekit.core.units import GRAY_LEVELS, to_gray_levels, to_unit_interval
from vaekit.data.batches import Transform

Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]


class Augmentation(Section):
    """What may happen to a training image; nothing by default.

    Arguments:
        flip: How probably left and right change places.
        vertical_flip: How probably top and bottom do.
        rotate: By how many degrees it turns at most, either way.
        shift: By which share of its sides it moves at most.
        zoom: By which share it grows or shrinks at most.
        crop: Which share of its area is cut away at most, before what is left is scaled back.
        jitter: By which share brightness and contrast, and of colored images saturation, change at most.
        hue: By which share of the color circle colors turn at most.
    """

    flip: Share = 0.0
    vertical_flip: Share = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    shift: Part = 0.0
    zoom: Part = 0.0
    crop: Part = 0.0
    jitter: Part = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


def augmenter(augmentation: Augmentation, shape: tuple[int, int, int], background: str = "white") -> Transform:
    """Returns what changes a batch of images.

    Arguments:
        augmentation: What may happen to each of them, independently.
        shape: Their shape (C, H, W).
        background: The color of what is uncovered.

    Raises:
        DataError: If colors of gray images are to change.
    """
    from kornia.augmentation import AugmentationSequential  # heavy, and only needed where images are augmented

    if shape[0] == 1 and augmentation.hue:
        raise DataError("data.augment.hue: gray images have no hue; set it to 0, or --channels 3")
    pipeline = AugmentationSequential(*_steps(augmentation, shape, background), data_keys=["input"])

    def augment(x: Tensor, generator: Generator) -> Tensor:
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        with fixed_seed(int(seed)):  # kornia draws from the global generators
            return to_gray_levels(pipeline(to_unit_interval(x)))

    return augment


def _steps(augmentation: Augmentation, shape: tuple[int, int, int], background: str) -> list[Any]:
    """The parts of the pipeline that do something."""
    import kornia.augmentation as kornia

    channels, height, width = shape
    color = ImageColor.getcolor(background, "RGB" if channels == 3 else "L")
    fill = torch.tensor(color if isinstance(color, tuple) else (color,)) / (GRAY_LEVELS - 1)
    a, steps = augmentation, []
    if a.flip:
        steps.append(kornia.RandomHorizontalFlip(p=a.flip))
    if a.vertical_flip:
        steps.append(kornia.RandomVerticalFlip(p=a.vertical_flip))
    if a.rotate or a.shift or a.zoom:
        moves = {"translate": (a.shift, a.shift), "scale": (1 - a.zoom, 1 + a.zoom)}
        steps.append(kornia.RandomAffine(a.rotate, **moves, padding_mode="fill", fill_value=fill, p=1.0))
    if a.crop:
        steps.append(kornia.RandomResizedCrop((height, width), scale=(1 - a.crop, 1.0), ratio=(0.9, 1.1)))
    if a.jitter or a.hue:
        change = (1 - a.jitter, 1 + a.jitter)
        if channels == 3:
            steps.append(kornia.ColorJiggle(change, change, change, (-a.hue, a.hue), p=1.0))
        else:
            steps += [kornia.RandomBrightness(change, p=1.0), kornia.RandomContrast(change, p=1.0)]
    return steps or [torch.nn.Identity()]
