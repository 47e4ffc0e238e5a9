"""Filling the cache: a source is decoded once, in parallel, into rows on disk.

Every few seconds the decoded rows are flushed to the disk and a journal records how many there are, so that decoding
resumes there after an interruption or a loss of power.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.files import flush, remove_partials, write_bytes
from vaekit.core.progress import notify, recorded_lines, track
from vaekit.data.cache import CACHE_FORMAT, META, is_intact, locked_filling_folder
from vaekit.data.cache_journal import JOURNAL, Journal, open_rows
from vaekit.data.common_shape import Size, check_shape, common_shape
from vaekit.data.decode import Skipped, decode
from vaekit.data.fitting import Fitting
from vaekit.data.image_files import READ_ERRORS, read_header
from vaekit.data.layout import Layout, find_layout
from vaekit.data.level_search import are_masks, array_ranges, file_ranges, find_levels
from vaekit.data.levels import EIGHT_BITS, UnknownLevels, describe_pair
from vaekit.data.remarks import name_skipped, remember, skipped_line
from vaekit.data.row_files import Rows, hash_blocks
from vaekit.data.sealed_json import write_sealed
from vaekit.data.sources.source import DISK_FULL, RawSplit, Source, check_splits

MAX_UNREADABLE = 0.05
"""The largest share of unreadable images that is accepted."""


def fill(entry: Path, source: Source, size: Size, channels: int | None, fitting: Fitting) -> bool:
    """Decodes a source into a new cache entry, or resumes after an interruption.

    Arguments:
        entry: The entry's folder, which appears when it is complete.
        source: The images.
        size: The height and width (H, W) to fit them to; None for their common size.
        channels: 1 to 16; None for the smallest number that keeps their colors.
        fitting: How they are fitted.

    Returns:
        Whether the entry was written; another process may have done so meanwhile.

    Raises:
        DataError: If the size does not apply, too many images cannot be read, or the cache cannot be written.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"{source.name}: another process is decoding these images; waiting for it"
        with locked_filling_folder(entry, waiting) as filling:
            if is_intact(entry):
                return False
            if os.path.lexists(entry):
                shutil.rmtree(entry)
            try:
                remember(entry, _fill(filling, source, size, channels, fitting))
            except (DataError, OSError):  # another attempt would fail in the same way; an interruption keeps the rows
                shutil.rmtree(filling, ignore_errors=True)
                raise
            filling.rename(entry)
            flush(entry.parent)
            return True
    except OSError as error:
        free_space = "free space with vae data --clear, or " if error.errno in DISK_FULL else ""
        raise DataError(
            f"{entry.parent}: the cache cannot be written ({error.strerror or error}); "
            f"{free_space}set VAEKIT_CACHE to another folder"
        ) from None


def _fill(filling: Path, source: Source, size: Size, channels: int | None, fitting: Fitting) -> list[str]:
    """Writes the files of an entry; returns the lines that were shown about what is left out."""
    with _scratch(filling) as scratch:
        with recorded_lines() as remarks:
            splits = source.read(scratch)
        check_splits(source.name, splits)
        journal = Journal(filling / JOURNAL)
        shape, prepared = _prepare(source, splits, size, channels, replace(fitting, levels=journal.levels or fitting.levels))
        prepared = _write_splits(filling, source, splits, shape, prepared, journal, scratch)
        meta: dict[str, Any] = {"format": CACHE_FORMAT, "name": source.name}
        meta["levels"] = replace(prepared.levels, uint8=fitting.levels.uint8).write()
        with recorded_lines() as skipped:
            meta["splits"] = {
                split: _describe(filling, source, split, raw, journal, scratch) for split, raw in splits.items()
            }
        meta["remarks"] = remarks
    remove_partials(filling)  # of an attempt that was killed
    write_sealed(filling / META, meta)
    (filling / JOURNAL).unlink()
    return remarks + skipped


def _prepare(
    source: Source, splits: dict[str, RawSplit], size: Size, channels: int | None, fitting: Fitting
) -> tuple[tuple[int, int, int], Fitting]:
    """The shape (C, H, W) that all images are brought to, and the fitting with the levels that are known beforehand."""
    if source.fitted:
        return common_shape(source, splits, size, channels), fitting
    arrays = {split: raw.images for split, raw in splits.items()}
    layouts = {split: _layout(source, raw, channels) for split, raw in splits.items()}
    shapes = {layout.image_shape for layout in layouts.values()}
    if len(shapes) > 1:
        raise DataError(f"{source.name}: its splits have different shapes, {shapes}; give all splits one shape")
    shape = shapes.pop()
    check_shape(shape, size, channels, source.name)
    levels, lines = find_levels(array_ranges(arrays, fitting.levels, source.name), fitting.levels, source.name)
    for line in dict.fromkeys([*(layout.remark for layout in layouts.values()), *lines]):
        if line:
            notify(f"{source.name}: {line}")
    return shape, replace(fitting, levels=levels)


def _layout(source: Source, raw: RawSplit, channels: int | None) -> Layout:
    """The layout of the array of a split."""
    first = np.asarray(raw.images[0:1])
    return find_layout((len(raw.images), *first.shape[1:]), first.dtype, source.name, channels)


