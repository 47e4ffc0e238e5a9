"""The Fréchet and the kernel distance: closed forms, sums over pairs, and standard errors against repeated sampling."""

import math
from collections.abc import Callable

import pytest
import scipy.linalg
import torch
from torch import Tensor

from vaekit.evaluation.samples import pairs
from vaekit.evaluation.samples.feature_distances import frechet_distance, kernel_distance


def points_with_moments(mean: Tensor, root: Tensor, num: int = 50) -> Tensor:
    """Points whose sample mean and covariance are exactly ``mean`` and ``root.T @ root``."""
    noise = torch.randn(num, len(root), dtype=torch.float64)
    white = torch.linalg.qr(noise - noise.mean(0)).Q * math.sqrt(num - 1)
    return mean + white @ root


def gaussian_points(num: int, seed: int, root: Tensor, shift: float) -> Tensor:
    """Samples of a Gaussian with mean ``shift`` and covariance ``root.T @ root``."""
    return torch.randn(num, len(root), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) @ root + shift


# The Fréchet distance


def test_frechet_distance_of_two_gaussians() -> None:
    """The published formula, with matrix square roots by scipy."""
    root_a, root_b = torch.randn(5, 5).double(), torch.randn(5, 5).double()
    mean_a, mean_b = torch.randn(5).double(), torch.randn(5).double()
    cov_a, cov_b = root_a.T @ root_a, root_b.T @ root_b
    cross = scipy.linalg.sqrtm((cov_a @ cov_b).numpy()).real.trace()
    expected = float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace()) - 2 * cross
    a, b = points_with_moments(mean_a, root_a), points_with_moments(mean_b, root_b, 70)
    assert frechet_distance(a, b)[0] == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2.0, 3.0], [2.0, 2.0, 0.5]), ([1.0, 0.0, 3.0], [2.0, 1.0, 0.0]), ([0.0, 0.0, 0.0], [1.0, 1e-6, 0.0])]
)
def test_frechet_distance_of_diagonal_covariances_that_may_be_singular(a: list[float], b: list[float]) -> None:
    """The sum of the squared differences of means and of standard deviations."""
    x, y = torch.tensor(a).double(), torch.tensor(b).double()
    value, error = frechet_distance(
        points_with_moments(torch.zeros(3).double(), x.diag()), points_with_moments(x - 1, y.diag())
    )
    assert value == pytest.approx(float((x - 1).square().sum() + (x - y).square().sum()), rel=1e-9)
    assert math.isfinite(error)


def test_frechet_distance_of_equal_and_of_shifted_points() -> None:
    a = torch.randn(40, 7) @ torch.randn(7, 7)
    assert frechet_distance(a, a)[0] == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a.flip(0) + 2)[0] == pytest.approx(7 * 4, rel=1e-6)
    assert frechet_distance(3 * a, 3 * a.flip(0) + 6)[0] == pytest.approx(9 * 7 * 4, rel=1e-6)


