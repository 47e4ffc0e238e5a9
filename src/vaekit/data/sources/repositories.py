"""Folders in the layout of a Hugging Face Hub repository: configurations, splits and columns, read by ``datasets``.

Images stay encoded: a split holds their bytes or paths, with labels if a column holds classes.
"""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.sources.archive_limits import check_packed
from vaekit.data.sources.arrow_limits import check_arrow
from vaekit.data.sources.columns import declare_images, undeclared_labels
from vaekit.data.sources.json_limits import check_json
from vaekit.data.sources.parquet_limits import check_parquet
from vaekit.data.sources.source import RawSplit, raise_if_disk_full

PACKED_SUFFIXES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"))
"""The suffixes of archives in which a folder in the Hub's layout may pack its images."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""The split that a word in the name of a folder stands for, as on the Hub."""

JSON_SUFFIXES = frozenset((".json", ".jsonl", ".ndjson"))
"""The suffixes of files of JSON."""
MAX_CLASSES = 1000
"""The largest number of different values in a column of labels that are classes; more are numbers or captions."""


def load_splits(name: str, root: Path, scratch: Path, advice: str, /, *args: str, **options: Any) -> dict[str, RawSplit]:
    """Reads the splits of a data set by ``datasets``; images stay encoded.

    Arguments:
        name: The name of the data set in error messages.
        root: Its folder; images elsewhere are not read.
        scratch: A temporary folder for what ``datasets`` writes.
        advice: The end of the error message, which says what to check.
        args: The positional arguments of ``datasets.load_dataset``.
        options: Its keyword arguments.

    Raises:
        DataError: If it holds no images.
    """
    import datasets  # heavy, and only needed if the images are not in the cache

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its errors are raised, and reported here
    try:
        data = datasets.load_dataset(*args, cache_dir=str(scratch), **options)
    except Exception as error:  # its builders raise errors of any kind
        raise_if_disk_full(error)
        raise DataError(f"{name}: no images, and no data set in the hub's layout ({one_line(error)}){advice}") from None
    return read_tables(name, data, (root, scratch))


def read_tables(name: str, data: Mapping[Any, Any], folders: Sequence[Path] | None) -> dict[str, RawSplit]:
    """Reads the splits of tables of ``datasets``; images stay encoded.

    Arguments:
        name: The name of the data set in error messages.
        data: The table of each split.
        folders: The folders in which images may be that the tables name by their paths; None for any.

    Raises:
        DataError: If they hold no images.
    """
    column, tables = declare_images({str(split): table for split, table in data.items() if len(table)})
    features = next(iter(tables.values())).features if tables else {}
    if column is None:
        raise DataError(f"{name}: no images (columns: {', '.join(features) or 'none'})")
    labels, classes = _read_labels(name, tables, features)
    cells = {split: _cells(table, column) for split, table in tables.items()}
    for images in cells.values() if folders is not None else ():
        images.check_paths(name, folders or ())
    return {split: RawSplit(images, labels.get(split), classes) for split, images in cells.items()}


def check_files(name: str, root: Path, files: list[Path], scratch: Path) -> None:
    """Checks the files of a folder before ``datasets`` opens or unpacks them.

    Arguments:
        name: The name of the folder in error messages.
        root: The folder.
        files: The files.
        scratch: The folder that they would be unpacked to.

    Raises:
        DataError: If one is not a regular file, on which it could wait forever, or expands too much.
    """
    for file in files:
        where = f"{name}: {file.relative_to(root)}" if file != root else name
        if os.path.lexists(file) and not os.path.isfile(file):
            raise DataError(f"{where}: not a regular file, or a link to nothing; remove it")
        suffix = file.suffix.lower()
        try:
            if suffix in PACKED_SUFFIXES:
                check_packed(file, scratch)
            elif suffix == ".parquet":
                check_parquet(file, scratch)
            elif suffix == ".arrow":
                check_arrow(file)
            elif suffix in JSON_SUFFIXES:
                check_json(file)
        except Exception as error:  # archives and parquet files raise errors of any kind
            raise_if_disk_full(error)
            raise DataError(f"{where}: cannot be read safely ({one_line(error)})") from None


