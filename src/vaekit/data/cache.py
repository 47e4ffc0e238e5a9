"""The cache of decoded images: a folder for each source, version and options, limited in size.

The cache is in ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``. An entry holds a ``.npy`` file of uint8 images for each split,
their labels, and ``meta.json``. It is filled as ``.filling-NAME`` and renamed to its name when it is complete; a file in
``.locks`` prevents two processes from filling the same entry.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import BaseFileLock, FileLock, Timeout

from vaekit.core.errors import DataError
from vaekit.core.files import user_path
from vaekit.core.progress import notify
from vaekit.data.decode import Skipped
from vaekit.data.images import ImageSet
from vaekit.data.levels import Levels
from vaekit.data.row_files import Rows, hash_blocks
from vaekit.data.sealed_json import DAMAGED, read_sealed

CACHE_FORMAT = 6
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
VERIFIED_BYTES = 2**26
"""Splits up to this size, 64 MB, are compared with their hash whenever they are opened; it takes a tenth of a second."""
ENTRY_NAME = re.compile(r".*-[0-9a-f]{16}", re.DOTALL)
"""The names of entries: nothing else in the folder of the cache is ever removed."""


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
    """Returns the folder of the cache: ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``.

    Raises:
        DataError: If the home folder is unknown.
    """
    chosen = os.environ.get("VAEKIT_CACHE")
    if chosen:
        return user_path(chosen)
    try:
        return Path.home() / ".cache" / "vaekit"
    except RuntimeError:
        raise DataError("no home folder, so no place for the cache of images; set VAEKIT_CACHE to a folder") from None


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
    return [_entry(folder, num_bytes) for folder, num_bytes in sizes_of_entries().items()]


def sizes_of_entries() -> dict[Path, int]:
    """Returns the size of each entry's files in bytes, by its folder; no file is opened."""
    cache = cache_folder()
    names = [path for path in sorted(cache.iterdir()) if ENTRY_NAME.fullmatch(path.name)] if cache.is_dir() else []
    folders = [path for path in names if path.is_dir() and not path.is_symlink()]
    return {folder: sum(map(_file_bytes, folder.rglob("*"))) for folder in folders}


def clear_cache() -> list[Entry]:
    """Removes all entries, except those that another process is filling, and returns the removed ones."""
    entries = [entry for entry in list_cache() if not _is_being_filled(entry)]
    for entry in entries:
        shutil.rmtree(entry.folder, ignore_errors=True)
    _clear_locks(cache_folder())
    return entries


def evict_entries(newest: Path) -> None:
    """Removes entries until the cache is within its size limit: unreadable ones first, then the least recently used.

    It is called when an entry was written. Entries are opened only if there is too much, since there may be thousands. A
    process that has mapped a removed entry can use it until it ends.

    Arguments:
        newest: An entry that stays in any case.
    """
    limit, sizes = cache_limit() * 1e9, sizes_of_entries()
    total = sum(sizes.values())
    if total <= limit:
        return
    entries = [_entry(folder, num_bytes) for folder, num_bytes in sizes.items()]
    others = [entry for entry in entries if entry.folder != newest and not _is_being_filled(entry)]
    for entry in sorted(others, key=lambda entry: (entry.state == "complete", _last_used(entry.folder))):
        if total <= limit:
            return
        shutil.rmtree(entry.folder, ignore_errors=True)
        total -= entry.num_bytes


def read_entry(entry: Path) -> dict[str, ImageSet]:
    """Opens the splits of an entry and returns them by name.

    Raises:
        Exception: One of :data:`~vaekit.data.sealed_json.DAMAGED`, if it is not as it was written.
    """
    meta = json.loads((entry / META).read_text(encoding="utf-8"))
    if meta["format"] != CACHE_FORMAT:
        raise ValueError(f"written by another version: format {meta['format']}, not {CACHE_FORMAT}")
    meta = read_sealed(entry / META)
    try:
        levels = Levels.read(meta["levels"])
        splits = {split: _read_split(entry, meta["name"], split, facts) for split, facts in meta["splits"].items()}
        remarks = tuple(map(str, meta.get("remarks", ())))  # which entries of earlier versions do not have
        return {split: replace(images, levels=levels, remarks=remarks) for split, images in splits.items()}
    except DataError as error:  # its numbers do not fit together
        raise ValueError(str(error)) from None


