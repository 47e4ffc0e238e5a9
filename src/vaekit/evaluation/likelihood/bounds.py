r"""The evidence lower bound and its two terms, and the importance-weighted bound of log p(x).

.. math:: \mathrm{elbo} \le \mathcal{L}_K \le \log p(x), \qquad
          \mathcal{L}_K = \mathbb{E} \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}

Whether these values are log-likelihoods depends on the data, and those of a class-conditional model are of log p(x | class);
:func:`meaning` states both. The noise of each image is its own
(:mod:`vaekit.evaluation.noise`), so no value depends on the batch size.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
    | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaekit.core.processes import add_up, num_processes, rank, replicate
from vaekit.core.units import BITS, NATS, bits_per_dim
from vaekit.data import Dataset, ImageSet
from vaekit.evaluation.estimate import (
    LATENTS,
    MAX_BATCH_SIZE,
    Estimate,
    Metric,
    batches,
    mean_over_images,
    positions_of_batches,
    values_at,
)
from vaekit.evaluation.likelihood.conditional import describe_classes, given_class, num_classes_of
from vaekit.evaluation.noise import Noise
from vaekit.models import Model

SAMPLER_ONLY = "sampler only: the prior has no density, so there is no ELBO and no log p(x)"
"""What is said of a model whose prior can only be sampled."""
CROSS_ENTROPY = "cross-entropy, not a likelihood"
MAX_IW_BATCH_SIZE = 100
"""The largest number of images in a batch of importance sampling."""

METRICS = (
    Metric(
        "elbo", "ELBO", "A lower bound of log p(x) for images that were not trained on. Higher is better.", NATS, 2, True
    ),
    Metric(
        "distortion", "distortion", "The reconstruction term of the ELBO, −E log p(x|z). Lower is better.", NATS, 2, False
    ),
    Metric(
        "rate",
        "rate",
        "KL(q(z|x) ‖ p(z)), of codes −log p(z); an upper bound of the information in z. ELBO = −(distortion + rate).",
        NATS,
    ),
    Metric("bits_per_dim", "bits/dim", "The negative ELBO, in bits per value of an image. Lower is better.", BITS, 4, False),
    Metric(
        "log_likelihood",
        "log p(x), IW",
        "The importance-weighted bound of log p(x), tighter than the ELBO. Higher is better.",
        NATS,
        2,
        True,
        "samples",
    ),
    Metric("bits_per_dim_iw", "bits/dim, IW", "That bound in bits per value of an image. Lower is better.", BITS, 4, False),
    Metric(
        "elbo_subset",
        "ELBO, subset",
        "The ELBO over the images of the importance-weighted bound, where these are a part of all images.",
        NATS,
        2,
        None,
        "samples",
    ),
    Metric(
        "iw_gap",
        "IW − ELBO",
        "The importance-weighted bound minus the ELBO, over the same images.",
        NATS,
        2,
        None,
        "samples",
    ),
)


def meaning(model: Model, data: Dataset) -> str:
    """Returns what the model's log-probabilities of this data are, in one line.

    Those of a class-conditional model have a meaning of their own, so numbers of the same meaning are comparable.
    """
    if not model.has_density:
        return SAMPLER_ONLY
    num_classes, what = num_classes_of(model), _meaning(model, data)
    return what if num_classes is None else f"{what}; {describe_classes(num_classes)}"


def _meaning(model: Model, data: Dataset) -> str:
    likelihood, values = model.likelihood, _noun(data)
    if likelihood.support == "binary":
        if is_binary(data):
            return f"log-probability of binary {values}"
        return f"{CROSS_ENTROPY} (the {values} are {'gray' if isinstance(data, ImageSet) else 'not binary'})"
    if likelihood.measure == "mass":
        return f"log-probability of images of {likelihood.levels} gray levels"
    scale = " scaled to [0, 1]" if isinstance(data, ImageSet) else ""
    return f"log-density of {values}{scale}, support: {likelihood.support}; it may be positive"


def space_of(model: Model, data: Dataset) -> str:
    """Returns what the model's log-probabilities of this data are probabilities of, in a few words."""
    likelihood, values = model.likelihood, _noun(data)
    if likelihood.support == "binary":
        if is_binary(data):
            return f"binary {values}"
        return "gray pixels, cross-entropy" if isinstance(data, ImageSet) else "values, cross-entropy"
    if likelihood.measure == "mass":
        return f"{likelihood.levels} gray levels"
    return f"density of {values} in [0, 1]" if isinstance(data, ImageSet) else f"density of {values}"


def is_binary(data: Dataset) -> bool:
    """Returns whether all values are binary: 0 or 255 for pixels, else 0 or 1."""
    if isinstance(data, ImageSet):
        return data.is_binary()
    chunks = torch.arange(len(data)).split(MAX_BATCH_SIZE)
    return all(bool(((x == 0) | (x == 1)).all()) for x in map(data.gather, chunks))


def with_noise(
    model: Model, data: Dataset, seed: int, description: str = "", max_batch_size: int = MAX_BATCH_SIZE
) -> Iterator[tuple[Tensor, Tensor | None, Noise]]:
    """Yields the batches of :func:`~vaekit.evaluation.estimate.batches`, each with the noise of its images."""
    start = 0
    for x, labels in batches(model, data, description, max_batch_size):
        yield x, labels, Noise(seed, range(start, start + len(x)), model.latent_dim, model.device)
        start += len(x)


