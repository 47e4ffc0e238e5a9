"""Tables as CSV or parquet, and arrays for NumPy.

Numbers are written without rounding, so that reading a file gives equal values, bit for bit; unless a number of significant
digits is asked for, which applies to CSV, where people read them.

In CSV, text that a spreadsheet would take for a formula, as the name of a file or a class may be, begins with an apostrophe,
and control characters are escapes (:func:`vaekit.core.safe_text.spreadsheet_text`); parquet and arrays hold it unchanged.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import track, working
from vaekit.core.safe_text import one_line, spreadsheet_text, valid_unicode

TABLES = (".csv", ".parquet")
"""The suffixes of tables."""
ARRAYS = ".npz"
"""The suffix of several arrays in one file."""
MAX_REASON = 200
"""The length to which the reason of an error of a library is cut."""
CHUNK_SIZE = 1_000
"""The number of rows that are written between two steps of a progress bar."""

Columns = Mapping[str, Sequence[object] | NDArray[Any]]
"""Columns of one length by name; None is an empty cell."""


def check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """Checks that a path has one of the supported suffixes.

    Raises:
        DataError: If it has none of them.
    """
    if path.suffix.lower() not in suffixes:
        supported = " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
        raise DataError(f"{path}: cannot be written in this format; end it in {supported}")


def check_writable(path: Path) -> None:
    """Checks that a file can be written, before a long computation of its content.

    Raises:
        DataError: If it cannot be written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        folder = next(parent for parent in path.parents if parent.exists())  # others are made when the file is written
        probe = folder / f".{path.stem}-partial{path.suffix}"
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def write_table(columns: Columns, path: Path, digits: int | None = None) -> None:
    """Writes columns as CSV with a header, or as parquet, depending on the suffix of the path.

    Arguments:
        columns: The columns.
        path: The file.
        digits: The significant digits of floating-point numbers in CSV; None for all. Parquet always has all.

    Raises:
        DataError: If the suffix is not supported.
    """
    check_suffix(path, TABLES)
    if path.suffix.lower() == ".parquet":
        _write_parquet(columns, path)
    else:
        _write_csv(columns, path, digits)


def read_table(path: Path) -> dict[str, list[Any]]:
    """Reads the columns of a table that :func:`write_table` wrote; cells of CSV are text, and stay as they are written.

    Raises:
        DataError: If there is no such table, its suffix is not supported, or it is damaged.
    """
    check_suffix(path, TABLES)
    if not path.is_file():
        raise DataError(f"{path}: no such table; vae score writes one")
    try:
        return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (OSError, ValueError, csv.Error) as error:  # what pyarrow raises is one of the first two
        raise DataError(
            f"{path}: not a table that can be read ({one_line(str(error), MAX_REASON)}); write it again"
        ) from None


def _read_csv(path: Path) -> dict[str, list[Any]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if len(set(header)) < len(header) or any(len(row) != len(header) for row in rows):
        raise ValueError("its rows have not one cell for each column")
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]

    columns: dict[str, list[Any]] = pyarrow.parquet.read_table(path).to_pydict()
    return columns


def write_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Writes arrays by name to one file, which ``numpy.load`` reads without pickle."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _write_csv(columns: Columns, path: Path, digits: int | None) -> None:
    num = len(next(iter(columns.values())))
    # The name of a file may hold bytes that are not UTF-8; they are written unchanged.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        starts = range(0, num, CHUNK_SIZE)
        for start in track(starts, f"writing {num:,} rows", len(starts)):
            cells = [_csv_cells(column[start : start + CHUNK_SIZE], digits) for column in columns.values()]
            writer.writerows(zip(*cells, strict=True))


def _csv_cells(column: Sequence[object] | NDArray[Any], digits: int | None) -> Sequence[object] | NDArray[Any]:
    """The cells of a column, without text that a spreadsheet takes for a formula, and with rounded numbers."""
    if isinstance(column, np.ndarray):
        column = column if digits is None else column.tolist()
    return column if isinstance(column, np.ndarray) else [_csv_cell(cell, digits) for cell in column]


def _csv_cell(cell: object, digits: int | None) -> object:
    if isinstance(cell, str):
        return spreadsheet_text(cell)
    return float(f"{cell:.{digits}g}") if isinstance(cell, float) and digits is not None else cell


def _write_parquet(columns: Columns, path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    with working("writing parquet"):
        table = pyarrow.table({key: _valid_unicode(column) for key, column in columns.items()})
        pyarrow.parquet.write_table(table, path)


def _valid_unicode(column: Sequence[object] | NDArray[Any]) -> Sequence[object] | NDArray[Any]:
    """The column with valid Unicode, which parquet requires and the names of files may not be."""
    if isinstance(column, np.ndarray):
        return column
    return [valid_unicode(cell) if isinstance(cell, str) else cell for cell in column]
