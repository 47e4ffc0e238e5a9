"""The scale of pixel values: one for all images of a source, found once, said, overridden, and used for later images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vaekit
from tests.commands import QUICK, Refuse, done, tiles, vae
from vaekit.core.errors import ConfigError, DataError
from vaekit.data import inspect, load_images
from vaekit.data.cache import cache_folder
from vaekit.data.levels import Levels, ValueRange, choose_levels, kind_of, range_of, scale
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder

GRAY = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
GRAY[:, 0, :2] = (0, 255)


def save(folder: Path, arrays: Any) -> Path:
    """Writes arrays as TIFF files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number:03}.tif")
    return folder


def pixels(source: Any, **options: Any) -> np.ndarray:
    return load_images(source, "all", **options).pixels[:, 0].numpy()


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("u2", 0, 4080, (0, 4095)),
        ("u2", 0, 4095, (0, 4095)),
        ("u2", 0, 4096, (0, 4095)),  # some scale to 2^12
        ("u2", 5, 1000, (0, 1023)),
        ("u2", 0, 16_000, (0, 16_383)),
        ("u2", 0, 65_535, (0, 65_535)),
        ("u2", 0, 200, (0, 255)),
        ("u2", 0, 1, (0, 1)),
        ("u2", 0, 0, (0, 1)),
        ("i4", 0, 16, (0, 16)),
        ("i2", -1000, 3000, (-1000, 3000)),
        ("i8", 0, 1_000_000, (0, 1_000_000)),
        ("u1", 0, 1, (0, 1)),
        ("u1", 0, 2, (0, 255)),
        ("u1", 0, 0, (0, 255)),
        ("f4", 0, 1, (0, 1)),
        ("f4", -0.1, 1.2, (0, 1)),  # overshoot of interpolation
        ("f4", 0, 0.2, (0, 1)),
        ("f4", -1, 1, (-1, 1)),
        ("f4", -0.9, 0.4, (-1, 1)),
        ("f4", 0.5, 254.5, (0, 255)),
        ("f4", -3.5, 260.5, (0, 255)),
        ("f4", 0, 255, (0, 255)),
        ("f8", 0, 4000, (0, 4095)),  # whole numbers
        ("f8", 0, 16, (0, 16)),
        ("f8", -0.42, 2.82, (-0.42, 2.82)),  # standardized
        ("f8", 273.2, 310.5, (273.2, 310.5)),
        ("f8", 7.5, 7.5, (7.5, 8.5)),
    ],
)
def test_levels_follow_from_the_range_of_a_set(dtype: str, low: float, high: float, expected: tuple[float, float]) -> None:
    found = range_of(np.array([low, high], dtype))
    assert choose_levels(kind_of(np.dtype(dtype)), found) == pytest.approx(expected)


def test_scaling_is_exact_at_its_ends_and_clips_beyond_them() -> None:
    assert scale(np.array([-9, 0, 2048, 4095, 65_535], np.int32), (0, 4095)).tolist() == [0, 0, 128, 255, 255]
    assert scale(np.array([-1, 0, 1], np.float16), (-1, 1)).tolist() == [0, 128, 255]
    assert scale(np.array([False, True]), (0, 255)).tolist() == [0, 255]
    for level in (np.arange(256, dtype=np.uint8), np.arange(256) / 255, np.arange(256, dtype="f4") / np.float32(255)):
        pair = (0.0, 255.0) if level.dtype == np.uint8 else (0.0, 1.0)
        assert scale(level, pair).tolist() == list(range(256))
    with pytest.raises(ValueError, match="finite"):
        scale(np.array([0, np.nan]), (0, 1))