def _write_splits(
    filling: Path,
    source: Source,
    splits: dict[str, RawSplit],
    shape: tuple[int, int, int],
    fitting: Fitting,
    journal: Journal,
    scratch: Path,
) -> Fitting:
    """Writes the rows of all splits; returns the fitting with all levels."""
    for split, raw in splits.items():
        with closing(open_rows(filling / f"{split}.npy", (len(raw.images), *shape), journal, split)) as rows:
            if journal.num_done(split):
                notify(f"{source.name} {split}: resuming after {journal.num_done(split):,} of {len(rows):,} images")
            while True:
                try:
                    for num_done, skipped in _write_blocks(source, split, raw, rows, fitting, journal.num_done(split)):
                        named = [replace(image, name=source.relative_name(image.name, scratch)) for image in skipped]
                        journal.add(split, rows, num_done, named)
                    break
                except UnknownLevels:  # the first image of more than 8 bits
                    fitting = _with_levels(source, splits, fitting)
                    journal.levels = fitting.levels
            journal.write(rows)
    if source.fitted and fitting.levels.uint8 is None and are_masks(_blocks(filling, splits)) and _is_of_eight_bits(splits):
        notify(f"{source.name}: pixel values are 0 and 1 in all images; {describe_pair((0, 1))}")
        masks = replace(fitting, levels=fitting.levels.with_pair("uint8", (0.0, 1.0)))
        journal.begin_anew(masks.levels)
        return _write_splits(filling, source, splits, shape, masks, journal, scratch)
    return fitting


def _is_of_eight_bits(splits: dict[str, RawSplit]) -> bool:
    """Whether the first image has 8 bits a channel."""
    with suppress(*READ_ERRORS):
        return read_header(next(raw.images[0] for raw in splits.values() if len(raw.images))).kind == "uint8"
    return False


def _with_levels(source: Source, splits: dict[str, RawSplit], fitting: Fitting) -> Fitting:
    """The fitting with the levels of all images of more than 8 bits."""
    known = replace(fitting.levels, uint8=EIGHT_BITS)
    encoded = {split: raw.images for split, raw in splits.items()}
    levels, lines = find_levels(file_ranges(encoded, known, source.name), known, source.name)
    for line in lines:
        notify(f"{source.name}: {line}")
    return replace(fitting, levels=replace(levels, uint8=fitting.levels.uint8))


def _blocks(filling: Path, splits: Iterable[str]) -> Iterator[NDArray[np.uint8]]:
    """The rows of all splits, in blocks."""
    for split in splits:
        with closing(Rows(filling / f"{split}.npy")) as rows:
            for start in range(0, len(rows), rows.block_size):
                yield rows.read(start, min(start + rows.block_size, len(rows)))


def _describe(filling: Path, source: Source, split: str, raw: RawSplit, journal: Journal, scratch: Path) -> dict[str, Any]:
    """What the entry says about a split, whose labels are written."""
    with closing(Rows(filling / f"{split}.npy")) as rows:
        fingerprint = rows.fingerprint()
    _report_skipped(source.name, journal.skipped(split), len(raw.images))
    return {
        "classes": raw.classes,
        "fingerprint": fingerprint,
        "labels": _write_labels(filling / f"{split}-labels.npy", raw),
        "names": _file_names(source, raw, scratch),
        "skipped": [asdict(image) for image in journal.skipped(split)],
    }


def _write_labels(path: Path, raw: RawSplit) -> str | None:
    """Writes the labels of a split, and returns a hash of the file; None if there are no labels."""
    if raw.labels is None:
        return None
    content = BytesIO()
    np.save(content, raw.labels)
    write_bytes(path, content.getvalue())
    return hash_blocks([content.getvalue()])


def _file_names(source: Source, raw: RawSplit, scratch: Path) -> list[str]:
    """The file name of each image of a split, relative to the source; empty unless every image has one."""
    files = getattr(raw.images, "paths", raw.images)
    if not isinstance(files, list) or not all(isinstance(file, Path) for file in files):
        return []
    return [source.relative_name(str(file), scratch) for file in files]


@contextmanager
def _scratch(filling: Path) -> Iterator[Path]:
    """A temporary folder for reading a source."""
    scratch = filling / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_blocks(
    source: Source, split: str, raw: RawSplit, rows: Rows, fitting: Fitting, start: int
) -> Iterator[tuple[int, list[Skipped]]]:
    """Writes the rows from ``start`` on; yields the number of rows done and the unreadable images of each block."""
    if source.fitted:
        yield from decode(raw.images, rows, f"{source.name} {split}", fitting, start)
        return
    layout = _layout(source, raw, rows.shape[1])
    begins = range(start, len(rows), rows.block_size)
    for begin in track(begins, f"copying {source.name} {split}", len(begins)):
        end = min(begin + rows.block_size, len(rows))
        try:
            rows.write(begin, layout.pixels(np.asarray(raw.images[begin:end]), fitting.levels, fitting.background))
        except ValueError as error:
            raise DataError(f"{source.name}: {error}") from None
        yield end, []


def _report_skipped(name: str, skipped: list[Skipped], num: int) -> None:
    """Prints the names of images that cannot be read.

    Raises:
        DataError: If there are too many of them.
    """
    if not skipped:
        return
    if len(skipped) > MAX_UNREADABLE * num:
        raise DataError(
            f"{name}: {len(skipped):,} of {num:,} images cannot be read, more than {MAX_UNREADABLE:.0%}; "
            f"repair or remove them: {name_skipped(skipped)}"
        )
    notify(skipped_line(name, skipped, num))
