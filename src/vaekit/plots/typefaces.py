"""The typefaces of plots: Inter, which comes with the package, and for letters that it lacks those that are installed.

Inter has Latin, Greek and Cyrillic letters. DejaVu Sans, which comes with matplotlib, adds Hebrew, Arabic and many signs.
For Chinese, Japanese and Korean letters, one of :data:`FAMILIES` is used if the system has it. Characters that no typeface
has are escapes. The Inter of the package has a family name of its own in matplotlib, so that another version of it that a
system may have changes no figure.

References:
    | Inter (The Inter Project Authors, SIL Open Font License 1.1), https://rsms.me/inter
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import font_manager, get_data_path
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK TC",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Source Han Sans SC",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "Malgun Gothic",
)
"""Typefaces of Linux, macOS and Windows that have Chinese, Japanese or Korean letters, and Latin ones too."""

FONTS = Path(__file__).parent / "fonts"
"""The folder of Inter."""
INTER = "vaekit Inter"
"""The name in matplotlib of the Inter that comes with the package."""
REGULAR, SEMIBOLD = FONTS / "Inter-Regular.otf", FONTS / "Inter-SemiBold.otf"
"""The files of Inter: of text, and of what is bold."""
DEJAVU = Path(get_data_path()) / "fonts" / "ttf"
"""The folder of DejaVu Sans."""


@cache
def typefaces() -> dict[str, Path]:
    """Returns the file of each typeface by its family: Inter, DejaVu Sans, then the installed ones of :data:`FAMILIES`."""
    _add_inter()
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    found = {family: Path(font_manager.findfont(family)) for family in FAMILIES if family in installed}
    return {INTER: REGULAR, "DejaVu Sans": DEJAVU / "DejaVuSans.ttf"} | found


@cache
def _add_inter() -> None:
    """Makes Inter known to matplotlib, once."""
    known = font_manager.fontManager
    for path, weight in ((REGULAR, 400), (SEMIBOLD, 700)):  # semi-bold is what text in bold is written in
        known.addfont(path)
        known.ttflist[-1] = replace(known.ttflist[-1], name=INTER, weight=weight)


@cache
def characters(path: Path) -> frozenset[int]:
    """Returns the characters of a typeface."""
    return frozenset(FT2Font(str(path)).get_charmap())


def typeface_of(text: str) -> Path:
    """Returns the first typeface that has all characters of a text, else the first one that has the most of them."""
    if text.isascii():
        return REGULAR
    codes = {ord(character) for character in text}
    return max(typefaces().values(), key=lambda path: len(codes & characters(path)))


def weight_of(text: str) -> str:
    """Returns ``bold`` if the bold typefaces have all characters of a text, which are fewer, else ``normal``."""
    known = characters(SEMIBOLD) | characters(DEJAVU / "DejaVuSans-Bold.ttf")
    return "bold" if all(ord(character) in known for character in text) else "normal"


class TextFont(ImageFont.FreeTypeFont):
    """A size in pixels of the typefaces, for text around images: each text is written in the one of :func:`typeface_of`.

    Arguments:
        size: The size.
        bold: Whether text is semi-bold, where Inter has its letters.
    """

    def __init__(self, size: int, bold: bool = False) -> None:
        super().__init__(str(REGULAR), size)
        self.bold = bold

    def getlength(self, text: Any, *args: Any, **options: Any) -> float:
        """Returns the length of a text in pixels."""
        return self._for(text).getlength(text, *args, **options)

    def getbbox(self, text: Any, *args: Any, **options: Any) -> tuple[float, float, float, float]:
        """Returns the box around a text."""
        return self._for(text).getbbox(text, *args, **options)

    def getmask2(self, text: Any, *args: Any, **options: Any) -> Any:
        """Returns the pixels of a text."""
        return self._for(text).getmask2(text, *args, **options)

    def _for(self, text: Any) -> ImageFont.FreeTypeFont:
        """The font of a text."""
        path = typeface_of(text if isinstance(text, str) else "")
        return _opened(SEMIBOLD if self.bold and path == REGULAR else path, int(self.size))


@cache
def _opened(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A typeface in a size in pixels."""
    return ImageFont.truetype(str(path), size)
