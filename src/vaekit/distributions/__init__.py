"""Likelihoods, posteriors and priors: modules that return a ``torch.distributions.Distribution``.

The registries map the name in a recipe to a class. A class of your own is registered by a decorator:
``@PRIORS.register("mine")``.
"""

from vaekit.core.config import Registry
from vaekit.distributions.flows import FlowPosterior, FlowPrior
from vaekit.distributions.gaussian_mixtures import GaussianMixture, MixtureOfGaussians, VampPrior
from vaekit.distributions.layered import LayeredDistribution
from vaekit.distributions.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from vaekit.distributions.logistic_mixture import LogisticMixture
from vaekit.distributions.posteriors import DiagonalGaussian, Posterior
from vaekit.distributions.priors import Encode, Prior, StandardNormal
from vaekit.distributions.reparameterization import is_diagonal_gaussian, reparameterize, sample_from_noise

LIKELIHOODS: Registry[Likelihood] = Registry(
    "LIKELIHOODS",
    {
        "bernoulli": Bernoulli,
        "continuous-bernoulli": ContinuousBernoulli,
        "gaussian": Gaussian,
        "logistic-mixture": LogisticMixture,
    },
)
POSTERIORS: Registry[Posterior] = Registry("POSTERIORS", {"diagonal-gaussian": DiagonalGaussian, "flow": FlowPosterior})
PRIORS: Registry[Prior] = Registry(
    "PRIORS",
    {
        "standard-normal": StandardNormal,
        "mixture-of-gaussians": MixtureOfGaussians,
        "vamp": VampPrior,
        "flow": FlowPrior,
    },
)

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
    "LayeredDistribution",
    "Likelihood",
    "LogisticMixture",
    "MixtureOfGaussians",
    "Posterior",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "is_diagonal_gaussian",
    "reparameterize",
    "sample_from_noise",
]
