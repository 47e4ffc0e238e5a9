"""The style of text and figures: the typeface, colors for color-blind readers, and ink for light and dark pages.

Classes have the ten colors of Petroff, which are distinguishable under every common color blindness; from the eleventh
class on the markers differ too. Magnitudes have the color map cividis, whose lightness is linear and which looks the same
under color blindness.

Figures are made and drawn by the defaults of matplotlib with this style on top, so that they do not depend on a user's
``matplotlibrc``. Much of it has an effect only when a figure is drawn, and so a figure is a :class:`StyledFigure`.

References:
    | Accessible Color Sequences for Data Visualization (Petroff, 2021), https://arxiv.org/abs/2107.02270
    | Optimizing colormaps with consideration for color vision deficiency (Nuñez et al., 2018),
      https://doi.org/10.1371/journal.pone.0199239
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import color_sequences, rc_context, rcdefaults, rcParams
from matplotlib.figure import Figure
from PIL import ImageFont

from vaekit.core.safe_text import printable
from vaekit.plots.typefaces import TextFont, characters, typeface_of, typefaces

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


@contextmanager
def _style() -> Iterator[None]:
    """The style, on top of the defaults of matplotlib."""
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)  # type: ignore[arg-type]
        rcParams["font.family"] = list(typefaces())
        yield


styled = _style()
"""A decorator: the function plots in this style, whatever the user has set."""


class StyledFigure(Figure):
    """A figure that is drawn in this style, wherever it is drawn."""

    @styled
    def draw(self, renderer: Any) -> None:
        """Draws the figure."""
        super().draw(renderer)

    @styled
    def savefig(self, fname: Any, *, transparent: bool | None = None, **options: Any) -> None:
        """Writes the figure; arguments as of :meth:`matplotlib.figure.Figure.savefig`.

        A file is written at once: the library's writer of PDF does not survive a disk that is full in the middle.
        """
        if not isinstance(fname, str | Path):
            super().savefig(fname, transparent=transparent, **options)
            return
        drawn = io.BytesIO()
        suffix = Path(fname).suffix.removeprefix(".")
        super().savefig(drawn, transparent=transparent, **{"format": suffix or "png"} | options)
        Path(fname).write_bytes(drawn.getvalue())


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


def written(text: str, max_length: int | None = None) -> str:
    r"""Returns text as a typeface can write it: printable, with escapes such as ``\u732b`` for characters that it lacks.

    Arguments:
        text: Any text, such as the name of a class.
        max_length: The maximum number of characters; longer text is cut in the middle.
    """
    shown = printable(text, max_length)
    if not shown.isascii():
        known = characters(typeface_of(shown))
        shown = "".join(
            character if ord(character) in known else character.encode("unicode_escape").decode() for character in shown
        )
    return printable(shown, max_length) if shown.strip() or not shown else repr(shown)


def literal(text: str, max_length: int | None = None) -> str:
    r"""Returns text that matplotlib writes as it is: like :func:`written`, with ``\$`` for ``$``, which begins a formula."""
    return written(text, max_length).replace("$", r"\$")


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the typefaces in a size in pixels, for text around images."""
    return TextFont(size)


def wrap(text: str, size: int, width: float) -> list[str]:
    """Splits text into lines of at most a width in pixels; a longer word is broken."""
    lines: list[str] = []
    words = [piece for whole in written(text).split() for piece in _pieces(whole, size, width)]
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _pieces(word: str, size: int, width: float) -> Iterator[str]:
    """The parts of a word, each at most a width in pixels."""
    while len(word) > 1 and font(size).getlength(word) > width:
        num = max(1, int(len(word) * width / font(size).getlength(word)))
        while num > 1 and font(size).getlength(word[:num]) > width:
            num -= 1
        yield word[:num]
        word = word[num:]
    yield word


def count(num: int, noun: str) -> str:
    """Returns a number and a noun, e.g. ``10,000 images``; the noun is given in the plural."""
    return f"{num:,} {noun if num != 1 else noun.removesuffix('s')}"
