"""Sources: what a name means, what a folder is read as, and what is refused before anything is written."""

import ctypes
import gc
import json
import os
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image

from tests.commands import Refuse, done, tiles, vae
from vaekit.core.errors import DataError
from vaekit.data import ImageSet, cached, inspect, load_images
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.resolve import Archive, Hub, resolve

Make = Callable[[Path], object]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
"""``datasets`` leaves it to the garbage collector to close the metadata that it has looked into."""


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and no local copies of anything."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("VAEKIT_DATA", raising=False)


@pytest.fixture(autouse=True, scope="module")
def swept() -> Iterator[None]:
    """Collects garbage after these tests, and not in one of another file."""
    yield
    with warnings.catch_warnings(action="ignore"):
        gc.collect()


def image(path: Path, level: int = 0) -> Path:
    """A small image of one gray level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), level).save(path)
    return path


def write_images(folder: Path, names: list[str]) -> Path:
    """A folder of images with these names, whose gray levels are their places in the list."""
    for level, name in enumerate(names):
        image(folder / name, level)
    return folder


def levels(images: ImageSet) -> list[int]:
    """The gray level of each image."""
    return [int(level) for level in images.pixels[:, 0, 0, 0]]


def named(images: ImageSet) -> dict[int, str] | None:
    """The class of each image, by its gray level."""
    if images.labels is None:
        return None
    return {level: images.classes[label] for level, label in zip(levels(images), images.labels.tolist(), strict=True)}


def parquet(path: Path, first: int, num: int = 3, **columns: Any) -> Path:
    """A parquet file of images with gray levels from ``first`` on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [BytesIO() for _ in range(num)]
    for level, file in enumerate(files):
        Image.new("L", (4, 4), first + level).save(file, "PNG")
    cells = [{"bytes": file.getvalue(), "path": None} for file in files]
    features = datasets.Features({"image": datasets.Image()} | {key: feature for key, (_, feature) in columns.items()})
    data = {"image": cells} | {key: values for key, (values, _) in columns.items()}
    datasets.Dataset.from_dict(data, features).to_parquet(path)
    return path


CARD = """---
configs:
- config_name: small
  data_dir: small
- config_name: large
  data_dir: large
---
# Two sets
"""


def repository(folder: Path) -> Path:
    """A hub repository of images with two configurations, one of which has a test split."""
    write_images(folder / "small" / "train", ["0.png", "1.png"])
    for level in (5, 6, 7):
        image(folder / "large" / "train" / f"{level}.png", level)
    image(folder / "large" / "test" / "9.png", 9)
    (folder / "README.md").write_text(CARD)
    return folder


def parquet_folders(folder: Path) -> Path:
    """A repository of parquet files, a folder for each configuration."""
    parquet(folder / "small" / "train-00000-of-00001.parquet", 0)
    parquet(folder / "large" / "train-00000-of-00001.parquet", 10)
    parquet(folder / "large" / "test-00000-of-00001.parquet", 20)
    return folder


# What a name means


@pytest.mark.parametrize(
    ("name", "repo", "called", "config", "revision"),
    [
        ("user/set", "user/set", "user/set", None, None),
        ("user/set@v2", "user/set", "user/set", None, "v2"),
        ("user/set@refs/convert/parquet", "user/set", "user/set", None, "refs/convert/parquet"),
        ("user/set:plain text", "user/set", "user/set:plain text", "plain text", None),
        ("user/set:small@v2", "user/set", "user/set:small", "small", "v2"),
        ("pokemon", "huggan/pokemon", "pokemon", None, None),
        ("pokemon@v2", "huggan/pokemon", "pokemon", None, "v2"),
        ("mnist:small@refs/pr/3", "ylecun/mnist", "mnist:small", "small", "refs/pr/3"),
    ],
)
def test_names_on_the_hub(name: str, repo: str, called: str, config: str | None, revision: str | None) -> None:
    found = resolve(name)
    assert isinstance(found, Hub)
    assert (found.repo, found.name, found.config, found.revision) == (repo, called, config, revision)


def test_identities_tell_configurations_and_revisions_apart() -> None:
    names = ["user/set", "user/set@v2", "user/set:a", "user/set:b", "user/set:a@v2", "user/other", "user/set@main"]
    identities = [json.dumps(resolve(name).identity(), sort_keys=True) for name in names]
    assert len(set(identities)) == 6
    assert identities[0] == identities[-1]
    assert json.loads(identities[0]) == {"hub": "user/set", "revision": "main"}  # as it was before there were configurations


