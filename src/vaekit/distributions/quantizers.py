r"""Discrete posteriors: q(z|x) is one point, the code vectors nearest to the encoder's output.

The features give a vector :math:`e_p \in \mathbb{R}^d` at each of P positions: the points of feature maps, or a number of
positions that a vector of features is divided into. Each is replaced by a code vector.

- :class:`VectorQuantizer`: the nearest of K vectors of a codebook.
- :class:`ResidualQuantizer`: the nearest of K vectors, then the nearest to what is left, in L codebooks.
- :class:`vaekit.distributions.finite_scalar.FiniteScalarQuantizer`: each number is rounded to one of a few levels.

An image is named by T indices: one at each position, or L. Latents are ordered as feature maps (d, h, w) are, so that a
convolutional decoder starts from them. What a quantizer adds to the loss is the commitment :math:`\|e - \mathrm{sg}(q)\|^2`.

References:
    | Neural Discrete Representation Learning (van den Oord et al., 2017), https://arxiv.org/abs/1711.00937
    | SoundStream (Zeghidour et al., 2021) for residual quantization, https://arxiv.org/abs/2107.03312
"""

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaekit.core.errors import ConfigError
from vaekit.core.terms import Terms
from vaekit.distributions.code_vectors import PointMass
from vaekit.distributions.codebook import Codebook
from vaekit.distributions.posteriors import Posterior
from vaekit.distributions.quantizer_gradient import QuantizerGradient, replaced

NumCodes = Annotated[int, Field(ge=2, le=65_536)]
"""K, the number of codes of a codebook."""
Decay = Annotated[float, Field(ge=0, lt=1)]
"""The decay of the moving averages of a codebook."""
Share = Annotated[float, Field(ge=0, lt=1)]
"""The share of the mean count of the codes up to which a code is dead."""


