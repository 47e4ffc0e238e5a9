r"""The density of points of a plane, as smooth contours, and the places where names of classes are written.

The density of n points is a Gaussian kernel estimate on a grid. The width of the kernel along each axis is that of Scott's
rule, :math:`n^{-1/6} \sigma`, narrowed by :data:`NARROWED` so that a class of several clusters keeps them apart. The contour
of a share is the region of highest density that holds this share of the points.

References:
    | Multivariate Density Estimation (Scott, 1992), chapter 6
    | Computing and Graphing Highest Density Regions (Hyndman, 1996), https://doi.org/10.1080/00031305.1996.10474359
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NARROWED = 0.75
"""The width of the kernel, as a part of that of Scott's rule, which is for one Gaussian."""
NUM_CELLS = 120
"""The number of grid lines along each axis."""


@dataclass(frozen=True)
class Density:
    """The density of points on a grid.

    Arguments:
        x: The coordinates of the columns, with shape (G).
        y: The coordinates of the rows, with shape (G).
        values: The density at the crossings, with shape (G, G), rows first.
    """

    x: Floats
    y: Floats
    values: Floats

    def level(self, points: Floats, share: float) -> float:
        """Returns the density above which a share of the points lies, which have shape (N, 2)."""
        columns = np.abs(points[:, :1] - self.x).argmin(1)
        rows = np.abs(points[:, 1:] - self.y).argmin(1)
        return float(np.quantile(self.values[rows, columns], 1 - share))


def density(points: Floats, limits: Sequence[tuple[float, float]]) -> Density:
    """Returns the density of points.

    Arguments:
        points: Points with shape (N, 2).
        limits: The range of the grid along each axis.
    """
    x, y = (np.linspace(low, high, NUM_CELLS) for low, high in limits)
    width = NARROWED * len(points) ** (-1 / 6) * points.std(0)
    least = [(high - low) / NUM_CELLS for low, high in limits]
    across, upward = (
        np.exp(-0.5 * ((grid - points[:, [axis]]) / max(width[axis], least[axis])) ** 2) for axis, grid in enumerate((x, y))
    )
    return Density(x, y, upward.T @ across / len(points))


def places(densities: Sequence[Density], sizes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns where the name of each class is written: at its mode, or beside names that are there already.

    Arguments:
        densities: The density of each class, all on the same grid.
        sizes: The width and the height of each name, in the units of the plane.
    """
    found: list[tuple[float, float]] = []
    for number, shown in enumerate(densities):
        values = shown.values
        for (x, y), (width, height) in zip(found, sizes, strict=False):
            beside = np.abs(shown.x - x) >= (width + sizes[number][0]) / 2
            above = np.abs(shown.y - y) >= (height + sizes[number][1]) / 2
            values = np.where(beside[None] | above[:, None], values, -1.0)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        found.append((float(shown.x[column]), float(shown.y[row])))
    return found
