"""Fitting: a decoded image of any size and mode is brought to one size, 8 bits and 1 or 3 channels."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from vaekit.core.errors import DataError

Pixels = NDArray[np.uint8]
"""Gray levels of shape (C, H, W), or (N, C, H, W)."""
Fit = Literal["crop", "pad", "stretch"]

DEEP_MODES = "IF"
"""The first letters of Pillow's modes with more than 8 bits a channel."""
OVERSHOOT = 0.5
"""How far floating-point levels may exceed their range, as a share of it: interpolation causes it, and they are clipped."""


@dataclass(frozen=True)
class Fitting:
    """How images of any size are brought to one size.

    Arguments:
        fit: ``crop`` cuts out the center with the target's aspect ratio, ``pad`` keeps the whole image and fills the rest
            with the background, ``stretch`` changes the aspect ratio. Each then scales with a Lanczos filter.
        background: The color behind transparent pixels and around padded images, as Pillow names colors.

    Raises:
        DataError: If the background is not a color.
    """

    fit: Fit = "crop"
    background: str = "white"

    def __post_init__(self) -> None:
        """Checks the background."""
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            shown = self.background or "an empty background"
            raise DataError(f"{shown}: not a color; use a name such as white, or #rrggbb") from None


CENTER_CROP = Fitting()
"""The center of the image, on white."""


def fit(image: Image.Image, size: tuple[int, int], channels: int, fitting: Fitting = CENTER_CROP) -> Pixels:
    """Fits an image to a size and a number of channels.

    Arguments:
        image: The image.
        size: The height and width (H, W).
        channels: 1 for gray, 3 for color.
        fitting: What to do if the aspect ratio differs, and the background.

    Returns:
        Gray levels of shape (C, H, W).
    """
    image = to_eight_bits(image)
    if image.mode == "LAB":  # Pillow converts it only to RGB
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fitting.background), image)
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    height, width = size
    if image.size != (width, height):
        image = _resize(image, (width, height), fitting)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Returns the image with 8 bits a channel: deeper gray levels are scaled, where Pillow would clip them.

    Raises:
        ValueError: If the range of the levels is unknown.
    """
    if image.mode[0] not in DEEP_MODES:
        return image
    levels = np.asarray(image)
    converted = Image.fromarray(_scale_levels(levels))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # the gray level that stands for a transparent pixel
        converted.putalpha(Image.fromarray(np.where(levels == transparent, np.uint8(0), np.uint8(255))))
    return converted


def _scale_levels(levels: NDArray[Any]) -> Pixels:
    """Scales deeper gray levels to 8 bits: floats from [0, 1] or [0, 255], integers from 16 bits.

    Raises:
        ValueError: If they are in no such range, so that the levels of black and white are unknown.
    """
    finite = levels[np.isfinite(levels)] if np.issubdtype(levels.dtype, np.floating) else levels
    low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
    if finite.dtype.kind == "f":
        full = 1 if high <= 1 + OVERSHOOT else 255
        if low < -OVERSHOOT * full or high > (1 + OVERSHOOT) * full:
            raise ValueError(f"floating-point levels from {low:g} to {high:g}, neither in [0, 1] nor in [0, 255]")
        scaled = np.nan_to_num(levels * (255 / full), nan=0.0, posinf=255.0, neginf=0.0)
        pixels: Pixels = np.rint(scaled).clip(0, 255).astype(np.uint8)
        return pixels
    if low < 0 or high > 65_535:
        raise ValueError(f"levels from {low:,} to {high:,}, neither of 8 bits nor of 16")
    return np.asarray(levels >> 8 if levels.dtype.itemsize == 2 or high > 255 else levels, dtype=np.uint8)


def _resize(image: Image.Image, size: tuple[int, int], fitting: Fitting) -> Image.Image:
    if fitting.fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    if fitting.fit == "pad":
        width, height = size  # of a very long image, the shorter side keeps at least one pixel
        if round(image.height / image.width * width) == 0:
            image = image.resize((width, 1), Image.Resampling.LANCZOS)
        if round(image.width / image.height * height) == 0:
            image = image.resize((1, height), Image.Resampling.LANCZOS)
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=fitting.background)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