@pytest.mark.parametrize("kind", [Folder, Archive])
def test_identities_on_this_disk_tell_configurations_apart(kind: type[Folder | Archive], tmp_path: Path) -> None:
    image(tmp_path / "set" / "0.png")
    path = tmp_path / "set" if kind is Folder else tmp_path / "set" / "0.png"
    identities = [kind(path, config=config).identity() for config in (None, "a b", "a-b")]
    assert [identity.pop("config", None) for identity in identities] == [None, "a b", "a-b"]
    assert identities[0] == identities[1] == identities[2]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("user/set@", "NAME:CONFIG@REVISION"),
        ("user/set:", "NAME:CONFIG@REVISION"),
        ("user/set:@v2", "NAME:CONFIG@REVISION"),
        ("user/set@v2:small", "as in user/set:small@v2"),
        ("digits@v2", "digits comes with the package"),
        ("digits:small", "digits comes with the package"),
        ("mnits@v2", "did you mean 'mnist'"),
        ("~nobody-of-this-name/set", "no such path"),
        ("./user/set@v2", "no such path"),
        ("a/b/c", "no such path"),
        ("x" * 5000, "no such path"),
        ("nul\0l", "no such path"),
    ],
)
def test_names_that_mean_nothing(name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        resolve(name)


def test_a_name_on_this_disk_comes_before_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("user/set:small", "user/set@v2", "digits"):
        write_images(tmp_path / name, ["0.png", "1.png"])
        found = resolve(name)
        assert isinstance(found, Folder)
        assert found.config is None
        assert len(load_images(name, "all")) == 2
    assert isinstance(resolve("./digits"), Folder)
    (tmp_path / "digits" / "0.png").unlink()
    assert isinstance(resolve("mnist"), Hub)


# Configurations


def test_hub_sets_are_asked_for_by_configuration_and_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = repository(tmp_path / "snapshot"), []

    def download(repo: str, kind: str, revision: str | None) -> Path:
        asked.append((repo, kind, revision))
        return folder

    monkeypatch.setattr("vaekit.data.sources.resolve.download", download)
    small, large = load_images("user/set:small", "all"), load_images("user/set:large@v2")
    assert (levels(small), levels(large)) == ([0, 1], [5, 6, 7])
    assert (small.name, large.name) == ("user/set:small", "user/set:large")
    assert levels(load_images("user/set:large@v2", "test")) == [9]
    assert asked == [("user/set", "dataset", None), ("user/set", "dataset", "v2")]
    with pytest.raises(
        DataError, match=r"^user/set: holds several configurations, small, large; say which.*user/set:small$"
    ):
        load_images("user/set@v2")
    with pytest.raises(DataError, match=r"user/set:smal: no such configuration .did you mean 'small'"):
        load_images("user/set:smal@v2")
    with pytest.raises(DataError, match=r"^mnist: holds several configurations, small, large; .* as in mnist:small$"):
        load_images("mnist")
    (folder / "large" / "train" / "bad.png").write_text("no image")
    found = inspect("user/set:large")
    assert [one.num for one in found] == [4, 1]
    assert [one.name for one in found[0].skipped] == ["large/train/bad.png"]  # as it is called in the repository


def error_of(kind: type[HfHubHTTPError]) -> HfHubHTTPError:
    """An answer of the hub."""
    return kind("no", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            LocalEntryNotFoundError("offline"),
            ("huggan/pokemon at revision v9 was never downloaded", "folder that holds pokemon/"),
        ),
        (error_of(RevisionNotFoundError), ("huggan/pokemon: has no revision v9",)),
        (error_of(RepositoryNotFoundError), ("huggan/pokemon: no such data set", "private")),
        (error_of(HfHubHTTPError), ("huggan/pokemon: could not be downloaded (no",)),
        (ValueError("two\nlines"), ("could not be downloaded (two lines)",)),
    ],
)
def test_hub_that_has_no_such_thing(
    error: Exception, says: tuple[str, ...], refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*args: object) -> Path:
        raise error

    monkeypatch.setattr("vaekit.data.sources.resolve.download", download)
    refuse("train", "--data", "pokemon:cards@v9", "--out", "run", says=says)
    assert cached() == []


