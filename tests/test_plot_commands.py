"""The plot commands as a user runs them: where they write, and what they write, by number."""

import shutil
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
from tests.commands import done, near, one_line, tiles, vae
from tests.plot_outputs import PLACES, pixels, played, plays, unlabeled
from tests.sheets import lines_on
from vaekit.core.units import to_gray_levels
from vaekit.models import load_vae, save_vae
from vaekit.plots import Look
from vaekit.plots.frames import frame_durations
from vaekit.presentation.gallery import Gallery
from vaekit.runs.run_folder import RunFolder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be drawn into or damaged."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture(scope="module")
def gallery(trained: Path) -> Gallery:
    """The gallery of the run."""
    return RunFolder(trained).gallery


# Where things go


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
        (["--through", "1,9"], "film-through-1,9-size-96.webp"),
        (["--through", "pi", "--digits", "4"], "film-through-pi-digits-4-size-96.webp"),
        (["--traverse", "-n", "2"], "film-traverse-size-96-num-2.webp"),
        (["--training"], "film-training-size-96.webp"),
    ],
)
def test_animation_goes_among_the_images_of_the_run(args: list[str], name: str, copy: Path) -> None:
    path = Path(done("animate", copy, *args, "--size", 96).replace("\n", ""))
    assert path == copy / "images" / name
    frames, durations = played(path)
    assert len(frames) == len(durations) > 1
    assert (frames[0] != frames[1]).any()


def test_model_folder_draws_other_images_into_the_folder_one_is_in(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_vae(load_vae(trained), tmp_path / "model")
    unlabeled(tmp_path / "a.npy")
    assert done("map", "model", "--data", "a.npy") == "latent-map-data-a.npy.png\n"
    gallery = Gallery(load_vae(trained), vaekit.load_images("a.npy", "test"))
    np.testing.assert_array_equal(pixels(tmp_path / "latent-map-data-a.npy.png"), pixels(gallery.latent_map()))
    one_line(vae("map", "model"), "model", "images")


# What they show


def test_traversals_are_the_galleries(trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("traverse", trained, "-n", 3, "--steps", 5, "--from", "@7", "-o", tmp_path / "x.png")
    found = gallery.traverse(3, torch.linspace(0, 1, 5), "@7")
    near(tiles(tmp_path / "x.png", 15, columns=5, marked=True), to_gray_levels(found.images.flatten(0, 1)))
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), pixels(gallery.traversals(3, 5, "@7")))
    means = gallery.encodings.means[7]
    low, _ = gallery.encodings.quantiles(0.01, 0.99)
    top = means.clone()
    top[found.latents[0]] = low[found.latents[0]]
    near(tiles(tmp_path / "x.png", 15, columns=5, marked=True)[:1], to_gray_levels(gallery.model.decode_mean(top[None])))
    done("traverse", trained, "--from", "3", "-o", tmp_path / "three.png")
    np.testing.assert_array_equal(pixels(tmp_path / "three.png"), pixels(gallery.traversals(8, 11, "3")))
    assert (pixels(gallery.traversals(8, 11, "3"))[100:] != pixels(gallery.traversals())[100:]).any()


@pytest.mark.parametrize("plane", ["active", "principal"])
def test_manifold_is_the_galleries(plane: Any, trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("manifold", trained, "--steps", 4, "--plane", plane, "-o", tmp_path / "x.png")
    found = pixels(tmp_path / "x.png")
    np.testing.assert_array_equal(found, pixels(gallery.manifold(4, plane)))
    corner = to_gray_levels(gallery.plane(4, plane).images[-1, 0])
    near(lines_on(tmp_path / "x.png", 4, 4, (1, 8, 8), look=Look(size=1400))[0, 0], corner)


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
    z = gallery.waypoints(["1", "9"]).z
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
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), pixels(RunFolder(trained).curves(), 200))
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
    animation = gallery.animation(["1", "@5", "9"], steps=3, hold=300, size=40, path="spherical")
    plays(path, animation)
    assert animation.durations == [300, *frame_durations(3)] * 3
    held = np.asarray(animation.frames[4], int)[:40, :40][2::5, 2::5]
    expected = to_gray_levels(gallery.model.reconstruct(gallery.images.pixels[5:6]))[0, 0].numpy()
    assert np.abs(held - expected.astype(int)).max() <= 1


def test_animations_of_pi_and_of_latents_are_the_galleries(trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    done("animate", trained, "--through", "pi", "--digits", 3, "--steps", 1, "--size", 96, "-o", tmp_path / "pi.webp")
    plays(tmp_path / "pi.webp", gallery.pi_animation(3, steps=1, size=96))
    done("animate", trained, "--traverse", "-n", 2, "--steps", 3, "--from", "4", "-o", tmp_path / "z.webp")
    plays(tmp_path / "z.webp", gallery.traversal_animation(2, steps=3, start="4"))


def test_animation_as_video_plays_as_long(trained: Path, gallery: Gallery, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    done("animate", trained, "--through", "1,9", "--size", 16, "-o", tmp_path / "x.mp4")
    _, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert seconds == pytest.approx(sum(gallery.animation(["1", "9"]).durations) / 1000, abs=0.04)


def test_files_and_labels_lead_a_conditional_animation(trained_conditional: Path, tmp_path: Path) -> None:
    gallery = RunFolder(trained_conditional).gallery
    for index in (3, 7):
        Image.fromarray(gallery.images.pixels[index, 0].numpy()).save(tmp_path / f"{index}.png")
    names = [str(tmp_path / "3.png"), "5", str(tmp_path / "7.png")]
    options = ("--steps", 1, "--size", 8, "--label", "2", "--label", "6", "-o", tmp_path / "x.webp")
    done("animate", trained_conditional, "--through", ",".join(names), *options)
    plays(tmp_path / "x.webp", gallery.animation(names, steps=1, size=8, labels=["2", "6"]))
    first = np.asarray(gallery.animation(names, steps=1, size=8, labels=["2", "6"]).frames[0], int)[:8, :8]
    expected = to_gray_levels(gallery.model.reconstruct(gallery.images.pixels[3:4], torch.tensor([2])))[0, 0].int()
    assert np.abs(first - expected.numpy()).max() <= 1
