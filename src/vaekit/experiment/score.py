"""``vaekit.score`` and ``vae score``: scores of single images for outlier detection, in one or two sets of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vaekit.core.errors import DataError, NoDensityError
from vaekit.core.progress import notify
from vaekit.core.registry import require_name
from vaekit.core.rng import generator
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.latents.outliers import LatentGaussian, reconstruction_errors
from vaekit.evaluation.likelihood.bounds import meaning
from vaekit.evaluation.likelihood.conditional import given_class
from vaekit.evaluation.likelihood.scores import Scores, auroc, scores
from vaekit.experiment.embed import class_columns, image_names, select_images
from vaekit.export.tables import Columns
from vaekit.models import Model
from vaekit.runs.run_folder import RunFolder
from vaekit.training import find_device

Score = Literal["log_px", "elbo", "ratio", "waic", "typicality", "reconstruction", "latent"]
SCORES: dict[str, str] = {
    "log_px": "log p(x)",
    "elbo": "the evidence lower bound",
    "ratio": "log p(x) + length as PNG, a likelihood ratio against a compressor",
    "waic": "mean - variance of the log weights, over samples of one posterior",
    "typicality": "-|log p(x) - its mean over training images|",
    "reconstruction": "-root mean squared error of the reconstruction",
    "latent": "-Mahalanobis distance of the posterior mean from those of training images",
}
"""The scores and their meanings. Lower is more unusual."""
UNITS = dict.fromkeys(SCORES, "in nats") | {"reconstruction": "in gray levels", "latent": "in standard deviations"}
"""The units of the scores."""
NEED_TRAINING_IMAGES = ("typicality", "latent")
"""The scores that compare an image with training images."""
WITHOUT_DENSITY = ("reconstruction", "latent")
"""The scores of a model whose prior has no density."""
NUM_CENTER_IMAGES, NUM_ENCODED_IMAGES = 500, 5_000
"""The numbers of training images for the center of typicality and for the Gaussian of latent distances."""


@dataclass(frozen=True)
class ScoredSet:
    """A set of N images and their scores.

    Arguments:
        images: The images.
        rows: The number of each image in the split that it was taken from, with shape (N).
        scores: The scores by log-probabilities; None if the model has none.
        meaning: What the model's log-probabilities of these images are.
        center: The mean of log p(x) over training images, if there are any.
        errors: The root mean squared error of each reconstruction, in gray levels, with shape (N), if it was computed.
        distances: The Mahalanobis distance of each posterior mean, with shape (N), if there are training images.
    """

    images: ImageSet
    rows: Tensor
    scores: Scores | None
    meaning: str
    center: float | None = None
    errors: Tensor | None = None
    distances: Tensor | None = None

    @property
    def values(self) -> dict[str, Tensor]:
        """The available scores by name, each with shape (N), in the order of :data:`SCORES`."""
        values = {}
        if self.scores is not None:
            values = {name: getattr(self.scores, name) for name in ("log_px", "elbo", "ratio", "waic")}
            values |= {} if self.center is None else {"typicality": self.scores.typicality(self.center)}
        values |= {} if self.errors is None else {"reconstruction": -self.errors}
        return values if self.distances is None else values | {"latent": -self.distances}

    @property
    def title(self) -> str:
        """The number, the split and the name of the images."""
        kind = "" if self.images.split == "all" else f"{self.images.split} "
        return f"{len(self.images):,} {kind}image{'s' if len(self.images) != 1 else ''} of {self.images.name}"


@dataclass(frozen=True)
class ScoredImages:
    """The scores of one or two sets of images.

    Arguments:
        sets: The sets.
        by: The score by which images are ordered.
    """

    sets: Sequence[ScoredSet]
    by: Score

    @property
    def order(self) -> Tensor:
        """The positions of all images, of one set after the other, in ascending order of the score."""
        return self._values.argsort(stable=True)

    def columns(self) -> Columns:
        """Returns a table with one row per image, most unusual first.

        The columns are ``rank`` from 1, ``name``, ``data`` and ``row`` (the set, and the number of the image in it),
        ``label`` and ``class`` (if there are labels), and in nats ``log_px`` with its ``standard_error``, ``elbo``,
        ``variance`` of the log weights, ``complexity`` and the corrections of
        :mod:`vaekit.evaluation.likelihood.scores`.
        """
        positions, columns = self.order.tolist(), dict[str, Sequence[object]]()
        for one in self.sets:
            columns = {key: [*columns.get(key, ()), *column] for key, column in _columns(one).items()}
        if all(one.images.labels is None for one in self.sets):
            del columns["label"], columns["class"]
        ranks = range(1, len(positions) + 1)
        return {"rank": ranks} | {key: [column[position] for position in positions] for key, column in columns.items()}

    def most_unusual(self, num: int) -> tuple[Tensor, list[str]]:
        """Returns the images with the lowest scores, and captions.

        Returns:
            uint8 images of shape (num, C, H, W), and for each its score and, if there are two sets, the name of its set.
        """
        values, ends = self._values, np.cumsum([len(one.images) for one in self.sets])
        images, captions = [], []
        for position in self.order[:num].tolist():
            index = int(np.searchsorted(ends, position, side="right"))
            one = self.sets[index].images
            images.append(one.gather(torch.tensor([position - int(ends[index]) + len(one)])))
            captions.append(f"{values[position]:,.1f}" + (f" {one.name}" if len(self.sets) > 1 else ""))
        return torch.cat(images), captions

    def aurocs(self) -> dict[str, Estimate]:
        """Returns how well each score separates the first set from the second; empty if there is only one set."""
        if len(self.sets) < 2:
            return {}
        first, second = self.sets
        return {name: auroc(values, second.values[name]) for name, values in first.values.items()}

    @property
    def _values(self) -> Tensor:
        return torch.cat([one.values[self.by] for one in self.sets])


def describe_scores(model: Model) -> dict[str, str]:
    """Returns the meanings of the scores by a model; those of a class-conditional one are of log p(x | class)."""
    return SCORES if model.condition is None else {name: given_class(text) for name, text in SCORES.items()}


def score(
    run: RunFolder | str | Path,
    data: str | None = None,
    *,
    against: str | None = None,
    by: Score = "log_px",
    num_samples: int = 100,
    max_images: int | None = None,
    split: str | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> ScoredImages:
    """Scores images by a run's model. Lower scores are more unusual.

    Arguments:
        run: A run, its folder, a model folder, or a hub id.
        data: The images: a name, folder, array or hub id; by default those that the run was trained on.
        against: A second set of images, for the AUROC of each score.
        by: The score by which images are ordered.
        num_samples: K, the number of samples of z per image.
        max_images: The number of images of each set, chosen at random; None for all.
        split: ``train``, ``test`` or ``all``; by default ``test``, and all images of other data without splits.
        seed: The seed of all samples.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        VaekitError: If the run, the images or the device are missing, a set to compare has fewer than two images, or
            typicality is requested and there are no training images.

    Example:
        >>> scored = vaekit.score("runs/fashion-mnist", against="mnist", max_images=2000)
        >>> scored.aurocs()["log_px"].value
    """
    require_name(SCORES, by, "by")
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    sets = [select_images(folder, data, split)]
    if against is not None:
        sets.append(select_images(folder, against, None))
        single = [images.name for images in sets if min(len(images), max_images or len(images)) < 2]
        if single:
            raise DataError(f"{single[0]}: an AUROC needs at least two images of each set; add images or raise --max-images")
    model = folder.model.to(find_device(device))
    if not model.has_density and by not in WITHOUT_DENSITY:
        raise NoDensityError(
            f"{folder.folder}: sampler only, its prior has no density, so there is no {SCORES[by].split(',')[0]}; "
            f"choose --by {' or --by '.join(WITHOUT_DENSITY)}"
        )
    usual = _usual(folder, model, num_samples, seed)
    if by in NEED_TRAINING_IMAGES and usual is None:
        raise DataError(f"{by} is a distance from training images, and there are none; choose another --by")
    return ScoredImages([_score_set(model, images, max_images, num_samples, seed, usual) for images in sets], by)


@dataclass(frozen=True)
class _Usual:
    """What training images are like: the mean of log p(x), and the Gaussian of their posterior means."""

    center: float | None
    latents: LatentGaussian


def _score_set(
    model: Model, images: ImageSet, max_images: int | None, num_samples: int, seed: int, usual: _Usual | None
) -> ScoredSet:
    """The scores of a set, or of a random sample of it, in its order."""
    rows = _choose(images, max_images, seed)
    subset = images.take(rows)
    found = scores(model, subset, num_samples=num_samples, seed=seed) if model.has_density else None
    errors = reconstruction_errors(model, subset)
    center = None if usual is None else usual.center
    distances = None if usual is None else usual.latents.distances(model, subset)
    return ScoredSet(subset, rows, found, meaning(model, images), center, errors, distances)


def _choose(images: ImageSet, num: int | None, seed: int) -> Tensor:
    """The rows of a random sample of a set, or all, in its order."""
    return torch.randperm(len(images), generator=generator(seed))[:num].sort().values


def _usual(run: RunFolder, model: Model, num_samples: int, seed: int) -> _Usual | None:
    """What the training images of the run are like, if there are any."""
    try:
        train = select_images(run, None, "train")
    except DataError as error:
        notify(f"{error}; so {' and '.join(NEED_TRAINING_IMAGES)} are left out")
        return None
    latents = LatentGaussian.of(model, train.take(_choose(train, NUM_ENCODED_IMAGES, seed)))
    if not model.has_density:
        return _Usual(None, latents)
    center = scores(model, train.take(_choose(train, NUM_CENTER_IMAGES, seed)), num_samples=num_samples, seed=seed)
    return _Usual(float(center.log_px.mean()), latents)


def _columns(scored: ScoredSet) -> dict[str, Sequence[object]]:
    """The columns of a set, in its order."""
    images = scored.images
    names = {"name": image_names(images, scored.rows), "data": [images.name] * len(images), "row": scored.rows.tolist()}
    others = ("standard_error", "effective_samples", "variance", "complexity")
    numbers = scored.values | {key: value for key in others if (value := getattr(scored.scores, key, None)) is not None}
    order = (
        *("log_px", "standard_error", "effective_samples", "elbo", "variance", "complexity"),
        *("ratio", "waic", "typicality", "reconstruction", "latent"),
    )
    return names | class_columns(images) | {key: numbers[key].tolist() for key in order if key in numbers}
