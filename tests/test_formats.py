"""Image formats: modes, bit depths, orientation, transparency, frames and names are read as an image viewer shows them."""

import struct
import tarfile
import unicodedata
import zipfile
import zlib
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, UnidentifiedImageError, features
from PIL.PngImagePlugin import Blend, Disposal

from tests.commands import done
from vaekit.data import Fitting, load_images
from vaekit.data.decode import OVERSAMPLING
from vaekit.data.fitting import fit
from vaekit.data.image_files import open_encoded, read_header
from vaekit.data.level_search import file_ranges, find_levels
from vaekit.data.levels import UNKNOWN
from vaekit.data.levels import Levels as LevelPairs

Levels = np.ndarray[Any, np.dtype[Any]]

NOISE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
"""A color image of independent pixels."""
GRAY = NOISE[..., 0].copy()


def encoded(image: Image.Image | Levels, name: str, **options: Any) -> bytes:
    """An image as a file of a format."""
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, name, **options)
    return file.getvalue()


def shown(data: bytes, channels: int = 3, background: str = "white") -> Levels:
    """The levels of a file in its original size, with shape (H, W, C) or (H, W)."""
    found, _ = find_levels(file_ranges({"": [data]}, UNKNOWN, "image"), UNKNOWN, "image")
    pixels = fit(open_encoded(data), read_header(data)[0], channels, Fitting(background=background, levels=found))
    return pixels.transpose(1, 2, 0) if channels == 3 else pixels[0]


def near(levels: Levels, expected: Levels, max_error: int) -> None:
    """Asserts that no level differs by more than ``max_error``."""
    assert levels.shape == expected.shape
    assert np.abs(levels.astype(int) - np.asarray(expected).astype(int)).max() <= max_error


def smooth(height: int, width: int) -> Levels:
    """A color image without sharp edges, which every rotation and flip changes."""
    down, right = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    return np.rint(np.stack([255 * down + 0 * right, 200 * right + 40 * down, 250 - 220 * down * right], 2)).astype(np.uint8)


# Orientation


STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright[::-1].swapaxes(0, 1),
}
"""The stored pixels of an upright image, by EXIF orientation: for 6, the first row is the right side of the image."""


def rotated(upright: Levels, orientation: int, name: str, **options: Any) -> bytes:
    """A file whose pixels are stored in this orientation."""
    stored = np.ascontiguousarray(STORED[orientation](upright))
    if name == "TIFF":
        return encoded(stored, name, tiffinfo={ExifTags.Base.Orientation: orientation}, **options)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(stored, name, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
def test_images_are_upright(orientation: int) -> None:
    upright = smooth(24, 40)
    data = rotated(upright, orientation, "JPEG", quality=100, subsampling=0)
    assert read_header(data)[:2] == ((24, 40), "RGB")
    near(shown(data), upright, 3)
    for name, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})):
        data = rotated(upright, orientation, name, **options)
        assert read_header(data)[0] == (24, 40), name
        near(shown(data), upright, 0)


def test_invalid_orientation_is_ignored() -> None:
    for orientation in (0, 9, 77):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        data = encoded(NOISE, "PNG", exif=exif)
        assert read_header(data)[0] == (12, 10)
        near(shown(data), NOISE, 0)


def test_rotated_images_have_one_size(tmp_path: Path) -> None:
    for orientation in STORED:
        for name, suffix in (("PNG", "png"), ("TIFF", "tif")):
            (tmp_path / f"{orientation}.{suffix}").write_bytes(rotated(NOISE, orientation, name))
    images = load_images(tmp_path, "all")
    assert images.shape == (3, 12, 10)
    np.testing.assert_array_equal(images.pixels.numpy(), np.broadcast_to(NOISE.transpose(2, 0, 1), (16, 3, 12, 10)))


