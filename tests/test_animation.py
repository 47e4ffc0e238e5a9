"""Films by number: which latents their frames decode, when each is shown, what stands below, and the files read back."""

import math
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

import vaekit
from tests.test_gallery import conditional, garments, linear_vae, means_of, noise
from vaekit.core.errors import DataError, ModelError, RunError
from vaekit.core.units import to_gray_levels
from vaekit.experiment.train import run
from vaekit.networks import Shape
from vaekit.plots import Film, animation
from vaekit.plots.animation import CaptionStrip, captioned, enlarge, mosaic, stop_film, swing, timeline
from vaekit.plots.style import font
from vaekit.presentation import gallery as gallery_module
from vaekit.presentation.gallery import DIGIT_HOLD, FRAME, HOLD, LAST, Gallery, digits_of_pi, film_of_training
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder

PI = "31415926535897932384626433832795028841971693993751"
DARK = 100
"""Below it lies the ink of current words, and above it that of the others."""


def shrunk(frame: Image.Image, shape: Shape, factor: int) -> Tensor:
    """The image in the middle of a frame's top, each of its pixels a constant block."""
    channels, height, width = shape
    left = (frame.width - width * factor) // 2
    part = np.asarray(frame)[: height * factor, left : left + width * factor].reshape(height * factor, width * factor, -1)
    small = part[::factor, ::factor]
    np.testing.assert_array_equal(part, small.repeat(factor, 0).repeat(factor, 1))
    return torch.from_numpy(small.copy()).permute(2, 0, 1).reshape(channels, height, width)


def closest(found: Tensor, expected: Tensor) -> int:
    """The largest difference in gray levels."""
    return int((found.int() - expected.int()).abs().max())


def eased(stops: int, moves: int) -> list[float]:
    """Where the frames of a film lie, by the formula."""
    return [stop + t * t * (3 - 2 * t) for stop in range(stops) for t in (m / (moves + 1) for m in range(moves + 1))]


def find(sheet: Image.Image, part: Image.Image) -> list[tuple[int, int]]:
    """All places (top, left) where an image stands on a sheet, pixel by pixel."""
    whole, piece = np.asarray(sheet), np.asarray(part)
    height, width = piece.shape[:2]
    corners = whole[: whole.shape[0] - height + 1, : whole.shape[1] - width + 1] == piece[0, 0]
    corners = corners if corners.ndim == 2 else corners.all(-1)
    places = [(int(y), int(x)) for y, x in np.argwhere(corners)]
    return [(y, x) for y, x in places if np.array_equal(whole[y : y + height, x : x + width], piece)]


