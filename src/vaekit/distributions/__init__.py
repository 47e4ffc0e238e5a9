"""Probability: likelihoods, posteriors and priors, each a module that returns a ``torch.distributions.Distribution``.

The tables list every choice by the name that a recipe gives it; a class of your own goes into its table.
"""

from collections.abc import Callable

from vaekit.distributions.latents import DiagonalGaussian, Posterior, Prior, StandardNormal
from vaekit.distributions.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from vaekit.distributions.mixture import LogisticMixture

LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous-bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "logistic-mixture": LogisticMixture,
}
POSTERIORS: dict[str, Callable[..., Posterior]] = {"diagonal-gaussian": DiagonalGaussian}
PRIORS: dict[str, Callable[..., Prior]] = {"standard-normal": StandardNormal}

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Bernoulli",
    "ContinuousBernoulli",
    "DiagonalGaussian",
    "Gaussian",
    "Likelihood",
    "LogisticMixture",
    "Posterior",
    "Prior",
    "StandardNormal",
]
