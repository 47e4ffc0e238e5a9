"""Folders of images: which files are images, and where their splits and classes come from."""

import os
from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError, suggest
from vaekit.core.progress import notify
from vaekit.core.safe_text import listing
from vaekit.data.sources.cards import CARD, check_card, declared_configs, declares_features
from vaekit.data.sources.contents import Contents, labeled_splits, member, relabeled
from vaekit.data.sources.file_kinds import (
    METADATA,
    TABLE_SUFFIXES,
    describe_unread,
    image_suffixes,
    is_archive,
    is_metadata,
    relative_names,
    unread_line,
)
from vaekit.data.sources.inner_archives import unpack_archives
from vaekit.data.sources.label_tables import with_label_table
from vaekit.data.sources.repositories import DECLARED, check_files, datasets_path, find_split, load_splits
from vaekit.data.sources.source import RawSplit, Source, file_version, heif_option, name_with_config
from vaekit.data.sources.walk import files_below


class Folder(Source):
    """A folder of images, or a folder in the layout of a hub repository.

    Images may be at any depth; splits and classes are told by folders, as :mod:`vaekit.data.sources.folder_rules` says.
    Links to folders are followed; each folder is read once.

    If no image is beside them, archives are unpacked, each to a folder with its name.

    A ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` names the images that are read, and their classes.

    A hub repository declares configurations in its ``README.md``, or has a folder of parquet files for each. It may hold
    images in parquet files. Its classes are the first column that is declared as a class label, or a column ``label`` of
    strings or integers with at most 1000 different values. A split has no labels if one of its images has none.

    Arguments:
        path: The folder.
        name: The name of the images; the folder's name by default.
        config: The configuration to read, if it has several.
    """

    def __init__(self, path: Path, name: str | None = None, config: str | None = None) -> None:
        self.path = self.root = path
        self.config = config
        self.short_name = name or str(path)
        self.name = name_with_config(name or path.resolve().name, config)

    def identity(self) -> dict[str, Any]:
        """Returns the path, the configuration, and the size and modification time of each file."""
        files = {
            str(file.relative_to(self.path)): file_version(file)
            for file in files_below(self.path)[0]
            if os.path.isfile(file)
        }
        options = heif_option(files) | ({"config": self.config} if self.config else {})
        return {"folder": str(self.path.resolve()), "files": files} | options

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits; images stay encoded."""
        files, unreadable = files_below(self.path)
        for folder in unreadable:
            notify(f"{self.short_name}: {folder} cannot be read and is left out")
        declared, has_default = declared_configs(self.path / CARD)
        configs = declared or _parquet_folders(self.path, files)
        if self.config is not None:
            if self.config not in configs:
                raise DataError(f"{self.name}: no such configuration{suggest(self.config, configs) or ', it has none'}")
            if declared:
                return self._load(files, scratch, name=self.config)
            return Folder(self.path / self.config, self.name).read(scratch)
        if len(configs) > 1 and not has_default:
            known = ", ".join(configs)
            example = name_with_config(self.short_name, configs[0])
            raise DataError(f"{self.short_name}: holds several configurations, {known}; choose one, as in {example}")
        if declared or any(map(_is_table, files)) or declares_features(self.path / CARD):
            return self._load(files, scratch)
        return self._read_images(files, scratch)

    def _read_images(self, files: list[Path], scratch: Path) -> dict[str, RawSplit]:
        """The splits of a folder of files of images, or of archives of them."""
        images = [file for file in files if file.suffix.lower() in image_suffixes()]
        archives = [file for file in files if is_archive(file.name)]
        others = sorted(set(files) - set(images) - set(archives))
        if not images and not archives:
            kinds = describe_unread(relative_names(self.path, others))
            raise DataError(
                f"{self.short_name}: no images; none of its {len(files):,} files has the suffix of an image"
                + (f": {kinds}" if kinds else "")
            )
        check_files(self.short_name, self.path, [file for file in others if is_metadata(file.name)], scratch)
        if line := unread_line(self.short_name, relative_names(self.path, others)):
            notify(line)
        if images and archives:
            notify(
                f"{self.short_name}: {listing(relative_names(self.path, archives), 3)} "
                f"{'is' if len(archives) == 1 else 'are'} not read, since there are images beside; give an archive alone to "
                "read it"
            )
        tables = [(file, file.relative_to(self.path).as_posix()) for file in others if file.name in METADATA]
        if images:
            contents = Contents([member(file, self.path) for file in images], tables)
        else:
            contents = unpack_archives(self.short_name, self.path, archives, scratch).extended(tables)
        splits = labeled_splits(self.short_name, self.path, contents)
        return splits if tables or not images else with_label_table(self.short_name, self.path, splits)

    def _load(self, files: list[Path], scratch: Path, **options: Any) -> dict[str, RawSplit]:
        """Reads the folder by ``datasets``, if none of its files is a trap."""
        check_card(self.short_name, self.path)
        check_files(self.short_name, self.path, files, scratch)
        described = [str(file.relative_to(self.path)) for file in files if is_metadata(file.name)]
        advice = f"; check {', '.join(described[:3])}" if described else ""
        if any(is_archive(file.name) for file in files) and not any(map(_is_table, files)):
            options["drop_labels"] = True  # of images in archives it takes the folder of the archive for the class
        tables = [(file, file.relative_to(self.path).as_posix()) for file in files if file.name == "metadata.csv"]
        only_declared = bool(tables) and not any(map(_is_table, files))
        path = datasets_path(self.path)
        splits = load_splits(self.short_name, self.path, scratch, advice, path, only_declared=only_declared, **options)
        if not options.get("name"):
            self._notify_unread(files, splits)
        if only_declared and not any(raw.labels_from.endswith(DECLARED) for raw in splits.values()):
            return relabeled(self.short_name, self.path, splits, tables)
        return splits

    def _notify_unread(self, files: list[Path], splits: dict[str, RawSplit]) -> None:
        """Says which files of a repository are not read."""
        read = {str(path) for raw in splits.values() for path in getattr(raw.images, "paths", ())}
        images = [file for file in files if file.suffix.lower() in image_suffixes()]
        lost = [file for file in images if str(file) not in read]
        if lost:
            listed = listing(relative_names(self.path, lost), 3)
            notify(f"{self.short_name}: {len(lost):,} files of images beside its tables are not read: {listed}")
        others = [file for file in set(files) - set(images) if not _is_table(file) and not is_archive(file.name)]
        if line := unread_line(self.short_name, relative_names(self.path, sorted(others))):
            notify(line)


def _is_table(file: Path) -> bool:
    """Whether a file is a table that may hold images."""
    return file.suffix.lower() in TABLE_SUFFIXES and file.name not in METADATA


def _parquet_folders(root: Path, files: list[Path]) -> list[str]:
    """The folders that hold parquet files, if every parquet file is in a folder and none is named as a split."""
    tables = [file for file in files if file.suffix.lower() == ".parquet" and file.name not in METADATA]
    parquet_parts = [file.relative_to(root).parts for file in tables]
    if any(len(parts) == 1 or find_split(parts[:1]) for parts in parquet_parts):
        return []
    return sorted({parts[0] for parts in parquet_parts})
