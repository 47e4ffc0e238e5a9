"""Folders that ``datasets`` has saved by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``.

A saved table is a folder of Arrow files, a ``dataset_info.json`` and a ``state.json``, which lists the files. Saved tables
of several splits are folders beside a ``dataset_dict.json``, which lists the splits. Of these lists only names of files in
the folder are used.
"""

import json
from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError
from vaekit.data.sources.json_limits import check_json
from vaekit.data.sources.repositories import check_files, one_line, read_tables
from vaekit.data.sources.source import RawSplit, Source, file_version

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
"""The files that describe a saved table, and saved tables of several splits."""
MAX_JSON_BYTES = 10**8
"""The largest of these files that is read, 100 MB."""


class SavedDataset(Source):
    """A folder that ``save_to_disk`` of ``datasets`` has written.

    Arguments:
        path: The folder.
        name: The name of the images; the folder's name by default.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = self.root = path
        self.name = name or path.resolve().name

    @staticmethod
    def matches(path: Path) -> bool:
        """Whether a folder is one; not if what is in it may not be seen."""
        try:
            return (path / SPLITS).is_file() or ((path / STATE).is_file() and (path / INFO).is_file())
        except PermissionError:
            return False

    def identity(self) -> dict[str, Any]:
        """Returns the path, and the size and modification time of each file."""
        files = sorted(file for pattern in ("*", "*/*") for file in self.path.glob(pattern) if file.is_file())
        return {"saved": str(self.path.resolve()), "files": {str(file): file_version(file) for file in files}}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits; images stay encoded."""
        folders = {split: self.path / split for split in self._splits()} or {"train": self.path}
        tables = {split: self._table(folder, scratch) for split, folder in folders.items()}
        return read_tables(str(self.path), tables, (self.path, scratch))

    def _splits(self) -> list[str]:
        """The splits; none if the folder is a single table."""
        if not (self.path / SPLITS).is_file():
            return []
        return [_plain_name(self.path / SPLITS, split) for split in _read_list(self.path / SPLITS, "splits")]

    def _table(self, folder: Path, scratch: Path) -> Any:
        """The table of a folder."""
        import datasets  # heavy, and only needed if the images are not in the cache

        datasets.disable_progress_bars()
        state = folder / STATE
        if _read_object(state).get("_indices_data_files"):
            raise DataError(f"{state}: saved by an old version of datasets; save it again with a new one")
        names = [entry.get("filename") if isinstance(entry, dict) else None for entry in _read_list(state, "_data_files")]
        files = [folder / _plain_name(state, name) for name in names]
        if not files:
            raise DataError(f"{state}: lists no files of data; save it again")
        check_files(str(self.path), self.path, files, scratch)
        try:
            return datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files])
        except Exception as error:  # raises errors of any kind for files that do not fit together
            raise DataError(f"{folder}: not a table that datasets has saved ({one_line(error)}); save it again") from None


def _read_list(path: Path, key: str) -> list[Any]:
    """A list in a JSON file."""
    values = _read_object(path).get(key)
    if not isinstance(values, list):
        raise DataError(f"{path}: damaged, it holds no list {key}; save the data set again")
    return values


def _read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"it has more than {MAX_JSON_BYTES / 1e6:.0f} MB")
        check_json(path)
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); save the data set again") from None
    return values if isinstance(values, dict) else {}


def _plain_name(path: Path, name: object) -> str:
    """A name that a file lists, if it is that of something beside it."""
    if not isinstance(name, str) or name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
        raise DataError(f"{path}: lists {str(name)[:100]!r}, which is no file in its folder; save the data set again")
    return name
