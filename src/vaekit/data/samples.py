"""Samples: an opened image as numbers of any type and any number of channels, where Pillow has no mode for it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Samples:
    """The values of an image.

    Arguments:
        values: Integers or floating point, with shape (H, W, C).
        opacity: Whether the last channel says how opaque a pixel is.
        rgb: Whether the first three channels are red, green and blue.
        inverted: Whether the smallest value is white.
    """

    values: NDArray[Any]
    opacity: bool = False
    rgb: bool = False
    inverted: bool = False

    @property
    def width(self) -> int:
        """W."""
        return int(self.values.shape[1])

    @property
    def height(self) -> int:
        """H."""
        return int(self.values.shape[0])

    @property
    def channels(self) -> int:
        """C, the number of channels, of which opacity is one."""
        return int(self.values.shape[2])

    def transpose(self, method: Image.Transpose) -> "Samples":
        """Returns the image flipped or turned, as Pillow's method of that name does."""
        return replace(self, values=np.ascontiguousarray(TRANSPOSES[method](self.values)))


TRANSPOSES = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda values: values[:, ::-1],
    Image.Transpose.FLIP_TOP_BOTTOM: lambda values: values[::-1],
    Image.Transpose.ROTATE_180: lambda values: values[::-1, ::-1],
    Image.Transpose.ROTATE_90: lambda values: np.rot90(values),
    Image.Transpose.ROTATE_270: lambda values: np.rot90(values, -1),
    Image.Transpose.TRANSPOSE: lambda values: values.swapaxes(0, 1),
    Image.Transpose.TRANSVERSE: lambda values: values[::-1, ::-1].swapaxes(0, 1),
}
"""Pillow's transpositions, of arrays of shape (H, W, C)."""
