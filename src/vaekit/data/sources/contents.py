"""The images of a folder or of its archives, with what tells their splits and classes: folders, or metadata."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vaekit.data.sources.folder_rules import Folders, label_by_folders, sort_into_splits
from vaekit.data.sources.labels import label_values
from vaekit.data.sources.metadata import notify_unnamed, read_metadata
from vaekit.data.sources.source import RawSplit


@dataclass(frozen=True)
class Member:
    """An image.

    Arguments:
        file: Its file.
        name: Its path relative to the folder, in which an archive is a folder.
        folders: The names of the folders around it, in the Unicode form NFC.
        aliases: Other paths by which metadata may name it.
    """

    file: Path
    name: str
    folders: Folders
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """The images of a folder, and its metadata files with their paths relative to the folder."""

    members: list[Member]
    tables: list[tuple[Path, str]]

    def extended(self, tables: Iterable[tuple[Path, str]]) -> "Contents":
        """Returns the same images with more metadata files."""
        return Contents(self.members, [*self.tables, *tables])


def member(file: Path, root: Path) -> Member:
    """Returns an image of a folder."""
    name = file.relative_to(root).as_posix()
    return Member(file, name, folders_of(name))


def folders_of(name: str) -> Folders:
    """Returns the names of the folders around an image, by its path."""
    return tuple(unicodedata.normalize("NFC", part) for part in PurePosixPath(name).parts[:-1])


def labeled_splits(name: str, root: Path, contents: Contents) -> dict[str, RawSplit]:
    """Returns the splits, with labels by metadata if there is any, else by folders.

    Arguments:
        name: The name of the source in messages.
        root: Its folder.
        contents: Its images.

    Raises:
        DataError: If the metadata cannot be read.
    """
    return _by_metadata(name, root, contents) if contents.tables else _by_folders(name, contents.members)


def _by_folders(name: str, members: list[Member]) -> dict[str, RawSplit]:
    names = [image.name for image in members]
    splits = sort_into_splits(name, names, [image.folders for image in members])
    labels, classes = label_by_folders(name, names, splits)
    source = "the names of folders" if classes else ""
    return {
        split: RawSplit([members[index].file for index in found.indices], found.labels, classes, source)
        for split, found in labels.items()
    }


def _by_metadata(name: str, root: Path, contents: Contents) -> dict[str, RawSplit]:
    members = contents.members
    indices = {image.name: index for index, image in enumerate(members)}
    aliases = [(alias, index) for index, image in enumerate(members) for alias in image.aliases]
    metadata = read_metadata(name, contents.tables, indices, aliases)
    notify_unnamed(name, metadata, list(indices), [where for _, where in contents.tables])
    named = [_missing(root, found) if isinstance(found, str) else members[found] for found in metadata.images]
    splits = sort_into_splits(name, [image.name for image in named], [image.folders for image in named])
    values: dict[str, list[Any]] = {split: [metadata.values[index] for index, _ in found] for split, found in splits.items()}
    labels, classes = label_values(name, metadata.column, values) if metadata.has_labels else ({}, ())
    described = ", ".join(where for _, where in contents.tables[:3])
    source = f"the column {metadata.column} of {described}" if classes else ""
    return {
        split: RawSplit([named[index].file for index, _ in found], labels.get(split), classes, source)
        for split, found in splits.items()
    }


def relabeled(name: str, root: Path, splits: dict[str, RawSplit], tables: list[tuple[Path, str]]) -> dict[str, RawSplit]:
    """Returns the splits of a repository with the labels that its metadata files give as text, since pandas changes them.

    Arguments:
        name: The name of the repository in messages.
        root: Its folder.
        splits: The splits, whose images are files.
        tables: The metadata files, with their paths relative to the folder.

    Raises:
        DataError: If the metadata cannot be read.
    """
    paths = {split: getattr(raw.images, "paths", [None]) for split, raw in splits.items()}
    if any(path is None or not path.is_relative_to(root) for split in paths.values() for path in split):
        return splits
    names = {split: [path.relative_to(root).as_posix() for path in of_split] for split, of_split in paths.items()}
    indices = {image: index for index, image in enumerate(image for split in names.values() for image in split)}
    metadata = read_metadata(name, tables, indices)
    values = dict(zip(metadata.images, metadata.values, strict=True))
    if not metadata.has_labels or not set(indices.values()) <= set(values):
        return splits
    labels, classes = label_values(
        name, metadata.column, {split: [values[indices[image]] for image in images] for split, images in names.items()}
    )
    source = f"the column {metadata.column} of {', '.join(where for _, where in tables[:3])}"
    return {split: RawSplit(raw.images, labels.get(split), classes, source) for split, raw in splits.items()}


def _missing(root: Path, name: str) -> Member:
    """An image that metadata names and that does not exist, which is reported when it is opened."""
    return Member(root / name, name, folders_of(name))
