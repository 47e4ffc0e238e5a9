"""The layout of arrays of images: which axis holds the channels, and whether the last channel is opacity.

Arrays have shape (N, H, W), (N, C, H, W) or (N, H, W, C). An axis of 1 or 3 values holds the channels, else one of 2 to 16;
where two axes could, the first of 1 or 3, or the shorter one, is taken, which a line says. Four channels of uint8 are red,
green, blue and opacity, as in a PNG, unless four channels are asked for; all others are read as they are.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from vaekit.core.errors import DataError
from vaekit.data.levels import Levels, kind_of, scale

MAX_CHANNELS = 16
"""The largest number of channels of an image."""
MAX_PIXELS = 2**28
"""The largest number of values of an image."""
USUAL = (1, 3)
"""The numbers of channels of gray and color."""


@dataclass(frozen=True)
class Layout:
    """How images lie in an array.

    Arguments:
        axis: The axis of the channels in an array of N images; None if there is none.
        channels: C, the number of channels that are read.
        shape: The height and width (H, W).
        rgba: Whether the array holds four channels, of which the last is opacity.
        remark: What was chosen, if there was a choice; else empty.
    """

    axis: Literal[1, 3] | None
    channels: int
    shape: tuple[int, int]
    rgba: bool = False
    remark: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of an image."""
        return self.channels, *self.shape

    def pixels(self, values: NDArray[Any], levels: Levels, background: str) -> NDArray[np.uint8]:
        """Returns values of N images as uint8 pixels of shape (N, C, H, W).

        Arguments:
            values: The values in this layout.
            levels: The levels of their kind.
            background: The color behind transparent pixels.

        Raises:
            ValueError: If a value is not finite.
            UnknownLevels: If their levels are to be found.
        """
        planes = values[:, None] if self.axis is None else np.moveaxis(values, self.axis, 1)
        if self.rgba:
            return _opaque(scale(planes[:, :3], levels.known("uint8")), planes[:, 3:], background)
        bilevel = planes.dtype == np.bool_
        return scale(planes, (0.0, 1.0) if bilevel else levels.known(kind_of(planes.dtype)))


def find_layout(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, channels: int | None = None) -> Layout:
    """Returns the layout of an array.

    Arguments:
        shape: Its shape.
        dtype: The type of its values.
        name: Its name in messages.
        channels: The number of channels that is asked for; None for that of the array.

    Raises:
        DataError: If it does not hold images.
    """
    _check(shape, dtype, name)
    if len(shape) == 3:
        few = shape[2] in (2, 3, 4)
        remark = f"read as {shape[0]:,} gray images of {shape[1]}x{shape[2]}; for one image in color, add an axis in front"
        return Layout(None, 1, (shape[1], shape[2]), remark=remark if few else "")
    axis, remark = _channel_axis(shape, name, channels)
    count, size = shape[axis], (shape[2], shape[3]) if axis == 1 else (shape[1], shape[2])
    if count == 4 and dtype == np.uint8 and channels != 4:
        rgba = "four channels are read as red, green, blue and opacity; --channels 4 reads them as they are"
        return Layout(axis, 3, size, True, f"{remark}; {rgba}" if remark else rgba)
    return Layout(axis, count, size, remark=remark)


def _channel_axis(shape: tuple[int, ...], name: str, channels: int | None) -> tuple[Literal[1, 3], str]:
    """The axis of the channels of a shape of four sides, and what is said about it if another axis could be it."""
    sides: dict[Literal[1, 3], int] = {1: shape[1], 3: shape[3]}
    wanted = [axis for axis, side in sides.items() if side == channels]
    usual = [axis for axis, side in sides.items() if side in USUAL]
    possible = [axis for axis, side in sides.items() if side <= MAX_CHANNELS]
    axes = wanted or usual or sorted(possible, key=lambda axis: sides[axis])
    if not axes:
        raise DataError(
            f"{name}: images have 1 to {MAX_CHANNELS} channels, of shape (N, H, W), (N, C, H, W) or (N, H, W, C), "
            f"got {_described(shape)}"
        )
    if len(axes) == 1:
        return axes[0], ""
    height, width = (shape[2], shape[3]) if axes[0] == 1 else (shape[1], shape[2])
    place = "first" if axes[0] == 1 else "last"
    return axes[0], f"of shape {_described(shape)}, read as {height}x{width} images with {sides[axes[0]]} channels, {place}"


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Raises DataError if an array of this shape and type does not hold images."""
    if len(shape) not in (3, 4):
        raise DataError(f"{name}: images have shape (N, H, W), (N, C, H, W) or (N, H, W, C), got {_described(shape)}")
    if 0 in shape:
        what = "no images" if shape[0] == 0 else "images without pixels"
        raise DataError(f"{name}: holds {what}, its shape is {_described(shape)}")
    if shape[1] * shape[2] * (shape[3] if len(shape) == 4 else 1) > MAX_PIXELS:
        raise DataError(f"{name}: its images have more than {MAX_PIXELS:,} values, {_described(shape)}; scale them down")
    if dtype != np.bool_ and dtype.kind not in "uif":
        raise DataError(f"{name}: pixels are integers, bool or floating point, got {dtype}; convert them")


def _opaque(colors: NDArray[np.uint8], opacity: NDArray[np.uint8], background: str) -> NDArray[np.uint8]:
    """Colors of shape (N, 3, H, W) with opacity of shape (N, 1, H, W), over a background."""
    behind = np.array(ImageColor.getrgb(background)[:3], np.float32)[:, None, None]
    share = opacity.astype(np.float32) / 255
    pixels: NDArray[np.uint8] = np.rint(colors * share + behind * (1 - share)).astype(np.uint8)
    return pixels


def _described(shape: tuple[int, ...]) -> str:
    """A shape, which may have very many or very large sides."""
    text = str(shape)
    return text if len(text) <= 80 else f"{len(shape)} sides, {text[:60]}..."
