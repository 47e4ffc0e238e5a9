"""The choice of the channels of images that are drawn: one as gray, or three as red, green and blue, with numbers from 1."""

from vaekit.core.errors import ConfigError, whole_number
from vaekit.core.safe_text import MAX_NAME, printable

Channels = int | tuple[int, int, int]
"""The chosen channels, from 1: one, drawn as gray, or three, drawn as red, green and blue."""
DISPLAYED = (1, 3)
"""The numbers of channels that a tile has: gray, and color."""


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
