"""Decoding: encoded images of any size and mode become uint8 pixels, one by one or in parallel into rows on disk.

Which files Pillow may open, and their limits of size, are in :mod:`vaekit.data.image_files`.
"""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.data.fitting import CENTER_CROP, Fitting, Pixels, fit
from vaekit.data.image_files import (
    READ_ERRORS,
    Encoded,
    EncodedImages,
    failure_reason,
    load_upright,
    open_lazily,
    read_header,
)
from vaekit.data.row_files import Rows

LARGE_PIXELS = 2**25
"""The number of pixels, 34 million, above which an image is large: only a few of those are decoded at a time."""
_LARGE_IMAGES = threading.BoundedSemaphore(4)
"""Limits the large images in memory, each of which takes up to a gigabyte, whatever the number of cores."""

OVERSAMPLING = 2
"""A JPEG is decoded at no less than this multiple of the target size, before it is scaled."""

FAILED_READS = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)
"""Errors of reading that say nothing about the file."""
NO_SIZE = (0, 0)
"""The size that :func:`scan_headers` returns if it can open no image."""


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read: its index in the split, its name, and the reason."""

    index: int
    name: str
    reason: str


def decode_image(encoded: Encoded, size: tuple[int, int], channels: int, fitting: Fitting) -> Pixels:
    """Opens an image and fits it, as ``open_encoded`` and ``fit`` do; only a few large images at a time.

    Arguments:
        encoded: The image.
        size: The height and width (H, W).
        channels: 1 for gray, 3 for color, or the number of channels of the image.
        fitting: How it is fitted.

    Returns:
        Gray levels of shape (C, H, W).

    Raises:
        Exception: One of :data:`~vaekit.data.image_files.READ_ERRORS`, or MemoryError.
        UnknownLevels: If the levels of its values are to be found.
    """
    image = open_lazily(encoded, OVERSAMPLING * max(size))
    with _LARGE_IMAGES if image.width * image.height > LARGE_PIXELS else nullcontext():
        return fit(load_upright(image), size, channels, fitting)


def image_name(images: EncodedImages, index: int) -> str:
    """Returns the name of an image: its file, or its index if it has none."""
    image = images[index]
    return str(image) if isinstance(image, Path) else f"image {index}"


def scan_headers(images: EncodedImages, description: str) -> tuple[tuple[int, int] | None, int]:
    """Reads the headers of images and returns the size and the number of channels that they need.

    Images that cannot be opened are ignored here; :func:`decode` reports them.

    Arguments:
        images: The images.
        description: Their name in the progress bar.

    Returns:
        The common size (H, W), None if there are several sizes, or :data:`NO_SIZE` if no image can be opened; and 1 if all
        are gray, 3 if there is color, or the largest number of channels.
    """
    sizes: set[tuple[int, int]] = set()
    channels = 1
    for encoded in track(images, f"reading headers of {description}", len(images)):
        try:
            header = read_header(encoded)
        except READ_ERRORS:
            continue
        sizes.add(header.size)
        channels = max(channels, header.channels)
    if not sizes:
        return NO_SIZE, 1
    return (sizes.pop() if len(sizes) == 1 else None), channels


def decode(
    images: EncodedImages, out: Rows, description: str, fitting: Fitting = CENTER_CROP, start: int = 0
) -> Iterator[tuple[int, list[Skipped]]]:
    """Decodes images into rows on disk, in parallel.

    Arguments:
        images: N encoded images.
        out: The rows; images are fitted to their size and channels.
        description: The images' name in the progress bar.
        fitting: How they are fitted.
        start: The index of the first image to decode; those before it are done.

    Yields:
        For each block in order, the number of images that are done, and those of the block that cannot be read; their rows
        stay black.

    Raises:
        OSError: If the disk is full.
        DataError: If the disk of an image fails.
        UnknownLevels: If the levels of an image's values are to be found.
    """
    channels, *size = out.shape[1:]

    def decode_block(begin: int) -> tuple[int, list[Skipped]]:
        end, skipped = min(begin + out.block_size, len(images)), []
        pixels = np.zeros((end - begin, *out.shape[1:]), np.uint8)
        for index in range(begin, end):
            try:
                pixels[index - begin] = decode_image(images[index], (size[0], size[1]), channels, fitting)
            except READ_ERRORS as error:
                _refuse_failed_read(error, image_name(images, index))
                skipped.append(Skipped(index, image_name(images, index), failure_reason(error)))
        out.write(begin, pixels)
        return end, skipped

    begins = range(start, len(images), out.block_size)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        num_done = -(-start // out.block_size)
        yield from track(pool.map(decode_block, begins), f"decoding {description}", num_done + len(begins), num_done)
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_failed_read(error: BaseException, name: str) -> None:
    """Raises DataError if it is the machine that failed and not the image, which may then be read another time."""
    if isinstance(error, OSError) and error.errno in FAILED_READS:
        raise DataError(f"{name}: cannot be read ({error.strerror}); try again, or remove the file") from None
