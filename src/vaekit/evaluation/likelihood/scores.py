r"""Which images are odd: a model's scores of each image, and how well they tell one set from another.

With K samples :math:`z_k \sim q(z|x)` and weights :math:`w_k = p(x, z_k) / q(z_k|x)`, in nats and **lower for odder
images** throughout:

- ``log_px``: :math:`\log \frac1K \sum_k w_k`, the plain likelihood, from below. Its Monte Carlo standard error is that of
  the delta method, :math:`s_w / (\sqrt K \, \bar w)`, with :math:`s_w` the standard deviation of the weights. It is itself
  made of the weights that were found and grows no further than 1: near that a single one of them carries the estimate, and
  more samples would raise it by more than the error says.
- ``elbo``: :math:`\frac1K \sum_k \log w_k`.
- ``ratio``: :math:`\log p(x) + L(x)`, with L(x) the length of the image as PNG, bits times log 2. That is the logarithm of
  a likelihood ratio against a generic compressor, whose log-probability of the image is :math:`-L(x)`. Where the model
  gives a density of pixels and not a mass over gray levels, a constant is missing, which no order depends on.
- ``waic``: :math:`\frac1K \sum_k \log w_k - \mathrm{Var}_k \log w_k`. Like the criterion of Choi et al., but the
  variance is over samples of one model's posterior and not over an ensemble of models.
- ``typicality``: :math:`-|\log p(x) - c|`, with c the mean of :math:`\log p` over training images: the test of Nalisnick
  et al. for a set of one image.

Plain likelihood is known to fail, because it prefers what is simple: models of clothes were found to hold digits for more
probable than clothes, and a model may hold faded images for more probable than those it learned from. Hence the
corrections, none of which is right for every failure, and hence the area under the ROC curve,

.. math:: \mathrm{AUROC} = P(s(x) > s(y)) + \tfrac12 P(s(x) = s(y)),

for x of the one set and y of the other: 1 tells them apart, 0.5 is chance, and below it the score is misled. Its standard
error is that of DeLong et al.: with :math:`V_i` the share of the y below :math:`x_i` and :math:`U_j` the share of the x
above :math:`y_j`, the root of :math:`s_V^2 / M + s_U^2 / N`. It is 0 where no image is on the wrong side.

References:
    | Do Deep Generative Models Know What They Don't Know? (Nalisnick et al., 2018), https://arxiv.org/abs/1810.09136
    | Input complexity and out-of-distribution detection with likelihood-based generative models (Serrà et al., 2020),
      https://arxiv.org/abs/1909.11480
    | WAIC, but Why? Generative Ensembles for Robust Anomaly Detection (Choi et al., 2018), https://arxiv.org/abs/1810.01392
    | Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality (Nalisnick et al., 2019),
      https://arxiv.org/abs/1906.02994
    | Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves (DeLong et al., 1988),
      https://doi.org/10.2307/2531595
"""

import io
import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from vaekit.core.errors import ConfigError
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.likelihood.bounds import MAX_CHUNK_SIZE, with_noise
from vaekit.models import VAE

AREA = "1 tells apart, 0.5 is chance"
"""The unit of an AUROC."""
COMPRESSOR = "PNG"
"""The compressor whose code length is an image's complexity: PNG as Pillow writes it, at its smallest."""


@dataclass(frozen=True)
class Scores:
    """What a model says of each image of a set, in nats, all of float64 and shape (N).

    Arguments:
        log_px: The importance-weighted bound of log p(x).
        standard_error: Its Monte Carlo standard error.
        elbo: The mean of the log weights.
        variance: Their variance, in nats squared.
        complexity: L(x), the length of the image as PNG.
    """

    log_px: Tensor
    standard_error: Tensor
    elbo: Tensor
    variance: Tensor
    complexity: Tensor

    @property
    def ratio(self) -> Tensor:
        """The likelihood against that of a compressor, log p(x) + L(x)."""
        return self.log_px + self.complexity

    @property
    def waic(self) -> Tensor:
        """The mean of the log weights less their variance."""
        return self.elbo - self.variance

    def typicality(self, center: float) -> Tensor:
        """Minus the distance of log p(x) from its mean over training images."""
        return -(self.log_px - center).abs()


def scores(model: VAE, images: ImageSet, *, num_samples: int = 100, seed: int = 0) -> Scores:
    """Scores each image of a set; see the head of the module.

    Arguments:
        model: The model.
        images: The images, as the model saw its own in training.
        num_samples: K, how many samples of z for each image, at least 2.
        seed: The seed of those samples; the global generators are left alone.

    Raises:
        ConfigError: If K is too small for a standard error.
        ModelError: If the images have another shape than the model's, or it needs labels that there are not.
    """
    if num_samples < 2:
        raise ConfigError(f"a standard error takes 2 samples of z at least, got num_samples={num_samples}")
    found, lengths = [], []
    description = f"scoring {len(images):,} images, {num_samples:,} samples each"
    with model.inference():
        for x, labels, noise in with_noise(model, images, seed, description, most=MAX_CHUNK_SIZE):
            found.append(weigh(torch.cat([*model.log_weights(x, labels, num_samples, noise.normal)])))
            lengths.append(code_lengths(x))
    log_px, standard_error, elbo, variance = torch.cat(found, 1)
    return Scores(log_px, standard_error, elbo, variance, torch.cat(lengths))


def weigh(log_weights: Tensor) -> Tensor:
    """Returns what log weights of shape (K, N) say of log p(x): ``log_px``, ``standard_error``, ``elbo`` and ``variance``.

    K is 2 at least; the four are float64, with shape (4, N).
    """
    log_weights = log_weights.cpu().double()
    num = len(log_weights)
    log_px = log_weights.logsumexp(0) - math.log(num)
    weights = (log_weights - log_px).exp()  # over their mean, so that nothing overflows
    return torch.stack([log_px, weights.std(0) / num**0.5, log_weights.mean(0), log_weights.var(0)])


def code_lengths(pixels: Tensor) -> Tensor:
    """Returns the length of each image as PNG, in nats, with shape (N), for uint8 of shape (N, C, H, W)."""
    return torch.tensor([_png_bytes(image) * 8 * math.log(2) for image in pixels.cpu()], dtype=torch.float64)


def auroc(own: Tensor, other: Tensor) -> Estimate:
    """Returns how well a score tells two sets apart, if the first is to score higher.

    Arguments:
        own: The scores of the one, with shape (M), at least 2.
        other: The scores of the other, with shape (N), at least 2.

    Raises:
        ConfigError: If there are fewer, so that there is no standard error.
    """
    if min(len(own), len(other)) < 2:
        raise ConfigError(f"an AUROC takes 2 images of each set at least, got {len(own)} and {len(other)}")
    below, above = _share_below(own, other), 1 - _share_below(other, own)
    error = (below.var() / len(own) + above.var() / len(other)).sqrt()
    return Estimate(float(below.mean()), float(error), AREA, len(own) + len(other))


def _png_bytes(image: Tensor) -> int:
    """How many bytes an image of shape (C, H, W) has as PNG."""
    array = image.permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(file, COMPRESSOR, optimize=True)
    return file.tell()


def _share_below(scores: Tensor, others: Tensor) -> Tensor:
    """The share of the others below each score, of which those that are equal count half."""
    ordered = others.sort().values
    counts = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True)
    return counts.double() / (2 * len(others))
