r"""Feature extractors: the networks whose features sets of images are compared by.

A distance between sets of images depends on the extractor more than on anything else, so the name of each metric includes
the name of its extractor. Only the network of the FID paper (:mod:`vaekit.evaluation.samples.inception`) gives an FID.
The default extractor is a classifier of the training images (:mod:`vaekit.evaluation.samples.learned_features`).
Any other is a subclass of :class:`FeatureExtractor`.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
      https://arxiv.org/abs/1706.08500
"""

from abc import ABC, abstractmethod

from torch import Tensor

INCEPTION = "inception-v3 (FID weights)"
"""The name of the network of the FID paper, with the weights of 2015-12-05 and the 2048 features after the last pooling."""


class FeatureExtractor(ABC):
    """Maps images to features.

    Attributes:
        name: The name that metrics include, e.g. ``cnn``.
        description: One line: the network, its training data, and its weights.
        dim: F, the number of features.
    """

    name: str
    description: str
    dim: int

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Returns features of shape (B, F) for images on the unit interval of shape (B, C, H, W)."""


def metric_name(extractor: FeatureExtractor, metric: str) -> str:
    """Returns the name of a metric with its extractor, e.g. ``FD-cnn``; ``FD`` and ``KD`` of Inception are FID and KID."""
    if extractor.name == INCEPTION and metric in ("FD", "KD"):
        return {"FD": "FID", "KD": "KID"}[metric]
    return f"{metric}-{extractor.name}"
