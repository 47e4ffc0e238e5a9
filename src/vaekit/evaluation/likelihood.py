r"""How probable a model finds pictures: the evidence lower bound with its two terms, and log p(x) from below.

.. math:: \mathrm{elbo} \le \mathcal{L}_K \le \log p(x), \qquad
          \mathcal{L}_K = \mathbb{E} \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}

Whether these numbers are likelihoods at all depends on the data: :func:`meaning` says what they are.
"""

import math

import torch

from vaekit.data import ImageSet
from vaekit.evaluation.estimates import Estimate, batches, mean_over_pictures
from vaekit.models import VAE
from vaekit.randomness import fixed_seed
from vaekit.units import BITS, NATS, bits_per_dim

CROSS_ENTROPY = "cross-entropy, not a likelihood"


def meaning(model: VAE, images: ImageSet) -> str:
    """Says what the model's log-probabilities of these pictures are."""
    likelihood = model.likelihood
    if likelihood.support == "binary":
        return "log-probability of binary pixels" if images.is_binary() else f"{CROSS_ENTROPY} (the pixels are grey)"
    if likelihood.measure == "mass":
        return f"log-probability of pictures of {likelihood.levels} grey levels"
    return f"log-density of pixels scaled to [0, 1], support: {likelihood.support}; it may be positive"


def elbo_terms(model: VAE, images: ImageSet, *, num_samples: int = 1, seed: int = 0) -> dict[str, Estimate]:
    """Returns ``elbo``, ``distortion`` and ``rate``.

    Arguments:
        model: The model.
        images: The pictures.
        num_samples: K, how many samples of z the distortion is averaged over.
        seed: The seed of those samples; the global generators are left alone.
    """
    distortions, rates = [], []
    with fixed_seed(seed), model.inference():
        for x, labels in batches(model, images):
            terms = model(x, labels, num_samples)
            distortions.append(terms.distortion())
            rates.append(terms.rate())
    distortion, rate = torch.cat(distortions), torch.cat(rates)
    return {
        "elbo": mean_over_pictures(-(distortion + rate), NATS, num_samples),
        "distortion": mean_over_pictures(distortion, NATS, num_samples),
        "rate": mean_over_pictures(rate, NATS),
    }


def bits_per_dimension(elbo: Estimate, images: ImageSet) -> Estimate:
    """Returns the bits that a picture costs for each of its numbers, by the ELBO of a mass over grey levels."""
    num = math.prod(images.shape)
    error = None if elbo.standard_error is None else bits_per_dim(-elbo.standard_error, num)
    return Estimate(bits_per_dim(elbo.value, num), error, BITS, elbo.num_pictures, elbo.num_samples)


def log_likelihood(model: VAE, images: ImageSet, *, num_samples: int, seed: int = 0) -> Estimate:
    """Returns the importance-weighted lower bound of log p(x), with exactly ``num_samples`` samples a picture."""
    values = []
    with fixed_seed(seed):
        for x, labels in batches(model, images, f"log p(x), {num_samples:,} samples a picture", most=100):
            values.append(model.log_likelihood(x, labels, num_samples))
    return mean_over_pictures(torch.cat(values), NATS, num_samples)
