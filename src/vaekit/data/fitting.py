"""Fitting: a decoded image of any size and mode is brought to one size, 8 bits and 1 to 16 channels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from vaekit.core.errors import DataError
from vaekit.data.levels import EIGHT_BITS, UNKNOWN, Kind, Levels, Pair, kind_of, scale
from vaekit.data.samples import Samples

Pixels = NDArray[np.uint8]
"""Gray levels of shape (C, H, W), or (N, C, H, W)."""
Opened = Image.Image | Samples
"""An opened image."""
Fit = Literal["crop", "pad", "stretch"]

GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of images without color."""
DEEP_MODES: dict[str, Kind] = {"I": "integers", "F": "floats"}
"""The kinds of values by the first letters of Pillow's modes with more than 8 bits a channel."""


def checked_color(name: str) -> str:
    """Returns the name of a color.

    Raises:
        ValueError: If Pillow does not know it.
    """
    try:
        ImageColor.getrgb(name)
    except ValueError:
        raise ValueError(f"{name or 'an empty background'}: not a color; use a name such as white, or #rrggbb") from None
    return name


@dataclass(frozen=True)
class Fitting:
    """How images of any size are brought to one size.

    Arguments:
        fit: ``crop`` cuts out the center with the target's aspect ratio, ``pad`` keeps the whole image and fills the rest
            with the background, ``stretch`` changes the aspect ratio. Each then scales with a Lanczos filter.
        background: The color behind transparent pixels and around padded images, as Pillow names colors.
        levels: Which values are black and white.

    Raises:
        DataError: If the background is not a color.
    """

    fit: Fit = "crop"
    background: str = "white"
    levels: Levels = UNKNOWN

    def __post_init__(self) -> None:
        """Checks the background."""
        try:
            checked_color(self.background)
        except ValueError as error:
            raise DataError(str(error)) from None


CENTER_CROP = Fitting()
"""The center of the image, on white."""


def kind_of_image(mode: str) -> Kind:
    """Returns the kind of values of one of Pillow's modes."""
    return DEEP_MODES.get(mode[0], "uint8")


def values_of(image: Opened) -> Samples | None:
    """Returns the values of an image that is deeper than 8 bits or has channels that Pillow has no mode for, else None."""
    if isinstance(image, Samples):
        return image
    return Samples(np.asarray(image)[..., None]) if kind_of_image(image.mode) != "uint8" else None


def fit(image: Opened, size: tuple[int, int], channels: int, fitting: Fitting = CENTER_CROP) -> Pixels:
    """Fits an image to a size and a number of channels.

    Arguments:
        image: The image.
        size: The height and width (H, W).
        channels: 1 for gray, 3 for color, or the number of channels of the image, which are then read as they are.
        fitting: What to do if the aspect ratio differs, the background, and the levels.

    Returns:
        Gray levels of shape (C, H, W).

    Raises:
        ValueError: If the image has another number of channels, or values that are not finite.
        UnknownLevels: If the levels of its values are to be found.
    """
    if channels not in (1, 3):
        planes = [_to_size(plane, size, fitting) for plane in _planes(image, channels, fitting)]
        return np.stack([np.asarray(plane, dtype=np.uint8) for plane in planes])
    image = to_eight_bits(image, fitting.levels)
    if image.mode == "LAB":  # Pillow converts it only to RGB
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fitting.background), image)
    mode = "L" if channels == 1 else "RGB"
    image = _to_size(image if image.mode == mode else image.convert(mode), size, fitting)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def to_eight_bits(image: Opened, levels: Levels) -> Image.Image:
    """Returns a gray or color image with 8 bits a channel, scaled by the levels of its kind of values.

    Raises:
        ValueError: If it has several channels that are no colors, or values that are not finite.
        UnknownLevels: If the levels of its values are to be found.
    """
    samples = values_of(image)
    if samples is None:
        assert isinstance(image, Image.Image)
        return image if levels.uint8 in (None, EIGHT_BITS) else _stretched(image, levels.uint8)
    colors = samples.colors or samples.channels - samples.opacity
    if colors not in (1, 3) and samples.colors != 4:
        raise ValueError(f"has {samples.channels} channels, neither gray nor color")
    pixels = _scaled(samples, colors, levels)
    if samples.colors == 4:
        bands = [Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(4)]
        converted = Image.merge("CMYK", bands).convert("RGB")
    else:
        converted = Image.fromarray(pixels[..., 0] if colors == 1 else pixels)
    if samples.opacity:
        opaque = np.iinfo(samples.values.dtype).max if samples.values.dtype.kind in "ui" else 1
        converted.putalpha(Image.fromarray(scale(samples.values[..., -1], (0.0, float(opaque)))))
    elif isinstance(image, Image.Image) and isinstance(transparent := image.info.get("transparency"), int):
        opacity = np.where(samples.values[..., 0] == transparent, np.uint8(0), np.uint8(255))
        converted.putalpha(Image.fromarray(opacity))
    return converted


def _scaled(samples: Samples, num: int, levels: Levels) -> Pixels:
    """The first ``num`` channels, with shape (H, W, num)."""
    kind = kind_of(samples.values.dtype)
    pair = levels.uint8 or EIGHT_BITS if kind == "uint8" else levels.known(kind)
    pixels = scale(samples.values[..., :num], pair)
    return 255 - pixels if samples.inverted else pixels


def _stretched(image: Image.Image, pair: Pair | None) -> Image.Image:
    """An image of 8 bits whose levels are given."""
    if pair is None or image.mode == "1":
        return image
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    table = scale(np.arange(256, dtype=np.float64), pair).tolist()
    same = list(range(256))
    return image.point([value for band in image.getbands() for value in (same if band == "A" else table)])


def _planes(image: Opened, channels: int, fitting: Fitting) -> list[Image.Image]:
    """The channels of an image as gray images.

    Raises:
        ValueError: If it has another number of channels.
    """
    samples = values_of(image)
    if samples is None:
        assert isinstance(image, Image.Image)
        image = to_eight_bits(image.convert("RGBA") if image.mode in ("P", "PA") else image, fitting.levels)
        planes = list(image.split())
    else:
        levels = fitting.levels
        planes = [Image.fromarray(plane) for plane in np.moveaxis(_scaled(samples, samples.channels, levels), 2, 0)]
    if len(planes) != channels:
        raise ValueError(f"has {len(planes)} channels, not {channels}")
    return planes


def _to_size(image: Image.Image, size: tuple[int, int], fitting: Fitting) -> Image.Image:
    height, width = size
    return image if image.size == (width, height) else _resize(image, (width, height), fitting)


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
