"""Which images ``vae score`` and ``vae embed`` are about, and which of them a run was trained on.

One rule for both: all images, or the test images where the data has test images of its own. So what is odd in a folder of
one's own is found wherever it is, and published data is measured on its test images. An AUROC is a measurement, too: there
the run's own images are its test images, since a model knows those that it was trained on.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from vaekit.data import ImageSet
from vaekit.data.union import unite
from vaekit.runs.run_folder import RunFolder

Split = Literal["train", "test", "all"]
"""The splits that can be chosen; the validation images are part of ``train``."""


@dataclass(frozen=True)
class Selection:
    """The images that a command is about.

    Arguments:
        images: N images.
        splits: The split of each image, N names: ``train`` or ``test`` of the run's own images; of other images the split
            that they are of, which is ``all`` if the data has one.
        num_others: The number of images of the data that are not among them.
    """

    images: ImageSet
    splits: tuple[str, ...]
    num_others: int = 0

    def take(self, rows: torch.Tensor) -> "Selection":
        """Returns the images at positions of shape (M)."""
        return replace(self, images=self.images.take(rows), splits=tuple(self.splits[row] for row in rows.tolist()))

    @property
    def title(self) -> str:
        """The number, the split and the name of the images."""
        kind = "" if self.images.split == "all" else f"{self.images.split} "
        return f"{len(self.images):,} {kind}image{'s' if len(self.images) != 1 else ''} of {self.images.name}"

    @property
    def remark(self) -> str:
        """How many images are of which split, or left out, in a few words; empty if the data has one split."""
        if self.num_others:
            return f"{self.num_others:,} others: --split all"
        counts = [self.splits.count(name) for name in ("train", "test")]
        return f"{counts[0]:,} train and {counts[1]:,} test images (column split)" if any(counts) else ""


def select(run: RunFolder, data: str | Path | None, split: str | None = None, *, measured: bool = False) -> Selection:
    """Returns the images of a run or of other data.

    Arguments:
        run: The run.
        data: The images: a name, folder, array or hub id; None for those that the run was trained on.
        split: ``train``, ``test`` or ``all``; None for all images, or the test images of data that has its own.
        measured: Whether a mean over the images is reported, so that without a split the run's own are its test images.

    Raises:
        DataError: If there are no such images.
    """
    train, test, default = (run.images(data, name, binarized=False) for name in ("train", "test", "any"))
    is_one = default.split == "all" and len(default) in (1, len(train) + len(test))  # of one split, or a single image
    chosen = split or ("test" if not is_one or (measured and run.is_own(data)) else "all")
    if chosen != "all":
        images = run.images(data, chosen)
        num_others = 0 if len(default) == 1 and is_one else len(train) + len(test) - len(images)
        return Selection(images, (images.split,) * len(images), num_others)
    if not is_one:
        parts = [run.images(data, name) for name in ("train", "test")]
        return Selection(_joined(parts), tuple(images.split for images in parts for _ in range(len(images))))
    return Selection(run.images(data, "any"), _splits_of(default, test) if run.is_own(data) else ("all",) * len(default))


def _splits_of(images: ImageSet, test: ImageSet) -> tuple[str, ...]:
    """The split of each image of a set, of which a part was held out as test images."""
    if test.rows is None:  # a single image is all of each split
        return (test.split,) * len(images)
    rows = torch.arange(len(images)) if images.rows is None else images.rows
    return tuple("test" if is_test else "train" for is_test in torch.isin(rows, test.rows).tolist())


def _joined(parts: list[ImageSet]) -> ImageSet:
    """The images of several splits of one set, one split after the other."""
    names = tuple(name for part in parts for name in part.names)
    joined = replace(unite(parts), name=parts[0].name, split="all", binary=parts[0].binary)
    return replace(joined, names=names if len(names) == len(joined) else ())
