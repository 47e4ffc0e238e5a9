"""Images that are shown or embedded: of a set that is sorted by class they are of all classes, and always the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.commands import done
from tests.test_contracts import make_vae
from vaekit.data import ImageSet, inspect
from vaekit.experiment import run_writer
from vaekit.experiment.run_writer import shown_images
from vaekit.presentation import gallery as gallery_module
from vaekit.presentation.gallery import MAP_IMAGES, Gallery
from vaekit.reports import comparison, run_report

SHAPE, NUM, NUM_CLASSES = (1, 6, 5), 3000, 10


@pytest.fixture
def images() -> ImageSet:
    """3,000 images of ten classes in order, whose pixels are 20 times their class."""
    labels = torch.arange(NUM) * NUM_CLASSES // NUM
    return ImageSet((20 * labels).byte().reshape(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous(), labels)


@pytest.fixture
def gallery(images: ImageSet) -> Gallery:
    return Gallery(make_vae(shape=SHAPE), images)


def classes_of(pixels: Tensor) -> set[int]:
    return set((pixels[:, 0, 0, 0] // 20).tolist())


class Spy:
    """Notes the arguments that a function is called with, and calls it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.function, self.calls = getattr(module, name), list[tuple[Any, ...]]()
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls.append(arguments)
        return self.function(*arguments, **options)


def test_previews_in_training_are_of_all_classes_and_the_same_each_time(images: ImageSet) -> None:
    shown = shown_images(images, None)
    assert shown is not None
    assert shown.labels is not None
    assert len(shown.labels.unique()) > 7
    again = shown_images(images, None)
    assert again is not None
    assert torch.equal(shown.pixels, again.pixels)


def test_reconstructions_are_of_all_classes(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch, gallery_module, "reconstruction_pairs")
    gallery.reconstructions()
    gallery.reconstructions(40)
    (first, *_), (forty, *_) = spy.calls
    assert len(classes_of(first)) > 7
    assert len(classes_of(forty)) == NUM_CLASSES
    few = min(len(first), len(forty))
    assert torch.equal(first[:few], forty[:few])


def test_errors_are_of_all_classes(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    errors, plots = Spy(monkeypatch, gallery_module, "pixel_errors"), Spy(monkeypatch, gallery_module, "error_plot")
    gallery.errors(num=40, max_images=100)
    [(_, measured)], [(_, shown, *_)] = errors.calls, plots.calls
    assert len(measured) == 100
    assert classes_of(measured.pixels) == classes_of(shown) == set(range(NUM_CLASSES))


@pytest.mark.parametrize(("method", "num"), [("tsne", None), ("pca", 60)])
def test_maps_are_of_all_classes(method: Any, num: int | None, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point has the label of its own image."""
    monkeypatch.setitem(MAP_IMAGES, "tsne", 60)
    spy = Spy(monkeypatch, gallery_module, "latent_map")
    projections = Spy(monkeypatch, gallery_module, "project")
    gallery.latent_map(method, num)
    [(points, labels, *_)], [(_, rows, _)] = spy.calls, projections.calls
    assert len(points) == len(labels) == 60
    assert set(labels.tolist()) == set(range(NUM_CLASSES))
    assert torch.equal(labels, rows * NUM_CLASSES // NUM)


def test_a_map_of_a_whole_set_keeps_its_order(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    projections = Spy(monkeypatch, gallery_module, "project")
    gallery.latent_map("pca")
    [(_, rows, _)] = projections.calls
    assert torch.equal(rows, torch.arange(NUM))


def test_a_comparison_shows_all_classes(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    grids = Spy(monkeypatch, comparison, "grid")
    section = comparison._group_section({"a": gallery, "b": gallery}, whole=True)
    assert len(classes_of(grids.calls[0][0])) > 4
    assert section.text.startswith(f"{len(grids.calls[0][0])} random train images of array")


def test_an_animation_without_labels_passes_images_of_all_parts_of_the_set() -> None:
    assert run_report._spread(3000, 6) == [0, 599, 1199, 1799, 2399, 2999]
    assert run_report._spread(4, 6) == [0, 1, 2, 3]
    assert run_report._spread(1, 6) == [0]
    assert run_report._spread(200, 10)[-1] == 199


def test_contact_sheets_of_a_sorted_array_show_all_classes(tmp_path: Path) -> None:
    levels = np.arange(NUM) * NUM_CLASSES // NUM * 20
    np.save(tmp_path / "sorted.npy", np.broadcast_to(levels[:, None, None], (NUM, 8, 8)).astype(np.uint8))
    [summary] = inspect(tmp_path / "sorted.npy")
    assert len(summary.sheet) == 60
    assert len(set(summary.sheet[:, 0, 48, 48].tolist())) == NUM_CLASSES
    assert torch.equal(inspect(tmp_path / "sorted.npy")[0].sheet, summary.sheet)


def test_the_previews_of_a_run_on_a_sorted_array_show_all_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.broadcast_to((np.arange(1000) // 100 * 20)[:, None, None], (1000, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "sorted.npz", images=pixels, labels=np.arange(1000) // 100)
    spy = Spy(monkeypatch, run_writer, "reconstruction_pairs")
    settings = ("--set", "evaluation.num_samples=0", "--set", "training.images_every=1")
    done("train", "--data", tmp_path / "sorted.npz", "--epochs", 2, *settings, "--out", tmp_path / "run")
    previews = [originals for originals, _ in spy.calls]
    assert len(previews) == 3
    assert torch.equal(previews[0], previews[1])
    assert all(len(classes_of(originals)) > 6 for originals in previews)
