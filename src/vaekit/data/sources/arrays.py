"""Sources of arrays: the embedded digits, and NumPy files."""

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.data.sources.source import FileSource, RawSplit, Source

DIGITS = "digits"
"""The name of the embedded data set."""


class Digits(Source):
    """The 1,797 handwritten 8x8 digits that come with scikit-learn: real data without a download.

    References:
        | Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998), https://doi.org/10.24432/C50P49
    """

    name = DIGITS

    def identity(self) -> dict[str, Any]:
        """Returns the name: the images never change."""
        return {"embedded": self.name}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; gray levels of 0 to 16 are scaled to 0 to 255."""
        from sklearn.datasets import load_digits  # heavy, and only needed for this source

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": RawSplit(pixels, digits.target.astype(np.int64), tuple(str(d) for d in digits.target_names))}


class ArrayFile(FileSource):
    """A ``.npy`` file of images, or a ``.npz`` file of images and labels, with or without splits.

    A ``.npz`` file holds ``images`` and ``labels`` (or ``x`` and ``y``), or the same with the name of a split appended:
    ``x_train, y_train, x_test, y_test``.
    """

    fitted = False

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the arrays; nothing is ever unpickled."""
        arrays = self._arrays()
        pixels, labels = {}, {}
        for key, array in arrays.items():
            kind, _, split = key.partition("_")
            if kind in ("images", "x"):
                pixels[split or "train"] = as_pixels(array, str(self.path))
                labels_key = key.replace(kind, "labels" if kind == "images" else "y", 1)
                if labels_key in arrays:
                    labels[split or "train"] = np.ravel(arrays[labels_key])
        if not pixels:
            raise DataError(f"{self.path}: holds {', '.join(arrays)}; name the images 'images' and their labels 'labels'")
        # The classes are those of all splits, since a small split may lack some.
        known = np.unique(np.concatenate(list(labels.values()))) if labels else np.empty(0)
        indices = {split: np.searchsorted(known, values).astype(np.int64) for split, values in labels.items()}
        classes = tuple(str(name) for name in known)
        return {split: RawSplit(array, indices.get(split), classes) for split, array in pixels.items()}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file, by name."""
        try:
            with self.path.open("rb") as file:  # np.load itself does not close a damaged archive
                is_array = file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
                file.seek(0)
                if is_array:
                    return {"images": np.load(self.path, allow_pickle=False, mmap_mode="r")}
                archive = np.load(file, allow_pickle=False)
                return {key: archive[key] for key in archive.files}
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: not a NumPy array that can be read safely ({error})") from None


def as_pixels(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Returns an array of images as uint8 pixels of shape (N, C, H, W).

    Arguments:
        array: Shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels; uint8, bool, or floating point in [0, 1].
        name: Its name in error messages.

    Raises:
        DataError: If the shape or the values are not among these.
    """
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or not ({1, 3} & {array.shape[1], array.shape[3]}):
        raise DataError(f"{name}: images have shape (N, H, W), (N, C, H, W) or (N, H, W, C), got {array.shape}")
    if array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if array.dtype == np.bool_:
        return np.where(array, np.uint8(255), np.uint8(0))
    if np.issubdtype(array.dtype, np.floating) and array.size and array.min() >= 0 and array.max() <= 1:
        pixels: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
        return pixels
    raise DataError(f"{name}: pixels are uint8, bool, or floating point between 0 and 1, got {array.dtype} beyond that")
