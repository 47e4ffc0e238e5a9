"""Batches for training: an epoch in a new order, gathered where the model lives, from a state that can be saved.

There is no Python work per image: a batch is one gather of uint8 rows and one transform of all of them. Images lie on
the accelerator if there is room for them; if they are too many for memory, a thread reads a few batches ahead. Everything
random comes from two generators of its own, one for the order and one for the transform, so that
:meth:`Batches.state_dict` pins down the place in the data to the batch.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Generator, Tensor

from vaekit.core.rng import generator
from vaekit.data.images import ImageSet
from vaekit.data.row_files import Rows

AHEAD = 4
"""How many batches are read ahead of training where images lie on disk."""
HELD_SHARE = 0.3
"""The share of an accelerator's free memory that images may take; the rest is the model's."""

Transform = Callable[[Tensor, Generator], Tensor]
"""uint8 images of shape (B, C, H, W) and a generator in, uint8 images of the same shape out."""


def in_turn(steps: Sequence[Transform]) -> Transform | None:
    """Returns the transform that takes one step after the other; None for no step."""
    if len(steps) < 2:
        return steps[0] if steps else None
    return lambda x, generator: reduce(lambda pixels, step: step(pixels, generator), steps, x)


@dataclass(frozen=True)
class Batch:
    """Some images: ``x`` as uint8 with shape (B, C, H, W), and labels ``y`` with shape (B) where there are any."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        """B, the number of images."""
        return len(self.x)


class Batches:
    """The images of a set in a new order each time it is gone through; the last batch may be smaller.

    Arguments:
        images: The images.
        batch_size: B, how many images a batch holds.
        seed: The seed of the order and of the transform.
        device: Where the batches are wanted.
        transform: What is done to a batch there.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        *,
        seed: int,
        device: str | torch.device = "cpu",
        transform: Transform | None = None,
    ) -> None:
        self.images = hold(images, torch.device(device))
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.transform = transform
        self.position = 0
        self._order = generator(seed)
        self._order_at_epoch = self._order.get_state()
        self._noise = generator(seed + 1, self.device)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches of an epoch, or those that are left of one that was begun before a saved state."""
        self._order_at_epoch = self._order.get_state()
        order = torch.randperm(len(self.images), generator=self._order)
        parts = order.split(self.batch_size)[self.position :]
        for position, x in enumerate(self._images(parts), self.position):
            self.position = position + 1
            yield self._batch(x, parts[position - len(self)])
        self.position = 0
        self._order_at_epoch = self._order.get_state()

    def _images(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """The images at each part of the order, read ahead by a thread where reading takes time."""
        if not isinstance(self.images.store, Rows):
            yield from map(self.images.gather, parts)
            return
        waiting: deque[Future[Tensor]] = deque()
        pool = ThreadPoolExecutor(1, "vaekit-read-ahead")
        try:
            for part in parts:
                waiting.append(pool.submit(self.images.gather, part))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _batch(self, x: Tensor, positions: Tensor) -> Batch:
        labels = self.images.labels
        x = x.to(self.device, non_blocking=True)
        y = None if labels is None else labels[positions].to(self.device, non_blocking=True)
        return Batch(x if self.transform is None else self.transform(x, self._noise), y)

    def state_dict(self) -> dict[str, Any]:
        """Returns the place in the data: the batch, and both generators."""
        return {"position": self.position, "order": self._order_at_epoch, "noise": self._noise.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a place in the data."""
        self.position = state["position"]
        self._order.set_state(state["order"])
        self._order_at_epoch = state["order"]
        self._noise.set_state(state["noise"])


def hold(images: ImageSet, device: torch.device) -> ImageSet:
    """Returns the set on the accelerator if there is room for it, else where it is."""
    if device.type != "cuda":
        return images
    free, _ = torch.cuda.mem_get_info(device)
    return images.to(device) if len(images) * math.prod(images.shape) < HELD_SHARE * free else images
