"""Hostile sources of images: each is read, or refused in one line, and nothing else happens."""

import json
import os
import resource
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.commands import Refuse, done
from tests.hostile_arrays import array, npz
from tests.hostile_data import cases, zoo
from tests.hostile_files import MARKER, images, png
from vaekit.core.errors import DataError
from vaekit.data import ImageSet, SplitSummary, inspect, load_images

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""

NUM_DAMAGED = 150
"""The number of cases of random damage."""
MAX_MEMORY = 10**9
"""The largest growth of the process's memory for all of them, in bytes."""
IDX = "train-images-idx3-ubyte"
"""A file that makes a folder one of idx files."""
MAX_LINE = 1500
"""The longest message."""

READ = {
    "npy: uint8": 20,
    "npy: float": 20,
    "npy: fortran float": 20,
    "npy: big-endian": 20,
    "npy: channels": 20,
    "npy: version 2": 4,
    "npz: labels": 20,
    "npz: mixed labels": 20,
    "zip: images": 20,
    "zip: images among texts": 20,
    "zip: same names": 2,
    "zip: nested": 20,
    "tar: no mode": 20,
    "tar: nested": 20,
    "tar: absolute path": 21,
    "folder: pipe": 40,
    "folder: socket": 40,
    "folder: loops": 40,
    "folder: name that is not UTF-8": 41,
    "folder: class that is not UTF-8": 60,
    "folder: card: images": 40,
    "image among others: cmyk.jpg": 41,
    "image among others: bomb.png": 40,
    "image among others: nonsense.jpg": 41,
    "metadata.csv: good": 20,
    "metadata.jsonl: good": 20,
    "parquet: labels": 20,
    "parquet: integer names": 20,
    "parquet: null labels": 20,
    "idx: good": 20,
    "idx: folder in place of labels": 20,
    "saved: good": 20,
    "saved: twice": 40,
    "labels.csv: good": 20,
    "labels.csv: pipe": 20,
    "list: labels": 20,
}
"""The number of images that are read in some cases."""

REFUSED = {
    "npy header: negative side": ("a.npy", "header"),
    "npy header: zero side": ("a.npy", "pixels"),
    "npy header: huge": ("a.npy", "1,000,000,000,000,000 bytes"),
    "npy header: code": ("a.npy", "header is damaged"),
    "npy header: structured": ("a.npy", "fields"),
    "npy header: objects": ("a.npy", "Python objects"),
    "npy: one bad float": ("a: ", "1e+30"),
    "npy: trap": ("a.npy", "Python objects"),
    "npy: pipe": ("a.npy", "neither a file nor a folder"),
    "npz: bomb": ("a.npz", "would expand"),
    "npz: split that is a path": ("a: ", "split"),
    "zip: texts": ("pics.zip: no images", "30,000 files"),
    "zip: bomb": ("pics.zip", "would expand"),
    "zip: overlapping": ("pics.zip", "would expand"),
    "zip: nested bomb": ("pics.zip: inner.zip", "would expand"),
    "zip: path of Windows": ("pics.zip", "outside"),
    "tar.gz: bomb": ("pics.tar.gz", "would expand"),
    "tar.gz: bomb that is no image": ("pics.tgz", "expand"),
    "tar.gz: header": ("pics.tgz", "headers states 268,435,456 bytes"),
    "folder: pipe as metadata": ("metadata.csv", "not a regular file"),
    "folder: run": ("run: a run or model folder",),
    "folder: model": ("m: a run or model folder",),
    "folder: card: absolute": ("README.md", "'/etc/*'"),
    "folder: card: address": ("README.md", "https://"),
    "metadata.jsonl: null": ("metadata.jsonl", "null"),
    "metadata.jsonl: deep": ("metadata.jsonl", "nested"),
    "metadata.csv: path out": ("pics",),  # no images, or not in its folder, by the version of datasets
    "parquet: labels out of range": ("a.parquet", "label holds 2", "2 classes"),
    "parquet: null images": ("a: 20 of 20 images",),
    "parquet: paths out": ("a.parquet", "/etc/passwd"),
    "parquet: very many rows": ("a.parquet", "3,000,000 rows"),
    "parquet: repeated": ("a.parquet", "would expand"),
    "idx: huge": ("train-images-idx3-ubyte", "free"),
    "idx: folder with other labels": ("train-labels-idx1-ubyte", "3 labels for 20 images"),
    "saved: bomb": ("a.arrow", "compressed"),
    "saved: path out": ("state.json", "lists"),
    "saved: paths out": ("set", "/etc/passwd"),
    "saved: splits out": ("dataset_dict.json", "lists '..'"),
    "list: device with a label": ("list: 2 of 2 images",),
}
"""Parts of the message in some cases."""


