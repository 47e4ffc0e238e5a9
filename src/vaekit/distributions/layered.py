r"""The joint distribution of several stochastic layers over one vector of latents.

A hierarchical model has latents :math:`z_1, \dots, z_L`, from the top layer down:

.. math:: p(z) = p(z_1) \prod_{l=2}^L p(z_l | z_1, \dots, z_{l-1}), \qquad z = (z_1, \dots, z_L) \in \mathbb{R}^D,
    \quad D = D_1 + \dots + D_L.

:class:`LayeredDistribution` presents the concatenation :math:`z` as one vector per image. So an estimator, sampler, plot or
score for a model with one layer works without change for a model with several.

References:
    | Ladder Variational Autoencoders (Sønderby et al., 2016), https://arxiv.org/abs/1602.02282
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit.core.errors import ModelError
from vaekit.distributions.reparameterization import reparameterize

Conditional = Callable[[Tensor], Distribution]
"""The distribution of a layer given the layers above: from z_1, ..., z_{l-1}, concatenated, with shape (*, B, D_1 + ... +
D_{l-1}), to p(z_l | z_1, ..., z_{l-1}) with batch shape (*, B) and event shape (D_l)."""


class LayeredDistribution(Distribution):
    """The joint distribution of the latents of L layers, concatenated from the top layer down.

    A posterior q(z_1, ..., z_L | x) has the same form: its conditionals are functions that capture the features of x.

    Arguments:
        top: The distribution of the top layer, with batch shape (B) and event shape (D_1).
        conditionals: The conditional distribution of each further layer, from the top down.
        sizes: The number of latents of each layer, D_1, ..., D_L.

    Raises:
        ModelError: If ``sizes`` does not match ``top`` and ``conditionals``. Methods raise it if a conditional returns a
            distribution of another batch shape or event shape than documented.

    Example:
        >>> top = Independent(Normal(torch.zeros(5, 2), 1.0), 1)
        >>> pz = LayeredDistribution(top, [lambda above: Independent(Normal(linear(above), 0.5), 1)], sizes=[2, 3])
        >>> pz.sample((4,)).shape
        torch.Size([4, 5, 5])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, top: Distribution, conditionals: Sequence[Conditional], sizes: Sequence[int]) -> None:
        if len(sizes) != len(conditionals) + 1:
            raise ModelError(f"sizes {list(sizes)}: expected one size for each of the {len(conditionals) + 1} layers")
        self.top = top
        self.conditionals = tuple(conditionals)
        self.sizes = tuple(sizes)
        self._check(0, top, top.batch_shape)
        super().__init__(top.batch_shape, torch.Size([sum(sizes)]), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the top layer supports ``rsample``. The other layers are not known before sampling."""
        return self.top.has_rsample

    @property
    def mean(self) -> Tensor:
        """The mean of each layer given the means of the layers above, with shape (B, D).

        It is the mean of the joint distribution if the conditional means are linear in the layers above.
        """
        return self._ancestral(lambda _, distribution: distribution.mean)

    @property
    def variance(self) -> Tensor:
        """The variance of each layer given the means of the layers above, with shape (B, D).

        It leaves out the variance that a layer inherits from the layers above.
        """
        return torch.cat([distribution.variance for distribution in self.layers(self.mean)], -1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LayeredDistribution":
        """Returns the distribution with another batch shape, to which (B) can be broadcast."""
        return LayeredDistribution(self.top.expand(torch.Size(batch_shape)), self.conditionals, self.sizes)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples latents of shape (*sample_shape, B, D), with a pathwise gradient."""
        shapes = self._sample_shapes(sample_shape)
        return self._ancestral(lambda index, distribution: distribution.rsample(shapes[index]))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples latents of shape (*sample_shape, B, D), without a gradient."""
        shapes = self._sample_shapes(sample_shape)
        with torch.no_grad():
            return self._ancestral(lambda index, distribution: distribution.sample(shapes[index]))

    def tempered(self, temperatures: Sequence[float]) -> Tensor:
        """Samples latents of shape (B, D), without a gradient, closer to the mean of each layer given the layers above.

        Arguments:
            temperatures: The factor of the distance from the mean, for each layer from the top down.
        """

        def sample(index: int, distribution: Distribution) -> Tensor:
            mean = distribution.mean
            return mean + temperatures[index] * (distribution.sample() - mean)

        with torch.no_grad():
            return self._ancestral(sample)

    def resample(self, z: Tensor, num_fixed: int) -> Tensor:
        """Returns latents z of shape (B, D) with all but the upper ``num_fixed`` layers sampled anew, without a gradient."""
        fixed = self.split(z)[:num_fixed]
        with torch.no_grad():
            return self._ancestral(lambda index, layer: fixed[index] if index < num_fixed else layer.sample())

    def follow(self, z: Tensor, upper: Tensor, num_upper: int) -> Tensor:
        """Returns latents with the upper layers of ``upper``, whose lower layers follow them, without a gradient.

        A lower layer keeps its distance from its mean given the layers above, in standard deviations.

        Arguments:
            z: The latents whose lower layers are kept in this sense, with shape (B, D).
            upper: The latents whose upper layers are taken, with shape (B, D).
            num_upper: The number of upper layers.
        """
        with torch.no_grad():
            layers = zip(self.layers(z), self.split(z), strict=True)
            distances = [(own - layer.mean) / layer.stddev for layer, own in layers]
            taken = self.split(upper)

            def choose(index: int, layer: Distribution) -> Tensor:
                return taken[index] if index < num_upper else layer.mean + layer.stddev * distances[index]

            return self._ancestral(choose)

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, B, D) into samples of the same shape, layer by layer.

        Raises:
            ModelError: If the distribution of a layer cannot be reparameterized.
        """
        noises = self.split(noise)
        return self._ancestral(lambda index, distribution: reparameterize(distribution, noises[index]))

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of latents of shape (*, B, D), with shape (*, B)."""
        value = self._broadcast(value)
        terms = zip(self.layers(value), self.split(value), strict=True)
        return torch.stack([distribution.log_prob(z) for distribution, z in terms]).sum(0)

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """Splits latents of shape (*, D) into the latents of each layer, with shapes (*, D_1), ..., (*, D_L)."""
        layers: tuple[Tensor, ...] = z.split(self.sizes, -1)
        return layers

    def layers(self, z: Tensor) -> tuple[Distribution, ...]:
        """Returns the distribution of each layer, given the latents of the layers above.

        The layers of a posterior and of a prior at the same ``z`` give the rate of each layer.

        Arguments:
            z: Latents of all layers, with shape (*, B, D).

        Returns:
            L distributions with event shapes (D_1), ..., (D_L). The first has batch shape (B), all others (*, B).
        """
        z = self._broadcast(z)
        above = list(accumulate(self.sizes[:-1]))
        return (self.top, *(self._conditional(index, z[..., :size]) for index, size in enumerate(above, start=1)))

    def _broadcast(self, z: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(z.shape, self._extended_shape())
        return z if z.shape == shape else z.expand(shape)

    def _sample_shapes(self, sample_shape: Any) -> list[torch.Size]:
        """The sample shape for each layer: the conditionals already have it as part of their batch shape."""
        return [torch.Size(sample_shape)] + [torch.Size()] * (len(self.sizes) - 1)

    def _ancestral(self, choose: Callable[[int, Distribution], Tensor]) -> Tensor:
        """Chooses the latents of each layer, from the top down, given those of the layers above; shape (*, B, D)."""
        z = choose(0, self.top)
        for index in range(1, len(self.sizes)):
            z = torch.cat([z, choose(index, self._conditional(index, z))], -1)
        return z

    def _conditional(self, index: int, above: Tensor) -> Distribution:
        distribution = self.conditionals[index - 1](above)
        self._check(index, distribution, above.shape[:-1])
        return distribution

    def _check(self, index: int, distribution: Distribution, batch_shape: torch.Size) -> None:
        shapes = (tuple(distribution.batch_shape), tuple(distribution.event_shape))
        expected = (tuple(batch_shape), (self.sizes[index],))
        if shapes != expected:
            raise ModelError(
                f"layer {index + 1}: its distribution has batch shape {shapes[0]} and event shape {shapes[1]}; "
                f"expected {expected[0]} and {expected[1]}"
            )
