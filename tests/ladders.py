"""Ladders for tests: small ones of networks, and one of linear-Gaussian layers whose log p(x) is known."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tests.oracles import TwoLayerGaussian, VectorNormal
from vaekit.distributions import ResidualGaussian, StandardNormal
from vaekit.models import LadderVAE, VAEConfig, build_vae
from vaekit.networks import LadderDecoder, LadderEncoder
from vaekit.networks.ladder_networks import Choose


def ladder_config(shape: tuple[int, ...] = (1, 8, 8), *, layers: Sequence[int] = (0, 2, 1), **changes: Any) -> VAEConfig:
    """A small ladder, by default of one layer at 2x2 and two at 4x4, with two latents per point."""
    channels = [4] * len(layers)
    parts: dict[str, Any] = {
        "encoder": {"name": "ladder", "channels": channels, "blocks": [1] * len(layers)},
        "posterior": {"name": "residual"},
        "prior": {"name": "standard-normal"},
        "decoder": {"name": "ladder", "channels": channels, "layers": list(layers), "width": 2},
        "likelihood": {"name": "bernoulli"},
    }
    return VAEConfig(shape=shape, **parts | changes)


def ladder(shape: tuple[int, ...] = (1, 8, 8), seed: int = 0, **changes: Any) -> LadderVAE:
    """A small ladder whose weights are all random, so that no posterior is its prior."""
    model = build_vae(ladder_config(shape, **changes))
    assert isinstance(model, LadderVAE)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=source))
    return model.eval()


class VectorMaps(LadderEncoder):
    """The vector itself as the only feature map."""

    def __init__(self, size: int) -> None:
        nn.Module.__init__(self)
        self.shape, self.context_dim, self.num_features, self.channels = (size,), 0, size, [1]

    def maps(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return (x,)


class LinearPath(LadderDecoder):
    """The two layers of a :class:`TwoLayerGaussian` as a path: its posterior as what is added to its prior."""

    def __init__(self, gaussian: TwoLayerGaussian) -> None:
        nn.Module.__init__(self)
        self.gaussian, size = gaussian, len(gaussian.slope)
        self.sizes, self.latent_dim, self.channels = [size, size], 2 * size, [1]
        self.shape, self.num_maps, self.context_dim = gaussian.shape, gaussian.shape[0], 0

    def project(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(maps)

    def top_parameters(self, num: int, features: Sequence[Tensor], context: Tensor | None) -> Tensor:
        mean, variance, *_ = self.gaussian.posterior(features[0])
        return torch.stack([mean, variance.log().expand_as(mean)], 1)

    def descend(
        self, choose: Choose, num: int, features: Sequence[Tensor] | None = None, context: Tensor | None = None
    ) -> Tensor:
        size, scale = self.sizes[0], self.gaussian.scale
        top = None if features is None else self.top_parameters(num, features, context)
        above = choose(0, torch.zeros(num, 2, size, dtype=torch.float64), top)
        mean = self.gaussian.slope * above
        added = None
        if features is not None:
            _, _, slope, intercept, variance = self.gaussian.posterior(features[0])
            difference = slope * above + intercept.repeat(len(above) // num, 1) - mean
            added = torch.stack([difference / scale, (variance / scale**2).log().expand_as(mean)], 1)
        below = choose(1, torch.stack([mean, scale.square().log().expand_as(mean)], 1), added)
        return below @ self.gaussian.weight.T + self.gaussian.bias

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return z[..., self.sizes[0] :].double() @ self.gaussian.weight.T + self.gaussian.bias


def linear_ladder(off: float = 0.0) -> tuple[LadderVAE, TwoLayerGaussian]:
    """A ladder that is a linear-Gaussian model of two layers, and that model with its closed forms."""
    gaussian = TwoLayerGaussian(off)
    size = gaussian.latent_dim // 2
    encoder, path = VectorMaps(gaussian.shape[0]), LinearPath(gaussian)
    prior = StandardNormal(size).double()
    return LadderVAE(encoder, ResidualGaussian(size, size), prior, path, VectorNormal(0.6)), gaussian