def checkers(num: int, mode: str = "L", size: tuple[int, int] = (9, 7), factor: int = 4) -> list[Image.Image]:
    """Images of random blocks, all different."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    draw = np.random.default_rng(1)
    blocks = [draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(num)]
    return [Image.fromarray(block.repeat(factor, 0).repeat(factor, 1)) for block in blocks]


# When


@pytest.mark.parametrize(("stops", "moves"), [(2, 10), (3, 1), (5, 0), (1, 4)])
def test_timeline_eases_between_stops_holds_them_and_closes(stops: int, moves: int) -> None:
    positions, durations = timeline(stops, moves, 700, 60)
    np.testing.assert_allclose(positions, eased(stops, moves), atol=1e-12)
    assert durations == [duration for _ in range(stops) for duration in [700] + [60] * moves]
    assert positions[:: moves + 1].tolist() == list(range(stops))
    gaps = torch.diff(positions, append=torch.tensor([float(stops)]))
    assert (gaps > 0).all()
    torch.testing.assert_close(gaps, gaps.unflatten(0, (stops, -1)).flip(1).flatten())
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
        ((1, 28, 28), 280, 10),
        ((1, 28, 20), 280, 10),
        ((3, 20, 28), 280, 10),
        ((1, 8, 8), 280, 35),
        ((1, 9, 9), 280, 32),
        ((3, 64, 48), 280, 5),
        ((3, 300, 200), 280, 1),
        ((1, 1, 1), 50, 50),
        ((1, 28, 28), 1, 1),
    ],
)
def test_images_are_enlarged_without_blur(shape: Shape, size: int, factor: int) -> None:
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    images = enlarge(pixels, size)
    assert all(image.size == (shape[2] * factor, shape[1] * factor) for image in images)
    assert max(images[0].size) >= size > (factor - 1) * max(shape)
    for image, picture_ in zip(images, pixels, strict=True):
        assert image.mode == ("L" if shape[0] == 1 else "RGB")
        assert torch.equal(shrunk(image, shape, factor), picture_)


@pytest.mark.parametrize(("shape", "factor"), [((1, 28, 20), 10), ((3, 6, 5), 47)])
def test_frame_shows_its_image_above_the_captions(shape: Shape, factor: int) -> None:
    images = torch.rand(4, *shape)
    film = stop_film(images, torch.tensor([0, 0.5, 1, 1.5]), [50, 60, 70, 80], ["a", "b"], 280)
    assert film.durations == [50, 60, 70, 80]
    for frame, image in zip(film.frames, images, strict=True):
        assert frame.width == 280 or frame.width == shape[2] * factor
        assert frame.height > shape[1] * factor
        assert torch.equal(shrunk(frame, shape, factor), to_gray_levels(image))
        sides = np.asarray(frame)[: shape[1] * factor, : (frame.width - shape[2] * factor) // 2]
        assert (sides == 255).all()


WORDS = ["sock", "boot", "shirt"]


@pytest.mark.parametrize("position", [0, 0.3, 0.49, 0.5, 0.8, 1, 1.25, 2, 2.4, 2.6, 2.99])
def test_strip_marks_the_current_word_alone_and_moves_its_bar(position: float) -> None:
    size, height = 20, 30
    strip = CaptionStrip(WORDS, 280, size)
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
    strip = CaptionStrip(words, width, size)
    pages = [page for page, _, _ in strip.places]
    assert pages == sorted(pages)
    assert 1 < max(pages) + 1 == len(strip.shifts) < 6
    blank = Image.new("L", (width, 8), 255)
    shown = [np.asarray(strip.below(blank, float(stop)))[8:] for stop in range(40)]
    for stop, (page, x, length) in enumerate(strip.places):
        left, right = x + strip.shifts[page], x + strip.shifts[page] + length
        assert 0 <= left < right <= width
        dark = np.flatnonzero((shown[stop] < DARK).any(0))
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
    for position, stop in ((last + 0.3, last), (last + 0.7, last + 1), (39.3, 39), (39.7, 0)):
        np.testing.assert_array_equal(np.asarray(strip.below(blank, position))[8:], shown[stop])


def test_strip_shortens_what_does_not_fit() -> None:
    long = "a very long name of a class that nobody can read"
    strip = CaptionStrip([long, "b"], 100, 18)
    assert strip.words[1] == "b"
    assert strip.words[0].endswith("…")
    assert long.startswith(strip.words[0][:-1])
    assert 60 < font(18).getlength(strip.words[0]) <= 100 - 18
    assert CaptionStrip(["anything"], 3, 18).words == ["…"]


def test_mosaic_and_words_below() -> None:
    a, b, c = (image.resize(size) for image, size in zip(checkers(3), [(20, 10), (14, 30), (40, 8)], strict=True))
    sheet = mosaic([a, b, c], 2, gap=6)
    assert sheet.size == (40, 44)
    assert [find(sheet, part) for part in (a, b, c)] == [[(0, 0)], [(0, 26)], [(36, 0)]]
    assert (np.asarray(sheet)[10:36, :20] == 255).all()
    below = captioned(a.resize((300, 50)), "z3 · 1.20 nats")
    assert find(below, a.resize((300, 50))) == [(0, 0)]
    strip = np.asarray(below)[50:]
    columns = np.flatnonzero((strip < DARK).any(0))
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(150, abs=3)
    assert columns[-1] - columns[0] == pytest.approx(font(14).getlength("z3 · 1.20 nats"), abs=4)


# What films show


@pytest.mark.parametrize("path", ["linear", "spherical"])
@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 7)])
def test_film_decodes_the_way_through_its_stops(shape: Shape, path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "CHUNK", 4)
    gallery = Gallery(linear_vae(shape=shape), garments(shape=shape))
    film = gallery.film(["sock", "@4", "@11"], moves=3, hold=500, size=40, path=path)
    stops = gallery.stops(["sock", "@4", "@11"])
    expected = gallery.model.decode_path(stops.z, torch.tensor(eased(3, 3)), path=path)
    factor = math.ceil(40 / max(shape))
    assert len(film.frames) == 12
    assert film.durations == [500, FRAME, FRAME, FRAME] * 3
    images = torch.stack([shrunk(frame, shape, factor) for frame in film.frames])
    assert closest(images, to_gray_levels(expected)) <= 1
    held = to_gray_levels(gallery.model.decode_mean(means_of(gallery)[4][None]))[0]
    assert closest(images[4], held) <= 1
    assert (images.flatten(1)[:, None].int() - images.flatten(1).int()).abs().amax(-1).add(torch.eye(12) * 9).min() > 2


def test_film_of_a_conditional_model_tells_it_the_classes(tmp_path: Path) -> None:
    gallery = conditional()
    Image.fromarray(gallery.images.pixels[7, 0].numpy()).save(tmp_path / "x.png")
    names = ["sock", str(tmp_path / "x.png"), "@1"]
    film = gallery.film(names, moves=1, size=6, labels=["shirt"])
    stops = gallery.stops(names, ["shirt"])
    assert stops.labels is not None
    assert stops.labels.tolist() == [0, 2, 1]
    contexts = 3**0.5 * torch.eye(3)[stops.labels]
    z, halves = stops.z, [(stops.z[i] + stops.z[(i + 1) % 3]) / 2 for i in range(3)]
    with torch.no_grad():
        for place in range(3):
            for frame, point, context in (
                (film.frames[2 * place], z[place], contexts[place]),
                (film.frames[2 * place + 1], halves[place], (contexts[place] + contexts[(place + 1) % 3]) / 2),
            ):
                expected = gallery.model.decoder(point[None], context[None]).sigmoid()[0]
                assert closest(shrunk(frame, (1, 6, 5), 1), to_gray_levels(expected)) <= 1


def test_class_that_is_visited_again_looks_different() -> None:
    gallery = Gallery(linear_vae(), garments())
    film = gallery.film(["boot", "boot", "sock", "boot"], moves=0, size=6)
    shown = [shrunk(frame, (1, 6, 5), 1) for frame in film.frames]
    boots = torch.arange(1, 90, 3)
    means = means_of(gallery)[boots]
    nearest = means[(means - means.mean(0)).norm(dim=1).argsort()[:3]]
    for place, image in zip((0, 1, 3), to_gray_levels(gallery.model.decode_mean(nearest)), strict=True):
        assert closest(shown[place], image) <= 1
    assert min(closest(shown[a], shown[b]) for a, b in ((0, 1), (0, 3), (1, 3))) > 2


def test_film_of_unlabeled_images_passes_them_by_number() -> None:
    gallery = Gallery(linear_vae(2), noise(5))
    film = gallery.film(["@0", "@4"], moves=1, size=6)
    expected = to_gray_levels(gallery.model.decode_mean(means_of(gallery)[[0, 4]]))
    assert closest(torch.stack([shrunk(film.frames[k], (1, 6, 5), 1) for k in (0, 2)]), expected) <= 1
    with pytest.raises(DataError, match="noise has no classes"):
        gallery.film(["0", "1"])
    with pytest.raises(DataError, match="pi needs the ten classes 0 to 9, and it has 0"):
        gallery.film_of_pi(4)


@pytest.mark.parametrize("stops", [[], ["boot"]])
def test_film_of_one_stop_is_none(stops: list[str]) -> None:
    with pytest.raises(DataError, match=f"two stops at least, got {len(stops)}"):
        Gallery(linear_vae(), garments()).film(stops)


@pytest.mark.parametrize(("num", "columns"), [(1, 1), (2, 1), (4, 2), (5, 2)])
def test_film_of_traversals_moves_every_latent_through_its_range(num: int, columns: int) -> None:
    gallery = Gallery(linear_vae(5), noise(100))
    film = gallery.film_of_traversals(num, moves=3, size=40, start="@2")
    weights = torch.tensor([0, 0.25, 0.75, 1, 0.75, 0.25])
    found = gallery.traverse(num, weights, "@2")
    assert len(film.frames) == 6
    assert film.durations == [FRAME] * 6
    for step, frame in enumerate(film.frames):
        places = [find(frame, enlarge(found.images[row, step][None], 150)[0]) for row in range(num)]
        rows, lefts = sorted({y for [(y, _)] in places}), sorted({x for [(_, x)] in places})
        assert [(rows.index(y), lefts.index(x)) for [(y, x)] in places] == [divmod(row, columns) for row in range(num)]


# Pi


def test_digits_of_pi_are_those_of_pi() -> None:
    assert digits_of_pi(50) == PI
    assert [digits_of_pi(num) for num in range(2, 50)] == [PI[:num] for num in range(2, 50)]
    assert digits_of_pi(1000)[760:770] == "3499999983"  # six nines in a row, where rounding would show
    assert digits_of_pi(762 + 6) == digits_of_pi(1000)[: 762 + 6]
    assert len(digits_of_pi(1000)) == 1000


@pytest.mark.parametrize("num", [1, 0, -3, 10_001, 10**9])
def test_so_many_digits_of_pi_cannot_be(num: int) -> None:
    with pytest.raises(DataError, match="choose from 2 to 10,000"):
        digits_of_pi(num)


def test_film_of_pi_walks_through_the_classes_of_its_digits(trained: Path) -> None:
    gallery = RunFolder(trained).gallery
    film = gallery.film_of_pi(5, moves=2, size=80, path="spherical")
    same = gallery.film(
        list("31415"), moves=2, hold=DIGIT_HOLD, size=80, path="spherical", captions=["3.", "1", "4", "1", "5"]
    )
    assert film.durations == [DIGIT_HOLD, FRAME, FRAME] * 5
    assert [frame.tobytes() for frame in film.frames] == [frame.tobytes() for frame in same.frames]
    stops = gallery.stops(list("31415"))
    labels = gallery.images.labels
    assert labels is not None
    for name, z in zip("31415", stops.z, strict=True):
        [row] = (gallery.encodings.means == z).all(1).nonzero().flatten().tolist()
        assert int(labels[row]) == int(name)
    expected = to_gray_levels(gallery.model.decode_path(stops.z, torch.tensor(eased(5, 2)), path="spherical"))
    assert closest(torch.stack([shrunk(frame, (1, 8, 8), 10) for frame in film.frames]), expected) <= 1


# A model that has learned


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits that is long enough to tell them apart."""
    overrides = {"epochs": 12, "lr": 0.006, "beta": 0.5, "evaluation.num_samples": 0, "training.images_every": 4}
    return run(load_recipe("digits", overrides), tmp_path_factory.mktemp("films") / "run").folder


