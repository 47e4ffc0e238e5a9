"""The features of the FID paper: with them a Fréchet distance is an FID, and a kernel distance a KID.

The network is not taken from ``torch-fidelity``: that package cannot be imported without torchvision, and its network always
loads its weights with pickle. The tests compare the features with those of ``torch-fidelity`` 0.4.0 for the same weights.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
      https://arxiv.org/abs/1706.08500
"""

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.units import to_gray_levels
from vaekit.evaluation.samples.features import INCEPTION, FeatureExtractor
from vaekit.evaluation.samples.inception_network import DIM, InceptionV3
from vaekit.evaluation.samples.inception_weights import SHA256, find_weights, load_weights

CHUNK_SIZE = 50
"""The number of images that pass through the network at once; its largest maps take 0.3 GB."""


class InceptionFeatures(FeatureExtractor):
    """The features of an FID; create them by :func:`inception_features`.

    Images are rounded to 8 bits, and gray images are repeated in three channels.

    Arguments:
        network: The network.
        sha256: The hash of the file of its weights.
    """

    name = INCEPTION
    dim = DIM

    def __init__(self, network: InceptionV3, sha256: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.description = f"{DIM:,} features of Inception-v3 with the weights of 2015-12-05; SHA-256 {sha256[:16]}"

    def __call__(self, images: Tensor) -> Tensor:
        """Returns features of shape (B, 2048).

        Raises:
            DataError: If the images have neither 1 nor 3 channels.
        """
        if images.shape[1] not in (1, 3):
            raise DataError(refusal(images.shape[1]))
        pixels = to_gray_levels(images).expand(-1, 3, -1, -1)
        device = next(self.network.parameters()).device
        with torch.no_grad():
            return torch.cat([self.network(chunk.to(device)) for chunk in pixels.split(CHUNK_SIZE)])


def refusal(num_channels: int) -> str:
    """Returns why Inception does not take images of a number of channels other than 1 and 3."""
    return f"Inception takes images of 1 or 3 channels, got {num_channels}; leave out --features: those of cnn take any"


def inception_features(device: str | torch.device = "cpu") -> InceptionFeatures:
    """Loads Inception, with weights from ``$VAEKIT_DATA``, the Hub, or an earlier download.

    It takes about a tenth of a second per image on two cores.

    Arguments:
        device: The device to compute features on.

    Raises:
        DataError: If the weights cannot be downloaded, or are not the published ones.
    """
    network = InceptionV3()
    load_weights(network, find_weights())
    return InceptionFeatures(network.to(device), SHA256)