@pytest.mark.parametrize("make", [repository, parquet_folders])
def test_local_copies_are_asked_for_by_configuration(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pokemon")
    expected = {repository: ([0, 1], [5, 6, 7], [9]), parquet_folders: ([0, 1, 2], [10, 11, 12], [20, 21, 22])}[make]
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    for name in ("pokemon", str(tmp_path / "pokemon")):
        assert levels(load_images(f"{name}:small", "all")) == expected[0]
        assert levels(load_images(f"{name}:large")) == expected[1]
        assert levels(load_images(f"{name}:large", "test")) == expected[2]
        for split in ("train", "test"):
            assert load_images(f"{name}:large", split).labels is None  # its folders are splits and no classes
        with pytest.raises(
            DataError, match=f"^{name}: holds several configurations, .*; say which, as in {name}:(small|large)$"
        ):
            load_images(name)
        with pytest.raises(DataError, match=r"pokemon:huge: no such configuration .known: large, small"):
            load_images(f"{name}:huge")
        for typed in (f"{name}@v2", f"{name}:small@v2"):
            with pytest.raises(
                DataError, match=r"pokemon is a copy on this disk, of which nobody knows the revision; leave out @v2"
            ):
                load_images(typed)
    assert load_images("pokemon:small", "all").name == "pokemon:small"
    assert len(cached()) == 2  # one for each configuration, however its folder was called


def test_configuration_that_is_meant_where_none_is_asked_for(tmp_path: Path) -> None:
    folder = repository(tmp_path / "set")
    (folder / "README.md").write_text(CARD.replace("data_dir: large", "data_dir: large\n  default: true"))
    assert levels(load_images(folder)) == [5, 6, 7]
    assert levels(load_images(f"{folder}:small", "all")) == [0, 1]
    (folder / "README.md").write_text("---\nlicense: mit\n---\nno configurations\n")
    assert levels(load_images(folder)) == [5, 6, 7, 0, 1]
    with pytest.raises(DataError, match="set:small: no such configuration, it has none"):
        load_images(f"{folder}:small")


@pytest.mark.parametrize(
    "text", ["---\n[: no yaml\n---\n", "---\n- a\n- b\n---\n", "---\nconfigs: many\n---\n", "", "\0\xff"]
)
def test_any_file_may_be_called_a_card(text: str, tmp_path: Path) -> None:
    write_images(tmp_path / "set", ["0.png", "1.png"])
    (tmp_path / "set" / "README.md").write_bytes(text.encode("latin-1"))
    assert levels(load_images(tmp_path / "set", "all")) == [0, 1]


def test_archives_are_asked_for_by_configuration(tmp_path: Path) -> None:
    folder = repository(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    assert isinstance(resolve(f"{tmp_path}/set.zip:small"), Archive)
    assert levels(load_images(f"{tmp_path}/set.zip:small", "all")) == [0, 1]
    assert levels(load_images(f"{tmp_path}/set.zip:large", "test")) == [9]
    with pytest.raises(DataError, match=r"^.*/set.zip: holds several configurations, small, large; .*/set.zip:small$"):
        load_images(tmp_path / "set.zip")
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"a.npy: a file of this kind has no configurations; leave out :small"):
        load_images(f"{tmp_path}/a.npy:small")


def test_folder_of_splits_has_no_configurations(tmp_path: Path) -> None:
    parquet(tmp_path / "set" / "train" / "0.parquet", 0)
    parquet(tmp_path / "set" / "test" / "0.parquet", 10)
    assert levels(load_images(tmp_path / "set", "test")) == [10, 11, 12]
    parquet(tmp_path / "one" / "data" / "train-00000-of-00001.parquet", 0)
    assert levels(load_images(tmp_path / "one", "all")) == [0, 1, 2]


# Metadata and labels


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (["red", "blue", "red", "green"], ("blue", "green", "red")),
        ([10, 9, 10, -1], ("-1", "9", "10")),
        ([True, False] * 2, ("False", "True")),
    ],
)
def test_label_column_of_metadata_gives_classes(
    kind: str, given: list[Any], classes: tuple[str, ...], tmp_path: Path
) -> None:
    metadata(write_images(tmp_path / "set", ["0.png", "1.png", "in/2.png", "in/3.png", "no.png"]), given, kind)
    images = load_images(tmp_path / "set", "all")
    assert images.classes == classes
    assert named(images) == {level: str(label) for level, label in enumerate(given)}  # what is not named is not read