class Quantizer(Posterior):
    """The base class of discrete posteriors.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps.
        latent_dim: D, the number of latents.
        positions: P, the number of positions of a vector of features; None for one. With maps it is hw.
        num_levels: L, the number of code vectors at a position.

    Attributes:
        num_codes: K, the number of values of an index.
        length: T = PL, the number of indices of an image, L after each other for each position.

    Raises:
        ConfigError: If ``latent_dim`` is not a multiple of PL, or ``positions`` is not hw.
    """

    num_codes: int

    def __init__(
        self, num_features: int | tuple[int, int, int], latent_dim: int, positions: int | None = None, num_levels: int = 1
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.latent_dim = latent_dim
        self.positions = positions
        self.num_levels = num_levels
        self.num_positions = _num_positions(num_features, positions)
        self.length = self.num_positions * num_levels
        self.dim, remainder = divmod(latent_dim, self.length)
        if remainder:
            raise ConfigError(
                f"latent_dim {latent_dim}: there are {self.length} code vectors of an image "
                f"({self.num_positions} positions); choose a multiple of {self.length}"
            )
        size = latent_dim // num_levels
        self.project: nn.Module
        if isinstance(num_features, int):
            self.project = nn.Linear(num_features, size)
        else:
            self.project = nn.Conv2d(num_features[0], size // self.num_positions, 1)

    def forward(self, features: Tensor) -> PointMass:
        """Returns the point, with batch shape (B) and event shape (D). It is float32 for features of every precision."""
        vectors = self.project(features).flatten(1).float().unflatten(1, (self.dim, self.num_positions)).transpose(1, 2)
        with torch.autocast(vectors.device.type, enabled=False):  # in bfloat16 other codes would be the nearest
            codes, indices, inputs = self.quantize(vectors)
        return PointMass(self._latents(codes), indices.flatten(1), self._latents(inputs))

    @property
    def device(self) -> torch.device:
        """The device of the codes."""
        return next(self.parameters()).device

    @abstractmethod
    def quantize(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replaces vectors by code vectors; in training, codes are learned from them.

        Arguments:
            vectors: The vectors, with shape (B, P, d).

        Returns:
            Code vectors, with shape (B, P, L, d), their indices, with shape (B, P, L), and the vectors that they replace,
            with shape (B, P, L, d).
        """

    @abstractmethod
    def vectors_of(self, indices: Tensor) -> Tensor:
        """Returns the code vectors, with shape (*, P, L, d), of indices with shape (*, P, L)."""

    @abstractmethod
    def find(self, vectors: Tensor) -> Tensor:
        """Returns the indices of code vectors, with shape (*, P, L), of shape (*, P, L, d); else of near codes."""

    @abstractmethod
    def all_vectors(self) -> Tensor:
        """Returns all code vectors of each level, with shape (L, K, d)."""

    def embed(self, indices: Tensor) -> Tensor:
        """Returns code vectors z, with shape (*, D), of indices with shape (*, T)."""
        return self._latents(self.vectors_of(indices.unflatten(-1, (self.num_positions, self.num_levels))))

    def indices_of(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the indices of z, with shape (*, T), and whether z consists of code vectors, with shape (*)."""
        vectors = z.unflatten(-1, (self.num_levels * self.dim, self.num_positions)).transpose(-1, -2)
        vectors = vectors.unflatten(-1, (self.num_levels, self.dim))
        with torch.autocast(z.device.type, enabled=False):
            indices = self.find(vectors.detach().float())
            are_codes = (self.vectors_of(indices) == vectors).flatten(-3).all(-1)
        return indices.flatten(-2), are_codes

    def moments(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of z, each with shape (D), of probabilities of each index, with shape (T, K)."""
        weights, vectors = probabilities.unflatten(0, (self.num_positions, self.num_levels)), self.all_vectors()
        mean = torch.einsum("plk,lkd->pld", weights, vectors)
        square = torch.einsum("plk,lkd->pld", weights, vectors.square())
        return self._latents(mean), self._latents((square - mean.square()).clamp(min=0))

    def _latents(self, vectors: Tensor) -> Tensor:
        """Latents of shape (*, D), ordered as maps (L d, h, w), of vectors with shape (*, P, L, d)."""
        return vectors.flatten(-2).transpose(-1, -2).flatten(-2)


class CodebookQuantizer(Quantizer):
    """The base class of quantizers with codebooks, which are learned as moving averages.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps.
        latent_dim: D, the number of latents.
        positions: P, the number of positions of a vector of features; None for one. With maps it is hw.
        num_levels: L, the number of codebooks.
        codes: K, the number of vectors of a codebook.
        decay: The decay of the moving averages.
        restart: The share of the mean count of the codes up to which a code is dead, and is restarted; 0 for no restarts.
        gradient: The gradient through quantization, ``rotation`` or ``straight-through``.
    """

    def __init__(
        self,
        num_features: int | tuple[int, int, int],
        latent_dim: int,
        positions: int | None,
        num_levels: int,
        codes: int,
        decay: float,
        restart: float,
        gradient: QuantizerGradient,
    ) -> None:
        super().__init__(num_features, latent_dim, positions, num_levels)
        self.codes = self.num_codes = codes
        self.decay = decay
        self.restart = restart
        self.gradient: QuantizerGradient = gradient
        self.codebooks = nn.ModuleList(Codebook(codes, self.dim, decay, restart) for _ in range(num_levels))

    def quantize(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replaces vectors level by level; in training each codebook is moved before its code vectors are taken."""
        codes, indices, inputs = [], [], []
        rest = vectors
        for codebook in self._codebooks():
            if self.training and torch.is_grad_enabled():
                codebook.learn(rest)
            indices.append(codebook.nearest(rest))
            chosen = codebook.vectors[indices[-1]]
            codes.append(replaced(rest, chosen, self.gradient, 1 / self.num_levels))
            inputs.append(rest)
            rest = rest - chosen
        return torch.stack(codes, 2), torch.stack(indices, 2), torch.stack(inputs, 2)

    def penalties(self, terms: Terms) -> dict[str, Tensor]:
        """Returns ``commitment``, the squared distance of vectors to their code vectors, with shape (B)."""
        qz = terms.latents[0].qz
        assert isinstance(qz, PointMass)  # a quantizer is the posterior of the only layer
        return {"commitment": (qz.inputs - qz.loc.detach()).square().sum(-1)}

    def vectors_of(self, indices: Tensor) -> Tensor:
        """Returns the code vectors, with shape (*, P, L, d), of indices with shape (*, P, L)."""
        levels = zip(self._codebooks(), indices.unbind(-1), strict=True)
        return torch.stack([codebook.vectors[index] for codebook, index in levels], -2)

    def find(self, vectors: Tensor) -> Tensor:
        """Returns the indices of code vectors, with shape (*, P, L), of shape (*, P, L, d); else of near codes."""
        levels = zip(self._codebooks(), vectors.unbind(-2), strict=True)
        return torch.stack([codebook.find(vector) for codebook, vector in levels], -1)

    def all_vectors(self) -> Tensor:
        """Returns all code vectors of each level, with shape (L, K, d)."""
        return torch.stack([codebook.vectors for codebook in self._codebooks()])

    @property
    def num_restarts(self) -> int:
        """How many dead codes were restarted in training."""
        return sum(int(codebook.num_restarts) for codebook in self._codebooks())

    def _codebooks(self) -> list[Codebook]:
        return [codebook for codebook in self.codebooks if isinstance(codebook, Codebook)]


class VectorQuantizer(CodebookQuantizer):
    """The nearest vector of one codebook, which all positions share.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps.
        latent_dim: D = Pd, the number of latents.
        codes: K, the number of vectors of the codebook.
        positions: P, the number of positions of a vector of features; None for one. With maps it is hw.
        decay: The decay of the moving averages.
        restart: The share of the mean count of the codes up to which a code is dead, and is restarted; 0 for no restarts.
        gradient: The gradient through quantization, ``rotation`` or ``straight-through``.
    """

    def __init__(
        self,
        num_features: int | tuple[int, int, int],
        latent_dim: int,
        codes: NumCodes = 512,
        positions: PositiveInt | None = None,
        decay: Decay = 0.99,
        restart: Share = 0.03,
        gradient: QuantizerGradient = "rotation",
    ) -> None:
        super().__init__(num_features, latent_dim, positions, 1, codes, decay, restart, gradient)


class ResidualQuantizer(CodebookQuantizer):
    r"""The nearest vectors of L codebooks, each to what the ones before have left.

    The latents are the code vectors of all levels, one beside the other, so that they determine their indices; a decoder
    that needs their sum learns it in its first layer. Each level passes :math:`1/L` of its gradient, so that the gradient of
    a function of the sum is that of one quantizer.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps.
        latent_dim: D = PLd, the number of latents.
        codes: K, the number of vectors of a codebook.
        quantizers: L, the number of codebooks.
        positions: P, the number of positions of a vector of features; None for one. With maps it is hw.
        decay: The decay of the moving averages.
        restart: The share of the mean count of the codes up to which a code is dead, and is restarted; 0 for no restarts.
        gradient: The gradient through quantization, ``rotation`` or ``straight-through``.
    """

    def __init__(
        self,
        num_features: int | tuple[int, int, int],
        latent_dim: int,
        codes: NumCodes = 256,
        quantizers: Annotated[int, Field(ge=1, le=32)] = 3,
        positions: PositiveInt | None = None,
        decay: Decay = 0.99,
        restart: Share = 0.03,
        gradient: QuantizerGradient = "rotation",
    ) -> None:
        super().__init__(num_features, latent_dim, positions, quantizers, codes, decay, restart, gradient)
        self.quantizers = quantizers


def _num_positions(num_features: int | tuple[int, int, int], positions: int | None) -> int:
    if isinstance(num_features, int):
        return positions or 1
    num = num_features[1] * num_features[2]
    if positions not in (None, num):
        raise ConfigError(
            f"model.posterior.positions {positions}: the encoder ends in maps of {num_features[1]}x{num_features[2]}, "
            f"which have {num}; leave it out"
        )
    return num
