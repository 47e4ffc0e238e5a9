"""Likelihoods, posteriors and priors: modules that return a ``torch.distributions.Distribution``.

The registries map the name in a recipe to a class. A class of your own is registered by a decorator:
``@PRIORS.register("mine")``.
"""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names
from vaekit.core.registry import Registry

if TYPE_CHECKING:
    from vaekit.distributions.code_priors import CodePrior, UniformCodes
    from vaekit.distributions.code_vectors import CodeVectors, PointMass
    from vaekit.distributions.finite_scalar import FiniteScalarQuantizer
    from vaekit.distributions.flows import FlowPosterior, FlowPrior
    from vaekit.distributions.gaussian_mixtures import GaussianMixture, MixtureOfGaussians, VampPrior
    from vaekit.distributions.ladder_path import Descent, PathDistribution, ResidualGaussian, ladder_gaussian
    from vaekit.distributions.laplace import Laplace
    from vaekit.distributions.layered import LayeredDistribution
    from vaekit.distributions.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
    from vaekit.distributions.logistic_mixture import LogisticMixture
    from vaekit.distributions.posteriors import DiagonalGaussian, Posterior
    from vaekit.distributions.priors import Encode, Prior, StandardNormal
    from vaekit.distributions.quantizers import Quantizer, ResidualQuantizer, VectorQuantizer
    from vaekit.distributions.reparameterization import is_diagonal_gaussian, reparameterize, sample_from_noise
    from vaekit.distributions.transformer_prior import TransformerPrior

LIKELIHOODS: "Registry[Likelihood]" = Registry(
    "LIKELIHOODS",
    {
        "bernoulli": "vaekit.distributions.likelihoods.Bernoulli",
        "continuous-bernoulli": "vaekit.distributions.likelihoods.ContinuousBernoulli",
        "gaussian": "vaekit.distributions.likelihoods.Gaussian",
        "laplace": "vaekit.distributions.laplace.Laplace",
        "logistic-mixture": "vaekit.distributions.logistic_mixture.LogisticMixture",
    },
)
POSTERIORS: "Registry[Posterior]" = Registry(
    "POSTERIORS",
    {
        "diagonal-gaussian": "vaekit.distributions.posteriors.DiagonalGaussian",
        "flow": "vaekit.distributions.flows.FlowPosterior",
        "residual": "vaekit.distributions.ladder_path.ResidualGaussian",
        "vq": "vaekit.distributions.quantizers.VectorQuantizer",
        "residual-vq": "vaekit.distributions.quantizers.ResidualQuantizer",
        "fsq": "vaekit.distributions.finite_scalar.FiniteScalarQuantizer",
    },
)
PRIORS: "Registry[Prior]" = Registry(
    "PRIORS",
    {
        "standard-normal": "vaekit.distributions.priors.StandardNormal",
        "mixture-of-gaussians": "vaekit.distributions.gaussian_mixtures.MixtureOfGaussians",
        "vamp": "vaekit.distributions.gaussian_mixtures.VampPrior",
        "flow": "vaekit.distributions.flows.FlowPrior",
        "uniform-codes": "vaekit.distributions.code_priors.UniformCodes",
        "transformer": "vaekit.distributions.transformer_prior.TransformerPrior",
        "maf": "vaekit.distributions.maf.MAFPrior",
        "gaussian": "vaekit.distributions.full_mixtures.GaussianPrior",
        "mixture": "vaekit.distributions.full_mixtures.MixturePrior",
        "two-stage": "vaekit.distributions.two_stage.TwoStagePrior",
        "flow-matching": "vaekit.distributions.flow_matching.FlowMatchingPrior",
    },
)

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "PRIORS",
    "Bernoulli",
    "CodePrior",
    "CodeVectors",
    "ContinuousBernoulli",
    "Descent",
    "DiagonalGaussian",
    "Encode",
    "FiniteScalarQuantizer",
    "FlowPosterior",
    "FlowPrior",
    "Gaussian",
    "GaussianMixture",
    "Laplace",
    "LayeredDistribution",
    "Likelihood",
    "LogisticMixture",
    "MixtureOfGaussians",
    "PathDistribution",
    "PointMass",
    "Posterior",
    "Prior",
    "Quantizer",
    "ResidualGaussian",
    "ResidualQuantizer",
    "StandardNormal",
    "TransformerPrior",
    "UniformCodes",
    "VampPrior",
    "VectorQuantizer",
    "is_diagonal_gaussian",
    "ladder_gaussian",
    "reparameterize",
    "sample_from_noise",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Bernoulli": "likelihoods",
        "CodePrior": "code_priors",
        "CodeVectors": "code_vectors",
        "ContinuousBernoulli": "likelihoods",
        "Descent": "ladder_path",
        "DiagonalGaussian": "posteriors",
        "Encode": "priors",
        "FiniteScalarQuantizer": "finite_scalar",
        "FlowPosterior": "flows",
        "FlowPrior": "flows",
        "Gaussian": "likelihoods",
        "GaussianMixture": "gaussian_mixtures",
        "Laplace": "laplace",
        "LayeredDistribution": "layered",
        "Likelihood": "likelihoods",
        "LogisticMixture": "logistic_mixture",
        "MixtureOfGaussians": "gaussian_mixtures",
        "PathDistribution": "ladder_path",
        "PointMass": "code_vectors",
        "Posterior": "posteriors",
        "Prior": "priors",
        "Quantizer": "quantizers",
        "ResidualGaussian": "ladder_path",
        "ResidualQuantizer": "quantizers",
        "StandardNormal": "priors",
        "TransformerPrior": "transformer_prior",
        "UniformCodes": "code_priors",
        "VampPrior": "gaussian_mixtures",
        "VectorQuantizer": "quantizers",
        "is_diagonal_gaussian": "reparameterization",
        "ladder_gaussian": "ladder_path",
        "reparameterize": "reparameterization",
        "sample_from_noise": "reparameterization",
    },
)
