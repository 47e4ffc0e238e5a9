"""Inspection of a source before training: its images, and those that would be left out, with the reasons."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.data.dataset import spread_positions
from vaekit.data.decode import Skipped, decode_image, image_name, scan_headers
from vaekit.data.fitting import Fitting, Pixels
from vaekit.data.image_files import READ_ERRORS, Encoded, Header, failure_reason, read_header
from vaekit.data.layout import Layout, find_layout
from vaekit.data.level_search import array_ranges, file_ranges, find_levels
from vaekit.data.levels import EIGHT_BITS, UNKNOWN, Levels, describe_pair
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
        classes: The number of images of each class, in the order of the labels; empty if there are no labels.
        skipped: The images that cannot be read.
        sheet: Some images, chosen at random, in their order, padded to a square, as uint8 of shape (N, 3, 96, 96), or of as
            many channels as they have.
        channels: 1 if all images are gray, 3 if there is color, or the largest number of channels.
        labels_from: Where the classes come from; empty if there are no labels.
        remarks: How the axes and the values of all splits were read, a line each.
    """

    split: str
    num: int
    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    classes: dict[str, int]
    skipped: list[Skipped]
    sheet: Tensor
    channels: int = 1
    labels_from: str = ""
    remarks: tuple[str, ...] = ()


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
            levels, remarks = _levels(source, splits)
            fitting = replace(fitting, levels=levels)
            summaries = [_inspect(split, raw, source, Path(scratch), fitting) for split, raw in splits.items()]
            return [replace(summary, remarks=tuple(remarks)) for summary in summaries]
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()}: the folder of temporary files cannot be written ({error.strerror or error}); "
            "free space, or set TMPDIR to another folder"
        ) from None


def _levels(source: Source, splits: dict[str, RawSplit]) -> tuple[Levels, list[str]]:
    """The levels of all splits, and lines about them and about the axes of arrays."""
    images, remarks = {split: raw.images for split, raw in splits.items()}, list[str]()
    if source.fitted:
        levels, lines = find_levels(file_ranges(images, UNKNOWN, source.name), UNKNOWN, source.name)
    else:
        levels, lines = find_levels(array_ranges(images, UNKNOWN, source.name), UNKNOWN, source.name)
        remarks = [remark for raw in splits.values() if (remark := _layout(source, raw).remark)]
    lines = lines or [f"pixel values are of 8 bits; {describe_pair(EIGHT_BITS)}"]
    return levels, list(dict.fromkeys([*remarks, *lines]))


def _layout(source: Source, raw: RawSplit) -> Layout:
    first = np.asarray(raw.images[0:1])
    return find_layout((len(raw.images), *first.shape[1:]), first.dtype, source.name)


def _inspect(split: str, raw: RawSplit, source: Source, scratch: Path, fitting: Fitting) -> SplitSummary:
    """The summary of a split, all of whose images are opened."""
    num, opener = len(raw.images), _Opener.of(raw, source, split, fitting)
    sizes, modes, skipped, needed = Counter[tuple[int, int]](), Counter[str](), list[Skipped](), {1}
    chunks = [range(start, min(start + CHUNK_SIZE, num)) for start in range(0, num, CHUNK_SIZE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for results in track(pool.map(opener.open_chunk, chunks), f"opening {source.name} {split}", len(chunks)):
            for result in results:
                if isinstance(result, Skipped):
                    skipped.append(replace(result, name=source.relative_name(result.name, scratch)))
                else:
                    sizes[result.size] += 1
                    modes[result.mode] += 1
                    needed.add(result.channels)
    classes = {} if raw.labels is None else _count_classes(raw)
    labels_from = raw.labels_from if classes else ""
    images = torch.from_numpy(opener.sheet)
    return SplitSummary(split, num, sizes, modes, classes, skipped, images, max(needed), labels_from)


@dataclass(frozen=True)
class _Opener:
    """Opens the images of a split, and fits those of the contact sheet into it.

    Arguments:
        raw: The split.
        layout: The axes of an array; None for files.
        fitting: How images are fitted.
        places: The place on the contact sheet of each image that is on it, by its index.
        sheet: The images of the contact sheet, with shape (num, C, H, W).
    """

    raw: RawSplit
    layout: Layout | None
    fitting: Fitting
    places: dict[int, int]
    sheet: Pixels

    @classmethod
    def of(cls, raw: RawSplit, source: Source, split: str, fitting: Fitting) -> Self:
        """The opener of a split, with an empty contact sheet of all classes, by which a set may be sorted."""
        labels = torch.zeros(len(raw.images)) if raw.labels is None else torch.from_numpy(raw.labels)
        shown = spread_positions(labels, 0)[:SHEET_IMAGES].sort().values.tolist()
        layout = None if source.fitted else _layout(source, raw)
        head = [raw.images[index] for index in shown] if source.fitted else []
        channels = layout.channels if layout else scan_headers(head, f"{source.name} {split}")[1]
        sheet = np.full((len(shown), 3 if channels == 1 else channels, SHEET_SIDE, SHEET_SIDE), 255, np.uint8)
        return cls(raw, layout, fitting, {index: place for place, index in enumerate(shown)}, sheet)

    def open_chunk(self, indices: Iterable[int]) -> list[Header | Skipped]:
        """The headers of images, or why they cannot be read."""
        return [self.open(index) for index in indices]

    def open(self, index: int) -> Header | Skipped:
        """The header of an image, or why it cannot be read."""
        images, fitting = self.raw.images, self.fitting
        place = self.places.get(index, len(images))
        tile = self.sheet[place : place + 1]
        try:
            if self.layout is None:
                return _open(images[index], tile, fitting)
            pixels = self.layout.pixels(np.asarray(images[index : index + 1]), fitting.levels, fitting.background)
            return _open(_channels_last(pixels[0]), tile, replace(fitting, levels=UNKNOWN))
        except READ_ERRORS as error:
            return Skipped(index, image_name(images, index), failure_reason(error))


def _count_classes(raw: RawSplit) -> dict[str, int]:
    """The number of images of each class, in the order of the labels."""
    counts = Counter([] if raw.labels is None else raw.labels.tolist())
    return {raw.classes[label] if label < len(raw.classes) else str(label): counts[label] for label in sorted(counts)}


def _channels_last(pixels: Any) -> Pixels:
    """Pixels of shape (C, H, W), as those of an array, in the layout of Pillow: (H, W) or (H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1) if len(pixels) > 1 else pixels[0])


def _open(encoded: Encoded, tile: Pixels, fitting: Fitting) -> Header:
    """The header of an image. All of it is decoded, as for the cache, so that damage is detected.

    Arguments:
        encoded: The image.
        tile: Its place on the contact sheet, of shape (1, C, H, W), or of shape (0, C, H, W) if it has none.
        fitting: How it is fitted.
    """
    header = read_header(encoded)
    tile[:] = decode_image(encoded, (SHEET_SIDE, SHEET_SIDE), tile.shape[1], fitting)
    return header