def is_intact(entry: Path) -> bool:
    """Returns whether an entry exists and is as it was written."""
    try:
        verify_entry(read_entry(entry))
    except DAMAGED:
        return False
    return True


def verify_entry(splits: dict[str, ImageSet]) -> None:
    """Compares the pixels of small splits with their hashes.

    Raises:
        ValueError: If they differ.
    """
    for split, images in splits.items():
        if isinstance(images.store, Rows) or images.store.numel() > VERIFIED_BYTES:
            continue
        if hash_blocks([images.store.numpy()]) != images.fingerprint:
            raise ValueError(f"{split}.npy is not as it was written")


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


def _read_split(entry: Path, name: str, split: str, facts: dict[str, Any]) -> ImageSet:
    """A split of an entry."""
    store, rows, names = _open_store(entry / f"{split}.npy"), None, facts["names"]
    labels = None
    if facts["labels"] is not None:
        content = (entry / f"{split}-labels.npy").read_bytes()
        if hash_blocks([content]) != facts["labels"]:
            raise ValueError(f"{split}-labels.npy is not as it was written")
        labels = torch.from_numpy(np.load(BytesIO(content), allow_pickle=False))
    if facts["skipped"]:
        rows = torch.from_numpy(np.setdiff1d(np.arange(len(store)), [image["index"] for image in facts["skipped"]]))
        labels = None if labels is None else labels[rows]
        names = names and [names[row] for row in rows.tolist()]
    classes, fingerprint = tuple(facts["classes"]), facts["fingerprint"]
    skipped = tuple(Skipped(image["index"], str(image["name"]), str(image["reason"])) for image in facts["skipped"])
    images = ImageSet(store, labels, classes, name, split, rows, fingerprint=fingerprint, names=tuple(names))
    return replace(images, skipped=skipped)


def _open_store(path: Path) -> torch.Tensor | Rows:
    """The images of a split: a memory-mapped tensor, or rows on disk if they are too large for that."""
    rows = Rows(path)
    if rows.num_bytes > MAPPED_BYTES:
        return rows
    rows.close()
    # Copy-on-write: torch requires a writable array, and the file must not change.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _entry(folder: Path, num_bytes: int) -> Entry:
    if folder.name.startswith(FILLING):
        return Entry(folder, folder.name.removeprefix(FILLING), (), 0, num_bytes, "incomplete")
    try:
        splits = list(read_entry(folder).values())
        return Entry(folder, splits[0].name, splits[0].shape, sum(map(len, splits)), num_bytes, "complete")
    except DAMAGED:
        return Entry(folder, folder.name, (), 0, num_bytes, "unreadable")


def _file_bytes(file: Path) -> int:
    """The size of a file; 0 if another process has removed it, or it is none."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _is_being_filled(entry: Entry) -> bool:
    if entry.state != "incomplete":
        return False
    try:
        lock = _lock(entry.folder.parent, entry.name)
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # an error if the cache is not writable; then nothing can be removed either
        return True
    lock.release()
    return False


def _clear_locks(cache: Path) -> None:
    """Removes the lock files that no process holds."""
    for file in (cache / LOCKS).glob("*"):
        with suppress(Timeout, OSError), FileLock(file, timeout=0):
            file.unlink()
    with suppress(OSError):  # not empty, or missing
        (cache / LOCKS).rmdir()


def _lock(cache: Path, name: str) -> BaseFileLock:
    (cache / LOCKS).mkdir(exist_ok=True)
    return FileLock(cache / LOCKS / name)


def _last_used(folder: Path) -> float:
    try:
        meta = folder / META
        return (meta if meta.exists() else folder).stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
