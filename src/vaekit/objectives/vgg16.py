"""VGG16 of ImageNet as the network of a feature loss, from safetensors of the Hugging Face Hub.

It is the network that LPIPS compares images by, with its five layers; the learned weights of their channels, which are only
published as a pickle, are left out, so that every channel counts alike. It knows photographs, and costs a multiple of the
time of a small autoencoder: it is for a GPU.

References:
    | Very Deep Convolutional Networks for Large-Scale Image Recognition (Simonyan & Zisserman, 2014),
      https://arxiv.org/abs/1409.1556; the weights of torchvision as https://huggingface.co/timm/vgg16.tv_in1k (BSD-3-Clause)
    | The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018),
      https://arxiv.org/abs/1801.03924
"""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from vaekit.core.errors import ConfigError, DataError
from vaekit.core.progress import notify
from vaekit.data.sources.hub import find_weights

REPOSITORY, FILE = "timm/vgg16.tv_in1k", "model.safetensors"
"""The repository on the Hugging Face Hub, and the file in it, of 553 MB."""
STAGES = (
    [(0, 64), (2, 64)],
    [(5, 128), (7, 128)],
    [(10, 256), (12, 256), (14, 256)],
    [(17, 512), (19, 512), (21, 512)],
    [(24, 512), (26, 512), (28, 512)],
)
"""The number in the file and the channels of each convolution of each stage."""
MEAN, STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The mean and the standard deviation of the pixels of ImageNet, by channel."""


class Vgg16(nn.Module):
    """The convolutions of VGG16. Its weights are no parameters and in no checkpoint, since they never change.

    Arguments:
        weights: The weight and the bias of each convolution, by their names in the file.
    """

    mean: Tensor
    stddev: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in weight_shapes():
            self.register_buffer(name.replace(".", "_"), weights[name].float(), persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("stddev", torch.tensor(STDDEV).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the last maps of each stage, (B, F, h, w), of images on the unit interval, (B, C, H, W)."""
        maps, found = (x.expand(-1, 3, -1, -1) - self.mean) / self.stddev, []
        for number, stage in enumerate(STAGES):
            if number:
                maps = F.max_pool2d(maps, 2, ceil_mode=True)
            for place, _ in stage:
                weight, bias = (getattr(self, f"features_{place}_{name}") for name in ("weight", "bias"))
                maps = F.relu(F.conv2d(maps, weight, bias, padding=1))
            found.append(maps)
        return found


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights that are read, by their names in the file."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for place, width in (layer for stage in STAGES for layer in stage):
        shapes |= {f"features.{place}.weight": (width, before, 3, 3), f"features.{place}.bias": (width,)}
        before = width
    return shapes


def vgg16(channels: int, device: torch.device) -> Vgg16:
    """Loads the network from ``$VAEKIT_DATA`` if that folder holds its weights, otherwise from the Hub.

    Arguments:
        channels: The number of channels of an image: 1 or 3.
        device: The device to use the network on.

    Raises:
        ConfigError: If images have another number of channels.
        DataError: If the weights cannot be downloaded or read.
    """
    if channels not in (1, 3):
        raise ConfigError(f"objective.feature_network: vgg16 sees 1 or 3 channels, got {channels}; choose learned")
    path = find_weights(REPOSITORY, FILE, "VGG16", "choose objective.feature_network=learned")
    network = Vgg16(_read(path)).to(device)
    notify("the feature loss is that of VGG16, trained on ImageNet, with all channels alike; it is not LPIPS")
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """The weights of the convolutions in a file."""
    shapes = weight_shapes()
    try:
        with safe_open(path, "pt") as file:
            known = set(file.keys())
            found = {name: file.get_tensor(name) for name in shapes if name in known}
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if any(name not in found or tuple(found[name].shape) != shape for name, shape in shapes.items()):
        raise DataError(f"{path}: these are not the weights of VGG16")
    return found
