"""Filling the cache: a source is decoded once, in parallel, into rows on disk.

Every few seconds what has been decoded is made safe and a journal says how far it goes, so that a run that is interrupted,
or a machine that loses power, goes on from there.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.core.errors import DataError
from vaekit.core.progress import notify, track
from vaekit.data.cache import CACHE_FORMAT, DAMAGED, META, filling_alone, is_whole
from vaekit.data.decode import NOTHING, Fitting, Skipped, decode, survey
from vaekit.data.row_files import Rows
from vaekit.data.sources.source import NO_ROOM, RawSplit, Source

MAX_DAMAGED = 0.05
"""The share of images that may be unreadable; more of them mean that something is wrong with the source."""
NAMED = 10
"""How many unreadable images a message names."""
JOURNAL = "journal.json"
"""How far each split has been decoded."""
SYNC_SECONDS = 2.0
"""How often that is written down."""

Size = tuple[int, int] | None


def fill(entry: Path, source: Source, size: Size, channels: int | None, fitting: Fitting) -> None:
    """Decodes a source into a new cache entry, or goes on where an earlier try was interrupted.

    Arguments:
        entry: The entry's folder, which appears when it is whole.
        source: The images.
        size: The height and width (H, W) to fit them to; None for the size that they share.
        channels: 1 or 3; None for what they need.
        fitting: How they are fitted.

    Raises:
        DataError: If they cannot be had in that size, too many cannot be read, or there is no room for them.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"{source.name}: another process is decoding these images; waiting for it"
        with filling_alone(entry, waiting) as filling:
            if is_whole(entry):
                return
            try:
                _fill(filling, source, size, channels, fitting)
            except (DataError, OSError):  # which another try would meet again; an interruption leaves what there is
                shutil.rmtree(filling, ignore_errors=True)
                raise
            filling.rename(entry)
    except OSError as error:
        full = error.errno in NO_ROOM
        advice = "make room with vae data --clear, or set VAEKIT_CACHE to a folder that has some"
        raise DataError(
            f"{entry.parent}: the cache cannot be written ({error.strerror or error}); "
            f"{advice if full else 'set VAEKIT_CACHE to a folder that can'}"
        ) from None


def _fill(filling: Path, source: Source, size: Size, channels: int | None, fitting: Fitting) -> None:
    with _scratch(filling) as scratch:
        splits = source.read(scratch)
        shape = _common_shape(source, splits, size, channels)
        journal = _Journal(filling / JOURNAL)
        meta: dict[str, Any] = {"format": CACHE_FORMAT, "name": source.name, "splits": {}}
        for split, raw in splits.items():
            with closing(_rows(filling / f"{split}.npy", (len(raw.images), *shape), journal, split)) as rows:
                for done, skipped in _blocks(source, split, raw, rows, fitting, journal.done(split)):
                    named = [replace(one, name=source.inside(one.name, scratch)) for one in skipped]
                    journal.note(split, rows, done, named)
                journal.write(rows)
                fingerprint = _fingerprint(rows)
            _tell_skipped(source.name, journal.skipped(split), len(raw.images))
            if raw.labels is not None:
                np.save(filling / f"{split}-labels.npy", raw.labels)
            meta["splits"][split] = {
                "classes": raw.classes,
                "fingerprint": fingerprint,
                "names": _names(source, raw, scratch),
                "skipped": [asdict(one) for one in journal.skipped(split)],
            }
    (filling / META).write_text(json.dumps(meta))
    (filling / JOURNAL).unlink()


def _names(source: Source, raw: RawSplit, scratch: Path) -> list[str]:
    """The files that the images of a split lie in, as the source calls them; nothing unless each has one."""
    files = getattr(raw.images, "paths", raw.images)
    if not isinstance(files, list) or not all(isinstance(file, Path) for file in files):
        return []
    return [source.inside(str(file), scratch) for file in files]


