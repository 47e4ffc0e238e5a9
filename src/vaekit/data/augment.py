"""Data augmentation: random changes of training images, sampled anew each time an image is used.

``kornia`` changes whole batches on their device. Uncovered pixels at the borders get the background's color. Validation and
test images are never changed.
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

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Augmentation(Section):
    """The augmentation of training images; none by default.

    Arguments:
        flip: The probability of a horizontal flip.
        vertical_flip: The probability of a vertical flip.
        rotate: The largest angle of a rotation in degrees, in either direction.
        shift: The largest translation, as a share of the height and width.
        zoom: The largest change of scale, as a share of 1.
        crop: The largest share of the area that is cropped before the rest is resized to the original size.
        jitter: The largest relative change of brightness and contrast, and of the saturation of color images.
        hue: The largest rotation of the hue, as a share of the color circle.
    """

    flip: Probability = 0.0
    vertical_flip: Probability = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    shift: Share = 0.0
    zoom: Share = 0.0
    crop: Share = 0.0
    jitter: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


def augmenter(augmentation: Augmentation, shape: tuple[int, int, int], background: str = "white") -> Transform:
    """Returns the transform that augments a batch of images, each independently.

    Arguments:
        augmentation: The augmentation.
        shape: The shape (C, H, W) of the images.
        background: The color of uncovered pixels.

    Raises:
        DataError: If the hue of gray images is to change.
    """
    from kornia.augmentation import AugmentationSequential  # heavy, and only needed if images are augmented

    if shape[0] == 1 and augmentation.hue:
        raise DataError("data.augment.hue: gray images have no hue; set it to 0, or use --channels 3")
    pipeline = AugmentationSequential(*_steps(augmentation, shape, background), data_keys=["input"])

    def augment(x: Tensor, generator: Generator) -> Tensor:
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        with fixed_seed(int(seed)):  # kornia uses the global generators
            return to_gray_levels(pipeline(to_unit_interval(x)))

    return augment


def _steps(augmentation: Augmentation, shape: tuple[int, int, int], background: str) -> list[Any]:
    """The steps of the pipeline that are switched on."""
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
