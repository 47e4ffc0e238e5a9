"""Precision, recall, density and coverage: their definitions point by point, and values for equal distributions."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.evaluation.samples import pairs
from vaekit.evaluation.samples.precision_recall import density_coverage, precision_recall, squared_radii


def by_definition(real: Tensor, fake: Tensor, k: int) -> dict[str, list[float]]:
    """The definitions, point by point, for points of whole numbers, whose distances are exact."""

    def radius(points: list[Tensor], i: int) -> float:
        return sorted(float((points[i] - p).square().sum()) for j, p in enumerate(points) if j != i)[k - 1]

    r, f = list(real), list(fake)
    real_radii, fake_radii = [radius(r, i) for i in range(len(r))], [radius(f, i) for i in range(len(f))]
    in_real = [[float((x - y).square().sum()) <= s for y, s in zip(r, real_radii, strict=True)] for x in f]
    in_fake = [[float((x - y).square().sum()) <= s for y, s in zip(f, fake_radii, strict=True)] for x in r]
    return {
        "precision": [float(any(row)) for row in in_real],
        "recall": [float(any(row)) for row in in_fake],
        "density": [sum(row) / k for row in in_real],
        "coverage": [float(any(column)) for column in zip(*in_real, strict=True)],
    }


@pytest.mark.parametrize("max_pairs", [1, 7 * 23, 2**22])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_metrics_equal_their_definition(k: int, max_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points on a coarse grid, far from the origin: with equal distances, equal points, and points on a ball's surface."""
    monkeypatch.setattr(pairs, "MAX_PAIRS", max_pairs)
    real, fake = torch.randint(0, 5, (23, 3)).double(), torch.randint(2, 9, (31, 3)).double()
    expected = by_definition(real, fake, k)
    real, fake = real / 3 + 100, fake / 3 + 100
    precision, recall = precision_recall(real, fake, k)
    density, coverage = density_coverage(real, fake, k)
    assert precision.tolist() == expected["precision"]
    assert recall.tolist() == expected["recall"]
    assert density.tolist() == expected["density"]
    assert coverage.tolist() == expected["coverage"]
    assert 0 < precision.mean() < 1
    assert 0 < coverage.mean() < 1


def test_a_missing_mode_lowers_recall_and_coverage_only() -> None:
    real = torch.cat([torch.randn(300, 2), torch.randn(100, 2) + 50])
    one = torch.randn(400, 2)
    precision, recall = (x.mean().item() for x in precision_recall(real, one))
    density, coverage = (x.mean().item() for x in density_coverage(real, one))
    assert precision > 0.9
    assert density > 0.8
    assert 0.6 < recall <= 0.75
    assert 0.6 < coverage <= 0.75


def test_density_counts_all_balls_that_overlap() -> None:
    """Six unit vectors and the origin, which is the nearest neighbor of each: the origin lies in all seven balls."""
    real = torch.cat([torch.eye(6), torch.zeros(1, 6)])
    density, coverage = density_coverage(real, torch.zeros(2, 6), k=1)
    assert density.tolist() == [7, 7]
    assert coverage.tolist() == [1] * 7
    density, coverage = density_coverage(real, torch.eye(6)[:1] * 1.5, k=1)
    assert density.tolist() == [1]
    assert coverage.tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_equal_distributions_have_a_density_of_one_and_the_published_coverage() -> None:
    """Naeem et al., 2020: for any distribution, 1 and 1 - (M - 1) ... (M - k) / ((M + N - 1) ... (M + N - k))."""
    m, n, k = 60, 40, 5
    values = torch.tensor(
        [
            [x.mean().item() for x in density_coverage(torch.randn(m, 3).exp(), torch.randn(n, 3).exp(), k)]
            for _ in range(400)
        ]
    )
    not_covered = math.prod((m - i) / (m + n - i) for i in range(1, k + 1))
    expected = torch.tensor([k / (m - 1) * m / k, 1 - not_covered])  # a ball contains a new point with probability ~ k / M
    error = values.std(0) / 400**0.5
    assert ((values.mean(0) - expected).abs() < 3 * error + torch.tensor([0.03, 0.0])).all()


def test_at_most_k_points_are_refused() -> None:
    with pytest.raises(DataError, match=r"5 images.*neighbors"):
        squared_radii(torch.randn(5, 2), 5)
