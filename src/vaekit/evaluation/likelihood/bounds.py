r"""How probable a model finds images: the evidence lower bound with its two terms, and log p(x) from below.

.. math:: \mathrm{elbo} \le \mathcal{L}_K \le \log p(x), \qquad
          \mathcal{L}_K = \mathbb{E} \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}

Whether these numbers are likelihoods at all depends on the data: :func:`meaning` says what they are. What is drawn for a
image is its own (:mod:`vaekit.evaluation.noise`), so that no number depends on the batch size.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaekit.core.units import BITS, NATS, bits_per_dim
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import LATENTS, MAX_IMAGES, Estimate, batches, mean_over_images
from vaekit.evaluation.noise import Noise
from vaekit.models import VAE

CROSS_ENTROPY = "cross-entropy, not a likelihood"
MAX_CHUNK_SIZE = 100
"""How many images are weighed at a time."""


def meaning(model: VAE, images: ImageSet) -> str:
    """Says what the model's log-probabilities of these images are."""
    likelihood = model.likelihood
    if likelihood.support == "binary":
        return "log-probability of binary pixels" if images.is_binary() else f"{CROSS_ENTROPY} (the pixels are gray)"
    if likelihood.measure == "mass":
        return f"log-probability of images of {likelihood.levels} gray levels"
    return f"log-density of pixels scaled to [0, 1], support: {likelihood.support}; it may be positive"


def space_of(model: VAE, images: ImageSet) -> str:
    """Says in a few words what the model's log-probabilities of these images are probabilities of."""
    likelihood = model.likelihood
    if likelihood.support == "binary":
        return "binary pixels" if images.is_binary() else "gray pixels, cross-entropy"
    return f"{likelihood.levels} gray levels" if likelihood.measure == "mass" else "density of pixels in [0, 1]"


def with_noise(
    model: VAE, images: ImageSet, seed: int, description: str = "", most: int = MAX_IMAGES
) -> Iterator[tuple[Tensor, Tensor | None, Noise]]:
    """Yields images where the model lives, labels if it takes any, and the noise that belongs to these images."""
    place = 0
    for x, labels in batches(model, images, description, most):
        yield x, labels, Noise(seed, range(place, place + len(x)), model.latent_dim, model.device)
        place += len(x)


def elbo_of_each(
    model: VAE, images: ImageSet, *, num_samples: int = 1, seed: int = 0, description: str = ""
) -> tuple[Tensor, Tensor]:
    """Returns distortion and rate of each image, in nats, each with shape (N); behind a bar if that is described."""
    distortions, rates = [], []
    with model.inference():
        for x, labels, noise in with_noise(model, images, seed, description):
            terms = model(x, labels, num_samples, noise.normal)
            distortions.append(terms.distortion())
            rates.append(terms.rate())
    return torch.cat(distortions).cpu(), torch.cat(rates).cpu()


def elbo_terms(
    model: VAE, images: ImageSet, *, num_samples: int = 1, seed: int = 0, description: str = ""
) -> dict[str, Estimate]:
    """Returns ``elbo``, ``distortion`` and ``rate``.

    Arguments:
        model: The model.
        images: The images.
        num_samples: K, how many samples of z the distortion is averaged over.
        seed: The seed of those samples; the global generators are left alone.
        description: What to write beside a bar; none by default, since bounds are measured within other work.
    """
    distortion, rate = elbo_of_each(model, images, num_samples=num_samples, seed=seed, description=description)
    space = space_of(model, images)
    return {
        "elbo": mean_over_images(-(distortion + rate), NATS, num_samples, space),
        "distortion": mean_over_images(distortion, NATS, num_samples, space),
        "rate": mean_over_images(rate, NATS, space=LATENTS),
    }


def bound_values(model: VAE, images: ImageSet) -> dict[str, float]:
    """Returns the values of :func:`elbo_terms` alone, as they are followed in training."""
    return {name: estimate.value for name, estimate in elbo_terms(model, images).items()}


def bits_per_dimension(nats: Estimate, images: ImageSet) -> Estimate:
    """Returns the bits that an image costs for each of its numbers, of the log of a mass over gray levels."""
    num = math.prod(images.shape)
    error = None if nats.standard_error is None else bits_per_dim(-nats.standard_error, num)
    return Estimate(bits_per_dim(nats.value, num), error, BITS, nats.num_images, nats.num_samples, nats.space)


def log_likelihood_of_each(model: VAE, images: ImageSet, *, num_samples: int, seed: int = 0) -> Tensor:
    """Returns the importance-weighted lower bound of log p(x) of each image, in nats, with shape (N)."""
    values = []
    description = f"log p(x), {num_samples:,} samples an image"
    for x, labels, noise in with_noise(model, images, seed, description, most=MAX_CHUNK_SIZE):
        values.append(model.log_likelihood(x, labels, num_samples, noise.normal))
    return torch.cat(values).cpu()


def log_likelihood(model: VAE, images: ImageSet, *, num_samples: int, seed: int = 0) -> Estimate:
    """Returns the importance-weighted lower bound of log p(x), with exactly ``num_samples`` samples an image."""
    values = log_likelihood_of_each(model, images, num_samples=num_samples, seed=seed)
    return mean_over_images(values, NATS, num_samples, space_of(model, images))
