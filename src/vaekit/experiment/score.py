"""``vaekit.score`` and ``vae score``: scores of single images for outlier detection, in one or two sets of images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vaekit.core.arguments import Count, Seed, checked
from vaekit.core.errors import DataError, NoDensityError
from vaekit.core.progress import notify
from vaekit.core.rng import generator
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.latents.code_use import codes_of
from vaekit.evaluation.latents.outliers import LatentGaussian, reconstruction_errors
from vaekit.evaluation.likelihood.bounds import meaning
from vaekit.evaluation.likelihood.conditional import given_class
from vaekit.evaluation.likelihood.scores import Scores, auroc, dominated_line, scores
from vaekit.experiment.embed import class_columns, image_names
from vaekit.experiment.selection import Selection, select
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
DEFAULT_SCORE: Score = "latent"
"""The score by which images are ordered if none is chosen and there are training images: the best of those measured."""
WITHOUT_TRAINING_IMAGES: Score = "log_px"
"""The score by which they are ordered if there are none."""
NUM_SAMPLES = 20
"""K, the number of samples of z per image if none is chosen. Five times as many change no AUROC by more than 0.03."""
NEED_TRAINING_IMAGES = ("typicality", "latent")
"""The scores that compare an image with training images."""
WITHOUT_DENSITY = ("reconstruction", "latent")
"""The scores of a model whose prior has no density."""
NUM_CENTER_IMAGES, NUM_ENCODED_IMAGES = 200, 5_000
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
        selection: The images with the split of each; by default all are of the split of the set.
    """

    images: ImageSet
    rows: Tensor
    scores: Scores | None
    meaning: str
    center: float | None = None
    errors: Tensor | None = None
    distances: Tensor | None = None
    selection: Selection | None = None

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
    def selected(self) -> Selection:
        """The images with the split of each."""
        return self.selection or Selection(self.images, (self.images.split,) * len(self.images))


@dataclass(frozen=True)
class MostUnusual:
    """The most unusual images, in order.

    Arguments:
        images: uint8 images of shape (M, C, H, W).
        captions: The score of each, and the name of its set if there are two.
        names: The name of each: that of its file, or its number.
    """

    images: Tensor
    captions: Sequence[str]
    names: Sequence[str]


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
        ``split``, ``label`` and ``class`` (if there are labels), and in nats ``log_px`` with its ``standard_error``,
        ``elbo``, ``variance`` of the log weights, ``complexity`` and the corrections of
        :mod:`vaekit.evaluation.likelihood.scores`.
        """
        positions, columns = self.order.tolist(), dict[str, Sequence[object]]()
        for one in self.sets:
            columns = {key: [*columns.get(key, ()), *column] for key, column in _columns(one).items()}
        if all(one.images.labels is None for one in self.sets):
            del columns["label"], columns["class"]
        ranks = range(1, len(positions) + 1)
        return {"rank": ranks} | {key: [column[position] for position in positions] for key, column in columns.items()}

    @checked(DataError)
    def most_unusual(self, num: Count) -> MostUnusual:
        """Returns at most ``num`` images, those with the lowest scores."""
        values, ends = self._values, np.cumsum([len(one.images) for one in self.sets])
        images, captions, names = [], [], list[str]()
        for position in self.order[:num].tolist():
            index = int(np.searchsorted(ends, position, side="right"))
            one = self.sets[index]
            row = torch.tensor([position - int(ends[index]) + len(one.images)])
            images.append(one.images.gather(row))
            names += image_names(one.images.take(row), one.rows[row])
            captions.append(f"{values[position]:,.1f}" + (f" {one.images.name}" if len(self.sets) > 1 else ""))
        return MostUnusual(torch.cat(images), captions, names)

    @property
    def warning(self) -> str:
        """A line on images whose log p(x) rests on one sample of z; empty if there are none."""
        return dominated_line([one.scores for one in self.sets if one.scores is not None])

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
    texts = SCORES if codes_of(model) is None else SCORES | {"log_px": "log p(x) from below: the ELBO, since z is one point"}
    return texts if model.condition is None else {name: given_class(text) for name, text in texts.items()}


@checked(DataError)
def score(
    run: RunFolder | str | Path,
    data: str | Path | None = None,
    *,
    against: str | Path | None = None,
    by: Score | None = None,
    num_samples: Count = NUM_SAMPLES,
    max_images: Count | None = None,
    split: str | None = None,
    seed: Seed = 0,
    device: str = "cpu",
) -> ScoredImages:
    """Scores images by a run's model. Lower scores are more unusual.

    Arguments:
        run: A run, its folder, a model folder, or a hub id.
        data: The images: a name, folder, array or hub id; by default those that the run was trained on.
        against: A second set of images, for the AUROC of each score.
        by: The score by which images are ordered; by default ``latent``, or ``log_px`` without training images.
        num_samples: K, the number of samples of z per image.
        max_images: The number of images of each set, chosen at random; None for all.
        split: ``train``, ``test`` or ``all``; by default all images, or the test images of data that has its own and, with
            ``against``, of the run.
        seed: The seed of all samples.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        VaekitError: If the run, the images or the device are missing, a set to compare has fewer than two images, or
            typicality is requested and there are no training images.

    Example:
        >>> scored = vaekit.score("runs/fashion-mnist", against="mnist", max_images=2000)
        >>> scored.aurocs()["log_px"].value
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    sets = selections(folder, data, against, split)
    single = [one.images.name for one in sets if min(len(one.images), max_images or len(one.images)) < 2]
    if len(sets) > 1 and single:
        raise DataError(f"{single[0]}: an AUROC needs at least two images of each set; add images or raise --max-images")
    model = folder.model.to(find_device(device))
    train = _training_images(folder)
    by = by or (WITHOUT_TRAINING_IMAGES if train is None else DEFAULT_SCORE)
    if not model.has_density and by not in WITHOUT_DENSITY:
        raise NoDensityError(
            f"{folder.folder}: sampler only, its prior has no density, so there is no {SCORES[by].split(',')[0]}; "
            f"choose --by {' or --by '.join(WITHOUT_DENSITY)}"
        )
    if by in NEED_TRAINING_IMAGES and train is None:
        raise DataError(f"{by} is a distance from training images, and there are none; choose another --by")
    scored = [_score_set(model, one, max_images, num_samples, seed) for one in sets]
    if train is not None:
        center = _center_among(scored[0]) if folder.is_own(data) else None
        if center is None and model.has_density:
            center = _center_of(model, train, num_samples, seed)
        latents = LatentGaussian.of(model, train.take(_choose(train, NUM_ENCODED_IMAGES, seed)))
        scored = [replace(one, center=center, distances=latents.distances(model, one.images)) for one in scored]
    return ScoredImages(scored, by)


