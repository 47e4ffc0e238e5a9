"""The axes of arrays: where the channels are, how many there may be, and what is said about a choice."""

from pathlib import Path

import numpy as np
import pytest

from vaekit.core.errors import DataError
from vaekit.data import inspect, is_image_shape, load_images
from vaekit.data.layout import find_layout

NOISE = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [2, 3, 5, 16])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_channels_first_and_last_are_the_same_images(channels: int, dtype: str, tmp_path: Path) -> None:
    images = NOISE.integers(0, 256, (6, channels, 20, 24)).astype(np.uint8)
    values = images if dtype == "u1" else (images / 255).astype(dtype)
    for name, array in (("first", values), ("last", values.transpose(0, 2, 3, 1))):
        np.save(tmp_path / f"{name}.npy", array)
        for source in (array, tmp_path / f"{name}.npy"):
            np.testing.assert_array_equal(load_images(source, "all").pixels, images)


def test_four_channels_of_uint8_are_color_over_the_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.zeros((5, 20, 24, 4), np.uint8)
    images[..., 0], images[:, :10, :, 3] = 200, 255
    np.save(tmp_path / "a.npy", images)
    for source in (images, tmp_path / "a.npy"):
        pixels = load_images(source, "all", background="black").pixels
        assert (tuple(pixels.shape), pixels[0, :, 0, 0].tolist()) == ((5, 3, 20, 24), [200, 0, 0])
        assert pixels[0, :, -1, 0].tolist() == [0, 0, 0]
        assert "opacity; --channels 4 reads" in capsys.readouterr().err
        np.testing.assert_array_equal(load_images(source, "all", channels=4).pixels, images.transpose(0, 3, 1, 2))
        assert load_images(source, "all").pixels[0, :, -1, 0].tolist() == [255, 255, 255]


def test_four_channels_of_floats_are_four_channels() -> None:
    assert load_images(NOISE.random((5, 20, 24, 4)), "all").shape == (4, 20, 24)


@pytest.mark.parametrize(
    ("shape", "channels", "expected", "said"),
    [
        ((9, 1, 5, 4), None, (1, 5, 4), False),
        ((9, 5, 4, 3), None, (3, 5, 4), False),
        ((9, 8, 8, 1), None, (1, 8, 8), False),
        ((9, 3, 8, 3), None, (3, 8, 3), True),  # both could be
        ((9, 12, 12, 2), None, (2, 12, 12), True),
        ((9, 2, 12, 12), None, (2, 12, 12), True),
        ((9, 2, 12, 12), 12, (12, 2, 12), False),
        ((9, 40, 40, 7), None, (7, 40, 40), False),
        ((9, 64, 3), None, (1, 64, 3), True),  # one image in color?
        ((9, 8, 8), None, (1, 8, 8), False),
    ],
)
def test_the_axis_of_the_channels(
    shape: tuple[int, ...], channels: int | None, expected: tuple[int, ...], said: bool
) -> None:
    layout = find_layout(shape, np.dtype("f4"), "a", channels)
    assert (layout.image_shape, bool(layout.remark)) == (expected, said)


def test_what_was_chosen_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = NOISE.random((9, 12, 10, 2))
    np.save(tmp_path / "a.npy", array)
    load_images(tmp_path / "a.npy", "all")
    assert "a: of shape (9, 12, 10, 2), read as 12x10 images with 2 channels, last" in capsys.readouterr().err
    (summary,) = inspect(tmp_path / "a.npy")
    assert summary.remarks[0].endswith("2 channels, last")
    assert (summary.channels, tuple(summary.sheet.shape)) == (2, (9, 2, 96, 96))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((9, 20, 30, 17), "u1", r"a: .*1 to 16 channels.*\(9, 20, 30, 17\)"),
        ((9, 4), "u1", r"a: .*\(9, 4\)"),
        ((2, 2, 2, 2, 2), "u1", r"a: .*shape"),
        ((9, 0, 4), "u1", "a: .*without pixels"),
        ((9, 4, 4), "c8", "a: .*complex64"),
        ((9, 4, 4), "U3", "a: .*U3"),
    ],
)
def test_what_is_no_image_is_refused(shape: tuple[int, ...], dtype: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_layout(shape, np.dtype(dtype), "a")


def test_shapes_of_images() -> None:
    assert all(is_image_shape((channels, 8, 8)) for channels in range(1, 17))
    assert not any(map(is_image_shape, [(0, 8, 8), (17, 8, 8), (8, 8), (20,)]))
