"""Folders in the layout of a Hugging Face Hub repository: configurations, splits and columns, read by ``datasets``.

Images stay encoded: a split holds their bytes or paths, with labels if a column holds classes.
"""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.data.sources.archive_limits import check_packed
from vaekit.data.sources.arrow_limits import check_arrow
from vaekit.data.sources.columns import declare_images, label_column
from vaekit.data.sources.contents import folders_of
from vaekit.data.sources.folder_rules import SPLITS, label_by_folders
from vaekit.data.sources.json_limits import check_json
from vaekit.data.sources.labels import class_name, complete_labels, label_values
from vaekit.data.sources.parquet_limits import check_parquet
from vaekit.data.sources.source import INNER, RawSplit, raise_if_disk_full
from vaekit.data.sources.unpacking import unpack

PACKED_SUFFIXES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"))
"""The suffixes of archives in which a folder in the Hub's layout may pack its images."""
JSON_SUFFIXES = frozenset((".json", ".jsonl", ".ndjson"))
"""The suffixes of files of JSON."""

DECLARED = "which declares the classes and their order"
"""What is said of a column that is declared as a class label."""


def load_splits(
    name: str, root: Path, scratch: Path, advice: str, /, *args: str, only_declared: bool = False, **options: Any
) -> dict[str, RawSplit]:
    """Reads the splits of a data set by ``datasets``; images stay encoded.

    Arguments:
        name: The name of the data set in error messages.
        root: Its folder; images elsewhere are not read.
        scratch: A temporary folder for what ``datasets`` writes.
        advice: The end of the error message, which says what to check.
        args: The positional arguments of ``datasets.load_dataset``.
        only_declared: Whether a column of labels is read only if it is declared as one.
        options: The keyword arguments of ``datasets.load_dataset``.

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
    return read_tables(name, data, (root, scratch), only_declared=only_declared)


def read_tables(
    name: str, data: Mapping[Any, Any], folders: tuple[Path, Path] | None, *, only_declared: bool = False
) -> dict[str, RawSplit]:
    """Reads the splits of tables of ``datasets``; images stay encoded.

    Arguments:
        name: The name of the data set in error messages.
        data: The table of each split.
        folders: The folder of the data set and a temporary one, in which images must be that the tables name by their paths;
            None if they may be anywhere.
        only_declared: Whether a column of labels is read only if it is declared as one.

    Raises:
        DataError: If they hold no images.
    """
    column, tables = declare_images({str(split): table for split, table in data.items() if len(table)})
    features = next(iter(tables.values())).features if tables else {}
    if column is None:
        raise DataError(f"{name}: no images (columns: {', '.join(features) or 'none'})")
    labels, classes, source = _read_labels(name, tables, features, only_declared)
    cells = {split: _cells(table, column) for split, table in tables.items()}
    if folders is None:
        return {split: RawSplit(images, labels.get(split), classes, source) for split, images in cells.items()}
    root, scratch = folders
    for images in cells.values():
        images.check_paths(name, folders)
    unpacked = _unpack(name, root, scratch, {archive for images in cells.values() for archive in images.archives})
    cells = {split: _Cells(images.column, unpacked) for split, images in cells.items()}
    if unpacked and not classes:
        return _label_unpacked(name, cells, [*unpacked.values(), root])
    return {split: RawSplit(images, labels.get(split), classes, source) for split, images in cells.items()}


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
    """The cells of an Arrow column of encoded images, each of which holds bytes or a path.

    Arguments:
        column: The column.
        unpacked: The folder that each archive was unpacked to, whose images are named ``zip://IMAGE::ARCHIVE``.
    """

    column: Any
    unpacked: Mapping[str, Path] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        cell = self.column[index].as_py() or {"bytes": None, "path": None}
        if cell["bytes"] is None and cell["path"]:
            return self._file(cell["path"])
        return cell["bytes"] or b""  # no image, which is reported as such

    @property
    def paths(self) -> list[Path | None]:
        """The path in each cell, without reading its image."""
        cells = (cell for chunk in self.column.chunks for cell in chunk.field("path").to_pylist())
        return [self._file(cell) if cell else None for cell in cells]

    @property
    def archives(self) -> set[str]:
        """The archives that hold images."""
        return {path.partition("::")[2] for path in self._outside() if "::" in path}

    def check_paths(self, name: str, folders: Sequence[Path]) -> None:
        """Raises DataError if the file of an image, or its archive, is in none of these folders."""
        known = tuple(os.path.join(path, "") for folder in folders for path in (os.path.abspath(folder), folder.resolve()))
        for path in self._outside():
            image, _, archive = path.partition("::")
            is_inside = ".." not in Path(image).parts and "::" not in archive and image.startswith("zip://")
            if (archive and not is_inside) or not os.path.abspath(archive or path).startswith(known):
                raise DataError(f"{name}: refers to {path[:100]}, which is not in its folder; add the image itself")

    def _outside(self) -> list[str]:
        """The paths of the images whose bytes are not in the column."""
        chunks = (chunk.field("path").filter(chunk.field("bytes").is_null()) for chunk in self.column.chunks)
        return [path for chunk in chunks for path in chunk.drop_null().to_pylist() if path]

    def _file(self, path: str) -> Path:
        image, _, archive = path.partition("::")
        folder = self.unpacked.get(archive)
        return Path(path) if folder is None else folder / image.removeprefix("zip://")


def _cells(table: Any, column: str) -> _Cells:
    """The encoded images in a column of a table of ``datasets``."""
    import datasets

    encoded = table.cast_column(column, datasets.Image(decode=False)).with_format("arrow")
    return _Cells(encoded[:][column])  # chunks that are memory-mapped; joining them would copy them to memory


def _unpack(name: str, root: Path, scratch: Path, archives: set[str]) -> dict[str, Path]:
    """The folder that each archive is unpacked to."""
    folders = {}
    for number, archive in enumerate(sorted(archives)):
        is_below = Path(archive).is_relative_to(root)
        inner = os.path.relpath(archive, root) if is_below else f"{number}/{Path(archive).name}"
        folders[archive] = scratch / INNER / inner
        unpack(Path(archive), folders[archive], f"{name}: {inner}")
    return folders


def _label_unpacked(name: str, cells: dict[str, _Cells], roots: list[Path]) -> dict[str, RawSplit]:
    """The splits of images in archives, which are unpacked to these folders, with labels by the folders in them."""
    names = {split: [_relative(path, roots) for path in column.paths] for split, column in cells.items()}
    every = [image for split in names.values() for image in split]
    positions = iter(range(len(every)))
    splits = {split: [(next(positions), folders_of(image)) for image in images] for split, images in names.items()}
    labels, classes = label_by_folders(name, every, splits)
    if any(len(labels[split].indices) != len(column) for split, column in cells.items()):
        return {split: RawSplit(column) for split, column in cells.items()}
    return {
        split: RawSplit(column, labels[split].labels, classes, "the names of folders") for split, column in cells.items()
    }


def _relative(path: Path | None, roots: list[Path]) -> str:
    """A path relative to the first of these folders that it is in."""
    return next((path.relative_to(root).as_posix() for root in roots if path and path.is_relative_to(root)), "")


def _read_labels(
    name: str, tables: dict[str, Any], features: Any, only_declared: bool
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...], str]:
    """The labels of the splits in which every image has one, the names of the classes, and where they come from."""
    import datasets

    declared = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    column = declared[0] if declared else label_column(features)
    if column is None or (only_declared and not declared):
        return {}, (), ""
    cells = {split: table.with_format("arrow")[:][column].to_pylist() for split, table in tables.items()}
    if not declared:
        labels, classes = label_values(name, column, cells)
        return labels, classes, f"the column {column}"
    classes = tuple(class_name(label) for label in features[column].names)
    if all(find_split([label]) for label in classes):  # images directly in train/ and test/ are no classes
        return {}, (), ""
    # the Hub writes -1 for a label that is not published
    cells = {split: [None if value == -1 else value for value in values] for split, values in cells.items()}
    unknown = {value for values in cells.values() for value in values} - {None, *range(len(classes))}
    if unknown:
        raise DataError(f"{name}: the column {column} holds {min(unknown)}, but only {len(classes)} classes are declared")
    labels = complete_labels(name, column, cells)
    return labels, classes if labels else (), f"the column {column}, {DECLARED}"
