"""How words and figures look: one typeface, colors that color-blind readers tell apart, ink for light and dark pages.

The classes have the ten colors of Petroff, which keep their distance under every common color blindness; from the eleventh
class on the markers change too. Magnitudes are drawn in cividis, which rises evenly in lightness and is the same to nearly
every eye.

References:
    | Accessible Color Sequences for Data Visualization (Petroff, 2021), https://arxiv.org/abs/2107.02270
    | Optimizing colormaps with consideration for color vision deficiency (Nuñez et al., 2018),
      https://doi.org/10.1371/journal.pone.0199239
"""

import io
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import color_sequences, get_data_path, rc_context
from matplotlib.figure import Figure
from PIL import ImageFont

INK = "#22252a"
"""The color of words and axes; in a page it becomes the page's own."""
ACCENT, SECOND = "#0072B2", "#D55E00"
"""Blue and vermillion of Okabe and Ito's palette."""
MAGNITUDE = "cividis"
"""The color map of magnitudes."""
COLORS = [matplotlib.colors.to_hex(color) for color in color_sequences["petroff10"]]
MARKERS = ["o", "^", "s", "D", "v", "P", "X", "*"]
"""Markers that classes take, ten classes each."""

STYLE = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "svg.hashsalt": "vaekit",
}
styled = rc_context(rc=STYLE)  # type: ignore[arg-type]
"""A decorator: the function draws in this style."""

PAGE_CSS = "<style>svg{color:#22252a;background:none}@media(prefers-color-scheme:dark){svg{color:#e9e7e2}}</style>"


def color(label: int) -> str:
    """Returns the color of a class."""
    return COLORS[label % len(COLORS)]


def marker(label: int) -> str:
    """Returns the marker of a class."""
    return MARKERS[label // len(COLORS) % len(MARKERS)]


@styled
def to_svg(figure: Figure) -> str:
    """Returns a figure as SVG whose ink is dark on a light page and light on a dark one."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, dpi=200, metadata={"Date": None})
    text = file.getvalue()
    start = text.index("<svg")
    head, body = text[start:].split(">", 1)
    return f"{head}>{PAGE_CSS}{body.replace(INK, 'currentColor')}"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the typeface that matplotlib brings, for words on images."""
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def wrap(text: str, size: int, width: float) -> list[str]:
    """Breaks text into lines of at most a width in pixels; a word that is longer stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def count(num: int, what: str) -> str:
    """Returns a number and what is counted, e.g. ``10,000 images``."""
    return f"{num:,} {what if num != 1 else what.removesuffix('s')}"
