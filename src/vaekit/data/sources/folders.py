"""Folders of images: which files are images, and which folders are splits or classes."""

import heapq
import os
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.core.errors import DataError, suggest
from vaekit.core.progress import notify
from vaekit.data.image_files import FORMATS
from vaekit.data.sources.cards import CARD, check_card, declared_configs
from vaekit.data.sources.label_tables import with_label_table
from vaekit.data.sources.repositories import PACKED_SUFFIXES, SPLITS, check_files, datasets_path, find_split, load_splits
from vaekit.data.sources.source import RawSplit, Source, file_version, name_with_config

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""The suffixes of image files."""
METADATA = frozenset(("metadata.csv", "metadata.jsonl", "metadata.parquet"))
"""The metadata files of the Hub's image folders, which hold columns such as labels."""
TABLE_SUFFIXES = frozenset((".parquet", ".arrow"))
"""The suffixes of tables in which a folder in the Hub's layout may hold its images."""
HIDDEN = (".", "__")
"""The prefixes of names that are ignored, as on the Hub: ``.DS_Store``, ``__MACOSX``."""


class Folder(Source):
    """A folder of images, or a folder in the layout of a hub repository.

    Images may be at any depth.

    - Splits: a folder whose name contains a word for a split (``train``, ``testing``, ``val-2``, ...) is a split, if there
      are several of them or all images are in it. A single ``train`` among other folders is a class.
    - Classes: apart from splits, the folder of an image is its class, as on the Hub. If the images are at different depths,
      or their own folders all have the same name, the outermost folder is the class. There are no classes if images are
      beside the folders, or all in one folder.
    - Links to folders are followed; each folder is read once.

    A hub repository declares configurations in its ``README.md``, or has a folder of parquet files for each. It may hold
    images in parquet files or archives, or beside a ``metadata.csv`` or ``metadata.jsonl`` with a column ``file_name``. Its
    classes are the first column that is declared as a class label, or a column ``label`` of strings or integers with at most
    1000 different values. A split has no labels if one of its images has none.

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
            for file in _files_below(self.path)[0]
            if os.path.isfile(file)
        }
        return {"folder": str(self.path.resolve()), "files": files} | ({"config": self.config} if self.config else {})

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits; images stay encoded."""
        files, unreadable = _files_below(self.path)
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
        images = [file for file in files if file.suffix.lower() in SUFFIXES]
        packed = [file for file in files if file.suffix.lower() in PACKED_SUFFIXES | TABLE_SUFFIXES]
        if not images and not packed:
            raise DataError(f"{self.short_name}: no images; none of its {len(files):,} files has the suffix of an image")
        if not declared and not packed:
            splits, folders = _sort_into_splits(self.short_name, self.path, images)
            if not any(file.name in METADATA for file in files):
                return with_label_table(self.short_name, self.path, splits) or _with_classes(splits, folders)
            if len(splits) == 1:  # without data_files, datasets would read only an image that is named test-1.png
                return self._load(files, scratch, data_files={"train": "**"})
        return self._load(files, scratch)

    def _load(self, files: list[Path], scratch: Path, **options: Any) -> dict[str, RawSplit]:
        """Reads the folder by ``datasets``, if none of its files is a trap."""
        check_card(self.short_name, self.path)
        check_files(self.short_name, self.path, files, scratch)
        described = [str(file.relative_to(self.path)) for file in files if file.name in METADATA or file.name == CARD]
        advice = f"; check {', '.join(described[:3])}" if described else ""
        return load_splits(self.short_name, self.path, scratch, advice, datasets_path(self.path), **options)


def _files_below(root: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder, sorted and without hidden ones, and the folders that cannot be read.

    Links to folders are followed last. No folder is read twice, and none that contains the root.

    Raises:
        DataError: If the folder itself cannot be read.
    """
    home, folders, links = os.path.realpath(root), [str(root)], list[str]()
    seen, files, unreadable = set[str](), list[Path](), list[Path]()
    while folders or links:
        here = folders.pop() if folders else heapq.heappop(links)
        real = os.path.realpath(here)
        if real in seen or home.startswith(os.path.join(real, "")):
            continue
        seen.add(real)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith(HIDDEN):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        heapq.heappush(links, entry.path)
                    else:
                        files.append(Path(entry.path))
        except OSError as error:
            if here == str(root):
                raise DataError(f"{root}: cannot be read ({error.strerror}); change its permissions") from None
            unreadable.append(Path(here))
    return sorted(files, key=str), sorted(unreadable)


def _parquet_folders(root: Path, files: list[Path]) -> list[str]:
    """The folders that hold parquet files, if every parquet file is in a folder and none is named as a split."""
    parquet_parts = [file.relative_to(root).parts for file in files if file.suffix.lower() == ".parquet"]
    if any(len(parts) == 1 or find_split(parts[:1]) for parts in parquet_parts):
        return []
    return sorted({parts[0] for parts in parquet_parts})


def _sort_into_splits(
    name: str, root: Path, images: list[Path]
) -> tuple[dict[str, list[Path]], dict[str, list[tuple[str, ...]]]]:
    """The images of each split, and for each image its folders below the root, without the folder of the split."""
    folders = [image.relative_to(root).parts[:-1] for image in images]
    matches = [find_split(parts) for parts in folders]
    known = {match[1] for match in matches if match is not None}
    if not known or (len(known) == 1 and None in matches):
        return {"train": images}, {"train": folders}
    splits: dict[str, list[Path]] = {split: [] for split in dict.fromkeys(SPLITS.values()) if split in known}
    rest: dict[str, list[tuple[str, ...]]] = {split: [] for split in splits}
    outside = []
    for image, parts, match in zip(images, folders, matches, strict=True):
        if match is None:
            outside.append(str(image.relative_to(root)))
            continue
        index, split = match
        splits[split].append(image)
        rest[split].append(parts[:index] + parts[index + 1 :])
    if outside:
        more = ", ..." if len(outside) > 3 else ""
        notify(
            f"{name}: {len(outside):,} images outside of {', '.join(splits)} are left out: {', '.join(outside[:3])}{more}"
        )
    return splits, rest


def _with_classes(splits: dict[str, list[Path]], folders: dict[str, list[tuple[str, ...]]]) -> dict[str, RawSplit]:
    """The splits with labels: each image has the class of its folder, if folders are classes."""
    every = [parts for split in splits for parts in folders[split]]
    first, last = min(every), max(every)
    num_common = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    depths = {len(parts) for parts in every}
    if num_common in depths:
        return {split: RawSplit(images) for split, images in splits.items()}
    innermost = len(depths) == 1 and len({parts[-1] for parts in every}) > 1
    class_names = {split: [parts[-1 if innermost else num_common] for parts in folders[split]] for split in splits}
    classes = tuple(sorted({name for names in class_names.values() for name in names}))
    labels = {name: label for label, name in enumerate(classes)}
    return {
        split: RawSplit(images, np.array([labels[name] for name in class_names[split]], np.int64), classes)
        for split, images in splits.items()
    }
