"""Archives within a folder or a hub repository: their images, as if each archive were a folder.

Archives that are called as splits are splits, as ``train.zip`` and ``test.zip``; archives that differ by numbers only are
parts of one whole, as ``images_01.zip`` and ``images_02.zip``; others may be classes, as ``cats.zip`` and ``dogs.zip``.
Archives within archives are not read.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from vaekit.core.errors import DataError
from vaekit.core.progress import notify, working
from vaekit.data.sources.archive_limits import check_expansion
from vaekit.data.sources.contents import Contents, Member, folders_of
from vaekit.data.sources.file_kinds import (
    METADATA,
    archive_stem,
    image_suffixes,
    is_archive,
    relative_names,
    unread_line,
)
from vaekit.data.sources.folder_rules import split_name
from vaekit.data.sources.source import INNER
from vaekit.data.sources.unpacking import unpack
from vaekit.data.sources.walk import files_below


def unpack_archives(name: str, root: Path, archives: list[Path], scratch: Path) -> Contents:
    """Unpacks the archives of a folder, and returns their images.

    Arguments:
        name: The name of the folder in messages.
        root: The folder.
        archives: The archives in it.
        scratch: A temporary folder.

    Raises:
        DataError: If an archive cannot be unpacked safely, or there are no images.
    """
    are_folders = _are_folders(archives)
    contents, unread, num_bytes, packed_bytes = Contents([], []), list[str](), 0, 0
    with working(f"unpacking {name}"):
        for archive in archives:
            inner = archive.relative_to(root).as_posix()
            unpacked = unpack(archive, scratch / INNER / inner, f"{name}: {inner}")
            num_bytes, packed_bytes = num_bytes + unpacked.num_bytes, packed_bytes + archive.stat().st_size
            try:
                check_expansion(num_bytes, packed_bytes)
            except ValueError as error:
                raise DataError(f"{name}: its archives cannot be unpacked safely ({error})") from None
            files, _ = files_below(scratch / INNER / inner)
            images = [file for file in files if file.suffix.lower() in image_suffixes()]
            contents.members.extend(_members(images, scratch / INNER, inner, are_folders))
            contents.tables.extend((file, where) for file, where in _named(files, scratch / INNER) if file.name in METADATA)
            unread += unpacked.unread + relative_names(scratch / INNER, _unread(files))
    if line := unread_line(name, unread):
        notify(line)
    if not contents.members:
        raise DataError(f"{name}: no images; its archives hold no file that has the suffix of an image")
    return contents


def _are_folders(archives: list[Path]) -> bool:
    """Whether the name of an archive counts as that of a folder: not if there is one, or they differ by numbers only."""
    stems = [archive_stem(archive.name) for archive in archives]
    if any(split_name(stem) for stem in stems):
        return True
    return len({re.sub(r"[\W\d_]+", "", stem).casefold() for stem in stems}) > 1


def _members(images: list[Path], root: Path, inner: str, are_folders: bool) -> Iterator[Member]:
    """The images of an archive that was unpacked to a folder with its name."""
    beside = inner.rpartition("/")[0]
    for file, name in _named(images, root):
        rest = name.removeprefix(f"{inner}/")
        within = f"{beside}/{rest}".lstrip("/")
        as_folder = f"{archive_stem(inner)}/{rest}"
        yield Member(file, name, folders_of(as_folder if are_folders else within), (within, as_folder))


def _named(files: list[Path], root: Path) -> list[tuple[Path, str]]:
    return list(zip(files, relative_names(root, files), strict=True))


def _unread(files: list[Path]) -> list[Path]:
    """The archives and tables within an archive."""
    return [file for file in files if is_archive(file.name) or file.suffix.lower() in (".parquet", ".arrow")]
