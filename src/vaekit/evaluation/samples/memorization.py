r"""Whether samples are copies of training images.

For each sample, and for each test image and its reconstruction, the nearest training image is found by the root mean squared
difference of pixels on the unit interval. A model that copies has samples that are nearer to training images than images
are that it has never seen. Reconstructions of test images went through the same decoder as the samples, whose smoothness
alone makes distances smaller. So the **share** of the samples that are nearer than 95 % of these reconstructions is
reported: about 5 % for a model that does not copy, and 100 % for one that does.

References:
    | A Non-Parametric Test to Detect Data-Copying in Generative Models (Meehan et al., 2020),
      https://arxiv.org/abs/2004.05675
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaekit.core.progress import track
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate, batches, mean_over_images
from vaekit.models import Model

QUANTILE = 0.05
"""The share of the reconstructions of test images that are nearer to training images than the threshold."""
NUM_IMAGES = 1_000
"""The maximum number of samples, and of test images."""
CHUNK_SIZE = 1_024
"""The number of training images that are compared at a time."""
SHARE = "share of samples"
MAX_SHARE = 3 * QUANTILE
"""The share above which samples are called nearer than images that the model has never seen."""


@dataclass(frozen=True)
class Memorization:
    """Distances to the nearest training images.

    Arguments:
        samples: The distance of each sample, with shape (M).
        test: The distance of each test image, with shape (M).
        reconstructions: The distance of the reconstruction of each test image, with shape (M).
        images: The samples, on the unit interval, with shape (M, C, H, W).
        nearest: The position of the nearest training image of each sample, with shape (M).
        num_train: The number of training images.
    """

    samples: Tensor
    test: Tensor
    reconstructions: Tensor
    images: Tensor = field(repr=False)
    nearest: Tensor = field(repr=False)
    num_train: int

    @property
    def share(self) -> Estimate:
        """The share of samples that are nearer than all but 5 % of the reconstructions of test images."""
        threshold = self.reconstructions.quantile(QUANTILE)
        return mean_over_images((self.samples < threshold).double(), SHARE)

    @property
    def medians(self) -> dict[str, float]:
        """The median distances of samples, reconstructions of test images, and test images."""
        sets = {"samples": self.samples, "reconstructions": self.reconstructions, "test": self.test}
        return {name: float(distances.median()) for name, distances in sets.items()}

    @property
    def verdict(self) -> str:
        """Whether the samples are copies, in one sentence."""
        share, error = self.share.value, self.share.standard_error or 0.0
        if share - 2 * error > MAX_SHARE:
            return "Samples are nearer to training images than unseen images are: some may be copies; look at the picture."
        return "Samples are no nearer to training images than unseen images are: no sign of copies."

    def to_data(self) -> dict[str, Any]:
        """Returns the numbers as a dictionary for JSON."""
        return {
            "num_images": len(self.samples),
            "num_train": self.num_train,
            "quantile": QUANTILE,
            "share": asdict(self.share),
            "median_distances": self.medians,
            "verdict": self.verdict,
        }

    def lines(self) -> list[str]:
        """Returns the numbers as text."""
        medians = self.medians
        pairs = f"samples {medians['samples']:.4f}, reconstructions of test images {medians['reconstructions']:.4f}"
        share = f"{self.share.value:.1%} ± {self.share.standard_error or 0:.1%}"
        return [
            f"distance to the nearest of {self.num_train:,} training images, median of {len(self.samples):,}: {pairs}, "
            f"test images {medians['test']:.4f}",
            f"{share} of the samples are nearer than 95 % of these reconstructions (5 % if nothing is copied)",
            self.verdict,
        ]


def memorization(model: Model, train: ImageSet, test: ImageSet, *, num: int = NUM_IMAGES, seed: int = 0) -> Memorization:
    """Compares samples of a model with training images, and with test images.

    Arguments:
        model: The model.
        train: The training images, gray levels also if the model was trained on binarized images.
        test: Images that the model was not trained on.
        num: The number of samples and of test images, limited by the number of test images.
        seed: The seed of samples and of the choice of images.
    """
    test = test.sample(num, seed)
    originals, reconstructions = [], []
    for pixels, labels in batches(model, test):
        originals.append(to_unit_interval(pixels).cpu())
        reconstructions.append(model.reconstruct(pixels, labels).clamp(0, 1).cpu())
    labels = test.labels if model.condition is not None else None
    with fixed_seed(seed):
        samples = model.sample(len(test), labels).clamp(0, 1).cpu()
    distances, nearest = nearest_images(torch.cat([samples, *reconstructions, *originals]), train)
    ours, theirs, real = distances.split(len(test))
    return Memorization(ours, real, theirs, samples, nearest[: len(test)], len(train))


def nearest_images(images: Tensor, train: ImageSet) -> tuple[Tensor, Tensor]:
    """Returns the distance of each image to its nearest training image, and the position of that image.

    Arguments:
        images: Images on the unit interval, with shape (M, C, H, W).
        train: The training images.

    Returns:
        The root mean squared differences, with shape (M), and the positions, with shape (M).
    """
    x = images.flatten(1)
    squares = x.square().sum(1, keepdim=True)
    best, nearest = torch.full((len(x),), math.inf), torch.zeros(len(x), dtype=torch.int64)
    chunks = torch.arange(len(train)).split(CHUNK_SIZE)
    for positions in track(chunks, "looking for the nearest training images", len(chunks)):
        y = to_unit_interval(train.gather(positions)).cpu().flatten(1)
        values, columns = (squares - 2 * x @ y.T + y.square().sum(1)).min(1)
        closer = values < best
        best, nearest = torch.where(closer, values, best), torch.where(closer, positions[columns], nearest)
    exact = torch.cat([_distances(part, train, at) for part, at in zip(x.split(100), nearest.split(100), strict=True)])
    return exact, nearest


def _distances(x: Tensor, train: ImageSet, positions: Tensor) -> Tensor:
    """The root mean squared differences to training images, without the rounding of a difference of large numbers."""
    return (x - to_unit_interval(train.gather(positions)).cpu().flatten(1)).square().mean(1).sqrt()
