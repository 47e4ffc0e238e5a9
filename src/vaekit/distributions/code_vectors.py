r"""Distributions over code vectors: the posterior, which is one point, and the prior, which is given by indices.

The latents of a discrete model are the code vectors of all positions of an image, one vector :math:`z \in \mathbb{R}^D`.
Each is named by its index, so an image is a sequence of indices :math:`i(z)`. The posterior has all its mass on one point,
and the prior is a distribution over sequences of indices:

.. math::
    q(z|x) = \mathbb{1}[z = z(x)], \qquad p(z) = p(i(z)), \qquad
    \mathrm{KL}(q(z|x) \,\|\, p(z)) = -\log p(i(z(x))).

Both are probability masses. The rate is the length of the code of the indices, in nats, and the ELBO, with the only z that q
allows, is a lower bound of :math:`\log p(x) = \log \sum_z p(z) p(x|z)`. With one point every importance-weighted bound
equals the ELBO.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class PointMass(Distribution):
    """A posterior that has all its mass on one point.

    Arguments:
        loc: The points z, with shape (B, D), through which a gradient reaches the encoder.
        indices: The indices of the codes, with shape (B, T).
        inputs: The vectors that were quantized, in the places of their codes, with shape (B, D).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, indices: Tensor, inputs: Tensor) -> None:
        self.loc = loc
        self.indices = indices
        self.inputs = inputs
        super().__init__(loc.shape[:1], loc.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point, with shape (B, D)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Zeros, with shape (B, D)."""
        return torch.zeros_like(self.loc)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Returns the points, with shape (*sample_shape, B, D)."""
        return self.loc.expand(self._extended_shape(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns log q(z|x), which is 0 for the point and minus infinity elsewhere, with shape (*, B)."""
        is_point = (value == self.loc).all(-1)
        return torch.zeros(is_point.shape, device=value.device).masked_fill(~is_point, -torch.inf)


class Codes(Protocol):
    """What a quantizer knows of its codes."""

    latent_dim: int

    def embed(self, indices: Tensor) -> Tensor:
        """Returns code vectors z, with shape (*, D), of indices with shape (*, T)."""

    def indices_of(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the indices of z, with shape (*, T), and whether z consists of code vectors, with shape (*)."""

    def moments(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of z, each with shape (D), of probabilities of each index, with shape (T, K)."""


class IndexDistribution(Distribution):
    """A distribution over sequences of T indices from 0 to K - 1, with batch shape (B) and event shape (T)."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    @property
    @abstractmethod
    def marginals(self) -> Tensor:
        """The probabilities of each index, exact or estimated, with shape (T, K)."""

    @abstractmethod
    def tempered(self, temperature: float) -> "IndexDistribution":
        """Returns the distribution with the logits of each index, given those before, divided by a temperature."""


class CodeVectors(Distribution):
    """A prior over code vectors, given by a distribution over their indices.

    Arguments:
        indices: The distribution over indices, with batch shape (B) and event shape (T).
        codes: The codes that the indices name.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, indices: IndexDistribution, codes: Codes) -> None:
        self.indices = indices
        self.codes = codes
        super().__init__(indices.batch_shape, torch.Size([codes.latent_dim]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, by the probabilities of each index, with shape (B, D)."""
        return self.codes.moments(self.indices.marginals)[0].expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each latent, by the probabilities of each index, with shape (B, D)."""
        return self.codes.moments(self.indices.marginals)[1].expand(self._extended_shape())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples code vectors, with shape (*sample_shape, B, D)."""
        with torch.no_grad():
            return self.codes.embed(self.indices.sample(torch.Size(sample_shape)))

    def tempered(self, temperature: float) -> "CodeVectors":
        """Returns the distribution whose indices are sampled at a temperature; below 1 the likely ones are more frequent."""
        return CodeVectors(self.indices.tempered(temperature), self.codes)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns log p(z) in nats, with shape (*, B); minus infinity where z does not consist of code vectors."""
        value = value.expand(torch.broadcast_shapes(value.shape, self._extended_shape()))
        indices, are_codes = self.codes.indices_of(value)
        log_prob: Tensor = self.indices.log_prob(indices)
        return log_prob.masked_fill(~are_codes, -torch.inf)
