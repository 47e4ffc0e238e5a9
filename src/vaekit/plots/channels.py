"""The channels of images as they are drawn: the one place that turns images of any number of channels into tiles.

A gray image and a color image are one tile each. Images of 2, or of 4 to 16, channels are drawn channel by channel: each
channel is a gray tile of its own. If channels are chosen, an image is one tile: one channel as gray, or three as red, green
and blue. Channels have numbers from 1, as in remote sensing.
"""

import torch
from torch import Tensor

from vaekit.core.errors import ConfigError, whole_number
from vaekit.core.safe_text import MAX_NAME, printable
from vaekit.core.units import to_gray_levels

Channels = int | tuple[int, int, int]
"""The chosen channels, from 1: one, drawn as gray, or three, drawn as red, green and blue."""
DISPLAYED = (1, 3)
"""The numbers of channels that a tile has: gray, and color."""


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


def check_channels(channels: Channels | None, num_channels: int, place: str = "channels") -> None:
    """Checks that images have the chosen channels.

    Raises:
        ConfigError: If they do not.
    """
    numbers = () if channels is None else numbers_of(channels)
    if not all(1 <= number <= num_channels for number in numbers):
        known = "one channel, 1" if num_channels == 1 else f"{num_channels} channels, numbered from 1"
        raise ConfigError(f"{place} {','.join(map(str, numbers))}: the images have {known}; choose one of them, or three")


def parse_channels(text: str, place: str) -> Channels:
    """Reads ``4`` as a channel, and ``3,2,1`` as three channels.

    Arguments:
        text: The text.
        place: The name of the option or key in error messages.

    Raises:
        ConfigError: If the text has another form.
    """
    numbers = [whole_number(number.strip()) or 0 for number in text.split(",", 3)]
    if min(numbers) < 1 or len(numbers) not in DISPLAYED:
        shown = printable(text, MAX_NAME)
        raise ConfigError(f"{place} {shown}: give one channel, as 4, or three as red, green and blue, as 3,2,1")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def numbers_of(channels: Channels) -> tuple[int, ...]:
    """Returns the chosen channels, one or three.

    Raises:
        ConfigError: If there are two of them, or more than three.
    """
    numbers = (channels,) if isinstance(channels, int) else tuple(channels)
    if len(numbers) not in DISPLAYED:
        raise ConfigError(f"channels {','.join(map(str, numbers))}: choose one channel, or three as red, green and blue")
    return numbers


def as_uint8(images: Tensor) -> Tensor:
    """Returns images as uint8 gray levels on the CPU."""
    return (images if images.dtype == torch.uint8 else to_gray_levels(images)).cpu()
