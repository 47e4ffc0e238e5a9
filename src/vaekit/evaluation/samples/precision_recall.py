r"""Precision, recall, density and coverage: how far two sets of features cover each other.

Around each point lies a ball whose radius is the distance to its k-th nearest neighbor in its own set. **Precision** is the
share of generated points in any ball of a real point, and **recall** the share of real points in any ball of a generated
point (k = 3). **Density** is the mean number of real balls that contain a generated point, divided by k; it may exceed 1.
**Coverage** is the share of real balls that contain a generated point (k = 5). The four are not all 1 for equal
distributions.

References:
    | Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019),
      https://arxiv.org/abs/1904.06991
    | Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), https://arxiv.org/abs/2002.09797
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.evaluation.samples.pairs import pair_chunks

PRECISION_NEIGHBORS, COVERAGE_NEIGHBORS = 3, 5
"""k of precision and recall, and k of density and coverage, as published."""
ROUNDING = 1e-12
"""The rounding error of a squared distance, as a share of the mean squared length. A point this close to the surface of a
ball counts as inside."""


def precision_recall(real: Tensor, fake: Tensor, k: int = PRECISION_NEIGHBORS) -> tuple[Tensor, Tensor]:
    """Returns the contributions of each point to precision and recall.

    Arguments:
        real: Features of real images, with shape (M, F).
        fake: Features of generated images, with shape (N, F).
        k: The number of neighbors in a ball, below M and N.

    Returns:
        Zeros and ones of shape (N), whose mean is the precision, and of shape (M), whose mean is the recall.
    """
    balls_of_fake, _ = _count_hits(fake, real, squared_radii(real, k))
    balls_of_real, _ = _count_hits(real, fake, squared_radii(fake, k))
    return (balls_of_fake > 0).double(), (balls_of_real > 0).double()


def density_coverage(real: Tensor, fake: Tensor, k: int = COVERAGE_NEIGHBORS) -> tuple[Tensor, Tensor]:
    """Returns the contributions of each point to density and coverage.

    Arguments:
        real: Features of real images, with shape (M, F).
        fake: Features of generated images, with shape (N, F).
        k: The number of neighbors in a ball, below M.

    Returns:
        Numbers of shape (N), whose mean is the density, and zeros and ones of shape (M), whose mean is the coverage.
    """
    num_balls, num_points = _count_hits(fake, real, squared_radii(real, k))
    return num_balls / k, (num_points > 0).double()


def squared_radii(points: Tensor, k: int) -> Tensor:
    """Returns the squared distance of each point to its k-th nearest neighbor, with shape (N), for points of shape (N, F).

    Raises:
        DataError: If there are at most k points.
    """
    if len(points) <= k:
        raise DataError(f"{len(points)} images do not have {k} neighbors each; use more than {k} images")
    radii = []
    for start, distances in _squared_distances(points, points):
        rows = torch.arange(len(distances), device=points.device)
        distances[rows, start + rows] = torch.inf  # a point is not its own neighbor
        radii.append(distances.topk(k, largest=False).values[:, -1])
    return torch.cat(radii)


def _squared_distances(points: Tensor, centers: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields chunks of the squared distances of all points to all centers, with the index of the first point of the chunk.

    Each chunk overwrites the previous one.
    """
    origin = centers.double().mean(0)  # near the points, so that the differences of squares lose few digits
    points, centers = points.double() - origin, centers.double() - origin
    lengths, start = centers.square().sum(1), 0
    for chunk, buffer in pair_chunks(points, centers):
        products = torch.addmm(lengths, chunk, centers.T, alpha=-2, out=buffer)
        yield start, products.add_(chunk.square().sum(1, keepdim=True)).clamp_(min=0)
        start += len(chunk)


def _count_hits(points: Tensor, centers: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """The number of balls that contain each point, with shape (N), and of points in each ball, with shape (M)."""
    limits = radii + ROUNDING * (centers.double() - centers.double().mean(0)).square().sum(1).mean()
    num_balls, num_points = [], torch.zeros_like(limits)
    for _, distances in _squared_distances(points, centers):
        inside = distances <= limits
        num_balls.append(inside.sum(1).double())
        num_points += inside.sum(0)
    return torch.cat(num_balls), num_points
