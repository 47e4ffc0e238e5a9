"""Several sources as one data set: their splits are joined, and classes of one name are one class.

A source without a test split holds out its own fifth, so that each source has its share of every split. Values are not
copied: the store of the union reads each row from the store that has it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError, SeveralSizesError
from vaekit.core.progress import notify
from vaekit.data.images import ImageSet
from vaekit.data.levels import KINDS, Levels
from vaekit.data.row_files import Rows
from vaekit.data.sources.file_kinds import image_suffixes

COLOR = 3
"""The number of channels of color."""


class JoinedRows(Rows):
    """The rows of several stores, one store after the other, used like one.

    Arguments:
        stores: Stores of uint8 images of one shape, tensors or rows on disk.
    """

    def __init__(self, stores: Sequence[Tensor | Rows]) -> None:
        self.stores = list(stores)
        self.ends = torch.tensor([len(store) for store in stores]).cumsum(0)
        self.shape = torch.Size([int(self.ends[-1]), *stores[0].shape[1:]])

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Returns the rows with numbers of shape (B), as uint8 of shape (B, C, H, W); ``dim`` is 0."""
        out = torch.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        which = torch.searchsorted(self.ends, rows, right=True)
        for number, store in enumerate(self.stores):
            mine = which == number
            begin = int(self.ends[number]) - len(store)
            out[mine] = store.index_select(0, rows[mine] - begin)
        return out


def is_several(source: Any) -> bool:
    """Whether a source of images is a list of sources; a list of image files is one source."""
    paths = isinstance(source, list | tuple) and all(isinstance(one, str | os.PathLike) for one in source)
    return paths and any(not os.fspath(one).lower().endswith(tuple(image_suffixes())) for one in source)


def load_alike(load: Callable[..., ImageSet], sources: Sequence[Any], options: Mapping[str, Any]) -> ImageSet:
    """Returns the union of sources; gray images join those in color as color.

    Arguments:
        load: Loads one source with options.
        sources: The sources.
        options: Options of all sources.
    """
    sets = [load(source, **options) for source in sources]
    if options["channels"] is None and {images.shape[0] for images in sets} == {1, COLOR}:
        color = {**options, "channels": COLOR}
        sets = [
            images if images.shape[0] == COLOR else load(source, **color)
            for source, images in zip(sources, sets, strict=True)
        ]
    return unite(sets)


def unite(sets: Sequence[ImageSet]) -> ImageSet:
    """Returns the union of sets of images of one shape.

    The classes are those of all sets by name, in the order in which they are met. If a set has no labels, the union has
    none, and a line says so.

    Raises:
        DataError: If the sets have several shapes, or the same kind of values has several levels.
    """
    first = sets[0]
    if other := next((images for images in sets if images.shape != first.shape), None):
        shapes = [f"{images.name} of {'x'.join(map(str, images.shape))}" for images in (first, other)]
        side = min(min(images.shape[1:]) for images in sets)
        line = f"images of several shapes, {shapes[0]} and {shapes[1]}; give them one, e.g. --size {side}"
        if other.shape[0] == first.shape[0]:
            raise SeveralSizesError(line, side)
        raise DataError(f"{line} --channels {COLOR}")
    labels, classes = _united_labels(sets)
    digest = hashlib.sha256("".join(f"{len(images)} {images.fingerprint} " for images in sets).encode()).hexdigest()[:16]
    offsets = [0, *torch.tensor([len(images.store) for images in sets]).cumsum(0).tolist()]
    rows = [torch.arange(len(images)) if images.rows is None else images.rows for images in sets]
    return ImageSet(
        JoinedRows([images.store for images in sets]),
        labels,
        classes,
        " + ".join(images.name for images in sets),
        first.split,
        torch.cat([row + offset for row, offset in zip(rows, offsets, strict=False)]),
        digest if all(images.fingerprint for images in sets) else "",
        _names(sets),
        levels=_united_levels(sets),
    )


def _united_labels(sets: Sequence[ImageSet]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels by the names of the classes of all sets, and these names."""
    without = [images.name for images in sets if images.labels is None]
    if without:
        if len(without) < len(sets):
            notify(f"{without[0]}: has no classes, so the classes of the other images are left out")
        return None, ()
    classes = list(dict.fromkeys(name for images in sets for name in images.class_names))
    numbers = [torch.tensor([classes.index(name) for name in images.class_names]) for images in sets]
    return torch.cat([number[images.labels] for number, images in zip(numbers, sets, strict=True)]), tuple(classes)


def _names(sets: Sequence[ImageSet]) -> tuple[str, ...]:
    """The name of each image, with that of its set before it; none if no set has names."""
    if not any(images.names for images in sets):
        return ()
    numbered = [images.names or [f"image {number}" for number in range(len(images))] for images in sets]
    return tuple(f"{images.name}/{name}" for images, names in zip(sets, numbered, strict=True) for name in names)


def _united_levels(sets: Sequence[ImageSet]) -> Levels:
    """The levels of all sets.

    Raises:
        DataError: If two sets have others for one kind of values, so that no scale holds for later images.
    """
    levels = Levels()
    for images in sets:
        for kind in KINDS:
            pair = images.levels.of(kind)
            if pair is not None and levels.of(kind) not in (None, pair):
                raise DataError(
                    f"{images.name}: black and white are {list(pair)} for {kind}, and {list(levels.known(kind))} in other "
                    "images; set data.levels for all, as in --set data.levels=[0,255]"
                )
            levels = levels if pair is None else levels.with_pair(kind, pair)
    return levels
