"""Charts do not depend on a user's matplotlibrc or backend, and write names in the letters that are installed."""

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from matplotlib import rc_context, rcParams
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from tests.plot_outputs import pixels
from vaekit.plots import curve, error_plot, learning_curves, rate_plot, to_svg, typefaces
from vaekit.plots.contact_sheet import contact_sheet
from vaekit.plots.latent_plots import latent_map
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.plots.style import DARK, LIGHT, font, literal, written

USERS = {
    "text.usetex": True,
    "figure.facecolor": "black",
    "font.size": 30,
    "font.family": "cursive",
    "axes.spines.left": False,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "savefig.dpi": 30,
    "svg.fonttype": "none",
    "lines.linestyle": "--",
    "path.sketch": (1.0, 100.0, 2.0),
}
"""Settings as a matplotlibrc may hold them."""
HISTORY = [
    {"epoch": epoch, "lr": 1e-3, "grad_norm": 1.0, "beta": 1.0}
    | {split: {"elbo": -9.0 * epoch, "distortion": 8.0, "rate": 1.0} for split in ("train", "valid")}
    for epoch in (1, 2)
]
POINTS, LABELS = torch.linspace(-1, 1, 24).view(12, 2), torch.arange(12) % 2
FIGURES: dict[str, Callable[[], Figure]] = {
    "map": lambda: latent_map(POINTS, LABELS, ["$a_1$", "_b"], axis_names=["z_0", "z_1"], title="a_b"),
    "rates": lambda: rate_plot(torch.ones(3), torch.ones(3), 0.01, 5),
    "curve": lambda: curve({"a_b": HISTORY, "_c": HISTORY}, "elbo"),
    "curves": lambda: learning_curves(HISTORY, "a_b"),
    "errors": lambda: error_plot(torch.rand(4, 4).round(), torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4), 5),
    "panels": lambda: panels([Panel("a_b", "x", "y", [Curve("c_d", [1, 2], [1, 2])])]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_chart_does_not_depend_on_a_users_settings(name: str) -> None:
    torch.manual_seed(0)
    expected = FIGURES[name]()
    svg, image = to_svg(expected), pixels(expected)
    with rc_context(USERS):  # type: ignore[arg-type]
        torch.manual_seed(0)
        figure = FIGURES[name]()
        assert to_svg(figure) == svg
        assert (pixels(figure) == image).all()
        assert rcParams["text.usetex"]


def test_a_command_does_not_depend_on_a_matplotlibrc_or_a_backend(trained: Path, tmp_path: Path) -> None:
    settings = "text.usetex: True\nfigure.facecolor: black\nsavefig.bbox: tight\nbackend: TkAgg\n"
    (tmp_path / "matplotlibrc").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "vaekit", "curves", str(trained), "-o", str(tmp_path / "curves.png")]
    environment = os.environ | {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    outcome = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert (pixels(tmp_path / "curves.png") == pixels(trained / "images" / "curves.png")).all()


# Typefaces


@pytest.fixture
def other_letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes a typeface that comes with matplotlib one of those that are used for letters which DejaVu Sans lacks."""
    for function in (typefaces.typefaces, font):
        function.cache_clear()
    monkeypatch.setattr(typefaces, "FAMILIES", ("STIXGeneral", "No Such Family"))
    yield typefaces.typefaces()["STIXGeneral"]
    for function in (typefaces.typefaces, font):
        function.cache_clear()


def test_letters_that_no_typeface_has_are_escapes() -> None:
    assert written("猫 é") == r"\u732b é"


def test_names_are_written_in_an_installed_typeface_that_has_their_letters(other_letters: Path) -> None:
    assert list(typefaces.typefaces()) == [typefaces.INTER, "DejaVu Sans", "STIXGeneral"]
    name = "\u1d81og"
    assert (written(name), written("dog ±"), written(f"{name}猫")) == (name, "dog ±", f"{name}\\u732b")
    assert literal(f"${name}") == rf"\${name}"
    expected, found = Image.new("L", (60, 30), "white"), Image.new("L", (60, 30), "white")
    ImageDraw.Draw(expected).text((5, 5), name, 0, ImageFont.truetype(str(other_letters), 14), anchor="la")
    ImageDraw.Draw(found).text((5, 5), name, 0, font(14), anchor="la")
    assert (pixels(found) == pixels(expected)).all()
    assert font(14).getlength(name) == ImageFont.truetype(str(other_letters), 14).getlength(name)
    assert pixels(found).min() < 50
    with warnings.catch_warnings(action="error"):  # of glyphs that are missing
        figure = latent_map(POINTS, LABELS, [name, "_b"], axis_names=["a", "b"], title=name)
        figure.savefig(io.BytesIO())
        figure.savefig(io.BytesIO(), format="pdf")
        to_svg(figure)
        contact_sheet(torch.zeros(2, 1, 8, 8), [name, "b"], name)


def test_a_name_whose_letters_have_no_bold_form_is_not_bold() -> None:
    assert typefaces.weight_of("$5 é") == "bold"
    assert typefaces.weight_of("\U0001d5a0") == "normal"
    figure = latent_map(POINTS, LABELS, ["\U0001d5a0", "b"], axis_names=["a", "b"], title="")
    with warnings.catch_warnings(action="error"):
        figure.savefig(io.BytesIO())


def test_a_figure_that_is_saved_from_python_has_twice_the_resolution_of_a_screen() -> None:
    file = io.BytesIO()
    rate_plot(torch.ones(3), torch.ones(3), 0.01, 10).savefig(file)
    assert Image.open(file).size == (1120, 1120)


def test_faint_text_of_a_chart_is_readable_on_a_dark_page() -> None:
    text = to_svg(rate_plot(torch.ones(3), torch.ones(3), 0.01, 10))
    assert LIGHT.faint not in text.split("</style>", 1)[1]
    assert "var(--faint)" in text
    assert f"--faint:{DARK.faint}" in text
