"""The colors of classes are told apart by every reader and on both themes; figures and text have the bundled typeface."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray
from PIL import Image

from vaekit.plots import rate_plot
from vaekit.plots.style import COLORS, DARK, LIGHT, THEMES, Theme, font, theme, themed
from vaekit.plots.typefaces import INTER, REGULAR, SEMIBOLD, characters, typeface_of, typefaces

CONES_TO_SRGB = np.linalg.inv(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""The matrices of Machado et al. on linear sRGB, for a severity of 1."""


def linear(colors: list[str]) -> NDArray[np.float64]:
    """Linear sRGB, with shape (N, 3)."""
    values = np.array([to_rgb(color) for color in colors])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """OKLab of linear sRGB, both with shape (N, 3)."""
    return np.asarray(np.cbrt(rgb @ np.linalg.inv(CONES_TO_SRGB).T) @ TO_LAB.T)


def luminance(colors: list[str]) -> NDArray[np.float64]:
    """The luminance that WCAG 2 defines its contrast by."""
    return np.asarray(linear(colors) @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(colors: list[str], paper: str) -> NDArray[np.float64]:
    """The contrast of colors against a paper, from 1 to 21."""
    first, second = luminance(colors) + 0.05, luminance([paper]) + 0.05
    return np.maximum(first / second, second / first)


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colors_differ_in_every_vision(vision: str) -> None:
    seen = oklab((linear(COLORS) @ np.array(VISION[vision]).T).clip(0, 1))
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(len(COLORS), 1)]
    assert distances.min() >= (0.18 if vision == "normal" else 0.11)


def test_there_are_ten_hues_and_none_is_gray() -> None:
    lab = oklab(linear(COLORS))
    hues = np.sort(np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360)
    assert len(COLORS) == 10
    assert np.diff([*hues, hues[0] + 360]).min() >= 18
    assert np.hypot(lab[:, 1], lab[:, 2]).min() >= 0.09


@pytest.mark.parametrize("shown", THEMES.values(), ids=THEMES)
def test_colors_and_text_have_contrast_on_the_paper_of_both_themes(shown: Theme) -> None:
    assert contrast(COLORS, shown.paper).min() >= 1.9
    assert contrast([shown.ink], shown.paper).min() >= 12
    assert contrast([shown.faint], shown.paper).min() >= 4.5


def test_a_figure_keeps_the_theme_it_was_made_in() -> None:
    rates = torch.ones(3)
    with themed(DARK):
        dark = rate_plot(rates, rates, 0.01, 5)
    light = rate_plot(rates, rates, 0.01, 5)
    assert theme() is LIGHT
    for figure, shown in ((dark, DARK), (light, LIGHT)):
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=20)
        corner = Image.open(drawn).convert("RGB").getpixel((0, 0))
        assert corner == tuple(round(255 * part) for part in to_rgb(shown.paper))
        assert {to_hex(axes.yaxis.label.get_color()) for axes in figure.axes} == {shown.ink}


@pytest.mark.parametrize("suffix", ["pdf", "svg", "eps", "png"])
def test_a_figure_in_inter_is_written_in_every_format(suffix: str, tmp_path: Path) -> None:
    figure = rate_plot(torch.ones(3), torch.ones(3), 0.01, 5)
    with warnings.catch_warnings(action="error"):  # of glyphs and typefaces that are missing
        figure.savefig(tmp_path / f"rates.{suffix}")
    assert figure.axes[0].xaxis.label.get_fontfamily()[0] == INTER


def test_text_is_inter_where_it_has_the_letters() -> None:
    assert next(iter(typefaces())) == INTER
    assert typeface_of("T-shirt ± é Ω я") == REGULAR
    assert typeface_of("שלום").name == "DejaVuSans.ttf"
    assert font(20).getname() == ("Inter", "Regular")
    assert font(20, bold=True).getlength("model") > font(20).getlength("model")
    assert characters(REGULAR) == characters(SEMIBOLD)


def test_bold_text_of_figures_is_semi_bold_and_nothing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    figure = rate_plot(torch.ones(3), torch.tensor([1.0, 1e-4, 2.0]), 0.01, 5)
    with caplog.at_level("WARNING", logger="matplotlib.font_manager"):
        figure.savefig(io.BytesIO())
        found = font_manager.findfont(font_manager.FontProperties(family=INTER, weight="bold"))
    assert found == str(SEMIBOLD)
    assert caplog.text == ""
