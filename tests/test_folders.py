"""Folders of images: splits, classes, metadata and links."""

import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from tests.commands import Refuse
from tests.image_sources import class_by_level, levels, write_image, write_images, write_metadata, write_parquet
from vaekit.data import inspect, load_images
from vaekit.data.sources.resolve import resolve

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""


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
def test_label_column_of_metadata(kind: str, given: list[Any], classes: tuple[str, ...], tmp_path: Path) -> None:
    write_metadata(write_images(tmp_path / "set", ["0.png", "1.png", "in/2.png", "in/3.png", "no.png"]), given, kind)
    images = load_images(tmp_path / "set", "all")
    assert images.classes == classes
    assert class_by_level(images) == {
        level: str(label) for level, label in enumerate(given)
    }  # an image without a row is not read


def test_metadata_without_classes(tmp_path: Path) -> None:
    caption = write_metadata(write_images(tmp_path / "caption", ["0.png", "1.png"]), ["a cat", "a dog"], column="text")
    number = write_metadata(write_images(tmp_path / "number", ["0.png", "1.png"]), [0.5, 1.5])
    for folder in (caption, number):
        images = load_images(folder, "all")
        assert (levels(images), images.labels, images.classes) == ([0, 1], None, ())


def test_too_many_values_are_not_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_metadata(
        write_images(tmp_path / "set", [f"{n}.png" for n in range(5)]), [f"caption {n}" for n in range(5)]
    )
    assert load_images(folder, "all").class_names == tuple(f"caption {n}" for n in range(5))
    monkeypatch.setattr("vaekit.data.sources.labels.MAX_CLASSES", 4)
    assert load_images(folder, "all", size=5).labels is None


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_split_with_a_missing_label_has_no_labels(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_metadata(write_images(tmp_path / "set", ["0.png", "1.png", "2.png"]), ["a", None, "b"], kind)
    images = load_images(folder, "all")
    assert (levels(images), images.labels) == ([0, 1, 2], None)
    assert "set: 1 of 3 images in train have no label" in capsys.readouterr().err


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    write_metadata(write_images(tmp_path / "set" / "train", ["0.png", "1.png", "2.png"]), ["c", "a", "c"])
    write_image(tmp_path / "set" / "test" / "9.png", 9)
    write_metadata(tmp_path / "set" / "test", ["b"], first=9)
    train, test = load_images(tmp_path / "set"), load_images(tmp_path / "set", "test")
    assert train.classes == test.classes == ("a", "b", "c")
    assert (class_by_level(train), class_by_level(test)) == ({0: "c", 1: "a", 2: "c"}, {9: "b"})


def test_classes_of_arrays_are_those_of_all_splits(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((4, 4, 4), "uint8"), "y_train": np.array([3, 5, 7, 5])[:, None]}
    np.savez(tmp_path / "a.npz", **arrays, x_test=np.ones((2, 4, 4), "uint8"), y_test=np.array([9, 5]))
    train, test = load_images(tmp_path / "a.npz"), load_images(tmp_path / "a.npz", "test")
    assert train.classes == test.classes == ("3", "5", "7", "9")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2, 1], [3, 1])
    np.savez(tmp_path / "b.npz", **arrays, x_test=np.ones((2, 4, 4), "uint8"))
    assert load_images(tmp_path / "b.npz", "test").labels is None


def test_array_files_are_recognized_by_their_content(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, array)
    with (tmp_path / "renamed.npy").open("wb") as file:
        np.savez(file, images=array)
    (tmp_path / "renamed.npz").write_bytes((tmp_path / "A.NPY").read_bytes())
    for name in ("A.NPY", "renamed.npy", "renamed.npz"):
        np.testing.assert_array_equal(load_images(tmp_path / name, "all").pixels[:, 0].numpy(), array)


def test_unpublished_labels(tmp_path: Path) -> None:
    """The Hub writes -1 if the label of a test image is not published."""
    label = datasets.ClassLabel(names=["cat", "dog"])
    write_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet", 0, label=([1, 0, 1], label))
    write_parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", 10, label=([-1, -1, -1], label))
    train, test = load_images(tmp_path / "set"), load_images(tmp_path / "set", "test")
    assert class_by_level(train) == {0: "dog", 1: "cat", 2: "dog"}
    assert (levels(test), test.labels) == ([10, 11, 12], None)
    assert [split.classes for split in inspect(tmp_path / "set")] == [{"cat": 1, "dog": 2}, {}]


def test_declared_class_label_has_precedence_over_a_column_label(tmp_path: Path) -> None:
    kind = ([1, 0, 0], datasets.ClassLabel(names=["cat", "dog"]))
    write_parquet(tmp_path / "set.parquet", 0, label=(["x", "y", "z"], datasets.Value("string")), kind=kind)
    assert class_by_level(load_images(tmp_path / "set.parquet", "all")) == {0: "dog", 1: "cat", 2: "cat"}


