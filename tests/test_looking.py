"""The commands that draw, as a user runs them: what they write opened and checked by number, and their bad input."""

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import vaekit
from tests.commands import SHAPE, Refuse, contents, done, near, one_line, tiles, vae
from vaekit.core.units import to_gray_levels
from vaekit.models import load_vae, save_vae
from vaekit.plots import Film
from vaekit.presentation.gallery import FRAME, LAST, Gallery
from vaekit.runs.run_folder import RunFolder

STOP = 10**20
"""More than any machine can count to."""


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be drawn into or damaged."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture(scope="module")
def gallery(trained: Path) -> Gallery:
    """The gallery of the run."""
    return RunFolder(trained).gallery


def pixels(image: Path | Image.Image | Figure, dpi: int = 200) -> np.ndarray:
    """The pixels of an image, in a file or not."""
    if isinstance(image, Figure):
        file = io.BytesIO()
        image.savefig(file, dpi=dpi)
        image = Image.open(file)
    if isinstance(image, Path):
        with Image.open(image) as opened:
            return np.asarray(opened)
    return np.asarray(image)


def played(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """The gray frames of an animation, and how long each is shown."""
    frames, durations = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            frames.append(np.asarray(image.convert("L")).astype(int))
            durations.append(image.info["duration"])
    return frames, durations


def plays(path: Path, film: Film) -> None:
    """Asserts that a WebP or GIF animation shows a film at any time, the latter within half a step of 64 gray levels."""
    frames, durations = played(path)
    ends = np.cumsum(durations)
    assert ends[-1] == sum(film.durations)
    for start, frame in zip(np.cumsum([0, *film.durations[:-1]]), film.frames, strict=True):
        found = frames[np.searchsorted(ends, start, side="right")]  # frames that are the same are one in the file
        assert np.abs(found - np.asarray(frame, int)).max() <= (2.5 if path.suffix == ".gif" else 0)


def unlabeled(path: Path, num: int = 20) -> Path:
    """Images without classes."""
    np.save(path, np.random.default_rng(0).integers(0, 256, (num, *SHAPE[1:]), dtype=np.uint8))
    return path


# Where things go

PLACES = {
    "traverse": ([], "traversals.png"),
    "manifold": ([], "manifold.png"),
    "interpolate": ([1, 9], "interpolation.png"),
    "map": ([], "latent-map.png"),
    "rates": ([], "rates.png"),
    "errors": ([], "errors.png"),
    "curves": ([], "curves.png"),
}


@pytest.mark.parametrize("command", PLACES)
def test_image_goes_among_those_of_the_run_or_where_one_says(command: str, copy: Path, tmp_path: Path) -> None:
    args, name = PLACES[command]
    path = copy / "images" / name
    before = {found.name for found in path.parent.iterdir()}
    assert done(command, copy, *args).replace("\n", "") == str(path)
    assert {found.name for found in path.parent.iterdir()} == before | {name}
    elsewhere = tmp_path / "x.png"
    assert done(command, copy, *args, "-o", elsewhere).replace("\n", "") == str(elsewhere)
    np.testing.assert_array_equal(pixels(path), pixels(elsewhere))
    assert len(np.unique(pixels(path))) > 16
    assert {found.name for found in tmp_path.iterdir()} == {"copy", "x.png"}


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["--through", "1,9"], "through.gif"),
        (["--through", "pi", "--digits", "4"], "pi.gif"),
        (["--traverse", "-n", "2"], "traversal.gif"),
        (["--training"], "training.gif"),
    ],
)
def test_animation_goes_among_the_images_of_the_run(args: list[str], name: str, copy: Path) -> None:
    epochs = copy / "images" / "epochs"
    epochs.mkdir()
    for epoch in (1, 2):
        for part in ("samples", "reconstructions"):
            Image.fromarray(np.full((40, 60), 50 * epoch, np.uint8)).save(epochs / f"{part}-{epoch:04d}.png")
    assert done("animate", copy, *args, "--size", 16).replace("\n", "") == str(copy / "images" / name)
    frames, durations = played(copy / "images" / name)
    assert len(frames) == len(durations) > 1
    assert (frames[0] != frames[1]).any()