def outcome(source: Path) -> ImageSet | str:
    """The images of a source, or the line that refuses it, after it was inspected as well."""
    try:
        inspected: list[SplitSummary] | str = inspect(source)
    except DataError as error:
        inspected = one_line(error)
    try:
        size = None if source.suffix in (".npy", ".npz") or "idx" in source.name or os.path.exists(source / IDX) else (6, 5)
        loaded = load_images(source, "all" if isinstance(inspected, str) or len(inspected) == 1 else "train", size=size)
    except DataError as error:
        return one_line(error)
    assert not isinstance(inspected, str), inspected
    return loaded


def one_line(error: DataError) -> str:
    """The message of an error."""
    line = str(error)
    assert line.splitlines() == [line]
    assert len(line) < MAX_LINE
    return line


def memory() -> int:
    """The peak memory of the process, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_every_case_is_read_or_refused_in_a_line(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, outcomes, num_zoo = memory(), dict[str, ImageSet | str](), len(zoo())
    for number, (name, write) in enumerate(islice(cases(0), num_zoo + NUM_DAMAGED)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        source = write(folder)
        files = set(folder.rglob("*"))
        try:
            outcomes[name] = outcome(source)
        except BaseException as error:
            error.add_note(f"in the case {name!r}")
            raise
        assert set(folder.rglob("*")) == files, name
    assert not any(path.name.startswith(MARKER) for path in tmp_path.rglob("*"))
    assert not any(path.name.startswith(MARKER) for path in empty_cache.rglob("*"))
    assert not any(path.name.startswith(MARKER) for path in Path("/tmp").iterdir())
    assert not list(empty_cache.glob(".filling-*"))
    assert memory() - before < MAX_MEMORY
    for name, num in READ.items():
        assert isinstance(read := outcomes[name], ImageSet), (name, read)
        assert len(read) == num, name
    for name, parts in REFUSED.items():
        assert isinstance(line := outcomes[name], str), (name, line)
        assert [part for part in parts if part not in line] == [], (name, line)


# Arrays


NOISE = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), np.uint8)
LAYOUTS = {
    "gray": (NOISE[..., 0], NOISE[..., :1]),
    "first": (NOISE.transpose(0, 3, 1, 2), NOISE),
    "last": (NOISE, NOISE),
    "float": (NOISE / 255, NOISE),
    "fortran": (np.asfortranarray(NOISE), NOISE),
    "bool": (NOISE[..., 0] > 99, np.where(NOISE[..., :1] > 99, 255, 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_inspected_and_loaded(layout: str, suffix: str, tmp_path: Path) -> None:
    values, expected = LAYOUTS[layout]
    content = array(values) if suffix == ".npy" else npz(images=array(values))
    (tmp_path / f"a{suffix}").write_bytes(content)
    out = done("data", tmp_path / f"a{suffix}", "-o", tmp_path / "x.png").splitlines()
    assert out[0] == f"train: 12 images, {'gray' if expected.shape[-1] == 1 else 'color'}"
    assert out[1].split() == ["sizes", "6x5", "(12)"]
    loaded = load_images(tmp_path / f"a{suffix}", "all").pixels.numpy()
    np.testing.assert_array_equal(loaded.transpose(0, 2, 3, 1), expected)


def test_labels_of_an_archive_are_those_of_all_splits(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "owl"] * 4)
    content = npz(x_train=array(NOISE), y_train=array(names), x_test=array(NOISE[:2]), y_test=array(names[1:3]))
    (tmp_path / "a.npz").write_bytes(content)
    train, test = load_images(tmp_path / "a.npz"), load_images(tmp_path / "a.npz", "test")
    assert train.classes == test.classes == ("cat", "dog", "owl")
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2] * 4, [1, 2])


# Runs that are called like a data set


def run_folder(path: Path, *names: str) -> None:
    """A folder of plots that looks like a run."""
    path.mkdir()
    for name in names:
        (path / name).write_text(json.dumps({}))
    for level in range(5):
        (path / f"{level}.png").write_bytes(png(level=level))


@pytest.mark.parametrize("names", [("recipe.yaml", "environment.json"), ("config.json", "model.safetensors")])
def test_known_name_is_not_taken_for_a_run(names: tuple[str, str], refuse: Refuse, tmp_path: Path) -> None:
    run_folder(tmp_path / "digits", *names)
    assert load_images("digits", "all").shape == (1, 8, 8)
    refuse("train", "--data", "./digits", "--out", "run", says=("digits: a run or model folder",))


def test_folder_of_images_with_a_known_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder(tmp_path / "digits", "recipe.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_images("digits", "all").shape == (1, 5, 6)


# What is written


def test_cache_has_the_mode_of_the_umask(tmp_path: Path, empty_cache: Path) -> None:
    (tmp_path / "pics").mkdir()
    for name, content in images().items():
        (tmp_path / "pics" / name).write_bytes(content)
    before = os.umask(0o002)
    try:
        load_images(tmp_path / "pics")
    finally:
        os.umask(before)
    [entry] = empty_cache.glob("pics-*")
    assert {oct(file.stat().st_mode & 0o777) for file in entry.iterdir()} == {"0o664"}
    assert oct(entry.stat().st_mode & 0o777) == "0o775"
