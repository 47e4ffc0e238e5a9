"""Inspection of a source before training: its images, and those that would be left out, with the reasons."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.core.rng import generator
from vaekit.data.decode import Skipped, decode_image, image_name
from vaekit.data.fitting import Fitting, Pixels
from vaekit.data.image_files import GRAY_MODES, READ_ERRORS, Encoded, failure_reason, read_header
from vaekit.data.sources.resolve import resolve
from vaekit.data.sources.source import RawSplit, Source, check_splits

CHUNK_SIZE = 64
"""The number of images that a worker thread opens at a time."""
SHEET_IMAGES, SHEET_SIDE = 60, 96
"""The largest number of images of a split on the contact sheet, and their height and width."""


@dataclass(frozen=True)
class SplitSummary:
    """A summary of a split.

    Arguments:
        split: Its name.
        num: The number of images, including those that cannot be read.
        sizes: The number of images of each size (H, W).
        modes: The number of images of each of Pillow's modes, e.g. ``L`` or ``RGB``.
        classes: The number of images of each class; empty if there are no labels.
        skipped: The images that cannot be read.
        sheet: Some images, chosen at random, in their order, padded to a square, as uint8 of shape (N, 3, 96, 96).
    """

    split: str
    num: int
    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    classes: dict[str, int]
    skipped: list[Skipped]
    sheet: Tensor

    @property
    def channels(self) -> int:
        """1 if all images are gray, else 3."""
        return 1 if set(self.modes) <= set(GRAY_MODES) else 3


def inspect(name: str | Path, background: str = "white") -> list[SplitSummary]:
    """Opens every image of a source and returns a summary of each split; nothing is cached.

    Arguments:
        name: A source, as in :func:`vaekit.load_images`.
        background: The color behind transparent pixels and around images on the contact sheets.

    Raises:
        DataError: If the source does not exist or holds no images, or the background is not a color.
    """
    source, fitting = resolve(name), Fitting("pad", background)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            splits = source.read(Path(scratch))
            check_splits(source.name, splits)
            return [_inspect(split, raw, source, Path(scratch), fitting) for split, raw in splits.items()]
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()}: the folder of temporary files cannot be written ({error.strerror or error}); "
            "free space, or set TMPDIR to another folder"
        ) from None


def _inspect(split: str, raw: RawSplit, source: Source, scratch: Path, fitting: Fitting) -> SplitSummary:
    num = len(raw.images)
    sizes, modes, skipped = Counter[tuple[int, int]](), Counter[str](), list[Skipped]()
    shown = torch.randperm(num, generator=generator(0))[:SHEET_IMAGES].sort().values.tolist()  # a set may be sorted by class
    places = {index: place for place, index in enumerate(shown)}
    sheet = np.full((len(shown), 3, SHEET_SIDE, SHEET_SIDE), 255, np.uint8)

    def open_chunk(indices: Iterable[int]) -> list[tuple[tuple[int, int], str] | Skipped]:
        return [open_one(index) for index in indices]

    def open_one(index: int) -> tuple[tuple[int, int], str] | Skipped:
        try:
            image = raw.images[index] if source.fitted else _channels_last(raw.images[index])
            place = places.get(index, num)
            return _open(image, sheet[place : place + 1], fitting)
        except READ_ERRORS as error:
            return Skipped(index, image_name(raw.images, index), failure_reason(error))

    chunks = [range(start, min(start + CHUNK_SIZE, num)) for start in range(0, num, CHUNK_SIZE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for results in track(pool.map(open_chunk, chunks), f"opening {source.name} {split}", len(chunks)):
            for result in results:
                if isinstance(result, Skipped):
                    skipped.append(replace(result, name=source.relative_name(result.name, scratch)))
                else:
                    size, mode = result
                    sizes[size] += 1
                    modes[mode] += 1
    labels = [] if raw.labels is None else raw.labels.tolist()
    names = [raw.classes[label] if label < len(raw.classes) else str(label) for label in labels]
    classes = dict(sorted(Counter(names).items()))
    return SplitSummary(split, num, sizes, modes, classes, skipped, torch.from_numpy(sheet))


def _channels_last(pixels: Any) -> Pixels:
    """Pixels of shape (C, H, W), as those of an array, in the layout of Pillow: (H, W) or (H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1) if len(pixels) > 1 else pixels[0])


def _open(encoded: Encoded, tile: Pixels, fitting: Fitting) -> tuple[tuple[int, int], str]:
    """The size and mode of an image. All of it is decoded, as for the cache, so that damage is detected.

    Arguments:
        encoded: The image.
        tile: Its place on the contact sheet, of shape (1, 3, H, W), or of shape (0, 3, H, W) if it has none.
        fitting: How it is fitted.
    """
    size, mode = read_header(encoded)
    pixels = decode_image(encoded, (SHEET_SIDE, SHEET_SIDE), 3, fitting)
    tile[:] = pixels
    return size, mode