def test_model_folder_draws_other_images_into_the_folder_one_is_in(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_vae(load_vae(trained), tmp_path / "model")
    unlabeled(tmp_path / "a.npy")
    assert done("map", "model", "--data", "a.npy") == "latent-map.png\n"
    gallery = Gallery(load_vae(trained), vaekit.load_images("a.npy", "test"))
    np.testing.assert_array_equal(pixels(tmp_path / "latent-map.png"), pixels(gallery.latent_map()))
    one_line(vae("map", "model"), "model", "--data")


# What they show


def test_traversals_are_the_galleries(trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("traverse", trained, "-n", 3, "--steps", 5, "--from", "@7", "-o", tmp_path / "x.png")
    found = gallery.traverse(3, torch.linspace(0, 1, 5), "@7")
    near(tiles(tmp_path / "x.png", 15, columns=5), to_gray_levels(found.images.flatten(0, 1)))
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), pixels(gallery.traversals(3, 5, "@7")))
    means = gallery.encodings.means[7]
    low, _ = gallery.encodings.quantiles(0.01, 0.99)
    top = means.clone()
    top[gallery.encodings.order[0]] = low[gallery.encodings.order[0]]
    near(tiles(tmp_path / "x.png", 15, columns=5)[:1], to_gray_levels(gallery.model.decode_mean(top[None])))
    done("traverse", trained, "--from", "3", "-o", tmp_path / "three.png")
    np.testing.assert_array_equal(pixels(tmp_path / "three.png"), pixels(gallery.traversals(16, 11, "3")))
    assert (pixels(gallery.traversals(16, 11, "3"))[100:] != pixels(gallery.traversals())[100:]).any()


@pytest.mark.parametrize("plane", ["active", "principal"])
def test_manifold_is_the_galleries(plane: Any, trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("manifold", trained, "--steps", 4, "--plane", plane, "-o", tmp_path / "x.png")
    found = pixels(tmp_path / "x.png")
    np.testing.assert_array_equal(found, pixels(gallery.manifold(4, plane)))
    corner = to_gray_levels(gallery.plane(4, plane).images[-1, 0])[0].numpy()
    factor = 900 // 32
    height, width = (8 * factor for _ in range(2))
    block = corner.repeat(factor, 0).repeat(factor, 1)
    places = np.argwhere(found[:-height, :-width] == block[0, 0])
    assert any(np.array_equal(found[y : y + height, x : x + width], block) for y, x in places.tolist())


def test_manifold_of_a_conditional_model_is_of_a_class(trained_conditional: Path, tmp_path: Path) -> None:
    gallery = RunFolder(trained_conditional).gallery
    shown = {}
    for label in ("3", "8"):
        done("manifold", trained_conditional, "--steps", 3, "--label", label, "-o", tmp_path / f"{label}.png")
        shown[label] = pixels(tmp_path / f"{label}.png")
        np.testing.assert_array_equal(shown[label], pixels(gallery.manifold(3, label=label)))
    assert (shown["3"] != shown["8"]).any()


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_takes_classes_and_a_path(path: Any, trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("interpolate", trained, 1, 9, "--steps", 4, "--path", path, "-o", tmp_path / "x.png")
    z = gallery.stops(["1", "9"]).z
    expected = gallery.model.decode_path(z, torch.linspace(0, 1, 4), path=path)
    near(tiles(tmp_path / "x.png", 4, columns=4), to_gray_levels(expected))
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), pixels(gallery.interpolation("1", "9", 4, path)))


