"""Several sources as one set: classes by name, splits, fingerprints, and the run that is trained on them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from tests.commands import QUICK, Refuse, done, one_line, vae
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.data.loading import load_validation
from vaekit.data.union import unite
from vaekit.runs.identity import identity
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder


def folder_of(path: Path, classes: dict[str, int], gray: int, shape: tuple[int, ...] = (8, 8)) -> Path:
    """Images of one gray level each, from ``gray`` on, in folders of classes; a class without a name is the folder."""
    for name, num in classes.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        for number in range(num):
            Image.fromarray(np.full(shape, gray, np.uint8)).save(path / name / f"{number:02}.png")
            gray += 1
    return path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "first", {"cat": 10, "dog": 10}, 0)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "second", {"ape": 5, "dog": 15}, 100)


def test_images_and_classes_are_united_by_name(first: Path, second: Path) -> None:
    union = vaekit.load_images([first, second], "all")
    assert union.name == "first + second"
    assert union.classes == ("cat", "dog", "ape")
    assert union.pixels[:, 0, 0, 0].tolist() == [*range(20), *range(100, 120)]
    assert union.labels is not None
    assert union.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 5 + [1] * 15
    assert union.names[0] == "first/cat/00.png"
    assert union.names[-1] == "second/dog/14.png"
    part = union.take(torch.tensor([39, 0, 20, 19]))
    assert part.pixels[:, 0, 0, 0].tolist() == [119, 0, 100, 19]


def test_each_source_has_its_share_of_every_split(first: Path, second: Path) -> None:
    train, test = (vaekit.load_images([first, second], split) for split in ("train", "test"))
    for split, num in ((train, 16), (test, 4)):
        levels = split.pixels[:, 0, 0, 0]
        assert [int((levels < 50).sum()), int((levels >= 50).sum())] == [num, num]
        assert split.split == ("train" if num == 16 else "test")
    assert set(train.names).isdisjoint(test.names)
    alone = vaekit.load_images(first, "test").pixels
    assert test.pixels[:4].equal(alone)


def test_fingerprints_depend_on_every_source_and_on_their_order(first: Path, second: Path, tmp_path: Path) -> None:
    third = folder_of(tmp_path / "third", {"ape": 5, "dog": 15}, 101)
    prints = {
        vaekit.load_images(list(sources), "all").fingerprint
        for sources in ((first, second), (second, first), (first, third))
    }
    assert len(prints) == 3
    assert vaekit.load_images([first, second], "all").fingerprint in prints


def test_gray_images_join_color_ones_as_color(first: Path, tmp_path: Path) -> None:
    color = folder_of(tmp_path / "color", {"dog": 10}, 50, (8, 8, 3))
    for path in (color / "dog").iterdir():
        with Image.open(path) as image:
            pixels = np.array(image)
        pixels[..., 2] = 0
        Image.fromarray(pixels).save(path)
    assert vaekit.load_images([first, color], "all").shape == (3, 8, 8)
    assert vaekit.load_images([first, color], "all", channels=1).shape == (1, 8, 8)


def test_what_does_not_fit_together_is_said(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = folder_of(tmp_path / "large", {"dog": 10}, 0, (12, 12))
    with pytest.raises(DataError, match=r"first of 1x8x8 and large of 1x12x12.*--size"):
        vaekit.load_images([first, large])
    assert vaekit.load_images([first, large], size=6).shape == (1, 6, 6)
    loose = folder_of(tmp_path / "loose", {"": 10}, 0)
    capsys.readouterr()
    assert vaekit.load_images([first, loose]).labels is None
    assert "loose: has no classes" in capsys.readouterr().err
    np.save(tmp_path / "a.npy", np.linspace(0, 1, 640).reshape(10, 8, 8))
    np.save(tmp_path / "b.npy", np.linspace(-1, 1, 640).reshape(10, 8, 8))
    sources = [tmp_path / "a.npy", tmp_path / "b.npy"]
    with pytest.raises(DataError, match=r"b: black and white are \[-1.0, 1.0\] for floats.*data.levels"):
        vaekit.load_images(sources)
    assert len(vaekit.load_images(sources, "all", levels=(-1, 1))) == 20
    with pytest.raises(DataError, match="nowhere"):
        vaekit.load_images([first, tmp_path / "nowhere"])


def test_validation_images_are_those_of_all_sources(first: Path, tmp_path: Path) -> None:
    sources = []
    for name, gray in (("a", 0), ("b", 100)):
        for split in ("train", "validation", "test"):
            folder_of(tmp_path / name / split, {"cat": 4, "dog": 4}, gray)
        sources.append(str(tmp_path / name))
    valid = load_validation(sources)
    assert valid is not None
    assert valid.pixels[:, 0, 0, 0].tolist() == [*range(8), *range(100, 108)]
    assert load_validation([sources[0], str(first)]) is None


def test_sets_in_memory_are_united_without_files() -> None:
    a, b = (ImageSet(torch.full((3, 1, 2, 2), value, dtype=torch.uint8), name=str(value)) for value in (1, 2))
    union = unite([a, b.take(torch.tensor([2]))])
    assert union.pixels[:, 0, 0, 0].tolist() == [1, 1, 1, 2]
    assert union.to(torch.device("cpu")).store.shape == (4, 1, 2, 2)
    assert union.fingerprint == ""


@pytest.mark.usefixtures("no_report")
def test_a_run_on_several_sources(first: Path, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", "digits", "--data", "first", "--data", "second", "--size", 8, "--conditional", *QUICK)
    done(*command, "--out", "run")
    run = RunFolder(tmp_path / "run")
    assert run.recipe.data.sources == ("first", "second")
    assert run.environment["images"] == {"train": 29, "valid": 3, "test": 8}
    assert run.environment["data"]["name"] == "first + second"
    assert run.model.condition is not None
    assert run.model.condition.classes == ["cat", "dog", "ape"]
    monkeypatch.chdir(tmp_path.parent)  # relative paths are recorded
    assert RunFolder(run.folder).images().name == "first + second"
    assert "finished" in done("train", "--resume", run.folder)
    monkeypatch.chdir(tmp_path)
    one_line(vae("train", "digits", "--data", "first", "--size", 8, "--conditional", *QUICK, "--out", "run"), "data.also")
    again = ("train", run.folder / "recipe.yaml", "--data", "first", "--out", "one")
    done(*again)
    assert RunFolder(tmp_path / "one").recipe.data.sources == ("first",)


@pytest.mark.usefixtures("no_report")
def test_sources_that_have_moved(first: Path, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done("train", "digits", "--data", "first", "--data", "second", "--size", 8, *QUICK, "--out", "run")
    shutil.move(second, tmp_path / "moved")
    resume = ("train", "--resume", "run", "--epochs", 2)
    one_line(vae(*resume), "second: the run's images were in", "not there")
    one_line(vae(*resume, "--data", "first"), "2 sources, 1 are named")
    one_line(vae(*resume, "--data", "moved", "--data", "first"), "not the images that the run began with")
    done(*resume, "--data", "first", "--data", "moved")
    assert json.loads((tmp_path / "run/environment.json").read_text())["also"] == [str(tmp_path / "moved")]
    assert len(RunFolder(tmp_path / "run").images()) == 8


def test_an_option_that_takes_one_value_is_refused_when_given_twice(trained: Path, refuse: Refuse) -> None:
    refuse("reconstruct", trained, "--data", "digits", "--data", "mnist", says=("--data", "given twice"))
    refuse("train", "digits", "--epochs", 3, "--epochs", 4, says=("--epochs", "given twice"))
    refuse("sample", trained, "-n", 4, "--num", 9, says=("--num", "given twice"))
    assert vae("sample", trained, "-n", 4, "--label", "1", "--label", "2").err.count("twice") == 0


def test_identity_covers_all_sources_and_is_the_old_one_for_a_single_source() -> None:
    one, two = load_recipe("digits"), load_recipe("digits", {"data": ["digits", "mnist"]})
    assert two.data.sources == ("digits", "mnist")
    assert identity(one, {}) != identity(two, {})
    assert load_recipe("digits", {"data": "digits"}).data.also == ()
