"""Batches for training: each epoch in a new random order, gathered on the model's device, with a state that can be saved.

There is no Python work per value: a batch is one gather of rows and one transform of the whole batch. The data are moved to
the accelerator if they fit; data that are too large for memory are read from disk a few batches ahead by a thread. All
randomness comes from two generators, one for the order and one for the transform, so :meth:`Batches.state_dict` determines
the position in the data to the batch.

Several processes walk through the same order and each gathers its share of a batch (:mod:`vaekit.core.shares`). A transform
draws its random numbers by :func:`vaekit.core.shares.batch_draw`, so that an image is changed in the same way by any number
of processes.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Generator, Tensor

from vaekit.core.rng import generator
from vaekit.core.shares import Share, share_of, sharing
from vaekit.data.dataset import Dataset

NUM_PREFETCHED = 4
"""The number of batches that are read ahead of training if the data are on disk."""
MAX_MEMORY_SHARE = 0.3
"""The share of an accelerator's free memory that the data may take; the rest is for the model."""

Transform = Callable[[Tensor, Generator], Tensor]
"""Maps a batch of shape (B, *event) and a random number generator to a batch of the same shape and type."""


def compose(transforms: Sequence[Transform]) -> Transform | None:
    """Returns the transform that applies these in order; None if there are none."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None
    return lambda x, generator: reduce(lambda value, transform: transform(value, generator), transforms, x)


@dataclass(frozen=True)
class Batch:
    """A batch of values.

    Arguments:
        x: The values, with shape (B, *event) and the type that the data set stores: uint8 of shape (B, C, H, W) for images.
        y: The labels as int64, with shape (B), or None.
        rows: The position of each value in the data set, with shape (B).
        share: The share of the batch that these values are, if several processes share it; then B is their number.
    """

    x: Tensor
    y: Tensor | None
    rows: Tensor
    share: Share | None = None

    def __len__(self) -> int:
        """B, the number of values that this process computes."""
        return len(self.x)

    @property
    def total(self) -> int:
        """The number of values that all processes compute."""
        return len(self) if self.share is None else self.share.total


class Batches:
    """The batches of a data set, in a new random order in each epoch; the last batch of an epoch may be smaller.

    Arguments:
        dataset: The data set, of any event shape and type.
        batch_size: B, the number of values in a batch.
        seed: The seed of the order; the transform uses the next one.
        device: The device of the batches.
        transform: Applied to each batch on that device.
        shared: Whether the processes of a run share each batch; else each process gets the whole.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int,
        device: str | torch.device = "cpu",
        transform: Transform | None = None,
        shared: bool = False,
    ) -> None:
        self.dataset = move_if_it_fits(dataset, torch.device(device))
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.transform = transform
        self.shared = shared
        self.position = 0
        self._order = generator(seed)
        self._order_at_epoch = self._order.get_state()
        self._noise = generator(seed + 1, self.device)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches of an epoch, or the remaining ones of an epoch that was restored from a saved state."""
        self._order_at_epoch = self._order.get_state()
        order = torch.randperm(len(self.dataset), generator=self._order)
        parts = order.split(self.batch_size)[self.position :]
        shares = [share_of(len(part)) if self.shared else None for part in parts]
        parts = [part if share is None else share.of(part) for part, share in zip(parts, shares, strict=True)]
        for x, positions, share in zip(self._gather(parts), parts, shares, strict=True):
            self.position += 1
            yield self._batch(x, positions, share)
        self.position = 0
        self._order_at_epoch = self._order.get_state()

    def _gather(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """The values at each part of the order; read ahead by a thread if they are on disk."""
        if not self.dataset.on_disk:
            yield from map(self.dataset.gather, parts)
            return
        waiting: deque[Future[Tensor]] = deque()
        pool = ThreadPoolExecutor(1, "vaekit-read-ahead")
        try:
            for part in parts:
                waiting.append(pool.submit(self.dataset.gather, part))
                if len(waiting) > NUM_PREFETCHED:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _batch(self, x: Tensor, positions: Tensor, share: Share | None) -> Batch:
        labels = self.dataset.labels
        x = x.to(self.device, non_blocking=True)
        y = None if labels is None else labels[positions].to(self.device, non_blocking=True)
        if self.transform is not None:
            with sharing(share):
                x = self.transform(x, self._noise)
        return Batch(x, y, positions, share)

    def state_dict(self) -> dict[str, Any]:
        """Returns the position in the epoch and the states of both generators."""
        return {"position": self.position, "order": self._order_at_epoch, "noise": self._noise.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state; the next iteration continues from its position."""
        self.position = state["position"]
        self._order.set_state(state["order"])
        self._order_at_epoch = state["order"]
        self._noise.set_state(state["noise"])


def move_if_it_fits(dataset: Dataset, device: torch.device) -> Dataset:
    """Returns the set on a CUDA device if it fits in :data:`MAX_MEMORY_SHARE` of its free memory, else unchanged."""
    if device.type != "cuda":
        return dataset
    free, _ = torch.cuda.mem_get_info(device)
    return dataset.to(device) if dataset.num_bytes < MAX_MEMORY_SHARE * free else dataset
