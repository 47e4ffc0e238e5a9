"""``vae sample``, ``vae reconstruct`` and ``vae interpolate``: the tiles of their images, compared with the model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import vaekit
from tests.commands import SHAPE, done, near, tiles
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_gray_levels


def test_samples_are_those_of_the_model_and_the_seed(trained: Path, tmp_path: Path) -> None:
    def sample(seed: int, name: str) -> Tensor:
        done("sample", trained, "-n", 23, "--seed", seed, "-o", tmp_path / name)
        return tiles(tmp_path / name, 23, columns=5)

    model = vaekit.load(trained)
    with fixed_seed(5):
        expected = to_gray_levels(model.sample(23))
    assert torch.equal(sample(5, "a.png"), expected)
    assert torch.equal(sample(5, "b.png"), expected)
    assert not torch.equal(sample(6, "c.png"), expected)


def test_samples_are_written_to_the_images_of_the_run(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    path = copy / "images" / "sample.png"
    assert done("sample", copy).replace("\n", "") == str(path)
    model = vaekit.load(copy)
    with fixed_seed(0):
        assert torch.equal(tiles(path, 100, columns=10), to_gray_levels(model.sample(100)))


def test_temperature_zero_decodes_the_mean_of_the_prior(trained: Path, tmp_path: Path) -> None:
    done("sample", trained, "-n", 9, "--temperature", 0, "-o", tmp_path / "cold.png")
    model = vaekit.load(trained)
    with model.inference():
        mean = to_gray_levels(model.decode(torch.zeros(9, 8)).mean)
    cold = tiles(tmp_path / "cold.png", 9, columns=3)
    assert torch.equal(cold, mean)
    assert (cold == cold[0]).all()
    done("sample", trained, "-n", 9, "-o", tmp_path / "warm.png")
    assert not (tiles(tmp_path / "warm.png", 9, columns=3) == cold).all()


@pytest.mark.parametrize("names", [["7"], ["2", "5", "0"]])
def test_labels_choose_the_class(names: list[str], trained_conditional: Path, tmp_path: Path) -> None:
    options = [option for name in names for option in ("--label", name)]
    done("sample", trained_conditional, *options, "-n", 8, "-o", tmp_path / "x.png")
    labels = torch.tensor([int(name) for name in names]).repeat(8)[:8]
    model = vaekit.load(trained_conditional)
    with fixed_seed(0):
        expected = to_gray_levels(model.sample(8, labels))
    with fixed_seed(0):
        other = to_gray_levels(model.sample(8, (labels + 1) % 10))
    samples = tiles(tmp_path / "x.png", 8, columns=3, heads=True)
    assert torch.equal(samples, expected)
    assert not torch.equal(samples, other)


def test_conditional_samples_cycle_through_the_classes(trained_conditional: Path, tmp_path: Path) -> None:
    done("sample", trained_conditional, "-n", 20, "-o", tmp_path / "x.png")
    model = vaekit.load(trained_conditional)
    with fixed_seed(0):
        expected = model.sample(20, torch.arange(10).repeat(2))
    assert torch.equal(tiles(tmp_path / "x.png", 20, columns=10, heads=True), to_gray_levels(expected))


def pairs(path: Path, num: int) -> tuple[Tensor, Tensor]:
    """The originals and reconstructions of one row of pairs."""
    above, below = tiles(path, 2 * num, columns=num, pairs=True).unflatten(0, (2, num))
    return above, below


def captioned_pairs(path: Path, num: int) -> tuple[Tensor, Tensor]:
    """The originals and reconstructions of rows of two, below their heads."""
    originals, reconstructions = tiles(path, 2 * num, columns=2, heads=True).unflatten(0, (num, 2)).unbind(1)
    return originals, reconstructions


def test_reconstructions_are_below_their_originals(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    done("reconstruct", trained, "-n", 6, "-o", tmp_path / "x.png")
    shown = digits.spread(6, 0).pixels
    above, below = pairs(tmp_path / "x.png", 6)
    assert torch.equal(above, shown)
    assert torch.equal(below, to_gray_levels(vaekit.load(trained).reconstruct(shown)))


def test_image_files_are_fitted_and_reconstructed(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    gray = digits.first(2).pixels[:, 0].numpy()
    Image.fromarray(gray[0]).save(tmp_path / "same.png")
    Image.fromarray(np.stack([gray[1]] * 3, -1)).save(tmp_path / "color.png")
    Image.new("L", (30, 20), 77).save(tmp_path / "large.png")
    files = [tmp_path / f"{name}.png" for name in ("same", "color", "large")]
    done("reconstruct", trained, *files, "-o", tmp_path / "x.png")
    shown = torch.cat([digits.first(2).pixels, torch.full((1, *SHAPE), 77, dtype=torch.uint8)])
    originals, reconstructions = captioned_pairs(tmp_path / "x.png", 3)
    assert torch.equal(originals, shown)
    assert torch.equal(reconstructions, to_gray_levels(vaekit.load(trained).reconstruct(shown)))


@pytest.mark.parametrize(
    ("terminal", "display", "files"), [(True, ":0", 1), (False, ":0", 1), (True, "", 1), (True, ":0", 0)]
)
def test_image_files_are_shown_in_a_window_if_there_is_a_screen(
    terminal: bool, display: str, files: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image))
    monkeypatch.setattr("vaekit.cli.options.sys.platform", "linux")
    monkeypatch.setattr("vaekit.cli.options.is_terminal", lambda: terminal)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    Image.new("L", (8, 8), 77).save(tmp_path / "own.png")
    done("reconstruct", trained, *[tmp_path / "own.png"] * files, "-o", tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()
    assert len(shown) == int(terminal and display != "" and files == 1)


def test_labels_of_image_files_condition_the_model(
    trained_conditional: Path, digits: vaekit.ImageSet, tmp_path: Path
) -> None:
    shown, model = digits.first(2).pixels, vaekit.load(trained_conditional)
    for index in (0, 1):
        Image.fromarray(shown[index, 0].numpy()).save(tmp_path / f"{index}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for names, labels in ((["4"], [4, 4]), (["1", "8"], [1, 8])):
        options = [option for name in names for option in ("--label", name)]
        done("reconstruct", trained_conditional, *files, *options, "-o", tmp_path / "x.png")
        expected = to_gray_levels(model.reconstruct(shown, torch.tensor(labels)))
        assert torch.equal(captioned_pairs(tmp_path / "x.png", 2)[1], expected)
    done("reconstruct", trained_conditional, "-n", 2, "-o", tmp_path / "own.png")
    assert digits.labels is not None
    two = digits.spread(2, 0)
    own = to_gray_levels(model.reconstruct(two.pixels, two.labels))
    assert torch.equal(pairs(tmp_path / "own.png", 2)[1], own)


def test_interpolation_starts_and_ends_at_reconstructions(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    done("interpolate", trained, "@3", "@7", "--steps", 5, "-o", tmp_path / "x.png")
    model, ends = vaekit.load(trained), digits.pixels[[3, 7]]
    strip = tiles(tmp_path / "x.png", 5, columns=5)
    near(strip[[0, 4]], to_gray_levels(model.reconstruct(ends)))
    with model.inference():
        first, last = model.encode(ends).mean
        middle = model.decode(((first + last) / 2)[None]).mean
    near(strip[[2]], to_gray_levels(middle))


def test_interpolation_takes_files_and_labels(trained_conditional: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    Image.fromarray(digits.pixels[3, 0].numpy()).save(tmp_path / "three.png")
    ends, model = digits.pixels[[3, 7]], vaekit.load(trained_conditional)
    assert digits.labels is not None
    seven = int(digits.labels[7])
    done(
        "interpolate",
        trained_conditional,
        tmp_path / "three.png",
        "@7",
        "--steps",
        4,
        "--label",
        2,
        "-o",
        tmp_path / "x.png",
    )
    expected = model.interpolate(ends[0], ends[1], 4, torch.tensor([2, seven]))
    strip = tiles(tmp_path / "x.png", 4, columns=4)
    assert torch.equal(strip, to_gray_levels(expected))
    near(strip[[0, 3]], to_gray_levels(model.reconstruct(ends, torch.tensor([2, seven]))))
