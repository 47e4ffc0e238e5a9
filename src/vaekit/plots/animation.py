"""Films: frames with durations, written as animated WebP, GIF or MP4.

GIF and WebP are written by Pillow, MP4 by ``imageio-ffmpeg`` where it is installed.
"""

import base64
import errno
import io
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat
from pathlib import Path
from typing import IO, overload

import numpy as np
from PIL import Image

from vaekit.core.arguments import checked
from vaekit.core.errors import DataError
from vaekit.core.progress import track

try:
    import imageio_ffmpeg
except ImportError:
    imageio_ffmpeg = None

GIF_LEVELS = 64
"""The number of gray levels in a GIF; 64 look like 256, and the file is a third smaller."""
QUALITY = 70
"""The quality of the frames of a WebP."""
SUFFIXES = (".gif", ".webp", ".mp4")
VIDEO_RATE = 30
"""The frames per second of an MP4."""


@dataclass(frozen=True)
class Animation:
    """Frames and their durations.

    Arguments:
        frames: The frames, all of one size and mode; :class:`LazyFrames` computes each when it is read.
        durations: The time that each frame is shown, in milliseconds.
    """

    frames: Sequence[Image.Image]
    durations: Sequence[int]

    @checked(DataError)
    def save(self, path: str | Path) -> None:
        """Writes the animation in the format of the suffix: ``.gif``, ``.webp`` or ``.mp4``; the first two loop.

        Raises:
            DataError: If the suffix is none of these, the suffix is ``.mp4`` and ``imageio-ffmpeg`` is not installed, or the
                format does not support the size or the durations of the frames.
        """
        path = Path(path)
        check_suffix(path)
        try:
            if path.suffix.lower() == ".mp4":
                _write_video(self, path)
            else:
                with path.open("wb") as file:
                    self.write(file, path.suffix.lower())
        except (OverflowError, RuntimeError, ValueError, struct.error) as error:  # of the encoders beyond their limits
            width, height = self.frames[0].size
            raise DataError(
                f"{path.suffix} cannot hold frames of {width}x{height} pixels of which the longest is shown for "
                f"{max(self.durations) / 1000:g} s ({error}); choose smaller or shorter ones"
            ) from None

    def write(self, file: IO[bytes], suffix: str) -> None:
        """Writes the animation into an open file, as ``.gif`` or ``.webp``."""
        kind, options = ("GIF", {"optimize": False}) if suffix == ".gif" else ("WEBP", {"quality": QUALITY, "method": 3})
        durations = list(self.durations) if suffix == ".webp" else in_centiseconds(self.durations)
        tracked = _tracked(self.frames)
        frames = map(_reduce_levels, tracked) if suffix == ".gif" else tracked
        first = next(frames)
        first.save(file, kind, save_all=True, append_images=frames, duration=durations, loop=0, **options)

    def _repr_html_(self) -> str:
        """The animation in a notebook."""
        file = io.BytesIO()
        self.write(file, ".webp")
        data = base64.b64encode(file.getvalue()).decode()
        return f'<img alt="{len(self.frames)} frames" src="data:image/webp;base64,{data}">'


class LazyFrames(Sequence[Image.Image]):
    """Frames that are computed each time they are read, so that a long animation does not fill the memory.

    Arguments:
        make: The function from the number of a frame to the frame.
        num: The number of frames.
    """

    def __init__(self, make: Callable[[int], Image.Image], num: int) -> None:
        self.make = make
        self.num = num

    def __len__(self) -> int:
        """The number of frames."""
        return self.num

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | list[Image.Image]:
        """Computes a frame, or a list of frames."""
        if isinstance(index, slice):
            return [self.make(number) for number in range(*index.indices(self.num))]
        return self.make(range(self.num)[index])


def in_centiseconds(durations: Sequence[int]) -> list[int]:
    """Returns durations in milliseconds that are multiples of ten, as a GIF has: their ends are rounded."""
    ends = [0]
    for end in accumulate(durations):
        ends.append(max(round(end, -1), ends[-1] + 10))
    return [end - start for start, end in pairwise(ends)]


def check_suffix(path: Path) -> None:
    """Raises DataError unless an animation can be written to the path."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: an animation is written as {', '.join(SUFFIXES)}; choose one of them with -o")
    if suffix == ".mp4" and imageio_ffmpeg is None:
        raise DataError(f"{path}: MP4 needs imageio-ffmpeg (pip install imageio-ffmpeg); .gif and .webp need nothing more")


def _reduce_levels(frame: Image.Image) -> Image.Image:
    """A gray frame with a palette of :data:`GIF_LEVELS` evenly spaced gray levels; Pillow makes the palettes of color."""
    if frame.mode != "L":
        return frame
    scale = (GIF_LEVELS - 1) / 255
    reduced = Image.fromarray(np.rint(np.asarray(frame) * scale).astype(np.uint8), "P")
    reduced.putpalette(np.rint(np.arange(GIF_LEVELS) / scale).astype(np.uint8).repeat(3).tobytes())
    return reduced


def _tracked(frames: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """The frames, with a bar or lines while they are computed and written."""
    return track(frames, f"writing {len(frames):,} frames", len(frames))


def _write_video(animation: Animation, path: Path) -> None:
    width, height = animation.frames[0].size
    size = (width + width % 2, height + height % 2)  # the codec requires even sides
    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=VIDEO_RATE, codec="libx264", macro_block_size=2, quality=8, ffmpeg_log_level="quiet"
    )
    try:
        writer.send(None)
        for frame in _at_video_rate(animation):
            sheet = Image.new("RGB", size, frame.convert("RGB").getpixel((width - 1, height - 1)))
            sheet.paste(frame, (0, 0))
            writer.send(sheet.tobytes())
        writer.close()
        imageio_ffmpeg.count_frames_and_secs(str(path))  # reads it back, since the encoder does not say that it has failed
    except (OSError, RuntimeError):  # whose message is the encoder's command line
        raise OSError(errno.EIO, "the video encoder stopped early; is the disk full?") from None


def _at_video_rate(animation: Animation) -> Iterator[Image.Image]:
    """Each frame repeated for its duration; the ends are rounded, so that rounding errors do not add up."""
    ends = [round(end * VIDEO_RATE / 1000) for end in accumulate(animation.durations, initial=0)]
    for frame, (start, end) in zip(_tracked(animation.frames), pairwise(ends), strict=True):
        yield from repeat(frame, end - start)
