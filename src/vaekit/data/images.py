"""Images and their labels, as tensors.

Images are uint8 pixels of shape (N, C, H, W) from the source to the device of the model; the likelihood converts them to
floating point.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.data.dataset import Dataset
from vaekit.data.decode import Skipped
from vaekit.data.layout import MAX_CHANNELS
from vaekit.data.levels import UNKNOWN, Levels


@dataclass(frozen=True)
class ImageSet(Dataset):
    """A data set of images.

    The other arguments, and the errors, are those of :class:`Dataset`.

    Arguments:
        store: All images of the source as uint8, with shape (M, C, H, W).
        binary: How the pixels were binarized, e.g. ``binarized once with seed 0``; empty if they were not.
        levels: Which values of the source are black and white, where that is not 0 and 255 of 8 bits.
        skipped: The images of the source's split that could not be read, and are not in the set.
        remarks: Lines about what was left out or not understood when the source was read.
    """

    binary: str = ""
    levels: Levels = field(default=UNKNOWN, compare=False, repr=False)
    skipped: tuple[Skipped, ...] = field(default=(), compare=False, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    noun = "images"

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, (C, H, W)."""
        _, channels, height, width = self.store.shape
        return channels, height, width

    @property
    def pixels(self) -> Tensor:
        """All images of the set as uint8, with shape (N, C, H, W)."""
        return self._all()

    def is_binary(self) -> bool:
        """Whether every pixel is 0 or 255, so that a Bernoulli likelihood is a probability mass."""
        return all(bool(((x == 0) | (x == 255)).all()) for x in map(self.gather, self._chunks()))

    def _check_store(self) -> None:
        if self.store.dtype != torch.uint8 or self.store.dim() != 4:
            shape, dtype = tuple(self.store.shape), str(self.store.dtype).removeprefix("torch.")
            raise DataError(f"images must be uint8 of shape (N, C, H, W), got {dtype} of shape {shape}")
        if not 1 <= self.store.shape[1] <= MAX_CHANNELS:
            raise DataError(f"images have 1 to {MAX_CHANNELS} channels, got {self.store.shape[1]}; use a TensorSet")


def is_image_shape(shape: tuple[int, ...]) -> bool:
    """Whether an event shape is that of images, (C, H, W) with 1 to 16 channels."""
    return len(shape) == 3 and 1 <= shape[0] <= MAX_CHANNELS
