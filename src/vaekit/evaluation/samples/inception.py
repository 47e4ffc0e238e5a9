r"""The network of the FID paper: its features make a Fréchet distance an FID, and a kernel distance a KID.

It is Inception-v3 as published on 2015-12-05, with the 2,048 features after its last pooling. Images are seen as 8-bit
RGB, gray ones three times over, and scaled to 299 x 299 as TensorFlow 1 did it: linearly between the pixels around
:math:`i \, h / 299`. Values are :math:`(g - 128) / 128`. Averages over 3 x 3 leave out what lies beyond the border, and the
last block pools by maxima; other trainings of the network do neither.

The weights come from the Hugging Face Hub as safetensors, converted from those that pytorch-fid took over from TensorFlow
(Apache-2.0); only the very file that :data:`SHA256` names is read.

References:
    | Rethinking the Inception Architecture for Computer Vision (Szegedy et al., 2015), https://arxiv.org/abs/1512.00567
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
      https://arxiv.org/abs/1706.08500
    | On Aliased Resizing and Surprising Subtleties in GAN Evaluation (Parmar et al., 2021),
      https://arxiv.org/abs/2104.11222
"""

import hashlib
import os
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaekit.core.errors import DataError
from vaekit.core.units import to_gray_levels
from vaekit.data.sources.hub import describe_error, download
from vaekit.evaluation.samples.features import INCEPTION, FeatureExtractor

REPOSITORY, FILE = "nikhilr01/sen-bridge-weights", "fid_inception.safetensors"
"""Where the weights lie on the Hugging Face Hub."""
SHA256 = "b7a528bf4051f62c057bc14657865abf180a23eb1748d00ff0933d84698202ed"
"""What tells their file from any other."""
DIM, SIDE = 2048, 299
"""How many features there are, and the side of the square that images are scaled to."""
CHUNK = 50
"""How many images are looked at together; their widest maps take 0.3 GB."""

Size = int | tuple[int, int]
"""The side of a kernel, or its height and width."""
Layer = tuple[str, int, Size]
"""A convolution: its name among the weights, how many maps it makes, and its kernel."""
Branch = list[list[Layer]]
"""Convolutions one after the other; where several look at the same maps, theirs are stacked."""


