"""PNG files with long text or a long color profile, which Pillow refuses."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from vaekit.data import inspect, load_images
from vaekit.data.image_files import open_encoded, read_header
from vaekit.data.png import SIGNATURE, without_text
from vaekit.data.samples import Samples

GRAY = np.random.default_rng(0).integers(0, 256, (8, 9), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def with_chunk(path: Path, added: bytes, at_end: bool) -> None:
    """Writes a PNG file with a chunk before or behind its pixels."""
    Image.fromarray(GRAY).save(path)
    data = path.read_bytes()
    place = len(data) - 12 if at_end else len(SIGNATURE) + 25
    path.write_bytes(data[:place] + added + data[place:])


LONG = zlib.compress(b"x" * 2**21)
CHUNKS = {
    "zTXt": chunk(b"zTXt", b"workflow\0\0" + LONG),
    "iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + LONG),
    "many tEXt": chunk(b"tEXt", b"a\0" + b"x" * 2**20) * 66,
    "color profile": chunk(b"iCCP", b"profile\0\0" + LONG),
}


@pytest.mark.parametrize("at_end", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("kind", CHUNKS)
def test_long_text_in_a_png_changes_nothing(kind: str, at_end: bool, tmp_path: Path) -> None:
    with_chunk(tmp_path / "a.png", CHUNKS[kind], at_end)
    np.testing.assert_array_equal(load_images(tmp_path, "all").pixels[0, 0], GRAY)
    assert read_header(tmp_path / "a.png").size == (8, 9)
    (summary,) = inspect(tmp_path)
    assert (summary.num, summary.skipped) == (1, [])


def color_png(values: np.ndarray) -> bytes:
    """A PNG of 16-bit values of shape (H, W, 3 or 4), with every filter of rows in turn."""
    height, width, channels = values.shape
    raw = values.astype(">u2").tobytes()
    size, step = width * channels * 2, channels * 2
    rows = [bytes(size), *(raw[row * size : (row + 1) * size] for row in range(height))]
    filtered = b"".join(
        bytes([number % 5]) + _filtered(rows[number + 1], rows[number], number % 5, step) for number in range(height)
    )
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, {3: 2, 4: 6}[channels], 0, 0, 0])
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")


def _filtered(row: bytes, above: bytes, kind: int, step: int) -> bytes:
    out = bytearray()
    for place, value in enumerate(row):
        left, up = (row[place - step] if place >= step else 0), above[place]
        corner = above[place - step] if place >= step else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda byte: abs(guess - byte))
        out.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) % 256)
    return bytes(out)


@pytest.mark.parametrize("channels", [3, 4])
def test_colors_of_16_bits_keep_all_bits(channels: int, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (11, 9, channels)).astype(np.uint16)
    values[..., 3:] = 65_535
    (tmp_path / "a.png").write_bytes(color_png(values))
    image = open_encoded(tmp_path / "a.png")
    assert isinstance(image, Samples)
    np.testing.assert_array_equal(image.values, values)
    pixels = load_images(tmp_path, "all").pixels[0]
    np.testing.assert_array_equal(pixels, np.rint(values[..., :3].astype(float) * (255 / 4095)).transpose(2, 0, 1))
    assert read_header(tmp_path / "a.png").kind == "integers"


def test_the_orientation_of_a_png_is_kept(tmp_path: Path) -> None:
    info, exif = PngImagePlugin.PngInfo(), Image.Exif()
    exif[274] = 6
    info.add_text("workflow", "x" * 2**21, zip=True)
    Image.fromarray(GRAY).save(tmp_path / "a.png", pnginfo=info, exif=exif)
    assert read_header(tmp_path / "a.png").size == (9, 8)
    np.testing.assert_array_equal(np.asarray(open_encoded(tmp_path / "a.png")), np.rot90(GRAY, -1))


def test_a_file_without_text_and_a_damaged_one_stay_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert without_text(data) is data
    for end in range(len(data)):
        assert without_text(data[:end]) == data[:end]
