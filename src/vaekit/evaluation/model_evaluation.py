"""Every honest number of a model, in one call.

Each part has its module; here they are put together, as far as the images allow: no features and no probes without
labels, no bits per dimension without a mass over gray levels. What is left out is named with its reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError, ModelError
from vaekit.core.units import NATS
from vaekit.data import ImageSet
from vaekit.distributions import is_diagonal_gaussian
from vaekit.evaluation.estimate import batches, mean_by_difference, mean_over_images
from vaekit.evaluation.latents.aggregate_posterior import decompose_rate
from vaekit.evaluation.latents.collapse import collapse_report
from vaekit.evaluation.latents.downstream import downstream_scores
from vaekit.evaluation.latents.encodings import active_units
from vaekit.evaluation.likelihood.amortization import amortization_gap
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_of_each, bracket
from vaekit.evaluation.likelihood.bounds import (
    bits_per_dimension,
    elbo_of_each,
    elbo_terms,
    log_likelihood_of_each,
    meaning,
    space_of,
)
from vaekit.evaluation.samples.features import FeatureExtractor
from vaekit.evaluation.samples.fidelity import fidelity
from vaekit.evaluation.samples.learned_features import learned_features
from vaekit.evaluation.samples.reconstruction import reconstruction_quality
from vaekit.models import VAE


@dataclass(frozen=True)
class EvaluationConfig:
    """How much evaluation; a number of images of 0 leaves its part out, others are drawn at random.

    Arguments:
        num_samples: K of the importance-weighted estimate of log p(x).
        max_images: For how many images it is made; None for all.
        annealing: How annealed importance sampling goes.
        annealed: For how many images, and for how many that the model draws, it is made.
        refined: For how many images the amortization gap is measured.
        aggregated: Over how many images the rate is taken apart.
        compared: How many images of each kind the fidelity of samples is measured with.
        probed: With how many training, and how many test images the usefulness of latents is measured.
    """

    num_samples: int = 5000
    max_images: int | None = 1000
    annealing: Annealing = field(default_factory=lambda: Annealing(chains=8, distributions=300))
    annealed: int = 100
    refined: int = 200
    aggregated: int = 10_000
    compared: int = 5000
    probed: int = 10_000


FULL = EvaluationConfig()
"""All of it: minutes for a small model."""
QUICK = EvaluationConfig(500, 200, Annealing(chains=8, distributions=100), 20, 50, 2000, 1000, 2000)
"""For small models a minute's version, with larger standard errors."""
BRIEF = EvaluationConfig(100, 1000, annealed=0, refined=0, aggregated=0, compared=0, probed=0)
"""What a run ends with."""

MAX_ASKED = 1000
"""Over how many images the rate is taken apart where each posterior has to be asked by its network: N^2 densities."""


