r"""Finite scalar quantization: each number of an encoder's output is rounded to one of a few levels.

A number e of n levels, bounded by a hyperbolic tangent, gives the level

.. math:: \mathrm{round}(h \tanh(e + s) - o), \qquad h = (n - 1)(1 + \epsilon) / 2, \quad o = \tfrac12 [n \text{ even}],
    \quad s = \mathrm{artanh}(o / h),

so that 0 is a level for every n. Divided by :math:`\lfloor n / 2 \rfloor` the levels lie in [-1, 1]. The code of d numbers
is the mixed-radix number of their levels, so there are :math:`K = \prod_i n_i` codes, and no codebook to learn.

References:
    | Finite Scalar Quantization (Mentzer et al., 2023), https://arxiv.org/abs/2309.15505
"""

import math
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from vaekit.core.errors import ConfigError
from vaekit.distributions.quantizer_gradient import replaced
from vaekit.distributions.quantizers import Quantizer

Levels = Annotated[list[Annotated[int, Field(ge=2, le=256)]], Field(min_length=1, max_length=16)]
"""The number of levels of each number at a position."""
MAX_FINITE_CODES = 65_536
"""The largest product of levels, as a prior has a probability for each code."""
BOUND_MARGIN = 1e-3
"""The share by which the bound of a number exceeds its outermost levels, so that they can be reached."""


class FiniteScalarQuantizer(Quantizer):
    """Each of d numbers at a position is rounded to one of its levels. The gradient is straight-through.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps.
        latent_dim: D = Pd, the number of latents.
        levels: The number of levels of each of the d numbers.
        positions: P, the number of positions of a vector of features; None for one. With maps it is hw.

    Raises:
        ConfigError: If ``latent_dim`` is not P times the number of levels, or there are more than 65,536 codes.
    """

    num_of_each: Tensor
    bases: Tensor

    def __init__(
        self,
        num_features: int | tuple[int, int, int],
        latent_dim: int,
        levels: Levels = [8, 6, 5],
        positions: PositiveInt | None = None,
    ) -> None:
        super().__init__(num_features, latent_dim, positions)
        self.levels = levels
        self.num_codes = math.prod(levels)
        if self.dim != len(levels):
            raise ConfigError(
                f"latent_dim {latent_dim}: {self.num_positions} positions of {len(levels)} levels have "
                f"{self.num_positions * len(levels)} latents; choose this number"
            )
        if self.num_codes > MAX_FINITE_CODES:
            raise ConfigError(f"levels {levels}: {self.num_codes:,} codes; choose levels of at most {MAX_FINITE_CODES:,}")
        bases = [math.prod(levels[:index]) for index in range(len(levels))]
        self.register_buffer("num_of_each", torch.tensor(levels), persistent=False)
        self.register_buffer("bases", torch.tensor(bases), persistent=False)

    def quantize(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rounds each number to its nearest level; what is rounded is the bounded number."""
        bounded = self._bounded(vectors)
        steps = bounded.detach().round().long()
        codes = replaced(bounded / self._half, self._values(steps))
        indices = ((steps + self._half) * self.bases).sum(-1)
        return codes.unsqueeze(2), indices.unsqueeze(2), (bounded / self._half).unsqueeze(2)

    def vectors_of(self, indices: Tensor) -> Tensor:
        """Returns the code vectors, with shape (*, P, 1, d), of indices with shape (*, P, 1)."""
        return self._values(indices.unsqueeze(-1) // self.bases % self.num_of_each - self._half)

    def find(self, vectors: Tensor) -> Tensor:
        """Returns the indices of code vectors, with shape (*, P, 1), of shape (*, P, 1, d); else of near codes."""
        steps = (vectors * self._half).round().long() + self._half
        return (steps.clamp(min=0).minimum(self.num_of_each - 1) * self.bases).sum(-1)

    def all_vectors(self) -> Tensor:
        """Returns all code vectors, with shape (1, K, d)."""
        return self.vectors_of(torch.arange(self.num_codes, device=self.bases.device)).unsqueeze(0)

    @property
    def _half(self) -> Tensor:
        return self.num_of_each // 2

    def _values(self, steps: Tensor) -> Tensor:
        """The values in [-1, 1] of steps from the level 0, with shape (*, d)."""
        return steps / self._half

    def _bounded(self, vectors: Tensor) -> Tensor:
        half = (self.num_of_each - 1) * (1 + BOUND_MARGIN) / 2
        offset = (self.num_of_each % 2 == 0) / 2
        return torch.tanh(vectors + torch.atanh(offset / half)) * half - offset
