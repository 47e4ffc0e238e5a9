"""Opening encoded images safely: any file becomes an upright image, or one of :data:`READ_ERRORS`."""

import logging
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from vaekit.core.errors import DataError
from vaekit.data.fitting import GRAY_MODES, Opened, Pixels, kind_of_image
from vaekit.data.image_formats import open_known
from vaekit.data.levels import Kind, kind_of
from vaekit.data.png import is_deep_color, is_png, read_deep_color, without_text
from vaekit.data.samples import Samples
from vaekit.data.tiff import TiffFile, TiffImage, is_tiff, read_directory, read_samples

Encoded = bytes | Path | Pixels
"""An encoded image: the bytes of a file, a file, or gray levels of shape (H, W) or (H, W, C)."""

EncodedImages = Sequence[Encoded] | Pixels
"""N encoded images."""

READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What opening raises for a file that is not an image, is damaged, or is too large."""

MAX_SIDE = 65_535
"""The longest side that is read, which is JPEG's limit: Pillow is many times slower on millions of narrow rows."""
MAX_FILE_BYTES = 2**30
"""The largest file that is read as an image, 1 GB; a file with the largest number of pixels that is read is smaller."""

EXIF_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that makes an image upright, by EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""The orientations that exchange height and width."""


class Header(NamedTuple):
    """What the header of an image says.

    Attributes:
        size: The upright height and width (H, W).
        mode: Pillow's mode, or for images that Pillow has no mode for their type and number of channels.
        channels: The number of channels that it needs: 1 for gray, 3 for color.
        kind: The kind of its values.
    """

    size: tuple[int, int]
    mode: str
    channels: int
    kind: Kind


def open_image(encoded: Encoded, name: str) -> Opened:
    """Opens an image upright, as :func:`open_encoded` does.

    Arguments:
        encoded: The image.
        name: Its name in the error message.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return open_encoded(encoded)
    except READ_ERRORS as error:
        raise DataError(f"{name}: {failure_reason(error)}") from None


def open_encoded(encoded: Encoded, min_side: int | None = None) -> Opened:
    """Opens an image, upright by its EXIF orientation; the first of several frames or pages.

    An image may have as many pixels as Pillow considers safe, 89 million; a JPEG that is decoded smaller may have twice as
    many.

    Arguments:
        encoded: The image.
        min_side: The smallest length that its sides may be scaled to; a JPEG that is at least twice as large is decoded at
            1/2, 1/4 or 1/8 of its size, which is several times faster. None for the size of the image.

    Raises:
        Exception: One of :data:`READ_ERRORS`, or MemoryError.
    """
    return load_upright(open_lazily(encoded, min_side))


def open_lazily(encoded: Encoded, min_side: int | None) -> Opened | TiffImage:
    """Opens an image of which only the header is read, and whose size is within the limits.

    Raises:
        Exception: One of :data:`READ_ERRORS`, or MemoryError.
    """
    if isinstance(encoded, np.ndarray):
        return _open_array(encoded)
    with _PILLOW_SILENCED, _only_read_errors():
        data = _read_bytes(encoded) if isinstance(encoded, Path) else encoded
        if is_tiff(data) and (directory := read_directory(BytesIO(data))):
            _check_size(directory.width, directory.height)
            return TiffImage(data, directory)
        image = open_known(BytesIO(without_text(data) if is_png(data) else data))
        if min_side is not None:
            image.draft(None, (min_side, min_side))
        _check_size(*image.size)
        return image


def load_upright(image: Opened | TiffImage) -> Opened:
    """Decodes an image that was opened lazily, and turns it upright.

    Raises:
        Exception: One of :data:`READ_ERRORS`, or MemoryError.
    """
    if isinstance(image, Samples):
        return image
    with _PILLOW_SILENCED, _only_read_errors():
        loaded: Opened
        if isinstance(image, TiffImage):
            loaded, orientation = read_samples(image.data, image.directory), image.directory.orientation
        elif is_deep_color(image):
            loaded, orientation = read_deep_color(image), _orientation(image)
        else:
            image.load()
            loaded, orientation = image, _orientation(image)
        transpose = EXIF_TRANSPOSES.get(orientation)
        return loaded if transpose is None else loaded.transpose(transpose)