@pytest.fixture(scope="module")
def judge() -> KNeighborsClassifier:
    """A classifier of the labeled digits, right on more than 97 of 100 that it has not seen."""
    train, test = vaekit.load_images("digits", "train"), vaekit.load_images("digits", "test")
    found = KNeighborsClassifier(5).fit(train.pixels.flatten(1), train.labels)
    assert found.score(test.pixels.flatten(1), test.labels) > 0.97
    return found


def test_film_from_one_to_nine_starts_with_a_one_and_holds_a_nine(learned: Path, judge: KNeighborsClassifier) -> None:
    film = RunFolder(learned).gallery.film(["1", "9"], moves=10)
    assert film.durations == ([HOLD] + [FRAME] * 10) * 2
    shown = torch.stack([shrunk(frame, (1, 8, 8), 35) for frame in film.frames])
    named = judge.predict(shown.flatten(1)).tolist()
    assert (named[0], named[11], named[-1]) == (1, 9, 1)


def test_class_is_where_its_stop_is(learned: Path, judge: KNeighborsClassifier) -> None:
    gallery = RunFolder(learned).gallery
    stops = gallery.stops([str(digit) for digit in range(10) for _ in range(3)])
    images = to_gray_levels(gallery.model.decode_mean(stops.z))
    named = judge.predict(images.flatten(1))
    assert (named == np.arange(10).repeat(3)).mean() > 0.9


