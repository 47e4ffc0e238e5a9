r"""The frames of animations: their positions on a path through waypoints, enlarged images, captions and mosaics.

An animation passes T waypoints on a closed path. Its frames are at positions :math:`i + e(t)` between waypoints :math:`i`
and :math:`i + 1`, with

.. math:: e(t) = t^2 (3 - 2t), \qquad t = \tfrac{1}{M+1}, \dots, \tfrac{M}{M+1},

so that the speed is zero at both ends. At each waypoint there is one frame, which is shown for longer than the others, of
which there are :data:`RATE` in a second.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.plots.animation import Animation, LazyFrames
from vaekit.plots.channels import Channels, tile_names, tiles
from vaekit.plots.look import DEFAULT, Look, odd
from vaekit.plots.style import Theme, font, written
from vaekit.plots.tile_lines import MIN_TILE

RATE = 30
"""The number of frames in a second."""
MAX_CAPTION = 80
"""The number of characters to which a caption is cut."""
MAX_TILES, TILE_GAP = 8, 4
"""The maximum number of channels of an image side by side, and the gap between them in pixels."""


def timeline(num_waypoints: int, steps: int, hold: int) -> tuple[Tensor, list[int]]:
    """Returns the position of each frame on a closed path, and its duration.

    Arguments:
        num_waypoints: T, the number of waypoints.
        steps: M, the number of frames between two waypoints.
        hold: The duration of the frame at a waypoint, in milliseconds.

    Returns:
        Positions of shape (T (M + 1)), from 0 to below T, and the durations.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / (steps + 1)
    eased = t * t * (3 - 2 * t)
    positions = torch.arange(num_waypoints, dtype=torch.float64).unsqueeze(1) + eased
    return positions.flatten(), [hold, *frame_durations(steps)] * num_waypoints


def frame_durations(num: int) -> list[int]:
    """Returns the durations of frames in milliseconds, which end at the whole millisecond next to that of the rate."""
    ends = [round(1000 * number / RATE) for number in range(num + 1)]
    return [end - start for start, end in pairwise(ends)]


def swing(steps: int) -> Tensor:
    """Returns weights of shape (2 M) for M steps, which go from 0 to 1 and back as a cosine."""
    return 0.5 - 0.5 * torch.cos(torch.arange(2 * steps) * (math.pi / steps))


def enlarge(images: Tensor, size: int, channels: Channels | None = None, look: Look = DEFAULT) -> list[Image.Image]:
    """Returns images, enlarged by an odd factor until the longer side has ``size`` pixels.

    Arguments:
        images: N images, with shape (N, C, H, W).
        size: The least length of the longer side. Channel by channel, it is that of a row of all channels.
        channels: The channels to draw; by default all. Images of 2, or of more than 3, channels are rows of gray tiles, each
            with the number of its channel below it.
        look: How they are drawn.

    Raises:
        ConfigError: If the images do not have the channels.
    """
    shown = tiles(images, channels)
    num = shown.shape[1]
    if num > 1:
        size = max(MIN_TILE, math.ceil(size / min(num, MAX_TILES)))
    factor = odd(size / max(shown.shape[-2:]))
    parts = [[look.enlarged(tile, factor) for tile in image] for image in shown.permute(0, 1, 3, 4, 2).numpy()]
    return [image[0] for image in parts] if num == 1 else [_row_of_channels(image, look.theme) for image in parts]


