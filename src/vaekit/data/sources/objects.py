"""Images that are objects of Python: arrays, tensors, lists of images or of paths, and tables of ``datasets``."""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.data.sources.lists import Files
from vaekit.data.sources.repositories import read_tables
from vaekit.data.sources.source import RawSplit, Source, file_version

NAME = "array"
"""The name of images that have none."""
PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
"""Pillow's modes that a PNG holds without a change."""
TIFF_MODES = ("I", "F", "CMYK", "YCbCr", "LAB")
"""Other modes, which a TIFF holds."""
CONVERTED = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "I;16B": "I", "I;16L": "I", "I;16N": "I"}
"""What images of other modes are converted to; RGB if not stated here."""
WANTED = "a path or name, an array or tensor, a list of arrays, images or paths, or a datasets.Dataset"
"""What images may be, for messages."""


class EncodedList(Source):
    """A list of images of Pillow.

    Arguments:
        images: The images.
    """

    name = "images"

    def __init__(self, images: Iterable[Image.Image]) -> None:
        self.encoded = [_encode(image) for image in images]

    def identity(self) -> dict[str, Any]:
        """Returns a hash of the images."""
        digest = hashlib.sha256()
        for image in self.encoded:
            digest.update(len(image).to_bytes(8, "little") + image)
        return {"images": digest.hexdigest()}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split."""
        return {"train": RawSplit(self.encoded)}


class Tables(Source):
    """Tables of ``datasets``, one for each split.

    Arguments:
        tables: The tables.
    """

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables = tables
        info = next(iter(tables.values())).info if tables else None
        self.name = str(getattr(info, "dataset_name", None) or "dataset")

    def identity(self) -> dict[str, Any]:
        """Returns the fingerprint of each table, which ``datasets`` computes, and the version of each file that it names."""
        splits = self.read(Path())
        paths = {str(path) for raw in splits.values() for path in getattr(raw.images, "paths", []) if path is not None}
        files = {path: file_version(Path(path)) for path in sorted(paths) if os.path.isfile(path)}
        fingerprints = {split: [str(table._fingerprint), len(table)] for split, table in self.tables.items()}
        return {"tables": fingerprints, "files": files}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits; images stay encoded."""
        return read_tables(self.name, self.tables, None)


def read_object(images: Any) -> Source | NDArray[Any]:
    """Returns the source that an object is, or its array of images.

    Raises:
        DataError: If it is neither.
    """
    if isinstance(images, Tensor):
        return _tensor(images)
    if isinstance(images, np.ndarray) and images.dtype != object:
        return images
    if (tables := _tables(images)) is not None:
        return Tables(tables)
    if isinstance(images, Image.Image):
        return EncodedList([images])
    if isinstance(images, np.ndarray | list | tuple):
        return _list(list(images))
    raise DataError(f"images are {WANTED}, not {type(images).__name__}")


def _tensor(images: Tensor) -> NDArray[Any]:
    """The array of a tensor on any device, with or without a gradient."""
    try:
        dense = images.detach().to("cpu")
        if dense.dtype.is_floating_point and dense.dtype not in (torch.float16, torch.float32, torch.float64):
            dense = dense.float()  # NumPy has no bfloat16
        return dense.resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError, NotImplementedError):
        raise DataError(f"array: a {images.layout} tensor of {images.dtype} holds no pixels; convert it to uint8") from None


def _tables(images: Any) -> Mapping[str, Any] | None:
    """The tables of an object of ``datasets``; None for any other object, also if ``datasets`` is not imported."""
    datasets = sys.modules.get("datasets")
    if datasets is None:
        return None
    if isinstance(images, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("dataset: it is streamed, and images are read in any order; load it with streaming=False")
    if isinstance(images, datasets.Dataset):
        return {"train": images}
    return {str(split): table for split, table in images.items()} if isinstance(images, datasets.DatasetDict) else None


def _list(images: Sequence[Any]) -> Source | NDArray[Any]:
    """The source or array of a list."""
    if not images:
        raise DataError(f"{NAME}: holds no images, it is an empty list")
    if all(isinstance(image, str | os.PathLike) for image in images):
        return Files([Path(os.path.expanduser(image)) for image in images], "files")
    if all(isinstance(image, Image.Image) for image in images):
        return EncodedList(images)
    try:
        arrays = [_tensor(image) if isinstance(image, Tensor) else np.asarray(image) for image in images]
    except (ValueError, TypeError) as error:
        raise DataError(f"{NAME}: a list of images of one shape is needed ({error})") from None
    for image, array in zip(images, arrays, strict=True):
        if array.dtype.kind not in "biufc":
            raise DataError(f"{NAME}: a list that holds a {type(image).__name__} is no list of images; give {WANTED}")
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        raise DataError(
            f"{NAME}: its images have several shapes, {shapes[0]} and {shapes[1]}; bring them to one shape, or give "
            "images of Pillow or paths of files, and a size"
        )
    return np.stack(arrays)


def _encode(image: Image.Image) -> bytes:
    """An image as the bytes of a file that loses nothing."""
    file = BytesIO()
    if image.mode not in PNG_MODES + TIFF_MODES:
        image = image.convert(CONVERTED.get(image.mode, "RGB"))
    if image.mode in PNG_MODES:
        image.save(file, "PNG", compress_level=1)
    else:
        image.save(file, "TIFF")
    return file.getvalue()