def selections(run: RunFolder, data: str | Path | None, against: str | Path | None, split: str | None) -> list[Selection]:
    """Returns the images that a command scores: one set, or with ``against`` two.

    Raises:
        DataError: If there are no such images.
    """
    first = select(run, data, split, measured=against is not None)
    return [first] if against is None else [first, select(run, against, measured=True)]


def _score_set(model: Model, chosen: Selection, max_images: int | None, num_samples: int, seed: int) -> ScoredSet:
    """The scores of a set, or of a random sample of it, in its order, without those that need training images."""
    rows = _choose(chosen.images, max_images, seed)
    subset = chosen.take(rows)
    found = scores(model, subset.images, num_samples=num_samples, seed=seed) if model.has_density else None
    errors = reconstruction_errors(model, subset.images)
    return ScoredSet(subset.images, rows, found, meaning(model, chosen.images), None, errors, None, subset)


def _center_among(scored: ScoredSet) -> float | None:
    """The mean of log p(x) over the training images among a set's, so that none is scored twice; None if they are few."""
    if scored.scores is None:
        return None
    is_train = torch.tensor([split == "train" for split in scored.selected.splits])
    enough = int(is_train.sum()) >= min(NUM_CENTER_IMAGES, len(is_train) // 2)
    return float(scored.scores.log_px[is_train].mean()) if enough and bool(is_train.any()) else None


def _center_of(model: Model, train: ImageSet, num_samples: int, seed: int) -> float:
    """The mean of log p(x) over a random sample of training images."""
    some = train.take(_choose(train, NUM_CENTER_IMAGES, seed))
    found = scores(model, some, num_samples=num_samples, seed=seed, description="for typicality, scoring training images:")
    return float(found.log_px.mean())


def _choose(images: ImageSet, num: int | None, seed: int) -> Tensor:
    """The rows of a random sample of a set, or all, in its order."""
    return torch.randperm(len(images), generator=generator(seed))[:num].sort().values


def _training_images(run: RunFolder) -> ImageSet | None:
    """The training images of the run, if there are any."""
    try:
        return run.images(None, "train")
    except DataError as error:
        notify(f"{error}; so {' and '.join(NEED_TRAINING_IMAGES)} are left out")
        return None


def _columns(scored: ScoredSet) -> dict[str, Sequence[object]]:
    """The columns of a set, in its order."""
    images = scored.images
    names = {"name": image_names(images, scored.rows), "data": [images.name] * len(images), "row": scored.rows.tolist()}
    names |= {"split": list(scored.selected.splits)}
    others = ("standard_error", "effective_samples", "variance", "complexity")
    numbers = scored.values | {key: value for key in others if (value := getattr(scored.scores, key, None)) is not None}
    order = (
        *("log_px", "standard_error", "effective_samples", "elbo", "variance", "complexity"),
        *("ratio", "waic", "typicality", "reconstruction", "latent"),
    )
    return names | class_columns(images) | {key: numbers[key].tolist() for key in order if key in numbers}
