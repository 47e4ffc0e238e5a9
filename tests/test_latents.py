"""Laws: rates are KL divergences, analytic where they can be and the same by Monte Carlo."""

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)

from vaekit.distributions import DiagonalGaussian, StandardNormal
from vaekit.terms import LatentTerms


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
def test_posterior_is_float32_whatever_the_features_are(precision: torch.dtype) -> None:
    posterior = DiagonalGaussian(7, 3).to(precision)
    assert posterior(torch.randn(2, 7, dtype=precision)).mean.dtype == torch.float32
