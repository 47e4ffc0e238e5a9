r"""Moving images: when each frame is shown, what it says, and how a film is written.

A film passes T stops on a closed way. Its frames lie at positions :math:`i + e(t)` between stops :math:`i` and
:math:`i + 1`, with

.. math:: e(t) = t^2 (3 - 2t), \qquad t = \tfrac{1}{M+1}, \dots, \tfrac{M}{M+1},

so that movement eases in and out; at a stop itself there is one frame, which is held. GIF and animated WebP are written by
Pillow, MP4 by ``imageio-ffmpeg`` where it is installed.
"""

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat
from pathlib import Path
from typing import IO, overload

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.plots.grids import PAPER, as_uint8
from vaekit.plots.style import INK, font

try:
    import imageio_ffmpeg
except ImportError:
    imageio_ffmpeg = None

GIF_LEVELS = 64
"""Gray levels of a GIF, which the eye cannot tell from 256; the file is a third smaller."""
FAINT = "#9aa0a6"
"""The color of captions that are not the current one."""
SUFFIXES = (".gif", ".webp", ".mp4")
VIDEO_RATE = 50
"""Frames a second of an MP4."""


@dataclass(frozen=True)
class Film:
    """Frames and how long each is shown.

    Arguments:
        frames: The frames, all of one size and mode; a long film makes each when it is asked for.
        durations: How long each is shown, in milliseconds.
    """

    frames: Sequence[Image.Image]
    durations: Sequence[int]

    def save(self, path: str | Path) -> None:
        """Writes the film as its suffix says: ``.gif``, ``.webp`` or ``.mp4``; the first two repeat for ever.

        Raises:
            DataError: If the suffix is none of these, an MP4 is asked for and ``imageio-ffmpeg`` is not installed, or the
                format cannot hold frames as large or as long.
        """
        path = Path(path)
        check_suffix(path)
        try:
            if path.suffix.lower() == ".mp4":
                _write_video(self, path)
            else:
                with path.open("wb") as file:
                    self.write(file, path.suffix.lower())
        except (
            OverflowError,
            RuntimeError,
            ValueError,
        ) as error:  # too much of something
            width, height = self.frames[0].size
            raise DataError(
                f"{path.suffix} cannot hold frames of {width}x{height} pixels of which the longest is shown for "
                f"{max(self.durations) / 1000:g} s ({error}); ask for smaller or shorter ones"
            ) from None

    def _repr_html_(self) -> str:
        """The film as a notebook shows it."""
        file = io.BytesIO()
        self.write(file, ".gif")
        return (
            f'<img alt="{len(self.frames)} frames" src="data:image/gif;base64,{base64.b64encode(file.getvalue()).decode()}">'
        )

    def write(self, file: IO[bytes], suffix: str) -> None:
        """Writes the film into an open file."""
        kind, how = ("GIF", {"optimize": False}) if suffix == ".gif" else ("WEBP", {"lossless": True, "method": 2})
        shown = track(self.frames, f"writing {len(self.frames):,} frames", len(self.frames))
        frames = map(_few_levels, shown) if suffix == ".gif" else shown
        first = next(frames)
        first.save(file, kind, save_all=True, append_images=frames, duration=list(self.durations), loop=0, **how)


class Lazy(Sequence[Image.Image]):
    """Frames that are made when they are asked for.

    Arguments:
        make: Makes the frame of a number.
        num: How many frames there are.
    """

    def __init__(self, make: Callable[[int], Image.Image], num: int) -> None:
        self.make = make
        self.num = num

    def __len__(self) -> int:
        """How many frames there are."""
        return self.num

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | list[Image.Image]:
        """Makes a frame, or a list of them."""
        if isinstance(index, slice):
            return [self.make(number) for number in range(*index.indices(self.num))]
        return self.make(range(self.num)[index])


