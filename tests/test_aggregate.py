"""The decomposition of the rate by the aggregate posterior: closed forms and numerical integration for every part."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad, simpson
from scipy.stats import laplace, norm
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from tests.posterior_models import (
    GivenPrior,
    assert_near,
    indexed_images,
    information,
    linear_gaussian,
    model_with_gaussians,
    model_with_posterior,
)
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError, DataError
from vaekit.data import ImageSet
from vaekit.evaluation.latents import aggregate_posterior
from vaekit.evaluation.latents.aggregate_posterior import (
    RateDecomposition,
    decompose_rate,
    log_densities,
    sample_posteriors,
    without_error,
)
from vaekit.evaluation.latents.posterior_densities import GenericDensities
from vaekit.models import VAE


def assert_parts_add_up(parts: RateDecomposition) -> None:
    assert parts.aggregate_kl is not None
    assert parts.total_correlation is not None
    assert parts.dimension_wise_kl is not None
    assert parts.rate.value == pytest.approx(parts.mutual_information.value + parts.aggregate_kl.value, rel=1e-12)
    aggregate_kl = parts.total_correlation.value + parts.dimension_wise_kl.value
    assert parts.aggregate_kl.value == pytest.approx(aggregate_kl, rel=1e-12, abs=1e-9)


# Closed forms


def test_mutual_information_of_posteriors_that_do_not_overlap_is_log_n() -> None:
    num, dim = 21, 2
    means = 1000 * torch.arange(float(num)).unsqueeze(1).expand(num, dim)
    model = model_with_gaussians(means, torch.tensor([0.3, 2.0]).expand(num, dim))
    parts = decompose_rate(model, indexed_images(num), num_samples=3)
    assert parts.mutual_information.value == pytest.approx(math.log(num), abs=1e-6)
    assert parts.saturated
    assert parts.log_num_images == pytest.approx(math.log(num))
    assert_parts_add_up(parts)
    assert parts.total_correlation is not None  # each latent alone identifies the image
    assert parts.total_correlation.value == pytest.approx((dim - 1) * math.log(num), abs=1e-6)


def test_mutual_information_of_equal_posteriors_is_zero() -> None:
    mean, stddev, num = torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[0.4, 1.0, 2.0]]), 300
    parts = decompose_rate(model_with_gaussians(mean, stddev), indexed_images(num), num_samples=10)
    rates = 0.5 * (mean**2 + stddev**2 - 1 - 2 * stddev.log())
    assert parts.mutual_information.value == pytest.approx(0, abs=1e-9)
    assert parts.total_correlation is not None
    assert parts.total_correlation.value == pytest.approx(0, abs=1e-9)
    for part in (parts.rate, parts.aggregate_kl, parts.dimension_wise_kl):
        assert_near(part, rates.sum().item(), 1e-6)
    assert parts.rates == pytest.approx(rates.flatten().tolist(), abs=1e-6)
    assert_parts_add_up(parts)
    assert not parts.saturated


def test_two_gaussians_in_one_dimension_by_quadrature() -> None:
    means, stddevs = (-1.0, 1.5), (0.5, 0.9)

    def q(z: float) -> float:
        return float(np.mean(norm.pdf(z, means, stddevs)))

    def divergence_from_q(k: int) -> float:
        return float(
            quad(lambda z: norm.pdf(z, means[k], stddevs[k]) * np.log(norm.pdf(z, means[k], stddevs[k]) / q(z)), -9, 9)[0]
        )

    model = model_with_gaussians(torch.tensor(means).unsqueeze(1), torch.tensor(stddevs).unsqueeze(1))
    parts = decompose_rate(model, indexed_images(1000), num_samples=20)
    assert_near(parts.mutual_information, (divergence_from_q(0) + divergence_from_q(1)) / 2)
    divergence = quad(lambda z: q(z) * np.log(q(z) / norm.pdf(z)), -9, 9)[0]
    assert_near(parts.aggregate_kl, divergence)
    assert_near(parts.dimension_wise_kl, divergence)
    assert parts.mutual_information.standard_error is not None
    assert parts.mutual_information.standard_error < 0.01
    assert parts.total_correlation is not None
    assert parts.total_correlation.value == pytest.approx(0, abs=1e-9)  # of one latent
    assert_parts_add_up(parts)


def test_correlated_latents_by_integration_over_the_plane() -> None:
    means = np.array([[1.2, 1.0], [-1.0, -1.3], [0.6, -0.4]])
    stddevs = np.array([[0.5, 0.6], [0.7, 0.4], [0.3, 0.9]])
    axis = np.linspace(-8, 8, 801)
    one, two = (norm.pdf(axis[:, None], means[:, d], stddevs[:, d]) for d in (0, 1))  # (Z, C)
    each = one.T[:, :, None] * two.T[:, None, :]
    q, q1, q2 = each.mean(0), one.mean(1), two.mean(1)
    p = norm.pdf(axis)

    def integral(values: np.ndarray) -> float:
        return float(simpson(simpson(values, x=axis), x=axis))

    def log(values: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(values, 1e-300))

    total_correlation = integral(q * (log(q) - log(q1[:, None] * q2)))
    dimension_wise = sum(float(simpson(m * (log(m) - log(p)), x=axis)) for m in (q1, q2))
    mutual_information = float(np.mean([integral(density * (log(density) - log(q))) for density in each]))
    assert total_correlation > 0.2
    model = model_with_gaussians(torch.tensor(means).float(), torch.tensor(stddevs).float())
    parts = decompose_rate(model, indexed_images(900), num_samples=30)
    assert_near(parts.total_correlation, total_correlation)
    assert_near(parts.dimension_wise_kl, dimension_wise)
    assert_near(parts.aggregate_kl, total_correlation + dimension_wise)
    assert_near(parts.mutual_information, mutual_information)
    assert parts.total_correlation is not None
    assert parts.total_correlation.standard_error is not None
    assert parts.total_correlation.standard_error < 0.02
    assert_parts_add_up(parts)


SLOPES = (0.3, 0.7, 1.0)


def test_parts_of_a_linear_gaussian_model() -> None:
    model, images = linear_gaussian(SLOPES, 3000)
    parts = decompose_rate(model, images, num_samples=3)
    closed_form = information(SLOPES)
    bias = math.expm1(2 * closed_form) / (2 * 3000)  # 1 + chi^2 is exp(2 I) for Gaussians
    assert_near(parts.mutual_information, closed_form, 5 * bias)
    assert_near(parts.rate, closed_form)
    assert_near(parts.aggregate_kl, 0, 5 * bias)
    assert_near(parts.total_correlation, 0, 5 * bias)
    assert sum(parts.rates) == pytest.approx(closed_form, abs=0.05)
    assert not parts.saturated
    assert_parts_add_up(parts)


def test_bias_of_small_sets_is_as_documented() -> None:
    num, num_sets = 50, 160
    model, images = linear_gaussian(SLOPES, num * num_sets)
    sets = [decompose_rate(model, images.take(torch.arange(num) + num * i), num_samples=4, seed=i) for i in range(num_sets)]
    bias = math.expm1(2 * information(SLOPES)) / (2 * num)
    for name, expected in (("mutual_information", information(SLOPES) - bias), ("aggregate_kl", bias)):
        values = np.array([getattr(parts, name).value for parts in sets])
        assert abs(values.mean() - expected) < 4 * values.std() / num_sets**0.5 + 0.2 * bias
    assert bias > 0.02


def test_rate_is_the_mean_of_its_closed_form() -> None:
    means, stddevs = torch.randn(40, 3), torch.rand(40, 3) + 0.2
    parts = decompose_rate(model_with_gaussians(means, stddevs), indexed_images(40), num_samples=200)
    closed_form = 0.5 * (means**2 + stddevs**2 - 1 - 2 * stddevs.log())
    assert parts.rates == pytest.approx(closed_form.mean(0).tolist(), abs=1e-5)
    assert parts.rate.value == pytest.approx(closed_form.sum(1).mean().item(), rel=1e-6)
    assert parts.rate.standard_error == pytest.approx(closed_form.sum(1).std().item() / 40**0.5, rel=1e-5)


def test_a_small_rate_of_a_few_images_is_exact_and_not_negative() -> None:
    """By one sample for each of eight images it was negative for every other seed."""
    mean, stddev = torch.full((8, 1), 0.1), torch.full((8, 1), 0.92)
    exact = 0.5 * (0.1**2 + 0.92**2 - 1 - 2 * math.log(0.92))
    assert exact == pytest.approx(0.0116, abs=1e-4)
    for seed in range(10):
        parts = decompose_rate(model_with_gaussians(mean, stddev), indexed_images(8), seed=seed)
        assert parts.rate.value == pytest.approx(exact, rel=1e-4)
        assert_parts_add_up(parts)


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.9])
def test_the_control_variate_leaves_the_mean_and_lowers_the_variance(correlation: float) -> None:
    """The variance of a mean falls by the factor 1 - r^2, for the correlation r of values and error."""
    random = torch.Generator().manual_seed(0)
    error = torch.randn(400, 300, generator=random, dtype=torch.float64)
    values = (
        2 + correlation * error + (1 - correlation**2) ** 0.5 * torch.randn(400, 300, generator=random, dtype=torch.float64)
    )
    means = torch.stack([without_error(*pair).mean() for pair in zip(values, error, strict=True)])
    assert abs(float(means.mean()) - 2) < 4 * float(means.std()) / 20
    assert float(means.var() * 300) == pytest.approx(1 - correlation**2, rel=0.25)


def test_few_images_and_errors_of_zero_leave_the_values() -> None:
    values, error = torch.randn(29), torch.randn(29)
    assert torch.equal(without_error(values, error), values)
    assert torch.equal(without_error(torch.ones(40), torch.zeros(40)), torch.ones(40))


# Densities


@pytest.mark.parametrize("max_densities", [1, 17, 10**6])
def test_densities_equal_their_definition(max_densities: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums over images as loops, for any size of a chunk."""
    monkeypatch.setattr(aggregate_posterior, "MAX_DENSITIES", max_densities)
    num, dim = 11, 3
    means, stddevs = torch.randn(num, dim), torch.rand(num, dim) + 0.3
    samples = sample_posteriors(model_with_gaussians(means, stddevs), indexed_images(num), 2, seed=3)
    log_qzx, log_qz, log_marginals = log_densities(samples)
    for s, n in itertools.product(range(2), range(num)):
        latents = norm.pdf(samples.z[s, n].numpy(), means.numpy(), stddevs.numpy())  # (N, D)
        joint = sum(latents[m].prod() for m in range(num)) / num
        marginals = sum(latents[m] for m in range(num)) / num
        assert log_qzx[s, n].item() == pytest.approx(math.log(latents[n].prod()), abs=1e-5)
        assert log_qz[s, n].item() == pytest.approx(math.log(joint), abs=1e-5)
        assert log_marginals[s, n].item() == pytest.approx(float(np.log(marginals).sum()), abs=1e-5)