def metadata(folder: Path, labels: list[Any], kind: str = "csv", column: str = "label", first: int = 0) -> Path:
    """Writes beside images what each is; those from the third on lie in a folder, if it is there."""
    names = [
        f"{first + n}.png" if (folder / f"{first + n}.png").exists() else f"in/{first + n}.png" for n in range(len(labels))
    ]
    if kind == "csv":
        lines = [
            f"file_name,{column}",
            *(f"{name},{'' if label is None else label}" for name, label in zip(names, labels, strict=True)),
        ]
    else:
        lines = [json.dumps({"file_name": name, column: label}) for name, label in zip(names, labels, strict=True)]
    (folder / f"metadata.{kind}").write_text("\n".join(lines) + "\n")
    return folder


def test_metadata_without_classes(tmp_path: Path) -> None:
    caption = metadata(write_images(tmp_path / "caption", ["0.png", "1.png"]), ["a cat", "a dog"], column="text")
    number = metadata(write_images(tmp_path / "number", ["0.png", "1.png"]), [0.5, 1.5])
    for folder in (caption, number):
        images = load_images(folder, "all")
        assert (levels(images), images.labels, images.classes) == ([0, 1], None, ())


def test_too_many_values_are_no_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = metadata(write_images(tmp_path / "set", [f"{n}.png" for n in range(5)]), [f"caption {n}" for n in range(5)])
    assert load_images(folder, "all").class_names == tuple(f"caption {n}" for n in range(5))
    monkeypatch.setattr("vaekit.data.sources.repositories.MAX_CLASSES", 4)
    assert load_images(folder, "all", size=5).labels is None


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_labels_of_some_images_are_no_labels(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = metadata(write_images(tmp_path / "set", ["0.png", "1.png", "2.png"]), ["a", None, "b"], kind)
    images = load_images(folder, "all")
    assert (levels(images), images.labels) == ([0, 1, 2], None)
    assert "1 of 3 images in train have no label, so none of them gets a class" in capsys.readouterr().err


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    metadata(write_images(tmp_path / "set" / "train", ["0.png", "1.png", "2.png"]), ["c", "a", "c"])
    image(tmp_path / "set" / "test" / "9.png", 9)
    metadata(tmp_path / "set" / "test", ["b"], first=9)
    train, test = load_images(tmp_path / "set"), load_images(tmp_path / "set", "test")
    assert train.classes == test.classes == ("a", "b", "c")
    assert (named(train), named(test)) == ({0: "c", 1: "a", 2: "c"}, {9: "b"})


def test_classes_of_arrays_are_those_of_all_splits(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((4, 4, 4), "uint8"), "y_train": np.array([3, 5, 7, 5])[:, None]}
    np.savez(tmp_path / "a.npz", **arrays, x_test=np.ones((2, 4, 4), "uint8"), y_test=np.array([9, 5]))
    train, test = load_images(tmp_path / "a.npz"), load_images(tmp_path / "a.npz", "test")
    assert train.classes == test.classes == ("3", "5", "7", "9")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2, 1], [3, 1])
    np.savez(tmp_path / "b.npz", **arrays, x_test=np.ones((2, 4, 4), "uint8"))
    assert load_images(tmp_path / "b.npz", "test").labels is None


def test_array_files_are_what_they_hold(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, array)
    with (tmp_path / "renamed.npy").open("wb") as file:
        np.savez(file, images=array)
    (tmp_path / "renamed.npz").write_bytes((tmp_path / "A.NPY").read_bytes())
    for name in ("A.NPY", "renamed.npy", "renamed.npz"):
        np.testing.assert_array_equal(load_images(tmp_path / name, "all").pixels[:, 0].numpy(), array)


def test_labels_that_are_kept_secret(tmp_path: Path) -> None:
    """The Hub writes -1 where a test image's class is not told."""
    label = datasets.ClassLabel(names=["cat", "dog"])
    parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet", 0, label=([1, 0, 1], label))
    parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", 10, label=([-1, -1, -1], label))
    train, test = load_images(tmp_path / "set"), load_images(tmp_path / "set", "test")
    assert named(train) == {0: "dog", 1: "cat", 2: "dog"}
    assert (levels(test), test.labels) == ([10, 11, 12], None)
    assert [one.classes for one in inspect(tmp_path / "set")] == [{"cat": 1, "dog": 2}, {}]


def test_declared_classes_come_before_a_column_that_is_called_so(tmp_path: Path) -> None:
    kind = ([1, 0, 0], datasets.ClassLabel(names=["cat", "dog"]))
    parquet(tmp_path / "set.parquet", 0, label=(["x", "y", "z"], datasets.Value("string")), kind=kind)
    assert named(load_images(tmp_path / "set.parquet", "all")) == {0: "dog", 1: "cat", 2: "cat"}


