"""Which arrays of a ``.npz`` file are images and labels, by their names and headers.

A name is a word for images or labels, with or without the name of a split before or behind it: ``imgs``, ``x_train``,
``train_images``, ``val_labels``. A split's name alone, ``train``, names its images.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.core.safe_text import listing
from vaekit.data.npy_header import NpyHeader
from vaekit.data.sources.folder_rules import SPLITS

IMAGE_WORDS = ("images", "image", "imgs", "img", "x", "data", "pixels", "samples", "arr_0")
"""The names of images; the first that a file has is used."""
LABEL_WORDS = ("labels", "label", "y", "targets", "target", "arr_1")
"""The names of labels, likewise. Those of ``x`` are ``y`` if there is one."""
PAIRED = {"x": "y", "arr_0": "arr_1"}
"""The labels that belong to images of a name."""
NAMES_SPLITS = ("images", "x", "labels", "y")
"""The words behind which any other name is that of a split, as in ``x_monday``."""
POSITIONAL = "arr_1"
"""The second array of a file whose arrays have no names, which may be anything."""
IMAGE_DIMENSIONS = (3, 4)
"""The numbers of dimensions of an array of images."""


@dataclass(frozen=True)
class ArrayPair:
    """The name of the images of a split, and the name of their labels or None."""

    images: str
    labels: str | None


def choose_arrays(headers: Mapping[str, NpyHeader | str], name: str) -> dict[str, ArrayPair]:
    """Returns the images and labels of each split.

    Arguments:
        headers: The header of each array by its name, or the reason why it cannot be read.
        name: The name of the file in messages.

    Raises:
        DataError: If no array has the name of images.
    """
    images, labels = dict[str, dict[str, str]](), dict[str, dict[str, str]]()
    for key in headers:
        if (found := _kind(key)) is not None:
            kind, word, split = found
            (images if kind == "images" else labels).setdefault(split, {}).setdefault(word, key)
    if not images:
        raise DataError(
            f"{name}: holds {listing(list(headers)) or 'nothing'}; name the images 'images' and their labels 'labels'"
        )
    chosen = {}
    for split, words in images.items():
        word = _first_images(words, headers)
        is_sure = split in SPLITS.values() and words[word].lower() not in SPLITS
        if len(images) > 1 and not is_sure and not _is_images(headers[words[word]]):
            continue  # x_mean beside x_train is no split, nor is a number that is called test
        chosen[split] = ArrayPair(words[word], _labels_of(words[word], word, labels.get(split, {}), headers))
    return chosen


def _first_images(words: Mapping[str, str], headers: Mapping[str, NpyHeader | str]) -> str:
    """The first word whose array has the shape of images, else the first, whose fault is then reported."""
    ordered = sorted(words, key=IMAGE_WORDS.index)
    return next((word for word in ordered if _is_images(headers[words[word]])), ordered[0])


def _labels_of(key: str, word: str, labels: Mapping[str, str], headers: Mapping[str, NpyHeader | str]) -> str | None:
    """The labels of images with this key and word."""
    ordered = sorted(labels, key=lambda other: (other != PAIRED.get(word), LABEL_WORDS.index(other)))
    for other in ordered:
        if other != POSITIONAL or _is_one_per_image(headers[labels[other]], headers[key]):
            return labels[other]
    return None


def _is_images(header: NpyHeader | str) -> bool:
    return isinstance(header, NpyHeader) and len(header.shape) in IMAGE_DIMENSIONS and header.dtype.kind in "biuf"


def _is_one_per_image(labels: NpyHeader | str, images: NpyHeader | str) -> bool:
    """Whether an array is a vector of classes, with as many as there are images."""
    if isinstance(labels, str) or isinstance(images, str):
        return False
    return labels.shape == images.shape[:1] and labels.dtype.kind in "biuSU"


def _kind(key: str) -> tuple[str, str, str] | None:
    """What a key names: ``images`` or ``labels``, the word that says so, and the split; None for anything else."""
    for word, split in _readings(key):
        if word in IMAGE_WORDS:
            return "images", word, split
        if word in LABEL_WORDS:
            return "labels", word, split
    return None


def _readings(key: str) -> Iterable[tuple[str, str]]:
    """The ways to read a key as a word and a split; the split is ``train`` if the key names none."""
    words = re.sub(r"[-. ]", "_", key.lower())
    yield words, "train"
    if words in SPLITS:
        yield "images", SPLITS[words]
    before, _, after = words.partition("_")
    if before in SPLITS:
        yield after, SPLITS[before]
    head, _, tail = words.rpartition("_")
    if tail in SPLITS:
        yield head, SPLITS[tail]
    for split in sorted(SPLITS, key=len, reverse=True):  # trainX, testlabels
        if words.startswith(split):
            yield words.removeprefix(split), SPLITS[split]
    word, _, name = key.partition("_")
    if word in NAMES_SPLITS:
        yield word, name or "train"


def report_left_out(headers: Mapping[str, NpyHeader | str], chosen: Mapping[str, ArrayPair], name: str) -> None:
    """Prints which arrays of a file are read and which are not, if some are not."""
    used = [key for pair in chosen.values() for key in (pair.images, pair.labels) if key is not None]
    rest = [
        key if isinstance(header, NpyHeader) else _unread(key, header) for key, header in headers.items() if key not in used
    ]
    if rest:
        notify(f"{name}: reads {listing(used)}; leaves out {listing(rest)}")


def _unread(key: str, reason: str) -> str:
    """An array that cannot be read, with the beginning of the reason."""
    return f"{key}: {reason.partition(';')[0].partition(',')[0]}"


def one_label_each(values: NDArray[Any]) -> NDArray[Any] | None:
    """Returns the class of each image of labels of shape (N, K) in which one column is 1 and the others 0, else None."""
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all() or not (values.sum(axis=1) == 1).all():
        return None
    return np.asarray(values.argmax(axis=1))
