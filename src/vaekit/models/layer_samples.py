"""Samples of several stochastic layers: temperatures, new layers below fixed ones, layers that follow those above."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.errors import ModelError
from vaekit.distributions import CodeVectors, LayeredDistribution


def tempered_sample(pz: Distribution, temperature: float | Sequence[float]) -> Tensor:
    """Samples latents of shape (B, D) closer to the mean of p(z), or farther from it.

    Arguments:
        pz: The prior.
        temperature: The factor of the distance from the mean; one for each layer, from the top down, if there are several.

    Raises:
        ModelError: If the prior has another number of layers.
    """
    factors = list(temperature) if isinstance(temperature, Sequence) else [temperature]
    if all(factor == 1 for factor in factors) and len(factors) == 1:
        return pz.sample()
    num_layers = len(pz.sizes) if isinstance(pz, LayeredDistribution) else 1
    if len(factors) not in (1, num_layers):
        layers = "1 stochastic layer" if num_layers == 1 else f"{num_layers} stochastic layers"
        raise ModelError(f"{len(factors)} temperatures: the model has {layers}; give one for all, or one for each")
    if isinstance(pz, CodeVectors):  # codes have no mean: their logits are divided by the temperature
        return pz.tempered(factors[0]).sample()
    if isinstance(pz, LayeredDistribution):
        return pz.tempered(factors * num_layers if len(factors) == 1 else factors)
    z = pz.sample()
    return pz.mean + factors[0] * (z - pz.mean)


def with_new_lower_layers(pz: Distribution, z: Tensor, num_fixed: int) -> Tensor:
    """Returns latents z of shape (B, D) whose layers below the upper ``num_fixed`` ones are sampled anew.

    Raises:
        ModelError: If the model has one stochastic layer, or not so many.
    """
    if not isinstance(pz, LayeredDistribution):
        raise ModelError("the model has one stochastic layer, of which no part can be fixed; train a ladder (mnist-ladder)")
    if not 0 <= num_fixed < len(pz.sizes):
        raise ModelError(f"{num_fixed} fixed layers: the model has {len(pz.sizes)}, of which at least one is free")
    return pz.resample(z, num_fixed)


def following_layers(pz: Callable[[int], Distribution], z: Tensor, points: Tensor, latents: Sequence[int]) -> Tensor:
    """Returns points in each of which one latent of z was changed, with the layers below it as they follow the change.

    See :meth:`vaekit.distributions.LayeredDistribution.follow`. Points of a model with one layer stay as they are.

    Arguments:
        pz: The number of points to their prior.
        z: The latents before the change, with shape (D).
        points: The changed latents on the CPU, with shape (R, S, D).
        latents: The number of the latent that is changed in each of the R rows.
    """
    one = pz(1)
    if not isinstance(one, LayeredDistribution):
        return points
    found, ends = points.clone(), list(accumulate(one.sizes))
    layers = torch.tensor([bisect_right(ends, latent) for latent in latents])
    for layer in layers.unique().tolist():
        rows = (layers == layer).nonzero().squeeze(1)
        upper = points[rows].flatten(0, 1).to(one.mean)
        prior = pz(len(upper))
        assert isinstance(prior, LayeredDistribution)
        followed = prior.follow(z.to(upper).expand_as(upper), upper, layer + 1)
        found[rows] = followed.to(points).unflatten(0, points[rows].shape[:2])
    return found
