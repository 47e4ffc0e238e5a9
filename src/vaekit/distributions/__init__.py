"""Probability: likelihoods, posteriors and priors, each a module that returns a ``torch.distributions.Distribution``.

The tables list every choice by the name that a recipe gives it; a class of your own goes into its table.
"""

from collections.abc import Callable

from vaekit.distributions.flows import FlowPosterior, FlowPrior
from vaekit.distributions.gaussian_mixtures import GaussianMixture, MixtureOfGaussians, VampPrior
from vaekit.distributions.latents import (
    DiagonalGaussian,
    Encode,
    Posterior,
    Prior,
    StandardNormal,
    is_diagonal_gaussian,
    reparameterize,
    sampled,
)
from vaekit.distributions.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from vaekit.distributions.logistic_mixture import LogisticMixture

LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous-bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "logistic-mixture": LogisticMixture,
}
POSTERIORS: dict[str, Callable[..., Posterior]] = {"diagonal-gaussian": DiagonalGaussian, "flow": FlowPosterior}
PRIORS: dict[str, Callable[..., Prior]] = {
    "standard-normal": StandardNormal,
    "mixture-of-gaussians": MixtureOfGaussians,
    "vamp": VampPrior,
    "flow": FlowPrior,
}

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Bernoulli",
    "ContinuousBernoulli",
    "DiagonalGaussian",
    "Encode",
    "FlowPosterior",
    "FlowPrior",
    "Gaussian",
    "GaussianMixture",
    "Likelihood",
    "LogisticMixture",
    "MixtureOfGaussians",
    "Posterior",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "is_diagonal_gaussian",
    "reparameterize",
    "sampled",
]
