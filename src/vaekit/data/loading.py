"""From a name to images, through the cache.

Images are decoded once, fitted to the size and channels asked for, and kept in the cache (:mod:`vaekit.data.cache`) under
a key of source, version and options; later starts open them from there.
"""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.cache import CACHE_FORMAT, DAMAGED, META, bound_cache, cache_folder, is_whole, read_entry
from vaekit.data.cache_writer import Size, fill, refuse_other_shape
from vaekit.data.decode import Fit, Fitting
from vaekit.data.images import ImageSet, hold_out
from vaekit.data.sources.resolve import as_pixels, resolve
from vaekit.data.sources.source import Source

TEST_SHARE, TEST_MAX, TEST_SEED = 0.2, 10_000, 0
"""A source without a test split gives up a fifth of its images for one, 10,000 at most, drawn with this seed."""


def load_images(
    source: str | Path | NDArray[Any] | torch.Tensor,
    split: str = "train",
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
) -> ImageSet:
    """Loads images, decoding them into the cache when they are loaded for the first time.

    An image that cannot be read is left out and named on the error stream, and kept in mind by the cache.

    Arguments:
        source: A known name (``digits``, ``mnist``, ``fashion-mnist``, ...), a folder, a ``.npy`` or ``.npz`` file, the id
            of a data set on the Hugging Face Hub, or an array of shape (N, H, W), (N, C, H, W) or (N, H, W, C).
        split: ``train``, ``test`` or ``all``. A source without a test split gives up a fifth of its images for one.
            ``any`` is all of a source without splits, and the test images of one that has them.
        size: The side, or height and width (H, W), to fit images to; by default the size that they share.
        channels: 1 for gray or 3 for color; by default what the images need.
        fit: What to do where proportions differ: ``crop``, ``pad`` or ``stretch``.
        background: The color behind transparent pixels and around padded images.

    Returns:
        The images as uint8 of shape (N, C, H, W), with labels where the source has any.

    Raises:
        DataError: If there are no such images, they cannot be had in that size, or too many of them cannot be read.
    """
    fitting = Fitting(fit, background)
    size = (size, size) if isinstance(size, int) else size
    if not isinstance(source, str | Path):
        whole = ImageSet(torch.from_numpy(np.ascontiguousarray(as_pixels(np.asarray(source), "array"))), split="all")
        refuse_other_shape(whole.shape, size, channels, "array")
        return whole if split in ("all", "any") else _select({"train": whole}, split)
    found = resolve(source)
    entry = cache_folder() / f"{_slug(found.name)}-{_key(found, size, channels, fitting)}"
    return _select(_cached(entry, found, size, channels, fitting), split)


def _select(splits: dict[str, ImageSet], split: str) -> ImageSet:
    """One split of a source, held out of its training images if the source has no test split."""
    if split in ("all", "any") and len(splits) == 1:
        return replace(next(iter(splits.values())), split="all")
    split = "test" if split == "any" else split
    if split not in ("train", "test"):
        raise DataError(f"{split}: no such split (known: train, test)")
    whole = splits["train"] if "train" in splits else next(iter(splits.values()))
    tests = [splits[name] for name in ("test", "validation", "valid") if name in splits]
    if tests and tests[0] is not whole:
        return whole if split == "train" else tests[0]
    share = min(TEST_SHARE, TEST_MAX / len(whole))
    train, test = hold_out(whole, share, seed=TEST_SEED, splits=("train", "test"))
    return train if split == "train" else test


def _cached(entry: Path, source: Source, size: Size, channels: int | None, fitting: Fitting) -> dict[str, ImageSet]:
    """The splits of a source from the cache, where they are put if they are not there or were damaged."""
    if is_whole(entry):
        try:
            splits = read_entry(entry)
            with suppress(OSError):  # a cache that others keep may be read all the same
                os.utime(entry / META)  # which is how the cache knows what was used last
            return splits
        except DAMAGED as error:
            notify(f"{entry}: a damaged cache entry ({error}); decoding the images again")
            shutil.rmtree(entry, ignore_errors=True)
    fill(entry, source, size, channels, fitting)
    bound_cache(entry)
    return read_entry(entry)


def _key(source: Source, size: Size, channels: int | None, fitting: Fitting) -> str:
    facts = {"format": CACHE_FORMAT, "source": source.identity(), "size": size, "channels": channels} | asdict(fitting)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)[:60]
