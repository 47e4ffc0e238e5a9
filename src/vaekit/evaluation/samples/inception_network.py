r"""Inception-v3 as the FID paper uses it, up to the 2,048 features after the last pooling.

It differs from other versions of Inception-v3 in three ways. Images are scaled to 299 x 299 as by TensorFlow 1: linear
interpolation at :math:`i \, h / 299`, without antialiasing. Average pooling over 3 x 3 excludes the padding. The last block
pools by the maximum. Gray levels g are normalized to :math:`(g - 128) / 128`.

References:
    | Rethinking the Inception Architecture for Computer Vision (Szegedy et al., 2015), https://arxiv.org/abs/1512.00567
    | On Aliased Resizing and Surprising Subtleties in GAN Evaluation (Parmar et al., 2021),
      https://arxiv.org/abs/2104.11222
"""

import torch
from torch import Tensor, nn

DIM, SIDE = 2048, 299
"""The number of features, and the height and width of the network's input."""

KernelSize = int | tuple[int, int]
"""The side of a square kernel, or its height and width."""
Layer = tuple[str, int, KernelSize]
"""A convolution: its name in the weights, its number of output channels, and its kernel size."""
Branch = list[list[Layer]]
"""Steps in sequence. A step with several convolutions applies all of them to its input and concatenates their outputs."""


class ConvNormReLU(nn.Module):
    """A convolution, batch normalization and ReLU.

    Arguments:
        in_channels: The number of input channels.
        out_channels: The number of output channels.
        kernel_size: The size of the kernel.
        stride: The stride of the convolution.
        padded: Whether to pad with zeros, so that a stride of 1 keeps the height and width.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: KernelSize, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        padding = (height // 2, width // 2) if padded else 0
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, out_channels, h, w) for maps of shape (B, in_channels, H, W)."""
        return torch.relu_(self.bn(self.conv(x)))


class Block(nn.Module):
    """Parallel branches over the same maps, whose outputs are concatenated; the last branch pools.

    Arguments:
        in_channels: The number of input channels.
        branches: The branches before the pooling branch.
        pool: The pooling layer.
        pool_channels: The output channels of the convolution after the pooling. 0 for no convolution, in a block where each
            branch halves the height and width by its last step.
    """

    def __init__(self, in_channels: int, branches: list[Branch], pool: nn.Module, pool_channels: int = 0) -> None:
        super().__init__()
        self.branches = [[[name for name, _, _ in step] for step in branch] for branch in branches]
        self.pool = pool
        self.branch_pool = ConvNormReLU(in_channels, pool_channels, 1) if pool_channels else nn.Identity()
        for branch in branches:
            channels = in_channels
            for step in branch:
                halves = not pool_channels and step is branch[-1]
                for name, out_channels, kernel_size in step:
                    stride = 2 if halves else 1
                    self.add_module(name, ConvNormReLU(channels, out_channels, kernel_size, stride, padded=not halves))
                channels = sum(out_channels for _, out_channels, _ in step)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the concatenated maps of all branches."""
        outputs = [self._apply_branch(branch, x) for branch in self.branches]
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], 1)

    def _apply_branch(self, branch: list[list[str]], x: Tensor) -> Tensor:
        for names in branch:
            x = torch.cat([self.get_submodule(name)(x) for name in names], 1)
        return x


class InceptionV3(nn.Module):
    """The network up to its features: 21.8 million weights, with the published names."""

    def __init__(self) -> None:
        super().__init__()
        layers = {
            "Conv2d_1a_3x3": ConvNormReLU(3, 32, 3, stride=2, padded=False),
            "Conv2d_2a_3x3": ConvNormReLU(32, 32, 3, padded=False),
            "Conv2d_2b_3x3": ConvNormReLU(32, 64, 3),
            "first_pool": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": ConvNormReLU(64, 80, 1),
            "Conv2d_4a_3x3": ConvNormReLU(80, 192, 3, padded=False),
            "second_pool": nn.MaxPool2d(3, 2),
            "Mixed_5b": _inception_a(192, 32),
            "Mixed_5c": _inception_a(256, 64),
            "Mixed_5d": _inception_a(288, 64),
            "Mixed_6a": _inception_b(),
            "Mixed_6b": _inception_c(128),
            "Mixed_6c": _inception_c(160),
            "Mixed_6d": _inception_c(160),
            "Mixed_6e": _inception_c(192),
            "Mixed_7a": _inception_d(),
            "Mixed_7b": _inception_e(1280, _average_pool()),
            "Mixed_7c": _inception_e(2048, nn.MaxPool2d(3, 1, 1)),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns features of shape (B, 2048) for uint8 pixels of shape (B, 3, H, W)."""
        x = (resize(pixels.float()) - 128) / 128
        for layer in self.children():
            x = layer(x)
        return x.mean((2, 3))


def resize(x: Tensor) -> Tensor:
    """Resizes images of shape (B, C, H, W) to 299 x 299 as TensorFlow 1 does, without antialiasing."""
    return _resize_dim(_resize_dim(x, 2), 3)


def _resize_dim(x: Tensor, dim: int) -> Tensor:
    num = x.shape[dim]
    positions = torch.arange(SIDE, device=x.device) * (num / SIDE)
    lower = positions.long()
    upper = (lower + 1).clamp(max=num - 1)
    weight = (positions - lower).view([-1 if axis == dim else 1 for axis in range(x.ndim)])
    return torch.lerp(x.index_select(dim, lower), x.index_select(dim, upper), weight)


def _average_pool() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _inception_a(in_channels: int, pool_channels: int) -> Block:
    """A block of maps of 35 x 35."""
    branches: list[Branch] = [
        [[("branch1x1", 64, 1)]],
        [[("branch5x5_1", 48, 1)], [("branch5x5_2", 64, 5)]],
        [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]],
    ]
    return Block(in_channels, branches, _average_pool(), pool_channels)


def _inception_b() -> Block:
    """From 288 maps of 35 x 35 to 768 maps of 17 x 17."""
    branches: list[Branch] = [
        [[("branch3x3", 384, 3)]],
        [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]],
    ]
    return Block(288, branches, nn.MaxPool2d(3, 2))


def _inception_c(channels: int) -> Block:
    """A block of 768 maps of 17 x 17, with kernels of 7 x 7 factorized into 1 x 7 and 7 x 1."""
    branches: list[Branch] = [
        [[("branch1x1", 192, 1)]],
        [[("branch7x7_1", channels, 1)], [("branch7x7_2", channels, (1, 7))], [("branch7x7_3", 192, (7, 1))]],
        [
            [("branch7x7dbl_1", channels, 1)],
            [("branch7x7dbl_2", channels, (7, 1))],
            [("branch7x7dbl_3", channels, (1, 7))],
            [("branch7x7dbl_4", channels, (7, 1))],
            [("branch7x7dbl_5", 192, (1, 7))],
        ],
    ]
    return Block(768, branches, _average_pool(), 192)


def _inception_d() -> Block:
    """From 768 maps of 17 x 17 to 1,280 maps of 8 x 8."""
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


def _inception_e(in_channels: int, pool: nn.Module) -> Block:
    """A block with 2,048 output maps of 8 x 8, with kernels of 1 x 3 and 3 x 1 in parallel."""
    branches: list[Branch] = [
        [[("branch1x1", 320, 1)]],
        [[("branch3x3_1", 384, 1)], [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))]],
        [
            [("branch3x3dbl_1", 448, 1)],
            [("branch3x3dbl_2", 384, 3)],
            [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
        ],
    ]
    return Block(in_channels, branches, pool, 192)
