"""From a name to pictures, through the cache.

Pictures are decoded once, fitted to the size and channels asked for, and kept as one uint8 array per split under a key of
source, version and options; later starts map it from disk. The cache lies in ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``. A
cache entry appears under its name only when it is whole.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaekit.data.decode import NOTHING, Fit, Fitting, Skipped, decode, survey
from vaekit.data.images import ImageSet, hold_out
from vaekit.data.sources import RawSplit, Source, as_pixels, resolve
from vaekit.errors import DataError

CACHE_FORMAT = 2
TEST_SHARE, TEST_MOST, TEST_SEED = 0.2, 10_000, 0
"""A source without a test split gives up a fifth of its pictures for one, 10,000 at most, drawn with this seed."""
CHUNK = 256
"""How many pictures are copied at a time."""
CACHE_GB = 50.0
"""How many gigabytes the cache holds where ``$VAEKIT_CACHE_GB`` says nothing; what was not used for longest goes first."""
META = "meta.json"
"""What a cache entry says of itself; it is there only when the entry is whole."""
MOST_DAMAGED = 0.05
"""The share of pictures that may be unreadable; more of them mean that something is wrong with the source."""
NAMED = 10
"""How many unreadable pictures a message names."""


def load_images(
    source: str | Path | NDArray[Any] | torch.Tensor,
    split: str = "train",
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
) -> ImageSet:
    """Loads pictures, decoding them into the cache when they are loaded for the first time.

    A picture that cannot be read is left out and named on the error stream, and kept in mind by the cache.

    Arguments:
        source: A known name (``digits``, ``mnist``, ``fashion-mnist``, ...), a folder, a ``.npy`` or ``.npz`` file, the id
            of a data set on the Hugging Face Hub, or an array of shape (N, H, W), (N, C, H, W) or (N, H, W, C).
        split: ``train``, ``test`` or ``all``. A source without a test split gives up a fifth of its pictures for one.
        size: The side, or height and width (H, W), to fit pictures to; by default the size that they share.
        channels: 1 for grey or 3 for colour; by default what the pictures need.
        fit: What to do where proportions differ: ``crop``, ``pad`` or ``stretch``.
        background: The colour behind transparent pixels and around padded pictures.

    Returns:
        The pictures as uint8 of shape (N, C, H, W), with labels where the source has any.

    Raises:
        DataError: If there are no such pictures, they cannot be had in that size, or too many of them cannot be read.
    """
    fitting = Fitting(fit, background)
    size = (size, size) if isinstance(size, int) else size
    if not isinstance(source, str | Path):
        whole = ImageSet(torch.from_numpy(np.ascontiguousarray(as_pixels(np.asarray(source), "array"))), split="all")
        _refuse_other_shape(whole.shape, size, channels, "array")
        return whole if split == "all" else _select({"train": whole}, split)
    found = resolve(source)
    entry = cache_folder() / f"{_slug(found.name)}-{_key(found, size, channels, fitting)}"
    if not (entry / META).exists():
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{entry.parent}: the cache cannot be written ({error.strerror}); set VAEKIT_CACHE to a folder that can"
            ) from None
        _fill(entry, found, size, channels, fitting)
        _bound(entry)
    try:
        splits = _read(entry)
        os.utime(entry / META)  # which is how the cache knows what was used last
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{entry}: a damaged cache entry ({error}); remove it, and it will be made again") from None
    return _select(splits, split)


@dataclass(frozen=True)
class Entry:
    """Pictures in the cache.

    Arguments:
        folder: Where they lie.
        name: What they are called.
        shape: Their shape (C, H, W).
        num: How many there are, of all splits.
        num_bytes: How much room they take.
    """

    folder: Path
    name: str
    shape: tuple[int, ...]
    num: int
    num_bytes: int


def cached() -> list[Entry]:
    """Lists what is in the cache; what is damaged or half-written is listed without pictures."""
    entries = []
    for folder in sorted(cache_folder().glob("*-*")) if cache_folder().is_dir() else []:
        num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        try:
            splits = _read(folder)
            shape, num = next(iter(splits.values())).shape, sum(map(len, splits.values()))
            entries.append(Entry(folder, next(iter(splits.values())).name, shape, num, num_bytes))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, DataError):
            entries.append(Entry(folder, folder.name, (), 0, num_bytes))
    return entries


def clear_cache() -> list[Entry]:
    """Removes what is in the cache, and returns what that was."""
    entries = cached()
    for entry in entries:
        shutil.rmtree(entry.folder, ignore_errors=True)
    return entries


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


def _bound(newest: Path) -> None:
    """Removes what was not used for longest until the cache is within its bound; the newest entry stays."""
    limit, entries = cache_limit() * 1e9, cached()
    total = sum(entry.num_bytes for entry in entries)
    others = [entry for entry in entries if entry.num and entry.folder != newest]
    for entry in sorted(others, key=lambda entry: (entry.folder / META).stat().st_mtime):
        if total <= limit:
            return
        shutil.rmtree(entry.folder, ignore_errors=True)  # a run that has it mapped keeps it
        total -= entry.num_bytes


def cache_folder() -> Path:
    """The folder of decoded pictures: ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``."""
    return Path(os.environ.get("VAEKIT_CACHE") or Path.home() / ".cache" / "vaekit")


def _select(splits: dict[str, ImageSet], split: str) -> ImageSet:
    """One split of a source, held out of its training pictures if the source has no test split."""
    if split == "all" and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in ("train", "test"):
        raise DataError(f"{split}: no such split (known: train, test)")
    whole = splits["train"] if "train" in splits else next(iter(splits.values()))
    tests = [splits[name] for name in ("test", "validation", "valid") if name in splits]
    if tests and tests[0] is not whole:
        return whole if split == "train" else tests[0]
    share = min(TEST_SHARE, TEST_MOST / len(whole))
    train, test = hold_out(whole, share, seed=TEST_SEED, splits=("train", "test"))
    return train if split == "train" else test


def _fill(entry: Path, source: Source, size: tuple[int, int] | None, channels: int | None, fitting: Fitting) -> None:
    """Decodes a source into a new cache entry, which gets its name last."""
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".filling-") as temporary:
        scratch, filling = Path(temporary) / "scratch", Path(temporary) / "entry"
        scratch.mkdir()
        filling.mkdir()
        splits = source.read(scratch)
        shape = _common_shape(source, splits, size, channels)
        meta: dict[str, Any] = {"format": CACHE_FORMAT, "name": source.name, "splits": {}}
        for split, raw in splits.items():
            path = filling / f"{split}.npy"
            pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(raw.pictures), *shape))
            skipped: list[Skipped] = []
            if source.fitted:
                skipped = decode(raw.pictures, pixels, f"{source.name} {split}", fitting)
            else:
                pixels[:] = raw.pictures
            labels = raw.labels
            if skipped:
                skipped = [replace(one, name=source.inside(one.name, scratch)) for one in skipped]
                _tell_skipped(source.name, skipped, len(pixels))
                kept = np.setdiff1d(np.arange(len(pixels)), [one.index for one in skipped])
                pixels = _keep(pixels, kept, path)
                labels = None if labels is None else labels[kept]
            pixels.flush()
            if labels is not None:
                np.save(filling / f"{split}-labels.npy", labels)
            meta["splits"][split] = {
                "classes": raw.classes,
                "fingerprint": hashlib.sha256(pixels.data).hexdigest()[:16],
                "skipped": [asdict(one) for one in skipped],
            }
        (filling / META).write_text(json.dumps(meta))
        if entry.exists():
            shutil.rmtree(entry)
        try:
            filling.rename(entry)
        except OSError:  # another process was first
            if not (entry / META).exists():
                raise


def _tell_skipped(name: str, skipped: list[Skipped], num: int) -> None:
    """Names pictures that cannot be read.

    Raises:
        DataError: If there are too many of them.
    """
    rest = len(skipped) - NAMED
    named = "; ".join(f"{one.name}: {one.reason}" for one in skipped[:NAMED]) + (f"; and {rest:,} more" if rest > 0 else "")
    if len(skipped) > MOST_DAMAGED * num:
        raise DataError(
            f"{name}: {len(skipped):,} of {num:,} pictures cannot be read, more than {MOST_DAMAGED:.0%}; "
            f"mend or remove them: {named}"
        )
    print(f"{name}: {len(skipped):,} of {num:,} pictures left out; {named}", file=sys.stderr)


def _keep(pixels: NDArray[np.uint8], rows: NDArray[np.int64], path: Path) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Writes an array anew with these rows only."""
    partial = path.with_name(f".{path.name}")
    kept = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(rows), *pixels.shape[1:]))
    for start in range(0, len(rows), CHUNK):
        kept[start : start + CHUNK] = pixels[rows[start : start + CHUNK]]
    partial.replace(path)
    return kept


