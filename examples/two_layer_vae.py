"""A VAE of two stochastic layers, p(z1) p(z2|z1) with posterior q(z1|x) q(z2|x, z1), of a prior and a posterior of its own.

python examples/two_layer_vae.py
vae train digits --plugin examples/two_layer_vae.py --set model.prior.name=two-layer --set model.posterior.name=two-layer
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import vaekit
from vaekit.distributions import POSTERIORS, PRIORS, LayeredDistribution, Posterior, Prior


def gaussian(parameters: Tensor) -> Distribution:
    """Returns a diagonal Gaussian of means and log-variances, with shape (*, 2D)."""
    mu, logvar = parameters.chunk(2, -1)
    return Independent(Normal(mu, (0.5 * logvar).exp()), 1)


@PRIORS.register("two-layer")
class TwoLayerPrior(Prior):
    def __init__(self, latent_dim: int, context_dim: int = 0, shape: tuple[int, ...] | None = None, top: int = 2) -> None:
        super().__init__()
        self.latent_dim, self.context_dim, self.shape, self.top = latent_dim, context_dim, shape, top
        self.below = nn.Sequential(nn.Linear(top, 64), nn.Tanh(), nn.Linear(64, 2 * (latent_dim - top)))

    def forward(self, batch_size: int, context: Tensor | None = None, encode: object = None) -> Distribution:
        zeros = torch.zeros(batch_size, 2 * self.top, device=self.below[0].weight.device)
        sizes = [self.top, self.latent_dim - self.top]
        return LayeredDistribution(gaussian(zeros), [lambda z1: gaussian(self.below(z1))], sizes)


@POSTERIORS.register("two-layer")
class TwoLayerPosterior(Posterior):
    def __init__(self, num_features: int, latent_dim: int, top: int = 2) -> None:
        super().__init__()
        self.num_features, self.latent_dim, self.top = num_features, latent_dim, top
        self.above = nn.Linear(num_features, 2 * top)
        self.below = nn.Linear(num_features + top, 2 * (latent_dim - top))

    def forward(self, features: Tensor) -> Distribution:
        def q_z2(z1: Tensor) -> Distribution:
            return gaussian(self.below(torch.cat([features.expand(*z1.shape[:-1], -1), z1], -1)))

        return LayeredDistribution(gaussian(self.above(features)), [q_z2], [self.top, self.latent_dim - self.top])


def main(out: Path = Path("runs/two-layer"), epochs: int = 50) -> vaekit.RunFolder:
    parts = {"model.prior": {"name": "two-layer"}, "model.posterior": {"name": "two-layer"}}
    return vaekit.train("digits", out=out, epochs=epochs, force=True, **parts)


if __name__ == "__main__":
    main()
