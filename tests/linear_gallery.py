"""Helpers of tests: a gallery of a linear model, whose posterior means, widths and images are known in closed form."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from tests.oracles import Flatten, LinearDecoder, LinearNormal
from tests.sheets import lines_on
from vaekit.data import ImageSet
from vaekit.distributions import Bernoulli, DiagonalGaussian, Encode, Prior, StandardNormal
from vaekit.models import VAE, ClassLabel
from vaekit.networks import MLPDecoder, MLPEncoder, Shape
from vaekit.plots.grid_text import text_size, top_of
from vaekit.plots.tile_lines import breaks, geometry
from vaekit.presentation.gallery import Gallery

CLASSES = ("sock", "boot", "shirt")
GRAY: Shape = (1, 6, 5)


class AnyNormal(Prior):
    """A Gaussian prior of any mean and width."""

    def __init__(self, mean: Tensor, stddev: Tensor) -> None:
        super().__init__()
        self.mean, self.stddev = mean, stddev

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        return Independent(Normal(self.mean.expand(num, -1), self.stddev.expand(num, -1)), 1)


class TwoHills(Prior):
    """A mixture of two Gaussians, whose KL has no parts."""

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        means = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 2.0, 0.5]])
        hills = Independent(Normal(means.expand(num, -1, -1), torch.ones(num, 2, 3)), 1)
        return MixtureSameFamily(Categorical(torch.ones(num, 2)), hills)


def spreads(latent_dim: int) -> Tensor:
    """How far the posterior mean of each latent moves, about; not in order, and from the fourth on less and less."""
    return torch.tensor([0.7, 2.0, 1.2, *(0.5 / d for d in range(1, latent_dim))])[:latent_dim]


def logvars(latent_dim: int) -> Tensor:
    """The log-variance of each latent's posterior."""
    return torch.tensor([-1.0, -2.0, -1.5, *[-0.2] * latent_dim])[:latent_dim]


def linear_vae(latent_dim: int = 3, shape: Shape = GRAY, prior: Prior | None = None) -> VAE:
    """A VAE of linear maps: z is A x + a, and x is W z + 1/2."""
    size = shape[0] * shape[1] * shape[2]
    draw = torch.Generator().manual_seed(2)
    posterior = DiagonalGaussian(size, latent_dim)
    with torch.no_grad():
        scale = spreads(latent_dim).unsqueeze(1) * (12 / size) ** 0.5
        posterior.mu.weight.copy_(scale * torch.randn(latent_dim, size, generator=draw))
        posterior.mu.bias.copy_(0.3 - posterior.mu.weight.sum(1) / 2)
        posterior.logvar.weight.zero_()
        posterior.logvar.bias.copy_(logvars(latent_dim))
    weight = 0.12 * torch.randn(size, latent_dim, generator=draw) * (3 / max(3, latent_dim)) ** 0.5
    decoder = LinearDecoder(shape, weight, torch.full((size,), 0.5))
    return VAE(Flatten(shape), posterior, prior or StandardNormal(latent_dim), decoder, LinearNormal(0.1))


def noise(
    num: int = 90, shape: Shape = GRAY, labels: Tensor | None = None, classes: Sequence[str] = (), split: str = "test"
) -> ImageSet:
    """Images of noise."""
    draw = torch.Generator().manual_seed(3)
    store = torch.randint(0, 256, (num, *shape), dtype=torch.uint8, generator=draw)
    return ImageSet(store, labels, tuple(classes), "noise", split)


def garments(num: int = 90, shape: Shape = GRAY) -> ImageSet:
    """Images of noise in three classes."""
    return noise(num, shape, torch.arange(num) % 3, CLASSES)


def means_of(gallery: Gallery) -> Tensor:
    """The posterior means by hand."""
    posterior = gallery.model.posterior
    with torch.no_grad():
        return gallery.images.pixels.flatten(1) / 255 @ posterior.mu.weight.T + posterior.mu.bias


def by_rate(gallery: Gallery, mean: Tensor, stddev: Tensor) -> list[int]:
    """The latents from the highest KL down, under a Gaussian prior, by hand."""
    variance = logvars(len(mean)).exp()
    rates = (stddev / variance.sqrt()).log() + (variance + (means_of(gallery) - mean) ** 2) / (2 * stddev**2) - 0.5
    return rates.mean(0).argsort(descending=True).tolist()


def decoded(model: VAE, z: Tensor) -> Tensor:
    """The images of latents by hand, a matrix product for each."""
    with torch.no_grad():
        flat = torch.stack([model.decoder.weight @ point + model.decoder.bias for point in z.flatten(0, -2)])
    return flat.reshape(*z.shape[:-1], *model.shape)


def conditional(shape: Shape = GRAY) -> Gallery:
    """A conditional model of two latents."""
    encoder = MLPEncoder(shape, 3, hidden=[8])
    decoder = MLPDecoder(2, shape, 1, 3, hidden=[8], activation="tanh")
    with torch.no_grad():
        decoder.output.weight.mul_(5)
    parts = DiagonalGaussian(8, 2), StandardNormal(2, 3), decoder, Bernoulli(), ClassLabel(list(CLASSES))
    return Gallery(VAE(encoder, *parts), garments(shape=shape))


def placed(image: Image.Image, images: Tensor, columns: int, marked: bool = False) -> tuple[int, int, int, int]:
    """Asserts that a sheet holds a grid at its upper right and words around it, and returns the grid's box."""
    shape, rows = tuple(images.shape[1:]), len(images) // columns
    found = lines_on(image, rows, columns, shape, marked=marked)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.flatten(0, 1), images)
    where = geometry(rows, columns, shape[1:], breaks(rows, 1) if marked else ())  # type: ignore[arg-type]
    top, right = top_of(where.width, has_heads=False), image.width - text_size(where.width)
    sheet = np.array(image)
    sheet[top : top + where.height, right - where.width : right] = 0
    assert sheet.max() > 140
    return right - where.width, top, right, top + where.height


def text_of(figure: Figure) -> str:
    """All words of a figure."""
    found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    return "\n".join(filter(None, found))


def cloud(figure: Figure) -> tuple[np.ndarray, list[Any]]:
    """All points of a map, and the collections they come in."""
    parts = [part for part in figure.axes[0].collections if type(part).__name__ == "PathCollection"]
    return np.concatenate([part.get_offsets() for part in parts]), parts


def bars_of(patch: Any) -> tuple[np.ndarray, np.ndarray]:
    """The edges and counts of a histogram that is drawn as steps."""
    across, upward = patch.get_xy().T
    return across[::2], upward[1:-1:2]
