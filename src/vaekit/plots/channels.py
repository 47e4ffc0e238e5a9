"""The channels of images as they are drawn: the one place that turns images of any number of channels into tiles.

A gray image and a color image are one tile each. Images of 2, or of 4 to 16, channels are drawn channel by channel: each
channel is a gray tile of its own. If channels are chosen, an image is one tile: one channel as gray, or three as red, green
and blue. Channels have numbers from 1, as in remote sensing.
"""

import torch
from torch import Tensor

from vaekit.core.units import to_gray_levels
from vaekit.plots.channel_choice import DISPLAYED, check_channels, numbers_of
from vaekit.plots.channel_choice import Channels as Channels


def tiles(images: Tensor, channels: Channels | None = None) -> Tensor:
    """Returns the tiles of images.

    Arguments:
        images: N images, with shape (N, C, H, W), on the unit interval or uint8.
        channels: The channels to draw; by default all: gray and color images as they are, others channel by channel.

    Returns:
        The T tiles of each image as uint8 on the CPU, with shape (N, T, 1, H, W) for gray tiles and (N, 1, 3, H, W) for
        color tiles.

    Raises:
        ConfigError: If the images do not have the channels.
    """
    pixels = as_uint8(images)
    if channels is not None:
        check_channels(channels, pixels.shape[1])
        return pixels[:, torch.tensor(numbers_of(channels)) - 1].unsqueeze(1)
    return pixels.unsqueeze(1 if pixels.shape[1] in DISPLAYED else 2)


def num_tiles(num_channels: int, channels: Channels | None = None) -> int:
    """Returns T, the number of tiles of an image."""
    return 1 if channels is not None or num_channels in DISPLAYED else num_channels


def tile_names(num: int) -> list[str]:
    """Returns the captions of the tiles of an image, e.g. ``channel 1``; none if there is one tile."""
    return [f"channel {number}" for number in range(1, num + 1)] if num > 1 else []


def describe_channels(num_channels: int, channels: Channels | None) -> str:
    """Returns how images are drawn, e.g. ``channels 3, 2, 1 as red, green and blue``; empty if it goes without saying."""
    if channels is None:
        return "" if num_channels in DISPLAYED else f"each of {num_channels} channels as gray"
    numbers = numbers_of(channels)
    if len(numbers) == 1:
        return f"channel {numbers[0]} as gray"
    return f"channels {', '.join(map(str, numbers))} as red, green and blue"


def as_uint8(images: Tensor) -> Tensor:
    """Returns images as uint8 gray levels on the CPU."""
    return (images if images.dtype == torch.uint8 else to_gray_levels(images)).cpu()
