"""``vae data``: its text, its contact sheet, and the cache."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import Refuse, done, tiles, vae
from vaekit.core.rng import generator
from vaekit.data import Augmentation, augmenter, inspect, load_images
from vaekit.runs.recipe import load_recipe, write_recipe


def images(folder: Path) -> Path:
    """Thirty images of one class and one damaged image of another."""
    for name in ("many", "single"):
        (folder / name).mkdir(parents=True)
    for number in range(30):
        Image.new("RGB", (10, 6), (8 * number, 0, 0)).save(folder / "many" / f"{number:02}.png")
    (folder / "single" / "bad.png").write_text("no image")
    return folder


def test_summary_and_contact_sheet(tmp_path: Path) -> None:
    folder = images(tmp_path / "set")
    out = done("data", folder, "-o", tmp_path / "x.png").splitlines()
    assert out[0] == "train: 31 images, color"
    assert out[1].split() == ["sizes", "6x10", "(30)"]
    assert out[3].split() == ["classes", "many", "(30),", "single", "(1)"]
    assert out[4].split() == ["labels", "from", "the", "names", "of", "folders"]
    assert out[5].split() == ["unreadable", "1"]
    assert out[6].strip() == "single/bad.png: not an image that can be read"
    (summary,) = inspect(folder)
    shown = tiles(tmp_path / "x.png", 31, columns=10, shape=(3, 96, 96))
    assert np.array_equal(shown.numpy(), summary.sheet.numpy())


def test_augmentation_of_a_recipe_is_shown(tmp_path: Path) -> None:
    folder = images(tmp_path / "set")
    recipe = tmp_path / "mine.yaml"
    write_recipe(load_recipe("digits", {"data.augment": {"flip": 0.5, "rotate": 20.0}}), recipe)
    done("data", folder, "--augment", recipe, "-o", tmp_path / "x.png")
    shown = tiles(tmp_path / "x.png", 60, columns=10, shape=(3, 96, 96))
    (summary,) = inspect(folder)
    transform, noise = augmenter(Augmentation(flip=0.5, rotate=20.0), (3, 96, 96)), generator(0)
    ten = summary.sheet[torch.linspace(0, len(summary.sheet) - 1, 10).long()]
    assert np.array_equal(shown[:10].numpy(), ten.numpy())
    assert np.array_equal(shown[10:20].numpy(), transform(ten, noise).numpy())


def test_cache_is_listed_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "own"))
    load_images("digits", size=9)
    first, total = done("data", "--cache").splitlines()
    assert first.split()[2:5] == ["1,797", "1x9x9", "digits"]
    assert total.endswith("in total")
    assert done("data", "--clear").splitlines()[-1].endswith("removed")
    assert done("data", "--cache").split() == ["0.0", "MB", "in", "total"]


def test_invalid_arguments(refuse: Refuse, tmp_path: Path) -> None:
    refuse("data", says=("no source",))
    refuse("data", "digits", "--cache", says=("--cache", "source"))
    refuse("data", "nowhere", says=("nowhere: ", "path"))
    refuse("data", "digits", "--augment", "digits", "-o", "x.png", says=("digits: ", "augmentation"))
    refuse("train", "--data", "digits", "--size", "9by9", says=("--size 9by9", "96x128"))
    assert vae("train", "--data", "digits", "--size", "0").code == 2


def test_the_array_of_labels_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3, 3), np.uint8) + 200, targets=np.array([1, 0, 1, 0]))
    assert "  labels      from the array targets" in done("data", tmp_path / "a.npz", "-o", tmp_path / "a.png").splitlines()


def test_channels_of_the_contact_sheet_are_chosen(tmp_path: Path, refuse: Refuse) -> None:
    bands = torch.randint(0, 256, (12, 5, 96, 96), generator=generator(0), dtype=torch.uint8)
    np.save(tmp_path / "bands.npy", bands.numpy())
    out = done("data", tmp_path / "bands.npy", "--channels", "4,1,2", "-o", tmp_path / "x.png")
    assert "12 images, 5 channels" in out
    shown = tiles(tmp_path / "x.png", 12, columns=10, shape=(3, 96, 96))
    (summary,) = inspect(tmp_path / "bands.npy")
    assert torch.equal(shown, summary.sheet[:, [3, 0, 1]])
    refuse("data", tmp_path / "bands.npy", "--channels", "6", "-o", tmp_path / "y.png", says=("--channels 6", "5 channels"))