@pytest.mark.parametrize("dtype", ["u1", "?", "i8", "f4", "f8"])
def test_arrays_of_zeros_and_ones_are_black_and_white(dtype: str, tmp_path: Path) -> None:
    masks = (GRAY > 127).astype(dtype)
    np.save(tmp_path / "masks.npy", masks)
    for source in (tmp_path / "masks.npy", masks):
        np.testing.assert_array_equal(pixels(source), np.where(GRAY > 127, 255, 0))
    np.savez(tmp_path / "set.npz", x_train=masks, x_test=masks[:4] * np.array(0, dtype))
    assert load_images(tmp_path / "set.npz", "test").pixels.max() == 0


def test_gray_levels_of_8_bits_stay_as_they_are_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "gray.npy", GRAY)
    (tmp_path / "files").mkdir()
    for number, image in enumerate(GRAY):
        Image.fromarray(image).save(tmp_path / "files" / f"{number:03}.png")
    for source in (GRAY, tmp_path / "gray.npy", tmp_path / "files"):
        np.testing.assert_array_equal(pixels(source), GRAY)
        assert load_images(source, "all").levels == Levels()
    assert capsys.readouterr().err == ""


def test_files_of_zeros_and_ones_are_black_and_white(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, image in enumerate(GRAY):
        Image.fromarray((image > 127).astype(np.uint8)).save(tmp_path / f"{number:03}.png")
    np.testing.assert_array_equal(pixels(tmp_path), np.where(GRAY > 127, 255, 0))
    assert "0 and 1" in capsys.readouterr().err


def test_dark_files_of_one_level_each_are_no_masks(tmp_path: Path) -> None:
    for level in range(2):
        Image.fromarray(np.full((6, 6), level, np.uint8)).save(tmp_path / f"{level}.png")
    assert pixels(tmp_path)[:, 0, 0].tolist() == [0, 1]
    (summary,) = inspect(tmp_path)
    assert summary.remarks == ("pixel values are of 8 bits; black is 0 and white 255",)


def test_float_tiffs_have_one_scale_so_that_dark_ones_stay_dark(tmp_path: Path) -> None:
    images = [image.astype(np.float32) * (1 if number % 2 else 0.004) for number, image in enumerate(GRAY)]
    found = pixels(save(tmp_path, images))
    np.testing.assert_array_equal(found[1::2], GRAY[1::2])
    assert found[::2].max() == 1


def test_32_bit_integers_keep_the_order_of_brightness(tmp_path: Path) -> None:
    images = [image.astype(np.int32) * (4 if number % 2 else 1) // 2 for number, image in enumerate(GRAY)]
    found = pixels(save(tmp_path, images))
    np.testing.assert_array_equal(found, np.rint(np.stack(images) * (255 / 1023)).astype(np.uint8))


def test_12_bits_in_16_bit_files_are_white_at_4095(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "deep", GRAY.astype(np.uint16) << 4)
    found = pixels(folder)
    np.testing.assert_array_equal(found, np.rint((GRAY.astype(float) * 16) * (255 / 4095)).astype(np.uint8))
    (line,) = capsys.readouterr().err.splitlines()
    assert "integers from 0 to 4,080; black is 0 and white 4,095" in line
    assert load_images(folder, "all").levels == Levels(integers=(0, 4095))  # of the cache
    assert capsys.readouterr().err == ""


def test_a_deep_image_after_many_of_8_bits_is_scaled_by_all_deep_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.data.blocks.MAX_BLOCK_ROWS", 4)
    for number, image in enumerate(GRAY):
        deep = number in (30, 39)
        Image.fromarray(image.astype(np.uint16) * (16 if number == 39 else 1) if deep else image).save(
            tmp_path / f"{number:03}.png"
        )
    found = pixels(tmp_path, size=8, channels=1)
    np.testing.assert_array_equal(found[:30], GRAY[:30])
    np.testing.assert_array_equal(found[30], np.rint(GRAY[30] * (255 / 4095)).astype(np.uint8))


@pytest.mark.parametrize(("dim", "bright"), [("train", "test"), ("test", "train")])
def test_levels_of_all_splits_are_one(dim: str, bright: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"x_{dim}": GRAY[:30] / 255 / 4, f"x_{bright}": GRAY[30:].astype(np.float64)})
    found = load_images(tmp_path / "a.npz", dim)
    assert found.levels == load_images(tmp_path / "a.npz", bright).levels == Levels(floats=(0, 255))
    assert found.pixels.max() == 0


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255), (-500.5, 90.25)])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", ""])
def test_floating_point_in_any_range(low: float, high: float, suffix: str, tmp_path: Path) -> None:
    values = (low + GRAY / 255 * (high - low)).astype(np.float32)
    path: Any = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, images=values)
    elif suffix == ".tif":
        save(path := tmp_path / "folder", values)
    else:
        path = values
    np.testing.assert_array_equal(pixels(path), GRAY)


