"""Images of images: what stands where, by number, in every look."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.sheets import block, lines_on, middles
from vaekit.plots import Look, grid, manifold, reconstruction_pairs, side_by_side, traversals
from vaekit.plots.grids import columns_of_classes, number_for
from vaekit.plots.look import SIZE, caption_of, odd
from vaekit.plots.planes import MAX_BORDER, border_variation, plane, ticks
from vaekit.plots.style import DARK, LIGHT
from vaekit.plots.tile_lines import breaks, geometry

SHAPES = [(1, 8, 8), (3, 5, 7), (1, 28, 20), (3, 300, 200)]


def some(num: int, shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.randint(0, 256, (num, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(num))


def framed_by(level: int, images: torch.Tensor) -> torch.Tensor:
    """Images whose outermost pixels have a level."""
    framed = torch.full_like(images, level)
    framed[:, :, 1:-1, 1:-1] = images[:, :, 1:-1, 1:-1]
    return framed


@pytest.mark.parametrize(
    "look", [Look(), Look(pixelated=True), Look(LIGHT), Look(size=300)], ids=["smooth", "squares", "light", "small"]
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("num", "columns"), [(1, None), (7, 3), (12, 4)])
def test_grid_shows_every_image_at_its_place(shape: tuple[int, int, int], num: int, columns: int | None, look: Look) -> None:
    images = some(num, shape)
    columns = min(columns or 1, num)
    rows = -(-num // columns)
    found = lines_on(grid(images, columns, look=look), rows, columns, shape, look=look).flatten(0, 1)
    assert torch.equal(found[:num], images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num", [1, 7, 40, 100])
def test_shorter_side_has_the_size(shape: tuple[int, int, int], num: int) -> None:
    image = grid(some(num, shape))
    assert min(image.size) >= SIZE
    assert min(grid(some(num, shape), look=Look(size=2000)).size) >= 2000


def test_strip_has_twice_the_size_along() -> None:
    image = grid(some(10, (1, 28, 28)), 10)
    assert 2 * SIZE <= image.width <= 3 * SIZE


def test_small_images_are_smooth_or_squares() -> None:
    checkers = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 1, 2, 2)
    where = geometry(1, 1, (2, 2))
    sharp = np.unique(block(np.asarray(grid(checkers, look=Look(DARK, pixelated=True))), where))
    assert set(sharp.tolist()) == {0, 255, 19}  # and the paper
    smooth = np.asarray(grid(checkers))[where.gap : -where.gap, where.gap : -where.gap]
    assert len(np.unique(smooth)) > 100
    assert middles(smooth, where.factor).tolist() == [[0, 255], [255, 0]]
    steps = np.abs(np.diff(smooth.astype(int), axis=0)).max()
    assert steps < 3


@pytest.mark.parametrize(("number", "expected"), [(0.2, 1), (1, 1), (1.01, 3), (3, 3), (3.5, 5), (4, 5), (10, 11)])
def test_factors_are_odd(number: float, expected: int) -> None:
    assert odd(number) == expected


def test_grid_takes_the_unit_interval_and_clips_it() -> None:
    images = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]).reshape(5, 1, 1, 1)
    assert lines_on(grid(images, 5), 1, 5, (1, 1, 1)).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("num", "columns"), [(3, 10), (10, 10), (12, 5)])
def test_reconstructions_stand_below_their_originals(num: int, columns: int) -> None:
    originals = torch.arange(num, dtype=torch.uint8).reshape(num, 1, 1, 1).expand(num, 1, 4, 4)
    image = reconstruction_pairs(originals, originals + 100, columns)
    columns = min(columns, num)
    rows = -(-num // columns)
    lines = lines_on(image, 2 * rows, columns, (1, 4, 4), breaks(2 * rows, 2)).unflatten(0, (rows, 2))
    assert torch.equal(lines[:, 0].flatten(0, 1)[:num], originals)
    assert torch.equal(lines[:, 1].flatten(0, 1)[:num], originals + 100)


def test_space_between_pairs_is_wider() -> None:
    where = geometry(4, 3, (28, 28), breaks(4, 2))
    steps = np.diff(where.tops) - 28 * where.factor
    assert steps.tolist() == [where.gap, 3 * where.gap, where.gap]


@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 6, 6)])
def test_latent_plane_of_images_with_plain_borders_has_no_gaps(shape: tuple[int, int, int]) -> None:
    images = framed_by(30, some(12, shape)).unflatten(0, (3, 4))
    image = plane(images)
    factor = image.width // (4 * shape[2])
    assert image.size == (4 * shape[2] * factor, 3 * shape[1] * factor)
    assert min(image.size) >= 1400
    found = middles(np.asarray(image).reshape(image.height, image.width, -1), factor)
    expected = images.flip(0).permute(0, 3, 1, 4, 2).reshape(3 * shape[1], 4 * shape[2], shape[0])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 6, 6)])
def test_latent_plane_of_images_that_fill_their_frame_has_gaps(shape: tuple[int, int, int]) -> None:
    images = some(12, shape)
    assert border_variation(images) > MAX_BORDER
    image = plane(images.unflatten(0, (3, 4)))
    assert min(image.size) >= 1400
    rows = lines_on(image, 3, 4, shape, look=Look(size=1400))  # which requires paper between the images
    assert torch.equal(rows, images.unflatten(0, (3, 4)).flip(0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9)])
def test_border_variation_compares_outermost_pixels_with_all(
    shape: tuple[int, int, int],
) -> None:
    images = some(20, shape)
    mask = np.ones(shape[1:], bool)
    mask[1:-1, 1:-1] = False
    x = images.double().numpy()
    of_border = np.sqrt(np.mean([x[:, channel][:, mask].var() for channel in range(shape[0])]))
    of_all = np.sqrt(np.mean([x[:, channel].var() for channel in range(shape[0])]))
    assert border_variation(images) == pytest.approx(of_border / of_all)
    assert border_variation(framed_by(7, images)) == 0
    assert border_variation(torch.full((4, *shape), 9, dtype=torch.uint8)) == 0
    colored = framed_by(0, images)
    colored[:, 0, 0] = 200  # one side of another color
    assert 0 < border_variation(colored) < border_variation(images) * 2


@pytest.mark.parametrize(
    ("values", "texts"),
    [([-1.96, -0.6, 0.6, 1.96], ["−2", "0", "2"]), ([-8.0, 0.0, 8.0], ["−10", "0", "10"]), ([0.3], ["0.3"])],
)
def test_ticks_are_round_numbers_at_their_places(values: list[float], texts: list[str]) -> None:
    found = ticks(values)
    assert [text for text, _ in found] == texts
    for text, place in found:
        if 0 <= place <= len(values) - 1:
            assert np.interp(place, range(len(values)), values) == pytest.approx(float(text.replace("−", "-")))


def test_ticks_of_a_gaussian_plane_are_two_zero_and_two() -> None:
    scores = torch.special.ndtri((torch.arange(20) + 0.5) / 20).tolist()
    found = dict(ticks(scores))
    assert list(found) == ["−2", "0", "2"]
    assert found["0"] == pytest.approx(9.5)
    assert 19 < found["2"] < 19.5


def test_columns_are_classes_where_they_fit() -> None:
    digits = [str(digit) for digit in range(10)]
    assert columns_of_classes(100, digits, 28, None) == (10, digits)
    assert columns_of_classes(8, ["2", "5", "0"], 28, None) == (3, ["2", "5", "0"])
    assert columns_of_classes(100, ["a", "b"], 28, None) == (10, ["a", "b"] * 5)
    assert columns_of_classes(100, [], 28, 7) == (7, [])
    assert columns_of_classes(100, digits, 28, 7) == (7, [])
    assert columns_of_classes(100, [str(number) for number in range(11)], 28, None) == (None, [])
    assert columns_of_classes(3, digits, 28, None) == (10, ["0", "1", "2"])


def test_caption_and_text_add_to_the_sheet_but_leave_the_grid() -> None:
    images = some(4, (1, 8, 8))
    look = Look(caption="a model · digits · epoch 3")
    for image in (
        grid(images, 2, look=look),
        grid(images, 2, title="a title", row_labels=["a", "b"]),
    ):
        found = lines_on(image, 2, 2, (1, 8, 8))
        assert torch.equal(found.flatten(0, 1), images)
        assert image.size > grid(images, 2).size


def test_captions_name_each_thing_once() -> None:
    assert caption_of("digits", "digits", 7) == "digits · epoch 7"
    assert caption_of("mnist-2d", "mnist", None) == "mnist-2d · mnist"
    assert caption_of("a · b", "c", 1) == "a b · c · epoch 1"


def test_pairs_of_files_have_heads_and_traversals_marks() -> None:
    x = some(2, (1, 8, 8))
    sheet = side_by_side(x, 255 - x, ["a", "b"])
    found = lines_on(sheet, 2, 2, (1, 8, 8), heads=True)
    assert torch.equal(found[:, 0], x)
    assert torch.equal(found[:, 1], 255 - x)
    rows = x.unsqueeze(0).expand(3, 2, -1, -1, -1)
    marked = np.asarray(traversals(rows, ["z0", "z1", "z2"], "t", [0.0, 0.5, 1.0]), int)
    plain = np.asarray(traversals(rows, ["z0", "z1", "z2"], "t", [9.0, 9.0, 9.0]), int)  # with marks beyond the right
    changed = np.abs(marked - plain) > 0
    where = geometry(3, 2, (8, 8), breaks(3, 1))
    left = plain.shape[1] - max(14, where.width // 60) - where.width
    for row, place in enumerate((0.0, 0.5, 1.0)):
        bottom = max(14, where.width // 60) + where.tops[row] + 8 * where.factor
        columns = np.flatnonzero(changed[bottom : bottom + 3 * where.gap].any(0))
        middle = (columns[0] + columns[-1]) / 2 - left
        assert middle == pytest.approx(where.gap / 2 + (place + 0.5) * (8 * where.factor + where.gap), abs=2)


def test_manifold_has_its_ticks_beside_the_plane() -> None:
    images = some(16, (1, 6, 6)).unflatten(0, (4, 4))
    scores = torch.tensor([-1.96, -0.6, 0.6, 1.96])
    images = framed_by(30, images.flatten(0, 1)).unflatten(0, (4, 4))
    bare, sheet = plane(images), manifold(images, scores, scores, "a plane")
    margin = max(14, bare.width // 60)
    part = sheet.crop((sheet.width - margin - bare.width, margin, sheet.width - margin, margin + bare.height))
    np.testing.assert_array_equal(np.asarray(part), np.asarray(bare))
    below = np.asarray(sheet)[margin + bare.height : margin + bare.height + 2 * margin, sheet.width - margin - bare.width :]
    columns = np.flatnonzero((below > 150).any(0))
    assert columns.min() < bare.width / 8
    assert columns.max() > 7 * bare.width / 8


@pytest.mark.parametrize(
    ("height", "width", "num"), [(28, 28, 40), (128, 128, 40), (96, 400, 20), (512, 512, 6), (1024, 1024, 4)]
)
def test_fewer_of_large_images_are_shown(height: int, width: int, num: int) -> None:
    assert number_for(height, width) == num
    sheet = reconstruction_pairs(*torch.zeros(2, num, 1, height, width, dtype=torch.uint8))
    assert max(sheet.size) <= 4500
    assert isinstance(sheet, Image.Image)
