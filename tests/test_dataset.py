"""Data sets of any event shape, their batches, binarization, and held-out parts."""

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.rng import generator
from vaekit.data import Batches, Dataset, ImageSet, TensorSet, binarize, compose, hold_out, sample_binary
from vaekit.data import batches as batches_module
from vaekit.data.row_files import Rows

ORDERS = [[[4, 1, 5, 6], [0, 2, 3, 8], [7]], [[7, 4, 8, 6], [1, 3, 5, 2], [0]]]
HELD_OUT = [[0, 1, 2, 3, 5, 6], [4, 7, 8]]
SAMPLE = [0, 5, 8, 1]
BINARY_BATCHES = [
    [1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1],
    [0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1],
    [0, 0, 1, 0, 0, 1, 1, 0],
]
BINARIZED = [
    *(0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0),
    *(0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1),
]
"""What the seeds of ``test_random_numbers_of_a_seed_never_change`` gave when it was written."""


def numbered(num: int, shape: tuple[int, int, int] = (1, 2, 2)) -> ImageSet:
    """Images of which image ``i`` has the gray level and the label ``i``."""
    levels = torch.arange(num, dtype=torch.uint8)
    return ImageSet(levels.reshape(-1, 1, 1, 1).expand(num, *shape).contiguous(), levels.long())


def table(num: int, num_columns: int = 20) -> TensorSet:
    """A table of floats of which row ``i`` holds ``i + column / 100`` and has the label ``i``."""
    rows = torch.arange(num)
    return TensorSet(rows[:, None] + torch.arange(num_columns) / 100, rows, name="table")


# Sets of any event shape