def read_header(encoded: Encoded) -> Header:
    """Reads the header of an image without decoding it.

    Raises:
        Exception: One of :data:`READ_ERRORS`.
    """
    if isinstance(encoded, np.ndarray):
        opened = _open_array(encoded)
        size = (encoded.shape[0], encoded.shape[1])
        if isinstance(opened, Image.Image):
            return _header(size, opened.mode)
        return Header(size, f"{encoded.dtype} x {opened.channels}", opened.channels, kind_of(encoded.dtype))
    with _PILLOW_SILENCED, _only_read_errors():
        if isinstance(encoded, bytes):
            return _read_header(BytesIO(encoded))
        _file_size(encoded)
        with encoded.open("rb") as file:
            return _read_header(file)


def _open_array(values: NDArray[Any]) -> Opened:
    """The image of an array of shape (H, W) or (H, W, C)."""
    if values.dtype == np.uint8 and (values.ndim == 2 or values.shape[2] in (3, 4)):
        return Image.fromarray(values)
    return Samples(values[..., None] if values.ndim == 2 else values)


def _read_header(file: BinaryIO) -> Header:
    start = file.read(8)
    if is_tiff(start) and (directory := read_directory(file)):
        return _tiff_header(directory)
    file.seek(0)
    try:
        return _read_pillow_header(file)
    except ValueError:
        if not is_png(start):
            raise
        file.seek(0)
        return _read_pillow_header(BytesIO(without_text(file.read(MAX_FILE_BYTES))))


def _read_pillow_header(file: BinaryIO) -> Header:
    with open_known(file) as image:
        # Pillow decodes a whole PNG to look for EXIF behind its pixels, which is rare; and it gives the size of a TIFF
        # after turning it upright.
        has_exif = "exif" in image.info if image.format == "PNG" else image.format != "TIFF"
        sideways = has_exif and _orientation(image) in SIDEWAYS
        size = (image.width, image.height) if sideways else (image.height, image.width)
        return Header(size, "uint16 x 3", 3, "integers") if is_deep_color(image) else _header(size, image.mode)


def _header(size: tuple[int, int], mode: str) -> Header:
    return Header(size, mode, 1 if mode in GRAY_MODES else 3, kind_of_image(mode))


def _tiff_header(tiff: TiffFile) -> Header:
    size = (tiff.width, tiff.height) if tiff.orientation in SIDEWAYS else (tiff.height, tiff.width)
    channels = tiff.channels - tiff.opacity
    return Header(size, tiff.mode, 3 if tiff.colors == channels == 4 else channels, kind_of(tiff.dtype))


def failure_reason(error: Exception) -> str:
    """Returns why an image cannot be read, in a line; Pillow's message for unknown bytes is left out, as it says nothing."""
    detail = "" if isinstance(error, UnidentifiedImageError) else f" ({getattr(error, 'strerror', None) or error})"
    return f"not an image that can be read{detail}"


class _PillowSilenced:
    """Suppresses Pillow's warnings about metadata while any thread is inside the context.

    ``warnings.catch_warnings`` restores the wrong filters if threads overlap. Here the first thread to enter changes the
    filters and the last one to leave restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._filters = warnings.catch_warnings()
        self._handler = logging.NullHandler()

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_inside:
                logging.getLogger("PIL").addHandler(self._handler)  # without a handler, Python prints to stderr
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._num_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._filters.__exit__(None, None, None)


_PILLOW_SILENCED = _PillowSilenced()


@contextmanager
def _only_read_errors() -> Iterator[None]:
    """Turns any other error that Pillow raises for a damaged file into one of :data:`READ_ERRORS`."""
    try:
        yield
    except (*READ_ERRORS, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"damaged, {type(error).__name__}: {error}") from error


def _check_size(width: int, height: int) -> None:
    """Raises DecompressionBombError if an image would take too much memory or time to decode."""
    max_pixels = Image.MAX_IMAGE_PIXELS or width * height  # None if the user has switched the limit off
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        limit = f"{max_pixels:,}" if width * height > max_pixels else f"{MAX_SIDE:,} on a side"
        raise Image.DecompressionBombError(f"{width} x {height} pixels, more than {limit}; scale it down")


def _read_bytes(file: Path) -> bytes:
    """The bytes of a file that may be an image."""
    if (size := _file_size(file)) > MAX_FILE_BYTES:
        raise ValueError(f"{size / 2**30:.1f} GB, more than an image can have")
    return file.read_bytes()


def _file_size(file: Path) -> int:
    """The size of a regular file; opening anything else, such as a pipe, could block."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("a folder" if stat.S_ISDIR(status.st_mode) else "not a file")
    return status.st_size


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, if it is missing or damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return orientation if orientation in EXIF_TRANSPOSES else 1
    except Exception:  # of any kind: damaged EXIF does not damage the pixels
        return 1