def test_metadata_that_leads_elsewhere(tmp_path: Path, refuse: Refuse) -> None:
    image(tmp_path / "secret.png")
    write_images(tmp_path / "set", ["0.png"])
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        (tmp_path / "set" / "metadata.csv").write_text(f"file_name,label\n0.png,a\n{name},b\n")
        refuse("train", "--data", "set", "--out", "run", says=("set: no images found there",))
    (tmp_path / "set" / "metadata.csv").write_text("image,label\n0.png,a\n")
    refuse("train", "--data", "set", "--out", "run", says=("set: no images found there", "file_name"))


# Folders


LAYOUTS: dict[str, tuple[list[str], dict[str, list[int]], dict[int, str] | None]] = {
    "classes": (["a/0.png", "b/1.png"], {"train": [0, 1]}, {0: "a", 1: "b"}),
    "classes further down": (["x/y/a/0.png", "x/y/b/1.png"], {"train": [0, 1]}, {0: "a", 1: "b"}),
    "groups of classes": (["x/a/0.png", "y/b/1.png", "y/a/2.png"], {"train": [0, 2, 1]}, {0: "a", 1: "b", 2: "a"}),
    "parts of classes": (["a/x/0.png", "b/x/1.png"], {"train": [0, 1]}, {0: "a", 1: "b"}),
    "classes of several depths": (
        ["s/a/0.png", "s/b/x/1.png", "s/b/y/z/2.png"],
        {"train": [0, 1, 2]},
        {0: "a", 1: "b", 2: "b"},
    ),
    "one class": (["a/0.png", "a/1.png"], {"train": [0, 1]}, None),
    "no classes": (["0.png", "1.png"], {"train": [0, 1]}, None),
    "images beside a folder": (["0.png", "a/1.png", "b/2.png"], {"train": [0, 1, 2]}, None),
    "splits": (["train/0.png", "test/1.png"], {"train": [0], "test": [1]}, None),
    "splits of classes": (
        ["train/a/0.png", "train/b/1.png", "test/b/2.png"],
        {"train": [0, 1], "test": [2]},
        {0: "a", 1: "b", 2: "b"},
    ),
    "splits by other names": (
        ["x/Training_2/a/0.png", "x/VAL/b/1.png", "x/my-evaluation/a/2.png"],
        {"train": [0], "validation": [1], "test": [2]},
        {0: "a", 1: "b", 2: "a"},
    ),
    "splits in classes": (
        ["a/train/0.png", "b/train/1.png", "b/test/2.png"],
        {"train": [0, 1], "test": [2]},
        {0: "a", 1: "b", 2: "b"},
    ),
    "only a test split": (["test/a/0.png", "test/b/1.png"], {"test": [0, 1]}, {0: "a", 1: "b"}),
    "a class called train": (
        ["car/0.png", "plane/1.png", "train/2.png"],
        {"train": [0, 1, 2]},
        {0: "car", 1: "plane", 2: "train"},
    ),
    "images called test": (["0.png", "1.png", "test-2.png", "train.png"], {"train": [0, 1, 2, 3]}, None),
    "upper case": (["A/0.PNG", "B/1.JPG", "B/2.Tiff"], {"train": [0, 1, 2]}, {0: "A", 1: "B", 2: "B"}),
}
"""Names of images, what each split holds of them, by number and in order, and their classes."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_a_folder(layout: str, tmp_path: Path) -> None:
    names, splits, classes = LAYOUTS[layout]
    write_images(tmp_path / "set", names)
    found = {one.split: one for one in inspect(tmp_path / "set")}
    assert {split: one.num for split, one in found.items()} == {split: len(of) for split, of in splits.items()}
    assert list(found) == [split for split in ("train", "validation", "test") if split in splits]
    loaded = {split: load_images(tmp_path / "set", split) for split in splits if split != "validation" and len(splits) > 1}
    loaded |= {split: load_images(tmp_path / "set", "all") for split in splits if len(splits) == 1}
    for split, images in loaded.items():
        assert levels(images) == splits[split]
        assert named(images) == (None if classes is None else {number: classes[number] for number in splits[split]})
        if classes is not None:
            assert images.classes == tuple(sorted(set(classes.values())))


def test_what_lies_outside_of_the_splits_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "set", ["train/0.png", "test/1.png", "docs/2.png", "3.png", "4.png", "5.png"])
    assert levels(load_images(tmp_path / "set")) == [0]
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'set'}: 4 images outside of train, test are left out: 3.png, 4.png, 5.png, ..."
    ]


def test_image_called_test_is_not_all_there_is(tmp_path: Path) -> None:
    """What the Hub's patterns would make of one such name among others."""
    metadata(write_images(tmp_path / "set", ["0.png", "1.png", "test-2.png"]), ["a", "b"])
    assert named(load_images(tmp_path / "set", "all")) == {0: "a", 1: "b"}


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["0.png", "1.png", ".2.png", ".git/3.png", "__MACOSX/._0.png"])
    for name in ("notes.txt", "labels.csv", "film.mp4", ".DS_Store", "drawing.svg", "figure.eps"):
        (folder / name).write_text("no image")
    before = resolve(folder).identity()
    assert levels(load_images(folder, "all")) == [0, 1]
    (folder / ".DS_Store").write_text("changed")
    assert resolve(folder).identity() == before
    (folder / "labels.csv").write_text("changed")
    assert resolve(folder).identity() != before


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", ["cats/0.png", "dogs/1.png", "dogs/2.png"])
    image(tmp_path / "set" / "birds" / "3.png", 3)
    image(tmp_path / "beside.png", 9)  # which a link upwards leads to
    links = {
        "cats": "../elsewhere/cats",
        "dogs": "../elsewhere/dogs",
        "again": "birds",
        "here": ".",
        "up": "..",
        "self": "self",
    }
    for name, target in links.items():
        (tmp_path / "set" / name).symlink_to(target)
    (tmp_path / "set" / "birds" / "4.png").symlink_to("../../elsewhere/cats/0.png")
    images = load_images(tmp_path / "set", "all")
    assert sorted(zip(levels(images), (images.classes[label] for label in images.labels), strict=True)) == [
        (0, "birds"),
        (0, "cats"),
        (1, "dogs"),
        (2, "dogs"),
        (3, "birds"),
    ]
    before = resolve(tmp_path / "set").identity()
    image(tmp_path / "elsewhere" / "dogs" / "5.png")
    assert resolve(tmp_path / "set").identity() != before


