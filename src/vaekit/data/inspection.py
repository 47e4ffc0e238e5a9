"""Looking at a source before training on it: what is there, what would be left out, and why."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.data.decode import (
    GRAY_MODES,
    UNREADABLE,
    Encoded,
    Fitting,
    Skipped,
    header_of,
    name_of,
    pixels_of,
    reason_of,
)
from vaekit.data.sources.resolve import resolve
from vaekit.data.sources.source import RawSplit, Source

CHUNK = 64
"""How many images a worker looks at in one go."""
SHEET, SIDE = 60, 96
"""How many images a contact sheet shows of each split, and how large."""


@dataclass(frozen=True)
class Findings:
    """What a split holds.

    Arguments:
        split: Its name.
        num: How many images there are, those that cannot be read included.
        sizes: How many have each size (H, W).
        modes: How many have each of Pillow's modes, e.g. ``L`` or ``RGB``.
        classes: How many are of each class; empty where there are no labels.
        skipped: Those that cannot be read.
        sheet: The first of them, whole, as uint8 of shape (N, 3, 96, 96).
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


def inspect(name: str | Path, background: str = "white") -> list[Findings]:
    """Opens every image of a source and says what was found, split by split; nothing is kept.

    Arguments:
        name: A source, as :func:`vaekit.load_images` takes it.
        background: The color behind transparent pixels and around images on the contact sheets.

    Raises:
        DataError: If there is no such source, or it holds no images, or the background is no color.
    """
    source, fitting = resolve(name), Fitting("pad", background)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            splits = source.read(Path(scratch))
            return [_inspect(split, raw, source, Path(scratch), fitting) for split, raw in splits.items()]
    except OSError as error:
        where = f"{tempfile.gettempdir()}: the folder for what is only needed for now"
        raise DataError(f"{where} cannot be written ({error.strerror or error}); make room, or set TMPDIR") from None


def _inspect(split: str, raw: RawSplit, source: Source, scratch: Path, fitting: Fitting) -> Findings:
    num = len(raw.images)
    sizes, modes, skipped = Counter[tuple[int, int]](), Counter[str](), list[Skipped]()
    sheet = np.full((min(num, SHEET), 3, SIDE, SIDE), 255, np.uint8)

    def look(indices: Iterable[int]) -> list[tuple[int, tuple[int, int], str] | Skipped]:
        return [_look(raw.images[index], index, name_of(raw.images, index), sheet, fitting) for index in indices]

    parts = [range(start, min(start + CHUNK, num)) for start in range(0, num, CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in track(pool.map(look, parts), f"looking at {source.name} {split}", len(parts)):
            for one in found:
                if isinstance(one, Skipped):
                    skipped.append(replace(one, name=source.inside(one.name, scratch)))
                else:
                    sizes[one[1]] += 1
                    modes[one[2]] += 1
    labels = [] if raw.labels is None else raw.labels.tolist()
    names = [raw.classes[label] if label < len(raw.classes) else str(label) for label in labels]
    return Findings(split, num, sizes, modes, dict(sorted(Counter(names).items())), skipped, torch.from_numpy(sheet))


def _look(
    encoded: Encoded, index: int, name: str, sheet: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", fitting: Fitting
) -> tuple[int, tuple[int, int], str] | Skipped:
    """The size and mode of an image, which is decoded to its end as it would be for the cache."""
    try:
        size, mode = header_of(encoded)
        pixels = pixels_of(encoded, (SIDE, SIDE), 3, fitting)
        if index < len(sheet):
            sheet[index] = pixels
    except UNREADABLE as error:
        return Skipped(index, name, reason_of(error))
    return index, size, mode
