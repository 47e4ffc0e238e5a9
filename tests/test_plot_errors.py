"""The plot commands with bad input: one line, exit code 2, and no file."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from tests.commands import Refuse, contents, done, one_line, vae
from tests.plot_outputs import COMMANDS, played, unlabeled
from vaekit.core.units import to_gray_levels
from vaekit.models import load_vae, save_vae
from vaekit.plots import Animation
from vaekit.presentation.gallery import Gallery

HUGE = 10**20
"""More than any machine can count to."""


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be drawn into or damaged."""
    return shutil.copytree(trained, tmp_path / "copy")


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
        (["animate", "--through", "1"], ("at least two waypoints, got 1", "--through 1,9")),
        (["animate", "--through", "1,"], ("at least two waypoints, got 1",)),
        (["animate", "--through", ""], ("at least two waypoints, got 0",)),
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
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn(args: list[str], says: tuple[str, ...], trained: Path, refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, trained, *rest, "-o", "out.gif" if command == "animate" else "out.png", says=says)


@pytest.mark.parametrize(
    "args",
    [
        ["interpolate", "0", "1", "--steps", HUGE],
        ["traverse", "--steps", HUGE],
        ["manifold", "--steps", HUGE],
        ["manifold", "--steps", 10**6],
        ["animate", "--through", "1,9", "--steps", HUGE],
        ["animate", "--through", "1,9", "--size", HUGE],
        ["animate", "--through", "1,9", "--hold", HUGE],
        ["animate", "--through", "1,9", "--hold", 700_000],
        ["animate", "--through", "pi", "--digits", HUGE],
        ["animate", "--traverse", "--size", HUGE],
        ["animate", "--traverse", "--steps", HUGE],
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
    expected = (means @ gallery.encodings.principal(2)[0].T).numpy()
    in_order = [np.asarray(found)[np.lexsort(np.asarray(found).round(4).T)] for found in (points, expected)]
    np.testing.assert_allclose(*in_order, atol=1e-5)  # points are drawn in random order
    if num > 1:
        for command in ("traverse", "manifold", "map", "rates", "errors"):
            done(command, trained, "--data", tmp_path / "a.npy", "-o", out)
        first = ("--through", "@0,@0", "--steps", 1, "--size", 8)
        done("animate", trained, "--data", tmp_path / "a.npy", *first, "-o", tmp_path / "x.webp")
        test = vaekit.load_images(tmp_path / "a.npy", "test")
        frame = played(tmp_path / "x.webp")[0][0][:8, :8]
        expected = to_gray_levels(gallery.model.reconstruct(test.pixels[:1]))[0, 0].int()
        assert np.abs(frame - expected.numpy()).mean() <= 8  # as WebP keeps it


@pytest.mark.parametrize(
    "args", [["traverse", "--from", "x.png"], ["animate", "--through", "1,x.png"], ["animate", "--through", "x.png,x.png"]]
)
@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("hello"), lambda path: path.write_bytes(b""), Path.mkdir],
    ids=["text", "empty", "folder"],
)
def test_waypoint_that_is_no_image(
    make: Callable[[Path], object], args: list[str], trained: Path, refuse: Refuse, tmp_path: Path
) -> None:
    make(tmp_path / "x.png")
    command, *rest = args
    refuse(command, trained, *rest, "-o", "out.gif", says=("x.png: no",))


@pytest.mark.parametrize("name", ["out.png", "out", "out.avi"])
def test_animation_of_another_suffix(name: str, trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: object, **options: object) -> None:
        raise AssertionError("drawn before it was known how to write")

    monkeypatch.setattr(Gallery, "animation", draw)
    refuse("animate", trained, "--through", "1,9", "-o", name, says=(name, ".gif, .webp, .mp4"))


