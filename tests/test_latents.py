"""Laws of posteriors and priors: rates are KL divergences, analytic or by Monte Carlo; samples fit densities."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)

from tests.oracles import documented_class
from tests.test_contracts import CODE_PRIORS, DISCRETE
from vaekit.core.terms import LatentTerms
from vaekit.distributions import POSTERIORS, PRIORS, DiagonalGaussian, StandardNormal, priors


def test_rate_is_the_closed_form() -> None:
    posterior, prior = DiagonalGaussian(7, 3), StandardNormal(3)
    features = torch.randn(5, 7)
    qz = posterior(features)
    rate = LatentTerms(qz.rsample(torch.Size([2])), qz, prior(5)).rate()
    mu, logvar = posterior.mu(features), posterior.logvar(features)
    torch.testing.assert_close(rate, 0.5 * (mu**2 + logvar.exp() - 1 - logvar))
    torch.testing.assert_close(rate.sum(-1), kl_divergence(qz, prior(5)))
    assert (rate >= 0).all()


def test_analytic_rate_equals_monte_carlo() -> None:
    qz, pz = DiagonalGaussian(7, 3)(3 * torch.randn(5, 7)), StandardNormal(3)(5)
    terms = LatentTerms(qz.rsample(torch.Size([20_000])), qz, pz)
    ratios = -terms.log_ratio().double()
    errors = ratios.std(0) / 20_000**0.5
    assert ((ratios.mean(0) - terms.rate().sum(-1)).abs() / errors).max() < 5


def test_rate_without_an_analytic_form_is_monte_carlo_for_each_latent() -> None:
    qz = Independent(Normal(torch.randn(5, 3), torch.rand(5, 3) + 0.3), 1)
    pz = Independent(StudentT(torch.full((5, 3), 4.0)), 1)
    z = qz.rsample(torch.Size([30_000]))
    ratios = (qz.base_dist.log_prob(z) - pz.base_dist.log_prob(z)).double()
    rate = LatentTerms(z, qz, pz).rate()
    assert rate.shape == (5, 3)
    torch.testing.assert_close(rate, ratios.mean(0).float())
    assert (rate > -0.05).all()


def test_rate_of_a_joint_prior_is_one_number() -> None:
    qz = Independent(Normal(torch.randn(5, 2), torch.rand(5, 2) + 0.3), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(5, 4)), Independent(Normal(torch.randn(5, 4, 2), 1.0), 1))
    terms = LatentTerms(qz.rsample(torch.Size([9])), qz, mixture)
    assert terms.rate().shape == (5, 1)
    torch.testing.assert_close(terms.rate().squeeze(-1), -terms.log_ratio().mean(0))


def test_rate_with_a_conditional_prior_for_each_sample_is_its_mean() -> None:
    qz = Independent(Normal(torch.randn(4, 5, 2), torch.rand(4, 5, 2) + 0.3), 1)
    pz = Independent(Normal(torch.randn(4, 5, 2), 1.0), 1)
    rate = LatentTerms(qz.rsample(), qz, pz).rate()
    torch.testing.assert_close(rate, kl_divergence(qz.base_dist, pz.base_dist).mean(0))


def test_rate_of_full_covariances() -> None:
    qz = MultivariateNormal(torch.randn(5, 2), torch.eye(2) * 0.5)
    pz = MultivariateNormal(torch.zeros(5, 2), torch.eye(2))
    terms = LatentTerms(qz.rsample(torch.Size([3])), qz, pz)
    torch.testing.assert_close(terms.rate(), kl_divergence(qz, pz).unsqueeze(-1))


def test_standard_normal_samples_fit_and_log_prob_is_torch() -> None:
    pz = StandardNormal(4)(20_000)
    z = pz.sample().double()
    assert (z.mean(0).abs() < 5 / 20_000**0.5).all()
    assert ((z.var(0) - 1).abs() < 5 * (2 / 20_000) ** 0.5).all()
    torch.testing.assert_close(pz.log_prob(z.float()), Normal(0.0, 1.0).log_prob(z.float()).sum(-1))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_posterior_is_float32_for_features_of_every_precision(precision: torch.dtype) -> None:
    posterior = DiagonalGaussian(7, 3).to(precision)
    assert posterior(torch.randn(2, 7, dtype=precision)).mean.dtype == torch.float32


def check_samples_fit(distribution: Distribution, num: int, latents: int) -> None:
    """E[r(z) / p(z)] under p is 1 for every density r. Here r is a Gaussian with 0.9 times the scale of p."""
    assert (distribution.batch_shape, distribution.event_shape) == ((num,), (latents,))
    num_samples = 20_000
    with torch.no_grad():
        z = distribution.sample(torch.Size([num_samples]))
        gaussian = Independent(Normal(distribution.mean, 0.9 * distribution.stddev), 1)
        log_p, log_r = distribution.log_prob(z), gaussian.log_prob(z)
    assert z.shape == (num_samples, num, latents)
    assert z.dtype == log_p.dtype == torch.float32
    ratios = (log_r - log_p).double().exp()
    assert ((ratios.mean(0) - 1).abs() / (ratios.std(0) / num_samples**0.5)).max() < 5
    # Mean and standard deviation equal those of the samples, within the error of the estimates of a flow.
    assert ((z.mean(0) - distribution.mean).abs() / distribution.stddev).max() < 0.25
    assert (z.std(0) / distribution.stddev - 1).abs().max() < 0.25


def perturb(part: torch.nn.Module) -> None:
    """Moves parameters away from their initialization, where a mismatch could be hidden."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


@pytest.mark.parametrize("name", [name for name in PRIORS if PRIORS[name].has_density and name not in CODE_PRIORS])
@pytest.mark.parametrize("latents", [1, 3])
@pytest.mark.parametrize("context_dim", [0, 4])
def test_samples_of_every_prior_fit_its_density(name: str, latents: int, context_dim: int) -> None:
    prior = PRIORS[name](latent_dim=latents, context_dim=context_dim, shape=(1, 3, 2))
    perturb(prior)
    posterior = DiagonalGaussian(6, latents)

    def encode(x: torch.Tensor, context: torch.Tensor | None) -> Distribution:
        return posterior(10 * x.flatten(1))

    context = torch.randn(2, context_dim) if context_dim else None
    check_samples_fit(prior(2, context, encode), 2, latents)


@pytest.mark.parametrize("name", [name for name in POSTERIORS if name not in (*DISCRETE, "residual")])
@pytest.mark.parametrize("latents", [1, 3])
@pytest.mark.parametrize("features", [(7,), (5, 1, 1)])
def test_samples_of_every_posterior_fit_its_density(name: str, latents: int, features: tuple[int, ...]) -> None:
    posterior = POSTERIORS[name](num_features=features[0] if len(features) == 1 else features, latent_dim=latents)
    perturb(posterior)
    check_samples_fit(posterior(torch.randn(2, *features)), 2, latents)


@pytest.mark.parametrize("latents", [1, 3])
def test_samples_of_the_posterior_of_a_layer_fit_its_density(latents: int) -> None:
    check_samples_fit(POSTERIORS["residual"](5, latents)(torch.randn(2, 4, latents)), 2, latents)


def test_the_documented_prior_is_a_laplace_distribution() -> None:
    pz = documented_class(priors, "LaplacePrior")(latent_dim=3, scale=2.0)(4)
    assert (pz.batch_shape, pz.event_shape) == ((4,), (3,))
    z = torch.randn(5, 4, 3)
    torch.testing.assert_close(pz.log_prob(z), -z.abs().sum(-1) / 2 - 3 * math.log(4))
