"""Which folders are splits, how classes are numbered, and that a run keeps its numbering.

The cases are situations that users of such tools reported in public.
"""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands import QUICK, vae
from tests.image_sources import class_by_level, levels, write_images, write_metadata, write_parquet
from vaekit.data import ImageSet, in_class_order, inspect, load_images, load_validation
from vaekit.data.sources.folder_rules import split_name
from vaekit.data.sources.labels import class_indices, natural_key
from vaekit.experiment.prepare import load_splits
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder

pytestmark = [
    pytest.mark.usefixtures("empty_cache", "garbage_collected"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
"""``datasets`` leaves files open until the garbage collector closes them."""

NFD, NFC = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))


def numbers(folder: Path) -> dict[str, int]:
    """The number of images in each split."""
    return {summary.split: summary.num for summary in inspect(folder)}


# Splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("VAL", "validation"),
        ("valid", "validation"),
        ("dev", "validation"),
        ("Test", "test"),
        ("eval", "test"),
        ("val2017", "validation"),
        ("test_images", "test"),
        ("training-set", "train"),
        ("steam_train", None),
        ("bullet_train", None),
        ("train_station", None),
        ("test_tube", None),
        ("trains", None),
        ("train_val", None),
        ("images", None),
        ("", None),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_name(name) == split


@pytest.mark.parametrize(
    "names",
    [
        ["bullet_train", "steam_train"],
        ["beach", "test_tube", "train_station"],
        ["car", "train"],
        ["car", "test", "val"],
        ["train_1", "train_2"],
        ["dev_kit", "evaluation_board", "train"],
    ],
)
def test_classes_that_are_called_like_splits(names: list[str], tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", [f"{name}/{level}.png" for level, name in enumerate(names)])
    images = load_images(folder, "all")
    assert images.classes == tuple(names)
    assert class_by_level(images) == dict(enumerate(names))


def test_splits_with_years_and_other_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["train2017/0.png", "val2017/1.png", "test2017/2.png"]
    assert numbers(write_images(tmp_path / "coco", names)) == {"train": 1, "validation": 1, "test": 1}
    names = ["bottle/train/good/0.png", "bottle/test/good/1.png", "bottle/test/broken/2.png", "bottle/masks/broken/3.png"]
    folder = write_images(tmp_path / "defects", names)
    assert class_by_level(load_images(folder, "test")) == {1: "good", 2: "broken"}
    assert "1 images outside of train, test are left out: bottle/masks/broken/3.png" in capsys.readouterr().err


def test_valid_folder_is_the_validation_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{split}/{number % 2}/{number}.png" for split in ("train", "valid", "test") for number in range(10)]
    folder = write_images(tmp_path / "set", names)
    recipe = load_recipe("digits", {"data.name": str(folder), "data.size": 4, "data.binarize": "none"})
    splits = load_splits(recipe.data, 0)
    assert [sorted(levels(part)) for part in (splits.train, splits.valid, splits.test)] == [
        list(range(10)),
        list(range(10, 20)),
        list(range(20, 30)),
    ]
    assert "validated on its own 10 validation images" in capsys.readouterr().err


def test_validation_images_are_test_images_if_there_are_no_others(tmp_path: Path) -> None:
    """So that no image both chooses the model and tests it."""
    names = [f"{split}/{number}.png" for split in ("train", "val") for number in range(10)]
    folder = write_images(tmp_path / "set", names)
    assert load_validation(folder) is None
    assert levels(load_images(folder, "test")) == list(range(10, 20))
    recipe = load_recipe("digits", {"data.name": str(folder), "data.size": 4})
    splits = load_splits(recipe.data, 0)
    assert sorted(levels(splits.train) + levels(splits.valid)) == list(range(10))


# The order of classes


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "9", "10", "11", "100"],
        ["-10", "-9", "0", "7"],
        ["img2", "img10", "img10b", "img011"],
        ["A", "B", "a", "b"],
        ["01", "1", "2"],
        ["0.0", "0.5", "10.0"],
        ["a", "b", "é"],
        ["", "1", "a"],
        ["\x1b[31m", "#2", "7", "<b>"],
        ["9" * 5000, "1" + "0" * 5000],
    ],
)
def test_natural_order(names: list[str]) -> None:
    backwards = [names[-1 - position] for position in range(len(names))]
    assert sorted(backwards, key=natural_key) == names