def elbo_of_each(
    model: Model, data: Dataset, *, num_samples: int = 1, seed: int = 0, description: str = ""
) -> tuple[Tensor, Tensor]:
    """Returns the distortion and the rate of each image, in nats, each with shape (N); arguments of :func:`elbo_terms`."""
    distortions, rates = [], []
    with model.inference():
        for x, labels, noise in with_noise(model, data, seed, description):
            terms = model(x, labels, num_samples, noise.normal)
            distortions.append(terms.distortion())
            rates.append(terms.rate())
    return torch.cat(distortions).cpu(), torch.cat(rates).cpu()


def distortion_of_each(model: Model, data: Dataset, *, seed: int = 0, description: str = "") -> Tensor:
    """Returns the distortion of each image by one sample, in nats, with shape (N); it needs no density p(z)."""
    with model.inference():
        values = [
            model(x, labels, 1, noise.normal).distortion() for x, labels, noise in with_noise(model, data, seed, description)
        ]
    return torch.cat(values).cpu()


def elbo_terms(
    model: Model, data: Dataset, *, num_samples: int = 1, seed: int = 0, description: str = ""
) -> dict[str, Estimate]:
    """Estimates ``elbo``, ``distortion`` and ``rate``.

    Arguments:
        model: The model.
        data: The data set.
        num_samples: K, the number of samples of z over which the distortion is averaged.
        seed: The seed of the samples. The global generators are not used.
        description: The label of a progress bar; without one there is no bar.
    """
    distortion, rate = elbo_of_each(model, data, num_samples=num_samples, seed=seed, description=description)
    return elbo_estimates(distortion, rate, num_samples, space_of(model, data))


def elbo_estimates(distortion: Tensor, rate: Tensor, num_samples: int, space: str) -> dict[str, Estimate]:
    """Returns the estimates of :func:`elbo_terms` from values of each image, with shape (N)."""
    return {
        "elbo": mean_over_images(-(distortion + rate), NATS, num_samples, space),
        "distortion": mean_over_images(distortion, NATS, num_samples, space),
        "rate": mean_over_images(rate, NATS, space=LATENTS),
    }


def bound_values(model: Model, images: Dataset, *, shared: bool = False) -> dict[str, float]:
    """Returns the values of :func:`elbo_terms`, for validation during training.

    Arguments:
        model: The model.
        images: The validation data.
        shared: Whether the processes of a run share the work; then all of them must call it. Each takes every n-th batch,
            and all get the values of every image, so that the result is that of one process, bit for bit.
    """
    if not shared or num_processes() == 1:
        distortion, rate = elbo_of_each(model, images)
    else:
        distortion, rate = _shared_elbo_of_each(model, images)
    estimates = elbo_estimates(distortion, rate, 1, space_of(model, images))
    return {name: estimate.value for name, estimate in estimates.items()}


def _shared_elbo_of_each(model: Model, data: Dataset) -> tuple[Tensor, Tensor]:
    """The values of :func:`elbo_of_each` with the model of process 0, computed by all processes."""
    # Each process has statistics of its own images, such as those of a normalization over the batch.
    replicate(model.buffers())
    values = torch.zeros(2, len(data))
    with model.inference():
        for positions in positions_of_batches(model, data)[rank() :: num_processes()]:
            x, labels = values_at(model, data, positions)
            noise = Noise(0, positions.tolist(), model.latent_dim, model.device)
            terms = model(x, labels, 1, noise.normal)
            values[:, positions] = torch.stack([terms.distortion(), terms.rate()]).cpu()
    distortion, rate = add_up(values)  # to zeros
    return distortion, rate


def bits_per_dimension(nats: Estimate, images: Dataset) -> Estimate:
    """Converts the log of a probability mass over gray levels, in nats per image, to bits per dimension."""
    num = math.prod(images.shape)
    error = None if nats.standard_error is None else bits_per_dim(-nats.standard_error, num)
    return Estimate(bits_per_dim(nats.value, num), error, BITS, nats.num_images, nats.num_samples, nats.space)


def log_likelihood_of_each(model: Model, data: Dataset, *, num_samples: int, seed: int = 0) -> Tensor:
    """Returns the importance-weighted bound of log p(x) of each image, in nats, with shape (N)."""
    values = []
    quantity = "log p(x)" if model.condition is None else given_class("log p(x)")
    description = f"{quantity}, {num_samples:,} samples per image"
    for x, labels, noise in with_noise(model, data, seed, description, MAX_IW_BATCH_SIZE):
        values.append(model.log_likelihood(x, labels, num_samples, noise.normal))
    return torch.cat(values).cpu()


def log_likelihood(model: Model, data: Dataset, *, num_samples: int, seed: int = 0) -> Estimate:
    """Estimates log p(x) from below by importance sampling, with ``num_samples`` samples per image."""
    values = log_likelihood_of_each(model, data, num_samples=num_samples, seed=seed)
    return mean_over_images(values, NATS, num_samples, space_of(model, data))


def _noun(data: Dataset) -> str:
    return "pixels" if isinstance(data, ImageSet) else "values"
