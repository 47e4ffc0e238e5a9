"""Models with given posteriors and priors, and a linear-Gaussian model with images, for tests of the latents."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from tests.oracles import Flatten, LinearDecoder, LinearNormal
from vaekit.data import ImageSet
from vaekit.distributions import DiagonalGaussian, Posterior, Prior, StandardNormal
from vaekit.evaluation.estimate import Estimate
from vaekit.models import VAE


class GivenPosterior(Posterior):
    """A posterior that is a function of the index of an image of :func:`indexed_images`."""

    def __init__(self, make: Callable[[Tensor], Distribution]) -> None:
        super().__init__()
        self.make = make

    def forward(self, features: Tensor) -> Distribution:
        return self.make((features * 255).round().long() @ torch.tensor([256, 1]))


class GivenPrior(Prior):
    """A prior that is a function of the number of images and their labels."""

    def __init__(self, make: Callable[[int, Tensor | None], Distribution]) -> None:
        super().__init__()
        self.make = make

    def forward(self, num: int, context: Tensor | None = None, encode: object = None) -> Distribution:
        return self.make(num, context)


def indexed_images(num: int, num_classes: int = 2, first: int = 0) -> ImageSet:
    """N images of two pixels that encode the index of the image; the label is the index modulo the number of classes."""
    index = torch.arange(first, first + num)
    store = torch.stack([index // 256, index % 256], 1).byte().reshape(num, 1, 1, 2)
    return ImageSet(store, index % num_classes)


def model_with_posterior(make: Callable[[Tensor], Distribution], dim: int, prior: Prior | None = None) -> VAE:
    """A model whose posteriors are a function of the index of the image, with D latents."""
    shape = (1, 1, 2)
    decoder = LinearDecoder(shape, torch.zeros(2, dim), torch.zeros(2))
    return VAE(Flatten(shape), GivenPosterior(make), prior or StandardNormal(dim), decoder, LinearNormal(1.0))


def model_with_gaussians(means: Tensor, stddevs: Tensor, prior: Prior | None = None) -> VAE:
    """A model whose posterior of image n is Gaussian n modulo M, for M means and standard deviations of shape (M, D)."""
    num = len(means)
    return model_with_posterior(lambda i: Independent(Normal(means[i % num], stddevs[i % num]), 1), means.shape[1], prior)


def linear_gaussian(slopes: Sequence[float], num: int, seed: int = 0) -> tuple[VAE, ImageSet]:
    """A linear-Gaussian model with its exact posterior, and N images of it.

    Arguments:
        slopes: The lengths of the columns of the decoder's weight, divided by the standard deviation of a pixel.
        num: N.
        seed: The seed of the images.
    """
    scale, dim, random = 0.08, len(slopes), torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(12, dim, generator=torch.Generator().manual_seed(1)))
    weight, bias = basis * scale * torch.tensor(slopes), torch.full((12,), 0.5)
    noise = torch.randn(num, 12, generator=random)
    x = bias + torch.randn(num, dim, generator=random) @ weight.T + scale * noise
    images = ImageSet((x.clamp(0, 1) * 255).round().byte().reshape(num, 1, 3, 4))
    variance = 1 / (1 + torch.tensor(slopes) ** 2)
    posterior = DiagonalGaussian(12, dim)
    with torch.no_grad():
        posterior.mu.weight.copy_(variance.unsqueeze(1) * weight.T / scale**2)
        posterior.mu.bias.copy_(-posterior.mu.weight @ bias)
        posterior.logvar.weight.zero_()
        posterior.logvar.bias.copy_(variance.log())
    decoder = LinearDecoder((1, 3, 4), weight, bias)
    return VAE(Flatten((1, 3, 4)), posterior, StandardNormal(dim), decoder, LinearNormal(scale)), images


def information(slopes: Sequence[float]) -> float:
    """The mutual information I(x; z) of the linear-Gaussian model."""
    return 0.5 * sum(math.log1p(slope**2) for slope in slopes)


def assert_near(estimate: Estimate | None, expected: float, tolerance: float = 0.0) -> None:
    """Asserts that an estimate is within four standard errors, plus a tolerance, of its expected value."""
    assert estimate is not None
    assert estimate.standard_error is not None
    assert abs(estimate.value - expected) < 4 * estimate.standard_error + tolerance
