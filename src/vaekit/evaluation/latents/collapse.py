r"""Whether the model uses its latents: posterior collapse, in words, with the figures that they rest on.

A model has collapsed where its images do not depend on z. The test of that is to **shuffle**: each image is explained
by the z of another, and what this costs,

.. math:: \mathbb{E} \log p(x_n|z_n) - \mathbb{E} \log p(x_n|z_{\pi(n)}), \qquad z_n \sim q(z|x_n), \quad \pi(n) \ne n,

is nothing if the decoder ignores z: less than :data:`IGNORED` nats, with two standard errors to spare. For the exact
posterior it is :math:`I(x; z) + \mathbb{E}_{p(x) p(z)} \log \frac{p(x)}{p(x|z)}`, so it is never less than what z carries.

A latent whose mean KL stays below :data:`UNUSED` nats is **unused**. A code with room to spare has such latents, and that is
no collapse.

References:
    | Generating Sentences from a Continuous Space (Bowman et al., 2016), https://arxiv.org/abs/1511.06349
    | Understanding Posterior Collapse in Generative Latent Variable Models (Lucas et al., 2019),
      https://openreview.net/forum?id=r1xaVLUYuE
"""

from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.rng import generator
from vaekit.core.units import NATS, to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import LATENTS, PIXELS, Estimate, batches, mean_over_images
from vaekit.evaluation.latents.aggregate_posterior import Aggregate, aggregate_terms
from vaekit.evaluation.latents.encodings import THRESHOLD, Encodings, encode_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.samples.reconstruction import psnr
from vaekit.models import VAE

UNUSED = 0.01
"""The mean KL, in nats, below which a latent counts as unused."""

IGNORED = 0.1
"""What the z of another image costs, in nats, below which the decoder counts as ignoring z."""


def collapse_report(model: VAE, images: ImageSet, *, seed: int = 0, aggregate: Aggregate | None = None) -> dict[str, Any]:
    """Says whether a model uses its latents.

    Of a conditional model z is shuffled and the label stays, so it is what z adds to the label that is measured.

    Arguments:
        model: The model.
        images: The images, two at least.
        seed: The seed of samples and of who gets whose z; the global generators are left alone.
        aggregate: The parts of the rate over the same images, where they are known; they take the most time.

    Returns:
        A dictionary that JSON can hold: ``verdict``, a sentence; ``active_units``; ``used_latents`` by their KL, where each
        latent has one; ``mutual_information`` with its ceiling ``log_num_images``; ``rate``; ``distortion``, with z
        shuffled ``shuffled_distortion``, and the difference, image by image, ``shuffling_cost``; and ``psnr`` at the
        mean of q(z|x) with ``shuffled_psnr``.

    Raises:
        DataError: If there is only one image.
    """
    if len(images) < 2:
        raise DataError(f"{images.name}: latents cannot be shuffled among one image; give more of them")
    aggregate = aggregate_terms(model, images, seed=seed) if aggregate is None else aggregate
    codes = encode_images(model, images)
    places = partners(len(images), seed)
    z, distortion, rate = _explain(model, images, seed)
    shuffled, space = _distortion(model, images, z[places]), space_of(model, images)
    figures = {
        "rate": mean_over_images(rate, NATS, space=LATENTS),
        "distortion": mean_over_images(distortion, NATS, 1, space),
        "shuffled_distortion": mean_over_images(shuffled, NATS, 1, space),
        "shuffling_cost": mean_over_images(shuffled - distortion, NATS, 1, space),
        "psnr": mean_over_images(_psnr(model, images, codes.means), "dB", space=PIXELS),
        "shuffled_psnr": mean_over_images(_psnr(model, images, codes.means[places]), "dB", space=PIXELS),
    }
    counts, num = {"active_units": _count(codes.active, THRESHOLD)}, {"num_images": len(images)}
    if _has_parts(codes):
        counts["used_latents"] = _count(codes.rates > UNUSED, UNUSED)
    in_use = counts.get("used_latents", counts["active_units"])
    return {
        "verdict": verdict(in_use["value"], in_use["of"], figures["rate"], figures["shuffling_cost"]),
        **{name: count | num for name, count in counts.items()},
        "mutual_information": aggregate.mutual_information.to_data(),
        "log_num_images": aggregate.log_num_images,
        **{name: figure.to_data() for name, figure in figures.items()},
    }


def verdict(used: int, of: int, rate: Estimate, cost: Estimate) -> str:
    """Says in a sentence how far the latents are in use.

    Arguments:
        used: How many latents are in use.
        of: D, how many there are.
        rate: What they carry together.
        cost: What the z of another image costs.
    """
    doubt = 2 * (cost.standard_error or 0.0)
    swapped = f"another image's z costs {cost.value:.2f} ± {doubt / 2:.2f} nats"
    carried = f"z carries {rate.value:.2f} nats"
    if abs(cost.value) + doubt < IGNORED:
        return f"collapsed: the decoder ignores z; {swapped}, less than {IGNORED} ({used} of {of} latents in use, {carried})"
    if cost.value - doubt < IGNORED:
        return f"unclear: {swapped}, so that nobody can say whether z helps ({used} of {of} latents in use, {carried})"
    state = f"all {of} latents in use" if used == of else f"{of - used} of {of} latents unused"
    return f"no collapse: {state}; {carried}, and {swapped}"


def partners(num: int, seed: int) -> Tensor:
    """Returns for each of N images another one at random, each once, with shape (N)."""
    order = torch.randperm(num, generator=generator(seed))
    places = torch.empty_like(order)
    places[order] = order.roll(1)
    return places


def _has_parts(codes: Encodings) -> bool:
    return len(codes.rates) == codes.means.shape[1]


def _count(which: Tensor, threshold: float) -> dict[str, Any]:
    return {"value": int(which.sum()), "of": len(which), "threshold": threshold}


def _explain(model: VAE, images: ImageSet, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A sample of z for each image, with shape (N, D), its distortion and the rate, with shape (N)."""
    z, distortions, rates = [], [], []
    with model.inference():
        for x, labels, noise in with_noise(model, images, seed, f"explaining {len(images):,} images"):
            terms = model(x, labels, 1, noise.normal)
            z.append(terms.latents[0].z[0])
            distortions.append(terms.distortion())
            rates.append(terms.rate())
    return torch.cat(z), torch.cat(distortions).cpu().double(), torch.cat(rates).cpu().double()


def _distortion(model: VAE, images: ImageSet, z: Tensor) -> Tensor:
    """-log p(x|z) of each image, with shape (N), for z of shape (N, D)."""
    values, start = [], 0
    with model.inference():
        for x, labels in batches(model, images, f"explaining {len(images):,} images by others' latents"):
            px = model.decode(z[start : start + len(x)], labels)
            values.append(-px.log_prob(model.likelihood.target(x)))
            start += len(x)
    return torch.cat(values).cpu().double()


def _psnr(model: VAE, images: ImageSet, z: Tensor) -> Tensor:
    """The signal-to-noise ratio of the mean image of p(x|z), with shape (N), for z of shape (N, D)."""
    values, start = [], 0
    for x, labels in batches(model, images, f"decoding {len(images):,} images"):
        pixels = model.decode_mean(z[start : start + len(x)], labels)
        values.append(psnr(pixels.clamp(0, 1), to_unit_interval(x)))
        start += len(x)
    return torch.cat(values)