def test_file_of_a_nine_leads_to_a_nine(learned: Path, judge: KNeighborsClassifier, tmp_path: Path) -> None:
    gallery = RunFolder(learned).gallery
    [nine, *_] = gallery.encodings.means.eq(gallery.stops(["9"]).z[0]).all(1).nonzero().flatten().tolist()
    enlarge(gallery.images.pixels[nine][None], 8)[0].save(tmp_path / "nine.png")
    film = gallery.film(["1", str(tmp_path / "nine.png")], moves=4, size=8)
    named = judge.predict(torch.stack([shrunk(film.frames[k], (1, 8, 8), 1) for k in (0, 5)]).flatten(1))
    assert named.tolist() == [1, 9]


def test_film_of_training_shows_the_epochs_of_a_run_in_order(learned: Path) -> None:
    film = film_of_training(learned)
    assert film.durations == [400, 400, LAST]
    for frame, epoch in zip(film.frames, (4, 8, 12), strict=True):
        places = []
        for name in ("reconstructions", "samples"):
            with Image.open(learned / "images" / "epochs" / f"{name}-{epoch:04d}.png") as image:
                [place] = find(frame, image.copy())
            places.append(place)
        assert places[0][0] < places[1][0]
    assert len({frame.tobytes() for frame in film.frames}) == 3


