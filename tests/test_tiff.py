"""TIFF files of 2 to 16 channels, of colors with more than 8 bits, and of types that Pillow has no mode for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiff_files import tiff
from vaekit.core.errors import DataError
from vaekit.data import load_images
from vaekit.data.fitting import Fitting, fit
from vaekit.data.image_files import open_encoded, read_header
from vaekit.data.levels import Levels
from vaekit.data.samples import Samples


def values(dtype: str, channels: int, shape: tuple[int, int] = (7, 10)) -> np.ndarray:
    noise = np.random.default_rng(0)
    if dtype.startswith("f"):
        return noise.normal(size=(*shape, channels)).astype(dtype)
    return noise.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (*shape, channels), dtype, endpoint=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"planar": True}, {"tile": (16, 16)}, {"tile": (16, 16), "planar": True}], ids=str)
@pytest.mark.parametrize(
    ("dtype", "channels"), [("u1", 5), ("u2", 2), ("u2", 16), ("i4", 4), ("u4", 1), ("f4", 3), ("f8", 1)]
)
def test_values_are_read_as_they_were_written(order: str, layout: dict[str, object], dtype: str, channels: int) -> None:
    expected = values(dtype, channels, (20, 35))
    for packing in ({}, {"compressed": True}, {"compressed": True, "predictor": 3 if dtype.startswith("f") else 2}):
        image = open_encoded(tiff(expected, order=order, **layout, **packing))  # type: ignore[arg-type]
        assert isinstance(image, Samples), packing
        assert image.values.dtype == np.dtype(dtype), packing
        np.testing.assert_array_equal(image.values, expected, str(packing))


def test_every_orientation_is_turned_as_pillow_turns_it() -> None:
    gray = values("u1", 1)
    for orientation in range(1, 9):
        reference = np.asarray(open_encoded(tiff(gray, orientation=orientation)))
        five = open_encoded(tiff(gray.repeat(5, 2), orientation=orientation))
        assert isinstance(five, Samples)
        np.testing.assert_array_equal(five.values[..., 3], reference, str(orientation))
        assert read_header(tiff(gray.repeat(5, 2), orientation=orientation)).size == reference.shape


def test_what_pillow_reads_as_it_is_stays_with_pillow() -> None:
    for content in (
        tiff(values("u1", 1)),
        tiff(values("u1", 3), photometric=2),
        tiff(values("u1", 4), photometric=2, extra=(2,)),
        tiff(values("u1", 2), extra=(2,)),
        tiff(values("u2", 1)),
        tiff(values("f4", 1)),
    ):
        assert isinstance(open_encoded(content), Image.Image)


def test_a_fourth_channel_is_opacity_only_if_the_file_says_so() -> None:
    color = values("u1", 4)
    assert read_header(tiff(color, photometric=2, extra=(2,))).channels == 3
    assert read_header(tiff(color, photometric=2, extra=(0,))).channels == 4
    assert read_header(tiff(color)).channels == 4
    as_they_are = fit(open_encoded(tiff(color, photometric=2, extra=(0,))), (7, 10), 4)
    np.testing.assert_array_equal(as_they_are, color.transpose(2, 0, 1))
    color_alone = fit(open_encoded(tiff(color, photometric=2, extra=(0,))), (7, 10), 3)
    np.testing.assert_array_equal(color_alone, color[..., :3].transpose(2, 0, 1))


def test_opacity_of_16_bits_is_over_the_background() -> None:
    color = np.full((4, 4, 4), 65_535, np.uint16)
    color[..., 0] = 0
    color[:2, :, 3] = 0
    fitting = Fitting(background="black", levels=Levels(integers=(0, 65_535)))
    pixels = fit(open_encoded(tiff(color, photometric=2, extra=(2,))), (4, 4), 3, fitting)
    assert pixels[:, 0, 0].tolist() == [0, 0, 0]
    assert pixels[:, 3, 0].tolist() == [0, 255, 255]


def test_gray_of_16_bits_with_opacity(tmp_path: Path) -> None:
    gray = np.full((4, 4, 2), 65_535, np.uint16)
    gray[:2, :, 0], gray[2:, :, 1] = 0, 0
    (tmp_path / "a.tif").write_bytes(tiff(gray, extra=(2,)))
    assert load_images(tmp_path, "all", background="gray").pixels[0, 0, :, 0].tolist() == [0, 0, 128, 128]


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("extra", [(), (0,), (2,)])
def test_cyan_magenta_yellow_black_is_color_also_with_a_fifth_channel(
    dtype: str, extra: tuple[int, ...], tmp_path: Path
) -> None:
    white = np.iinfo(dtype).max
    color = np.zeros((4, 4, 4 + len(extra)), dtype)
    color[..., 0], color[..., 4:] = white, white  # cyan
    (tmp_path / "a.tif").write_bytes(tiff(color, photometric=5, extra=extra))
    images = load_images(tmp_path, "all", channels=3)
    assert images.pixels[0, :, 0, 0].tolist() == [0, 255, 255]


def test_min_is_white_of_16_bits_is_inverted() -> None:
    gray = np.full((4, 4, 1), 4095, np.uint16)
    pixels = fit(open_encoded(tiff(gray, photometric=0)), (4, 4), 1, Fitting(levels=Levels(integers=(0, 4095))))
    assert np.unique(pixels).tolist() == [0]


def test_sixteen_bit_color_of_12_bits_keeps_its_colors(tmp_path: Path) -> None:
    for number in range(4):
        color = np.zeros((6, 6, 3), np.uint16)
        color[..., 0], color[..., 1] = 4095, 1000 * number
        (tmp_path / f"{number}.tif").write_bytes(tiff(color, photometric=2))
    pixels = load_images(tmp_path, "all").pixels
    assert pixels[:, :, 0, 0].tolist() == [[255, round(1000 * n * 255 / 4095), 0] for n in range(4)]


@pytest.mark.parametrize("channels", [2, 4, 5, 16])
def test_a_folder_of_channels_is_read_as_it_is(channels: int, tmp_path: Path) -> None:
    images = [values("u1", channels) // (number + 1) for number in range(4)]
    for number, image in enumerate(images):
        (tmp_path / f"{number}.tif").write_bytes(tiff(image))
    loaded = load_images(tmp_path, "all")
    assert loaded.shape == (channels, 7, 10)
    np.testing.assert_array_equal(loaded.pixels, np.stack(images).transpose(0, 3, 1, 2))
    constant = np.full((8, 8, channels), np.arange(channels) * 15, np.uint8)
    for number in range(4):
        (tmp_path / f"{number}.tif").write_bytes(tiff(constant))
    resized = load_images(tmp_path, "all", size=5).pixels
    assert resized[0, :, 2, 2].tolist() == [15 * channel for channel in range(channels)]


def test_another_number_of_channels_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(values("u1", 5)))
    with pytest.raises(DataError, match=r"a\.tif: .*5 channels"):
        load_images(tmp_path, channels=3)
    with pytest.raises(DataError, match=r"a\.tif: .*5 channels, not 6"):
        load_images(tmp_path, channels=6)


def test_four_channels_of_a_png_are_read_as_they_are_if_asked_for(tmp_path: Path) -> None:
    color = values("u1", 4)
    Image.fromarray(color, "RGBA").save(tmp_path / "a.png")
    assert load_images(tmp_path, "all").shape == (3, 7, 10)
    np.testing.assert_array_equal(load_images(tmp_path, "all", channels=4).pixels[0], color.transpose(2, 0, 1))


@pytest.mark.parametrize("changed", [0, 7, 300, 400, 480, 560])
def test_damaged_files_are_refused_or_read(changed: int) -> None:
    content = bytearray(tiff(values("u2", 5), compressed=True))
    for step in range(40):
        damaged = bytearray(content)
        damaged[(changed + step) % len(damaged)] ^= 1 << (step % 8)
        try:
            read_header(bytes(damaged))
            open_encoded(bytes(damaged))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
