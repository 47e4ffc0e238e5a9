"""The frames of animations: positions, durations, enlarged images, captions and mosaics."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from tests.animation_frames import DARK, checkers, eased, find, shrunk
from vaekit.core.units import to_gray_levels
from vaekit.networks import Shape
from vaekit.plots.frames import (
    CaptionStrip,
    captioned,
    enlarge,
    frame_durations,
    mosaic,
    swing,
    timeline,
    waypoint_animation,
)
from vaekit.plots.style import LIGHT, font

PI = "31415926535897932384626433832795028841971693993751"


# When


@pytest.mark.parametrize(("waypoints", "moves"), [(2, 10), (3, 1), (5, 0), (1, 4)])
def test_timeline_eases_between_waypoint_holds_them_and_closes(waypoints: int, moves: int) -> None:
    positions, durations = timeline(waypoints, moves, 700)
    np.testing.assert_allclose(positions, eased(waypoints, moves), atol=1e-12)
    assert durations == [700, *frame_durations(moves)] * waypoints
    assert sum(durations) == waypoints * (700 + round(moves * 1000 / 30))
    assert positions[:: moves + 1].tolist() == list(range(waypoints))
    gaps = torch.diff(positions, append=torch.tensor([float(waypoints)]))
    assert (gaps > 0).all()
    torch.testing.assert_close(gaps, gaps.unflatten(0, (waypoints, -1)).flip(1).flatten())
    if moves > 2:
        assert gaps[0] < gaps[moves // 2]


@pytest.mark.parametrize("moves", [1, 2, 16])
def test_swing_goes_there_and_back_and_closes(moves: int) -> None:
    weights = swing(moves)
    expected = [0.5 - 0.5 * math.cos(math.pi * frame / moves) for frame in range(2 * moves)]
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert (float(weights[0]), float(weights[moves])) == (0, 1)
    np.testing.assert_allclose(weights[1:], weights[1:].flip(0), atol=1e-6)


# Frames


@pytest.mark.parametrize(
    ("shape", "size", "factor"),
    [
        ((1, 28, 28), 280, 11),
        ((1, 28, 20), 280, 11),
        ((3, 20, 28), 280, 11),
        ((1, 8, 8), 280, 35),
        ((1, 9, 9), 280, 33),
        ((3, 64, 48), 280, 5),
        ((3, 300, 200), 280, 1),
        ((1, 1, 1), 50, 51),
        ((1, 28, 28), 1, 1),
    ],
)
def test_images_are_enlarged_by_an_odd_factor(shape: Shape, size: int, factor: int) -> None:
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    images = enlarge(pixels, size)
    assert all(image.size == (shape[2] * factor, shape[1] * factor) for image in images)
    assert max(images[0].size) >= size > (factor - 2) * max(shape)
    for image, expected in zip(images, pixels, strict=True):
        assert image.mode == ("L" if shape[0] == 1 else "RGB")
        assert torch.equal(shrunk(image, shape, factor), expected)


@pytest.mark.parametrize(("shape", "factor"), [((1, 28, 20), 11), ((3, 6, 5), 47)])
def test_frame_shows_its_image_above_the_captions(shape: Shape, factor: int) -> None:
    images = torch.rand(4, *shape)
    animation = waypoint_animation(images, torch.tensor([0, 0.5, 1, 1.5]), [50, 60, 70, 80], ["a", "b"], 280)
    assert animation.durations == [50, 60, 70, 80]
    for frame, image in zip(animation.frames, images, strict=True):
        assert frame.width in (280, shape[2] * factor)
        assert frame.height > shape[1] * factor
        assert torch.equal(shrunk(frame, shape, factor), to_gray_levels(image))
        sides = np.asarray(frame)[: shape[1] * factor, : (frame.width - shape[2] * factor) // 2]
        assert (sides == (19 if shape[0] == 1 else (17, 19, 23))).all()


WORDS = ["sock", "boot", "shirt"]


@pytest.mark.parametrize("position", [0, 0.3, 0.49, 0.5, 0.8, 1, 1.25, 2, 2.4, 2.6, 2.99])
def test_strip_marks_the_current_word_alone_and_moves_its_bar(position: float) -> None:
    size, height = 20, 30
    strip = CaptionStrip(WORDS, 280, size, LIGHT)
    sheet = np.asarray(strip.below(Image.new("L", (280, height), 255), position))
    edge = height + round(1.35 * size) + 2  # below the words, which have no descenders, and above the bar
    before, weight = int(position), position % 1
    after = (before + 1) % 3
    spans = [(x + strip.shifts[0], x + strip.shifts[0] + length) for _, x, length in strip.places]
    current = before if weight < 0.5 else after
    for number, (left, right) in enumerate(spans):
        word = sheet[height:edge, round(left) : round(right) + 1]
        assert (word < 200).sum() > 20, "a word that is not there"
        assert ((word < DARK).sum() > 20) == (number == current)
        assert (word < DARK).any() == (number == current)
    dark = np.flatnonzero((sheet[edge:] < DARK).any(0))
    left, right = ((1 - weight) * a + weight * b for a, b in zip(spans[before], spans[after], strict=True))
    assert (dark[0], dark[-1]) == (pytest.approx(left, abs=1), pytest.approx(right, abs=1))
    assert len(dark) == dark[-1] - dark[0] + 1
    assert (sheet[:height] == 255).all()


def test_strip_of_many_captions_turns_pages() -> None:
    words, size, width = ["3.", *PI[1:40]], 20, 280
    strip = CaptionStrip(words, width, size, LIGHT)
    pages = [page for page, _, _ in strip.places]
    assert pages == sorted(pages)
    assert 1 < max(pages) + 1 == len(strip.shifts) < 6
    blank = Image.new("L", (width, 8), 255)
    shown = [np.asarray(strip.below(blank, float(waypoint)))[8:] for waypoint in range(40)]
    for waypoint, (page, x, length) in enumerate(strip.places):
        left, right = x + strip.shifts[page], x + strip.shifts[page] + length
        assert 0 <= left < right <= width
        dark = np.flatnonzero((shown[waypoint] < DARK).any(0))
        assert (dark.min(), dark.max()) == (pytest.approx(left, abs=2), pytest.approx(right, abs=2))
    # On a page the words of that page stand, in order and apart, and no others.
    for page in range(max(pages) + 1):
        own = [(x, length) for on, x, length in strip.places if on == page]
        ink = np.flatnonzero((shown[pages.index(page)][:28] < 230).any(0)) - strip.shifts[page]
        assert all(any(x - 1 <= column <= x + length + 1 for x, length in own) for column in ink)
        assert all(any(x - 1 <= column <= x + length + 1 for column in ink) for x, length in own)
        assert all(x + length < y for (x, length), (y, _) in pairwise(own))
        assert own[0][0] + strip.shifts[page] == pytest.approx(width - sum(own[-1]) - strip.shifts[page])
    # The bar does not cross from page to page.
    last = pages.index(1) - 1
    for position, waypoint in ((last + 0.3, last), (last + 0.7, last + 1), (39.3, 39), (39.7, 0)):
        np.testing.assert_array_equal(np.asarray(strip.below(blank, position))[8:], shown[waypoint])


def test_strip_shortens_what_does_not_fit() -> None:
    long = "a very long name of a class that does not fit"
    strip = CaptionStrip([long, "b"], 100, 18)
    assert strip.captions[1] == "b"
    assert strip.captions[0].endswith("…")
    assert long.startswith(strip.captions[0][:-1])
    assert 60 < font(18).getlength(strip.captions[0]) <= 100 - 18
    assert CaptionStrip(["anything"], 3, 18).captions == ["…"]


def test_mosaic_and_words_below() -> None:
    a, b, c = (image.resize(size) for image, size in zip(checkers(3), [(20, 10), (14, 30), (40, 8)], strict=True))
    sheet = mosaic([a, b, c], 2, gap=6, theme=LIGHT)
    assert sheet.size == (40, 44)
    assert [find(sheet, part) for part in (a, b, c)] == [[(0, 0)], [(0, 26)], [(36, 0)]]
    assert (np.asarray(sheet)[10:36, :20] == 255).all()
    below = captioned(a.resize((300, 50)), "z3 · 1.20 nats", LIGHT)
    assert find(below, a.resize((300, 50))) == [(0, 0)]
    strip = np.asarray(below)[50:]
    columns = np.flatnonzero((strip < DARK).any(0))
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(150, abs=3)
    assert columns[-1] - columns[0] == pytest.approx(font(14).getlength("z3 · 1.20 nats"), abs=4)