def test_folders_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", [f"{number % 12 + 1}/{number}.png" for number in range(24)])
    images = load_images(folder, "all")
    assert images.classes == tuple(str(number) for number in range(1, 13))
    assert class_by_level(images) == {number: str(number % 12 + 1) for number in range(24)}
    (summary,) = inspect(folder)
    assert list(summary.classes) == list(images.classes)


def test_texts_of_metadata_and_arrays_are_in_natural_order(tmp_path: Path) -> None:
    names = ["10", "9", "2", "x10", "x9"]
    folder = write_metadata(write_images(tmp_path / "set", [f"{number}.png" for number in range(5)]), names)
    assert load_images(folder, "all").classes == ("2", "9", "10", "x9", "x10")
    labels, classes = class_indices({"train": np.array(names), "test": np.array([b"x9", b"2"])})
    assert classes == ("2", "9", "10", "x9", "x10")
    assert [labels[split].tolist() for split in ("train", "test")] == [[2, 1, 0, 4, 3], [3, 0]]


def test_two_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    assert NFD != NFC
    names = [f"train/{NFD}/0.png", "train/the/1.png", f"test/{NFC}/2.png", "test/the/3.png"]
    folder = write_images(tmp_path / "set", names)
    train, test = load_images(folder), load_images(folder, "test")
    assert train.classes == test.classes == (NFC, "the")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [0, 1])
    assert class_indices({"train": np.array([NFD, NFC])})[0]["train"].tolist() == [0, 0]


def test_declared_order_of_a_parquet_file_is_kept(tmp_path: Path) -> None:
    import datasets

    label = datasets.ClassLabel(names=["10", "9", "1"])
    path = write_parquet(tmp_path / "set.parquet", 0, label=([0, 1, 2], label))
    assert load_images(path, "all").classes == ("10", "9", "1")
    assert inspect(path)[0].labels_from.startswith("the column label, which declares")


# Runs keep their numbering


def test_labels_in_the_order_of_a_model() -> None:
    images = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 1]), ("1", "2", NFC))
    old = in_class_order(images, ["1", NFD, "2", "3"])
    assert (old.classes, old.labels.tolist()) == (("1", NFD, "2", "3"), [0, 2, 1, 2])
    assert in_class_order(images, ["1", "2"]) is images


def test_run_with_another_order_of_classes_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a version that numbered the classes in the order of their code points."""
    names = [f"{number % 11 + 1}/{number:02}.png" for number in range(66)]
    folder = write_images(tmp_path / "set", names)
    old = tuple(sorted(str(number) for number in range(1, 12)))
    with monkeypatch.context() as earlier:
        earlier.setattr("vaekit.data.sources.labels.natural_key", lambda name: name)
        assert load_images(folder, "all").classes == old
        command = ["train", "digits", "--data", folder, "--size", 4, "--conditional", "--out", tmp_path / "run", *QUICK]
        assert vae(*command).code == 0
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    before = {level: str(level % 11 + 1) for level in range(66)}
    images = RunFolder(tmp_path / "run").images(split="all", binarized=False)
    assert images.classes == old
    assert class_by_level(images) == before
    resumed = vae("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert resumed.code == 0, resumed.err
    assert tuple(json.loads((tmp_path / "run" / "config.json").read_text())["condition"]["classes"]) == old
    assert RunFolder(tmp_path / "run").model.condition.classes == list(old)
