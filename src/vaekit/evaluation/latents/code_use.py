r"""How many codes of a discrete model are used, and how evenly.

A code is **used** if an image of the set has it at any position. With :math:`f_k` the frequency of code k over all images
and positions, the **perplexity** is

.. math:: \exp \Big( -\sum_k f_k \log f_k \Big),

which is K if all codes are equally frequent, and 1 if there is only one. A residual quantizer has L codebooks: their codes
are counted together, and the perplexity is the geometric mean of theirs.

References:
    | Neural Discrete Representation Learning (van den Oord et al., 2017), https://arxiv.org/abs/1711.00937
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.data import Dataset
from vaekit.distributions import PointMass, Quantizer
from vaekit.evaluation.estimate import Estimate, Metric, batches
from vaekit.models import Model

CODES = "codes"
"""The space of numbers of codes."""
METRICS = (
    Metric("code_use", "codes used", "The share of the codes that images of the set have at any position.", "%", 1, True),
    Metric(
        "perplexity",
        "perplexity",
        "The exponential of the entropy of the codes' frequencies: their number if all are equally frequent.",
        CODES,
        1,
        True,
    ),
)


@dataclass(frozen=True)
class CodeUse:
    """The frequencies of codes.

    Arguments:
        counts: How often each code of each codebook occurs, with shape (L, K).
        num_images: The number of images.
    """

    counts: Tensor
    num_images: int

    @property
    def used(self) -> int:
        """The number of codes that occur."""
        return int((self.counts > 0).sum())

    @property
    def perplexity(self) -> float:
        """The exponential of the mean entropy of the codebooks."""
        frequencies = self.counts.double() / self.counts.sum(1, keepdim=True)
        return float((-torch.special.xlogy(frequencies, frequencies).sum(1).mean()).exp())

    def values(self) -> dict[str, float]:
        """Returns the share of codes that are used, in percent, and the perplexity."""
        return {"code_use": 100 * self.used / self.counts.numel(), "perplexity": self.perplexity}

    def metrics(self) -> dict[str, Estimate]:
        """Returns the metrics of :data:`METRICS`."""
        units = {metric.key: metric.unit for metric in METRICS}
        return {key: Estimate(value, None, units[key], self.num_images, space=CODES) for key, value in self.values().items()}


def codes_of(model: Model) -> Quantizer | None:
    """Returns the posterior of a discrete model; None for any other model."""
    posterior = getattr(model, "posterior", None)
    return posterior if isinstance(posterior, Quantizer) else None


def code_use(model: Model, data: Dataset) -> CodeUse | None:
    """Counts the codes of a data set; None if the model is not discrete."""
    codes = codes_of(model)
    if codes is None:
        return None
    counts = torch.zeros(codes.num_levels, codes.num_codes, dtype=torch.int64)
    with model.inference():
        for x, labels in batches(model, data):
            qz = model.encode(x, labels)
            assert isinstance(qz, PointMass)
            for level, indices in enumerate(qz.indices.unflatten(1, (-1, codes.num_levels)).unbind(-1)):
                counts[level] += indices.flatten().bincount(minlength=codes.num_codes).cpu()
    return CodeUse(counts, len(data))
