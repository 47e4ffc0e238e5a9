"""The cache of decoded images: a folder for each source, version and options, limited in size.

The cache is in ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``. An entry holds a ``.npy`` file of uint8 images for each split,
their labels, and ``meta.json``. It is filled as ``.filling-NAME`` and renamed to its name when it is complete; a file in
``.locks`` prevents two processes from filling the same entry.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import BaseFileLock, FileLock, Timeout

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.images import ImageSet
from vaekit.data.row_files import Rows

CACHE_FORMAT = 4
"""The version of the format; entries of other versions are not read."""
CACHE_GB = 50.0
"""The size limit of the cache in gigabytes if ``$VAEKIT_CACHE_GB`` is not set; the least recently used entry goes first."""
META = "meta.json"
"""The file that describes an entry; it is written last."""
FILLING = ".filling-"
"""The prefix of the folder of an incomplete entry."""
LOCKS = ".locks"
"""The folder of lock files."""
MAPPED_BYTES = 2**30
"""Splits up to this size, 1 GB, are memory-mapped; larger ones are read from disk row by row."""
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What reading a damaged entry raises."""


@dataclass(frozen=True)
class Entry:
    """An entry of the cache.

    Arguments:
        folder: Its folder.
        name: The name of its images.
        shape: The shape (C, H, W) of its images; empty unless the entry is complete.
        num: The number of images in all splits; 0 unless the entry is complete.
        num_bytes: The size of its files.
        state: ``complete``, ``incomplete``, or ``unreadable`` if it is damaged or of another version.
    """

    folder: Path
    name: str
    shape: tuple[int, ...]
    num: int
    num_bytes: int
    state: str


def cache_folder() -> Path:
    """Returns the folder of the cache: ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``."""
    return Path(os.environ.get("VAEKIT_CACHE") or Path.home() / ".cache" / "vaekit")


def cache_limit() -> float:
    """Returns the size limit of the cache in gigabytes: ``$VAEKIT_CACHE_GB``, or 50.

    Raises:
        DataError: If the variable is not a number above 0.
    """
    text = os.environ.get("VAEKIT_CACHE_GB") or str(CACHE_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise DataError(f"VAEKIT_CACHE_GB={text}: not a number of gigabytes above 0; use 50, for example")
    return limit


def list_cache() -> list[Entry]:
    """Returns the entries of the cache, including incomplete and unreadable ones."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    return [_entry(path) for path in sorted(folder.iterdir()) if path.is_dir() and "-" in path.name]


def clear_cache() -> list[Entry]:
    """Removes all entries, except those that another process is filling, and returns the removed ones."""
    entries = [entry for entry in list_cache() if not _is_being_filled(entry)]
    for entry in entries:
        shutil.rmtree(entry.folder, ignore_errors=True)
    if not list_cache():
        shutil.rmtree(cache_folder() / LOCKS, ignore_errors=True)
    return entries


def evict_entries(newest: Path) -> None:
    """Removes entries until the cache is within its size limit: unreadable ones first, then the least recently used.

    A process that has mapped a removed entry can use it until it ends.

    Arguments:
        newest: An entry that stays in any case.
    """
    limit, entries = cache_limit() * 1e9, list_cache()
    total = sum(entry.num_bytes for entry in entries)
    others = [entry for entry in entries if entry.folder != newest and not _is_being_filled(entry)]
    for entry in sorted(others, key=lambda entry: (entry.state == "complete", _last_used(entry.folder))):
        if total <= limit:
            return
        shutil.rmtree(entry.folder, ignore_errors=True)
        total -= entry.num_bytes


def is_complete(entry: Path) -> bool:
    """Returns whether an entry exists and is complete."""
    return (entry / META).exists()


def read_entry(entry: Path) -> dict[str, ImageSet]:
    """Opens the splits of an entry and returns them by name.

    Raises:
        Exception: One of :data:`DAMAGED`, if it is not as it was written.
    """
    meta = json.loads((entry / META).read_text(encoding="utf-8"))
    if meta["format"] != CACHE_FORMAT:
        raise ValueError(f"written by another version: format {meta['format']}, not {CACHE_FORMAT}")
    splits = {}
    for split, facts in meta["splits"].items():
        store, rows, names = _open_store(entry / f"{split}.npy"), None, facts["names"]
        labels_file = entry / f"{split}-labels.npy"
        labels = torch.from_numpy(np.load(labels_file, allow_pickle=False)) if labels_file.exists() else None
        if facts["skipped"]:
            rows = torch.from_numpy(np.setdiff1d(np.arange(len(store)), [image["index"] for image in facts["skipped"]]))
            labels = None if labels is None else labels[rows]
            names = names and [names[row] for row in rows.tolist()]
        classes, fingerprint = tuple(facts["classes"]), facts["fingerprint"]
        splits[split] = ImageSet(
            store, labels, classes, meta["name"], split, rows, fingerprint=fingerprint, names=tuple(names)
        )
    return splits


@contextmanager
def locked_filling_folder(entry: Path, waiting: str) -> Iterator[Path]:
    """Yields the folder in which to fill an entry, while no other process can fill it.

    The folder may hold what an interrupted process has decoded.

    Arguments:
        entry: The entry's folder.
        waiting: The line to print if another process holds the lock.
    """
    lock = _lock(entry.parent, entry.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        notify(waiting)
        lock.acquire()
    try:
        yield entry.with_name(f"{FILLING}{entry.name}")
    finally:
        lock.release()


def _open_store(path: Path) -> torch.Tensor | Rows:
    """The images of a split: a memory-mapped tensor, or rows on disk if they are too large for that."""
    rows = Rows(path)
    if rows.num_bytes > MAPPED_BYTES:
        return rows
    rows.close()
    # Copy-on-write: torch requires a writable array, and the file must not change.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _entry(folder: Path) -> Entry:
    num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if folder.name.startswith(FILLING):
        return Entry(folder, folder.name.removeprefix(FILLING), (), 0, num_bytes, "incomplete")
    try:
        splits = list(read_entry(folder).values())
        return Entry(folder, splits[0].name, splits[0].shape, sum(map(len, splits)), num_bytes, "complete")
    except (*DAMAGED, DataError):
        return Entry(folder, folder.name, (), 0, num_bytes, "unreadable")


def _is_being_filled(entry: Entry) -> bool:
    if entry.state != "incomplete":
        return False
    lock = _lock(entry.folder.parent, entry.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(cache: Path, name: str) -> BaseFileLock:
    (cache / LOCKS).mkdir(exist_ok=True)
    return FileLock(cache / LOCKS / name)


def _last_used(folder: Path) -> float:
    meta = folder / META
    return (meta if meta.exists() else folder).stat().st_mtime
