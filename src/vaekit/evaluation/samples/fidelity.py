"""The fidelity of samples and reconstructions: sets of images compared with training images by features.

The metrics are the Fréchet and kernel distances (:mod:`vaekit.evaluation.samples.feature_distances`) and precision, recall,
density and coverage (:mod:`vaekit.evaluation.samples.precision_recall`). They depend on the number of images and do not
reach their ideal values for equal distributions. So all comparisons use the same number of images, and include a comparison
of real images.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import working
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate, batches, mean_over_images
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.samples.feature_distances import frechet_distance, kernel_distance
from vaekit.evaluation.samples.features import FeatureExtractor, metric_name
from vaekit.evaluation.samples.precision_recall import COVERAGE_NEIGHBORS, density_coverage, precision_recall
from vaekit.models import Model

DISTANCE = "0 is equal"
SHARE = "share of images"
DENSITY = "real balls per generated image, over k"

Generate = Callable[[Tensor, Tensor | None, slice], Tensor]
"""Maps uint8 images of shape (B, C, H, W), their labels, and their positions in the set to B images on the unit interval."""


@dataclass(frozen=True)
class ComparedImages:
    """A set of images of a comparison.

    Arguments:
        name: The data set.
        split: The split.
        pixels: ``gray levels``, or how they were binarized.
    """

    name: str
    split: str
    pixels: str


@dataclass(frozen=True)
class ExtractorInfo:
    """The features of a comparison; arguments as the attributes of :class:`FeatureExtractor`."""

    name: str
    description: str
    dim: int


@dataclass(frozen=True)
class FeatureComparison:
    """The metrics of a set of images against the training images.

    The standard errors of precision, recall, density and coverage are over the images that each is a mean of, with the other
    set fixed.

    Arguments:
        frechet_distance: The Fréchet distance of the features.
        kernel_distance: Their kernel distance.
        precision: The share of generated images near real ones.
        recall: The share of real images near generated ones.
        density: The density of real images around generated ones.
        coverage: The share of real images with a generated one nearby.
    """

    frechet_distance: Estimate
    kernel_distance: Estimate
    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate

    def by_name(self) -> dict[str, Estimate]:
        """Returns the metrics by their short names."""
        return {
            "FD": self.frechet_distance,
            "KD": self.kernel_distance,
            "precision": self.precision,
            "recall": self.recall,
            "density": self.density,
            "coverage": self.coverage,
        }


@dataclass(frozen=True)
class Fidelity:
    """Sets of images, each compared with training images.

    Arguments:
        extractor: The features.
        reference: The training images.
        images: The test images.
        num_images: N, the number of images of each set.
        columns: The name of each metric, which includes the extractor's.
        rows: The comparisons by the name of the set.
    """

    extractor: ExtractorInfo
    reference: ComparedImages
    images: ComparedImages
    num_images: int
    columns: list[str]
    rows: dict[str, FeatureComparison]

    @property
    def few(self) -> bool:
        """Whether N is too small for a covariance of full rank, so that bias dominates the Fréchet distance."""
        return self.num_images <= self.extractor.dim

    def to_data(self) -> dict[str, Any]:
        """Returns the comparisons as a dictionary for JSON."""
        return {
            "extractor": asdict(self.extractor),
            "reference": asdict(self.reference),
            "images": asdict(self.images),
            "num_images": self.num_images,
            "few": self.few,
            "columns": self.columns,
            "rows": {
                name: {
                    column: metric.to_data()
                    for column, metric in zip(self.columns, comparison.by_name().values(), strict=True)
                }
                for name, comparison in self.rows.items()
            },
        }


def fidelity(
    model: Model, images: ImageSet, train: ImageSet, extractor: FeatureExtractor, *, num: int, seed: int = 0
) -> Fidelity:
    """Compares images of a model with training images.

    Four sets are compared with the training images: test images, whose distance is the lowest that can be expected of a
    model; their reconstructions; samples of the model, with the labels of the test images if the model is conditional; and
    uniform noise.

    Reconstructions and samples are means of p(x|z), which are smoother than samples of p(x|z). For a model of binarized
    images, use the images before binarization for both splits. Features that were learned from ``train`` may overfit it,
    which raises the distance of the test images.

    Arguments:
        model: The model.
        images: Real images that the model was not trained on, usually the test split.
        train: The training images.
        extractor: The features.
        num: The number of images of each set, limited by the size of the splits.
        seed: The seed of the choice of images, of the samples and of the noise.

    Raises:
        DataError: If there are at most 5 images in a set.
        ModelError: If the model is conditional and the images have no labels.
    """
    num = min(num, len(images), len(train))
    if num <= COVERAGE_NEIGHBORS:
        raise DataError(f"{num} images are too few to compare sets of images; use more than {COVERAGE_NEIGHBORS}")
    reference, images = train.sample(num, seed), images.sample(num, seed)
    real = _features(model, reference, extractor, "train", _identity, seed)
    latents = _sample_prior(model, images, seed)
    generators: dict[str, Generate] = {
        "test against train": _identity,
        "reconstructions": lambda pixels, labels, positions: model.reconstruct(pixels, labels),
        "samples": lambda pixels, labels, positions: model.decode_mean(latents[positions], labels),
        "noise": lambda pixels, labels, positions: torch.rand(pixels.shape).to(pixels.device),
    }
    rows = {}
    for name, generate in generators.items():
        fake = _features(model, images, extractor, name, generate, seed)
        with working(f"comparing {name}"):
            rows[name] = compare(real, fake, space=f"{extractor.name} features")
    return Fidelity(
        extractor=ExtractorInfo(extractor.name, extractor.description, extractor.dim),
        reference=ComparedImages(train.name, train.split, train.binary or "gray levels"),
        images=ComparedImages(images.name, images.split, images.binary or "gray levels"),
        num_images=num,
        columns=[metric_name(extractor, metric) for metric in rows["noise"].by_name()],
        rows=rows,
    )


def compare(real: Tensor, fake: Tensor, space: str | None = None) -> FeatureComparison:
    """Computes all metrics of two sets of features.

    Arguments:
        real: Features of real images, with shape (M, F).
        fake: Features of generated images, with shape (N, F).
        space: The name of the features.
    """
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    return FeatureComparison(
        frechet_distance=Estimate(*frechet_distance(real, fake), DISTANCE, len(fake), space=space),
        kernel_distance=Estimate(*kernel_distance(real, fake), DISTANCE, len(fake), space=space),
        precision=mean_over_images(precision, SHARE, space=space),
        recall=mean_over_images(recall, SHARE, space=space),
        density=mean_over_images(density, DENSITY, space=space),
        coverage=mean_over_images(coverage, SHARE, space=space),
    )


def _identity(pixels: Tensor, labels: Tensor | None, positions: slice) -> Tensor:
    return to_unit_interval(pixels)


def _sample_prior(model: Model, images: ImageSet, seed: int) -> Tensor:
    """Samples of p(z), with the label of each image if the model is conditional, with shape (N, D)."""
    with model.inference(), fixed_seed(seed):
        return model.prior_of(len(images), images.labels if model.condition is not None else None).sample()


def _features(
    model: Model, images: ImageSet, extractor: FeatureExtractor, name: str, generate: Generate, seed: int
) -> Tensor:
    """The features of the images that are generated for each image of a set, on the CPU, with shape (N, F)."""
    with fixed_seed(seed), torch.no_grad():
        features: list[Tensor] = []
        start = 0
        for pixels, labels in batches(model, images, f"{extractor.name} features: {name}"):
            generated = generate(pixels, labels, slice(start, start + len(pixels)))
            features.append(extractor(require_finite(generated, f"the {name}").clamp(0, 1)).cpu().double())
            start += len(pixels)
        return torch.cat(features)
