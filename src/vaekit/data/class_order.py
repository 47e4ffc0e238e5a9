"""The order of classes: a model that was trained with labels keeps its own numbering of the classes.

How a source numbers its classes may change: it has one class more, or a later version sorts them in another order. The names
of the classes, which a conditional model stores, say which label is which.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import torch

from vaekit.data.dataset import AnyDataset


def in_class_order(dataset: AnyDataset, classes: Sequence[str]) -> AnyDataset:
    """Returns the data set with its labels numbered as a model numbers its classes.

    Arguments:
        dataset: The data set.
        classes: The names of the classes, by the label that the model knows. The data set stays as it is if it has no
            labels, or a class that is not among them.
    """
    known = {_normal(name): label for label, name in enumerate(classes)}
    names = [_normal(name) for name in dataset.class_names]
    if dataset.labels is None or tuple(dataset.class_names) == tuple(classes) or not set(names) <= set(known):
        return dataset
    numbers = torch.tensor([known[name] for name in names], dtype=dataset.labels.dtype)
    return replace(dataset, labels=numbers[dataset.labels], classes=tuple(classes))


def _normal(name: str) -> str:
    """A name in the Unicode form NFC, in which the same text is written in one way."""
    return unicodedata.normalize("NFC", name)