class Convolution(nn.Module):
    """A convolution whose maps are normalized and cut off below 0.

    Arguments:
        inputs: How many maps come in.
        outputs: How many go out.
        size: The kernel.
        stride: How far apart the points are that it looks at.
        padded: Whether zeros lie beyond the border, so that a stride of 1 keeps the size.
    """

    def __init__(self, inputs: int, outputs: int, size: Size, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        padding = (height // 2, width // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, outputs, h, w) of maps of shape (B, inputs, H, W)."""
        return torch.relu_(self.bn(self.conv(x)))


class Block(nn.Module):
    """Branches side by side over the same maps, the last of which pools them; their maps are stacked in their order.

    Arguments:
        inputs: How many maps come in.
        branches: The branches before the last.
        pool: What the last one does first.
        pooled: How many maps it makes of them by a convolution; 0 for none, in a block whose branches all halve the sides.
    """

    def __init__(self, inputs: int, branches: list[Branch], pool: nn.Module, pooled: int = 0) -> None:
        super().__init__()
        self.branches = [[[name for name, _, _ in step] for step in branch] for branch in branches]
        self.pool = pool
        self.branch_pool = Convolution(inputs, pooled, 1) if pooled else nn.Identity()
        for branch in branches:
            maps = inputs
            for step in branch:
                halves = not pooled and step is branch[-1]
                for name, outputs, size in step:
                    layer = Convolution(maps, outputs, size, stride=2 if halves else 1, padded=not halves)
                    self.add_module(name, layer)
                maps = sum(outputs for _, outputs, _ in step)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the maps of all branches."""
        return torch.cat([*(self._follow(branch, x) for branch in self.branches), self.branch_pool(self.pool(x))], 1)

    def _follow(self, branch: list[list[str]], x: Tensor) -> Tensor:
        for names in branch:
            x = torch.cat([self.get_submodule(name)(x) for name in names], 1)
        return x


def _average() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _fine(inputs: int, pooled: int) -> Block:
    """A block of the finest maps, 35 x 35."""
    branches: list[Branch] = [
        [[("branch1x1", 64, 1)]],
        [[("branch5x5_1", 48, 1)], [("branch5x5_2", 64, 5)]],
        [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]],
    ]
    return Block(inputs, branches, _average(), pooled)


def _middle(maps: int) -> Block:
    """A block of 768 maps of 17 x 17, with kernels of 7 x 7 taken apart."""
    branches: list[Branch] = [
        [[("branch1x1", 192, 1)]],
        [[("branch7x7_1", maps, 1)], [("branch7x7_2", maps, (1, 7))], [("branch7x7_3", 192, (7, 1))]],
        [
            [("branch7x7dbl_1", maps, 1)],
            [("branch7x7dbl_2", maps, (7, 1))],
            [("branch7x7dbl_3", maps, (1, 7))],
            [("branch7x7dbl_4", maps, (7, 1))],
            [("branch7x7dbl_5", 192, (1, 7))],
        ],
    ]
    return Block(768, branches, _average(), 192)


def _coarse(inputs: int, pool: nn.Module) -> Block:
    """A block that makes 2,048 maps of 8 x 8, with kernels of 3 x 3 laid side by side as a row and a column."""
    branches: list[Branch] = [
        [[("branch1x1", 320, 1)]],
        [[("branch3x3_1", 384, 1)], [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))]],
        [
            [("branch3x3dbl_1", 448, 1)],
            [("branch3x3dbl_2", 384, 3)],
            [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
        ],
    ]
    return Block(inputs, branches, pool, 192)


def _to_middle() -> Block:
    """From 288 maps of 35 x 35 to 768 of 17 x 17."""
    branches: list[Branch] = [
        [[("branch3x3", 384, 3)]],
        [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]],
    ]
    return Block(288, branches, nn.MaxPool2d(3, 2))


def _to_coarse() -> Block:
    """From 768 maps of 17 x 17 to 1,280 of 8 x 8."""
    branches: list[Branch] = [
        [[("branch3x3_1", 192, 1)], [("branch3x3_2", 320, 3)]],
        [
            [("branch7x7x3_1", 192, 1)],
            [("branch7x7x3_2", 192, (1, 7))],
            [("branch7x7x3_3", 192, (7, 1))],
            [("branch7x7x3_4", 192, 3)],
        ],
    ]
    return Block(768, branches, nn.MaxPool2d(3, 2))


class Inception(nn.Module):
    """The network as far as its features: 21.8 million weights, named as they are published."""

    def __init__(self) -> None:
        super().__init__()
        layers = {
            "Conv2d_1a_3x3": Convolution(3, 32, 3, stride=2, padded=False),
            "Conv2d_2a_3x3": Convolution(32, 32, 3, padded=False),
            "Conv2d_2b_3x3": Convolution(32, 64, 3),
            "first_pool": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": Convolution(64, 80, 1),
            "Conv2d_4a_3x3": Convolution(80, 192, 3, padded=False),
            "second_pool": nn.MaxPool2d(3, 2),
            "Mixed_5b": _fine(192, 32),
            "Mixed_5c": _fine(256, 64),
            "Mixed_5d": _fine(288, 64),
            "Mixed_6a": _to_middle(),
            "Mixed_6b": _middle(128),
            "Mixed_6c": _middle(160),
            "Mixed_6d": _middle(160),
            "Mixed_6e": _middle(192),
            "Mixed_7a": _to_coarse(),
            "Mixed_7b": _coarse(1280, _average()),
            "Mixed_7c": _coarse(2048, nn.MaxPool2d(3, 1, 1)),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns features of shape (B, 2048) of uint8 pixels of shape (B, 3, H, W)."""
        x = (scaled(pixels.float()) - 128) / 128
        for layer in self.children():
            x = layer(x)
        return x.mean((2, 3))


class InceptionFeatures(FeatureExtractor):
    """The features of an FID; made by :func:`inception_features`.

    Arguments:
        network: The network.
        weights: A hash of the file of its weights.
    """

    name = INCEPTION
    dim = DIM

    def __init__(self, network: Inception, weights: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.description = f"{DIM:,} features of Inception-v3 with the weights of 2015-12-05; SHA-256 {weights[:16]}"

    def __call__(self, images: Tensor) -> Tensor:
        """Returns features of shape (B, 2048).

        Raises:
            DataError: If the images are neither gray nor of three colors.
        """
        if images.shape[1] not in (1, 3):
            raise DataError(f"Inception looks at images of 1 or 3 channels, got {images.shape[1]}")
        pixels = to_gray_levels(images).expand(-1, 3, -1, -1)
        device = next(self.network.parameters()).device
        with torch.no_grad():
            return torch.cat([self.network(part.to(device)) for part in pixels.split(CHUNK)])


def inception_features(device: str | torch.device = "cpu") -> InceptionFeatures:
    """Loads Inception, from ``$VAEKIT_DATA`` if that folder holds the repository, else from the Hub or an earlier download.

    An image takes about a tenth of a second on two cores.

    Arguments:
        device: Where to look at images.

    Raises:
        DataError: If the weights cannot be had, or are others than the published ones.
    """
    path = _weights()
    found = hash_of(path)
    if found != SHA256:
        hashes = f"SHA-256 {found[:16]}..., not {SHA256[:16]}..."
        raise DataError(f"{path.resolve()}: not the weights that an FID is made with ({hashes}); remove this file")
    network = Inception()
    fill(network, path)
    return InceptionFeatures(network.to(device), SHA256)


def hash_of(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(network: Inception, path: Path) -> None:
    """Reads the weights of a network from a file, which may hold those of a classifier behind it too.

    Raises:
        DataError: If they are not those of this network.
    """
    try:
        weights = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    own = network.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # which no image's features depend on
    wanted = {key: tuple(value.shape) for key, value in own.items() if key not in counters}
    if any(key not in weights or tuple(weights[key].shape) != shape for key, shape in wanted.items()):
        raise DataError(f"{path}: holds other weights than those of Inception-v3")
    network.load_state_dict(own | {key: weights[key] for key in wanted})


def scaled(x: Tensor) -> Tensor:
    """Scales images of shape (B, C, H, W) to 299 x 299 as TensorFlow 1 did, without smoothing before they shrink."""
    return _scaled(_scaled(x, 2), 3)


def _scaled(x: Tensor, dim: int) -> Tensor:
    """Scales one dimension to 299 points, each between two of before."""
    num = x.shape[dim]
    places = torch.arange(SIDE, device=x.device) * (num / SIDE)
    before = places.long()
    after = (before + 1).clamp(max=num - 1)
    share = (places - before).view([-1 if axis == dim else 1 for axis in range(x.ndim)])
    return torch.lerp(x.index_select(dim, before), x.index_select(dim, after), share)


def _weights() -> Path:
    """Where the file of the weights lies on this disk, downloaded if need be.

    Raises:
        DataError: If it cannot be had.
    """
    kept = Path(os.environ.get("VAEKIT_DATA", "")) / REPOSITORY / FILE
    if "VAEKIT_DATA" in os.environ and kept.is_file():
        return kept
    from huggingface_hub.errors import HfHubHTTPError  # heavy, and only needed here

    try:
        path = download(REPOSITORY, "model", None, [FILE]) / FILE
        path.stat()
        return path
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            f"{REPOSITORY}: the weights of Inception cannot be had from the Hugging Face Hub ({describe_error(error)}); "
            f"connect once, put them into $VAEKIT_DATA/{REPOSITORY}/{FILE}, or leave out --features inception"
        ) from None