def test_video_without_its_writer(trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.plots.animation.imageio_ffmpeg", None)
    refuse("animate", trained, "--through", "1,9", "-o", "x.mp4", says=("x.mp4", "pip install imageio-ffmpeg"))


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_image_of_an_unknown_suffix(args: list[str], trained: Path, refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, trained, *rest, "-o", "x.xyz", says=("x.xyz: cannot be written",))


@pytest.mark.parametrize("args", [*COMMANDS, ["animate", "--through", "1,9"]], ids=" ".join)
def test_file_in_place_of_a_folder(args: list[str], trained: Path, tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "taken").touch()
    command, *rest = args
    refuse(command, trained, *rest, "-o", "taken/x.gif", says=("taken/x.gif", "taken is a file, not a folder"))


@pytest.mark.parametrize("args", [*COMMANDS, ["animate", "--through", "1,9"], ["animate", "--training"]], ids=" ".join)
@pytest.mark.parametrize("run", ["nowhere", "./no/where"])
def test_run_that_is_not_there(run: str, args: list[str], refuse: Refuse) -> None:
    command, *rest = args
    refuse(command, run, *rest, "-o", "x.gif", says=(str(Path(run)),))


@pytest.mark.parametrize(
    ("args", "says"), [(["curves"], "no recipe.yaml"), (["animate", "--training"], "0 steps")], ids=["curves", "training"]
)
def test_model_folder_is_no_run(args: list[str], says: str, trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    save_vae(load_vae(trained), tmp_path / "model")
    command, *rest = args
    refuse(command, "model", *rest, "-o", "x.gif", says=("model", says))


def test_run_without_an_epoch_has_no_curves(copy: Path, refuse: Refuse) -> None:
    (copy / "metrics.jsonl").unlink()
    refuse("curves", copy, says=("no epoch has been finished", "--resume"))


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
    def save(animation: Animation, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(Animation, "save", save)
    (tmp_path / "x.gif").write_bytes(b"what was there")
    outcome = vae("animate", trained, "--through", "1,9", "--steps", 1, "--size", 8, "-o", tmp_path / "x.gif")
    if isinstance(error, OSError):
        one_line(outcome, "x.gif: cannot be written", "no space left")
    else:
        assert outcome.code == 130
    assert contents(tmp_path) == {"x.gif": b"what was there"}


def test_a_video_on_a_full_disk_is_one_line(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    command = [
        "bash",
        "-c",
        f"ulimit -f 4; trap '' XFSZ; exec {sys.executable} -m vaekit animate {trained} --traverse -o x.mp4",
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]  # after the progress of a slow machine
    assert last == "vae: x.mp4: cannot be written (the video encoder stopped early; is the disk full?)"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.pdf", "x.svg", "x.png"])
def test_a_chart_on_a_full_disk_is_one_line(name: str, trained: Path, tmp_path: Path) -> None:
    command = f"ulimit -f 1; trap '' XFSZ; exec {sys.executable} -m vaekit rates {trained} -o {name}"
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stderr) == (2, f"vae: {name}: cannot be written (File too large)\n")
    assert not list(tmp_path.iterdir())


def test_images_of_a_run_without_a_folder_of_images_are_written_into_it(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "images")
    done("sample", tmp_path / "run", "--num", 4)
    assert [path.name for path in (tmp_path / "run" / "images").iterdir()] == ["sample-num-4.png"]


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "recipe.yaml", "model.safetensors"])
def test_the_files_of_a_run_are_no_outputs(name: str, trained: Path, refuse: Refuse) -> None:
    before = contents(trained)
    refuse("evaluate", trained, "--quick", "-o", trained / name, says=(f"{trained / name}: ", "run", "another name"))
    refuse("report", trained, "-o", trained / name, says=(f"{trained / name}: ", "another name"))
    assert contents(trained) == before


def test_outputs_without_a_name_or_of_another_kind_are_refused(trained: Path, refuse: Refuse) -> None:
    refuse("report", trained, "-o", "r.txt", says=("r.txt: cannot be written in this format", ".html"))
    refuse("compare", trained, "-o", "r.txt", says=("r.txt: cannot be written in this format", ".html"))
    refuse("sample", trained, "-o", "/", says=("/: a folder", "-o sample.png"))
    refuse("sample", trained, "-o", "x", says=("x: cannot be written", ".png"))
    refuse("data", "", says=("no source of images",))


def test_a_file_in_place_of_the_folder_of_images_is_named(run_copy: Path, refuse: Refuse) -> None:
    shutil.rmtree(run_copy / "images")
    (run_copy / "images").write_text("")
    refuse("sample", run_copy, says=(f"{run_copy / 'images'}: not a folder", "remove it"))
