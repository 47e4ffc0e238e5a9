"""Loading images by name, through the cache.

Images are decoded once, fitted to the requested size and channels, and stored in the cache (:mod:`vaekit.data.cache`) under
a hash of the source, its version and the options. Later calls open them from there.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch

from vaekit.core.arguments import BY_FUNCTION, Count, Within, checked, matches
from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.core.safe_text import MAX_NAME, printable_value
from vaekit.data.cache import CACHE_FORMAT, META, cache_folder, evict_entries, read_entry, verify_entry
from vaekit.data.cache_writer import fill
from vaekit.data.common_shape import Size, check_shape
from vaekit.data.dataset import hold_out
from vaekit.data.fitting import Fit, Fitting
from vaekit.data.images import ImageSet
from vaekit.data.layout import MAX_CHANNELS
from vaekit.data.levels import AUTO, UNKNOWN, Levels, LevelsSpec
from vaekit.data.remarks import repeat
from vaekit.data.sealed_json import DAMAGED
from vaekit.data.sources.arrays import as_pixels
from vaekit.data.sources.objects import read_object
from vaekit.data.sources.resolve import resolve
from vaekit.data.sources.source import Source
from vaekit.data.union import is_several, load_alike

MAX_ATTEMPTS = 3
"""How often an entry is filled again that other processes remove."""
TEST_SHARE, TEST_MAX, TEST_SEED = 0.2, 10_000, 0
"""A source without a test split is split at random with this seed: a fifth is the test split, at most 10,000 images."""


@checked(DataError)
def load_images(
    source: Any,
    split: str = "train",
    *,
    size: Annotated[int | tuple[int, int] | None, BY_FUNCTION] = None,
    channels: Annotated[int, Within(1, MAX_CHANNELS)] | None = None,
    fit: Fit = "crop",
    background: str = "white",
    levels: Annotated[LevelsSpec, BY_FUNCTION] = AUTO,
) -> ImageSet:
    """Loads images, and decodes them into the cache when they are loaded for the first time.

    Images that cannot be read are left out and listed on stderr, by each process once.

    Arguments:
        source: A known name (``digits``, ``mnist``, ``fashion-mnist``, ...), the id of a data set on the Hugging Face Hub, a
            folder, an archive, or a file of arrays, of a table, of a list or of one image; an array or tensor of shape
            (N, H, W), (N, C, H, W) or (N, H, W, C); a list of arrays of one shape, of images of Pillow or of paths; or a
            ``datasets.Dataset`` or ``DatasetDict``. A list of names, folders and archives is the union of its sources, whose
            splits are joined and whose classes are united by name.
        split: ``train``, ``test``, ``all``, or ``any``: all images if the source has one split, else its test images. If a
            source has no test split, a fifth of its images is used as one; a single image is all of each split.
        size: The side, or height and width (H, W), to fit images to; by default their common size.
        channels: 1 for gray or 3 for color; by default 1 if all images are gray, else 3. Arrays and TIFF files may have up
            to 16, which are read as they are.
        fit: What to do if the aspect ratio differs: ``crop``, ``pad`` or ``stretch``.
        background: The color behind transparent pixels and around padded images.
        levels: The values of black and white, as ``(0, 4095)``, or for some kinds of values, as ``{"floats": (-1, 1)}``; by
            default they are found: once for all images of the source (:mod:`vaekit.data.levels`).

    Returns:
        The images as uint8 of shape (N, C, H, W), with labels if the source has any.

    Raises:
        DataError: If the source does not exist, too many of its images cannot be read, or the size does not apply.
    """
    fitting, size = Fitting(fit, background, read_levels(levels)), _sides(size)
    if is_several(source):
        options: dict[str, Any] = {"size": size, "channels": channels, "levels": levels}
        options |= {"fit": fit, "background": background}
        return load_alike(partial(load_images, split=split), source, options)
    given = resolve(os.fspath(source)) if isinstance(source, str | os.PathLike) else read_object(source)
    if isinstance(given, Source):
        return _select(_load_splits(given, size, channels, fitting), split)
    pixels, found = as_pixels(given, "array", fitting.levels, channels, background)
    whole = ImageSet(torch.from_numpy(np.ascontiguousarray(pixels)), split="all", levels=found)
    check_shape(whole.shape, size, channels, "array")
    return whole if split in ("all", "any") else _select({"train": whole}, split)


def load_validation(
    source: str | Path | Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    background: str = "white",
    levels: LevelsSpec = AUTO,
) -> ImageSet | None:
    """Loads the validation images of a source that has training, validation and test images; None if it has not.

    If there are no test images, the validation images are those of the split ``test`` of :func:`load_images`, so that no
    image is both used to choose a model and to test it.

    Arguments and errors are those of :func:`load_images`.
    """
    if is_several(source):
        options: dict[str, Any] = {"size": size, "channels": channels, "levels": levels}
        options |= {"fit": fit, "background": background}
        sources = cast(Sequence[str], source)
        if any(load_validation(one, **options) is None for one in sources):
            return None
        return load_alike(cast(Callable[..., ImageSet], load_validation), sources, options)
    splits = _load_splits(resolve(cast(str, source)), _sides(size), channels, Fitting(fit, background, read_levels(levels)))
    named = [splits[name] for name in ("validation", "valid", "val") if name in splits]
    return named[0] if named and {"train", "test"} <= set(splits) else None


def _sides(size: Any) -> Size:
    """The height and width that a size means, or None for None."""
    sides = size if isinstance(size, list | tuple) else (size, size)
    if size is None:
        return None
    if len(sides) == 2 and all(matches(side, Count) for side in sides):
        return (int(sides[0]), int(sides[1]))
    raise DataError(
        f"size {printable_value(size, MAX_NAME)}: give a side in pixels, as 128, or height and width, as (96, 128)"
    )


def _select(splits: dict[str, ImageSet], split: str) -> ImageSet:
    """One split of a source; the test split is held out of the training images if the source has none."""
    if split in ("all", "any") and len(splits) == 1:
        return replace(next(iter(splits.values())), split="all")
    if len(splits) == 1 and len(whole := next(iter(splits.values()))) == 1 and split in ("train", "test"):
        return replace(whole, split="all")  # one image is all that there is of it, in every split
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


def _load_splits(source: Source, size: Size, channels: int | None, fitting: Fitting) -> dict[str, ImageSet]:
    """The splits of a source from its cache entry, which is filled if it is missing or damaged.

    Raises:
        DataError: If other processes remove the entry again and again while this one opens it.
    """
    found = _with_found_levels(source, size, channels, fitting)
    if found is not None:
        return found
    entry = entry_folder(source, size, channels, fitting)
    for _ in range(MAX_ATTEMPTS):
        if (splits := _read_or_report(entry)) is not None:
            return splits
        if fill(entry, source, size, channels, fitting):
            evict_entries(entry)
    raise DataError(f"{entry}: other processes remove it while it is opened; set VAEKIT_CACHE to another folder")


def _with_found_levels(source: Source, size: Size, channels: int | None, fitting: Fitting) -> dict[str, ImageSet] | None:
    """The splits of an entry whose levels were found, if they are those that are asked for; else None."""
    if fitting.levels == UNKNOWN:
        return None
    splits = _read_or_report(entry_folder(source, size, channels, replace(fitting, levels=UNKNOWN)))
    if splits is None or not all(images.levels.agree(fitting.levels) for images in splits.values()):
        return None
    return splits


def read_levels(spec: LevelsSpec) -> Levels:
    """Returns levels from data.

    Raises:
        DataError: If they are none.
    """
    try:
        return Levels.read(spec)
    except ValueError as error:
        raise DataError(f"levels: {error}") from None


def _read_or_report(entry: Path) -> dict[str, ImageSet] | None:
    """The splits of an entry; None, and a line for the user, if it is damaged; None if it does not exist."""
    if not entry.exists():
        return None
    try:
        splits = read_entry(entry)
        verify_entry(splits)
    except DAMAGED as error:
        reason = f"{Path(error.filename).name}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        notify(f"{entry}: a damaged cache entry ({reason}); decoding the images again")
        return None
    repeat(entry, splits)
    with suppress(OSError):  # a read-only cache is usable
        os.utime(entry / META)  # marks the entry as recently used
    return splits


def entry_folder(source: Source, size: Size, channels: int | None, fitting: Fitting) -> Path:
    """Returns the folder of the cache entry of a source with these options."""
    return cache_folder() / f"{_slug(source.name)}-{_key(source, size, channels, fitting)}"


def _key(source: Source, size: Size, channels: int | None, fitting: Fitting) -> str:
    facts = {"format": CACHE_FORMAT, "source": source.identity(), "size": size, "channels": channels} | asdict(fitting)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)[:60]
