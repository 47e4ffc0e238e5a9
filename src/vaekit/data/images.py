"""Images and their labels, as tensors.

Images are 8-bit gray levels of shape (N, C, H, W) from the source to the device where a model lives; nothing is scaled or
turned to floating point before. A split is a list of rows into one store, which may be memory-mapped, so that holding
out a validation set copies nothing.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.rng import generator
from vaekit.data.row_files import Rows

CHUNK = 1024
"""How many images are gone through at a time."""


@dataclass(frozen=True)
class ImageSet:
    """Images, with labels where there are any.

    Arguments:
        store: All images of the source as uint8, with shape (M, C, H, W): a tensor, which may be memory-mapped, or
            rows on disk.
        labels: The class of each image as int64, with shape (N), or None.
        classes: The names of the classes, by label.
        name: What the images are, e.g. ``mnist``.
        split: Which part of them, e.g. ``train``.
        rows: The rows of the store that belong to this set, with shape (N); all of them by default.
        binary: How gray levels were turned into zeros and ones, e.g. ``binarized once with seed 0``; empty if they were not.
        fingerprint: A hash of the source's images.
        names: The file of each image as its source calls it, N of them; empty where the source has no files.
    """

    store: Tensor | Rows
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "array"
    split: str = "train"
    rows: Tensor | None = None
    binary: str = ""
    fingerprint: str = field(default="", compare=False)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses what is no set of images.

        Raises:
            DataError: If the store is not uint8 of shape (M, C, H, W), is empty, or labels do not fit it.
        """
        if self.store.dtype != torch.uint8 or self.store.dim() != 4:
            shape, dtype = tuple(self.store.shape), str(self.store.dtype).removeprefix("torch.")
            raise DataError(f"images must be uint8 of shape (N, C, H, W), got {dtype} of shape {shape}")
        if len(self) == 0:
            raise DataError(f"{self.name}: the {self.split} split holds no images")
        if self.labels is not None and len(self.labels) != len(self):
            raise DataError(f"{self.name}: {len(self.labels)} labels for {len(self)} images")
        if self.names and len(self.names) != len(self):
            raise DataError(f"{self.name}: {len(self.names)} names for {len(self)} images")

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.store) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, (C, H, W)."""
        _, channels, height, width = self.store.shape
        return channels, height, width

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label: numbers where the source names none, and nothing where it has no labels."""
        if self.labels is None or self.classes:
            return self.classes
        return tuple(str(label) for label in range(int(self.labels.max()) + 1))

    @property
    def pixels(self) -> Tensor:
        """All images of this set as uint8, with shape (N, C, H, W)."""
        if self.rows is None and isinstance(self.store, Tensor):
            return self.store
        return self.gather(torch.arange(len(self)))

    def gather(self, positions: Tensor) -> Tensor:
        """Returns the images at positions of shape (B), as uint8 of shape (B, C, H, W)."""
        rows = positions if self.rows is None else self.rows[positions]
        return self.store.index_select(0, rows.to(self.store.device))

    def take(self, positions: Tensor, split: str | None = None) -> "ImageSet":
        """Returns the set of the images at positions of shape (B), without copying them."""
        return replace(
            self,
            rows=positions if self.rows is None else self.rows[positions],
            labels=None if self.labels is None else self.labels[positions],
            names=tuple(self.names[place] for place in positions.tolist()) if self.names else (),
            split=self.split if split is None else split,
        )

    def first(self, num: int) -> "ImageSet":
        """Returns the set of the first ``num`` images, or all if there are fewer."""
        return self.take(torch.arange(min(num, len(self))))

    def sample(self, num: int, seed: int) -> "ImageSet":
        """Returns ``num`` images in a random order, or all if there are fewer; of one seed, more are these and others.

        The first images of a set are no fair sample of it: folders are sorted by class.
        """
        return self.take(torch.randperm(len(self), generator=generator(seed))[:num])

    def to(self, device: torch.device) -> "ImageSet":
        """Returns the set with its images, and no others, on a device; labels and positions stay where they are."""
        parts = [self.gather(part).to(device) for part in torch.arange(len(self)).split(CHUNK)]
        return replace(self, store=torch.cat(parts), rows=None)

    def is_binary(self) -> bool:
        """Whether every pixel is black or white, so that a Bernoulli of it is a likelihood."""
        chunks = torch.arange(len(self)).split(CHUNK)
        return all(bool(((x == 0) | (x == 255)).all()) for x in map(self.gather, chunks))


def hold_out(images: ImageSet, share: float, *, seed: int, splits: tuple[str, str]) -> tuple[ImageSet, ImageSet]:
    """Splits a set at random into the rest and a held-out share.

    Arguments:
        images: The set to split.
        share: How much to hold out, between 0 and 1; at least one image, and never all.
        seed: The seed of the draw.
        splits: The names of the rest and of the held-out part.

    Raises:
        DataError: If there is only one image.
    """
    if len(images) < 2:
        raise DataError(f"{images.name}: one image cannot be split into {splits[0]} and {splits[1]}; give more of them")
    order = torch.randperm(len(images), generator=generator(seed))
    num_held = min(max(round(share * len(images)), 1), len(images) - 1)
    rest, held = order[num_held:].sort().values, order[:num_held].sort().values
    return images.take(rest, splits[0]), images.take(held, splits[1])
