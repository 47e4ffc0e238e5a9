"""From a name to pictures, through the cache.

Pictures are decoded once, fitted to the size and channels asked for, and kept as one uint8 array per split under a key of
source, version and options; later starts map it from disk. The cache lies in ``$VAEKIT_CACHE``, or ``~/.cache/vaekit``. A
cache entry appears under its name only when it is whole.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaekit.data.decode import decode, survey
from vaekit.data.images import ImageSet, hold_out
from vaekit.data.sources import RawSplit, Source, as_pixels, resolve
from vaekit.errors import DataError

CACHE_FORMAT = 1
TEST_SHARE, TEST_MOST, TEST_SEED = 0.2, 10_000, 0
"""A source without a test split gives up a fifth of its pictures for one, 10,000 at most, drawn with this seed."""


def load_images(
    source: str | Path | NDArray[Any] | torch.Tensor,
    split: str = "train",
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Loads pictures.

    Arguments:
        source: A known name (``digits``, ``mnist``, ``fashion-mnist``, ...), a folder, a ``.npy`` or ``.npz`` file, the id
            of a data set on the Hugging Face Hub, or an array of shape (N, H, W), (N, C, H, W) or (N, H, W, C).
        split: ``train``, ``test`` or ``all``. A source without a test split gives up a fifth of its pictures for one.
        size: The side, or height and width (H, W), to fit pictures to; by default the size that they share.
        channels: 1 for grey or 3 for colour; by default what the pictures need.

    Returns:
        The pictures as uint8 of shape (N, C, H, W), with labels where the source has any.

    Raises:
        DataError: If there are no such pictures, or they cannot be had in that size.
    """
    size = (size, size) if isinstance(size, int) else size
    if not isinstance(source, str | Path):
        whole = ImageSet(torch.from_numpy(np.ascontiguousarray(as_pixels(np.asarray(source), "array"))), split="all")
        _refuse_other_shape(whole.shape, size, channels, "array")
        return whole if split == "all" else _select({"train": whole}, split)
    found = resolve(source)
    entry = cache_folder() / f"{_slug(found.name)}-{_key(found, size, channels)}"
    if not (entry / "meta.json").exists():
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{entry.parent}: the cache cannot be written ({error.strerror}); set VAEKIT_CACHE to a folder that can"
            ) from None
        _fill(entry, found, size, channels)
    try:
        splits = _read(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{entry}: a damaged cache entry ({error}); remove it, and it will be made again") from None
    return _select(splits, split)


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


def _fill(entry: Path, source: Source, size: tuple[int, int] | None, channels: int | None) -> None:
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
            if source.fitted:
                decode(raw.pictures, pixels, f"{source.name} {split}")
            else:
                pixels[:] = raw.pictures
            pixels.flush()
            if raw.labels is not None:
                np.save(filling / f"{split}-labels.npy", raw.labels)
            meta["splits"][split] = {"classes": raw.classes, "fingerprint": hashlib.sha256(pixels.data).hexdigest()[:16]}
        (filling / "meta.json").write_text(json.dumps(meta))
        if entry.exists():
            shutil.rmtree(entry)
        try:
            filling.rename(entry)
        except OSError:  # another process was first
            if not (entry / "meta.json").exists():
                raise


def _read(entry: Path) -> dict[str, ImageSet]:
    meta = json.loads((entry / "meta.json").read_text())
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
    sizes = {shared for shared, _ in surveys}
    shared = sizes.pop() if len(sizes) == 1 else None
    if size is None and shared is None:
        raise DataError(f"{source.name}: pictures of several sizes need one to be fitted to; add --set data.size=64, say")
    return channels or max(needed for _, needed in surveys), *(size or shared or ())


def _refuse_other_shape(shape: tuple[int, int, int], size: tuple[int, int] | None, channels: int | None, name: str) -> None:
    wanted = (channels or shape[0], *(size or shape[1:]))
    if shape != wanted:
        raise DataError(
            f"{name}: an array is taken as it is, and its pictures are {_times(shape)} where {_times(wanted)} is wanted; "
            f"add --set data.size=[{shape[1]},{shape[2]}] --set data.channels={shape[0]}, or resize the array"
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _key(source: Source, size: tuple[int, int] | None, channels: int | None) -> str:
    facts = {"format": CACHE_FORMAT, "source": source.identity(), "size": size, "channels": channels}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)[:60]