def evaluate(
    model: VAE,
    images: ImageSet,
    *,
    train: ImageSet | None = None,
    gray: tuple[ImageSet, ImageSet] | None = None,
    extractor: FeatureExtractor | None = None,
    effort: EvaluationConfig = FULL,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluates a model on images.

    Arguments:
        model: The model.
        images: The images, binarized if the model's likelihood is to be one of binary pixels.
        train: Images to learn features and probes from; without them fidelity and usefulness are left out.
        gray: Both as they were before they were binarized, where they were, to judge samples by; ``images`` and ``train`` by
            default.
        extractor: The features by which samples are compared with training images, for instance
            :func:`vaekit.evaluation.samples.inception.inception_features`; by default learned from ``train``.
        effort: How much.
        seed: The seed of everything that is drawn.

    Returns:
        A dictionary that JSON can hold: ``data`` and ``meaning`` say what the numbers are, each number comes with its
        standard error, unit and counts, and ``left_out`` says why what is missing is.
    """
    numbers: dict[str, Any] = {
        "data": {
            "name": images.name,
            "split": images.split,
            "num_images": len(images),
            "shape": list(images.shape),
            "pixels": images.binary or "gray levels",
            "fingerprint": images.fingerprint,
        },
        "meaning": meaning(model, images),
    }
    parts: list[Callable[[], dict[str, Any]]] = [
        lambda: _likelihood(model, images, effort, seed),
        lambda: _refined(model, images, effort, seed),
        lambda: {"active_units": active_units(model, images).to_data()},
        lambda: _latents(model, images, effort, seed),
        lambda: reconstruction_quality(model, images).to_data(),
        lambda: _fidelity(model, *(gray or (images, train)), extractor, effort, seed),
        lambda: _usefulness(model, images, train, effort, seed),
    ]
    for part in parts:
        try:
            numbers |= part()
        except LeftOut as reason:
            numbers.setdefault("left_out", {})[reason.what] = reason.why
    return numbers


class LeftOut(Exception):
    """A part of the evaluation that these images or this model do not allow."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        self.what = what
        self.why = why


def _likelihood(model: VAE, images: ImageSet, effort: EvaluationConfig, seed: int) -> dict[str, Any]:
    """The ELBO with its terms, log p(x) by importance sampling and by annealing, and the distances between them."""
    space = space_of(model, images)
    terms = elbo_terms(model, images, seed=seed, description=f"bounding log p(x) of {len(images):,} images")
    found = {name: estimate.to_data() for name, estimate in terms.items()}
    in_bits = model.likelihood.measure == "mass" and model.likelihood.support == "gray levels"
    if in_bits:
        found["bits_per_dim"] = bits_per_dimension(terms["elbo"], images).to_data()
    weighed = torch.empty(0)
    if effort.num_samples and effort.max_images != 0:
        some = images.sample(effort.max_images or len(images), seed)
        weighed = log_likelihood_of_each(model, some, num_samples=effort.num_samples, seed=seed)
        gaps = weighed + sum(elbo_of_each(model, some, seed=seed))
        log_px = mean_over_images(weighed, NATS, effort.num_samples, space)
        found["log_likelihood"] = log_px.to_data()
        if in_bits:
            found["bits_per_dim_iw"] = bits_per_dimension(log_px, images).to_data()
        found["iw_gap"] = mean_over_images(gaps, NATS, effort.num_samples, space).to_data()
    return found | (_annealed(model, images, weighed, effort, seed) if effort.annealed else {})


def _annealed(model: VAE, images: ImageSet, weighed: Tensor, effort: EvaluationConfig, seed: int) -> dict[str, Any]:
    """Log p(x) by annealed importance sampling, how far it lies above importance sampling, and its bracket."""
    how, some, space = effort.annealing, images.sample(effort.annealed, seed), space_of(model, images)
    values = annealed_of_each(model, some, how, seed=seed)
    both = bracket(model, len(some), how, labels=None if model.condition is None else some.labels, seed=seed)
    annealed = mean_over_images(values, NATS, how.chains, space, how.distributions)
    found = {"bracket": {"lower": both.lower.to_data(), "upper": both.upper.to_data()}, "bracket_gap": both.gap.to_data()}
    if len(weighed):
        num = min(len(weighed), len(values))
        gap = mean_over_images(values[:num] - weighed[:num], NATS, how.chains, space, how.distributions)
        found["annealed_gap"] = gap.to_data()
    if len(weighed) > len(values):
        value, error = mean_by_difference(weighed, values)
        annealed = replace(annealed, value=value, standard_error=error, num_images=len(weighed))
    return found | {"annealed": annealed.to_data() | {"num_annealed": len(values)}}


def _refined(model: VAE, images: ImageSet, effort: EvaluationConfig, seed: int) -> dict[str, Any]:
    """The amortization gap, of models whose posterior is a diagonal Gaussian."""
    if not effort.refined:
        return {}
    try:
        return {"amortization_gap": amortization_gap(model, images.sample(effort.refined, seed), seed=seed).to_data()}
    except ModelError as error:
        raise LeftOut("amortization_gap", str(error)) from None


def _latents(model: VAE, images: ImageSet, effort: EvaluationConfig, seed: int) -> dict[str, Any]:
    """The parts of the rate, and whether the latents are used."""
    if not effort.aggregated:
        return {}
    with model.inference():
        x, labels = next(batches(model, images, most=1))
        cheap = is_diagonal_gaussian(model.encode(x, labels))
    some = images.sample(effort.aggregated if cheap else min(effort.aggregated, MAX_ASKED), seed)
    try:
        decomposition = decompose_rate(model, some, seed=seed)
        report = collapse_report(model, some, seed=seed, decomposition=decomposition)
        return {"latents": decomposition.to_data(), "collapse": report.to_data()}
    except DataError as error:
        raise LeftOut("latents", str(error)) from None


def _fidelity(
    model: VAE,
    images: ImageSet,
    train: ImageSet | None,
    extractor: FeatureExtractor | None,
    effort: EvaluationConfig,
    seed: int,
) -> dict[str, Any]:
    """How like real images samples and reconstructions are, by given features or those learned from training images."""
    if not effort.compared:
        return {}
    if train is None:
        raise LeftOut("fidelity", "no training images were given to learn features from and to compare with")
    try:
        extractor = extractor or learned_features(train, device=model.device)
        return {"fidelity": fidelity(model, images, train, extractor, num=effort.compared, seed=seed).to_data()}
    except DataError as error:
        raise LeftOut("fidelity", str(error)) from None


def _usefulness(model: VAE, images: ImageSet, train: ImageSet | None, effort: EvaluationConfig, seed: int) -> dict[str, Any]:
    """What a simple classifier can do with the latents."""
    if not effort.probed:
        return {}
    if train is None:
        raise LeftOut("usefulness", "no training images were given to learn a probe from")
    try:
        return {"usefulness": downstream_scores(model, train, images, max_images=effort.probed, seed=seed).to_data()}
    except DataError as error:
        raise LeftOut("usefulness", str(error)) from None


def brief(num_samples: int, max_images: int | None) -> EvaluationConfig:
    """Returns what a run ends with, with so many importance samples for so many images."""
    return replace(BRIEF, num_samples=num_samples, max_images=max_images)