@contextmanager
def _scratch(filling: Path) -> Iterator[Path]:
    """A folder for what reading a source leaves behind."""
    scratch = filling / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Journal:
    """How far each split has been decoded, and what of it could not be; on disk every few seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = time.monotonic()
        try:
            self.splits = {
                split: (int(facts["done"]), [Skipped(**one) for one in facts["skipped"]])
                for split, facts in json.loads(path.read_text()).items()
            }
        except DAMAGED:  # there is none yet, or it is no use
            self.splits = {}

    def done(self, split: str) -> int:
        return self.splits.get(split, (0, []))[0]

    def skipped(self, split: str) -> list[Skipped]:
        return self.splits.get(split, (0, []))[1]

    def begin(self, split: str) -> None:
        self.splits[split] = (0, [])

    def note(self, split: str, rows: Rows, done: int, skipped: list[Skipped]) -> None:
        self.splits[split] = (done, self.skipped(split) + skipped)
        if time.monotonic() - self.written > SYNC_SECONDS:
            self.write(rows)

    def write(self, rows: Rows) -> None:
        """Writes the journal, after the rows that it speaks of are safe."""
        rows.sync()
        partial = self.path.with_name(f".{self.path.name}")
        facts = {
            split: {"done": done, "skipped": [asdict(one) for one in skipped]}
            for split, (done, skipped) in self.splits.items()
        }
        partial.write_text(json.dumps(facts))
        os.replace(partial, self.path)
        self.written = time.monotonic()


def _rows(path: Path, shape: tuple[int, ...], journal: _Journal, split: str) -> Rows:
    """The rows of a split: those that an interrupted try left, or new ones."""
    if journal.done(split):
        try:
            rows = Rows(path, writable=True)
            if tuple(rows.shape) == shape:
                return rows
            rows.close()
        except DAMAGED:
            pass
    journal.begin(split)
    return Rows.create(path, shape)


def _blocks(
    source: Source, split: str, raw: RawSplit, rows: Rows, fitting: Fitting, start: int
) -> Iterator[tuple[int, list[Skipped]]]:
    """Fills the rows from ``start`` on, block by block: how many are done, and which of the block cannot be read."""
    if start:
        notify(f"{source.name} {split}: going on after {start:,} of {len(rows):,} images")
    if source.fitted:
        yield from decode(raw.images, rows, f"{source.name} {split}", fitting, start)
        return
    begins = range(start, len(rows), rows.block)
    for begin in track(begins, f"copying {source.name} {split}", len(begins)):
        end = min(begin + rows.block, len(rows))
        rows.write(begin, np.asarray(raw.images[begin:end]))
        yield end, []


def _fingerprint(rows: Rows) -> str:
    """A hash of all images."""
    digest = hashlib.sha256()
    for start in range(0, len(rows), rows.block):
        digest.update(rows.read(start, min(start + rows.block, len(rows))).data)
    return digest.hexdigest()[:16]


def _tell_skipped(name: str, skipped: list[Skipped], num: int) -> None:
    """Names images that cannot be read.

    Raises:
        DataError: If there are too many of them.
    """
    if not skipped:
        return
    rest = len(skipped) - NAMED
    named = "; ".join(f"{one.name}: {one.reason}" for one in skipped[:NAMED]) + (f"; and {rest:,} more" if rest > 0 else "")
    if len(skipped) > MAX_DAMAGED * num:
        raise DataError(
            f"{name}: {len(skipped):,} of {num:,} images cannot be read, more than {MAX_DAMAGED:.0%}; "
            f"mend or remove them: {named}"
        )
    notify(f"{name}: {len(skipped):,} of {num:,} images left out; {named}")


def _common_shape(source: Source, splits: dict[str, RawSplit], size: Size, channels: int | None) -> tuple[int, int, int]:
    """The shape (C, H, W) that all images of a source get."""
    if not any(len(raw.images) for raw in splits.values()):
        raise DataError(f"{source.name}: holds no images")
    if not source.fitted:
        shapes = {np.asarray(raw.images[0]).shape for raw in splits.values()}
        if len(shapes) > 1:
            raise DataError(f"{source.name}: its splits have different shapes, {shapes}")
        depth, height, width = shapes.pop()
        found = (depth, height, width)
        refuse_other_shape(found, size, channels, source.name)
        return found
    if size is not None and channels is not None:
        return channels, *size
    surveys = [survey(raw.images, f"{source.name} {split}") for split, raw in splits.items()]
    sizes = {shared for shared, _ in surveys if shared != NOTHING}
    if not sizes:
        return channels or 1, *(size or (1, 1))  # nothing can be read, and decoding will say why
    shared = sizes.pop() if len(sizes) == 1 else None
    if size is None and shared is None:
        raise DataError(f"{source.name}: images of several sizes need one to be fitted to; add --size 64, say")
    return channels or max(needed for _, needed in surveys), *(size or shared or ())


def refuse_other_shape(shape: tuple[int, int, int], size: Size, channels: int | None, name: str) -> None:
    """Raises DataError if an array's images, of shape (C, H, W), are not as they are wanted."""
    wanted = (channels or shape[0], *(size or shape[1:]))
    if shape != wanted:
        raise DataError(
            f"{name}: an array is taken as it is, and its images are {_times(shape)} where {_times(wanted)} is wanted; "
            f"add --size {shape[1]}x{shape[2]} --channels {shape[0]}, or resize the array"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
