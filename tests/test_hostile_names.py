"""Names of classes and files that look like code: they are shown as they are, and never parsed."""

import csv
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from rich.console import Console

import vaekit
from tests.bad_input import noise
from tests.commands import done, one_line, vae
from tests.linear_gallery import linear_vae
from vaekit.core.config import to_data
from vaekit.core.errors import ConfigError, DataError
from vaekit.core.progress import print_line, track
from vaekit.core.safe_text import printable, valid_unicode
from vaekit.export.tables import write_table
from vaekit.plots import curve, learning_curves, to_svg
from vaekit.plots.contact_sheet import contact_sheet
from vaekit.plots.frames import CaptionStrip, captioned
from vaekit.plots.latent_plots import latent_map
from vaekit.plots.style import font, literal, wrap, written
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.waypoints import ClassWaypoint, ImageWaypoint
from vaekit.runs.names import folder_name
from vaekit.runs.overrides import parse_size
from vaekit.runs.recipe import complete, load_recipe, write_recipe

CLASSES = [
    b"@alice", b"@3", b"cat.png", b"$50_$100", rb"$\frac{1$", b"a\nb", b"caf\xe9", b"x" * 250, b" ", "שלום".encode(),
    "\u202eevil".encode(), "猫".encode(), b"{0}", b"%s", b"[bold]", b"con", b"\x1b[31mred\x07", b"\x1b]0;title\x07", b"=1+1",
    b"_hidden", b"<b>x", b"-->", b"pi", b"a,b", b"7", b"--help", b":smile:",
]  # fmt: skip
"""The names of folders, which are classes."""
FILES = [b"=cmd.png", b"\xff.png", b"\x1b[2J.png", b"$x$.png", b"n\nl.png", b"[red].png", b"-1.png", b"@0.png"]
NAMES = sorted(valid_unicode(os.fsdecode(name)) for name in CLASSES)
"""The names of the classes, as Unicode."""
HISTORY = [
    {"epoch": epoch, "lr": 1e-3, "grad_norm": 1.0, "beta": 1.0}
    | {split: {"elbo": -9.0, "distortion": 8.0, "rate": 1.0} for split in ("train", "valid")}
    for epoch in (1, 2)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a class for each name."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    for number, name in enumerate(CLASSES):
        place = os.path.join(os.fsencode(folder), name)
        os.makedirs(place)
        for file in FILES:
            with open(os.path.join(place, file), "wb") as opened:
                Image.fromarray(np.roll(noise(8, 8), number)).save(opened, "PNG")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, cache: Path) -> Path:
    """A run on that folder."""
    options = ["--conditional", "--epochs", 2, "--size", 8, "--latent-dim", 2, "--batch-size", 400]
    changes = [f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")] + ["training.images_every=1"]
    changes += ["evaluation.num_samples=0", "model.encoder.name=mlp", "model.decoder.name=mlp"]
    changes.sort(key=lambda change: "name" not in change)
    path = folder.parent / "run"
    out = done("train", "--data", folder, *options, *(o for c in changes for o in ("--set", c)), "--out", path)
    assert out.rstrip("\n").replace("\n", "").isprintable()
    return path


def named(run: Path) -> list[str]:
    """The names of classes of test images."""
    images = vaekit.RunFolder(run).images()
    return [images.class_names[label] for label in images.labels.unique().tolist()]


def test_a_run_ends_with_its_report(run: Path) -> None:
    assert vaekit.RunFolder(run).model.condition.classes == NAMES
    page = (run / "report.html").read_text()
    assert printable(page.replace("\n", "")) == page.replace("\n", "")
    assert "<b>x" not in page
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["name"] == str(run.parent / "data")


@pytest.mark.parametrize(
    "command", ["sample", "reconstruct", "traverse", "manifold", "map", "rates", "errors", "curves", "report"]
)
def test_commands_that_plot(command: str, run: Path, tmp_path: Path) -> None:
    path = tmp_path / f"out.{'html' if command == 'report' else 'png'}"
    assert done(command, run, "-o", path) == f"{path}\n"
    assert path.stat().st_size > 1_000


def test_classes_are_waypoints_whatever_their_names(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = vaekit.RunFolder(run).gallery
    monkeypatch.chdir(run.parent)
    Image.fromarray(noise(8, 8)).save(run.parent / "cat.png")
    present = [name for name in named(run) if not re.fullmatch("@[0-9]+", name)]
    assert len(present) > 15
    waypoints = gallery.waypoints(present)
    assert waypoints.captions == present
    assert waypoints.labels is not None
    assert [NAMES[label] for label in waypoints.labels.tolist()] == present
    assert gallery.waypoints(["@3"]).captions == ["test image 3"]
    label = int(gallery.images.labels[0])  # type: ignore[index]
    assert gallery.waypoints([ClassWaypoint(label), ImageWaypoint(3)]).captions == [NAMES[label], "test image 3"]
    assert gallery.waypoints(["./cat.png"], [present[0]]).captions == ["cat"]
    path = tmp_path / "through.gif"
    done("animate", run, "--through", ",".join(name.strip() or "@0" for name in present), "--steps", 1, "-o", path)
    done("interpolate", run, *present[-2:], "-o", tmp_path / "two.png")
    done("manifold", run, "--label", "$50_$100", "-o", tmp_path / "plane.png")
    done("compare", run, shutil.copytree(run, tmp_path / "[red]\x1b$1_$2"), "-o", tmp_path / "compare.html")
    assert "\x1b" not in (tmp_path / "compare.html").read_text()


def test_an_unknown_class_and_a_missing_file(run: Path) -> None:
    line = one_line(vae("sample", run, "--label", "\x1b[0m"), r"\x1b[0m: no such class")
    assert line.isprintable()
    assert one_line(vae("interpolate", run, "@bob", "@0"), "@bob: ", "number").isprintable()
    assert one_line(vae("interpolate", run, "@" + "9" * 5_000, "@0"), "test images").isprintable()
    assert one_line(vae("interpolate", run, "n\0.png", "@0"), "no such image").isprintable()


def test_tables_hold_the_names_and_no_formula(run: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "parquet", "npz"):
        done("embed", run, "--split", "test", "-o", tmp_path / f"latents.{suffix}")
    done("score", run, "--num-samples", 2, "-o", tmp_path / "scores.csv")
    names = vaekit.RunFolder(run).images().names
    with (tmp_path / "latents.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"].removeprefix("'") for row in rows] == list(map(printable, names))
    assert not [row for row in rows if row["name"][0] in "=+-@" or row["class"][0] in "=+-@"]
    assert {row["class"] for row in rows} >= {"'@alice", "'-->", "$50_$100", r"a\nb"}
    assert pyarrow.parquet.read_table(tmp_path / "latents.parquet")["name"].to_pylist() == list(map(valid_unicode, names))
    assert np.load(tmp_path / "latents.npz")["classes"].tolist() == NAMES


def test_numbers_stay_numbers_in_a_table(tmp_path: Path) -> None:
    columns = {"name": ["-1", "=1", "a=1", None], "score": [-1.5, -2.0, 0.0, 1.0], "mean": np.array([-1.0, 0.0, 1.0, 2.0])}
    write_table(columns, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().split() == [
        "name,score,mean", "'-1,-1.5,-1.0", "'=1,-2.0,0.0", "a=1,0.0,1.0", ",1.0,2.0"
    ]  # fmt: skip


def test_the_summary_of_a_folder(folder: Path, tmp_path: Path) -> None:
    out = done("data", folder, "-o", tmp_path / "sheet.png")
    assert out.replace("\n", "").isprintable()
    assert r"\x1b[31mred\x07 (8)" in out


# Plots


@pytest.mark.filterwarnings("error")
def test_names_are_text_in_every_figure() -> None:
    points, labels = torch.randn(3 * len(NAMES), 2), torch.arange(3 * len(NAMES)) % len(NAMES)
    title = f"means\n12 images of {''.join(map(printable, NAMES))}"
    figures = {
        latent_map(points[:, :1], labels, NAMES, axis_names=["z0"], title=title): 24,
        curve(dict.fromkeys(NAMES, HISTORY), "elbo"): 50,
    }
    for figure, max_length in figures.items():
        assert legend_texts(figure) == [written(name, max_length) for name in NAMES]
    on_map = latent_map(points, labels, NAMES, axis_names=["z0", "z1"], title=title)
    chips = [text for text in on_map.axes[0].texts if text.get_bbox_patch() is not None]
    assert drawn_texts(chips) == [written(name, 24) for name in NAMES]
    for figure in (*figures, on_map, learning_curves(HISTORY, "".join(NAMES))):
        svg = to_svg(figure)
        assert printable(svg.replace("\n", "")) == svg.replace("\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_in_every_image(name: str) -> None:
    contact_sheet(torch.zeros(1, 1, 8, 8), [name], name)
    captioned(Image.new("L", (150, 150)), name)
    strip = CaptionStrip([name, "b"], 200, 18)
    assert max(left + length for _, left, length in strip.places) <= 200
    assert max(map(font(14).getlength, wrap(name, 14, 300)), default=0) <= 300


def legend_texts(figure: Figure) -> list[str]:
    """The texts of a legend as they are drawn."""
    return drawn_texts([text for legend in figure.legends for text in legend.get_texts()])


def drawn_texts(texts: list[Text]) -> list[str]:
    """Texts of a figure as they are drawn, none of which is a formula."""
    assert not [text for text in texts if text._preprocess_math(text.get_text())[1]]  # type: ignore[attr-defined]
    return [text._preprocess_math(text.get_text())[0] for text in texts]  # type: ignore[attr-defined]


def test_dollars_and_backslashes_are_drawn_as_they_are() -> None:
    for name in ("$50_$100", r"$\frac{1$", r"\$", "$$", r"a\\$b$\$"):
        text = Figure().text(0, 0, literal(name))
        assert text._preprocess_math(text.get_text()) == (name, False)  # type: ignore[attr-defined]


def test_names_without_images_to_refer_to() -> None:
    gallery = Gallery(linear_vae(), vaekit.ImageSet(torch.zeros(4, 1, 6, 5, dtype=torch.uint8), name="$a$\n\x1b"))
    assert r"$a$\n\x1b" in gallery.describe_images()
    with pytest.raises(DataError, match=r"@bob: .*number"):
        gallery.waypoints(["@bob"])
    with pytest.raises(DataError, match="no classes"):
        gallery.waypoints(["y" * 5_000])


# The terminal


def test_lines_and_descriptions_hold_no_markup() -> None:
    console = Console(width=200, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        print_line("[bold]x[/bold] :smile: \x1b[31m 12 [/nothing]", console)
        assert console.export_text() == "[bold]x[/bold] :smile: \\x1b[31m 12 [/nothing]\n"
    assert list(track([1, 2], "[/nothing] \x1b")) == [1, 2]


# Recipes


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "", "a\x1bb", "a\\b", "x" * 101, "\u202ea"])
def test_the_name_of_a_recipe_is_no_path(name: str) -> None:
    with pytest.raises(ConfigError, match=r"name: .*folder") as raised:
        load_recipe("digits", {"name": name})
    assert str(raised.value).isprintable()


def test_a_data_set_of_any_name_gives_the_name_of_a_folder() -> None:
    names = ("user/set:a@b", "..", "a\nb", "x" * 300, "", "ok name")
    assert [folder_name(name) for name in names][:3] == ["user-set:a@b", "data", "a-nb"]
    for name in names:
        complete(to_data(load_recipe("digits")), {"name": folder_name(name)})


def test_a_recipe_with_any_title_is_written_and_read(tmp_path: Path) -> None:
    recipe = load_recipe("digits", {"title": "\u202eevil [bold] é\n"})
    write_recipe(recipe, tmp_path / "a.yaml")
    assert load_recipe(tmp_path / "a.yaml") == recipe
    assert "\u202e" not in (tmp_path / "a.yaml").read_text()


# Sizes


@pytest.mark.parametrize(
    ("place", "value", "says"),
    ids=map(str, range(12)),  # Python does not write the values of all
    argvalues=[
        ("model.latent_dim", 10**20, "1000000"),
        ("model.latent_dim", 10**5_000, "too large to show"),
        ("training.batch_size", 2**63, "1000000000"),
        ("training.epochs", 2**63, r"2\*\*63"),
        ("model.encoder.hidden", [2**70], r"2\*\*63"),
        ("data.size", 10**9, "65535"),
        ("objective.beta", 1e39, "float32"),
        ("objective.beta", "1e39", "float32"),
        ("objective.beta", {"name": "linear", "epochs": 1, "end": 1e39}, "float32"),
        ("optimizer.lr", 1e39, "float32"),
        ("expected", {"elbo": 1e300}, "float32"),
        (".".join("a" * 5_000), 1, "8 keys"),
    ],
)
def test_sizes_are_refused_where_they_stand(place: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        load_recipe("digits", {place: value})
    assert str(raised.value).startswith(place[:8])
    assert len(str(raised.value)) < 300


def test_the_largest_sizes_are_taken() -> None:
    places = {
        "model.latent_dim": 10**6,
        "training.batch_size": 10**9,
        "objective.beta": 3.4e38,
        "training.epochs": 2**63 - 1,
    }
    recipe = load_recipe("digits", places)
    assert (recipe.model.latent_dim, recipe.training.batch_size, recipe.training.epochs) == (10**6, 10**9, 2**63 - 1)


@pytest.mark.parametrize("size", ["9" * 6_000, f"8x{'9' * 6_000}", "²", "1x2x3", "x", "0", "-1", ""])
def test_sides_that_are_no_numbers(size: str) -> None:
    with pytest.raises(ConfigError, match="height x width") as raised:
        parse_size(size)
    assert len(str(raised.value)) < 200


def test_sides() -> None:
    assert (parse_size("128"), parse_size("96x128"), parse_size("96X128")) == (128, [96, 128], [96, 128])


LONG = "x" * 300


@pytest.mark.parametrize(
    "args",
    [
        ["train", "--out", LONG, "--epochs", "1"],
        ["train", "--resume", LONG],
        ["train", "--data", LONG],
        ["train", "--set", f"data.name={LONG}"],
        ["train", f"{LONG}.yaml"],
        ["train", "--set", f"{LONG * 20}=1"],
        ["sample", LONG],
        ["data", LONG],
        ["\x1b[31m" + LONG * 20],
        ["train", f"--{LONG * 20}\x1b"],
    ],
)
def test_names_that_no_file_can_have(args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = one_line(vae(*args))
    assert line.isprintable()
    assert len(line) < 800
