"""What commands draw has its options in its name, and replaces nothing that training wrote."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import done, one_line, vae
from tests.plot_outputs import COMMANDS, pixels
from vaekit.cli.drawing import MAX_NAME, OF_TRAINING, named


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be drawn into."""
    return shutil.copytree(trained, tmp_path / "copy")


def drawn(*args: object) -> Path:
    return Path(done(*args).replace("\n", ""))


@pytest.mark.parametrize("args", [["sample"], ["reconstruct"], *COMMANDS], ids=lambda args: args[0])
def test_no_command_replaces_what_training_wrote(args: list[str], copy: Path) -> None:
    images = copy / "images"
    before = {name: (images / name).read_bytes() for name in OF_TRAINING}
    path = drawn(args[0], copy, *args[1:])
    assert path.parent == images
    assert path.name not in OF_TRAINING
    assert {name: (images / name).read_bytes() for name in OF_TRAINING} == before


@pytest.mark.parametrize("name", OF_TRAINING)
def test_image_of_training_is_no_output(name: str, copy: Path, tmp_path: Path) -> None:
    before = (copy / "images" / name).read_bytes()
    one_line(vae("sample", copy, "-o", copy / "images" / name), name, "training", "-o")
    assert (copy / "images" / name).read_bytes() == before
    done("sample", copy, "-n", 4, "-o", tmp_path / name)  # elsewhere it is a name like any other
    assert (tmp_path / name).exists()


def test_samples_of_classes_and_of_all_are_two_files(trained_conditional: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained_conditional, tmp_path / "copy")
    calls = [(), ("--label", 7), ("--label", 7, "--label", 3), ("--label", 7, "--seed", 1), ("-n", 9), ("--pixelated",)]
    paths = [drawn("sample", copy, *options) for options in calls]
    assert [path.name for path in paths] == [
        "sample.png",
        "sample-label-7.png",
        "sample-label-7-3.png",
        "sample-label-7-seed-1.png",
        "sample-num-9.png",
        "sample-pixelated.png",
    ]
    assert all(path.exists() for path in paths)
    assert drawn("sample", copy, "--seed", 0).name == "sample.png"  # the default


def test_values_that_no_file_name_can_have_are_told_apart() -> None:
    names = [
        named("sample", [("label", [value])]) for value in ("T-shirt/top", "T-shirt top", "a/../b", "猫", "犬", "x" * 300)
    ]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and "/" not in name for name in names)
    assert all(len(name) <= MAX_NAME + 9 for name in names)
    assert named("sample", [("label", ["7", "3"]), ("pixelated", True)]) == "sample-label-7-3-pixelated"
    assert named("reconstruct", [("", [Path("a/x.png")])]) != named("reconstruct", [("", [Path("b/x.png")])])


def test_looks_of_a_command(copy: Path, tmp_path: Path) -> None:
    for name, options in {
        "dark": (),
        "light": ("--theme", "light"),
        "squares": ("--pixelated",),
        "large": ("--size", 1500),
    }.items():
        done("sample", copy, "-n", 9, *options, "-o", tmp_path / f"{name}.png")
    dark, light, squares, large = (pixels(tmp_path / f"{name}.png") for name in ("dark", "light", "squares", "large"))
    assert (dark[0, 0], light[0, 0]) == (19, 255)
    assert dark.shape == light.shape == squares.shape
    inner = squares[100:1000, 100:1000]
    assert len(np.unique(np.asarray(Image.fromarray(dark)))) > len(np.unique(inner))
    assert 1080 <= min(dark.shape) < 1500 <= min(large.shape)
    one_line(vae("sample", copy, "--theme", "blue"), "--theme")
