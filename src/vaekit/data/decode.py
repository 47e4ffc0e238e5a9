"""Decoding: encoded images of any size and mode to one uint8 array, once and in parallel."""

import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.data.row_files import Rows

Pixels = NDArray[np.uint8]
Encoded = bytes | Path | Pixels
"""An image as it comes: the bytes of a file, a file, or gray levels of shape (H, W) or (H, W, C)."""

Images = Sequence[Encoded] | Pixels
"""N images as they come."""

Fit = Literal["crop", "pad", "stretch"]

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What opening raises for a file that is no image, damaged, or larger than an image can be."""

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "ICO": (".ico",),
    "ICNS": (".icns",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "PCX": (".pcx",),
    "PSD": (".psd",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
}
"""The formats that are read, as Pillow names them, and how their files' names end.

What Pillow would hand to another program (EPS to Ghostscript), knows by name alone (MPEG) or decodes in Python, which
takes minutes for a large image (DDS, QOI), is not among them.
"""

LARGE = 2**25
"""How many pixels an image has that is large, 34 million: few of those are decoded at a time."""
MAX_SIDE = 65_535
"""The longest side that is read, which is JPEG's: millions of narrow rows take Pillow many times as long as wide ones."""
MAX_BYTES = 2**30
"""The largest file that is taken for an image, 1 GB: those of the most pixels that are read are smaller."""

NOTHING = (0, 0)
"""The size of no image."""

GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of images without color."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image upright, by EXIF's orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""The orientations that change width and height."""

DEEP = "IF"
"""What Pillow's modes of more than 8 bits a channel begin with."""
OVERSHOOT = 0.5
"""How far floating-point levels may be beyond their range, as a share of it, which interpolation does: they are clipped."""

OVERSAMPLING = 2
"""How many times larger than wanted an image is decoded at least, where there is a choice, before it is scaled."""


def open_image(encoded: Encoded, what: str) -> Image.Image:
    """Opens an image, upright as its EXIF says and with 8 bits a channel.

    Raises:
        DataError: If it is none that can be read, or too large to be one.
    """
    try:
        return open_encoded(encoded)
    except UNREADABLE as error:
        raise DataError(f"{what}: {reason_of(error)}") from None


def open_encoded(encoded: Encoded, side: int | None = None) -> Image.Image:
    """Opens an image, upright as its EXIF says and with 8 bits a channel; of several frames or pages it is the first.

    What has to be decoded at once may have as many pixels as Pillow thinks safe, 89 million. A JPEG that is decoded smaller
    may have twice as many.

    Arguments:
        encoded: The image.
        side: How long its sides should be at least; a JPEG that is twice as large or more is decoded at a half, a quarter or
            an eighth, several times faster. None for its own size.

    Raises:
        Exception: One of :data:`UNREADABLE`, and no other but for a lack of memory.
    """
    return _upright(_opened(encoded, side))


def pixels_of(encoded: Encoded, size: tuple[int, int], channels: int, fitting: "Fitting") -> Pixels:
    """Opens an image and fits it, as :func:`open_encoded` and :func:`fit` do; of large ones a few at a time.

    Raises:
        Exception: One of :data:`UNREADABLE`, and no other but for a lack of memory.
    """
    image = _opened(encoded, OVERSAMPLING * max(size))
    with _FEW if image.width * image.height > LARGE else nullcontext():
        return fit(_upright(image), size, channels, fitting)


def header_of(encoded: Encoded) -> tuple[tuple[int, int], str]:
    """Returns the size (H, W), upright, and the mode of an image without decoding it.

    Raises:
        Exception: One of :data:`UNREADABLE`.
    """
    if isinstance(encoded, np.ndarray):
        image = Image.fromarray(encoded)
        return (image.height, image.width), image.mode
    with _QUIET, _damage_told():
        if isinstance(encoded, Path):
            _size_of(encoded)
        file = encoded if isinstance(encoded, Path) else BytesIO(encoded)
        with Image.open(file, formats=tuple(FORMATS)) as image:
            # Pillow decodes a PNG to look for EXIF behind its pixels, where hardly anybody writes it; and it states the
            # size of a TIFF upright.
            knows = "exif" in image.info if image.format == "PNG" else image.format != "TIFF"
            turned = knows and _orientation(image) in SIDEWAYS
            size = (image.width, image.height) if turned else (image.height, image.width)
            return size, image.mode