def test_frechet_distance_of_fewer_points_than_features() -> None:
    a, b = torch.randn(6, 20).double(), torch.randn(9, 20).double()
    value, _ = frechet_distance(a, b)
    values = torch.linalg.eigvals(torch.cov(a.T) @ torch.cov(b.T)).real.clamp(min=0)
    expected = (a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum() - 2 * values.sqrt().sum()
    assert value == pytest.approx(expected.item(), rel=1e-5)


def test_frechet_distance_of_large_sets() -> None:
    root = torch.tensor([[1.0, 0.5], [0.0, 2.0]]).double()
    value, error = frechet_distance(gaussian_points(20_000, 0, root, 0.0), gaussian_points(20_000, 1, 2 * root, 1.0))
    expected = 2 + (root.T @ root).trace().item()  # of N(0, S) and N(1, 4S): 2 for the means, tr (2 - 1)^2 S for the rest
    assert value == pytest.approx(expected, abs=3 * error)
    assert error < 0.02 * expected


# The kernel distance


def kernel(x: Tensor, y: Tensor) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def test_kernel_distance_is_its_sum_over_pairs() -> None:
    a, b = torch.randn(6, 4).double(), torch.randn(9, 4).double()
    aa = [kernel(a[i], a[j]) for i in range(6) for j in range(6) if i != j]
    bb = [kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j]
    ab = [kernel(x, y) for x in a for y in b]
    expected = sum(aa) / len(aa) + sum(bb) / len(bb) - 2 * sum(ab) / len(ab)
    assert kernel_distance(a, b)[0] == pytest.approx(expected, rel=1e-12)
    assert kernel_distance(b, a) == pytest.approx(kernel_distance(a, b), rel=1e-9)


def moments(mean: float, scale: float) -> Tensor:
    """The first four moments, from the zeroth on, of a Gaussian."""
    return torch.tensor([1, mean, mean**2 + scale**2, mean**3 + 3 * mean * scale**2])


def test_kernel_distance_of_two_gaussians() -> None:
    """In one dimension (xy + 1)^3 compares three moments: the squares of their differences, with weights 3, 3, 1."""
    a, b = gaussian_points(4_000, 0, torch.eye(1).double(), 0.2), gaussian_points(4_000, 1, 1.3 * torch.eye(1).double(), 0.5)
    expected = float((torch.tensor([1, 3, 3, 1]) * (moments(0.2, 1) - moments(0.5, 1.3)).square()).sum())
    value, error = kernel_distance(a, b)
    assert value == pytest.approx(expected, abs=3 * error)
    assert error < 0.2 * expected


def test_kernel_distance_is_unbiased() -> None:
    """The mean over many small sets is the distance of the distributions."""
    root = torch.eye(1).double()
    for scale, shift in ((1.0, 0.0), (1.5, 0.5)):
        values = torch.tensor(
            [
                kernel_distance(gaussian_points(8, 2 * i, root, 0.0), gaussian_points(8, 2 * i + 1, scale * root, shift))[0]
                for i in range(1500)
            ]
        )
        expected = (torch.tensor([1, 3, 3, 1]) * (moments(0, 1) - moments(shift, scale)).square()).sum()
        assert values.mean().item() == pytest.approx(expected.item(), abs=3 * values.std().item() / 1500**0.5)


# Both


@pytest.mark.parametrize(
    ("distance", "scale", "shift", "low", "high"),
    [
        (frechet_distance, 0.5, 0.7, 0.88, 1.12),
        (kernel_distance, 0.5, 0.7, 0.88, 1.12),
        (frechet_distance, 1.0, 0.0, 0.9, 1.7),  # too large for equal distributions
        (kernel_distance, 1.0, 0.0, 0.9, 1.7),
    ],
)
def test_standard_errors_equal_the_standard_deviation_over_sets(
    distance: Callable[[Tensor, Tensor], tuple[float, float]], scale: float, shift: float, low: float, high: float
) -> None:
    """The standard deviation of the distances of 400 pairs of sets, and the root mean square of their standard errors."""
    root = torch.randn(4, 4).double()
    other = root if scale == 1 else scale * torch.randn(4, 4).double()
    values, errors = torch.tensor(
        [
            distance(gaussian_points(150, 2 * i, root, 0.0), gaussian_points(250, 2 * i + 1, other, shift))
            for i in range(400)
        ],
        dtype=torch.float64,
    ).T
    assert low < (errors.square().mean().sqrt() / values.std()).item() < high


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_standard_error_of_the_kernel_distance_is_its_formula(shift: float) -> None:
    """Hoeffding's terms from whole matrices, each centered in both arguments."""
    a = gaussian_points(150, 0, torch.eye(3).double() / 2, 0.0)
    b = gaussian_points(250, 1, torch.eye(3).double() / 2, shift)

    def kernels(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([((x * one).sum(1) / 3 + 1) ** 3 for one in y], 1)

    def off_diagonal(k: Tensor) -> Tensor:
        return k[~torch.eye(len(k), dtype=torch.bool)].reshape(len(k), -1)

    def centered_variance(k: Tensor) -> float:
        return ((k - k.mean(1, keepdim=True) - k.mean(0) + k.mean()) ** 2).mean().item()

    aa, bb, ab = kernels(a, a), kernels(b, b), kernels(a, b)
    zeta_aa, zeta_bb, zeta_ab = centered_variance(aa), centered_variance(bb), centered_variance(ab)
    second = 2 * zeta_aa / 150**2 + 2 * zeta_bb / 250**2 + 4 * zeta_ab / (150 * 250)
    var_a = (off_diagonal(aa).mean(1) - ab.mean(1)).var().item() - zeta_aa / 150 - zeta_ab / 250
    var_b = (off_diagonal(bb).mean(1) - ab.mean(0)).var().item() - zeta_bb / 250 - zeta_ab / 150
    expected = max(0.0, 4 * var_a / 150 + 4 * var_b / 250) + second
    assert kernel_distance(a, b)[1] ** 2 == pytest.approx(expected, rel=0.04)
    assert shift or second > 0.1 * expected


def test_kernel_distance_is_independent_of_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(60, 5), torch.randn(70, 5) + 0.3
    value, error = kernel_distance(a, b)
    monkeypatch.setattr(pairs, "MAX_PAIRS", 500)
    chunked_value, chunked_error = kernel_distance(a, b)
    assert chunked_value == pytest.approx(value, rel=1e-9)
    assert chunked_error == pytest.approx(error, rel=1e-6)
