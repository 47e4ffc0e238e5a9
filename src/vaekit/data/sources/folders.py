"""Folders of images: which files are images, which folders are splits, and which are classes."""

import heapq
import os
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.core.errors import DataError, suggest
from vaekit.core.progress import notify
from vaekit.data.decode import FORMATS
from vaekit.data.sources.repositories import CARD, SPLITS, address, load, split_of, stated_configs
from vaekit.data.sources.source import RawSplit, Source, configured, stamp

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""How the names of images end."""
METADATA = frozenset(("metadata.csv", "metadata.jsonl", "metadata.parquet"))
"""Files that say something of the images that lie beside them, as the Hub's image folders have them."""
PACKED = frozenset((".parquet", ".arrow", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"))
"""How files end in which a folder may hold its images packed, as the Hub has them."""
HIDDEN = (".", "__")
"""How names begin of what is passed over, as the Hub does: ``.DS_Store``, ``__MACOSX``."""


class Folder(Source):
    """A folder of images, or one laid out as a hub repository.

    Images lie at any depth. Folders in whose names a word stands for a split (``train``, ``testing``, ``val-2``, ...) are
    splits, if there are several or all images lie in one; a lone ``train`` among other folders is a class. Apart from
    those, the folder of an image is its class, as on the Hub; where images are not all equally deep, or their own folders
    are all called the same, the outermost is. There are no classes if images lie beside the folders, or all in one.
    Links to folders are followed, each folder once.

    A hub repository names configurations in its ``README.md``, or keeps the parquet files of each in a folder; it may hold
    images in parquet files or archives, or beside a ``metadata.csv`` or ``metadata.jsonl`` with a column ``file_name``.
    Its classes are the first column that is declared to be one, or a column ``label`` of strings or integers with at most
    1000 different values. A split in which an image has no label has none.

    Arguments:
        path: Where it lies.
        name: What to call it; the folder's name by default.
        config: Which of its configurations to read, if it has several.
    """

    def __init__(self, path: Path, name: str | None = None, config: str | None = None) -> None:
        self.path = self.root = path
        self.config = config
        self.called = name or str(path)
        self.name = configured(name or path.resolve().name, config)

    def identity(self) -> dict[str, Any]:
        """Returns the path, the configuration and, for each file, its size and the time of its last change."""
        files = {
            str(file.relative_to(self.path)): stamp(file) for file in _files_below(self.path)[0] if os.path.isfile(file)
        }
        return {"folder": str(self.path.resolve()), "files": files} | ({"config": self.config} if self.config else {})

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits; images stay encoded."""
        files, closed = _files_below(self.path)
        for folder in closed:
            notify(f"{self.called}: {folder} cannot be looked into and is left out")
        stated, has_default = stated_configs(self.path / CARD)
        configs = stated or _parquet_folders(self.path, files)
        if self.config is not None:
            if self.config not in configs:
                raise DataError(f"{self.name}: no such configuration{suggest(self.config, configs) or ', it has none'}")
            if stated:
                return load(self.called, scratch, address(self.path), name=self.config)
            return Folder(self.path / self.config, self.name).read(scratch)
        if len(configs) > 1 and not has_default:
            known = ", ".join(configs)
            example = configured(self.called, configs[0])
            raise DataError(f"{self.called}: holds several configurations, {known}; say which, as in {example}")
        images = [file for file in files if file.suffix.lower() in SUFFIXES]
        if not stated and images and not any(file.suffix.lower() in PACKED for file in files):
            splits, folders = _split(self.called, self.path, images)
            if not any(file.name in METADATA for file in files):
                return _with_classes(splits, folders)
            if len(splits) == 1:  # else datasets takes an image named test-1.png for all there is to read
                return load(self.called, scratch, address(self.path), data_files={"train": "**"})
        return load(self.called, scratch, address(self.path))


def _files_below(root: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder, by name and without those that are hidden, and folders that cannot be looked into.

    Links to folders are followed, after all else; no folder is gone through twice, nor what the root lies in.

    Raises:
        DataError: If the folder itself cannot be looked into.
    """
    home, folders, links = os.path.realpath(root), [str(root)], list[str]()
    seen, files, closed = set[str](), list[Path](), list[Path]()
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
                raise DataError(f"{root}: cannot be looked into ({error.strerror}); change its permissions") from None
            closed.append(Path(here))
    return sorted(files, key=str), sorted(closed)


def _parquet_folders(root: Path, files: list[Path]) -> list[str]:
    """The folders that hold parquet files, if all of these lie in one and none is named as a split."""
    inside = [file.relative_to(root).parts for file in files if file.suffix.lower() == ".parquet"]
    if any(len(parts) == 1 or split_of(parts[:1]) for parts in inside):
        return []
    return sorted({parts[0] for parts in inside})


def _split(name: str, root: Path, images: list[Path]) -> tuple[dict[str, list[Path]], dict[str, list[tuple[str, ...]]]]:
    """Sorts images into splits, and gives the folders below the root of each that say no split."""
    folders = [image.relative_to(root).parts[:-1] for image in images]
    found = [split_of(inside) for inside in folders]
    known = {one[1] for one in found if one is not None}
    if not known or (len(known) == 1 and None in found):
        return {"train": images}, {"train": folders}
    splits: dict[str, list[Path]] = {split: [] for split in dict.fromkeys(SPLITS.values()) if split in known}
    rest: dict[str, list[tuple[str, ...]]] = {split: [] for split in splits}
    outside = []
    for image, inside, one in zip(images, folders, found, strict=True):
        if one is None:
            outside.append(str(image.relative_to(root)))
            continue
        place, split = one
        splits[split].append(image)
        rest[split].append(inside[:place] + inside[place + 1 :])
    if outside:
        more = ", ..." if len(outside) > 3 else ""
        notify(
            f"{name}: {len(outside):,} images outside of {', '.join(splits)} are left out: {', '.join(outside[:3])}{more}"
        )
    return splits, rest


def _with_classes(splits: dict[str, list[Path]], folders: dict[str, list[tuple[str, ...]]]) -> dict[str, RawSplit]:
    """Splits of images, with the classes that their folders are."""
    every = [inside for split in splits for inside in folders[split]]
    first, last = min(every), max(every)
    shared = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    depths = {len(inside) for inside in every}
    if shared in depths:
        return {split: RawSplit(images) for split, images in splits.items()}
    innermost = len(depths) == 1 and len({inside[-1] for inside in every}) > 1
    named = {split: [inside[-1 if innermost else shared] for inside in folders[split]] for split in splits}
    classes = tuple(sorted({name for names in named.values() for name in names}))
    places = {name: place for place, name in enumerate(classes)}
    return {
        split: RawSplit(images, np.array([places[name] for name in named[split]], np.int64), classes)
        for split, images in splits.items()
    }