def epochs_of(folder: Path, numbers: list[int]) -> list[Image.Image]:
    """A run folder with images of epochs, of which the samples are returned."""
    pixels = folder / "images" / "epochs"
    pixels.mkdir(parents=True)
    images = checkers(2 * len(numbers))
    for place, number in enumerate(numbers):
        images[2 * place].save(pixels / f"samples-{number:04d}.png")
        images[2 * place + 1].save(pixels / f"reconstructions-{number:04d}.png")
    return images[::2]


@pytest.mark.parametrize(
    ("numbers", "duration"),
    [([5, 100, 20], 400), (list(range(1, 41)), 200), (list(range(1, 121)), 80), ([9999, 10000, 10005], 400)],
    ids=["three", "forty", "many", "five figures"],
)
def test_film_of_training_goes_by_the_number_of_the_epoch(numbers: list[int], duration: int, tmp_path: Path) -> None:
    samples = epochs_of(tmp_path, numbers)
    film = film_of_training(tmp_path)
    assert film.durations == [duration] * (len(numbers) - 1) + [LAST]
    for frame, (_, image) in zip(film.frames, sorted(zip(numbers, samples, strict=True), key=lambda p: p[0]), strict=True):
        assert len(find(frame, image)) == 1


@pytest.mark.parametrize("numbers", [[], [7]])
def test_film_of_training_wants_two_epochs(numbers: list[int], tmp_path: Path) -> None:
    epochs_of(tmp_path, numbers)
    with pytest.raises(RunError, match=rf"holds images of {len(numbers)} epochs?, .*training.images_every=1"):
        film_of_training(tmp_path)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"no image")], ids=["missing", "damaged"])
def test_film_of_training_names_the_image_that_it_cannot_read(damage: Any, tmp_path: Path) -> None:
    epochs_of(tmp_path, [1, 2])
    damage(tmp_path / "images" / "epochs" / "reconstructions-0002.png")
    with pytest.raises(vaekit.VaekitError, match=r"reconstructions-0002\.png"):
        film_of_training(tmp_path)


# Files


def played(path: Path, mode: str) -> tuple[list[np.ndarray], list[int], int]:
    """The frames of an animation, how long each is shown, and how often it repeats; 0 is for ever."""
    with Image.open(path) as image:
        frames, durations = [], []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            frames.append(np.asarray(image.convert(mode)).astype(int))
            durations.append(image.info["duration"])
        return frames, durations, image.info["loop"]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_film_comes_back_from_its_file(suffix: str, mode: str, tmp_path: Path) -> None:
    film = Film(checkers(6, mode), [700, 60, 60, 350, 20, 2000])
    film.save(tmp_path / f"x{suffix}")
    frames, durations, loop = played(tmp_path / f"x{suffix}", mode)
    assert (durations, loop) == (film.durations, 0)
    for found, frame in zip(frames, film.frames, strict=True):
        error = np.abs(found - np.asarray(frame, int)).max()
        if suffix.lower() == ".gif" and mode == "L":
            assert 0 < error <= 255 / 63 / 2 + 0.5
            assert len(np.unique(found)) <= 64
        else:  # 63 colors fit a palette
            assert error == 0