def test_links_that_lead_nowhere_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "set", [f"{number:02}.png" for number in range(60)])
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    assert levels(load_images(folder, "all")) == list(range(60))
    (told,) = capsys.readouterr().err.splitlines()
    assert "3 of 63 images left out" in told
    for name, reason in (("gone", "No such file"), ("loop", "Too many levels"), ("pipe", "not a file")):
        assert f"{name}.png: not an image that can be read ({reason}" in told
    assert [one.name for one in inspect(folder)[0].skipped] == ["gone.png", "loop.png", "pipe.png"]


def test_names_that_would_be_patterns(tmp_path: Path, refuse: Refuse) -> None:
    names = ["a [1].png", "b*.png", "c?.png"]
    assert levels(load_images(write_images(tmp_path / "holiday [2024]", names), "all")) == [0, 1, 2]
    assert levels(load_images(parquet(tmp_path / "set [1].parquet", 5), "all")) == [5, 6, 7]
    parquet(tmp_path / "hub [1]" / "0.parquet", 5)
    refuse("train", "--data", "hub [1]", "--out", "run", says=("hub [1]: ", "rename it"))


# Mistakes


def zip_of(*names: str, content: bytes = b"") -> Make:
    """A zip of files with these names and nothing but ``content`` in them."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, content)

    return make


def locked_zip(path: Path) -> None:
    """A zip whose one image says that it is encrypted."""
    zip_of("a.png", content=b"secret")(path)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)


def huge_zip(path: Path) -> None:
    """A zip of a few bytes that claims a petabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1000))
        archive.filelist[0].file_size = 2**50


def huge_tar(path: Path) -> None:
    """A tar of a few bytes that claims a petabyte."""
    member = tarfile.TarInfo("a.png")
    member.size = 2**50
    with tarfile.open(path, "w") as archive:
        archive.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))


def linking_zip(path: Path) -> None:
    """A zip with a link to an image outside; unpacked, it is a text file."""
    member = zipfile.ZipInfo("link.png")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "../../../outside.png")