@pytest.mark.parametrize("orientation", STORED)
def test_jpeg_decoded_at_a_smaller_size_is_the_same_image(orientation: int) -> None:
    upright = smooth(301, 403)
    data = rotated(upright, orientation, "JPEG", quality=95)
    whole = open_encoded(data)
    assert whole.size == (403, 301)
    sizes = set()
    for side in (1, 10, 37, 38, 75, 76, 100, 150, 151, 300, 301, 302, 1000):
        small = open_encoded(data, side)
        assert min(small.size) >= min(side, 301)  # not smaller than requested, unless the image is
        scale = next((scale for scale in (8, 4, 2) if side * scale <= 301), 1)
        assert small.size == (-(-403 // scale), -(-301 // scale))  # and as small as possible
        sizes.add(small.size)
        size = (max(1, side // OVERSAMPLING), max(1, side // OVERSAMPLING))
        for mode in ("crop", "pad", "stretch"):
            if size[0] <= 150:
                near(fit(small, size, 3, Fitting(mode)), fit(whole, size, 3, Fitting(mode)), 6)
    assert sizes == {(403, 301), (202, 151), (101, 76), (51, 38)}


def test_large_jpeg_in_the_cache_equals_a_full_decode(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.JPG").write_bytes(rotated(smooth(300 + number, 500), 6 - number, "JPEG", quality=95))
    images = load_images(tmp_path, "all", size=(24, 40))
    for number in range(3):
        near(images.pixels[number].numpy(), fit(Image.fromarray(smooth(300 + number, 500)), (24, 40), 3), 4)


# Colors


PALETTE = [10, 20, 30, 200, 100, 50, 0, 255, 0, 7, 7, 7]


def indexed() -> Image.Image:
    """An image of four colors."""
    image = Image.fromarray(GRAY % 4).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(PALETTE)
    return image


def colors() -> Levels:
    """The colors of ``indexed``."""
    return np.array(PALETTE, np.uint8).reshape(4, 3)[GRAY % 4]


def over(levels: Levels, alpha: Levels, background: tuple[int, ...]) -> Levels:
    """Levels blended with a background."""
    share = alpha[..., None] / 255 if levels.ndim == 3 else alpha / 255
    return np.rint(levels * share + np.array(background if levels.ndim == 3 else background[0]) * (1 - share))


@pytest.mark.parametrize("name", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(name: str) -> None:
    data = encoded(indexed(), name)
    assert read_header(data)[1] == "P"
    near(shown(data), colors(), 0)
    near(shown(data, 1), colors() @ np.array([0.299, 0.587, 0.114]), 1)


@pytest.mark.parametrize(("background", "color"), [("white", (255, 255, 255)), ("#0a0b0c", (10, 11, 12))])
def test_palette_with_transparency(background: str, color: tuple[int, int, int]) -> None:
    one = np.where(GRAY % 4 == 1, 0, 255)
    for name in ("PNG", "GIF"):
        near(shown(encoded(indexed(), name, transparency=1), background=background), over(colors(), one, color), 0)
    several = np.array([255, 0, 128, 40])[GRAY % 4]
    data = encoded(indexed(), "PNG", transparency=bytes([255, 0, 128, 40]))
    near(shown(data, background=background), over(colors(), several, color), 1)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("background", "color"), [("white", (255, 255, 255)), ("red", (255, 0, 0))])
def test_transparency(name: str, background: str, color: tuple[int, int, int]) -> None:
    alpha = GRAY[::-1].copy()
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    data = encoded(np.dstack([NOISE, alpha]), name, **options)
    near(shown(data, background=background), over(NOISE, alpha, color), 1)
    gray = over(NOISE, alpha, color) @ np.array([0.299, 0.587, 0.114])
    near(shown(data, 1, background), gray, 2)


def test_gray_with_transparency() -> None:
    alpha = GRAY[::-1].copy()
    for name in ("PNG", "TIFF"):
        data = encoded(Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(alpha)]), name)
        assert read_header(data)[1] == "LA"
        near(shown(data, 1, "black"), over(GRAY, alpha, (0,)), 1)
        near(shown(data, 3, "blue"), over(np.dstack([GRAY] * 3), alpha, (0, 0, 255)), 1)


def test_one_bit() -> None:
    bits = GRAY > 127
    for name in ("PNG", "TIFF", "BMP", "PPM"):
        data = encoded(Image.fromarray(bits), name)
        assert read_header(data)[1] == "1"
        near(shown(data, 1), 255 * bits, 0)
        near(shown(data, 3), 255 * np.dstack([bits] * 3), 0)


def test_cmyk() -> None:
    cyan, magenta, yellow, black = (band.astype(float) for band in smooth_bands())
    data = encoded(
        Image.merge("CMYK", [Image.fromarray(band) for band in smooth_bands()]), "JPEG", quality=100, subsampling=0
    )
    assert read_header(data)[1] == "CMYK"
    color = np.dstack([(255 - ink) * (255 - black) / 255 for ink in (cyan, magenta, yellow)])
    near(shown(data), color, 6)
    near(shown(data, 1), color @ np.array([0.299, 0.587, 0.114]), 6)


def smooth_bands() -> list[Levels]:
    """The four channels of a CMYK image."""
    image = smooth(24, 40)
    return [image[..., 0], image[..., 1], image[..., 2], np.ascontiguousarray(image[::-1, ::-1, 0] // 3)]


@pytest.mark.skipif(int(version("pillow").split(".")[0]) < 13, reason="Pillow before 13 cannot read the file that it writes")
def test_ycbcr() -> None:
    image = smooth(24, 40)
    data = encoded(Image.fromarray(image).convert("YCbCr"), "TIFF")
    assert read_header(data)[1] in ("YCbCr", "RGB")  # depending on the version of Pillow
    near(shown(data), image, 3)
    near(shown(data, 1), image @ np.array([0.299, 0.587, 0.114]), 2)


def srgb(lightness: float, a: float, b: float) -> Levels:
    """A CIE L*a*b* color under D50, in sRGB, by its definition."""
    y = (lightness + 16) / 116
    xyz = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(xyz > 6 / 29, xyz**3, (xyz - 4 / 29) * 3 * (6 / 29) ** 2) * [0.9642, 1, 0.8249]
    from_d50 = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = (from_d50 @ xyz).clip(0, 1)
    return np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("lab", [(60.0, 20.0, -30.0), (35.0, -20.0, 25.0), (80.0, 0.0, 0.0)])
def test_lab(lab: tuple[float, float, float]) -> None:
    bands = [round(lab[0] * 2.55), round(lab[1]) + 128, round(lab[2]) + 128]
    data = encoded(Image.merge("LAB", [Image.new("L", (5, 4), band) for band in bands]), "TIFF")
    assert read_header(data)[1] == "LAB"
    near(shown(data), np.broadcast_to(srgb(*lab), (4, 5, 3)), 3)
    near(shown(data, 1), np.full((4, 5), srgb(*lab) @ np.array([0.299, 0.587, 0.114])), 3)


# Depth


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_png(levels: Levels, kind: int, clear: tuple[int, ...] = ()) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write in color; ``clear`` is the color that is transparent."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, kind, 0, 0, 0))]
    parts += [chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))] if clear else []
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


DEEP = np.random.default_rng(1).integers(0, 65_536, (12, 10, 4), np.uint16)
SHOWN = np.rint(DEEP / 257).astype(np.uint8)
"""The same with 8 bits: 65,535 is 255."""


def test_sixteen_bits() -> None:
    for data in (deep_png(DEEP[..., 0], 0), encoded(DEEP[..., 0].copy(), "PNG"), encoded(DEEP[..., 0].copy(), "TIFF")):
        assert read_header(data)[1] == "I;16"
        near(shown(data, 1), SHOWN[..., 0], 0)
        near(shown(data, 3), np.dstack([SHOWN[..., 0]] * 3), 0)
    near(shown(encoded(DEEP[..., 0].copy(), "PPM"), 1), SHOWN[..., 0], 1)
    near(shown(deep_png(DEEP[..., :3], 2)), SHOWN[..., :3], 0)
    near(shown(deep_png(DEEP, 6), background="red"), over(SHOWN[..., :3], SHOWN[..., 3], (255, 0, 0)), 1)
    near(shown(deep_png(DEEP[..., :2], 4), 1, "black"), over(DEEP[..., 0] >> 8, DEEP[..., 1] >> 8, (0,)), 1)


def test_transparent_level_of_sixteen_bits() -> None:
    clear = int(DEEP[3, 4, 0])
    expected = SHOWN[..., 0].copy()
    expected[3, 4] = 255
    near(shown(deep_png(DEEP[..., 0], 0, (clear,)), 1), expected, 0)


def test_thirty_two_bits_with_levels_of_sixteen_or_eight() -> None:
    wide = DEEP[..., 0].astype(np.int32)
    data = encoded(wide, "TIFF")
    assert read_header(data)[1] == "I"
    near(shown(data, 1), SHOWN[..., 0], 0)
    near(shown(encoded(wide >> 8, "TIFF"), 1), DEEP[..., 0] >> 8, 0)


def test_floating_point() -> None:
    unit = GRAY.astype(np.float32) / 255
    for levels in (unit, GRAY.astype(np.float32)):
        data = encoded(levels, "TIFF")
        assert read_header(data)[1] == "F"
        near(shown(data, 1), GRAY, 0)
    near(shown(encoded(unit, "PPM"), 1), GRAY, 0)
    near(
        shown(encoded(unit * 1.2 - 0.1, "TIFF"), 1), np.rint(255 * (unit * 1.2 - 0.1)).clip(0, 255), 1
    )  # as after Lanczos interpolation


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(hole: float) -> None:
    unit = GRAY.astype(np.float32) / 255
    unit[0, 3] = hole
    with pytest.raises(ValueError, match="finite"):
        fit(open_encoded(encoded(unit, "TIFF")), (12, 10), 1, Fitting(levels=LevelPairs(floats=(0, 1))))


@pytest.mark.parametrize(
    "levels", [GRAY.astype(np.int32) * 10_000, GRAY.astype(np.int32) - 300, GRAY.astype(np.float32) * 4.1 - 9]
)
def test_levels_of_an_unknown_range_are_those_of_the_set(levels: Levels) -> None:
    low, high = int(GRAY.min()), int(GRAY.max())
    near(shown(encoded(levels, "TIFF"), 1), np.rint((GRAY.astype(float) - low) * 255 / (high - low)), 1)


def test_deep_images_are_gray_in_the_cache(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(DEEP[..., number].copy()).save(tmp_path / f"{number}.png")
    images = load_images(tmp_path, "all")
    np.testing.assert_array_equal(images.pixels[:, 0].numpy(), SHOWN[..., :3].transpose(2, 0, 1))


# Files of several images


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_or_page(name: str) -> None:
    frames = [Image.new("RGB", (9, 7), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if name == "WEBP" else {}
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(BytesIO(data)), "n_frames", 1) == 3
    near(shown(data), np.broadcast_to([255, 0, 0], (7, 9, 3)), 0)


def test_animation_with_a_default_image() -> None:
    frames = [Image.new("RGB", (9, 7), color) for color in ("lime", "blue")]
    data = encoded(
        Image.new("RGB", (9, 7), "red"),
        "PNG",
        save_all=True,
        append_images=frames,
        default_image=True,
        disposal=Disposal.OP_NONE,
        blend=Blend.OP_SOURCE,
    )
    near(shown(data), np.broadcast_to([255, 0, 0], (7, 9, 3)), 0)


# Other formats


EXACT: dict[str, dict[str, Any]] = {
    "BMP": {},
    "DIB": {},
    "PPM": {},
    "WEBP": {"lossless": True},
    "JPEG2000": {"irreversible": False},
    "TGA": {},
    "PCX": {},
    "SGI": {},
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_formats(name: str) -> None:
    if name == "JPEG2000" and not features.check("jpg_2000"):
        pytest.skip("this Pillow was built without JPEG 2000")
    near(shown(encoded(NOISE, name, **EXACT[name])), NOISE, 0)
    if name != "WEBP":
        data = encoded(GRAY, name, **EXACT[name])
        near(shown(data, 1), GRAY, 0)


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"])
def test_tiff_compressions(compression: str) -> None:
    near(shown(encoded(NOISE, "TIFF", compression=compression)), NOISE, 0)


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats(name: str) -> None:
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    near(shown(encoded(smooth(48, 64), name, quality=95)), smooth(48, 64), 12)


@pytest.mark.parametrize("text", [b"P1\n3 2\n1 0 1\n0 1 0\n", b"P2\n# a comment\n3 2\n9\n0 9 0\n9 0 9\n"])
def test_images_written_as_text(text: bytes) -> None:
    near(shown(text, 1), np.array([[0, 255, 0], [255, 0, 255]]), 0)


def test_postscript_is_not_executed() -> None:
    """An EPS file is a PostScript program, which Pillow passes to Ghostscript."""
    program = encoded(Image.new("RGB", (4, 4)), "EPS")
    for read in (open_encoded, read_header):
        with pytest.raises(UnidentifiedImageError):
            read(program)


# Extreme sizes


def test_one_pixel(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGB", (1, 1), (9, 80, 200)).save(tmp_path / f"{number}.png")
    images = load_images(tmp_path, "all", size=5)
    np.testing.assert_array_equal(
        images.pixels.numpy(), np.broadcast_to(np.array([9, 80, 200])[:, None, None], (2, 3, 5, 5))
    )
    assert load_images(tmp_path, "all").shape == (3, 1, 1)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP"])
def test_one_line(name: str) -> None:
    for shape in ((1, 3000), (3000, 1)):
        image = open_encoded(encoded(np.full(shape, 77, np.uint8), name), 16)
        near(fit(image, (8, 8), 1, Fitting("crop")), np.full((1, 8, 8), 77), 1)
        near(fit(image, (8, 8), 1, Fitting("stretch")), np.full((1, 8, 8), 77), 1)
        padded = fit(image, (8, 8), 1, Fitting("pad", "black"))[0]
        lines = (padded if shape[0] == 1 else padded.T).max(1)
        assert sorted(lines.tolist())[:-1] == [0] * 7  # a line in the center, on the background
        assert abs(int(lines[3:5].max()) - 77) <= 1


# Names


NAMES = [
    "图片/山水",
    "صور/قط",
    "😀/🐈‍⬛",
    "e\u0301te\u0301/nin\u0303o",
    "été/niño",
    "Ünïcode mit Leerzeichen/ß .x",
    "a'b\"c/%20&;$",
]
"""Folders and files in several scripts; two of them look the same, with different Unicode normalization."""


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """Three images of each name, whose gray level is 20 times its number, and one damaged image."""
    for number, name in enumerate(NAMES):
        for suffix in (".PNG", ".Jpg", ".TIFF"):
            path = tmp_path / "set" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (6, 6), 20 * number).save(path)
    (tmp_path / "set" / f"{NAMES[0]}-坏.PNG").write_bytes(b"no image")
    return tmp_path / "set"


def test_unicode_names(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped, packed, listed = tmp_path / "压缩.zip", tmp_path / "أرشيف.tar", tmp_path / "😀.txt"
    files = sorted(path for path in named.rglob("*") if path.is_file())
    with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(packed, "w") as tape:
        for file in files:
            archive.write(file, file.relative_to(named))
            tape.add(file, file.relative_to(named))
    listed.write_text("\ufeff" + "\n".join(str(file.relative_to(tmp_path)) for file in files), encoding="utf-8")
    for source in (named, zipped, packed, listed):
        images = load_images(source, "all")
        assert images.name == source.stem
        levels = images.pixels[:, 0, 3, 3].tolist()
        assert sorted(levels) == sorted(3 * [20 * number for number in range(len(NAMES))])
        if source != listed:
            names = [unicodedata.normalize("NFC", name.split("/")[0]) for name in NAMES]
            assert images.classes == tuple(sorted(set(names)))  # one class for the two forms of a name
            given = [images.classes[label] for label in images.labels.tolist()]
            assert given == [names[level // 20] for level in levels]
        printed = capsys.readouterr().err
        assert "1 of 22 images left out" in printed
        assert f"{NAMES[0]}-坏.PNG: not an image that can be read" in printed
    out = done("data", named, "-o", tmp_path / "صورة.png")
    assert f"{NAMES[0]}-坏.PNG" in out
    assert (tmp_path / "صورة.png").is_file()