def reason_of(error: Exception) -> str:
    """Returns why an image cannot be read; what Pillow says of bytes that are no image names only a buffer."""
    words = "" if isinstance(error, UnidentifiedImageError) else f" ({getattr(error, 'strerror', None) or error})"
    return f"not an image that can be read{words}"


def _opened(encoded: Encoded, side: int | None) -> Image.Image:
    """An image of which no more than the header has been read, and which is not too large to go on."""
    if isinstance(encoded, np.ndarray):
        return Image.fromarray(encoded)
    with _QUIET, _damage_told():
        file = BytesIO(_bytes_of(encoded) if isinstance(encoded, Path) else encoded)
        image: Image.Image = Image.open(file, formats=tuple(FORMATS))
        if side is not None:
            image.draft(None, (side, side))
        _refuse_bomb(*image.size)
        return image


def _upright(image: Image.Image) -> Image.Image:
    """An image decoded, turned as its EXIF says, and with 8 bits a channel."""
    with _QUIET, _damage_told():
        image.load()
        turn = TURNS.get(_orientation(image))
        if turn is not None:
            image = image.transpose(turn)
        return _shallow(image) if image.mode[0] in DEEP else image


class _Quiet:
    """Keeps Pillow from talking of odd metadata, which costs an image nothing, for as long as any thread opens one.

    ``warnings.catch_warnings`` puts back the wrong filters where threads overlap, so the first that comes changes them
    and the last that goes puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()
        self._handler = logging.NullHandler()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                logging.getLogger("PIL").addHandler(self._handler)  # else Python prints what nobody handles
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_QUIET = _Quiet()
_FEW = threading.BoundedSemaphore(4)
"""Who decodes a large image, which takes up to a gigabyte, whatever the number of cores."""


@contextmanager
def _damage_told() -> Iterator[None]:
    """Turns whatever else Pillow stumbles over in a damaged file into one of :data:`UNREADABLE`."""
    try:
        yield
    except (*UNREADABLE, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"damaged, {type(error).__name__}: {error}") from error


def _refuse_bomb(width: int, height: int) -> None:
    """Raises DecompressionBombError for what would take too much memory or time to decode."""
    most = Image.MAX_IMAGE_PIXELS or width * height  # None where somebody has turned it off
    if width * height > most or max(width, height) > MAX_SIDE:
        limit = f"{most:,}" if width * height > most else f"{MAX_SIDE:,} on a side"
        raise Image.DecompressionBombError(f"{width} x {height} pixels, more than {limit}; scale it down")


def _bytes_of(file: Path) -> bytes:
    """The bytes of a file that may be an image."""
    if (size := _size_of(file)) > MAX_BYTES:
        raise ValueError(f"{size / 2**30:.1f} GB, more than an image can have")
    return file.read_bytes()


def _size_of(file: Path) -> int:
    """How large a file is; what is none, such as a pipe, would be waited for."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("a folder" if stat.S_ISDIR(status.st_mode) else "not a file")
    return status.st_size


