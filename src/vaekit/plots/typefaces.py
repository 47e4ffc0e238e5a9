"""The typefaces of plots: that of matplotlib, and for names in other scripts those that are installed.

DejaVu Sans, which comes with matplotlib, has Latin, Greek, Cyrillic, Hebrew and Arabic letters, but no Chinese, Japanese or
Korean ones. For those, one of :data:`FAMILIES` is used if the system has it. Characters that no typeface has are escapes.
"""

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

DEJAVU = Path(get_data_path()) / "fonts" / "ttf"
"""The folder of DejaVu Sans."""


@cache
def typefaces() -> dict[str, Path]:
    """Returns the file of each typeface by its family: DejaVu Sans first, then the installed ones of :data:`FAMILIES`."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    found = {family: Path(font_manager.findfont(family)) for family in FAMILIES if family in installed}
    return {"DejaVu Sans": DEJAVU / "DejaVuSans.ttf"} | found


@cache
def characters(path: Path) -> frozenset[int]:
    """Returns the characters of a typeface."""
    return frozenset(FT2Font(str(path)).get_charmap())


def typeface_of(text: str) -> Path:
    """Returns the first typeface that has all characters of a text, else the first one that has the most of them."""
    paths = list(typefaces().values())
    if text.isascii() or len(paths) == 1:
        return paths[0]
    codes = {ord(character) for character in text}
    return max(paths, key=lambda path: len(codes & characters(path)))


def weight_of(text: str) -> str:
    """Returns ``bold`` if the bold typeface has all characters of a text, which are fewer, else ``normal``."""
    known = characters(DEJAVU / "DejaVuSans-Bold.ttf")
    return "bold" if all(ord(character) in known for character in text) else "normal"


class TextFont(ImageFont.FreeTypeFont):
    """A size in pixels of the typefaces, for text around images: each text is written in the one of :func:`typeface_of`.

    Arguments:
        size: The size.
    """

    def __init__(self, size: int) -> None:
        super().__init__(str(next(iter(typefaces().values()))), size)

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
        return _opened(typeface_of(text if isinstance(text, str) else ""), int(self.size))


@cache
def _opened(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A typeface in a size in pixels."""
    return ImageFont.truetype(str(path), size)
