r"""Binarization: a gray level read as the probability of white.

.. math:: x \sim \mathrm{Bernoulli}(g / 255)

**Dynamic** binarization draws anew each time an image is seen and is the field's standard for training on MNIST; a test set
is drawn once, with a seed, so that its number can be compared. Both give pixels of 0 and 255.

References:
    | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov & Murray, 2008),
      https://www.cs.toronto.edu/~amnih/papers/dbn.pdf
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor

from vaekit.core.rng import generator
from vaekit.data.images import ImageSet


def draw_binary(pixels: Tensor, noise: Generator) -> Tensor:
    """Draws binary images.

    Arguments:
        pixels: Gray levels as uint8, of any shape.
        noise: The generator to draw with, on the same device.

    Returns:
        0 and 255 as uint8, with the same shape; 255 with probability ``pixels / 255``, exactly.
    """
    thresholds = torch.empty_like(pixels).random_(0, 255, generator=noise)
    return (pixels > thresholds).byte().mul_(255)


def binarize(images: ImageSet, *, seed: int) -> ImageSet:
    """Draws each image of a set once, with a seed of its own, in the order of the set."""
    noise = generator(seed)
    chunks = [draw_binary(images.gather(positions), noise) for positions in torch.arange(len(images)).split(4096)]
    return replace(images, store=torch.cat(chunks), rows=None, binary=f"binarized once with seed {seed}")
