"""Data sets: N values of one shape and type, with labels where there are any.

A split is a list of row numbers into one store. The store may be memory-mapped or on disk, so holding out a validation set
copies nothing.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from vaekit.core.arguments import Count, Seed, Within, checked, require_fields, shown
from vaekit.core.errors import DataError
from vaekit.core.rng import generator
from vaekit.core.safe_text import valid_unicode
from vaekit.data.row_files import Rows

INDICES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""The types of labels and positions."""
MAX_LABEL = 2**31
"""More than the largest label."""
CHUNK_SIZE = 1024
"""The number of values that are processed at a time."""


@dataclass(frozen=True)
class Dataset(ABC):
    """The base class of data sets: what :class:`~vaekit.data.Batches`, training and evaluation need of one.

    Arguments:
        store: All values of the source, with shape (M, *event): a tensor, which may be memory-mapped, or rows on disk.
        labels: The class of each value as int64, with shape (N), or None.
        classes: The names of the classes, by label.
        name: The name of the data set, e.g. ``mnist``.
        split: The name of the split, e.g. ``train``.
        rows: The rows of the store that belong to this set, with shape (N); all of them by default.
        fingerprint: A hash of the store, or an empty string.
        names: The name of each value, e.g. of its file; N names, or none.

    Raises:
        DataError: If the store is of the wrong type, the set is empty, or labels or names do not match its length.
    """

    store: Tensor | Rows
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "array"
    split: str = "train"
    rows: Tensor | None = None
    fingerprint: str = field(default="", compare=False)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)

    noun: ClassVar[str]
    """The word for the values in error messages, in the plural."""

    def __post_init__(self) -> None:
        """Checks the arguments, and makes the names of classes valid Unicode, which folders may not have."""
        if not isinstance(self.store, Tensor | Rows):
            raise DataError(f"store: {self.noun} are a tensor, got {shown(self.store)}; use torch.from_numpy(array)")
        require_fields(self, DataError)
        object.__setattr__(self, "classes", tuple(map(valid_unicode, self.classes)))
        self._check_store()
        if self.rows is not None:
            _require_indices(self.rows, len(self.store), "rows")
        if len(self) == 0:
            raise DataError(f"{self.name}: the {self.split} split holds no {self.noun}")
        if self.labels is not None:
            if isinstance(self.labels, Tensor) and self.labels.dim() and len(self.labels) != len(self):
                raise DataError(f"{self.name}: {len(self.labels)} labels for {len(self)} {self.noun}")
            _require_indices(self.labels, MAX_LABEL, "labels")
        if self.names and len(self.names) != len(self):
            raise DataError(f"{self.name}: {len(self.names)} names for {len(self)} {self.noun}")

    @abstractmethod
    def _check_store(self) -> None:
        """Raises DataError if the store has the wrong type or shape."""

    def __len__(self) -> int:
        """N, the number of values."""
        return len(self.store) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape: that of one value."""
        return tuple(self.store.shape[1:])

    @property
    def num_bytes(self) -> int:
        """The size of the set's values in bytes."""
        return len(self) * math.prod(self.shape) * self.store.dtype.itemsize

    @property
    def on_disk(self) -> bool:
        """Whether :meth:`gather` reads from disk each time, so that reading ahead pays."""
        return isinstance(self.store, Rows)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label: numbers if the source names none, empty if there are no labels."""
        if self.labels is None or self.classes:
            return self.classes
        return tuple(str(label) for label in range(int(self.labels.max()) + 1))

    def gather(self, positions: Tensor) -> Tensor:
        """Returns the values at positions of shape (B), with shape (B, *event) and the type of the store."""
        _require_indices(positions, len(self), "positions")
        rows = positions if self.rows is None else self.rows[positions]
        return self.store.index_select(0, rows.to(self.store.device))

    @checked(DataError)
    def take(self, positions: Tensor, split: str | None = None) -> Self:
        """Returns the subset at positions of shape (B), without copying values.

        Arguments:
            positions: Positions in this set.
            split: The name of the subset's split; that of this set by default.

        Raises:
            DataError: If the set has no such positions, or none are given.
        """
        _require_indices(positions, len(self), "positions")
        return replace(
            self,
            rows=positions if self.rows is None else self.rows[positions],
            labels=None if self.labels is None else self.labels[positions],
            names=tuple(self.names[position] for position in positions.tolist()) if self.names else (),
            split=self.split if split is None else split,
        )

    @checked(DataError)
    def first(self, num: Count) -> Self:
        """Returns the subset of the first ``num`` values, or of all if there are fewer."""
        return self.take(torch.arange(min(num, len(self))))

    @checked(DataError)
    def sample(self, num: Count, seed: Seed) -> Self:
        """Returns a random subset of ``num`` values, or of all if there are fewer.

        For one seed, a smaller subset is the beginning of a larger one. Use this for a fair sample: the first values of a
        set are none, since folders are sorted by class.
        """
        return self.take(self.sampled_positions(num, seed))

    @checked(DataError)
    def sampled_positions(self, num: Count, seed: Seed) -> Tensor:
        """Returns the positions of the values of :meth:`sample`, with shape (num), or (N) if there are fewer."""
        return torch.randperm(len(self), generator=generator(seed))[:num]

    @checked(DataError)
    def spread(self, num: Count, seed: Seed) -> Self:
        """Returns a random subset of ``num`` values that is spread evenly over the classes, to be looked at.

        Each class gives a value in turn, until it has none left, so that rare classes are seen, too. Without labels it is
        :meth:`sample`, and as there a smaller subset is the beginning of a larger one. It is no fair sample: do not measure
        on it.
        """
        return self.take(self.shown_positions(seed)[:num])

    @checked(DataError)
    def shown_positions(self, seed: Seed) -> Tensor:
        """Returns the positions of all values, with shape (N), in the random order in which :meth:`spread` takes them."""
        if self.labels is None:
            return torch.randperm(len(self), generator=generator(seed))
        return spread_positions(self.labels, seed)

    @checked(DataError)
    def to(self, device: torch.device) -> Self:
        """Returns the set with its values, and no other rows of the store, on a device; labels stay on the CPU."""
        chunks = [self.gather(positions).to(device) for positions in self._chunks()]
        return replace(self, store=torch.cat(chunks), rows=None)

    def _all(self) -> Tensor:
        """All values of the set, with shape (N, *event)."""
        if self.rows is None and isinstance(self.store, Tensor):
            return self.store
        return self.gather(torch.arange(len(self)))

    def _chunks(self) -> tuple[Tensor, ...]:
        """The positions of all values, in chunks of :data:`CHUNK_SIZE`."""
        chunks: tuple[Tensor, ...] = torch.arange(len(self)).split(CHUNK_SIZE)
        return chunks


class TensorSet(Dataset):
    """A data set from a tensor of any type and event shape, e.g. a table of 20 columns.

    Arguments and errors are those of :class:`Dataset`.

    Example:
        >>> table = TensorSet(torch.randn(1000, 20), name="table")
        >>> train, valid = hold_out(table, 0.1, seed=0, splits=("train", "validation"))
    """

    noun = "rows"

    @property
    def values(self) -> Tensor:
        """All values of the set, with shape (N, *event)."""
        return self._all()

    def _check_store(self) -> None:
        if self.store.dim() == 0:
            raise DataError(f"{self.name}: values must have shape (N, *event), got a scalar; give one row for each value")


def spread_positions(labels: Tensor, seed: int) -> Tensor:
    """Returns all positions of a set in a random order in which the classes take turns.

    Arguments:
        labels: The class of each value, with shape (N).
        seed: The seed of the order of the classes in each turn and of the values of a class.

    Returns:
        The positions, with shape (N).
    """
    order = torch.randperm(len(labels), generator=generator(seed))
    shuffled = labels[order]
    turns = torch.empty_like(order)
    for label in shuffled.unique():
        members = (shuffled == label).nonzero().squeeze(1)
        turns[members] = torch.arange(len(members))
    return order[turns.argsort(stable=True)]


def _require_indices(values: object, num: int, noun: str) -> None:
    """Raises a DataError if values are no whole numbers from 0 to num - 1, of shape (N); those of a device are not read."""
    if not isinstance(values, Tensor) or values.dim() != 1:
        raise DataError(
            f"{noun} are a tensor of whole numbers of one axis, got {shown(values)}; use torch.tensor([0, 1, ...])"
        )
    if values.dtype not in INDICES:
        kind = str(values.dtype).removeprefix("torch.")
        raise DataError(f"{noun} are whole numbers, got {kind}; use .long(), or .nonzero().squeeze(1) of a mask")
    if values.device.type == "cpu" and len(values):
        low, high = map(int, values.aminmax())
        if low < 0 or high >= num:
            raise DataError(f"{noun} run from 0 to {num - 1:,}, got {low if low < 0 else high}")


Share = Annotated[float, Within(0, 1)]
AnyDataset = TypeVar("AnyDataset", bound=Dataset)


@checked(DataError)
def hold_out(dataset: AnyDataset, share: Share, *, seed: Seed, splits: tuple[str, str]) -> tuple[AnyDataset, AnyDataset]:
    """Splits a data set at random into the rest and a held-out share.

    Arguments:
        dataset: The set to split.
        share: The share to hold out, between 0 and 1; at least one value is held out, and at least one is left.
        seed: The seed of the random order.
        splits: The names of the rest and of the held-out part.

    Returns:
        The rest and the held-out part, each in the order of the set.

    Raises:
        DataError: If there is only one value.
    """
    if len(dataset) < 2:
        one = dataset.noun.removesuffix("s")
        raise DataError(
            f"{dataset.name}: one {one} cannot be split into {splits[0]} and {splits[1]}; add more {dataset.noun}"
        )
    order = torch.randperm(len(dataset), generator=generator(seed))
    num_held = min(max(round(share * len(dataset)), 1), len(dataset) - 1)
    rest, held = order[num_held:].sort().values, order[:num_held].sort().values
    return dataset.take(rest, splits[0]), dataset.take(held, splits[1])