def test_gif_levels_are_even_and_keep_black_and_white(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    Film([ramp, ramp.rotate(90)], [60, 60]).save(tmp_path / "x.gif")
    levels = np.unique(played(tmp_path / "x.gif", "L")[0][0])
    np.testing.assert_array_equal(levels, np.rint(np.arange(64) * 255 / 63))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_that_are_the_same_take_their_time(suffix: str, tmp_path: Path) -> None:
    a, b = checkers(2)
    Film([a, b, b, a], [100, 60, 80, 40]).save(tmp_path / f"x{suffix}")
    _, durations, _ = played(tmp_path / f"x{suffix}", "L")
    assert sum(durations) == 280


def test_film_of_a_gallery_comes_back_as_its_model_drew_it(tmp_path: Path) -> None:
    gallery = Gallery(linear_vae(shape=(3, 4, 7)), garments(shape=(3, 4, 7)))
    film = gallery.film(["sock", "boot"], moves=2, size=28)
    for suffix, error in ((".webp", 0), (".gif", 12)):
        film.save(tmp_path / f"x{suffix}")
        frames, durations, _ = played(tmp_path / f"x{suffix}", "RGB")
        assert durations == [HOLD, FRAME, FRAME] * 2
        for found, frame in zip(frames, film.frames, strict=True):
            assert np.abs(found - np.asarray(frame, int))[:16].max() <= error


@pytest.mark.parametrize(("mode", "size", "factor"), [("L", (8, 6), 8), ("RGB", (8, 6), 8), ("L", (9, 7), 5)])
def test_video_has_its_frames_and_its_seconds(mode: str, size: tuple[int, int], factor: int, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    film = Film(checkers(3, mode, size, factor), [100, 700, 60])
    film.save(tmp_path / "x.mp4")
    count, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert (count, seconds) == (43, pytest.approx(0.86, abs=0.02))
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-v", "error", "-")
    command = [ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "x.mp4"), *raw]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    width, height = film.frames[0].size
    even = (height + height % 2, width + width % 2)
    frames = np.frombuffer(data, np.uint8).reshape(43, *even).astype(int)[:, :height, :width]
    for first, last, frame in zip((0, 5, 40), (4, 39, 42), film.frames, strict=True):
        expected = np.asarray(frame.convert("L"), int)
        for shown in (frames[first], frames[last]):
            assert np.abs(shown - expected).mean() < (6 if mode == "L" else 20)
    assert np.abs(frames[4] - frames[5]).mean() > 40


def test_video_takes_as_long_as_its_film(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    film = Film(checkers(21), [70] * 19 + [350, 110])
    film.save(tmp_path / "x.mp4")
    assert ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))[1] == pytest.approx(1.79, abs=0.021)


@pytest.mark.parametrize("name", ["x.png", "x", "x.avi", "gif"])
def test_film_of_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: an animation is written as \.gif, \.webp, \.mp4"):
        Film(checkers(2), [60, 60]).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_video_without_its_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "imageio_ffmpeg", None)
    with pytest.raises(DataError, match=r"MP4 needs imageio-ffmpeg \(pip install imageio-ffmpeg\)"):
        Film(checkers(2), [60, 60]).save(tmp_path / "x.mp4")
    Film(checkers(2), [60, 60]).save(tmp_path / "x.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["x.gif"]


@pytest.mark.parametrize(
    ("suffix", "side", "hold"), [(".webp", 16_384, 60), (".webp", 9, 2**40), (".gif", 9, 700_000)], ids=str
)
def test_film_that_its_format_cannot_hold_is_refused(suffix: str, side: int, hold: int, tmp_path: Path) -> None:
    film = Film([Image.new("L", (side, 2), level) for level in (0, 255)], [hold, 60])
    with pytest.raises(vaekit.VaekitError, match=rf"\{suffix} cannot hold"):
        film.save(tmp_path / f"x{suffix}")


def test_label_for_a_film_of_a_model_without_classes() -> None:
    with pytest.raises(ModelError, match="not conditional"):
        Gallery(linear_vae(), garments()).film(["sock", "boot"], labels=["sock"])
