r"""Numbers with what it takes to quote them: a value, its standard error, its unit and what it was measured on.

The standard error of a mean over N images is :math:`s / \sqrt{N}`, with :math:`s` the standard deviation over images.

Where a dear estimate y is made for n of the N images that have a cheap one x, images differ far more from each other
than y from x. So the mean of y is taken as :math:`\bar x_N + \overline{(y - x)}_n`, the difference estimator, with variance

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
from vaekit.data import ImageSet
from vaekit.models import VAE

MAX_IMAGES = 500
"""How many images are evaluated at a time at most; of large ones the model takes fewer."""


LATENTS, PIXELS = "latents", "pixels in [0, 1]"
"""What numbers are of that have nothing to do with a likelihood."""


@dataclass(frozen=True)
class Estimate:
    """A mean over images.

    Arguments:
        value: The mean.
        standard_error: Its standard error over images.
        unit: Its unit.
        num_images: N, how many images it is a mean over.
        num_samples: K, how many samples of z, or chains, were drawn for each, where any were.
        space: What the number is a number of, where that is not plain: ``binary pixels``, ``256 gray levels``, ...
        steps: How many densities or steps of an optimizer each sample went through, where it did.
    """

    value: float
    standard_error: float | None
    unit: str
    num_images: int
    num_samples: int | None = None
    space: str | None = None
    steps: int | None = None

    def to_data(self) -> dict[str, Any]:
        """Returns the estimate as a dictionary."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def mean_over_images(
    values: Tensor, unit: str, num_samples: int | None = None, space: str | None = None, steps: int | None = None
) -> Estimate:
    """Returns the mean of a number for each image, of shape (N), with its standard error."""
    values = values.cpu().double()  # not every accelerator knows float64
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else None
    return Estimate(float(values.mean()), error, unit, len(values), num_samples, space, steps)


def mean_by_difference(cheap: Tensor, dear: Tensor) -> tuple[float, float | None]:
    """Returns the mean over all images of a dear number that only the first of them have, and its standard error.

    Arguments:
        cheap: A cheap number for each image, with shape (N).
        dear: The dear one for the first of them, with shape (n), n at most N.
    """
    cheap, gaps = cheap.cpu().double(), dear.cpu().double() - cheap[: len(dear)].cpu().double()
    value = float(cheap.mean() + gaps.mean())
    if len(dear) < 2:
        return value, None
    together = torch.cov(torch.stack([cheap[: len(dear)], gaps]))[0, 1]
    variance = cheap.var() / len(cheap) + gaps.var() / len(gaps) + 2 * together / len(cheap)
    return value, float(variance.clamp(min=0).sqrt())


def batches(
    model: VAE, images: ImageSet, description: str = "", most: int = MAX_IMAGES
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields images of shape (B, C, H, W) where the model lives, in order, and labels if the model takes any.

    Arguments:
        model: The model.
        images: The images.
        description: What is done, for a bar; empty for none.
        most: B at most; large images come a few at a time.
    """
    parts = torch.arange(len(images)).split(min(most, model.chunk_size))
    for positions in track(parts, description, len(parts)) if description else parts:
        labels = None
        if model.condition is not None and images.labels is not None:
            labels = images.labels[positions].to(model.device)
        yield images.gather(positions).to(model.device), labels
