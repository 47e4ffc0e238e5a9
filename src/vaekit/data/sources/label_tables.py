"""Tables of labels beside images, as ``labels.csv``: a column with the name of each image, and a column with its class.

Which column holds the names is found by comparing it with the images: a name is a path relative to the folder, a file name,
or one without its suffix. Classes are text, so that ``001`` and ``None`` are classes as they are written.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.sources.columns import LABELS, label_column
from vaekit.data.sources.labels import label_values
from vaekit.data.sources.lists import FileList, read_list
from vaekit.data.sources.source import RawSplit

STEMS = ("labels", "label", "annotations", "train_labels", "trainlabels", "classes")
"""The names of tables of labels in a folder of images, without suffixes."""
TABLES = (".csv", ".tsv")
"""The suffixes of tables of labels."""
LISTS = (".txt",)
"""The suffixes of lists of images and labels without columns."""
NUM_COMPARED = 200
"""The number of rows by which the column of names is found."""


def with_label_table(name: str, root: Path, splits: dict[str, RawSplit]) -> dict[str, RawSplit]:
    """Returns the splits of a folder with the labels of its table; unchanged if it has none, or one that labels no split.

    Arguments:
        name: The name of the folder in messages.
        root: The folder.
        splits: The splits, whose images are files of the folder.
    """
    path = _table_in(root)
    if path is None:
        return splits
    images = {split: [file for file in raw.images if isinstance(file, Path)] for split, raw in splits.items()}
    found = _labels(path, root, [file for files in images.values() for file in files])
    if not found:
        notify(f"{name}: {path.name} labels none of the images, so it is not read; {_advice()}")
        return splits
    values: dict[str, list[Any]] = {split: [found.get(file) for file in files] for split, files in images.items()}
    labels, classes = label_values(name, f"label in {path.name}", values)
    if not labels:
        return splits
    return {split: RawSplit(raw.images, labels.get(split), classes, path.name) for split, raw in splits.items()}


class LabelTable(FileList):
    """A table of images and their labels, ``.csv`` or ``.tsv``, beside the images or above them.

    Raises:
        DataError: If it names no images.
    """

    def lines(self) -> list[tuple[Path, str | None]]:
        """Returns the path and the class in each row."""
        rows, root = _rows(self.path), self.path.parent
        column = next((n for n in range(_width(rows)) if _is_path(root, rows, n)), None)
        if column is None:
            raise DataError(f"{self.path}: none of its columns names images beside it; give the folder of the images")
        has_header = not _is_path(root, rows[:1], column)
        label = _label_column(rows[0] if has_header else None, _width(rows), column)
        rows = [row for row in rows[has_header:] if len(row) > column]
        return [(root / row[column], row[label] if label is not None and len(row) > label else None) for row in rows]


def _table_in(root: Path) -> Path | None:
    """The table of labels of a folder."""
    names = [stem + suffix for suffix in TABLES + LISTS for stem in STEMS]
    try:
        held = {path.name.casefold(): path for path in root.iterdir() if path.suffix.lower() in TABLES + LISTS}
    except OSError:
        return None
    return next((held[name] for name in names if name in held and held[name].is_file()), None)


def _labels(path: Path, root: Path, images: Sequence[Path]) -> dict[Path, str]:
    """The label of each image that a table names."""
    known = _names(root, images)
    try:
        if path.suffix.lower() in LISTS:
            return {known[key]: label for key, label in _listed(path) if key in known}
        rows = _rows(path)
    except DataError:
        return {}
    counts = {n: sum(len(row) > n and row[n] in known for row in rows[:NUM_COMPARED]) for n in range(_width(rows))}
    column = max(counts, key=lambda n: counts[n], default=None)
    if column is None or not counts[column]:
        return {}
    has_header = len(rows[0]) > column and rows[0][column] not in known
    label = _label_column(rows[0] if has_header else None, _width(rows), column)
    if label is None:
        return {}
    rest = [row for row in rows[has_header:] if len(row) > max(label, column)]
    if num_unknown := sum(row[column] not in known for row in rest):
        notify(f"{path}: {num_unknown:,} of {len(rest):,} rows name no image")
    return {known[row[column]]: row[label] for row in rest if row[column] in known and row[label]}


def _listed(path: Path) -> list[tuple[str, str]]:
    """The names and labels in a list."""
    lines = [(image, label) for image, label in FileList(path).lines() if label is not None]
    return [(os.path.relpath(image, path.parent), label) for image, label in lines]


def _label_column(header: Sequence[str] | None, width: int, names: int) -> int | None:
    """The column of labels: by its name, or the only one beside that of the names."""
    if header is not None and (label := label_column(cell for n, cell in enumerate(header) if n != names)) is not None:
        return list(header).index(label)
    return 1 - names if width == 2 else None


def _names(root: Path, images: Sequence[Path]) -> dict[str, Path]:
    """The images by each name that means one of them only."""
    counts, known = Counter[str](), dict[str, Path]()
    for image in images:
        relative = image.relative_to(root)
        for name in {relative.as_posix(), str(relative.with_suffix("").as_posix()), image.name, image.stem}:
            counts[name] += 1
            known[name] = image
    return {name: image for name, image in known.items() if counts[name] == 1}


def _rows(path: Path) -> list[list[str]]:
    """The rows of a table, whose cells have no spaces around them.

    Raises:
        DataError: If it is not a table.
    """
    text = read_list(path)
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    except csv.Error as error:
        raise DataError(f"{path}: not a table that can be read ({error})") from None
    return [row for row in rows if any(row)]


def _width(rows: Sequence[Sequence[str]]) -> int:
    """The number of columns."""
    return max(map(len, rows[:NUM_COMPARED]), default=0)


def _is_path(root: Path, rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column of one of the first rows names a file."""
    for row in rows[:2]:
        try:
            if len(row) > column and row[column] and (root / row[column]).is_file():
                return True
        except (OSError, ValueError):
            continue
    return False


def _advice() -> str:
    return f"give it two columns, the name of an image and its class, or name the column of classes {LABELS[0]!r}"
