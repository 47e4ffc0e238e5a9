"""Pictures: what stands where, by number."""

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.pictures import grid, learning_curves, reconstruction_pairs
from vaekit.pictures.grids import PAPER, layout


def tile(image: Image.Image, row: int, column: int, shape: tuple[int, int, int], columns: int) -> np.ndarray:
    """The picture at a place of a grid, shrunk back to its own pixels."""
    _, height, width = shape
    factor, gap = layout(width, columns)
    top, left = gap + row * (height * factor + gap), gap + column * (width * factor + gap)
    return np.asarray(image)[top : top + height * factor : factor, left : left + width * factor : factor]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1, 28, 20), (3, 300, 200)])
@pytest.mark.parametrize(("num", "columns"), [(1, None), (7, 3), (12, 4), (10, 10)])
def test_grid_shows_every_picture_at_its_place(shape: tuple[int, int, int], num: int, columns: int | None) -> None:
    pictures = torch.randint(0, 256, (num, *shape), dtype=torch.uint8)
    image = grid(pictures, columns)
    columns = min(columns or 1, num)
    for index in range(num):
        shown = tile(image, index // columns, index % columns, shape, columns)
        expected = pictures[index].permute(1, 2, 0).squeeze(-1).numpy()
        np.testing.assert_array_equal(shown, expected)
    factor, gap = layout(shape[2], columns)
    rows = -(-num // columns)
    assert image.size == (columns * (shape[2] * factor + gap) + gap, rows * (shape[1] * factor + gap) + gap)
    assert (np.asarray(image)[:gap] == PAPER).all()


def test_grid_takes_the_unit_interval_and_clips_it() -> None:
    pictures = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]).reshape(5, 1, 1, 1)
    image = grid(pictures, 5)
    assert [int(tile(image, 0, c, (1, 1, 1), 5)[0, 0]) for c in range(5)] == [0, 0, 128, 255, 255]


def test_enlarged_pictures_stay_sharp() -> None:
    checkers = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 1, 2, 2)
    assert set(np.unique(np.asarray(grid(checkers))).tolist()) == {0, 255}


@pytest.mark.parametrize(("num", "columns"), [(3, 10), (10, 10), (12, 5)])
def test_reconstructions_stand_below_their_originals(num: int, columns: int) -> None:
    originals = torch.arange(num, dtype=torch.uint8).reshape(num, 1, 1, 1).expand(num, 1, 4, 4)
    image = reconstruction_pairs(originals, originals + 100, columns)
    columns = min(columns, num)
    for index in range(num):
        row, column = 2 * (index // columns), index % columns
        assert tile(image, row, column, (1, 4, 4), columns)[0, 0] == index
        assert tile(image, row + 1, column, (1, 4, 4), columns)[0, 0] == index + 100


def test_curves_draw_what_was_recorded() -> None:
    records = [
        {
            "epoch": epoch,
            "train": {"elbo": -100 + epoch, "rate": 20.0, "distortion": 80.0 - epoch, "beta": epoch / 10},
            "valid": {"elbo": -101 + epoch, "rate": 21.0, "distortion": 80.0 - epoch},
            "lr": 1e-3 / epoch,
            "grad_norm": 3.0,
        }
        for epoch in range(1, 11)
    ]
    figure = learning_curves(records, "a run")
    elbo, distortion, rate, weight, lr, norm = figure.axes
    assert elbo.lines[0].get_ydata().tolist() == [r["train"]["elbo"] for r in records]
    assert elbo.lines[1].get_ydata().tolist() == [r["valid"]["elbo"] for r in records]
    assert distortion.lines[1].get_ydata().tolist() == [r["valid"]["distortion"] for r in records]
    assert weight.lines[0].get_ydata().tolist() == [r["train"]["beta"] for r in records]
    assert lr.lines[0].get_ydata().tolist() == [r["lr"] for r in records]
    assert (elbo.get_ylabel(), norm.get_xlabel()) == ("nats per picture", "epoch")
    assert rate.lines[0].get_color() != rate.lines[1].get_color()


def test_curves_of_one_epoch_and_without_a_weight() -> None:
    record = {"epoch": 1, "train": {"elbo": -3.0}, "valid": {"elbo": -4.0}, "lr": 0.1, "grad_norm": 1.0}
    figure = learning_curves([record], "one")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1]
    assert figure.axes[3].lines[0].get_xdata().tolist() == []
