"""Images of extreme proportions: every format that is written holds them, or says why not."""

import base64
import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.linear_gallery import linear_vae
from vaekit.cli.options import write
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.plots import Animation, error_plot
from vaekit.presentation.gallery import Gallery
from vaekit.reports.page import MAX_SIDE, PageImage, embed_animation, embed_image
from vaekit.reports.run_report import _samples


def opened(image: PageImage) -> Image.Image:
    """An image of a page, read back."""
    return Image.open(io.BytesIO(base64.b64decode(image.source.partition(",")[2])))


@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [
        ("RGB", (900, 16_896), (873, MAX_SIDE)),
        ("L", (900, 16_896), (873, MAX_SIDE)),
        ("RGB", (70_000, 4), (1_800, 1)),
        ("RGB", (4, 70_000), (1, MAX_SIDE)),
        ("RGB", (900, MAX_SIDE), (900, MAX_SIDE)),
    ],
)
def test_images_of_a_page_are_within_the_limits(mode: str, size: tuple[int, int], shown: tuple[int, int]) -> None:
    image = embed_image(Image.new(mode, size), "")
    assert image.size == opened(image).size == shown


def test_animations_of_a_page_are_within_the_limits() -> None:
    frames = [Image.new("RGB", (8, 2 * MAX_SIDE), color) for color in ("black", "white")]
    image = embed_animation(Animation(frames, [100, 100]), "")
    assert image.size == opened(image).size == (4, MAX_SIDE)


def test_color_images_of_a_ratio_above_30_are_in_a_report() -> None:
    images = ImageSet(torch.randint(0, 256, (4, 3, 128, 4), dtype=torch.uint8), name="tall")
    section = _samples(Gallery(linear_vae(shape=(3, 128, 4)), images))
    (image,) = section.images
    assert image.size[1] == opened(image).size[1] <= MAX_SIDE
    [animation] = section.more
    assert opened(animation).size == animation.size


@pytest.mark.parametrize(("name", "size"), [("a.webp", (4, 20_000)), ("a.gif", (70_000, 1)), ("a.jpg", (70_000, 1))])
def test_a_format_that_cannot_hold_an_image_says_so(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{name}: cannot be written"):
        write(Image.new("RGB", size).save, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_panels_of_tall_images_do_not_make_a_figure_of_a_hundred_inches() -> None:
    images = torch.zeros(1, 1, 128, 4)
    assert error_plot(torch.ones(128, 4), images, images, 1).get_figheight() < 30
    small = torch.zeros(6, 1, 4, 4)
    assert error_plot(torch.ones(4, 4), small, small, 6).get_figheight() == pytest.approx(6.45)
