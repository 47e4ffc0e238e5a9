"""Metadata of a folder of images: ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet``, as on the Hub.

Each row names an image by ``file_name``, relative to the folder of the metadata, and may give its class in ``label`` or a
column of that meaning (:mod:`vaekit.data.sources.columns`). The text of a CSV file is kept as it is: ``None``, ``NA``,
``001`` and ``0.0`` are names of classes. An empty cell is no class.
"""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.core.safe_text import listing, printable_value
from vaekit.data.sources.columns import label_column

FILE_NAME, LABEL = "file_name", "label"
"""The columns of the names of images and of their classes."""
MAX_METADATA_BYTES = 2**30
"""The largest metadata file that is read, 1 GB."""
DELIMITERS = ",;\t"
"""What separates the cells of a CSV file; the first one that finds the column of names is used."""


@dataclass(frozen=True)
class Metadata:
    """What the metadata files of a folder say, row by row.

    Arguments:
        images: The index of the image that each row names, or the path of one that is missing.
        values: The label of each; None where there is none.
        has_labels: Whether there is a column of labels.
        column: Its name.
    """

    images: list[int | str]
    values: list[Any]
    has_labels: bool
    column: str = LABEL


def read_metadata(
    name: str, tables: Sequence[tuple[Path, str]], images: Mapping[str, int], aliases: Iterable[tuple[str, int]] = ()
) -> Metadata:
    """Reads the metadata files of a folder.

    Arguments:
        name: The name of the folder in messages.
        tables: The metadata files, with their paths relative to the folder.
        images: The index of each image, by its path relative to the folder.
        aliases: Other paths by which an image may be named.

    Raises:
        DataError: If a file cannot be read, has no column of names, or names a file outside of its folder.
    """
    kinds = sorted({PurePosixPath(where).name for _, where in tables})
    if len(kinds) > 1:
        raise DataError(f"{name}: holds {' and '.join(kinds)}; keep one of them")
    find, found, values, labels = _Finder(images, aliases), list[int | str](), list[Any](), list[str]()
    for table, where in tables:
        try:
            columns, rows = _read(table)
            column = _name_column(columns)
            label = label_column(columns) or LABEL
            labels += [label] if label in columns else []
            for row in rows:
                found.append(find(_inside(row.get(column), PurePosixPath(where).parent)))
                values.append(None if row.get(label) == "" else row.get(label))
        except Exception as error:  # json, csv and pyarrow raise errors of any kind
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
            raise DataError(f"{name}: no images by {where} ({reason})") from None
    return Metadata(found, values, bool(labels), labels[0] if labels else LABEL)


def notify_unnamed(name: str, metadata: Metadata, images: Sequence[str], tables: Iterable[str]) -> None:
    """Says in a line which images metadata does not name, since they are left out.

    Arguments:
        name: The name of the folder.
        metadata: The metadata.
        images: The names of the images.
        tables: The names of the metadata files.
    """
    named = set(metadata.images)
    unnamed = [image for index, image in enumerate(images) if index not in named]
    if unnamed:
        notify(
            f"{name}: {len(unnamed):,} of {len(images):,} images are not named in {', '.join(tables)} and are left out: "
            f"{listing(unnamed, 3)}"
        )


class _Finder:
    """Finds an image by the path in a table: exactly, in another Unicode form, without its suffix, or by an alias."""

    def __init__(self, images: Mapping[str, int], aliases: Iterable[tuple[str, int]]) -> None:
        self.exact = images
        self.aliases = _unique((unicodedata.normalize("NFC", path), index) for path, index in aliases)
        self.normal = _unique((unicodedata.normalize("NFC", path), index) for path, index in images.items())
        self.stems = _unique((path.rpartition(".")[0], index) for path, index in self.normal.items())

    def __call__(self, path: str) -> int | str:
        """Returns the index of an image, or its path if there is no such image."""
        normal = unicodedata.normalize("NFC", path)
        places = ((self.exact, path), (self.normal, normal), (self.stems, normal), (self.aliases, normal))
        return next((known[key] for known, key in places if key in known), path)


def _unique(pairs: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    """The values of the keys that occur once."""
    found: dict[str, int | None] = {}
    for key, value in pairs:
        found[key] = None if key in found else value
    return {key: value for key, value in found.items() if value is not None}


def _name_column(columns: Iterable[str]) -> str:
    """The column that names images.

    Raises:
        ValueError: If there is none.
    """
    named = [column for column in columns if column == FILE_NAME or column.endswith(f"_{FILE_NAME}")]
    if not named:
        raise ValueError(f"it has no column {FILE_NAME}, its columns are: {listing(columns) or 'none'}")
    return FILE_NAME if FILE_NAME in named else named[0]


def _inside(value: object, folder: PurePosixPath) -> str:
    """The path of an image, relative to the root.

    Raises:
        ValueError: If it is no path within the folder.
    """
    text = value if isinstance(value, str) else ""
    path = os.path.normpath(text.replace("\\", "/"))
    if not text or "://" in text or "\0" in text or os.path.isabs(path) or path == ".." or path.startswith("../"):
        raise ValueError(f"{FILE_NAME} is {printable_value(value)}, which is no file in its folder")
    return str(folder / path)


def _read(table: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The columns and the rows of a metadata file."""
    if table.stat().st_size > MAX_METADATA_BYTES:
        raise ValueError(f"it has more than {MAX_METADATA_BYTES / 1e9:.0f} GB")
    if table.suffix.lower() == ".parquet":
        return _read_parquet(table)
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text; save it as UTF-8") from None
    return _read_csv(text) if table.suffix.lower() == ".csv" else _read_lines(text)


def _read_csv(text: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
    first = text.partition("\n")[0]
    delimiter = next((char for char in DELIMITERS if any(map(_is_name, _cells(first, char)))), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = next(lines, [])
        cells = [line for line in lines if line]
    except csv.Error as error:
        raise ValueError(f"it is no CSV table, {error}") from None
    for number, line in enumerate(cells):
        if len(line) != len(columns):
            raise ValueError(f"row {number + 1} has {len(line)} cells, and the header has {len(columns)}")
    return columns, (dict(zip(columns, line, strict=True)) for line in cells)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _is_name(column: str) -> bool:
    return column == FILE_NAME or column.endswith(f"_{FILE_NAME}")


def _read_lines(text: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The rows of a file with a JSON object in each line."""
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("it has a line that is no JSON object")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return columns, iter(rows)


def _read_parquet(table: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    from pyarrow import parquet  # type: ignore[import-untyped]  # heavy; needed only if the images are not in the cache

    columns = list(parquet.read_schema(table).names)
    wanted = [column for column in columns if _is_name(column) or column == label_column(columns)]
    return columns, iter(parquet.read_table(table, columns=wanted).to_pylist())
