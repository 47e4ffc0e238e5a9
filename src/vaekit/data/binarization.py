r"""Binarization: a gray level is read as the probability of a white pixel.

.. math:: x \sim \mathrm{Bernoulli}(g / 255)

**Dynamic** binarization samples anew each time an image is used and is the standard for training on MNIST. A test set is
binarized once, with a seed, so that its results can be compared. Both give pixels of 0 and 255.

References:
    | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov & Murray, 2008),
      https://www.cs.toronto.edu/~amnih/papers/dbn.pdf
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor

from vaekit.core.arguments import Seed, checked
from vaekit.core.errors import DataError
from vaekit.core.rng import generator
from vaekit.core.shares import batch_draw
from vaekit.data.images import ImageSet

CHUNK_SIZE = 4096
"""The number of images that are binarized at a time; a seed's result depends on it."""


def sample_binary(pixels: Tensor, noise: Generator) -> Tensor:
    """Samples binary images, each pixel independently.

    Arguments:
        pixels: Gray levels as uint8, with shape (B, *).
        noise: The random number generator, on the same device.

    Returns:
        0 and 255 as uint8, with the same shape; 255 with probability ``pixels / 255``, exactly.
    """

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, dtype=pixels.dtype, device=pixels.device).random_(0, 255, generator=noise)

    thresholds = batch_draw(draw, pixels.shape)
    return (pixels > thresholds).byte().mul_(255)


@checked(DataError)
def binarize(images: ImageSet, *, seed: Seed) -> ImageSet:
    """Returns the set with each image binarized once, in the order of the set, with a generator of this seed."""
    noise = generator(seed)
    chunks = [sample_binary(images.gather(positions), noise) for positions in torch.arange(len(images)).split(CHUNK_SIZE)]
    return replace(images, store=torch.cat(chunks), rows=None, binary=f"binarized once with seed {seed}")
