"""The evaluation of a model on a data set by all estimators of this package.

What the model or the data does not allow is left out, with the reason: for example there are no downstream tasks without
labels, and no bits per dimension without a probability mass over gray levels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from vaekit.core.arguments import Seed, checked
from vaekit.core.errors import DataError, ModelError, VaekitError
from vaekit.core.units import NATS
from vaekit.data import Dataset, ImageSet
from vaekit.data.remarks import skipped_images
from vaekit.distributions import is_diagonal_gaussian
from vaekit.evaluation.estimate import Estimate, batches, mean_by_difference, mean_over_images
from vaekit.evaluation.evaluation_config import FULL, EvaluationConfig
from vaekit.evaluation.evaluation_result import EvaluatedData, Evaluation
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.latents.aggregate_posterior import RateDecomposition, decompose_rate
from vaekit.evaluation.latents.code_use import code_use, codes_of
from vaekit.evaluation.latents.collapse import CollapseReport, collapse_report
from vaekit.evaluation.latents.downstream import DownstreamScores, downstream_scores
from vaekit.evaluation.latents.encodings import LatentCount, active_units
from vaekit.evaluation.likelihood.amortization import amortization_gap
from vaekit.evaluation.likelihood.annealing import Bracket, annealed_of_each, bracket
from vaekit.evaluation.likelihood.bounds import (
    bits_per_dimension,
    distortion_of_each,
    elbo_estimates,
    elbo_of_each,
    log_likelihood_of_each,
    meaning,
    space_of,
)
from vaekit.evaluation.likelihood.conditional import num_classes_of
from vaekit.evaluation.samples.features import FeatureExtractor
from vaekit.evaluation.samples.fidelity import Fidelity, fidelity
from vaekit.evaluation.samples.learned_features import learned_features
from vaekit.evaluation.samples.reconstruction import reconstruction_quality
from vaekit.models import Model

MAX_GENERIC_AGGREGATED = 1000
"""The largest number of images for the decomposition of the rate if the posterior is no diagonal Gaussian. It evaluates N^2
densities by a network."""

Part = TypeVar("Part")


@checked(DataError)
def evaluate_model(
    model: Model,
    data: Dataset,
    *,
    train: Dataset | None = None,
    gray: tuple[ImageSet, ImageSet] | None = None,
    extractor: FeatureExtractor | None = None,
    config: EvaluationConfig = FULL,
    seed: Seed = 0,
) -> Evaluation:
    """Evaluates a model on a data set.

    Arguments:
        model: The model.
        data: The data set, binarized if the model was trained on binarized images.
        train: The training data, for fidelity and downstream tasks; without it they are left out.
        gray: If ``data`` and ``train`` are binarized, the same images before: fidelity is computed on them.
        extractor: The features for fidelity, e.g. :func:`vaekit.evaluation.samples.inception.inception_features`; by default
            they are learned from ``train``.
        config: The numbers of images and samples.
        seed: The seed of all samples. The global generators are not used.

    Raises:
        DataError: If the data set has another shape than the model's, or no labels for a class-conditional model.

    Example:
        >>> evaluation = evaluate_model(model, images, config=QUICK)
        >>> evaluation.metrics["elbo"].value
    """
    for each in (data, train):
        if each is not None:
            require_fit(model, each)
    left_out: dict[str, str] = {}

    def attempt(name: str, part: Callable[[], Part | None]) -> Part | None:
        """Returns the results of a part, or None with the reason in ``left_out``."""
        try:
            return part()
        except _LeftOut as error:
            left_out[name] = str(error)
            return None

    if codes_of(model) is not None:
        config = _for_codes(config, left_out)
    if model.has_density:
        metrics, brackets = _likelihood(model, data, config, seed)
    else:
        metrics, brackets = _distortion(model, data, seed), None
        config = replace(config, num_refined=0, num_aggregated=0)
    gap = attempt("amortization_gap", lambda: _amortization(model, data, config, seed))
    metrics |= {} if gap is None else {"amortization_gap": gap}
    metrics["active_units"] = active_units(model, data)
    use = code_use(model, data)
    metrics |= {} if use is None else use.metrics()
    subset = _aggregated(model, data, config, seed)
    latents = attempt("latents", lambda: _latents(model, subset, seed))
    collapse = attempt("collapse", lambda: _collapse(model, subset, latents, seed))
    metrics |= attempt("reconstruction", lambda: _reconstruction(model, data)) or {}
    compared = gray or (data, train)
    return Evaluation(
        data=EvaluatedData.of(data),
        meaning=meaning(model, data),
        skipped=skipped_images(data, train),
        num_classes=num_classes_of(model),
        metrics=metrics,
        bracket=brackets,
        latents=latents,
        collapse=collapse,
        fidelity=attempt("fidelity", lambda: _fidelity(model, *compared, extractor, config, seed)),
        usefulness=attempt("usefulness", lambda: _usefulness(model, data, train, config, seed)),
        left_out=left_out,
    )


def require_fit(model: Model, data: Dataset) -> None:
    """Raises a DataError if a model cannot read a data set."""
    if tuple(data.shape) != tuple(model.shape):
        raise DataError(f"{data.name}: {data.noun} of shape {data.shape}, and the model reads shape {tuple(model.shape)}")
    if model.condition is not None and data.labels is None:
        raise DataError(f"{data.name}: has no labels, which the class-conditional model needs; give the set labels")


def _for_codes(config: EvaluationConfig, left_out: dict[str, str]) -> EvaluationConfig:
    """The evaluation of a discrete model, without what a posterior of one point makes pointless, and the reasons."""
    reasons = {
        "num_samples": ("log_likelihood", "q(z|x) is one point, so every importance-weighted bound is the ELBO"),
        "num_annealed": ("annealed", "codes have no density that could be annealed"),
        "num_refined": ("amortization_gap", "codes have no means and variances that could be refined"),
    }
    for key, (name, reason) in reasons.items():
        if getattr(config, key):
            left_out[name] = reason
    return replace(config, num_samples=0, num_annealed=0, num_refined=0)


class _LeftOut(Exception):
    """A part of the evaluation that the model or the data does not allow."""


@contextmanager
def _leave_out(error: type[VaekitError]) -> Iterator[None]:
    """Turns an error of an estimator into :class:`_LeftOut`."""
    try:
        yield
    except error as reason:
        raise _LeftOut(str(reason)) from None


def _likelihood(
    model: Model, data: Dataset, config: EvaluationConfig, seed: int
) -> tuple[dict[str, Estimate | LatentCount], Bracket | None]:
    """The ELBO with its terms, log p(x) by importance sampling and by annealing, and the gaps between them."""
    space = space_of(model, data)
    distortion, rate = elbo_of_each(model, data, seed=seed, description=f"ELBO of {len(data):,} images")
    terms = elbo_estimates(distortion, rate, 1, space)
    for key in ("rate", "distortion"):
        require_finite(torch.tensor(terms[key].value), f"the {key}s of images")
    metrics: dict[str, Estimate | LatentCount] = {**terms}
    is_mass = model.likelihood.measure == "mass" and model.likelihood.support == "gray levels"
    if is_mass:
        metrics["bits_per_dim"] = bits_per_dimension(terms["elbo"], data)
    iw = torch.empty(0)
    if config.num_samples and config.max_images != 0:
        chosen = data.sampled_positions(config.max_images or len(data), seed)
        subset = data.take(chosen)
        iw = log_likelihood_of_each(model, subset, num_samples=config.num_samples, seed=seed)
        log_px = mean_over_images(require_finite(iw, "the bounds of log p(x)"), NATS, config.num_samples, space)
        metrics["log_likelihood"] = log_px
        if is_mass:
            metrics["bits_per_dim_iw"] = bits_per_dimension(log_px, data)
        elbo = -(distortion + rate)[chosen]
        if len(subset) < len(data):
            metrics["elbo_subset"] = mean_over_images(elbo, NATS, None, space)
        metrics["iw_gap"] = mean_over_images(iw - elbo, NATS, config.num_samples, space)
    if not config.num_annealed:
        return metrics, None
    annealed, brackets = _annealed(model, data, iw, config, seed)
    return metrics | annealed, brackets


def _distortion(model: Model, data: Dataset, seed: int) -> dict[str, Estimate | LatentCount]:
    """What is left of the ELBO for a model whose prior has no density."""
    values = distortion_of_each(model, data, seed=seed, description=f"distortion of {len(data):,} images")
    return {"distortion": mean_over_images(values, NATS, 1, space_of(model, data))}


def _annealed(
    model: Model, data: Dataset, iw: Tensor, config: EvaluationConfig, seed: int
) -> tuple[dict[str, Estimate], Bracket]:
    """Estimates log p(x) by annealed importance sampling, its difference to importance sampling, and its bracket."""
    settings, subset = config.annealing, data.sample(config.num_annealed, seed)
    values = annealed_of_each(model, subset, settings, seed=seed)
    labels = None if model.condition is None else subset.labels
    brackets = bracket(model, len(subset), settings, labels=labels, seed=seed)

    def mean(values: Tensor) -> Estimate:
        return mean_over_images(values, NATS, settings.num_chains, space_of(model, data), settings.num_distributions)

    metrics = {"bracket_gap": brackets.gap}
    if len(iw):
        num = min(len(iw), len(values))
        metrics["annealed_gap"] = mean(values[:num] - iw[:num])
    estimate = replace(mean(values), num_annealed=len(values))
    if len(iw) > len(values):
        value, error = mean_by_difference(iw, values)
        estimate = replace(estimate, value=value, standard_error=error, num_images=len(iw))
    return metrics | {"annealed": estimate}, brackets


def _amortization(model: Model, data: Dataset, config: EvaluationConfig, seed: int) -> Estimate | None:
    """The amortization gap, of models whose posterior is a diagonal Gaussian."""
    if not config.num_refined:
        return None
    with _leave_out(ModelError):
        return amortization_gap(model, data.sample(config.num_refined, seed), seed=seed)


def _aggregated(model: Model, data: Dataset, config: EvaluationConfig, seed: int) -> Dataset | None:
    """The images of the decomposition of the rate and of the collapse report."""
    if not config.num_aggregated:
        return None
    with model.inference():
        x, labels = next(batches(model, data, max_batch_size=1))
        gaussian = is_diagonal_gaussian(model.encode(x, labels))
    return data.sample(config.num_aggregated if gaussian else min(config.num_aggregated, MAX_GENERIC_AGGREGATED), seed)


def _latents(model: Model, data: Dataset | None, seed: int) -> RateDecomposition | None:
    """The decomposition of the rate."""
    if data is None:
        return None
    with _leave_out(DataError):
        return decompose_rate(model, data, seed=seed)


def _collapse(
    model: Model, data: Dataset | None, decomposition: RateDecomposition | None, seed: int
) -> CollapseReport | None:
    """Whether the latents are used."""
    if data is None or decomposition is None:
        return None
    return collapse_report(model, _images(data, "the collapse report"), seed=seed, decomposition=decomposition)


def _reconstruction(model: Model, data: Dataset) -> dict[str, Estimate]:
    """PSNR and structural similarity."""
    quality = reconstruction_quality(model, _images(data, "PSNR and SSIM"))
    estimates = {"psnr": quality.psnr, "ssim": quality.ssim, "ms_ssim": quality.ms_ssim}
    return {key: estimate for key, estimate in estimates.items() if estimate is not None}


def _fidelity(
    model: Model,
    data: Dataset,
    train: Dataset | None,
    extractor: FeatureExtractor | None,
    config: EvaluationConfig,
    seed: int,
) -> Fidelity | None:
    """How similar samples and reconstructions are to training images, by features."""
    if not config.num_compared:
        return None
    if train is None:
        raise _LeftOut("no training images were given to learn features from and to compare with")
    images, train = _images(data, "fidelity"), _images(train, "fidelity")
    with _leave_out(DataError):
        extractor = extractor or learned_features(train, device=model.device)
        return fidelity(model, images, train, extractor, num=config.num_compared, seed=seed)


def _usefulness(
    model: Model, data: Dataset, train: Dataset | None, config: EvaluationConfig, seed: int
) -> DownstreamScores | None:
    """The scores of downstream tasks on the latents."""
    if not config.num_probed:
        return None
    if train is None:
        raise _LeftOut("no training images were given to train classifiers on")
    images, train = _images(data, "the comparison with pixels"), _images(train, "the comparison with pixels")
    with _leave_out(DataError):
        return downstream_scores(model, train, images, max_images=config.num_probed, seed=seed)


def _images(data: Dataset, what: str) -> ImageSet:
    """The data set, if it holds images."""
    if not isinstance(data, ImageSet):
        raise _LeftOut(f"{what} needs images, and {data.name} holds {data.noun} of shape {data.shape}")
    return data
