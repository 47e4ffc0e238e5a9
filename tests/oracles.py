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
from vaekit.core.registry import Registry
from vaekit.core.rng import fixed_seed
from vaekit.data import TensorSet
from vaekit.distributions import DiagonalGaussian, LayeredDistribution, Likelihood, StandardNormal
from vaekit.models import VAE, Model
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
    offered = {name: getattr(distributions, name) for name in distributions.__all__}
    namespace = offered | vars(torch) | {"Independent": Independent, "Laplace": Laplace, "Distribution": Distribution}
    namespace |= {registry: Registry(registry, {}) for registry in ("LIKELIHOODS", "PRIORS")}
    example = DocTestParser().get_doctest(module.__doc__ or "", namespace, name, None, None)
    results = DocTestRunner().run(example, clear_globs=False)
    assert results == (0, 1)
    return example.globs[name]


class VectorNormal(LinearNormal):
    """A Gaussian around the decoder's output, for vectors that are not scaled."""

    event_dim = 1

    def target(self, x: Tensor) -> Tensor:
        return x

    def forward(self, parameters: Tensor) -> Distribution:
        return Independent(Normal(parameters, torch.full_like(parameters, self.scale)), 1)


class TwoLayerGaussian(Model):
    r"""A linear-Gaussian model with two stochastic layers of D latents each, in float64.

    .. math:: z_1 \sim \mathcal{N}(0, I), \quad z_2 | z_1 \sim \mathcal{N}(a z_1, s^2), \quad
              x | z_2 \sim \mathcal{N}(W z_2 + b, \sigma^2 I)

    The columns of W are orthogonal. So p(z_1|x) and p(z_2|x, z_1) are diagonal: with y = W' (x - b) / |w|^2 and
    r = \sigma^2 / |w|^2,

    .. math:: p(z_1|x) = \mathcal{N}\bigl(v_1 a y / (s^2 + r), v_1\bigr), \quad v_1 = 1 / (1 + a^2 / (s^2 + r)), \qquad
              p(z_2|x, z_1) = \mathcal{N}\bigl(v_2 (a z_1 / s^2 + y / r), v_2\bigr), \quad v_2 = 1 / (1 / s^2 + 1 / r).

    Arguments:
        off: How far the posterior is from p(z|x): ``off`` is added to both log-variances and to the mean of z_1, and
            off (1 + z_1) to the mean of z_2. With 0 the posterior is exact.
    """

    condition = None

    def __init__(self, off: float = 0.0, latent_dim: int = 2, size: int = 5) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(3)
        basis, _ = torch.linalg.qr(torch.randn(size, latent_dim, generator=source, dtype=torch.float64))
        self.weight = nn.Parameter(basis * torch.linspace(1.0, 2.0, latent_dim, dtype=torch.float64))
        self.bias = torch.randn(size, generator=source, dtype=torch.float64)
        self.slope = torch.linspace(0.8, -1.5, latent_dim, dtype=torch.float64)  # a
        self.scale = torch.linspace(0.5, 0.9, latent_dim, dtype=torch.float64)  # s
        self.likelihood = VectorNormal(0.6)
        self.off = off

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.weight),)

    @property
    def latent_dim(self) -> int:
        return 2 * len(self.slope)

    @property
    def residual(self) -> Tensor:
        """r, the variance of y given z_2."""
        residual: Tensor = self.likelihood.scale**2 / self.weight.detach().square().sum(0)
        return residual

    @property
    def variances(self) -> tuple[Tensor, Tensor]:
        """v_1 and v_2, the variances of the exact posterior, each with shape (D)."""
        marginal = self.scale**2 + self.residual
        return 1 / (1 + self.slope**2 / marginal), 1 / (1 / self.scale**2 + 1 / self.residual)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Parameters of q(z|x): mean and variance of z_1, then slope, intercept and variance of z_2 given z_1."""
        weight = self.weight.detach()
        y, (v1, v2) = (x - self.bias) @ weight / weight.square().sum(0), self.variances
        growth = torch.tensor(self.off, dtype=torch.float64).exp()
        mean = v1 * self.slope * y / (self.scale**2 + self.residual) + self.off
        return mean, v1 * growth, v2 * self.slope / self.scale**2 + self.off, v2 * y / self.residual + self.off, v2 * growth

    def qz(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        mean, variance, slope, intercept, below = self.posterior(x)
        top = Independent(Normal(mean, variance.sqrt().expand_as(mean)), 1)
        size = len(self.slope)
        return LayeredDistribution(top, [lambda z: Independent(Normal(slope * z + intercept, below.sqrt()), 1)], [size] * 2)

    def pz(self, num: int, context: Tensor | None = None) -> Distribution:
        zeros = torch.zeros(num, len(self.slope), dtype=torch.float64)
        top = Independent(Normal(zeros, torch.ones_like(zeros)), 1)
        return LayeredDistribution(top, [lambda z: Independent(Normal(self.slope * z, self.scale), 1)], [zeros.shape[1]] * 2)

    def px(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        px: Distribution = self.likelihood(z[..., len(self.slope) :].double() @ self.weight.T + self.bias)
        return px

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) in nats, with shape (N)."""
        weight = self.weight.detach()
        covariance = weight * (self.slope**2 + self.scale**2) @ weight.T
        noise = self.likelihood.scale**2 * torch.eye(len(weight), dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance + noise).log_prob(x)

    def divergence(self, x: Tensor) -> Tensor:
        """KL(q(z|x) || p(z|x)) in nats, with shape (N)."""
        mean, variance, *_ = self.posterior(x)
        (v1, v2), growth = self.variances, torch.tensor(self.off, dtype=torch.float64).exp()
        square = self.off**2 * ((1 + mean).square() + variance)  # the mean of (off (1 + z_1))^2
        first = 0.5 * (growth + self.off**2 / v1 - 1 - self.off)
        second = 0.5 * (growth + square / v2 - 1 - self.off)
        return (first + second).sum(-1)

    def layer_rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """KL of each latent of z_1 and, averaged over z_1 ~ q(z_1|x), of z_2, in nats, each with shape (N, D)."""
        mean, variance, slope, intercept, below = self.posterior(x)
        first = 0.5 * (mean**2 + variance - 1 - variance.log())
        difference = slope - self.slope
        square = (difference * mean + intercept).square() + difference**2 * variance
        second = self.scale.log() - 0.5 * below.log() + (below + square) / (2 * self.scale**2) - 0.5
        return first, second

    def data(self, num: int) -> TensorSet:
        """Samples of x."""
        with fixed_seed(5):
            return TensorSet(self.sample_joint(num)[1], name="vectors", split="test")
