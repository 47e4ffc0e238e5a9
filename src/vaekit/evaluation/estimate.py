r"""Estimates with their standard errors, and the metrics that they are estimates of.

The standard error of a mean over N images is :math:`s / \sqrt{N}`, with the standard deviation :math:`s` over images.

Let an inexpensive estimate x exist for N images, and an expensive estimate y for n of them. The variance of x over images is
much larger than that of y - x. So the mean of y is estimated by the difference estimator,
:math:`\bar x_N + \overline{(y - x)}_n`, with variance

.. math:: \frac{s_x^2}{N} + \frac{s_{y - x}^2}{n} + \frac{2 \, \mathrm{cov}(x, y - x)}{N}.

References:
    | Sampling Techniques (Cochran, 1977), chapters 7 and 12
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.progress import track
from vaekit.data import Dataset
from vaekit.models import Model

MAX_BATCH_SIZE = 500
"""The largest number of images that are evaluated at a time; large images come in smaller batches."""

LATENTS, PIXELS = "latents", "pixels in [0, 1]"
"""The space of estimates that do not depend on the likelihood."""


@dataclass(frozen=True)
class Metric:
    """What an estimate estimates, and how it is printed. Each is declared once, beside its estimator.

    Arguments:
        key: The name in files.
        name: The name that is printed.
        meaning: One or two sentences that explain the metric.
        unit: The unit that is printed; empty if ``meaning`` states it.
        digits: The number of decimal places.
        higher_is_better: Whether a higher value is better; None if neither direction is.
        sample_noun: The word for the samples of the estimator, in the plural: then the number of samples and images is
            printed beside the value.
    """

    key: str
    name: str
    meaning: str
    unit: str
    digits: int = 2
    higher_is_better: bool | None = None
    sample_noun: str = ""


@dataclass(frozen=True)
class Estimate:
    """A mean over images.

    Arguments:
        value: The mean.
        standard_error: Its standard error over images; None for one image.
        unit: Its unit.
        num_images: N, the number of images.
        num_samples: K, the number of samples of z, or of chains, for each image, if the estimator samples.
        space: What the values are probabilities or numbers of, e.g. ``binary pixels``.
        steps: The number of annealed distributions, or of optimizer steps, for each sample.
        num_annealed: The number of images with an expensive estimate, for a difference estimator.
    """

    value: float
    standard_error: float | None
    unit: str
    num_images: int
    num_samples: int | None = None
    space: str | None = None
    steps: int | None = None
    num_annealed: int | None = None

    def to_data(self) -> dict[str, Any]:
        """Returns the estimate as a dictionary for JSON, without fields that are None."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def mean_over_images(
    values: Tensor, unit: str, num_samples: int | None = None, space: str | None = None, steps: int | None = None
) -> Estimate:
    """Returns the mean, with its standard error, of values for each image, with shape (N)."""
    values = values.cpu().double()  # some accelerators do not support float64
    spread = values.std() if len(values) > 1 and bool((values != values[0]).any()) else torch.zeros(())  # without rounding
    error = float(spread / len(values) ** 0.5) if len(values) > 1 else None
    return Estimate(float(values.mean()), error, unit, len(values), num_samples, space, steps)


def mean_by_difference(inexpensive: Tensor, expensive: Tensor) -> tuple[float, float | None]:
    """Returns the mean over N images of values that are known for the first n of them, and its standard error.

    Arguments:
        inexpensive: An inexpensive estimate for each image, with shape (N).
        expensive: The expensive estimate for the first n images, with shape (n), n <= N.
    """
    inexpensive, expensive = inexpensive.cpu().double(), expensive.cpu().double()
    first = inexpensive[: len(expensive)]
    gaps = expensive - first
    value = float(inexpensive.mean() + gaps.mean())
    if len(gaps) < 2:
        return value, None
    covariance = torch.cov(torch.stack([first, gaps]))[0, 1]
    variance = inexpensive.var() / len(inexpensive) + gaps.var() / len(gaps) + 2 * covariance / len(inexpensive)
    return value, float(variance.clamp(min=0).sqrt())


def batches(
    model: Model, data: Dataset, description: str = "", max_batch_size: int = MAX_BATCH_SIZE
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields the values of a data set in order, with labels if the model is class-conditional.

    Arguments:
        model: The model.
        data: The data set.
        description: The label of a progress bar; without one there is no bar.
        max_batch_size: The largest B; B is smaller if the model's chunk size is.

    Yields:
        Values of shape (B, *event) on the model's device, and labels of shape (B) or None.
    """
    chunks = positions_of_batches(model, data, max_batch_size)
    for positions in track(chunks, description, len(chunks)) if description else chunks:
        yield values_at(model, data, positions)


def positions_of_batches(model: Model, data: Dataset, max_batch_size: int = MAX_BATCH_SIZE) -> tuple[Tensor, ...]:
    """Returns the positions of the values of each of the :func:`batches`."""
    chunks: tuple[Tensor, ...] = torch.arange(len(data)).split(min(max_batch_size, model.chunk_size))
    return chunks


def values_at(model: Model, data: Dataset, positions: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns the values of a data set at positions of shape (B), with labels if the model is class-conditional."""
    labels = None
    if model.condition is not None and data.labels is not None:
        labels = data.labels[positions].to(model.device)
    return data.gather(positions).to(model.device), labels
