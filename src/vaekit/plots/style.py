"""The style of text, images and figures: one typeface, one palette for color-blind readers, and a light and a dark theme.

Classes have the ten colors of :data:`COLORS`, none of them gray. Any two of them differ by at least 0.11 in OKLab in normal
vision and as readers without red or without green cones see them, and each has a contrast of at least 1.9 against the paper
of both themes (``tests/test_palette.py``). From the eleventh class on the markers differ too. Magnitudes have the color map
cividis, whose lightness is linear and which looks the same under color blindness.

Figures are made and drawn by the defaults of matplotlib with this style on top, so that they do not depend on a user's
``matplotlibrc``. Much of it has an effect only when a figure is drawn, and so a figure is a :class:`StyledFigure`. It has
the theme that holds where it is made: ``with themed(DARK): figure = ...``; code that names a color asks :func:`theme`.

References:
    | A perceptual color space for image processing (Ottosson, 2020), https://bottosson.github.io/posts/oklab
    | A Physiologically-based Model for Simulation of Color Vision Deficiency (Machado et al., 2009),
      https://doi.org/10.1109/TVCG.2009.113
    | Optimizing colormaps with consideration for color vision deficiency (Nuñez et al., 2018),
      https://doi.org/10.1371/journal.pone.0199239
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.figure import Figure
from PIL import ImageFont

from vaekit.core.safe_text import printable
from vaekit.plots.typefaces import INTER, TextFont, characters, typeface_of, typefaces


@dataclass(frozen=True)
class Theme:
    """The colors of an image or a figure apart from its content.

    Arguments:
        name: ``light`` or ``dark``.
        paper: The background.
        ink: Text and axes.
        faint: Text of less weight, and grid lines.
    """

    name: str
    paper: str
    ink: str
    faint: str


INK = "#22252a"
"""The ink of the light theme; in an HTML page it is replaced by the color of the page's text."""
LIGHT = Theme("light", "#ffffff", INK, "#6a707a")
DARK = Theme("dark", "#111317", "#e9e7e2", "#969ca6")
THEMES = {"light": LIGHT, "dark": DARK}
ACCENT, SECOND = "#0072B2", "#D55E00"
"""Blue and vermillion of Okabe and Ito's palette, for two things that are compared."""
MAGNITUDE = "cividis"
"""The color map of magnitudes."""
COLORS = [
    "#044daa",  # blue
    "#ca7201",  # orange
    "#11cda7",  # mint
    "#d22162",  # crimson
    "#ab67f8",  # violet
    "#d4bc03",  # yellow
    "#4d620e",  # olive
    "#792064",  # plum
    "#0f8da9",  # teal
    "#b0b6ff",  # lavender
]
"""The colors of classes."""
MARKERS = ["o", "^", "s", "D", "v", "P", "X", "*"]
"""The markers of classes, each of ten classes."""

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "grid.alpha": 0.18,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "savefig.dpi": 200,
    "mathtext.fontset": "custom",
    "mathtext.rm": INTER,
    "mathtext.it": INTER,
    "mathtext.bf": f"{INTER}:bold",
    "mathtext.bfit": f"{INTER}:bold",
    "mathtext.cal": INTER,
    "mathtext.sf": INTER,
    "mathtext.tt": INTER,
    "mathtext.fallback": "stixsans",
    "svg.hashsalt": "vaekit",
}
OF_INK = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
"""The settings of matplotlib that are the ink of the theme."""
OF_PAPER = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
"""The settings of matplotlib that are the paper of the theme."""

_THEME: ContextVar[Theme] = ContextVar("theme", default=LIGHT)


def theme() -> Theme:
    """Returns the theme that figures are made in here: that of :func:`themed`, else the light one."""
    return _THEME.get()


@contextmanager
def themed(chosen: Theme) -> Iterator[None]:
    """Chooses the theme of the figures that are made inside."""
    token = _THEME.set(chosen)
    try:
        yield
    finally:
        _THEME.reset(token)


@contextmanager
def _style() -> Iterator[None]:
    """The style, on top of the defaults of matplotlib."""
    colors = dict.fromkeys(OF_INK, theme().ink) | dict.fromkeys(OF_PAPER, theme().paper)
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE | colors)  # type: ignore[arg-type]
        rcParams["font.family"] = list(typefaces())
        yield


styled = _style()
"""A decorator: the function plots in this style, whatever the user has set."""


class StyledFigure(Figure):
    """A figure that is drawn in this style and the theme it was made in, wherever it is drawn."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.theme = theme()
        super().__init__(*args, **options)

    def draw(self, renderer: Any) -> None:
        """Draws the figure."""
        with themed(self.theme), _style():
            super().draw(renderer)

    def savefig(self, fname: Any, *, transparent: bool | None = None, **options: Any) -> None:
        """Writes the figure; arguments as of :meth:`matplotlib.figure.Figure.savefig`.

        A file is written at once: the library's writer of PDF does not survive a disk that is full in the middle.
        """
        with themed(self.theme), _style():
            if not isinstance(fname, str | Path):
                super().savefig(fname, transparent=transparent, **options)
                return
            drawn = io.BytesIO()
            suffix = Path(fname).suffix.removeprefix(".")
            super().savefig(drawn, transparent=transparent, **{"format": suffix or "png"} | options)
            Path(fname).write_bytes(drawn.getvalue())


PAGE_CSS = (
    f"<style>svg{{color:{LIGHT.ink};--faint:{LIGHT.faint};background:none}}"
    f"@media(prefers-color-scheme:dark){{svg{{color:{DARK.ink};--faint:{DARK.faint}}}}}</style>"
)
"""The colors of ink and faint text in a figure on a light and on a dark page."""


def color(label: int) -> str:
    """Returns the color of a class."""
    return COLORS[label % len(COLORS)]


def marker(label: int) -> str:
    """Returns the marker of a class."""
    return MARKERS[label // len(COLORS) % len(MARKERS)]


@styled
def to_svg(figure: Figure) -> str:
    """Returns a figure as SVG whose ink and faint text are dark on a light page and light on a dark page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, dpi=200, metadata={"Date": None})
    text = file.getvalue()
    start = text.index("<svg")
    head, body = text[start:].split(">", 1)
    return f"{head}>{PAGE_CSS}{body.replace(INK, 'currentColor').replace(LIGHT.faint, 'var(--faint)')}"


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
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Returns the typefaces in a size in pixels, for text around images; semi-bold where it is a heading."""
    return TextFont(size, bold)


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


def typeset(number: str) -> str:
    """Returns a number with a minus sign in place of a hyphen."""
    return number.replace("-", "−")


def count(num: int, noun: str) -> str:
    """Returns a number and a noun, e.g. ``10,000 images``; the noun is given in the plural."""
    return f"{num:,} {noun if num != 1 else noun.removesuffix('s')}"