def waypoint_animation(
    images: Tensor,
    positions: Tensor,
    durations: list[int],
    captions: Sequence[str],
    size: int,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Animation:
    """Returns an animation with the captions of the waypoints below each frame.

    Arguments:
        images: The image of each frame, with shape (F, C, H, W).
        positions: The position of each frame on the path, with shape (F).
        durations: The duration of each frame, in milliseconds.
        captions: The caption of each waypoint.
        size: The least length of the longer side of an image, in pixels.
        channels: The channels to draw, as in :func:`enlarge`.
        look: How they are drawn.
    """
    (first,) = enlarge(images[:1], size, channels, look)
    strip = CaptionStrip(captions, max(first.width, size), max(18, size // 22), look.theme)

    def frame(number: int) -> Image.Image:
        (image,) = enlarge(images[number : number + 1], size, channels, look)
        return strip.below(image, float(positions[number]))

    return Animation(LazyFrames(frame, len(images)), durations)


class CaptionStrip:
    """A strip of captions: the current one is in ink, and a bar below marks the position. Long lists are split into pages.

    Arguments:
        captions: The captions.
        width: The width of the strip in pixels.
        size: The height of letters in pixels.
        theme: The colors.
    """

    def __init__(self, captions: Sequence[str], width: int, size: int, theme: Theme = DEFAULT.theme) -> None:
        self.width, self.size, self.height, self.theme = width, size, 2 * size, theme
        gap = 0.5 * size
        self.places: list[tuple[int, float, float]] = []
        """The page, the left edge and the length of each caption."""
        self.captions = [_shorten(written(caption, MAX_CAPTION), size, width - 2 * gap) for caption in captions]
        page, left = 0, gap
        for caption in self.captions:
            length = font(size).getlength(caption)
            if left > gap and left + length > width - gap:
                page, left = page + 1, gap
            self.places.append((page, left, length))
            left += length + gap
        self.shifts = [
            (width - max(x + w for p, x, w in self.places if p == number) - gap) / 2 for number in range(page + 1)
        ]
        """The offset of each page, which centers it."""

    def below(self, frame: Image.Image, position: float) -> Image.Image:
        """Returns a frame with the strip below it and the bar at a position on the path."""
        width = max(frame.width, self.width)
        sheet = Image.new(frame.mode, (width, frame.height + self.height), self.theme.paper)
        sheet.paste(frame, ((width - frame.width) // 2, 0))
        before, weight = int(position) % len(self.captions), position - int(position)
        after = (before + 1) % len(self.captions)
        current = before if weight < 0.5 else after
        base = frame.height + 1.35 * self.size
        self._write_captions(ImageDraw.Draw(sheet), base, current)
        self._draw_bar(ImageDraw.Draw(sheet), base, (before, after, current), weight)
        return sheet

    def _write_captions(self, canvas: ImageDraw.ImageDraw, base: float, current: int) -> None:
        """Writes the captions of the current one's page."""
        page = self.places[current][0]
        for number, (own_page, left, _) in enumerate(self.places):
            if own_page == page:
                color = self.theme.ink if number == current else self.theme.faint
                place = (left + self.shifts[page], base)
                canvas.text(place, self.captions[number], color, font(self.size), anchor="ls")

    def _draw_bar(self, canvas: ImageDraw.ImageDraw, base: float, captions: tuple[int, int, int], weight: float) -> None:
        """Draws the bar between the captions before and after; between two pages it stays below the current one."""
        before, after, current = captions
        page = self.places[current][0]
        ends = [self.places[before], self.places[after]]
        if any(own_page != page for own_page, _, _ in ends):
            weight, ends = 0.0, [self.places[current]] * 2
        left, length = (a + (b - a) * weight for a, b in zip(ends[0][1:], ends[1][1:], strict=True))
        left += self.shifts[page]
        thickness = max(2, self.size // 7)
        box = (round(left), round(base) + thickness, round(left + length), round(base) + 2 * thickness)
        canvas.rectangle(box, fill=self.theme.ink)


def captioned(image: Image.Image, caption: str, theme: Theme = DEFAULT.theme) -> Image.Image:
    """Returns an image with a centered caption below it."""
    size = _caption_size(image)
    sheet = Image.new(image.mode, (image.width, image.height + 2 * size), theme.paper)
    sheet.paste(image, (0, 0))
    ImageDraw.Draw(sheet).text(
        (image.width / 2, image.height + size), written(caption, MAX_CAPTION), theme.ink, font(size), anchor="mm"
    )
    return sheet


def mosaic(images: Sequence[Image.Image], columns: int, gap: int = 12, theme: Theme = DEFAULT.theme) -> Image.Image:
    """Arranges images of any sizes in rows of ``columns`` images."""
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    width = max(sum(image.width for image in row) + gap * (len(row) - 1) for row in rows)
    height = sum(max(image.height for image in row) for row in rows) + gap * (len(rows) - 1)
    sheet = Image.new(images[0].mode, (width, height), theme.paper)
    top = 0
    for row in rows:
        left = 0
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + gap
        top += max(image.height for image in row) + gap
    return sheet


def _row_of_channels(parts: Sequence[Image.Image], theme: Theme) -> Image.Image:
    """The channels of an image side by side, each with its name below it, or with its number if that is too wide."""
    names = tile_names(len(parts))
    if max(font(_caption_size(parts[0])).getlength(name) for name in names) > parts[0].width:
        names = [str(number + 1) for number in range(len(parts))]
    below = [captioned(part, name, theme) for part, name in zip(parts, names, strict=True)]
    return mosaic(below, MAX_TILES, TILE_GAP, theme)


def _caption_size(image: Image.Image) -> int:
    """The height in pixels of the letters below an image."""
    return max(14, image.width // 45)


def _shorten(text: str, size: int, width: float) -> str:
    """The text, cut and ended by an ellipsis if it is wider than ``width``."""
    if font(size).getlength(text) <= width:
        return text
    kept = text
    while kept and font(size).getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"