def test_narrow_posteriors_far_from_the_origin_are_accurate() -> None:
    """Two pairs of equal posteriors, so that I is log N / 2."""
    means = torch.tensor([[5.0, -4.0], [5.0, -4.0], [5.01, 3.0], [5.01, 3.0]])
    parts = decompose_rate(model_with_gaussians(means, torch.full((4, 2), 1e-4)), indexed_images(4), num_samples=50)
    assert parts.mutual_information.value == pytest.approx(math.log(2), abs=1e-6)


def test_generic_densities_are_independent_of_the_batches() -> None:
    means, z = torch.randn(10, 2), torch.randn(4, 2)
    densities = GenericDensities([Independent(Normal(batch, 0.5), 1) for batch in means.split([3, 1, 6])])
    expected = Independent(Normal(means, 0.5), 1).log_prob(z.unsqueeze(1)).double()
    torch.testing.assert_close(densities.joint(z), expected)
    marginals = list(densities.marginals(z))
    assert len(marginals) == 2
    for d, marginal in enumerate(marginals):
        torch.testing.assert_close(marginal, Normal(means[:, d], 0.5).log_prob(z[:, d : d + 1]).double())


# Other posteriors and priors


def test_posteriors_that_do_not_factorize_have_no_parts_per_latent() -> None:
    """Gaussians of diagonal covariance as multivariate Gaussians, compared with independent ones."""
    means, scales = torch.randn(30, 3), nn.Parameter(torch.rand(30, 3) + 0.3)
    joint = model_with_posterior(lambda i: MultivariateNormal(means[i % 30], scale_tril=torch.diag_embed(scales[i % 30])), 3)
    parts = decompose_rate(joint, indexed_images(29), num_samples=2)
    expected = decompose_rate(model_with_gaussians(means, scales.detach()), indexed_images(29), num_samples=2)
    assert parts.mutual_information.value == pytest.approx(expected.mutual_information.value, abs=1e-5)
    assert parts.aggregate_kl is not None
    assert parts.rate.value == pytest.approx(parts.mutual_information.value + parts.aggregate_kl.value, rel=1e-12)
    assert_near(parts.rate, expected.rate.value)  # by samples, and in closed form
    assert parts.total_correlation is None
    assert parts.dimension_wise_kl is None
    assert len(parts.rates) == 1
    assert set(parts.to_data()) == {
        "rate",
        "mutual_information",
        "aggregate_kl",
        "rates",
        "estimator",
        "log_num_images",
        "saturated",
    }