def test_values_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    values = GRAY / 255
    values[17, 3, 3] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=r"array: image 17 .*finite"):
        load_images(values)
    with pytest.raises(DataError, match=r"a: image 17 .*finite"):
        load_images(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"a: .*finite"):
        load_images(tmp_path / "a.npy", levels=(0, 1))
    folder = save(tmp_path / "files", values.astype(np.float32))
    images = load_images(folder, "all")  # one of forty is left out by name
    assert len(images) == 39
    assert "017.tif" not in images.names
    (summary,) = inspect(folder)
    assert [(bad.name, "finite" in bad.reason) for bad in summary.skipped] == [("017.tif", True)]


def test_levels_are_overridden(tmp_path: Path) -> None:
    folder = save(tmp_path / "deep", GRAY.astype(np.uint16) << 4)
    halved = np.rint(GRAY.astype(float) * 16 * (255 / 8160)).astype(np.uint8)
    np.testing.assert_array_equal(pixels(folder, levels=(0, 8160)), halved)
    np.testing.assert_array_equal(pixels(folder, levels={"integers": [0, 8160]}), halved)
    np.testing.assert_array_equal(pixels(GRAY.astype(np.int64), levels=(0, 510)), scale(GRAY.astype(int), (0, 510)))
    np.testing.assert_array_equal(pixels(GRAY, levels=(0, 51)), scale(GRAY.astype(int), (0, 51)))
    Image.fromarray(GRAY[0]).save(tmp_path / "deep" / "zzz.png")
    np.testing.assert_array_equal(pixels(folder, levels=(0, 8160))[-1], GRAY[0])  # 8 bits cannot hold 8,160
    np.testing.assert_array_equal(pixels(folder, levels=(0, 51))[-1], scale(GRAY[0].astype(int), (0, 51)))


@pytest.mark.parametrize(
    "wrong",
    ["bright", [0], [0, 0], [255, 0], [0, "a"], [0, float("inf")], {"bits": [0, 1]}, {"floats": 3}, [0, 1, 2], 7, None],
)
def test_levels_that_are_none_are_refused_at_their_place(wrong: Any) -> None:
    with pytest.raises(DataError, match=r"levels: .*(pair|kind)"):
        load_images(GRAY, levels=wrong)
    with pytest.raises(ConfigError, match=r"data\.levels: .*(pair|kind)"):
        load_recipe("digits", {"levels": wrong})


def test_a_recipe_holds_levels_and_the_cache_key_depends_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    assert load_recipe("digits").data.levels == "auto"
    assert load_recipe("digits", {"levels": (0, 4095)}).data.levels == [0, 4095]
    assert load_recipe("digits", {"data.levels": {"floats": [-1, 1]}}).data.levels == {"floats": [-1, 1]}
    folder = save(tmp_path / "deep", GRAY.astype(np.uint16) << 4)
    first = load_images(folder, "all")
    other = load_images(folder, "all", levels=(0, 8160))
    assert first.fingerprint != other.fingerprint
    assert len(list(cache_folder().glob("deep-*"))) == 2
    assert load_images(folder, "all", levels=first.levels.write()).fingerprint == first.fingerprint
    assert len(list(cache_folder().glob("deep-*"))) == 2  # those of the first are used


