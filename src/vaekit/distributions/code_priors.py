r"""Priors over codes: distributions over the indices of the code vectors of an image.

A discrete model has a quantizer for a posterior (:mod:`vaekit.distributions.quantizers`), which gives T indices of K values
for each image. The uniform prior gives each sequence the same probability, so the rate is :math:`T \log K` for every image;
a model is trained with it. A better prior is fitted afterwards, such as the transformer in
:mod:`vaekit.distributions.transformer_prior`.

A prior of your own is a subclass of :class:`CodePrior` with the method ``indices``. Its layers are made in
:meth:`CodePrior.make_layers`, when a model has given it the sizes of its posterior, so no recipe repeats them.

References:
    | Neural Discrete Representation Learning (van den Oord et al., 2017), https://arxiv.org/abs/1711.00937
"""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import ModelError
from vaekit.distributions.code_vectors import CodeVectors, IndexDistribution
from vaekit.distributions.posteriors import Posterior
from vaekit.distributions.priors import Encode, Prior
from vaekit.distributions.quantizers import Quantizer


class CodePrior(Prior):
    """The base class of priors over codes: a distribution over the indices of an image.

    Arguments:
        latent_dim: D, the number of latents. Not used.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.

    Attributes:
        num_codes: K, the number of values of an index; 0 before :meth:`adapt`.
        length: T, the number of indices of an image.
        num_levels: L, the number of indices at a position: each L-th index is of one codebook.
    """

    def __init__(self, latent_dim: int, context_dim: int = 0, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.num_codes = self.length = 0
        self.num_levels = 1
        self._codes: tuple[Quantizer, ...] = ()  # in a tuple, so that its weights are not saved twice

    def adapt(self, codes: Quantizer) -> None:
        """Makes the layers for the codes of a posterior; if it has layers, only takes codes of the same sizes.

        Raises:
            ModelError: If the layers were made for other sizes.
        """
        sizes = (codes.num_codes, codes.length, codes.num_levels)
        if self.num_codes and sizes != (self.num_codes, self.length, self.num_levels):
            raise ModelError(
                f"the prior is of {self.length} indices of {self.num_codes} codes and the posterior has {codes.length} of "
                f"{codes.num_codes}; give each model a prior of its own"
            )
        self._codes = (codes,)
        if not self.num_codes:
            self.num_codes, self.length, self.num_levels = sizes
            self.make_layers()

    @property
    def codes(self) -> Quantizer:
        """The codes that the indices name, those of the model's posterior.

        Raises:
            ModelError: If the prior is not that of a model yet.
        """
        if not self._codes:
            raise ModelError(f"{type(self).__name__}: has no codes yet; make a model of it and a discrete posterior")
        return self._codes[0]

    def make_layers(self) -> None:
        """Makes the layers, whose sizes are now known; by default none."""

    @abstractmethod
    def indices(self, batch_size: int, context: Tensor | None = None) -> IndexDistribution:
        """Returns the distribution over indices, with batch shape (B) and event shape (T).

        Arguments:
            batch_size: B.
            context: The context, with shape (B, E), or None if the model is not conditional.
        """

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> CodeVectors:
        """Returns the distribution over code vectors, with batch shape (B) and event shape (D)."""
        return CodeVectors(self.indices(batch_size, context), self.codes)


class UniformIndices(IndexDistribution):
    """The uniform distribution over sequences of T indices from 0 to K - 1.

    Arguments:
        batch_size: B.
        length: T.
        num_codes: K.
        device: The device of samples.
    """

    def __init__(self, batch_size: int, length: int, num_codes: int, device: torch.device) -> None:
        self.num_codes = num_codes
        self.device = device
        super().__init__(torch.Size([batch_size]), torch.Size([length]), validate_args=False)

    @property
    def marginals(self) -> Tensor:
        """The probabilities of each index, with shape (T, K)."""
        return torch.full((self.event_shape[0], self.num_codes), 1 / self.num_codes, device=self.device)

    def tempered(self, temperature: float) -> "UniformIndices":
        """Returns the same distribution."""
        return self

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples indices, with shape (*sample_shape, B, T)."""
        return torch.randint(self.num_codes, self._extended_shape(torch.Size(sample_shape)), device=self.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns -T log K for each sequence, in nats, with shape (*, B)."""
        log_prob = -self.event_shape[0] * math.log(self.num_codes)
        return torch.full(value.shape[:-1], log_prob, device=value.device)


class UniformCodes(CodePrior):
    """The uniform distribution over codes. It does not depend on the context, and has no weights.

    Arguments:
        latent_dim: D, the number of latents. Not used.
        context_dim: E, the size of the context. Not used.
        shape: The shape of an image (C, H, W). Not used.
    """

    schedule = None

    def indices(self, batch_size: int, context: Tensor | None = None) -> UniformIndices:
        """Returns the uniform distribution, with batch shape (B) and event shape (T)."""
        return UniformIndices(batch_size, self.length, self.num_codes, self.codes.device)


def join_codes(posterior: Posterior, prior: Prior) -> None:
    """Gives a prior over codes those of a discrete posterior.

    Raises:
        ModelError: If one of the two is discrete and the other is not.
    """
    if isinstance(posterior, Quantizer) and isinstance(prior, CodePrior):
        prior.adapt(posterior)
    elif isinstance(posterior, Quantizer):
        raise ModelError(
            f"prior: {type(prior).__name__} is a density and the posterior {type(posterior).__name__} has codes; choose a "
            "prior over codes, uniform-codes or transformer"
        )
    elif isinstance(prior, CodePrior):
        raise ModelError(
            f"prior: {type(prior).__name__} is over codes and the posterior {type(posterior).__name__} has none; choose a "
            "discrete posterior, as posterior: {name: vq}"
        )