def test_metadata_outside_of_the_folder(tmp_path: Path, refuse: Refuse) -> None:
    write_image(tmp_path / "secret.png")
    write_images(tmp_path / "set", ["0.png"])
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        (tmp_path / "set" / "metadata.csv").write_text(f"file_name,label\n0.png,a\n{name},b\n")
        refuse(
            "train", "--data", "set", "--out", "run", says=("set: ",)
        )  # no images, or not in its folder, by the version of datasets
    (tmp_path / "set" / "metadata.csv").write_text("image,label\n0.png,a\n")
    refuse("train", "--data", "set", "--out", "run", says=("set: no images", "file_name"))


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
        ["x/Training_2/a/0.png", "x/VAL/b/1.png", "x/evaluation-images/a/2.png"],
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
"""For each layout: the names of images, the numbers of the images in each split in order, and their classes."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_a_folder(layout: str, tmp_path: Path) -> None:
    names, splits, classes = LAYOUTS[layout]
    write_images(tmp_path / "set", names)
    summaries = {summary.split: summary for summary in inspect(tmp_path / "set")}
    assert {split: summary.num for split, summary in summaries.items()} == {
        split: len(part) for split, part in splits.items()
    }
    assert list(summaries) == [split for split in ("train", "validation", "test") if split in splits]
    loaded = {split: load_images(tmp_path / "set", split) for split in splits if split != "validation" and len(splits) > 1}
    loaded |= {split: load_images(tmp_path / "set", "all") for split in splits if len(splits) == 1}
    for split, images in loaded.items():
        assert levels(images) == splits[split]
        assert class_by_level(images) == (None if classes is None else {number: classes[number] for number in splits[split]})
        if classes is not None:
            assert images.classes == tuple(sorted(set(classes.values())))


def test_images_outside_of_the_splits_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "set", ["train/0.png", "test/1.png", "docs/2.png", "3.png", "4.png", "5.png"])
    assert levels(load_images(tmp_path / "set")) == [0]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'set'}: 4 images outside of train, test ")
    assert line.endswith("3.png, 4.png, 5.png, and 1 more")


def test_image_named_test_is_not_a_split(tmp_path: Path) -> None:
    """By the Hub's patterns it would be."""
    write_metadata(write_images(tmp_path / "set", ["0.png", "1.png", "test-2.png"]), ["a", "b"])
    assert class_by_level(load_images(tmp_path / "set", "all")) == {0: "a", 1: "b"}


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", ["0.png", "1.png", ".2.png", ".git/3.png", "__MACOSX/._0.png"])
    for name in ("notes.txt", "labels.csv", "video.mp4", ".DS_Store", "plot.svg", "figure.eps"):
        (folder / name).write_text("no image")
    before = resolve(folder).identity()
    assert levels(load_images(folder, "all")) == [0, 1]
    (folder / ".DS_Store").write_text("changed")
    assert resolve(folder).identity() == before
    (folder / "labels.csv").write_text("changed")
    assert resolve(folder).identity() != before


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", ["cats/0.png", "dogs/1.png", "dogs/2.png"])
    write_image(tmp_path / "set" / "birds" / "3.png", 3)
    write_image(tmp_path / "beside.png", 9)  # in the folder that a link points up to
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
    write_image(tmp_path / "elsewhere" / "dogs" / "5.png")
    assert resolve(tmp_path / "set").identity() != before


def test_broken_links_and_pipes_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "set", [f"{number:02}.png" for number in range(60)])
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    assert levels(load_images(folder, "all")) == list(range(60))
    (line,) = capsys.readouterr().err.splitlines()
    assert "3 of 63 images left out" in line
    for name, reason in (("gone", "No such file"), ("loop", "Too many levels"), ("pipe", "not a file")):
        assert f"{name}.png: not an image that can be read ({reason}" in line
    assert [image.name for image in inspect(folder)[0].skipped] == ["gone.png", "loop.png", "pipe.png"]


def test_names_with_pattern_characters(tmp_path: Path, refuse: Refuse) -> None:
    names = ["a [1].png", "b*.png", "c?.png"]
    assert levels(load_images(write_images(tmp_path / "holiday [2024]", names), "all")) == [0, 1, 2]
    assert levels(load_images(write_parquet(tmp_path / "set [1].parquet", 5), "all")) == [5, 6, 7]
    write_parquet(tmp_path / "hub [1]" / "0.parquet", 5)
    refuse("train", "--data", "hub [1]", "--out", "run", says=("hub [1]: ", "path"))