def test_later_images_of_a_run_are_scaled_with_the_same_numbers(tmp_path: Path) -> None:
    deep, dark = (GRAY.astype(np.uint16) << 4), (GRAY[:4].astype(np.uint16))
    train, other = save(tmp_path / "deep", deep), save(tmp_path / "dark", dark)
    out = tmp_path / "run"
    small = ("--set", "model.encoder.hidden=[8]", "--set", "model.decoder.hidden=[8]", "--out", out)
    options = ("--data", train, *QUICK[2:], *small)
    assert vae("train", "digits", *options, "--epochs", 1).code == 0
    run = RunFolder(out)
    assert run.recipe.data.levels == {"integers": [0, 4095]}
    expected = scale(dark, (0, 4095))
    np.testing.assert_array_equal(run.images(str(other), "all").pixels[:, 0], expected)
    np.testing.assert_array_equal(run.gallery.read_files([other / "001.tif"])[0, 0], expected[1])
    np.testing.assert_array_equal(run.images(split="all").pixels[:, 0], scale(deep, (0, 4095)))
    png = tmp_path / "one.png"
    Image.fromarray(GRAY[0]).save(png)
    np.testing.assert_array_equal(run.gallery.read_files([png])[0, 0], GRAY[0])  # 8 bits are 8 bits
    again = vae("train", "digits", *options, "--epochs", 2)  # by a recipe without levels
    assert (again.code, "resumed after 1 epochs" in again.out) == (0, True), again
    assert RunFolder(out).recipe.data.levels == {"integers": [0, 4095]}
    assert vae("train", "--resume", out, "--dry-run").code == 0


def test_levels_of_an_array_in_python_are_in_its_run(tmp_path: Path) -> None:
    hidden = {"model.encoder.hidden": [8], "model.decoder.hidden": [8], "evaluation.num_samples": 0}
    run = vaekit.train("digits", GRAY / 127.5 - 1, out=tmp_path / "run", epochs=1, **hidden)
    assert run.recipe.data.levels == {"floats": [-1, 1]}
    np.save(tmp_path / "b.npy", np.zeros((3, 8, 8)))
    assert np.unique(run.images(str(tmp_path / "b.npy"), "all").pixels).tolist() == [128]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (GRAY, "pixel values are of 8 bits; black is 0 and white 255"),
        ((GRAY > 127).astype(np.uint8), "pixel values are of 8 bits from 0 to 1; black is 0 and white 1"),
        (GRAY.astype(np.uint16) << 4, "pixel values are integers from 0 to 4,080; black is 0 and white 4,095"),
        (GRAY / 255 - 0.25, "pixel values are floating-point numbers from -0.25 to 0.75; black is 0 and white 1"),
    ],
)
def test_inspection_says_the_scale_and_shows_it(values: np.ndarray, line: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values.repeat(12, 1).repeat(12, 2))  # of the size of the tiles of a contact sheet
    assert line in done("data", tmp_path / "a.npy", "-o", tmp_path / "x.png").splitlines()
    shown = tiles(tmp_path / "x.png", 40, columns=10, shape=(3, 96, 96))
    np.testing.assert_array_equal(shown[:, 0], pixels(tmp_path / "a.npy"))
    (summary,) = inspect(tmp_path / "a.npy")
    assert summary.remarks == (line,)


def test_a_wrong_level_on_the_command_line_is_one_line(refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GRAY)
    assert "pair" in refuse("train", "--data", tmp_path / "a.npy", "--set", "data.levels=[3, 1]")


def test_a_range_of_nothing_changes_no_range() -> None:
    assert ValueRange().is_empty
    assert ValueRange().union(ValueRange(0, 3, False)) == ValueRange(0, 3, False)


def test_half_precision_is_scaled_without_its_rounding() -> None:
    values = np.linspace(0, 1, 999, dtype=np.float16)
    found = scale(values, (0.0, 1.0)).astype(float)
    assert np.abs(found - values.astype(float) * 255).max() <= 0.5
