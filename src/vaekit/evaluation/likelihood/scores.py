r"""Scores of single images for outlier detection, and how well a score separates two sets of images.

With K samples :math:`z_k \sim q(z|x)` and weights :math:`w_k = p(x, z_k) / q(z_k|x)`, all scores are in nats and **lower for
more unusual images**:

- ``log_px``: :math:`\log \frac1K \sum_k w_k`, the importance-weighted bound of log p(x). Its Monte Carlo standard error is
  that of the delta method, :math:`s_w / (\sqrt K \, \bar w)`, with the standard deviation :math:`s_w` of the weights. It is
  estimated from the same weights and is at most about 1. Near 1 a single weight dominates the estimate, and more samples
  would raise it by more than the standard error. The effective number of samples says so,
  :math:`(\sum_k w_k)^2 / \sum_k w_k^2` (Kong, 1992): 1 if one weight dominates, K if all are equal.
- ``elbo``: :math:`\frac1K \sum_k \log w_k`.
- ``ratio``: :math:`\log p(x) + L(x)`, where L(x) is the length of the image as PNG, in nats: gray or color, and an image of
  other numbers of channels as one gray image of its channels below each other. It is a log-likelihood ratio
  against a general-purpose compressor, whose log-probability of the image is :math:`-L(x)`. If the model gives a density of
  pixels and not a mass over gray levels, the ratio lacks a constant, which does not change the order.
- ``waic``: :math:`\frac1K \sum_k \log w_k - \mathrm{Var}_k \log w_k`. It differs from the criterion of Choi et al. in that
  the variance is over posterior samples of one model, not over an ensemble of models.
- ``typicality``: :math:`-|\log p(x) - c|`, with the mean c of :math:`\log p` over training images: the test of Nalisnick
  et al. for a set of one image.

The likelihood alone can fail, because it is higher for simple images: models of clothes assign a higher likelihood to digits
than to clothes. None of the corrections solves every such case. So the area under the ROC curve is reported,

.. math:: \mathrm{AUROC} = P(s(x) > s(y)) + \tfrac12 P(s(x) = s(y)),

for x in one set and y in the other: 1 is perfect separation and 0.5 is chance. Below 0.5 the score is higher for the other
set. The standard error is that of DeLong et al.: with the share :math:`V_i` of the y below :math:`x_i` and the share
:math:`U_j` of the x above :math:`y_j`, it is the root of :math:`s_V^2 / M + s_U^2 / N`. It is 0 at perfect separation.

References:
    | Do Deep Generative Models Know What They Don't Know? (Nalisnick et al., 2018), https://arxiv.org/abs/1810.09136
    | Input complexity and out-of-distribution detection with likelihood-based generative models (Serrà et al., 2020),
      https://arxiv.org/abs/1909.11480
    | WAIC, but Why? Generative Ensembles for Robust Anomaly Detection (Choi et al., 2018), https://arxiv.org/abs/1810.01392
    | Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality (Nalisnick et al., 2019),
      https://arxiv.org/abs/1906.02994
    | A Note on Importance Sampling using Standardized Weights (Kong, 1992), technical report 348, University of Chicago
    | Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves (DeLong et al., 1988),
      https://doi.org/10.2307/2531595
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from vaekit.core.errors import ConfigError
from vaekit.data import Dataset, ImageSet
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.likelihood.bounds import MAX_IW_BATCH_SIZE, with_noise
from vaekit.models import Model

MIN_EFFECTIVE = 2
"""The effective number of samples below which a standard error of log p(x) is no estimate of its error."""
AUROC_UNIT = "1 tells apart, 0.5 is chance"
"""The unit of an AUROC."""
COMPRESSOR = "PNG"
"""The image format whose code length is the complexity of an image, as Pillow writes it with ``optimize``."""


@dataclass(frozen=True)
class Scores:
    """The scores of the N images of a set, in nats, each float64 with shape (N).

    Arguments:
        log_px: The importance-weighted bound of log p(x).
        standard_error: Its Monte Carlo standard error.
        elbo: The mean of the log weights.
        variance: The variance of the log weights, in nats squared.
        complexity: L(x), the length of the image as PNG; None if the data are not images.
        num_samples: K, the number of samples of z of each image; 0 if it is not known.
    """

    log_px: Tensor
    standard_error: Tensor
    elbo: Tensor
    variance: Tensor
    complexity: Tensor | None
    num_samples: int = 0

    @property
    def effective_samples(self) -> Tensor | None:
        """The effective number of samples of z of each image, with shape (N); None if K is not known."""
        return effective_samples(self.standard_error, self.num_samples) if self.num_samples else None

    @property
    def ratio(self) -> Tensor | None:
        """The log-likelihood ratio against a compressor, log p(x) + L(x); None if the data are not images."""
        return None if self.complexity is None else self.log_px + self.complexity

    @property
    def waic(self) -> Tensor:
        """The mean minus the variance of the log weights."""
        return self.elbo - self.variance

    def typicality(self, center: float) -> Tensor:
        """Returns minus the distance of log p(x) from its mean over training images."""
        return -(self.log_px - center).abs()


def dominated_line(sets: Sequence[Scores]) -> str:
    """Returns a line on images of which one sample of z has most of the weight; empty if there are none.

    Then the standard error of log p(x), which is estimated from the same weights, is no estimate of its error.
    """
    effective = [one.effective_samples for one in sets if one.effective_samples is not None]
    num_few, num = sum(int((each < MIN_EFFECTIVE).sum()) for each in effective), sum(map(len, effective))
    if not num_few:
        return ""
    return (
        f"for {num_few:,} of {num:,} images one of the {sets[0].num_samples:,} samples of z has most of the weight: there "
        "log p(x) is a lower bound that may be far too low, more so than its standard error says, and ratio and typicality "
        "with it; more --num-samples raise it slowly; the orders by elbo, reconstruction and latent do not depend on it"
    )


def scores(model: Model, data: Dataset, *, num_samples: int = 100, seed: int = 0, description: str = "scoring") -> Scores:
    """Scores each image of a set.

    Arguments:
        model: The model.
        data: The data set, prepared as in training.
        num_samples: K, the number of samples of z per image, at least 2.
        seed: The seed of the samples. The global generators are not used.
        description: The work, for the progress bar, which adds the numbers of images and samples.

    Raises:
        ConfigError: If K is below 2, too small for a standard error.
        ModelError: If the images do not have the model's shape, labels are missing, or a score is not finite.
    """
    if num_samples < 2:
        raise ConfigError(f"num_samples must be at least 2 for a standard error, got {num_samples}")
    summaries, lengths = [], []
    label = f"{description} {len(data):,} images, {num_samples:,} samples each"
    with model.inference():
        for x, labels, noise in with_noise(model, data, seed, label, MAX_IW_BATCH_SIZE):
            summaries.append(summarize_weights(torch.cat([*model.log_weights(x, labels, num_samples, noise.normal)])))
            lengths += [code_lengths(x)] if isinstance(data, ImageSet) else []
    summary = require_finite(torch.cat(summaries, 1).T, "the log-probabilities of images")
    log_px, standard_error, elbo, variance = summary.T
    return Scores(log_px, standard_error, elbo, variance, torch.cat(lengths) if lengths else None, num_samples)


def summarize_weights(log_weights: Tensor) -> Tensor:
    """Computes ``log_px``, its ``standard_error``, ``elbo`` and ``variance`` from log weights.

    Arguments:
        log_weights: Log weights in nats, with shape (K, N), K >= 2.

    Returns:
        The four in float64, with shape (4, N).
    """
    log_weights = log_weights.cpu().double()
    num = len(log_weights)
    log_px = log_weights.logsumexp(0) - math.log(num)
    weights = (log_weights - log_px).exp()  # relative to their mean, so that nothing overflows
    return torch.stack([log_px, weights.std(0) / num**0.5, log_weights.mean(0), log_weights.var(0)])


def effective_samples(standard_error: Tensor, num_samples: int) -> Tensor:
    r"""Returns the effective number of samples, from 1 to K, of standard errors of log p(x), with the same shape.

    The standard error s of K weights with the mean 1 has :math:`s^2 = (\sum_k w_k^2 - K) / (K (K - 1))`.
    """
    return num_samples / (1 + (num_samples - 1) * standard_error.square())


def code_lengths(pixels: Tensor) -> Tensor:
    """Returns the length of each image as PNG, in nats, with shape (N), for uint8 of shape (N, C, H, W)."""
    return torch.tensor([_png_bytes(image) * 8 * math.log(2) for image in pixels.cpu()], dtype=torch.float64)


def auroc(own: Tensor, other: Tensor) -> Estimate:
    """Returns how well a score separates two sets, of which the first should score higher.

    Arguments:
        own: The scores of the first set, with shape (M), M >= 2.
        other: The scores of the second set, with shape (N), N >= 2.

    Raises:
        ConfigError: If a set has fewer than two scores, too few for a standard error.
    """
    if min(len(own), len(other)) < 2:
        raise ConfigError(f"an AUROC needs at least 2 images of each set, got {len(own)} and {len(other)}")
    below, above = _share_below(own, other), 1 - _share_below(other, own)
    error = (below.var() / len(own) + above.var() / len(other)).sqrt()
    return Estimate(float(below.mean()), float(error), AUROC_UNIT, len(own) + len(other))


def _png_bytes(image: Tensor) -> int:
    """The number of bytes of an image of shape (C, H, W) as PNG; of 2 or of 4 and more channels as one gray image."""
    array = image.permute(1, 2, 0).numpy() if len(image) == 3 else image.flatten(0, 1).numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, COMPRESSOR, optimize=True)
    return file.tell()


def _share_below(scores: Tensor, others: Tensor) -> Tensor:
    """The share of the other scores below each score, where equal scores count half."""
    ordered = others.sort().values
    counts = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True)
    return counts.double() / (2 * len(others))
