r"""Models whose numbers are known in closed form.

The linear-Gaussian model (probabilistic PCA),

.. math:: z \sim \mathcal{N}(0, I), \quad x | z \sim \mathcal{N}(W z + b, s^2 I)
          \quad \Rightarrow \quad x \sim \mathcal{N}(b, W W^\top + s^2 I),

has the posterior :math:`\mathcal{N}(M W^\top (x - b) / s^2, M)` with :math:`M = (I + W^\top W / s^2)^{-1}`, which is
diagonal where the columns of W are orthogonal.

References:
    | Probabilistic Principal Component Analysis (Tipping & Bishop, 1999), https://doi.org/10.1111/1467-9868.00196
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from doctest import DocTestParser, DocTestRunner
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, MultivariateNormal, Normal

from vaekit import distributions
from vaekit.core.config import Registry
from vaekit.distributions import DiagonalGaussian, LayeredDistribution, Likelihood, StandardNormal
from vaekit.models import VAE
from vaekit.networks import Decoder, Encoder, Shape


class Flatten(Encoder):
    """The image itself as features."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.context_dim, self.num_features = shape, 0, shape[0] * shape[1] * shape[2]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return x.flatten(1)


class LinearDecoder(Decoder):
    """W z + b."""

    def __init__(self, shape: Shape, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_maps, self.context_dim = shape, weight.shape[1], shape[0], 0
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return (z @ self.weight.T + self.bias).unflatten(-1, self.shape)


class LinearNormal(Likelihood):
    """A Gaussian around the decoder's output as it is."""

    measure = "density"
    support = "real line"

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, parameters: Tensor) -> Distribution:
        return Independent(Normal(parameters, torch.full_like(parameters, self.scale)), 3)


@dataclass(frozen=True)
class LinearGaussian:
    """A VAE that is a linear-Gaussian model, data of that model, and the closed forms."""

    model: VAE
    x: Tensor
    weight: Tensor
    bias: Tensor
    scale: float

    def log_evidence(self) -> Tensor:
        """log p(x) in nats, with shape (N)."""
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(len(self.weight))
        return MultivariateNormal(self.bias, covariance).log_prob(self.x.flatten(1))

    def elbo(self, mean: Tensor, stddev: Tensor, weight: Tensor) -> Tensor:
        """The ELBO of a diagonal posterior, in nats, with shape (N); differentiable in all arguments."""
        error = self.x.flatten(1) - self.bias - mean @ weight.T
        spread = ((weight**2) * (stddev**2).unsqueeze(-2)).sum((-1, -2))
        size = error.shape[1]
        log_px = (
            -((error**2).sum(-1) + spread) / (2 * self.scale**2)
            - size / 2 * torch.tensor(2 * torch.pi * self.scale**2).log()
        )
        rate = 0.5 * (mean**2 + stddev**2 - 1 - 2 * stddev.log()).sum(-1)
        return log_px - rate


def linear_gaussian(num: int = 64, latent_dim: int = 3, scale: float = 0.4, off: float = 0.0) -> LinearGaussian:
    """Makes a linear-Gaussian model with its exact posterior, or one that is off by a factor.

    Arguments:
        num: The number of images that are sampled from the model.
        latent_dim: D, the number of latents.
        scale: The standard deviation of a pixel.
        off: The error of the mean and log-variance of the posterior; 0 is exact.
    """
    shape = (1, 3, 4)
    generator = torch.Generator().manual_seed(1)
    basis, _ = torch.linalg.qr(torch.randn(12, latent_dim, generator=generator))
    weight = basis * torch.linspace(0.5, 2.0, latent_dim)
    bias = 0.3 * torch.randn(12, generator=generator)
    z = torch.randn(num, latent_dim, generator=generator)
    x = z @ weight.T + bias + scale * torch.randn(num, 12, generator=generator)
    variance = 1 / (1 + (weight**2).sum(0) / scale**2)
    posterior = DiagonalGaussian(12, latent_dim)
    with torch.no_grad():
        posterior.mu.weight.copy_(variance.unsqueeze(-1) * weight.T / scale**2)
        posterior.mu.bias.copy_(-posterior.mu.weight @ bias + off)
        posterior.logvar.weight.zero_()
        posterior.logvar.bias.copy_(variance.log() + off)
    decoder = LinearDecoder(shape, weight.clone(), bias.clone())
    model = VAE(Flatten(shape), posterior, StandardNormal(latent_dim), decoder, LinearNormal(scale))
    return LinearGaussian(model, x.unflatten(-1, shape), weight, bias, scale)


def layered_gaussian(sizes: Sequence[int], batch_size: int, seed: int = 1) -> tuple[LayeredDistribution, MultivariateNormal]:
    """A linear-Gaussian model of several layers, and the same joint distribution in closed form, both in float64.

    Layer l is A z_above + b + s * noise. So z = loc + M noise, with a lower triangular matrix M. The b differ between the
    elements of the batch, as those of a posterior do.
    """
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    def conditional(matrix: Tensor, bias: Tensor, scale: Tensor) -> Callable[[Tensor], Distribution]:
        return lambda above: Independent(Normal(above @ matrix.T + bias, scale, validate_args=False), 1, validate_args=False)

    loc, factor = normal(batch_size, sizes[0]), torch.diag(normal(sizes[0]).exp())
    top = Independent(Normal(loc, factor.diag()), 1)
    conditionals = []
    for size in sizes[1:]:
        matrix, bias, scale = 0.7 * normal(size, len(factor)), normal(batch_size, size), (0.5 * normal(size)).exp()
        conditionals.append(conditional(matrix, bias, scale))
        loc = torch.cat([loc, loc @ matrix.T + bias], -1)
        zeros = torch.zeros(len(factor), size, dtype=torch.float64)
        factor = torch.cat([torch.cat([factor, zeros], 1), torch.cat([matrix @ factor, scale.diag()], 1)])
    return LayeredDistribution(top, conditionals, sizes), MultivariateNormal(loc, scale_tril=factor)


def integral_of_density(density: Distribution, dim: int, reach: float = 12.0, steps: int = 1201) -> float:
    """The integral of the density of the first element of a batch over a box, by the trapezoidal rule."""
    line = torch.linspace(-reach, reach, steps)
    grid = torch.cartesian_prod(*[line] * dim).reshape(-1, 1, dim)
    with torch.no_grad():
        log_densities = torch.cat([density.log_prob(chunk)[:, 0] for chunk in grid.split(100_000)])
    return float(log_densities.double().exp().sum() * (2 * reach / (steps - 1)) ** dim)


def documented_class(module: ModuleType, name: str) -> Any:
    """A class that the docstring of a module defines as an example; its registration is undone."""
    namespace = (
        vars(distributions) | vars(torch) | {"Independent": Independent, "Laplace": Laplace, "Distribution": Distribution}
    )
    namespace |= {registry: Registry(registry, {}) for registry in ("LIKELIHOODS", "PRIORS")}
    example = DocTestParser().get_doctest(module.__doc__ or "", namespace, name, None, None)
    results = DocTestRunner().run(example, clear_globs=False)
    assert results == (0, 1)
    return example.globs[name]