def one_line(error: BaseException) -> str:
    """Returns the message of another package's error, or of what caused it, in a line of at most 160 characters."""
    cause = error.__cause__ or error
    reason = " ".join(str(getattr(cause, "strerror", None) or cause).split())
    return (reason or type(cause).__name__)[:160]


def datasets_path(folder: Path) -> str:
    """Returns the path of a folder for ``datasets``.

    Raises:
        DataError: If ``datasets`` would read the name, as in ``holiday [2024]``, as a pattern.
    """
    if glob.has_magic(str(folder.resolve())):
        raise DataError(f"{folder}: a folder in the hub's layout cannot have *, ? or [ in its path; rename it")
    return str(folder)


def find_split(folders: Sequence[str]) -> tuple[int, str] | None:
    """Returns the index of the first of an image's folders that is named as a split, and that split; or None."""
    for index, folder in enumerate(folders):
        for word in re.split(r"[\W\d_]+", folder.casefold()):
            if word in SPLITS:
                return index, SPLITS[word]
    return None


@dataclass(frozen=True)
class _Cells(Sequence[Any]):
    """The cells of an Arrow column of encoded images, each of which holds bytes or a path."""

    column: Any

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        cell = self.column[index].as_py() or {"bytes": None, "path": None}
        if cell["bytes"] is None and cell["path"]:
            return Path(cell["path"])
        return cell["bytes"] or b""  # no image, which is reported as such

    @property
    def paths(self) -> list[Path | None]:
        """The path in each cell, without reading its image."""
        cells = (cell for chunk in self.column.chunks for cell in chunk.field("path").to_pylist())
        return [Path(cell) if cell else None for cell in cells]

    def check_paths(self, name: str, folders: Sequence[Path]) -> None:
        """Raises DataError if the file of an image is in none of these folders."""
        known = tuple(os.path.join(path, "") for folder in folders for path in (os.path.abspath(folder), folder.resolve()))
        for chunk in self.column.chunks:
            outside = chunk.field("path").filter(chunk.field("bytes").is_null()).drop_null().to_pylist()
            for path in outside:
                if "::" in path:  # datasets names it zip://IMAGE::ARCHIVE
                    archive = Path(path.split("::")[-1]).name
                    raise DataError(f"{name}: its images are in {archive}; unpack that archive first")
                if path and not os.path.abspath(path).startswith(known):
                    raise DataError(f"{name}: refers to {path[:100]}, which is not in its folder; add the image itself")


def _cells(table: Any, column: str) -> _Cells:
    """The encoded images in a column of a table of ``datasets``."""
    import datasets

    encoded = table.cast_column(column, datasets.Image(decode=False)).with_format("arrow")
    return _Cells(encoded[:][column])  # chunks that are memory-mapped; joining them would copy them to memory


def _read_labels(name: str, tables: dict[str, Any], features: Any) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """The labels of the splits in which every image has one, and the names of the classes."""
    import datasets

    declared = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    column = declared[0] if declared else undeclared_labels(features)
    if column is None:
        return {}, ()
    cells = {split: table.with_format("arrow")[:][column].to_pylist() for split, table in tables.items()}
    if declared:  # the Hub writes -1 for a label that is not published
        cells = {split: [None if value == -1 else value for value in values] for split, values in cells.items()}
        classes = tuple(str(name) for name in features[column].names)
        if all(find_split([label]) for label in classes):  # images directly in train/ and test/ are no classes
            return {}, ()
        indices = {index: index for index in range(len(classes))}
    else:
        known = sorted({value for values in cells.values() for value in values if value is not None})
        if len(known) > MAX_CLASSES:
            return {}, ()
        classes = tuple(str(value) for value in known)
        indices = {value: index for index, value in enumerate(known)}
    labels = {}
    unknown = {value for values in cells.values() for value in values} - {None, *indices}
    if unknown:
        raise DataError(f"{name}: the column {column} holds {min(unknown)}, but only {len(classes)} classes are declared")
    for split, values in cells.items():
        num_missing = sum(value is None for value in values)
        if not num_missing:
            labels[split] = np.array([indices[value] for value in values], np.int64)
        elif num_missing < len(values):
            notify(f"{name}: {num_missing:,} of {len(values):,} images in {split} have no {column}; the split has no labels")
    return labels, classes if labels else ()
