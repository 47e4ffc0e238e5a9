r"""Posterior collapse: whether the decoder uses z, and how many latents are used.

The decoder is tested by **shuffling**: each image is decoded from a z that was sampled for another image. The mean increase
of the distortion,

.. math:: \mathbb{E} \log p(x_n|z_n) - \mathbb{E} \log p(x_n|z_{\pi(n)}), \qquad z_n \sim q(z|x_n), \quad \pi(n) \ne n,

is 0 if the decoder ignores z. The model counts as collapsed if this increase, plus two standard errors, is below
:data:`MIN_SHUFFLING_COST` nats. For the exact posterior the increase is
:math:`I(x; z) + \mathbb{E}_{p(x) p(z)} \log \frac{p(x)}{p(x|z)}`, so it is at least the mutual information.

A latent is **unused** if its mean KL is below :data:`MIN_RATE` nats. A model with more latents than it needs has unused
latents without being collapsed.

References:
    | Generating Sentences from a Continuous Space (Bowman et al., 2016), https://arxiv.org/abs/1511.06349
    | Understanding Posterior Collapse in Generative Latent Variable Models (Lucas et al., 2019),
      https://openreview.net/forum?id=r1xaVLUYuE
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.rng import generator
from vaekit.core.rounding import with_error
from vaekit.core.units import NATS, to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import LATENTS, PIXELS, Estimate, batches, mean_over_images
from vaekit.evaluation.latents.aggregate_posterior import RateDecomposition, decompose_rate
from vaekit.evaluation.latents.encodings import LatentCount, encode_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.samples.reconstruction import psnr
from vaekit.models import Model

MIN_RATE = 0.01
"""The mean KL, in nats, above which a latent counts as used."""

MIN_SHUFFLING_COST = 0.1
"""The increase of the distortion by shuffling, in nats, above which the decoder counts as using z."""


@dataclass(frozen=True)
class CollapseReport:
    """Whether a model uses its latents, with the numbers behind the verdict.

    Arguments:
        active_units: The number of latents whose posterior mean varies over images.
        used_latents: The number of latents whose mean KL exceeds :data:`MIN_RATE`; None if there is no KL per latent.
        mutual_information: The mutual information of x and z.
        log_num_images: Log N, the upper limit of the mutual information.
        rate: KL(q(z|x) || p(z)).
        distortion: -E log p(x|z).
        shuffled_distortion: The distortion with z sampled for another image.
        shuffling_cost: The mean over images of the difference of the two.
        psnr: The PSNR of the image decoded from the mean of q(z|x).
        shuffled_psnr: The PSNR of the image decoded from the mean of q(z|x) of another image.
    """

    active_units: LatentCount
    used_latents: LatentCount | None
    mutual_information: Estimate
    log_num_images: float
    rate: Estimate
    distortion: Estimate
    shuffled_distortion: Estimate
    shuffling_cost: Estimate
    psnr: Estimate
    shuffled_psnr: Estimate

    @property
    def verdict(self) -> str:
        """The result of the test in one sentence."""
        return verdict(self.used_latents or self.active_units, self.rate, self.shuffling_cost)

    def to_data(self) -> dict[str, Any]:
        """Returns the report as a dictionary for JSON."""
        counts = {"active_units": self.active_units, "used_latents": self.used_latents}
        estimates = {
            "rate": self.rate,
            "distortion": self.distortion,
            "shuffled_distortion": self.shuffled_distortion,
            "shuffling_cost": self.shuffling_cost,
            "psnr": self.psnr,
            "shuffled_psnr": self.shuffled_psnr,
        }
        return {
            "verdict": self.verdict,
            **{name: _without_unit(count) for name, count in counts.items() if count is not None},
            "mutual_information": self.mutual_information.to_data(),
            "log_num_images": self.log_num_images,
            **{name: estimate.to_data() for name, estimate in estimates.items()},
        }


def collapse_report(
    model: Model, images: ImageSet, *, seed: int = 0, decomposition: RateDecomposition | None = None
) -> CollapseReport:
    """Tests whether a model uses its latents.

    For a conditional model z is shuffled and the label is kept, so the test measures what z adds to the label.

    Arguments:
        model: The model.
        images: The images, at least two.
        seed: The seed of the samples and of the shuffling. The global generators are not used.
        decomposition: The decomposition of the rate over the same images, if it is already computed; it takes most of the
            time.

    Raises:
        DataError: If there are fewer than two images.
    """
    if len(images) < 2:
        raise DataError(f"{images.name}: the latents of one image cannot be shuffled; use at least two images")
    decomposition = decompose_rate(model, images, seed=seed) if decomposition is None else decomposition
    codes = encode_images(model, images)
    others = derangement(len(images), seed)
    z, distortion, rate = _sample_terms(model, images, seed)
    shuffled, space = _distortion(model, images, z[others]), space_of(model, images)
    return CollapseReport(
        active_units=codes.active_units,
        used_latents=codes.used_latents(MIN_RATE),
        mutual_information=decomposition.mutual_information,
        log_num_images=decomposition.log_num_images,
        rate=mean_over_images(rate, NATS, space=LATENTS),
        distortion=mean_over_images(distortion, NATS, 1, space),
        shuffled_distortion=mean_over_images(shuffled, NATS, 1, space),
        shuffling_cost=mean_over_images(shuffled - distortion, NATS, 1, space),
        psnr=mean_over_images(_psnr(model, images, codes.means), "dB", space=PIXELS),
        shuffled_psnr=mean_over_images(_psnr(model, images, codes.means[others]), "dB", space=PIXELS),
    )


def verdict(used: LatentCount, rate: Estimate, cost: Estimate) -> str:
    """Summarizes the test in one sentence.

    Arguments:
        used: The number of used latents.
        rate: KL(q(z|x) || p(z)).
        cost: The increase of the distortion by shuffling.
    """
    error = cost.standard_error or 0.0
    shuffling = f"shuffling z raises the distortion by {with_error(cost.value, error, 2)} nats"
    figures = f"{used.value} of {used.of} latents used, rate {rate.value:.2f} nats"
    if abs(cost.value) + 2 * error < MIN_SHUFFLING_COST:
        return f"collapsed: the decoder ignores z; {shuffling}, less than {MIN_SHUFFLING_COST} ({figures})"
    if cost.value - 2 * error < MIN_SHUFFLING_COST:
        return f"unclear: {shuffling}, too uncertain to decide whether the decoder uses z ({figures})"
    unused = used.of - used.value
    state = f"{unused} of {used.of} latents unused" if unused else f"all {used.of} latents used"
    return f"no collapse: {state}; rate {rate.value:.2f} nats, and {shuffling}"


def derangement(num: int, seed: int) -> Tensor:
    """Returns a random permutation of N images that leaves none in its place, with shape (N)."""
    order = torch.randperm(num, generator=generator(seed))
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    return others


def _without_unit(count: LatentCount) -> dict[str, Any]:
    data = count.to_data()
    del data["unit"]
    return data


def _sample_terms(model: Model, images: ImageSet, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A sample of z for each image, with shape (N, D), and its distortion and rate, each with shape (N)."""
    z, distortions, rates = [], [], []
    with model.inference():
        for x, labels, noise in with_noise(model, images, seed, f"distortion of {len(images):,} images"):
            terms = model(x, labels, 1, noise.normal)
            z.append(torch.cat([layer.z[0] for layer in terms.latents], -1))
            distortions.append(terms.distortion())
            rates.append(terms.rate())
    return torch.cat(z), torch.cat(distortions).cpu().double(), torch.cat(rates).cpu().double()


def _distortion(model: Model, images: ImageSet, z: Tensor) -> Tensor:
    """-log p(x|z) of each image, with shape (N), for z of shape (N, D)."""
    values, start = [], 0
    with model.inference():
        for x, labels in batches(model, images, f"distortion of {len(images):,} images with shuffled latents"):
            px = model.decode(z[start : start + len(x)], labels)
            values.append(-px.log_prob(model.likelihood.target(x)))
            start += len(x)
    return torch.cat(values).cpu().double()


def _psnr(model: Model, images: ImageSet, z: Tensor) -> Tensor:
    """The PSNR of the mean of p(x|z) as a reconstruction of each image, with shape (N), for z of shape (N, D)."""
    values, start = [], 0
    for x, labels in batches(model, images, f"decoding {len(images):,} images"):
        mean = model.decode_mean(z[start : start + len(x)], labels)
        values.append(psnr(mean.clamp(0, 1), to_unit_interval(x)))
        start += len(x)
    return torch.cat(values)
