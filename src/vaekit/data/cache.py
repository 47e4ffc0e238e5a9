"""The cache of decoded images: a folder for each source, version and options, bounded in size.

It lies in ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``. An entry is one ``.npy`` file of uint8 images for each split, their
labels, and ``meta.json``; it appears under its name only when it is whole. What is being filled is called ``.filling-NAME``,
and a file in ``.locks`` keeps two processes from filling one entry.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import BaseFileLock, FileLock, Timeout

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.images import ImageSet
from vaekit.data.row_files import Rows

CACHE_FORMAT = 4
"""The version of what is described above; entries of another are never read."""
CACHE_GB = 50.0
"""How many gigabytes the cache holds where ``$VAEKIT_CACHE_GB`` says nothing; what was not used for longest goes first."""
META = "meta.json"
"""What a cache entry says of itself."""
FILLING, LOCKS = ".filling-", ".locks"
MAPPED_BYTES = 2**30
"""Splits up to this size, 1 GB, are mapped and soon lie in memory; larger ones are read from disk row by row."""
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What reading an entry raises that somebody has changed."""


@dataclass(frozen=True)
class Entry:
    """Images in the cache.

    Arguments:
        folder: Where they lie.
        name: What they are called.
        shape: Their shape (C, H, W); nothing for what is half-written, damaged or of another version.
        num: How many there are, of all splits.
        num_bytes: How much room they take.
        state: ``whole``, ``unfinished`` or ``unreadable``.
    """

    folder: Path
    name: str
    shape: tuple[int, ...]
    num: int
    num_bytes: int
    state: str


def cache_folder() -> Path:
    """The folder of decoded images: ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``."""
    return Path(os.environ.get("VAEKIT_CACHE") or Path.home() / ".cache" / "vaekit")


def cache_limit() -> float:
    """How many gigabytes the cache may hold: ``$VAEKIT_CACHE_GB``, or 50.

    Raises:
        DataError: If the variable is no number above 0.
    """
    text = os.environ.get("VAEKIT_CACHE_GB") or str(CACHE_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise DataError(f"VAEKIT_CACHE_GB={text}: give a number of gigabytes above 0")
    return limit


def cached() -> list[Entry]:
    """Lists what is in the cache, unfinished entries included."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    return [_entry(path) for path in sorted(folder.iterdir()) if path.is_dir() and "-" in path.name]


def clear_cache() -> list[Entry]:
    """Removes what is in the cache, but for what another process is filling, and returns what that was."""
    entries = [entry for entry in cached() if not _is_being_filled(entry)]
    for entry in entries:
        shutil.rmtree(entry.folder, ignore_errors=True)
    if not cached():
        shutil.rmtree(cache_folder() / LOCKS, ignore_errors=True)
    return entries


def bound_cache(newest: Path) -> None:
    """Removes what was not used for longest until the cache is within its bound; the newest entry stays.

    What cannot be read goes first. Training that has an entry open keeps it until it ends.
    """
    limit, entries = cache_limit() * 1e9, cached()
    total = sum(entry.num_bytes for entry in entries)
    others = [entry for entry in entries if entry.folder != newest and not _is_being_filled(entry)]
    for entry in sorted(others, key=lambda entry: (entry.state == "whole", _last_used(entry.folder))):
        if total <= limit:
            return
        shutil.rmtree(entry.folder, ignore_errors=True)
        total -= entry.num_bytes


def is_whole(entry: Path) -> bool:
    """Whether an entry is there and was finished."""
    return (entry / META).exists()


def read_entry(entry: Path) -> dict[str, ImageSet]:
    """Opens the splits of an entry, by name, and takes note that they were used.

    Raises:
        Exception: One of :data:`DAMAGED` if it is not as it was written.
    """
    meta = json.loads((entry / META).read_text())
    if meta["format"] != CACHE_FORMAT:
        raise ValueError(f"written by another version, format {meta['format']} where this one writes {CACHE_FORMAT}")
    splits = {}
    for split, facts in meta["splits"].items():
        store, rows, names = _store(entry / f"{split}.npy"), None, facts["names"]
        labels_file = entry / f"{split}-labels.npy"
        labels = torch.from_numpy(np.load(labels_file, allow_pickle=False)) if labels_file.exists() else None
        if facts["skipped"]:
            rows = torch.from_numpy(np.setdiff1d(np.arange(len(store)), [one["index"] for one in facts["skipped"]]))
            labels = None if labels is None else labels[rows]
            names = names and [names[row] for row in rows.tolist()]
        classes, fingerprint = tuple(facts["classes"]), facts["fingerprint"]
        splits[split] = ImageSet(
            store, labels, classes, meta["name"], split, rows, fingerprint=fingerprint, names=tuple(names)
        )
    return splits


@contextmanager
def filling_alone(entry: Path, waiting: str) -> Iterator[Path]:
    """Gives the folder to fill an entry in, when no other process does; what one that was stopped left is still there.

    Arguments:
        entry: The entry's folder.
        waiting: What to say if another process has to be waited for.
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


def _store(path: Path) -> Any:
    """Images on disk, as a tensor where they may as well lie in memory."""
    rows = Rows(path)
    if rows.num_bytes > MAPPED_BYTES:
        return rows
    rows.close()
    # Copy-on-write, so that the map counts as writable for torch and stays untouched on disk.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _entry(folder: Path) -> Entry:
    num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if folder.name.startswith(FILLING):
        return Entry(folder, folder.name.removeprefix(FILLING), (), 0, num_bytes, "unfinished")
    try:
        splits = list(read_entry(folder).values())
        return Entry(folder, splits[0].name, splits[0].shape, sum(map(len, splits)), num_bytes, "whole")
    except (*DAMAGED, DataError):
        return Entry(folder, folder.name, (), 0, num_bytes, "unreadable")


def _is_being_filled(entry: Entry) -> bool:
    if entry.state != "unfinished":
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