def test_factorized_posteriors_that_are_not_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VAE, "chunk_size", 70)  # several batches
    monkeypatch.setattr(aggregate_posterior, "MAX_DENSITIES", 9000)
    means, scale = torch.tensor([[1.0, 0.5], [-1.0, 0.5]]), 0.6
    model = model_with_posterior(lambda i: Independent(Laplace(means[i % 2], scale), 1), 2)
    parts = decompose_rate(model, indexed_images(400), num_samples=20)

    def q(z: float) -> float:
        return float(laplace.pdf(z, [1, -1], scale).mean())

    first = quad(lambda z: q(z) * np.log(q(z) / norm.pdf(z)), -15, 15, points=[-1, 1])[0]
    second = quad(
        lambda z: laplace.pdf(z, 0.5, scale) * (laplace.logpdf(z, 0.5, scale) - norm.logpdf(z)), -15, 15, points=[0.5]
    )[0]
    entropy = -quad(lambda z: q(z) * np.log(q(z)), -15, 15, points=[-1, 1])[0]
    assert_near(parts.mutual_information, entropy - laplace.entropy(scale=scale))
    assert_near(parts.dimension_wise_kl, first + second)
    assert parts.total_correlation is not None
    assert parts.total_correlation.value == pytest.approx(0, abs=1e-6)  # the second latent has one distribution
    assert_parts_add_up(parts)