def _read(entry: Path) -> dict[str, ImageSet]:
    meta = json.loads((entry / META).read_text())
    splits = {}
    for split, facts in meta["splits"].items():
        # Copy-on-write, so that the map counts as writable for torch and stays untouched on disk.
        pixels = np.load(entry / f"{split}.npy", mmap_mode="c", allow_pickle=False)
        labels_file = entry / f"{split}-labels.npy"
        labels = torch.from_numpy(np.load(labels_file, allow_pickle=False)) if labels_file.exists() else None
        classes, fingerprint = tuple(facts["classes"]), facts["fingerprint"]
        splits[split] = ImageSet(torch.from_numpy(pixels), labels, classes, meta["name"], split, fingerprint=fingerprint)
    return splits


def _common_shape(
    source: Source, splits: dict[str, RawSplit], size: tuple[int, int] | None, channels: int | None
) -> tuple[int, int, int]:
    """The shape (C, H, W) that all pictures of a source get."""
    if not any(len(raw.pictures) for raw in splits.values()):
        raise DataError(f"{source.name}: holds no pictures")
    if not source.fitted:
        shapes = {np.asarray(raw.pictures[0]).shape for raw in splits.values()}
        if len(shapes) > 1:
            raise DataError(f"{source.name}: its splits have different shapes, {shapes}")
        depth, height, width = shapes.pop()
        found = (depth, height, width)
        _refuse_other_shape(found, size, channels, source.name)
        return found
    if size is not None and channels is not None:
        return channels, *size
    surveys = [survey(raw.pictures, f"{source.name} {split}") for split, raw in splits.items()]
    sizes = {shared for shared, _ in surveys if shared != NOTHING}
    if not sizes:
        return channels or 1, *(size or (1, 1))  # nothing can be read, and decoding will say why
    shared = sizes.pop() if len(sizes) == 1 else None
    if size is None and shared is None:
        raise DataError(f"{source.name}: pictures of several sizes need one to be fitted to; add --size 64, say")
    return channels or max(needed for _, needed in surveys), *(size or shared or ())


def _refuse_other_shape(shape: tuple[int, int, int], size: tuple[int, int] | None, channels: int | None, name: str) -> None:
    wanted = (channels or shape[0], *(size or shape[1:]))
    if shape != wanted:
        raise DataError(
            f"{name}: an array is taken as it is, and its pictures are {_times(shape)} where {_times(wanted)} is wanted; "
            f"add --size {shape[1]}x{shape[2]} --channels {shape[0]}, or resize the array"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _key(source: Source, size: tuple[int, int] | None, channels: int | None, fitting: Fitting) -> str:
    facts = {"format": CACHE_FORMAT, "source": source.identity(), "size": size, "channels": channels} | asdict(fitting)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)[:60]