@pytest.mark.parametrize("event", [(), (20,), (3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.uint8])
def test_gather_returns_these_rows_in_this_order(event: tuple[int, ...], dtype: torch.dtype) -> None:
    values = (torch.arange(7 * math.prod(event)).reshape(7, *event) % 251).to(dtype)
    dataset = TensorSet(values, torch.arange(7), name="any")
    assert (len(dataset), dataset.shape, dataset.split) == (7, event, "train")
    rows = dataset.gather(torch.tensor([6, 0, 3, 3]))
    assert rows.dtype == dtype
    assert torch.equal(rows, torch.stack([values[6], values[0], values[3], values[3]]))
    part = dataset.take(torch.tensor([5, 2, 4]), "test")
    assert torch.equal(part.values, values[[5, 2, 4]])
    assert torch.equal(part.gather(torch.tensor([2, 0])), values[[4, 5]])
    nested = part.take(torch.tensor([2, 1]))
    assert torch.equal(nested.values, values[[4, 2]])
    assert (nested.labels.tolist(), nested.split, nested.name) == ([4, 2], "test", "any")
    assert torch.equal(part.to(torch.device("cpu")).store, values[[5, 2, 4]])


def test_number_of_bytes_counts_the_element_size() -> None:
    assert table(10, 20).num_bytes == 10 * 20 * 4
    assert TensorSet(torch.zeros(10, 20, dtype=torch.float64)).take(torch.arange(3)).num_bytes == 3 * 20 * 8
    assert numbered(10, (3, 4, 5)).num_bytes == 10 * 60
    assert TensorSet(torch.zeros(10)).num_bytes == 40


def test_first_values_and_random_samples() -> None:
    dataset = table(30)
    assert dataset.first(3).labels.tolist() == [0, 1, 2]
    assert len(dataset.first(99)) == len(dataset.sample(99, seed=0)) == 30
    large, small = dataset.sample(12, seed=4), dataset.sample(5, seed=4)
    assert large.labels.tolist()[:5] == small.labels.tolist()
    assert len(set(large.labels.tolist())) == 12
    assert torch.equal(large.values[:, 0].long(), large.labels)
    assert dataset.sample(5, seed=5).labels.tolist() != small.labels.tolist()


def test_class_names() -> None:
    values, labels = torch.zeros(3, 2), torch.tensor([0, 2, 1])
    assert TensorSet(values).class_names == ()
    assert TensorSet(values, labels).class_names == ("0", "1", "2")
    assert TensorSet(values, labels, ("a", "b", "c")).class_names == ("a", "b", "c")


def test_names_follow_their_values() -> None:
    dataset = TensorSet(torch.arange(4.0), names=("a", "b", "c", "d"))
    assert dataset.take(torch.tensor([3, 1])).names == ("d", "b")
    assert dataset.first(2).names == ("a", "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorSet(torch.tensor(1.0)), "array: .*scalar"),
        (lambda: TensorSet(torch.zeros(0, 3), name="t", split="test"), "t: .*test split.*rows"),
        (lambda: TensorSet(torch.zeros(3, 2), torch.zeros(4)), "array: 4 labels.*3 rows"),
        (lambda: TensorSet(torch.zeros(3, 2), names=("a",)), "array: 1 names.*3 rows"),
        (lambda: ImageSet(torch.zeros(3, 1, 2, 2)), r"uint8.*float32 of shape \(3, 1, 2, 2\)"),
        (lambda: ImageSet(torch.zeros(3, 2, 2, dtype=torch.uint8)), r"uint8.*\(3, 2, 2\)"),
        (lambda: ImageSet(torch.zeros(0, 1, 2, 2, dtype=torch.uint8)), "array: .*train split.*images"),
        (lambda: ImageSet(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(2)), "array: 2 labels.*3 images"),
    ],
)
def test_invalid_sets(make: Callable[[], Dataset], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


# Batches


def epoch_of(batches: Batches) -> tuple[Tensor, Tensor]:
    """The values and the labels of an epoch."""
    epoch = list(batches)
    assert len(epoch) == len(batches)
    return torch.cat([batch.x for batch in epoch]), torch.cat([batch.y for batch in epoch])


@pytest.mark.parametrize("num", [1, 7, 8, 9, 33])
@pytest.mark.parametrize("make", [numbered, table])
def test_an_epoch_has_every_value_once(make: Callable[[int], Dataset], num: int) -> None:
    dataset = make(num)
    batches = Batches(dataset, 8, seed=3)
    assert [len(batch) for batch in batches] == [8] * (num // 8) + ([num % 8] if num % 8 else [])
    batches = Batches(dataset, 8, seed=3)
    (x, first), (_, second) = epoch_of(batches), epoch_of(batches)
    assert torch.equal(x, dataset.gather(first))
    assert torch.equal(x.flatten(1)[:, 0].long(), first)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(num))
    if num > 7:
        assert first.tolist() != second.tolist()
    assert torch.equal(epoch_of(Batches(dataset, 8, seed=3))[1], first)
    for batch in Batches(dataset, 8, seed=4):
        assert torch.equal(batch.x, dataset.gather(batch.rows))


def test_random_numbers_of_a_seed_never_change() -> None:
    """A recipe's results depend on these numbers."""
    for dataset in (numbered(9), table(9)):
        batches = Batches(dataset, 4, seed=3)
        assert [batch.y.tolist() for batch in batches] == ORDERS[0]
        assert [batch.y.tolist() for batch in batches] == ORDERS[1]
        assert [part.labels.tolist() for part in hold_out(dataset, 0.3, seed=5, splits=("a", "b"))] == HELD_OUT
        assert dataset.sample(4, 7).labels.tolist() == SAMPLE
    gray = ImageSet(torch.full((12, 1, 2, 2), 128, dtype=torch.uint8), torch.arange(12))
    batches = Batches(gray, 5, seed=3, transform=sample_binary)
    assert [(batch.x // 255).flatten().tolist() for batch in batches] == BINARY_BATCHES
    assert (binarize(gray, seed=0).pixels // 255).flatten().tolist() == BINARIZED


@pytest.mark.parametrize("interruption", [0, 1, 3, 5])
@pytest.mark.parametrize("make", [numbered, table])
def test_batches_resume_from_their_state(make: Callable[[int], Dataset], interruption: int) -> None:
    dataset = make(33)

    def noisy(x: Tensor, noise: torch.Generator) -> Tensor:
        return x + torch.rand(x.shape, generator=noise)

    def epochs(batches: Batches, num: int) -> list[Tensor]:
        return [batch.x for _ in range(num) for batch in batches]

    expected = epochs(Batches(dataset, 8, seed=1, transform=noisy), 3)
    first = Batches(dataset, 8, seed=1, transform=noisy)
    x = epochs(first, 1)
    state = first.state_dict()
    if interruption:
        for count, batch in enumerate(first, 1):
            x.append(batch.x)
            state = first.state_dict()
            if count == interruption:
                break
    second = Batches(dataset, 8, seed=77, transform=noisy)
    second.load_state_dict(state)
    x += epochs(second, 2)
    assert len(x) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(x, expected, strict=True))


def test_transform_of_a_table() -> None:
    dataset = table(10)
    shift = compose([lambda x, noise: x + 1, lambda x, noise: 2 * x])
    x, y = epoch_of(Batches(dataset, 3, seed=0, transform=shift))
    assert torch.equal(x, 2 * (dataset.gather(y) + 1))


def test_batches_without_labels() -> None:
    assert all(batch.y is None for batch in Batches(TensorSet(torch.arange(5.0)), 2, seed=0))


# Batches from disk, and on an accelerator


def make_pixels(num: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Noise of shape (num, 3, 4, 5)."""
    return np.random.default_rng(1).integers(0, 256, (num, 3, 4, 5), np.uint8)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Seven images on disk."""
    rows = Rows.create(tmp_path / "rows.npy", (7, 3, 4, 5))
    rows.write(0, make_pixels(7))
    return rows


def test_batches_from_disk_equal_those_from_memory(rows: Rows) -> None:
    memory, labels = torch.from_numpy(make_pixels(7)), torch.arange(7)
    selected = torch.tensor([6, 5, 1, 2, 0])
    in_memory, on_disk = (ImageSet(store, labels[selected], rows=selected) for store in (memory, rows))
    assert (in_memory.on_disk, on_disk.on_disk) == (False, True)
    pair = Batches(in_memory, 2, seed=3), Batches(on_disk, 2, seed=3)
    for _ in range(2):
        for a, b in zip(*pair, strict=True):
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.y, b.y)
            assert torch.equal(a.x, memory[a.y])
    assert torch.equal(on_disk.pixels, memory[selected])
    assert torch.equal(on_disk.to(torch.device("cpu")).pixels, memory[selected])


def test_batches_from_disk_resume_and_leave_no_thread(rows: Rows) -> None:
    expected = [batch.x for batch in Batches(ImageSet(rows), 2, seed=3)]
    interrupted = Batches(ImageSet(rows), 2, seed=3)
    for number, _ in enumerate(interrupted):
        if number == 1:
            break
    resumed = Batches(ImageSet(rows), 2, seed=3)
    resumed.load_state_dict(interrupted.state_dict())
    rest = [batch.x for batch in resumed]
    assert [len(x) for x in rest] == [2, 1]
    assert all(torch.equal(a, b) for a, b in zip(rest, expected[2:], strict=True))
    assert all(thread.name != "vaekit-read-ahead_0" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("dataset", "num_bytes"),
    [(numbered(90), 360), (TensorSet(torch.zeros(90)), 360), (TensorSet(torch.zeros(9, 5, dtype=torch.float64)), 360)],
    ids=["uint8", "float32", "float64"],
)
@pytest.mark.parametrize("fits", [True, False])
def test_data_are_moved_to_an_accelerator_if_they_fit(
    dataset: Dataset, num_bytes: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[torch.device] = []

    def to(dataset: Dataset, device: torch.device) -> Dataset:
        moved.append(device)
        return dataset

    limit = num_bytes / batches_module.MAX_MEMORY_SHARE
    free = int(limit) + 2 if fits else int(limit) - 2
    monkeypatch.setattr(Dataset, "to", to)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    for device in ("cuda", "cpu"):
        batches_module.move_if_it_fits(dataset, torch.device(device))
    assert moved == [torch.device("cuda")] * fits


# Binarization


def test_binarization_has_the_gray_level_as_probability() -> None:
    levels = torch.tensor([0, 1, 64, 128, 254, 255], dtype=torch.uint8)
    binary = sample_binary(levels.expand(200_000, 6).contiguous(), generator(0))
    assert set(binary.unique().tolist()) == {0, 255}
    rate = (binary == 255).double().mean(0)
    probability = levels.double() / 255
    error = (probability * (1 - probability) / 200_000).sqrt()
    assert ((rate - probability).abs() <= 5 * error).all()  # exactly 0 and 1 at the ends


def test_static_binarization_depends_only_on_its_seed() -> None:
    images = numbered(200)
    a, b, c = binarize(images, seed=0), binarize(images, seed=0), binarize(images, seed=1)
    assert torch.equal(a.pixels, b.pixels)
    assert not torch.equal(a.pixels, c.pixels)
    assert a.is_binary()
    assert not images.is_binary()
    assert "seed 0" in a.binary


# Held-out parts


@pytest.mark.parametrize("make", [numbered, table])
def test_held_out_parts_are_a_partition_that_the_seed_determines(make: Callable[[int], Dataset]) -> None:
    dataset = make(100)
    rest, held = hold_out(dataset, 0.2, seed=0, splits=("train", "validation"))
    assert (len(rest), len(held), rest.split, held.split) == (80, 20, "train", "validation")
    assert sorted(rest.labels.tolist() + held.labels.tolist()) == list(range(100))
    assert set(rest.labels.tolist()).isdisjoint(held.labels.tolist())
    for part in (rest, held):
        assert torch.equal(part.gather(torch.arange(len(part))), dataset.gather(part.labels))
    again = hold_out(dataset, 0.2, seed=0, splits=("train", "validation"))[1]
    other = hold_out(dataset, 0.2, seed=1, splits=("train", "validation"))[1]
    assert again.labels.tolist() == held.labels.tolist() != other.labels.tolist()
    nested, _ = hold_out(rest, 0.5, seed=0, splits=("a", "b"))
    assert set(nested.labels.tolist()) <= set(rest.labels.tolist())
    assert [len(part) for part in hold_out(dataset.first(3), 0.0, seed=0, splits=("a", "b"))] == [2, 1]
    assert [len(part) for part in hold_out(dataset.first(3), 1.0, seed=0, splits=("a", "b"))] == [1, 2]


@pytest.mark.parametrize(("dataset", "message"), [(numbered(1), "array: one image"), (table(1), "table: one row")])
def test_one_value_cannot_be_split(dataset: Dataset, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hold_out(dataset, 0.5, seed=0, splits=("a", "b"))
