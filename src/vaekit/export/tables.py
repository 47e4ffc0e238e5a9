"""Tables of images, a row each, written so that others can read them: CSV, parquet, or arrays of NumPy.

Numbers are written as they are: what is read back is equal, bit for bit.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import track, working
from vaekit.data import ImageSet
from vaekit.evaluation.latents.encodings import Encodings
from vaekit.evaluation.likelihood.scores import Scores

TABLES = (".csv", ".parquet")
"""How a file ends that holds a table."""
ARRAYS = ".npz"
"""How a file ends that holds arrays of several shapes."""
BLOCK = 1_000
"""How many rows are written between two steps of a bar."""

Columns = Mapping[str, Sequence[object] | NDArray[Any]]
"""Columns of one length by name; None is an empty cell."""


@dataclass(frozen=True)
class Scored:
    """A set of N images and their scores.

    Arguments:
        images: The images.
        rows: The number of each in the split that it was taken from, with shape (N).
        scores: What the model says of them.
        center: The mean of log p(x) over training images, where there are any.
    """

    images: ImageSet
    rows: Tensor
    scores: Scores
    center: float | None = None

    @property
    def values(self) -> dict[str, Tensor]:
        """The scores by name, each with shape (N); lower is odder."""
        found = {name: getattr(self.scores, name) for name in ("log_px", "elbo", "ratio", "waic")}
        return found if self.center is None else found | {"typicality": self.scores.typicality(self.center)}


def check_suffix(path: Path, known: Sequence[str]) -> None:
    """Raises DataError if a path ends in none of the suffixes that can be written."""
    if path.suffix.lower() not in known:
        raise DataError(f"{path}: cannot be written in this format; end it in {', '.join(known[:-1])} or {known[-1]}")


def check_place(path: Path) -> None:
    """Finds out whether a file can be written, before much time is spent on what it is to hold.

    Raises:
        DataError: If it cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        probe = path.with_name(f".{path.stem}-partial{path.suffix}")
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def write_table(columns: Columns, path: Path) -> None:
    """Writes columns as CSV with a line of names, or as parquet, by the suffix of the path.

    Raises:
        DataError: If the suffix is another.
    """
    check_suffix(path, TABLES)
    if path.suffix.lower() == ".parquet":
        _write_parquet(columns, path)
    else:
        _write_csv(columns, path)


def image_names(images: ImageSet, rows: Tensor | None = None) -> list[str]:
    """Returns what each image is called: its file where the source has files, else its number, which ``rows`` may give."""
    numbers = range(len(images)) if rows is None else rows.tolist()
    return list(images.names) or [f"image {number}" for number in numbers]


def class_columns(images: ImageSet) -> dict[str, Sequence[object]]:
    """Returns the columns ``label`` and ``class`` of a set, the number and the name; empty cells where it has no labels."""
    if images.labels is None:
        return {"label": [None] * len(images), "class": [None] * len(images)}
    labels, names = images.labels.tolist(), images.class_names
    return {"label": labels, "class": [names[label] if label < len(names) else str(label) for label in labels]}


def in_order(sets: Sequence[Scored], by: str) -> Tensor:
    """Returns the places of all images, of one set after the other, from the lowest score up."""
    return torch.cat([one.values[by] for one in sets]).argsort(stable=True)


def scores_as_columns(sets: Sequence[Scored], order: Tensor) -> Columns:
    """Returns a row for each image in an order of them all.

    The columns are ``rank`` from 1, ``name``, ``data`` and ``row`` (the set that it is of, and its number there), ``label``
    and ``class`` (where there are labels), then numbers in nats: ``log_px`` with its ``standard_error``, ``elbo``,
    ``variance`` of the log weights, ``complexity`` and the corrections that
    :mod:`vaekit.evaluation.likelihood.scores` describes.
    """
    places, columns = order.tolist(), dict[str, Sequence[object]]()
    for one in sets:
        own: dict[str, Sequence[object]] = {
            "name": image_names(one.images, one.rows),
            "data": [one.images.name] * len(one.images),
        }
        own |= {"row": one.rows.tolist()} | class_columns(one.images)
        numbers = one.values | {key: getattr(one.scores, key) for key in ("standard_error", "variance", "complexity")}
        for key in ("log_px", "standard_error", "elbo", "variance", "complexity", "ratio", "waic", "typicality"):
            own |= {key: numbers[key].tolist()} if key in numbers else {}
        columns = {key: [*columns.get(key, ()), *column] for key, column in own.items()}
    if all(one.images.labels is None for one in sets):
        del columns["label"], columns["class"]
    ranks = range(1, len(places) + 1)
    return {"rank": ranks} | {key: [column[place] for place in places] for key, column in columns.items()}