def check_suffix(path: Path) -> None:
    """Raises DataError unless a film can be written to the path."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: an animation is written as {', '.join(SUFFIXES)}; choose one of them with -o")
    if suffix == ".mp4" and imageio_ffmpeg is None:
        raise DataError(f"{path}: MP4 needs imageio-ffmpeg (pip install imageio-ffmpeg); .gif and .webp need nothing more")


def timeline(stops: int, moves: int, hold: int, frame: int) -> tuple[Tensor, list[int]]:
    """Says where on a closed way each frame lies, and how long it is shown.

    Arguments:
        stops: T, how many stops there are.
        moves: M, how many frames lie between two stops.
        hold: How long a stop is shown, in milliseconds.
        frame: How long any other frame is shown, in milliseconds.

    Returns:
        Positions of shape (T (M + 1)), from 0 to below T, and the durations.
    """
    t = torch.arange(moves + 1, dtype=torch.float64) / (moves + 1)
    eased = t * t * (3 - 2 * t)
    positions = torch.arange(stops, dtype=torch.float64).unsqueeze(1) + eased
    return positions.flatten(), ([hold] + [frame] * moves) * stops


def swing(moves: int) -> Tensor:
    """Returns weights of shape (2 M) that go from 0 to 1 and back, slowly at both ends, and close."""
    return 0.5 - 0.5 * torch.cos(torch.arange(2 * moves) * (math.pi / moves))


def enlarge(images: Tensor, size: int) -> list[Image.Image]:
    """Returns images of shape (N, C, H, W) as images whose longer side fills ``size`` pixels, by a whole factor."""
    pixels = as_uint8(images)
    factor = max(1, math.ceil(size / max(pixels.shape[-2:])))
    return [_image(image.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)) for image in pixels]


def stop_film(images: Tensor, positions: Tensor, durations: list[int], captions: Sequence[str], size: int) -> Film:
    """Returns a film with a strip of captions below it, on which a bar moves from stop to stop.

    Arguments:
        images: An image for each frame, with shape (F, C, H, W).
        positions: Where each frame lies on the way, with shape (F).
        durations: How long each is shown, in milliseconds.
        captions: What the stops are called.
        size: How many pixels the longer side of an image fills at least.
    """
    (first,) = enlarge(images[:1], size)
    strip = CaptionStrip(captions, max(first.width, size), max(18, size // 14))

    def frame(number: int) -> Image.Image:
        (image,) = enlarge(images[number : number + 1], size)
        return strip.below(image, float(positions[number]))

    return Film(Lazy(frame, len(images)), durations)


class CaptionStrip:
    """A strip of words, of which the current one is dark and underlined by a bar; where not all fit there are pages of them.

    Arguments:
        words: The captions.
        width: The width of the strip in pixels.
        size: The height of letters in pixels.
    """

    def __init__(self, words: Sequence[str], width: int, size: int) -> None:
        self.width, self.size, self.height = width, size, 2 * size
        gap = 0.5 * size
        self.places: list[tuple[int, float, float]] = []
        self.words = [_shorten(word, size, width - 2 * gap) for word in words]
        page, left = 0, gap
        for word in self.words:
            length = font(size).getlength(word)
            if left > gap and left + length > width - gap:
                page, left = page + 1, gap
            self.places.append((page, left, length))
            left += length + gap
        self.shifts = [
            (width - max(x + w for p, x, w in self.places if p == number) - gap) / 2 for number in range(page + 1)
        ]

    def below(self, frame: Image.Image, position: float) -> Image.Image:
        """Returns a frame with the strip below it, the bar at a position on the way."""
        width = max(frame.width, self.width)
        sheet = Image.new(frame.mode, (width, frame.height + self.height), "white")
        sheet.paste(frame, ((width - frame.width) // 2, 0))
        pen = ImageDraw.Draw(sheet)
        before, weight = int(position) % len(self.words), position - int(position)
        after = (before + 1) % len(self.words)
        current = before if weight < 0.5 else after
        page = self.places[current][0]
        base = frame.height + 1.35 * self.size
        for number, (on, left, _) in enumerate(self.places):
            if on == page:
                ink = INK if number == current else FAINT
                pen.text((left + self.shifts[page], base), self.words[number], ink, font(self.size), anchor="ls")
        ends = [self.places[before], self.places[after]]
        if any(on != page for on, _, _ in ends):  # the bar does not cross from page to page
            weight, ends = 0.0, [self.places[current]] * 2
        left, length = (a + (b - a) * weight for a, b in zip(ends[0][1:], ends[1][1:], strict=True))
        left += self.shifts[page]
        thick = max(2, self.size // 7)
        pen.rectangle((round(left), round(base) + thick, round(left + length), round(base) + 2 * thick), fill=INK)
        return sheet


def captioned(image: Image.Image, words: str) -> Image.Image:
    """Returns an image with words in the middle below it."""
    size = max(14, image.width // 45)
    sheet = Image.new(image.mode, (image.width, image.height + 2 * size), "white")
    sheet.paste(image, (0, 0))
    ImageDraw.Draw(sheet).text((image.width / 2, image.height + size), words, INK, font(size), anchor="mm")
    return sheet


def mosaic(images: Sequence[Image.Image], columns: int, gap: int = 12) -> Image.Image:
    """Lays images of any sizes out in rows of so many columns."""
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    width = max(sum(image.width for image in row) + gap * (len(row) - 1) for row in rows)
    height = sum(max(image.height for image in row) for row in rows) + gap * (len(rows) - 1)
    sheet = Image.new(images[0].mode, (width, height), "white")
    top = 0
    for row in rows:
        left = 0
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + gap
        top += max(image.height for image in row) + gap
    return sheet


def _shorten(word: str, size: int, width: float) -> str:
    """A word that fits a width, its end replaced by an ellipsis where it must be."""
    if font(size).getlength(word) <= width:
        return word
    kept = word
    while kept and font(size).getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"


def _image(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _few_levels(frame: Image.Image) -> Image.Image:
    """A gray frame with a small palette of evenly spaced gray levels; color is left to Pillow."""
    if frame.mode != "L":
        return frame
    scale = (GIF_LEVELS - 1) / PAPER
    small = Image.fromarray(np.rint(np.asarray(frame) * scale).astype(np.uint8), "P")
    small.putpalette(np.rint(np.arange(GIF_LEVELS) / scale).astype(np.uint8).repeat(3).tobytes())
    return small


def _write_video(film: Film, path: Path) -> None:
    width, height = film.frames[0].size
    size = (width + width % 2, height + height % 2)  # the codec wants even sides
    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=VIDEO_RATE, codec="libx264", macro_block_size=2, quality=8, ffmpeg_log_level="error"
    )
    writer.send(None)
    for frame in _at_rate(film):
        sheet = Image.new("RGB", size, "white")
        sheet.paste(frame, (0, 0))
        writer.send(sheet.tobytes())
    writer.close()


def _at_rate(film: Film) -> Iterator[Image.Image]:
    """Each frame as often as its duration needs; what rounding takes from one it gives to the next."""
    ends = [round(end * VIDEO_RATE / 1000) for end in accumulate(film.durations, initial=0)]
    for frame, (start, end) in zip(film.frames, pairwise(ends), strict=True):
        yield from repeat(frame, end - start)
