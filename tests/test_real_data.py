"""Real data sets, if VAEKIT_DATA is a folder that holds them."""

from pathlib import Path

import pytest

from vaekit.data import load_images
from vaekit.experiment.train import run
from vaekit.runs.recipe import load_recipe


def test_mnist_has_its_published_sizes_and_labels(data_folder: Path) -> None:
    train, test = load_images("mnist"), load_images("mnist", "test")
    assert (len(train), len(test), train.shape) == (60_000, 10_000, (1, 28, 28))
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert test.pixels.float().mean().item() == pytest.approx(33.79, abs=0.01)


def test_one_epoch_of_mnist_mlp(data_folder: Path, tmp_path: Path) -> None:
    finished = run(load_recipe("mnist-mlp", {"epochs": 1, "evaluation.num_samples": 0}), tmp_path / "run")
    metrics = finished.metrics
    assert metrics["elbo"]["num_images"] == 10_000
    assert metrics["meaning"] == "log-probability of binary pixels"
    assert -120 > metrics["elbo"]["value"] > -145


def test_metrics_of_gray_mnist_are_labeled_as_cross_entropy(data_folder: Path, tmp_path: Path) -> None:
    overrides = {"epochs": 1, "data.binarize": "none", "evaluation.num_samples": 0, "batch_size": 1000}
    finished = run(load_recipe("mnist-mlp", overrides), tmp_path / "run")
    assert "cross-entropy, not a likelihood" in finished.metrics["meaning"]


@pytest.mark.parametrize(("name", "shape"), [("fashion-mnist", (1, 28, 28)), ("freyfaces", (1, 28, 20))])
def test_other_data_sets(data_folder: Path, name: str, shape: tuple[int, int, int]) -> None:
    images = load_images(name)
    assert images.shape == shape
    assert 40 < images.pixels[:500].float().mean() < 180
