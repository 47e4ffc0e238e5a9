"""Data augmentation: random changes of training images, sampled anew each time an image is used.

``kornia`` changes whole batches on their device. Uncovered pixels at the borders get the background's color. Validation and
test images are never changed. ``kornia`` draws the parameters of all changes first; several processes that share a batch
draw them for the whole batch, and each applies those of its images.
"""

from typing import Any

import torch
from PIL import ImageColor
from torch import Generator, Tensor

from vaekit.core.errors import DataError
from vaekit.core.rng import fixed_seed
from vaekit.core.shares import Share, current_share
from vaekit.core.units import GRAY_LEVELS, to_gray_levels, to_unit_interval
from vaekit.data.augmentation import Augmentation
from vaekit.data.batches import Transform

OF_THE_BATCH = ("forward_input_shape", "order")
"""The parameters of ``kornia`` that belong to no image. The order of changes of colors is one for a whole batch."""


def augmenter(augmentation: Augmentation, shape: tuple[int, int, int], background: str = "white") -> Transform:
    """Returns the transform that augments a batch of images, each independently.

    Arguments:
        augmentation: The augmentation.
        shape: The shape (C, H, W) of the images.
        background: The color of uncovered pixels.

    Raises:
        DataError: If the hue of images is to change that are not in color.
    """
    from kornia.augmentation import AugmentationSequential  # heavy, and only needed if images are augmented

    if shape[0] == 1 and augmentation.hue:
        raise DataError("data.augment.hue: gray images have no hue; set it to 0, or use --channels 3")
    if shape[0] != 3 and augmentation.hue:
        raise DataError(f"data.augment.hue: images of {shape[0]} channels have no hue, only color images do; set it to 0")
    pipeline = AugmentationSequential(*_steps(augmentation, shape, background), data_keys=["input"])

    def augment(x: Tensor, generator: Generator) -> Tensor:
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        with fixed_seed(int(seed)):  # kornia uses the global generators
            return to_gray_levels(pipeline(to_unit_interval(x), params=_parameters(pipeline, x)))

    return augment


def _parameters(pipeline: Any, x: Tensor) -> Any:
    """The parameters of all steps of a pipeline for the images x, the same for any number of processes."""
    share = current_share(len(x))
    total = len(x) if share is None else share.total
    parameters = pipeline.forward_parameters(torch.Size([total, *x.shape[1:]]))
    if share is None:
        return parameters
    return [item._replace(data=_of_share(item.data, share)) for item in parameters]


def _of_share(values: dict[str, Tensor] | None, share: Share) -> dict[str, Tensor] | None:
    """The parameters of a step for the images of a share."""
    if values is None:  # of the identity
        return None
    own = {name: value if name in OF_THE_BATCH else share.of(value) for name, value in values.items()}
    own["forward_input_shape"] = torch.cat([torch.tensor([share.size]), own["forward_input_shape"][1:]])
    return own


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
