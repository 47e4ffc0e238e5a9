"""HTML pages: one file that loads nothing else, neither from the network nor by a script.

A page is data, collected in :mod:`vaekit.reports.run_report` and :mod:`vaekit.reports.comparison`, and a template of
``templates/`` that lays it out. Images are embedded as ``data:`` URLs; figures are SVG, whose ink follows the light or dark
page of the reader.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from vaekit.core.files import write_text
from vaekit.core.safe_text import printable
from vaekit.plots import Animation, to_svg
from vaekit.plots.animation import LazyFrames

MAX_IMAGE_WIDTH = 1_800
"""The maximum width of an image on a page, in pixels; wider ones are scaled down."""
QUALITY = 85
"""The quality of images."""
MAX_SIDE = 16_383
"""The maximum length of a side of an image on a page, in pixels, which is the limit of WebP."""


@dataclass(frozen=True)
class Page:
    """An HTML page.

    Arguments:
        html: The text of the page.
    """

    html: str

    def save(self, path: str | Path) -> None:
        """Writes the page."""
        write_text(Path(path), self.html)


@dataclass(frozen=True)
class PageImage:
    """An image, a figure or an animation on a page.

    Arguments:
        source: The content as a ``data:`` URL.
        size: The width and the height on the page, in pixels.
        alt: The alternative text.
        caption: The text above.
        kind: ``image`` for a white background, ``figure`` for that of the page.
    """

    source: str
    size: tuple[int, int]
    alt: str
    caption: str = ""
    kind: str = "image"


@dataclass(frozen=True)
class LegendEntry:
    """A color and what has it.

    Arguments:
        color: The color, as ``#rrggbb``.
        name: What has it.
    """

    color: str
    name: str


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Arguments:
        title: The heading.
        text: A description of the images.
        images: The images.
        layout: ``single``, ``figures`` side by side where there is space, or ``rows`` of strips.
        wide: Whether it is as wide as the page, where others stand side by side.
        more: Images that are hidden until the reader opens them.
        more_title: What these are.
        legend: The colors of all images.
    """

    title: str
    text: str
    images: Sequence[PageImage]
    layout: str = "single"
    wide: bool = False
    more: Sequence[PageImage] = ()
    more_title: str = ""
    legend: Sequence[LegendEntry] = ()

    @property
    def anchor(self) -> str:
        """The identifier of the section in URLs."""
        return re.sub(r"\W+", "-", self.title.lower())


def render(template: str, **values: Any) -> Page:
    """Returns the page of a template and its values.

    Arguments:
        template: The name of the template.
        values: The values of the template's variables; each must be given.
    """
    environment = Environment(
        loader=PackageLoader("vaekit", "reports/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return Page(environment.get_template(template).render(version=version("vaekit"), **values))


def embed_image(image: Image.Image, alt: str, caption: str = "") -> PageImage:
    """Embeds an image as WebP, which takes a fifth of a PNG where it is smooth."""
    image = _within(image, MAX_IMAGE_WIDTH)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return PageImage(_data_url("image/webp", file.getvalue()), image.size, alt, caption)


def embed_figure(figure: Figure, alt: str) -> PageImage:
    """Embeds a figure as SVG."""
    width, height = (round(100 * side) for side in figure.get_size_inches())
    return PageImage(_data_url("image/svg+xml", to_svg(figure).encode()), (width, height), alt, kind="figure")


def embed_animation(animation: Animation, alt: str) -> PageImage:
    """Embeds an animation as WebP."""
    frames, file = animation.frames, io.BytesIO()
    size = _within(frames[0], MAX_SIDE).size
    if size != frames[0].size:
        animation = Animation(LazyFrames(lambda number: _within(frames[number], MAX_SIDE), len(frames)), animation.durations)
    animation.write(file, ".webp")
    return PageImage(_data_url("image/webp", file.getvalue()), size, alt)


def _within(image: Image.Image, max_width: int) -> Image.Image:
    """An image, scaled down if it is wider than ``max_width`` or higher than :data:`MAX_SIDE`."""
    scale = min(max_width / image.width, MAX_SIDE / image.height)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _finalize(value: Any) -> Any:
    """A value as a template shows it: text is made printable, and escaped after this; the HTML of macros is left."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
