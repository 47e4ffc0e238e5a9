"""Labels: values of any type become class numbers, and the names of the classes.

Classes are numbered in natural order: digits within names are compared as numbers, so ``2`` is before ``10``, and ``img9``
before ``img10``; other characters are compared by their code points. Names are text in the Unicode form NFC, so that the two
ways of writing an accented letter, which look the same, are one class.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.progress import notify

Labels = dict[str, NDArray[Any]]
"""The labels of each split, with shape (N)."""
MAX_CLASSES = 1000
"""The largest number of different values in a column that are classes; more are numbers or captions."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]*[1-9][0-9]*")


def class_name(value: object) -> str:
    """Returns the name of a class: the text of a value, in the Unicode form NFC."""
    return unicodedata.normalize("NFC", str(value))


def natural_key(name: str) -> tuple[Any, ...]:
    """Returns the key that sorts names in natural order; numbers below 0 come first."""
    if re.fullmatch(r"-[0-9]+", name):
        digits = name[1:].lstrip("0")
        return (0, -len(digits), [-int(digit) for digit in digits], name)
    parts = re.split(r"([0-9]+)", name)  # text and digits in turn; the length of digits comes first, since they may be long
    numbers = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    return (1, parts[0], [value for pair in zip(numbers, parts[2::2], strict=True) for value in pair], name)


def numbered(names: dict[str, list[str]]) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Returns the class of each image, and the names of the classes of all splits in natural order.

    Arguments:
        names: The name of each image's class, for each split.
    """
    classes = tuple(sorted({name for split in names.values() for name in split}, key=natural_key))
    labels = {name: label for label, name in enumerate(classes)}
    return {split: np.array([labels[name] for name in values], np.int64) for split, values in names.items()}, classes


def class_indices(labels: Labels) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Returns the class of each image and the names of the classes.

    The classes are those of all splits, since a small split may lack some. Numbers are in the order of their values.

    Arguments:
        labels: Numbers or text for each split.
    """
    if not labels:
        return {}, ()
    if all(array.dtype.kind not in "USO" for array in labels.values()):
        known, inverse = np.unique(np.concatenate(list(labels.values())), return_inverse=True)
        ends = np.cumsum([len(array) for array in labels.values()])[:-1]
        return dict(zip(labels, np.split(inverse.astype(np.int64), ends), strict=True)), tuple(map(str, known))
    return numbered({split: _names(array) for split, array in labels.items()})


def label_values(
    name: str, column: str, values: dict[str, list[Any]]
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Returns the labels of the splits in which every image has one, and the names of the classes.

    There are no classes if the values are fractions, lists, or more than :data:`MAX_CLASSES` different ones.

    Arguments:
        name: The name of the source in messages.
        column: The name of the column in messages.
        values: The value of each image, for each split; None where there is none.
    """
    known = {class_name(value) for split in values.values() for value in split if value is not None}
    if reason := _why_no_classes(values, known):
        notify(f"{name}: {column} holds {reason}, which are not taken for classes")
        return {}, ()
    classes = tuple(sorted(known, key=natural_key))
    indices = {name: label for label, name in enumerate(classes)}
    cells = {
        split: [None if value is None else indices[class_name(value)] for value in split_values]
        for split, split_values in values.items()
    }
    labels = complete_labels(name, column, cells)
    return labels, classes if labels else ()


def complete_labels(name: str, column: str, labels: dict[str, list[int | None]]) -> dict[str, NDArray[np.int64]]:
    """Returns the labels of the splits in which every image has one; says in a line if only some have.

    Arguments:
        name: The name of the source in messages.
        column: The name of the column in messages.
        labels: The label of each image, for each split; None where there is none.
    """
    complete = {}
    for split, values in labels.items():
        num_missing = sum(value is None for value in values)
        if not num_missing:
            complete[split] = np.array(values, np.int64)
        elif num_missing < len(values):
            notify(f"{name}: {num_missing:,} of {len(values):,} images in {split} have no {column}; the split has no labels")
    return complete


def _why_no_classes(values: dict[str, list[Any]], known: set[str]) -> str:
    """What a column holds instead of classes; empty if it holds classes."""
    every: Sequence[Any] = [value for split in values.values() for value in split if value is not None]
    other = next((value for value in every if not isinstance(value, str | int | bool)), None)
    if isinstance(other, float):
        return f"floating-point numbers, as {other:g}"
    if other is not None:
        return f"values of type {type(other).__name__}"
    if known and all(map(_NUMBER.fullmatch, known)) and any(map(_FRACTION.fullmatch, known)):
        return f"fractions, as {min(filter(_FRACTION.fullmatch, known))}"
    return f"{len(known):,} different values, more than {MAX_CLASSES:,}" if len(known) > MAX_CLASSES else ""


def _names(labels: NDArray[Any]) -> list[str]:
    """The names of classes; byte strings are text."""
    return [class_name(label.decode("utf-8", "replace") if isinstance(label, bytes) else label) for label in labels.tolist()]