def tar_of(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Make:
    """A tar of one member."""

    def make(path: Path) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        with tarfile.open(path, "w") as archive:
            archive.addfile(member)

    return make


def list_of(*names: str) -> Make:
    return lambda path: path.write_text("\n".join(names) + "\n", encoding="utf-8")


def parquet_without_images(path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"], "number": [1, 2]}).to_parquet(path)


def parquet_cut_short(path: Path) -> None:
    parquet(path, 0, num=20)
    path.write_bytes(path.read_bytes()[:-40])


def folder_of(*links: tuple[str, str]) -> Make:
    """A folder of links."""

    def make(path: Path) -> None:
        path.mkdir()
        for name, target in links:
            (path / name).symlink_to(target)

    return make


def two_configurations(path: Path) -> None:
    parquet_folders(path)


MISTAKES: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "one image": ("pics", lambda path: image(path / "a.png"), ("pics: one image cannot be split", "give more")),
    "folder of hidden files": ("pics", lambda path: image(path / ".a.png"), ("pics: no images found there",)),
    "folder in itself": (
        "pics",
        folder_of(("loop", "."), ("up", ".."), ("self", "self")),
        ("pics: no images found there",),
    ),
    "links to nothing": (
        "pics",
        folder_of(("a.png", "gone.png"), ("b.png", "b.png")),
        ("pics: 2 of 2 images", "a.png: not an image that can be read (No such file", "b.png", "Too many levels"),
    ),
    "empty zip": ("pics.zip", zip_of(), ("pics.zip: no images found there",)),
    "zip with an absolute path": ("pics.zip", zip_of("/tmp/evil.png"), ("pics.zip", "/tmp/evil.png would land outside")),
    "zip that climbs from further down": ("pics.zip", zip_of("a/../../evil.png"), ("pics.zip", "would land outside")),
    "zip with a link out of it": ("pics.zip", linking_zip, ("pics: 1 of 1 images cannot be read", "link.png")),
    "encrypted zip": ("pics.zip", locked_zip, ("pics.zip", "is encrypted")),
    "zip that claims a petabyte": ("pics.zip", huge_zip, ("pics.zip", "it would take 1,125,899.9 GB, where", "GB are free")),
    "tar that claims a petabyte": ("pics.tar", huge_tar, ("pics.tar", "it would take 1,125,899.9 GB, where", "GB are free")),
    "tar with a link out of it": (
        "pics.tar",
        tar_of("a.png", tarfile.SYMTYPE, "../../x.png"),
        ("pics.tar", "outside the destination"),
    ),
    "tar with a link to a place": (
        "pics.tar",
        tar_of("a.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("pics.tar", "absolute path"),
    ),
    "tar with a hard link out": (
        "pics.tar",
        tar_of("a.png", tarfile.LNKTYPE, "../../x.png"),
        ("pics.tar", "outside the destination"),
    ),
    "tar with a device": ("pics.tar", tar_of("a.png", tarfile.CHRTYPE), ("pics.tar", "special file")),
    "list of a folder": ("list.txt", list_of("folder", "."), ("2 of 2 images cannot be read", "a folder")),
    "list of what is no name": ("list.txt", list_of("x" * 5000, "a\0b"), ("2 of 2 images cannot be read", "too long")),
    "list of a device": ("list.txt", list_of("/dev/zero"), ("/dev/zero: not an image that can be read (not a file)",)),
    "parquet without images": (
        "a.parquet",
        parquet_without_images,
        ("a.parquet: no images", "(columns: text, number)"),
    ),
    "parquet cut short": ("a.parquet", parquet_cut_short, ("a.parquet: no images found there",)),
    "several configurations": (
        "pics",
        two_configurations,
        ("pics: holds several configurations, large, small", "pics:large"),
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_source_that_cannot_be_used(what: str, refuse: Refuse, tmp_path: Path) -> None:
    name, make, says = MISTAKES[what]
    (tmp_path / "folder").mkdir()
    make(tmp_path / name)
    refuse("train", "--data", name, "--out", "run", says=says)
    assert what == "one image" or cached() == []  # which was decoded before it was found to be alone
    if what not in ("one image", "links to nothing", "zip with a link out of it") and not name.startswith("list"):
        refuse("data", name, says=says)


def test_tar_with_an_absolute_path_stays_inside(tmp_path: Path) -> None:
    """Its leading slash is left out, as tar itself does."""
    target, file = tmp_path / "outside" / "a.png", image(tmp_path / "a.png", 9)
    with tarfile.open(tmp_path / "pics.tar", "w") as archive:
        member = archive.gettarinfo(file)
        member.name = str(target)
        with file.open("rb") as content:
            archive.addfile(member, content)
    assert levels(load_images(tmp_path / "pics.tar", "all")) == [9]
    assert not target.parent.exists()


def test_list_in_which_some_names_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number:02}.png" for number in range(50)]
    write_images(tmp_path, names)
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.txt").write_text("\n".join([*names, "folder", "missing.png"]))
    assert levels(load_images(tmp_path / "list.txt", "all")) == list(range(50))
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("list: 2 of 52 images left out; folder: not an image that can be read (a folder); missing.png: ")


# Permissions


ASKING = """
import json, sys
from dataclasses import asdict
from tests.commands import vae
for command in json.loads(sys.argv[1]):
    print(json.dumps(asdict(vae(*command))))
"""


def obey() -> None:
    """Makes a process of root's keep to permissions as everybody else: it gives up what lets it pass them over."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "a capability cannot be given up")


def ask(folder: Path, *commands: tuple[object, ...]) -> list[dict[str, Any]]:
    """What commands answer who may not do everything."""
    text = json.dumps([[str(word) for word in command] for command in commands])
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", ASKING, text]
    done = subprocess.run(command, preexec_fn=obey, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root can give up its rights on Linux only")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    def shut(name: str) -> Path:
        (tmp_path / name).chmod(0)
        return tmp_path / name

    write_images(tmp_path / "open", [f"{number:02}.png" for number in range(40)])
    write_images(tmp_path / "part", ["a/0.png", "b/1.png", "c/2.png"])
    write_images(tmp_path / "shut", ["0.png"])
    write_images(tmp_path / "listed", ["0.png", "1.png"])
    zip_of("a.png")(tmp_path / "a.zip")
    tar_of("a.png")(tmp_path / "a.tar")
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))
    parquet(tmp_path / "a.parquet", 0)
    list_of("open/00.png")(tmp_path / "list.txt")
    files = ["a.zip", "a.tar", "a.npy", "a.parquet", "list.txt"]
    try:
        for name in ("open/07.png", "part/b", "shut", *files):
            shut(name)
        (tmp_path / "listed").chmod(0o444)
        commands = [
            ("data", name, "-o", "x.png") for name in ("open", "part", "shut", "shut/0.png", "shut/in", "listed", *files)
        ]
        answers = ask(tmp_path, *commands)
    finally:
        for name in ("open/07.png", "part/b", "shut", "listed", *files):
            (tmp_path / name).chmod(0o755)
    some, part, closed, file, inside, listed, *rest = answers
    assert (some["code"], some["err"]) == (0, "")
    assert "07.png: not an image that can be read (Permission denied)" in some["out"]
    assert "damaged  1" in some["out"]
    assert (part["code"], part["err"]) == (0, "part: part/b cannot be looked into and is left out\n")
    assert "train: 2 images" in part["out"]
    assert closed["err"] == "vae: shut: cannot be looked into (Permission denied); change its permissions\n"
    assert file["err"] == "vae: shut/0.png: may not be looked at (Permission denied); ask its owner\n"
    assert inside["err"] == "vae: shut/in: may not be looked at (Permission denied); ask its owner\n"
    assert (listed["code"], listed["err"]) == (0, "")
    assert "damaged  2" in listed["out"]
    for name, answer in zip(files, rest, strict=True):
        assert answer["err"].startswith(f"vae: {name}: ")
        assert "ermission" in answer["err"]
    for answer in (closed, file, inside, *rest):
        assert (answer["code"], answer["out"], answer["err"].count("\n")) == (2, "", 1)
    assert cached() == []


# The command


def test_command_says_how_long_it_took_and_names_its_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path / "user" / "set")
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path / "user")
    out = done("data", "user/set:large").splitlines()
    assert [line.split(",")[0] for line in out if not line.startswith(" ")][:2] == ["train: 3 images", "test: 1 images"]
    assert out[-2].startswith("looked at 4 images in ")
    assert float(out[-2].split()[-2]) < 60
    assert out[-1] == "set-large-sheet.png"
    assert (tmp_path / "user" / "set-large-sheet.png").is_file()


def test_contact_sheet_has_the_background(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for number in range(2):
        Image.new("RGBA", (8, 4), (0, 0, 0, 0)).save(tmp_path / "set" / f"{number}.png")
    done("data", tmp_path / "set", "--background", "#0a141e", "-o", tmp_path / "x.png")
    shown = tiles(tmp_path / "x.png", 2, columns=2, shape=(3, 96, 96))
    assert (shown == np.array([10, 20, 30])[:, None, None]).all()
    assert (
        vae("data", tmp_path / "set", "--background", "greenish").err
        == "vae: greenish: not a color; use a name such as white, or #rrggbb\n"
    )
