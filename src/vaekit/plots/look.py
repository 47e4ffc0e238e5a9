"""How images are drawn, apart from what they show: theme, size, smooth or with visible pixels, and the caption below.

Small images are enlarged by an odd factor. So the middle pixel of each enlarged pixel is that pixel exactly, also where the
image is smooth: bicubic interpolation passes through its points.

References:
    | Cubic Convolution Interpolation for Digital Image Processing (Keys, 1981), https://doi.org/10.1109/TASSP.1981.1163711
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaekit.core.arguments import Count, require_fields
from vaekit.core.errors import ModelError, suggest
from vaekit.plots.style import DARK, Theme

DOT = " · "
"""What is between the parts of a caption."""
NEARLY = 1.25
"""The factor up to which images that nearly have the size are left as they are."""
SIZE, PLANE_SIZE = 1_080, 1_400
"""The least length of the shorter side of an image, and of a latent plane, in pixels."""


@dataclass(frozen=True)
class Look:
    """How images are drawn.

    Arguments:
        theme: The colors of text and of what is between images.
        pixelated: Whether the pixels of small images stay visible as squares; else they are interpolated.
        size: The least length of the shorter side in pixels; of strips, half that of the longer side. None for
            :data:`PLANE_SIZE` of a latent plane and :data:`SIZE` of everything else.
        caption: The text below, which names model, data and epoch in parts separated by ``·``; empty for none.
    """

    theme: Theme = DARK
    pixelated: bool = False
    size: Count | None = None
    caption: str = ""

    def factor(self, height: int, width: int, size: int = SIZE) -> int:
        """Returns the factor by which images of a height and a width, all together, are enlarged.

        Arguments:
            height: The height of the images below each other, in pixels.
            width: The width of those side by side.
            size: The size if the look has none.
        """
        wanted = self.size or size
        needed = min(wanted / min(height, width), 2 * wanted / max(height, width))
        return 1 if needed <= NEARLY else odd(needed)

    def enlarged(self, pixels: NDArray[np.uint8], factor: int) -> Image.Image:
        """Returns pixels of shape (H, W, C), enlarged by an odd factor."""
        image = to_image(pixels)
        method = Image.Resampling.NEAREST if self.pixelated else Image.Resampling.BICUBIC
        return image if factor == 1 else image.resize((image.width * factor, image.height * factor), method)


def changed_look(look: Look, changes: Mapping[str, Any]) -> Look:
    """Returns a look with other settings.

    Raises:
        ModelError: If there is no such setting, or a value does not suit it.
    """
    if unknown := sorted(changes.keys() - vars(look).keys()):
        raise ModelError(f"{unknown[0]}: a look has no such setting{suggest(unknown[0], vars(look))}")
    changed = replace(look, **changes)
    require_fields(changed, ModelError)
    return changed


DEFAULT = Look()
"""The look of images for which no other is chosen."""
PAGE = Look(size=720)
"""The look of images on a page, which has captions of its own and is to be small."""


def caption_of(model: str, data: str, epoch: int | None) -> str:
    """Returns the caption that names a model, its data and its epoch, if it has one; equal names are written once."""
    parts = [model, *([data] if data != model else []), *([f"epoch {epoch}"] if epoch is not None else [])]
    return DOT.join(part.replace(DOT, " ") for part in parts)


def odd(number: float) -> int:
    """Returns the least odd whole number that is no less than a number."""
    return 2 * math.ceil((max(number, 1) - 1) / 2) + 1


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Returns pixels of shape (H, W, C) as an image."""
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
