"""The idx files of MNIST and its relatives, alone and in folders, plain and compressed, whole and damaged."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.commands import Refuse, done
from vaekit.core.errors import DataError
from vaekit.data import load_images

pytestmark = pytest.mark.usefixtures("empty_cache")

GRAY = np.random.default_rng(0).integers(0, 256, (10, 6, 5), np.uint8)
CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(values: np.ndarray, code: int | None = None) -> bytes:
    """Values as an idx file."""
    header = bytes([0, 0, CODES[values.dtype.name] if code is None else code, values.ndim])
    return header + struct.pack(f">{values.ndim}I", *values.shape) + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder: Path, dot: str = "-", packed: bool = False, start: str = "") -> Path:
    """The four files of MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", slice(0, 7)), ("t10k", slice(7, 10))):
        if start:
            split = split.replace("t10k", "test")
        for name, values in ((f"images{dot}idx3", GRAY[rows]), (f"labels{dot}idx1", np.arange(10, dtype=np.uint8)[rows])):
            content = idx(values)
            path = folder / f"{start}{split}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_folders_of_idx_files(dot: str, packed: bool, below: str, tmp_path: Path) -> None:
    write_mnist(tmp_path / "mine" / below, dot, packed)
    train, test = load_images(tmp_path / "mine"), load_images(tmp_path / "mine", "test")
    np.testing.assert_array_equal(train.pixels[:, 0].numpy(), GRAY[:7])
    np.testing.assert_array_equal(test.pixels[:, 0].numpy(), GRAY[7:])
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])
    assert train.classes == tuple("0123456789")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte.gz"])
def test_one_idx_file_with_its_labels_beside(name: str, tmp_path: Path) -> None:
    write_mnist(tmp_path, "." if "." in name else "-", name.endswith(".gz"))
    out = done("data", tmp_path / name, "-o", tmp_path / "x.png").splitlines()
    assert out[:2] == ["train: 7 images, gray", "  sizes       6x5 (7)"]
    images = load_images(tmp_path / name, "all")
    np.testing.assert_array_equal(images.pixels[:, 0].numpy(), GRAY[:7])
    assert images.labels is not None
    assert images.labels.tolist() == list(range(7))


def test_of_a_file_that_is_there_twice_one_is_read(tmp_path: Path) -> None:
    write_mnist(write_mnist(tmp_path), packed=True)
    assert len(load_images(tmp_path)) == 7


def test_changed_labels_are_read_again(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    load_images(tmp_path / "train-images-idx3-ubyte", "all")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(7, 100, np.uint8)))
    assert load_images(tmp_path / "train-images-idx3-ubyte", "all").classes == ("100",)


def test_several_data_sets_in_a_folder_are_configurations(tmp_path: Path) -> None:
    for start in ("emnist-letters-", "emnist-digits-"):
        write_mnist(tmp_path, start=start, packed=True)
    with pytest.raises(DataError, match=r"several data sets, emnist-digits, emnist-letters; .*:emnist-digits"):
        load_images(tmp_path)
    assert len(load_images(f"{tmp_path}:emnist-letters")) == 7
    assert load_images(f"{tmp_path}:emnist-letters", "test").name == f"{tmp_path.name}:emnist-letters"
    with pytest.raises(DataError, match=r"no data set emnist-letter .*'emnist-letters'"):
        load_images(f"{tmp_path}:emnist-letter")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_types_of_values(dtype: str, tmp_path: Path) -> None:
    values = GRAY if dtype == "uint8" else (GRAY / 255).astype(dtype)
    (tmp_path / "some-images-idx3-ubyte").write_bytes(idx(values))
    np.testing.assert_array_equal(load_images(tmp_path / "some-images-idx3-ubyte", "all").pixels[:, 0].numpy(), GRAY)


DAMAGED = {
    "empty": b"",
    "another file": b"\x93NUMPY and more",
    "no type": idx(GRAY, code=7),
    "no values": idx(GRAY)[:16],
    "truncated": idx(GRAY)[:-1],
    "too long": idx(GRAY) + b"x",
    "half a header": idx(GRAY)[:9],
    "huge": b"\0\0\x08\x03" + b"\xff" * 12,
    "many dimensions": b"\0\0\x08\xff" + bytes(2000),
    "a page of the web": b"<html><body>404</body></html>",
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_refused_in_a_line(case: str, packed: bool, tmp_path: Path, refuse: Refuse) -> None:
    name = "train-images-idx3-ubyte" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(DAMAGED[case]) if packed else DAMAGED[case])
    refuse("data", name, says=(name, "download"))


def test_truncated_compression_is_refused_in_a_line(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GRAY))[:-60])
    refuse("data", "train-images-idx3-ubyte.gz", says=("train-images-idx3-ubyte.gz", "download it again"))


def test_a_bomb_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    values = b"\0\0\x08\x03" + struct.pack(">3I", 1500, 500, 400)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(values + bytes(300_000_000), 1))
    refuse("data", "train-images-idx3-ubyte.gz", says=("expand",))


def test_files_of_labels_and_wrong_labels_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: holds labels"):
        load_images(tmp_path / "train-labels-idx1-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(9, np.uint8)))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: 9 labels for 7 images"):
        load_images(tmp_path)
