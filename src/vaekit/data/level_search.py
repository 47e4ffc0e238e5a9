"""The search for levels: the range of the values of a whole set decides which are black and white.

Values of 8 bits need no search beyond the first image that is not black. Deeper ones are read once more than they are
decoded, a few at a time, so that a set may be larger than memory.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.data.blocks import rows_per_block
from vaekit.data.fitting import Fitting, values_of
from vaekit.data.image_files import READ_ERRORS, Encoded, EncodedImages, load_upright, open_lazily, read_header
from vaekit.data.levels import (
    EIGHT_BITS,
    KINDS,
    Kind,
    Levels,
    ValueRange,
    choose_levels,
    describe_levels,
    kind_of,
    range_of,
)

CHUNK_SIZE = 64
"""The number of images that a worker thread examines at a time."""
MAX_VALUE = 1e15
"""The largest size of a value whose levels are found; larger ones mark missing pixels, as 1e30 does."""

Ranges = dict[Kind, ValueRange]
"""The range of the values of each kind."""


def find_levels(ranges: Ranges, known: Levels, name: str) -> tuple[Levels, list[str]]:
    """Completes levels by the ranges of values.

    Arguments:
        ranges: The ranges, of those kinds that were found.
        known: Levels that are known; they stay.
        name: The name of the source, for messages.

    Returns:
        The levels, and a line for each kind that is new, except the usual levels of 8 bits.

    Raises:
        DataError: If a value is so large that all others would be one gray level.
    """
    lines = []
    for kind in KINDS:
        values = ranges.get(kind)
        if values is not None and not values.is_empty and known.of(kind) is None:
            if max(-values.low, values.high) > MAX_VALUE:
                raise DataError(
                    f"{name}: pixel values from {values.low:g} to {values.high:g}, beyond {MAX_VALUE:g}; replace those that "
                    "mark missing pixels, or set data.levels, as in [0, 1]"
                )
            pair = choose_levels(kind, values)
            known = known.with_pair(kind, pair)
            lines += [] if (kind, pair) == ("uint8", EIGHT_BITS) else [describe_levels(kind, values, pair)]
    return known, lines


def array_ranges(arrays: Mapping[str, Any], known: Levels, name: str) -> Ranges:
    """Returns the ranges of the values of arrays whose levels are not known.

    Arguments:
        arrays: Sequences of images by split, whose slices are arrays.
        known: Levels that are known.
        name: The name of the source, for messages.

    Raises:
        DataError: If a value is not finite.
    """
    ranges: Ranges = {}
    for split, images in arrays.items():
        first = np.asarray(images[0:1])
        kind = kind_of(first.dtype)
        if known.of(kind) is not None or first.dtype == np.bool_:
            continue
        size = rows_per_block(first.nbytes)
        begins = range(0, len(images), size)
        for begin in track(begins, f"reading the levels of {name} {split}", len(begins)):
            block = np.asarray(images[begin : begin + size])
            ranges[kind] = ranges.get(kind, ValueRange()).union(_range_of(block, name, begin))
            if kind == "uint8" and ranges[kind].high > 1:
                break
    return ranges


def _range_of(images: NDArray[Any], name: str, begin: int) -> ValueRange:
    try:
        return range_of(images)
    except ValueError as error:
        bad = next(i for i, image in enumerate(images) if not np.isfinite(image).all())
        raise DataError(f"{name}: image {begin + bad:,} {error}") from None


def file_ranges(splits: Mapping[str, EncodedImages], known: Levels, name: str) -> Ranges:
    """Returns the ranges of the values of encoded images whose levels are not known; images that cannot be read have none.

    Arguments:
        splits: The images by split.
        known: Levels that are known.
        name: The name of the source, for the progress bar.
    """
    total: Ranges = {}

    def examine(images: EncodedImages) -> Callable[[range], Ranges]:
        def examine_chunk(indices: range) -> Ranges:
            found: Ranges = {}
            for index in indices:
                decided = any(ranges["uint8"].high > 1 for ranges in (found, total) if "uint8" in ranges)
                _add(found, _image_range(images[index], known, decided))
            return found

        return examine_chunk

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, images in splits.items():
            chunks = [range(start, min(start + CHUNK_SIZE, len(images))) for start in range(0, len(images), CHUNK_SIZE)]
            for found in track(pool.map(examine(images), chunks), f"reading the levels of {name} {split}", len(chunks)):
                _add(total, found)
    return total


def _image_range(encoded: Encoded, known: Levels, decided: bool) -> Ranges:
    """The range of an image; none if its levels are known, or it is of 8 bits and those are decided."""
    try:
        kind = read_header(encoded).kind
        if known.of(kind) is not None or (kind == "uint8" and decided):
            return {}
        image = load_upright(open_lazily(encoded, None))
        samples = values_of(image)
        if samples is not None:
            return {kind: range_of(samples.values[..., : samples.channels - samples.opacity])}
        assert isinstance(image, Image.Image)
        mode = "RGBA" if image.has_transparency_data else "RGB"
        gray = image.mode == "L"
        values = range_of(np.asarray(image) if gray else np.asarray(image.convert(mode))[..., :3])
        return {kind: values if values.low < values.high or values.high > 1 else ValueRange(0, 0)}  # else it is no mask
    except READ_ERRORS:
        return {}


def with_levels_of_files(files: Sequence[Path], fitting: Fitting) -> Fitting:
    """Returns a fitting whose levels are completed by the values of files, all files together."""
    levels, _ = find_levels(file_ranges({"": list(files)}, fitting.levels, "files"), fitting.levels, "files")
    return replace(fitting, levels=levels)


def _add(total: Ranges, found: Ranges) -> None:
    for kind, values in found.items():
        total[kind] = total.get(kind, ValueRange()).union(values)


def are_masks(blocks: Iterable[NDArray[np.uint8]]) -> bool:
    """Returns whether the pixels of images are all 0 or 1, and both in one of them; stops where a block decides it.

    Arguments:
        blocks: Images of shape (B, C, H, W).
    """
    varied = False
    for block in blocks:
        if block.max(initial=0) > 1:
            return False
        flat = block.reshape(len(block), -1)
        varied = varied or bool((flat != flat[:, :1]).any())
    return varied
