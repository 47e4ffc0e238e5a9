"""Labels: values of any type become class numbers, and the names of the classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = dict[str, NDArray[Any]]
"""The labels of each split, with shape (N)."""


def class_indices(labels: Labels) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Returns the class of each image and the names of the classes.

    The classes are those of all splits, since a small split may lack some.

    Arguments:
        labels: Numbers or text for each split.
    """
    values = {split: _as_text(array) if array.dtype.kind == "S" else array for split, array in labels.items()}
    if not values:
        return {}, ()
    if len({array.dtype.kind in "US" for array in values.values()}) > 1:  # numbers in one split and text in another
        values = {split: array.astype(str) for split, array in values.items()}
    known, inverse = np.unique(np.concatenate(list(values.values())), return_inverse=True)
    ends = np.cumsum([len(array) for array in values.values()])[:-1]
    return dict(zip(values, np.split(inverse.astype(np.int64), ends), strict=True)), tuple(str(name) for name in known)


def _as_text(labels: NDArray[Any]) -> NDArray[Any]:
    """Byte strings as text."""
    return np.array([label.decode("utf-8", "replace") for label in labels.tolist()], str)