def test_a_prior_that_equals_the_aggregate_posterior() -> None:
    means, stddevs = torch.randn(5, 2), torch.rand(5, 2) + 0.3

    def mixture(num: int, context: Tensor | None) -> Distribution:
        components = Independent(Normal(means.expand(num, 5, 2), stddevs.expand(num, 5, 2)), 1)
        return MixtureSameFamily(Categorical(torch.ones(num, 5)), components)

    model = model_with_gaussians(means, stddevs, GivenPrior(mixture))
    parts = decompose_rate(model, indexed_images(100), num_samples=3)
    assert parts.aggregate_kl is not None
    assert parts.aggregate_kl.value == pytest.approx(0, abs=1e-6)
    assert parts.aggregate_kl.standard_error == pytest.approx(0, abs=1e-6)
    assert parts.rate.value == pytest.approx(parts.mutual_information.value, abs=1e-6)
    assert parts.total_correlation is None
    assert parts.dimension_wise_kl is None


def test_a_prior_that_depends_on_the_label_has_no_aggregate_kl() -> None:
    images = ImageSet(pixels(27, (2, 6, 5)), torch.arange(27).sort().values // 9, ("a", "b", "c"))
    model = make_vae(classes=["a", "b", "c"])
    same_prior = decompose_rate(model, images)
    assert_parts_add_up(same_prior)
    model.prior = GivenPrior(lambda num, context: Independent(Normal(context, 1.0), 1))
    parts = decompose_rate(model, images)
    assert parts.mutual_information == same_prior.mutual_information
    assert parts.aggregate_kl is None
    assert parts.total_correlation is None
    assert parts.dimension_wise_kl is None
    assert parts.rate.value > same_prior.rate.value + 0.5


# Arguments and output


def test_result_depends_on_the_seed_and_not_on_the_global_generator() -> None:
    model, images = make_vae().train(), ImageSet(pixels(60, (2, 6, 5)))
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = decompose_rate(model, images)
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert decompose_rate(model, images) == first
    assert decompose_rate(model, images, seed=1).mutual_information != first.mutual_information


def test_invalid_arguments() -> None:
    model = model_with_gaussians(torch.zeros(2, 2), torch.ones(2, 2))
    with pytest.raises(DataError, match="one image"):
        decompose_rate(model, indexed_images(1))
    with pytest.raises(ConfigError, match="num_samples"):
        decompose_rate(model, indexed_images(4), num_samples=0)


def test_json_of_the_parts() -> None:
    data = decompose_rate(model_with_gaussians(torch.randn(9, 2), torch.ones(9, 2)), indexed_images(9)).to_data()
    assert json.loads(json.dumps(data)) == data
    assert data["mutual_information"]["unit"] == "nats per image"
    assert data["mutual_information"]["num_images"] == 9
    assert data["log_num_images"] == math.log(9)