def oddest(sets: Sequence[Scored], places: Tensor, by: str) -> tuple[Tensor, list[str]]:
    """Returns the images at places among those of all sets, and of each its score and, if there are several, its set."""
    values, ends = torch.cat([one.values[by] for one in sets]), np.cumsum([len(one.images) for one in sets])
    images, captions = [], []
    for place in places.tolist():
        index = int(np.searchsorted(ends, place, side="right"))
        one = sets[index].images
        images.append(one.gather(torch.tensor([place - int(ends[index]) + len(one)])))
        captions.append(f"{values[place]:,.1f}" + (f" {one.name}" if len(sets) > 1 else ""))
    return torch.cat(images), captions


def encodings_as_columns(codes: Encodings, images: ImageSet) -> Columns:
    """Returns the columns ``name``, ``label`` and ``class`` (where there are labels), ``mean_0`` ..., ``stddev_0`` ..."""
    classes = {} if images.labels is None else class_columns(images)
    numbers = {"mean": codes.means.numpy(), "stddev": codes.stddevs.numpy()}
    parts = {f"{key}_{place}": column for key, array in numbers.items() for place, column in enumerate(array.T)}
    return {"name": image_names(images), **classes, **parts}


def encodings_as_arrays(codes: Encodings, images: ImageSet) -> dict[str, NDArray[Any]]:
    """Returns ``means`` and ``stddevs`` of shape (N, D), ``names``, and ``labels`` and ``classes`` where there are any.

    ``names`` has shape (N), ``labels`` are int64 of shape (N), and ``classes[label]`` is the name of a class.
    """
    arrays = {"means": codes.means.numpy(), "stddevs": codes.stddevs.numpy(), "names": np.array(image_names(images))}
    if images.labels is None:
        return arrays
    return arrays | {"labels": images.labels.cpu().numpy(), "classes": np.array(images.class_names)}


def write_encodings(codes: Encodings, images: ImageSet, path: Path) -> None:
    """Writes the codes of a set of images as a table, or as arrays that ``numpy.load`` reads without pickle.

    Raises:
        DataError: If the suffix of the path is none of ``.csv``, ``.parquet`` and ``.npz``.
    """
    check_suffix(path, (*TABLES, ARRAYS))
    if path.suffix.lower() == ARRAYS:
        with path.open("wb") as file:
            arrays: dict[str, Any] = encodings_as_arrays(codes, images)
            np.savez(file, **arrays)
    else:
        write_table(encodings_as_columns(codes, images), path)


def _write_csv(columns: Columns, path: Path) -> None:
    num = len(next(iter(columns.values())))
    # A file's name may be bytes that are no UTF-8; they are written as they are.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        starts = range(0, num, BLOCK)
        for start in track(starts, f"writing {num:,} rows", len(starts)):
            writer.writerows(zip(*(column[start : start + BLOCK] for column in columns.values()), strict=True))


def _write_parquet(columns: Columns, path: Path) -> None:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    with working("writing parquet"):
        pyarrow.parquet.write_table(pyarrow.table({key: _clean(column) for key, column in columns.items()}), path)


def _clean(column: Sequence[object] | NDArray[Any]) -> Sequence[object] | NDArray[Any]:
    """A column whose words are valid Unicode, which parquet wants and names of files may not be."""
    if isinstance(column, np.ndarray):
        return column
    return [cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell for cell in column]
