"""Defaults for one's own images: their size, the name of the run, the size of the networks, and which images are shown."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from tests.commands import vae
from vaekit.core.errors import SeveralSizesError
from vaekit.data import ImageSet, load_images
from vaekit.experiment.network_size import fitted_parts
from vaekit.runs.identity import _fixed
from vaekit.runs.recipe import load_recipe


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    """A folder of images of several sizes, most of them at least 32 pixels high and wide."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number, (height, width) in enumerate([(20, 90), *[(40, 50 + i) for i in range(12)]]):
        Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_a_size_is_proposed(holiday: Path) -> None:
    with pytest.raises(SeveralSizesError, match="--size 32") as raised:
        load_images(str(holiday))
    assert raised.value.proposal == 32


def test_training_goes_on_with_the_proposed_size(holiday: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(holiday.parent)
    short = ("--epochs", 1, "--set", "evaluation.num_samples=0", "--no-report")
    outcome = vae("train", "--data", "holiday", *short)
    assert outcome.code == 0, outcome.err
    assert "holiday: the images have several sizes and are fitted to 32x32; --size chooses another" in outcome.err
    run = vaekit.RunFolder("runs/holiday")
    assert run.recipe.name == "holiday"
    assert run.model.shape == (3, 32, 32)
    assert run.images().shape == (3, 32, 32)
    assert "finished after 1 epoch" in vae("train", "--data", "holiday", *short).out


@pytest.mark.parametrize(
    ("data", "name"),
    [("my pictures", "my-pictures"), ("a/cats.zip", "cats"), ("pokemon", "pokemon-images"), ("user/set", "user-set")],
)
def test_a_run_is_named_after_its_images(data: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my pictures").mkdir()
    (tmp_path / "a" / "cats.zip").mkdir(parents=True)
    assert load_recipe("images", {"data": data}).name == name
    assert load_recipe("mnist-conv", {"data": data}).name == "mnist-conv"


def some_images(num: int) -> ImageSet:
    """Black images."""
    return ImageSet(torch.zeros(num, 3, 32, 32, dtype=torch.uint8))


def test_networks_are_narrower_for_few_images() -> None:
    section = load_recipe("images", {"data": "mine"}).model
    assert section.fitted
    sizes = {num: fitted_parts(section, some_images(num))["encoder"] for num in (366, 5_000, 10_001)}
    assert [spec["channels"] for spec in sizes.values()] == [[16, 32, 64], [24, 48, 96], [32, 64, 128]]
    assert [spec["hidden"] for spec in sizes.values()] == [128, 256, 512]
    assert all(spec["min_resolution"] == section.encoder["min_resolution"] for spec in sizes.values())


def test_networks_that_are_chosen_are_not_fitted() -> None:
    assert not load_recipe("images", {"model.encoder.hidden": 300}).model.fitted
    assert load_recipe("images", {"latent_dim": 8}).model.fitted
    assert not load_recipe("mnist-conv").model.fitted
    assert "fitted" not in _fixed(load_recipe("mnist-conv"))["model"]


def test_shown_images_are_spread_over_the_classes() -> None:
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    images = ImageSet(torch.arange(1000).remainder(256).to(torch.uint8).view(1000, 1, 1, 1), labels)
    shown = images.spread(30, 0)
    assert shown.labels is not None
    assert shown.labels.bincount().tolist() == [10, 10, 10]
    assert torch.equal(images.spread(12, 0).labels, shown.labels[:12])  # type: ignore[arg-type]
    assert torch.equal(images.spread(12, 0).pixels, shown.pixels[:12])
    assert images.spread(2000, 0).labels.bincount().tolist() == [900, 90, 10]  # type: ignore[union-attr]
    assert images.spread(30, 1).pixels.tolist() != shown.pixels.tolist()
    unlabeled = ImageSet(images.store)
    assert torch.equal(unlabeled.spread(30, 0).pixels, unlabeled.sample(30, 0).pixels)