def _orientation(image: Image.Image) -> int:
    """How an image has to be turned by EXIF; 1, not at all, also where EXIF is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return orientation if orientation in TURNS else 1
    except Exception:  # whatever it stumbles over, the pixels are as good as before
        return 1


@dataclass(frozen=True)
class Fitting:
    """How images of any size are brought to one.

    Arguments:
        fit: ``crop`` cuts out the middle in the proportions asked for, ``pad`` keeps the whole image and fills the rest
            with the background, ``stretch`` changes its proportions. Each then scales with a Lanczos filter.
        background: The color behind transparent pixels and around padded images, as Pillow names colors.
    """

    fit: Fit = "crop"
    background: str = "white"

    def __post_init__(self) -> None:
        """Raises DataError for a background that is no color."""
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise DataError(f"{self.background}: not a color; use a name such as white, or #rrggbb") from None


CROP = Fitting()
"""The middle, on white."""


def fit(image: Image.Image, size: tuple[int, int], channels: int, fitting: Fitting = CROP) -> Pixels:
    """Fits an image to a size and a number of channels.

    Arguments:
        image: The image.
        size: The height and width (H, W).
        channels: 1 for gray, 3 for color.
        fitting: How.

    Returns:
        Gray levels of shape (C, H, W).
    """
    if image.mode[0] in DEEP:
        image = _shallow(image)
    if image.mode == "LAB":  # which Pillow turns into nothing but RGB
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, fitting.background), image)
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    height, width = size
    if image.size != (width, height):
        image = _resize(image, (width, height), fitting)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _shallow(image: Image.Image) -> Image.Image:
    """An image of deeper gray levels with 8 bits, to which Pillow would clip them."""
    levels = np.asarray(image)
    shallow = Image.fromarray(_eight_bits(levels))
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the one level that stands for no image at all
        shallow.putalpha(Image.fromarray(np.where(levels == clear, np.uint8(0), np.uint8(255))))
    return shallow


def _eight_bits(levels: NDArray[Any]) -> Pixels:
    """Scales deeper gray levels to 8 bits: floats from [0, 1] or [0, 255], integers from 16 bits.

    Raises:
        ValueError: If they are in no such range, so that nobody knows what is black and what is white.
    """
    finite = levels[np.isfinite(levels)] if np.issubdtype(levels.dtype, np.floating) else levels
    low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
    if finite.dtype.kind == "f":
        full = 1 if high <= 1 + OVERSHOOT else 255
        if low < -OVERSHOOT * full or high > (1 + OVERSHOOT) * full:
            raise ValueError(f"floating-point levels from {low:g} to {high:g}, neither in [0, 1] nor in [0, 255]")
        scaled = np.nan_to_num(levels * (255 / full), nan=0.0, posinf=255.0, neginf=0.0)
        pixels: Pixels = np.rint(scaled).clip(0, 255).astype(np.uint8)
        return pixels
    if low < 0 or high > 65_535:
        raise ValueError(f"levels from {low:,} to {high:,}, neither of 8 bits nor of 16")
    return np.asarray(levels >> 8 if levels.dtype.itemsize == 2 or high > 255 else levels, dtype=np.uint8)


def _resize(image: Image.Image, size: tuple[int, int], fitting: Fitting) -> Image.Image:
    if fitting.fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    if fitting.fit == "pad":
        width, height = size  # an image so long that nothing would be left of its other side keeps a pixel of it
        if round(image.height / image.width * width) == 0:
            image = image.resize((width, 1), Image.Resampling.LANCZOS)
        if round(image.width / image.height * height) == 0:
            image = image.resize((1, height), Image.Resampling.LANCZOS)
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=fitting.background)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read: its place in the split, its name, and why."""

    index: int
    name: str
    reason: str


def name_of(images: Images, index: int) -> str:
    """Returns what an image is called: its file, or its number where it is none."""
    image = images[index]
    return str(image) if isinstance(image, Path) else f"image {index}"


def survey(images: Images, what: str) -> tuple[tuple[int, int] | None, int]:
    """Looks at the headers of images: the size (H, W) they share, or None if they differ, and the channels they need.

    The size is :data:`NOTHING` where there is none that can be opened. One that cannot be opened says nothing here;
    :func:`decode` names it.
    """
    sizes: set[tuple[int, int]] = set()
    gray = True
    for encoded in track(images, f"looking at {what}", len(images)):
        try:
            size, mode = header_of(encoded)
        except UNREADABLE:
            continue
        sizes.add(size)
        gray = gray and mode in GRAY_MODES
    if not sizes:
        return NOTHING, 1
    return (sizes.pop() if len(sizes) == 1 else None), (1 if gray else 3)


def decode(
    images: Images, out: Rows, what: str, fitting: Fitting = CROP, start: int = 0
) -> Iterator[tuple[int, list[Skipped]]]:
    """Decodes images into rows on disk, in parallel.

    Arguments:
        images: N encoded images.
        out: Where they go, fitted to its size and channels.
        what: What they are, for the bar.
        fitting: How they are fitted.
        start: Where to begin; those before have been decoded.

    Yields:
        Block by block in order, how many images are done and which of the block cannot be read; their rows stay black.

    Raises:
        OSError: If there is no room for them.
    """
    channels, *size = out.shape[1:]

    def decode_block(begin: int) -> tuple[int, list[Skipped]]:
        end, skipped = min(begin + out.block, len(images)), []
        pixels = np.zeros((end - begin, *out.shape[1:]), np.uint8)
        for index in range(begin, end):
            try:
                pixels[index - begin] = pixels_of(images[index], (size[0], size[1]), channels, fitting)
            except UNREADABLE as error:
                skipped.append(Skipped(index, name_of(images, index), reason_of(error)))
        out.write(begin, pixels)
        return end, skipped

    begins = range(start, len(images), out.block)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        done = -(-start // out.block)
        yield from track(pool.map(decode_block, begins), f"decoding {what}", done + len(begins), done)
    finally:
        pool.shutdown(cancel_futures=True)