CHARTS: dict[str, tuple[list[object], Callable[[Gallery], Figure]]] = {
    "map": ([], lambda gallery: gallery.latent_map()),
    "map -n": (["-n", 30, "--widths"], lambda gallery: gallery.latent_map("pca", 30, widths=True)),
    "map tsne": (["--method", "tsne", "-n", 30], lambda gallery: gallery.latent_map("tsne", 30)),
    "rates": ([], lambda gallery: gallery.rates()),
    "errors": ([], lambda gallery: gallery.errors()),
    "errors -n": (["-n", 2], lambda gallery: gallery.errors(2)),
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts_are_the_galleries(name: str, trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    args, draw = CHARTS[name]
    done(name.split()[0], trained, *args, "-o", tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), pixels(draw(gallery)))


def test_curves_are_those_of_the_run(trained: Path, tmp_path: Path) -> None:
    done("curves", trained, "-o", tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), pixels(RunFolder(trained).curves(), 120))
    title = RunFolder(trained).curves().get_suptitle()
    assert title == "digits, means over 1,294 training and 144 validation images"
    assert RunFolder(trained).curves().axes[0].lines[1].get_ydata().tolist() == [
        record["valid"]["elbo"] for record in RunFolder(trained).history
    ]


@pytest.mark.parametrize("command", ["map", "rates", "errors", "curves"])
def test_charts_are_written_as_their_suffix_says(command: str, trained: Path, tmp_path: Path) -> None:
    done(command, trained, "-o", tmp_path / "x.svg")
    done(command, trained, "-o", tmp_path / "x.pdf")
    assert ElementTree.parse(tmp_path / "x.svg").getroot().tag.endswith("svg")
    data = (tmp_path / "x.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_through_classes_is_the_galleries(suffix: str, trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    options = ("--steps", 3, "--hold", 300, "--size", 40, "--path", "spherical")
    done("animate", trained, "--through", " 1, @5 ,9", *options, "-o", path)
    film = gallery.film(["1", "@5", "9"], moves=3, hold=300, size=40, path="spherical")
    plays(path, film)
    assert film.durations == [300, FRAME, FRAME, FRAME] * 3
    held = np.asarray(film.frames[4], int)[:40, :40][::5, ::5]
    expected = to_gray_levels(gallery.model.reconstruct(gallery.images.pixels[5:6]))[0, 0].numpy()
    assert np.abs(held - expected.astype(int)).max() <= 1


def test_animations_of_pi_and_of_latents_are_the_galleries(trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("animate", trained, "--through", "pi", "--digits", 3, "--steps", 1, "--size", 8, "-o", tmp_path / "pi.webp")
    plays(tmp_path / "pi.webp", gallery.film_of_pi(3, moves=1, size=8))
    done("animate", trained, "--traverse", "-n", 2, "--steps", 3, "--from", "4", "-o", tmp_path / "z.webp")
    plays(tmp_path / "z.webp", gallery.film_of_traversals(2, 3, start="4"))


def test_animation_as_video_plays_as_long(trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    done("animate", trained, "--through", "1,9", "--size", 16, "-o", tmp_path / "x.mp4")
    _, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert seconds == pytest.approx(sum(gallery.film(["1", "9"]).durations) / 1000, abs=0.03)


def test_animation_of_training_is_of_the_epochs(copy: Path) -> None:
    epochs = copy / "images" / "epochs"
    epochs.mkdir()
    for epoch, level in ((1, 10), (2, 80), (10, 160)):
        for part, more in (("reconstructions", 0), ("samples", 40)):
            Image.fromarray(np.full((30, 200), level + more, np.uint8)).save(epochs / f"{part}-{epoch:04d}.png")
    done("animate", copy, "--training", "-o", copy / "x.webp")
    frames, durations = played(copy / "x.webp")
    assert durations == [400, 400, LAST]
    for frame, level in zip(frames, (10, 80, 160), strict=True):
        rows = frame[:, 5].tolist()
        assert (rows.count(level), rows.count(level + 40)) == (30, 30)
        assert rows.index(level) < rows.index(level + 40)


def test_files_and_labels_lead_a_conditional_animation(trained_conditional: Path, tmp_path: Path) -> None:
    gallery = RunFolder(trained_conditional).gallery
    for index in (3, 7):
        Image.fromarray(gallery.images.pixels[index, 0].numpy()).save(tmp_path / f"{index}.png")
    names = [str(tmp_path / "3.png"), "5", str(tmp_path / "7.png")]
    options = ("--steps", 1, "--size", 8, "--label", "2", "--label", "6", "-o", tmp_path / "x.webp")
    done("animate", trained_conditional, "--through", ",".join(names), *options)
    plays(tmp_path / "x.webp", gallery.film(names, moves=1, size=8, labels=["2", "6"]))
    first = played(tmp_path / "x.webp")[0][0][:8, :8]
    expected = to_gray_levels(gallery.model.reconstruct(gallery.images.pixels[3:4], torch.tensor([2])))[0, 0].int()
    assert np.abs(first - expected.numpy()).max() <= 1


# What cannot be


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["interpolate", "1", "ten"], ("ten: no such class", "known: 0, 1, 2")),
        (["interpolate", "10", "1"], ("10: no such class",)),
        (["traverse", "--from", "zero"], ("zero: no such class",)),
        (["traverse", "--from", "@359"], ("@359", "359 test images")),
        (["traverse", "--from", "@x"], ("@x", "by its number")),
        (["traverse", "--from", "nowhere.png"], ("nowhere.png: no such image",)),
        (["traverse", "--steps", "1"], ("--steps", "2")),
        (["traverse", "-n", "0"], ("--num", "1")),
        (["manifold", "--steps", "0"], ("--steps", "1")),
        (["manifold", "--plane", "tilted"], ("--plane", "principal")),
        (["manifold", "--label", "3"], ("not conditional", "--label")),
        (["map", "--method", "isomap"], ("--method", "tsne")),
        (["map", "-n", "0"], ("--num",)),
        (["map", "--method", "tsne", "--widths"], ("widths", "--method pca")),
        (["errors", "-n", "0"], ("--num", "1")),
        (["errors", "--data", "nowhere"], ("nowhere",)),
        (["rates", "--data", "./nowhere"], ("./nowhere: no such path",)),
        (["animate"], ("--through 1,9", "--training", "--traverse")),
        (["animate", "--through", "1,9", "--traverse"], ("one of", "--training")),
        (["animate", "--training", "--traverse"], ("one of", "--through")),
        (["animate", "--through", "1"], ("two stops at least, got 1", "--through 1,9")),
        (["animate", "--through", "1,"], ("two stops at least, got 1",)),
        (["animate", "--through", ""], ("two stops at least, got 0",)),
        (["animate", "--through", "1,ten"], ("ten: no such class",)),
        (["animate", "--through", "@0,@400"], ("@400", "359 test images")),
        (["animate", "--through", "1,nowhere.png"], ("nowhere.png: no such image",)),
        (["animate", "--through", "1,9", "--size", "0"], ("--size", "1")),
        (["animate", "--through", "1,9", "--size", "-280"], ("--size", "1")),
        (["animate", "--through", "1,9", "--hold", "0"], ("--hold", "20")),
        (["animate", "--through", "1,9", "--steps", "-1"], ("--steps",)),
        (["animate", "--through", "1,9", "--label", "3"], ("not conditional", "--label")),
        (["animate", "--through", "1,9", "--path", "round"], ("--path", "spherical")),
        (["animate", "--through", "pi", "--digits", "1"], ("--digits", "2")),
        (["animate", "--through", "pi", "--digits", "10001"], ("10001 digits of pi", "10,000")),
        (["animate", "--traverse", "-n", "0"], ("--num", "1")),
        (["animate", "--traverse", "--from", "ten"], ("ten: no such class",)),
        (["animate", "--training"], ("images", "0 epochs", "training.images_every=1")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn(args: list[str], says: tuple[str, ...], trained: Path, refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, trained, *rest, "-o", "out.gif" if command == "animate" else "out.png", says=says)


@pytest.mark.parametrize(
    "args",
    [
        ["interpolate", "0", "1", "--steps", STOP],
        ["traverse", "--steps", STOP],
        ["manifold", "--steps", STOP],
        ["manifold", "--steps", 10**6],
        ["animate", "--through", "1,9", "--steps", STOP],
        ["animate", "--through", "1,9", "--size", STOP],
        ["animate", "--through", "1,9", "--hold", STOP],
        ["animate", "--through", "1,9", "--hold", 700_000],
        ["animate", "--through", "pi", "--digits", STOP],
        ["animate", "--traverse", "--size", STOP],
        ["animate", "--traverse", "--steps", STOP],
    ],
    ids=lambda args: " ".join(map(str, args)),
)
def test_number_that_is_too_large(args: list[object], trained: Path, refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, trained, *rest, "-o", "out.gif" if command == "animate" else "out.png")


def test_umap_that_is_not_installed(trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    refuse("map", trained, "--method", "umap", "-o", "out.png", says=("UMAP is not installed", "pip install umap-learn"))


@pytest.mark.parametrize(
    "args",
    [
        ["traverse", "--from", "3"],
        ["interpolate", "3", "@1"],
        ["animate", "--through", "3,@1"],
        ["animate", "--through", "pi"],
        ["animate", "--traverse", "--from", "3"],
    ],
    ids=" ".join,
)
def test_images_without_classes_are_asked_for_them(args: list[str], trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    unlabeled(tmp_path / "plain.npy")
    command, *rest = args
    refuse(command, trained, *rest, "--data", "plain.npy", "-o", "out.gif", says=("plain", "classes"))


@pytest.mark.parametrize("num", [1, 2, 20])
def test_images_without_classes_are_drawn(num: int, trained: Path, tmp_path: Path) -> None:
    """Of one image there is no test split, so that all of it are those."""
    images = vaekit.ImageSet(torch.from_numpy(np.load(unlabeled(tmp_path / "a.npy", num))).unsqueeze(1), split="test")
    gallery, out = Gallery(load_vae(trained), images), tmp_path / "x.png"
    points = gallery.latent_map().axes[0].collections[0].get_offsets()
    means = gallery.encodings.means - gallery.encodings.means.mean(0)
    np.testing.assert_allclose(points, means @ gallery.encodings.principal(2)[0].T, atol=1e-5)
    if num > 1:
        for command in ("traverse", "manifold", "map", "rates", "errors"):
            done(command, trained, "--data", tmp_path / "a.npy", "-o", out)
        first = ("--through", "@0,@0", "--steps", 1, "--size", 8)
        done("animate", trained, "--data", tmp_path / "a.npy", *first, "-o", tmp_path / "x.webp")
        test = vaekit.load_images(tmp_path / "a.npy", "test")
        frame = played(tmp_path / "x.webp")[0][0][:8, :8]
        expected = to_gray_levels(gallery.model.reconstruct(test.pixels[:1]))[0, 0].int()
        assert np.abs(frame - expected.numpy()).max() <= 1


@pytest.mark.parametrize(
    "args", [["traverse", "--from", "x.png"], ["animate", "--through", "1,x.png"], ["animate", "--through", "x.png,x.png"]]
)
@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("hello"), lambda path: path.write_bytes(b""), Path.mkdir],
    ids=["text", "empty", "folder"],
)
def test_stop_that_is_no_image(
    make: Callable[[Path], object], args: list[str], trained: Path, refuse: Refuse, tmp_path: Path
) -> None:
    make(tmp_path / "x.png")
    command, *rest = args
    refuse(command, trained, *rest, "-o", "out.gif", says=("x.png: no",))


@pytest.mark.parametrize("name", ["out.png", "out", "out.avi"])
def test_animation_of_another_suffix(name: str, trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: object, **options: object) -> None:
        raise AssertionError("drawn before it was known how to write")

    monkeypatch.setattr(Gallery, "film", draw)
    refuse("animate", trained, "--through", "1,9", "-o", name, says=(name, ".gif, .webp, .mp4"))


def test_video_without_its_writer(trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.plots.animation.imageio_ffmpeg", None)
    refuse("animate", trained, "--through", "1,9", "-o", "x.mp4", says=("x.mp4", "pip install imageio-ffmpeg"))


COMMANDS = [[command, *map(str, args)] for command, (args, _) in PLACES.items()]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_image_of_an_unknown_suffix(args: list[str], trained: Path, refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, trained, *rest, "-o", "x.xyz", says=("x.xyz: cannot be written",))


@pytest.mark.parametrize("args", [*COMMANDS, ["animate", "--through", "1,9"]], ids=" ".join)
def test_folder_that_is_not_there(args: list[str], trained: Path, refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, trained, *rest, "-o", "nowhere/x.gif", says=("nowhere/x.gif", "nowhere does not exist"))


@pytest.mark.parametrize("args", [*COMMANDS, ["animate", "--through", "1,9"], ["animate", "--training"]], ids=" ".join)
@pytest.mark.parametrize("run", ["nowhere", "./no/where"])
def test_run_that_is_not_there(run: str, args: list[str], refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, run, *rest, "-o", "x.gif", says=(str(Path(run)),))


@pytest.mark.parametrize("args", [["curves"], ["animate", "--training"]], ids=" ".join)
def test_model_folder_is_no_run(args: list[str], trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    save_vae(load_vae(trained), tmp_path / "model")
    command, *rest = args
    refuse(command, "model", *rest, "-o", "x.gif", says=("model: no recipe.yaml",))


def test_run_without_an_epoch_has_no_curves(copy: Path, refuse: Refuse) -> None:
    (copy / "metrics.jsonl").unlink()
    refuse("curves", copy, says=("no epoch has been finished", "--resume"))


def test_film_of_one_epoch(copy: Path, refuse: Refuse) -> None:
    epochs = copy / "images" / "epochs"
    epochs.mkdir()
    for part in ("samples", "reconstructions"):
        Image.new("L", (9, 9)).save(epochs / f"{part}-0003.png")
    refuse("animate", copy, "--training", says=("images of 1 epoch,", "training.images_every=1"))


@pytest.mark.parametrize(
    "args",
    [
        ["traverse"],
        ["manifold"],
        ["map"],
        ["rates"],
        ["errors"],
        ["interpolate", "@0", "@1"],
        ["animate", "--through", "@0,@1"],
    ],
    ids=" ".join,
)
def test_conditional_model_on_images_without_labels(
    args: list[str], trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    unlabeled(tmp_path / "plain.npy")
    command, *rest = args
    refuse(command, trained_conditional, *rest, "--data", "plain.npy", "-o", "out.gif", says=("conditional", "label"))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([], ("conditional", "--label", "known: 0, 1")),
        (["1", "2", "3"], ("3 labels for 2 images",)),
        (["x"], ("x: no such class",)),
    ],
)
def test_files_of_a_conditional_animation_want_their_labels(
    labels: list[str], says: tuple[str, ...], trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "x.png")
    options = [option for label in labels for option in ("--label", label)]
    refuse("animate", trained_conditional, "--through", "x.png,4,x.png", *options, "-o", "out.gif", says=says)


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()], ids=["full", "interrupted"])
def test_file_that_is_not_finished_is_not_left_behind(
    error: BaseException, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(film: Film, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(Film, "save", save)
    (tmp_path / "x.gif").write_bytes(b"what was there")
    outcome = vae("animate", trained, "--through", "1,9", "--steps", 1, "--size", 8, "-o", tmp_path / "x.gif")
    if isinstance(error, OSError):
        one_line(outcome, "x.gif: cannot be written", "no space left")
    else:
        assert outcome.code == 130
    assert contents(tmp_path) == {"x.gif": b"what was there"}
