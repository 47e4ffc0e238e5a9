"""The style of text and figures: the typeface, colors for color-blind readers, and ink for light and dark pages.

Classes have the ten colors of Petroff, which are distinguishable under every common color blindness; from the eleventh
class on the markers differ too. Magnitudes have the color map cividis, whose lightness is linear and which looks the same
under color blindness.

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
"""The color of text and axes; in an HTML page it is replaced by the color of the page's text."""
ACCENT, SECOND = "#0072B2", "#D55E00"
"""Blue and vermillion of Okabe and Ito's palette."""
MAGNITUDE = "cividis"
"""The color map of magnitudes."""
COLORS = [matplotlib.colors.to_hex(color) for color in color_sequences["petroff10"]]
MARKERS = ["o", "^", "s", "D", "v", "P", "X", "*"]
"""The markers of classes, each of ten classes."""

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
"""A decorator: the function plots in this style."""

PAGE_CSS = "<style>svg{color:#22252a;background:none}@media(prefers-color-scheme:dark){svg{color:#e9e7e2}}</style>"


def color(label: int) -> str:
    """Returns the color of a class."""
    return COLORS[label % len(COLORS)]


def marker(label: int) -> str:
    """Returns the marker of a class."""
    return MARKERS[label // len(COLORS) % len(MARKERS)]


@styled
def to_svg(figure: Figure) -> str:
    """Returns a figure as SVG whose ink is dark on a light page and light on a dark page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, dpi=200, metadata={"Date": None})
    text = file.getvalue()
    start = text.index("<svg")
    head, body = text[start:].split(">", 1)
    return f"{head}>{PAGE_CSS}{body.replace(INK, 'currentColor')}"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the typeface of matplotlib in a size in pixels, for text around images."""
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def wrap(text: str, size: int, width: float) -> list[str]:
    """Splits text into lines of at most a width in pixels; a longer word has a line for itself."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def count(num: int, noun: str) -> str:
    """Returns a number and a noun, e.g. ``10,000 images``; the noun is given in the plural."""
    return f"{num:,} {noun if num != 1 else noun.removesuffix('s')}"
