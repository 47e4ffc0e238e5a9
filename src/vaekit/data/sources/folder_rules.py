"""The layout of a folder of images: which of the folders around an image is its split, and which is its class.

**Splits.** A level of folders is that of the splits if every folder at it has the name of a split: ``train`` or
``training``; ``validation``, ``valid``, ``val`` or ``dev``; ``test``, ``testing``, ``eval`` or ``evaluation``. Upper and
lower case, numbers (``val2017``) and words that say nothing (``test_images``) do not matter. ``steam_train`` and
``train_station`` are no names of splits. Where folders with other names are beside ``train`` and another split, what is in
them is left out; where ``train`` is the only one with such a name, it is a class.

**Classes.** Apart from the split, the folder of an image is its class. If images are at different depths, or their own
folders all have the same name, the outermost folder is the class.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vaekit.core.progress import notify
from vaekit.core.safe_text import listing
from vaekit.data.sources.labels import numbered

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""The split that a word in the name of a folder stands for, as on the Hub."""
SAYS_NOTHING = frozenset(
    """data dataset file files folder image images imgs img
    jpg part photos pics pictures png set sets split""".split()  # noqa: SIM905, since a list would take a line for each
)
"""Words that the name of a split may have beside it."""
MAX_STRAY = 0.1
"""The largest share of images beside the folders of classes that is left out; with a larger one there are no classes."""
MIN_IN_FOLDER = 2
"""The images for each folder beside which a single image is left out, whatever its share."""

Folders = tuple[str, ...]
"""The names of the folders around an image, from the outermost."""
SplitFolders = dict[str, list[tuple[int, Folders]]]
"""For each split, the indices of its images, and the folders of each without that of the split."""


@dataclass(frozen=True)
class Labels:
    """The labels of the images of a split, with their indices of shape (N): labels of shape (N), or None."""

    indices: list[int]
    labels: NDArray[np.int64] | None


@cache
def split_name(folder: str) -> str | None:
    """Returns the split that is named by the whole name of a folder, apart from numbers and words that say nothing."""
    words = [word for word in re.split(r"[\W\d_]+", folder.casefold()) if word and word not in SAYS_NOTHING]
    return SPLITS.get(words[0]) if len(words) == 1 else None


def sort_into_splits(name: str, images: Sequence[str], folders: Sequence[Folders]) -> SplitFolders:
    """Returns the split of each image.

    Arguments:
        name: The name of the source in messages.
        images: The names of the images in messages.
        folders: The folders of each.
    """
    level = _split_level(folders)
    if level is None:
        return {"train": list(enumerate(folders))}
    splits: SplitFolders = {split: [] for split in dict.fromkeys(SPLITS.values())}
    outside = []
    for index, parts in enumerate(folders):
        split = split_name(parts[level]) if len(parts) > level else None
        if split is None:
            outside.append(images[index])
        else:
            splits[split].append((index, parts[:level] + parts[level + 1 :]))
    splits = {split: members for split, members in splits.items() if members}
    if outside:
        notify(f"{name}: {len(outside):,} images outside of {', '.join(splits)} are left out: {listing(outside, 3)}")
    return splits


def label_by_folders(name: str, images: Sequence[str], splits: SplitFolders) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """Returns the labels of the images in each split by their folders, and the names of the classes; both empty if none.

    Arguments:
        name: The name of the source in messages.
        images: The names of the images in messages.
        splits: The images of each split.
    """
    in_folders = {split: members for split, members in splits.items() if len({parts for _, parts in members}) > 1}
    in_folders = in_folders or splits
    depth = _num_common([parts for members in in_folders.values() for _, parts in members])
    flat = [split for split, members in splits.items() if all(len(parts) <= depth for _, parts in members)]
    labeled = {split: members for split, members in splits.items() if split not in flat}
    kept, depth = _without_strays(name, images, labeled, depth)
    if not kept:
        return {split: Labels([index for index, _ in members], None) for split, members in splits.items()}, ()
    if flat:
        notify(f"{name}: the images of {', '.join(flat)} are in no folders of classes, so they have no labels")
    class_names = _class_names(kept, depth)
    labels, classes = numbered(class_names)
    return {
        split: Labels([index for index, _ in kept.get(split, members)], labels.get(split))
        for split, members in splits.items()
    }, classes


def _split_level(folders: Sequence[Folders]) -> int | None:
    """The index of the folders that are splits; None if there are no splits."""
    has_branched = False
    for level in range(min(map(len, folders), default=0) + 1):
        names = {parts[level].casefold() for parts in folders if len(parts) > level}
        known = {split_name(name) for name in names}
        is_complete = all(len(parts) > level for parts in folders)
        if is_complete and None not in known and (len(names) == 1 or len(known) > 1):
            return level
        branches = len(names) > 1 or not is_complete
        if branches and not has_branched and "train" in known and len(known - {None}) > 1:
            return level
        has_branched = has_branched or branches
    return None


def _num_common(folders: Sequence[Folders]) -> int:
    """The number of outer folders that all images share."""
    first, last = min(folders), max(folders)
    return next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _without_strays(name: str, images: Sequence[str], splits: SplitFolders, depth: int) -> tuple[SplitFolders, int]:
    """The splits without the few images beside the folders of the classes, and the depth of those folders.

    The splits are empty if folders are not classes.
    """
    every = [parts for members in splits.values() for _, parts in members]
    stray = [images[index] for members in splits.values() for index, parts in members if len(parts) == depth]
    around = {parts[depth] for parts in every if len(parts) > depth}
    if not stray:
        return (splits if around else {}), depth
    kept = {split: [(i, parts) for i, parts in members if len(parts) > depth] for split, members in splits.items()}
    kept = {split: members for split, members in kept.items() if members}
    if len(around) == 1:  # the folders of the classes may be further inside
        inner = _num_common([parts for members in kept.values() for _, parts in members])
        kept, depth = _without_strays(name, images, kept, inner)
    if not around or not kept:
        return {}, depth
    if not _are_few(len(stray), len(every), len(around)):
        notify(
            f"{name}: {len(stray):,} of {len(every):,} images are beside folders, as {listing(stray, 3)}; "
            "so the folders are not taken for classes"
        )
        return {}, depth
    one = len(stray) == 1
    notify(
        f"{name}: {len(stray):,} {'image' if one else 'images'} beside the folders of the classes "
        f"{'is' if one else 'are'} left out: {listing(stray, 3)}"
    )
    return kept, depth


def _are_few(num_stray: int, num: int, num_folders: int) -> bool:
    """Whether images beside folders are so few that the folders are classes; a single one is, but for tiny sets."""
    return num_stray <= MAX_STRAY * num or (num_stray == 1 and num - num_stray >= MIN_IN_FOLDER * num_folders)


def _class_names(splits: SplitFolders, depth: int) -> dict[str, list[str]]:
    """The name of the class of each image."""
    every = [parts for members in splits.values() for _, parts in members]
    innermost = len({len(parts) for parts in every}) == 1 and len({parts[-1] for parts in every}) > 1
    return {split: [parts[-1 if innermost else depth] for _, parts in members] for split, members in splits.items()}
