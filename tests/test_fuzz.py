"""Damaged images: any file becomes pixels or a reason, without warnings, and within limits of pixels and memory."""

import resource
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from vaekit.data import load_images
from vaekit.data.fitting import Fitting, fit
from vaekit.data.image_files import MAX_SIDE, READ_ERRORS, failure_reason, open_encoded, read_header
from vaekit.data.levels import Levels

NUM_CASES = 150
"""The number of damaged files of each format."""
MAX_MEMORY = 1_500_000_000
"""The largest growth of the process's memory for all of them, in bytes: four times the largest image that is read."""

Random = np.random.Generator


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    """An image as a file of a format."""
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def undamaged() -> dict[str, list[bytes]]:
    """Small undamaged files of each format."""
    noise = np.random.default_rng(0).integers(0, 256, (11, 13, 4), np.uint8)
    clear, color, gray = (
        Image.fromarray(noise),
        Image.fromarray(noise[..., :3].copy()),
        Image.fromarray(noise[..., 0].copy()),
    )
    palette, deep = color.quantize(16), Image.fromarray(noise.view(np.uint16)[..., 0].copy())
    floats = Image.fromarray(noise[..., 0].astype(np.float32) / 255)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "a camera"
    frames: dict[str, Any] = {"save_all": True, "append_images": [color.rotate(90), color.rotate(180)]}
    return {
        "PNG": [
            encoded(color, "PNG", exif=exif),
            encoded(clear, "PNG"),
            encoded(deep, "PNG"),
            encoded(palette, "PNG", transparency=3),
            encoded(color, "PNG", **frames),
        ],
        "JPEG": [
            encoded(color, "JPEG", exif=exif),
            encoded(gray, "JPEG"),
            encoded(color.resize((90, 70)), "JPEG", progressive=True),
            encoded(color.convert("CMYK"), "JPEG"),
        ],
        "GIF": [encoded(palette, "GIF", transparency=3), encoded(color, "GIF", **frames), encoded(gray, "GIF")],
        "WEBP": [
            encoded(clear, "WEBP", exif=exif),
            encoded(color, "WEBP", lossless=True),
            encoded(color, "WEBP", **frames),
        ],
        "TIFF": [
            *(encoded(color, "TIFF", compression=name) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
            encoded(color, "TIFF", **frames),
            encoded(deep, "TIFF"),
            encoded(floats, "TIFF", tiffinfo={ExifTags.Base.Orientation: 8}),
            encoded(gray.convert("1"), "TIFF", compression="group4"),
        ],
        "BMP": [encoded(color, "BMP"), encoded(palette, "BMP"), encoded(gray.convert("1"), "BMP"), encoded(clear, "BMP")],
        "PPM": [encoded(color, "PPM"), encoded(gray, "PPM"), encoded(deep, "PPM"), encoded(floats, "PPM")],
        **({"AVIF": [encoded(color, "AVIF"), encoded(clear, "AVIF")]} if features.check("avif") else {}),
    }


UNDAMAGED = undamaged()


# Kinds of damage


def cut(data: bytes, random: Random) -> bytes:
    """Truncates the file."""
    return data[: random.integers(len(data))]


def flip(data: bytes, random: Random) -> bytes:
    """Changes a few bytes, most of them in the header."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 9)):
        changed[random.integers(len(data) if random.random() < 0.5 else min(len(data), 64))] = random.integers(256)
    return bytes(changed)


def overwrite(data: bytes, random: Random) -> bytes:
    """Overwrites a block with noise."""
    start = random.integers(len(data))
    return data[:start] + random.bytes(random.integers(1, 65)) + data[start + 64 :]


def double(data: bytes, random: Random) -> bytes:
    """Repeats a chunk, if the format has chunks, or another part."""
    if data[:4] == b"\x89PNG":
        parts = list(chunks(data))
        index = random.integers(len(parts))
        parts.insert(index, parts[random.integers(len(parts))])
        return data[:8] + b"".join(chunk(*part) for part in parts)
    start, end = sorted(random.integers(len(data), size=2))
    return data[:end] + data[start:end] + data[end:]


def splice(data: bytes, random: Random) -> bytes:
    """Continues with the end of another file, of any format."""
    other = choose([file for files in UNDAMAGED.values() for file in files], random)
    return data[: random.integers(len(data))] + other[random.integers(len(other)) :]


def change_size(data: bytes, random: Random) -> bytes:
    """Changes the size in the header, to a large one or to zero."""
    sides = [0, 1, 255, 9_000, 12_000, 32_767, 65_535, 100_000, 2**31 - 1, 2**32 - 1]
    return resized(data, choose(sides, random), choose(sides, random))


DAMAGES: list[Callable[[bytes, Random], bytes]] = [cut, flip, overwrite, double, splice, change_size]


def choose(items: list[Any], random: Random) -> Any:
    """A random item."""
    return items[random.integers(len(items))]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The complete chunks of a PNG file."""
    offset = 8
    while offset + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, offset)
        yield data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + size]
        offset += size + 12


def with_checksums(data: bytes) -> bytes:
    """The file with correct checksums, if it has any, since wrong ones hide all other damage."""
    return data[:8] + b"".join(chunk(*part) for part in chunks(data)) if data[:4] == b"\x89PNG" else data


def resized(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its header, truncated to the bits there."""
    two, four = ((width & 0xFFFF, height & 0xFFFF), (width & 0xFFFFFFFF, height & 0xFFFFFFFF))
    if data[:4] == b"\x89PNG":
        return with_checksums(data[:16] + struct.pack(">II", *four) + data[24:])
    if data[:2] == b"\xff\xd8":
        frame = next(place for place in range(2, len(data)) if data[place] == 0xFF and data[place + 1] in (0xC0, 0xC2))
        return data[: frame + 5] + struct.pack(">HH", *two[::-1]) + data[frame + 9 :]
    if data[:3] == b"GIF":
        start = data.index(b",\0\0\0\0")  # of the first frame, which must not exceed the whole
        return data[:6] + struct.pack("<HH", *two) + data[10 : start + 5] + struct.pack("<HH", *two) + data[start + 9 :]
    if data[:4] == b"RIFF":
        if data[12:16] == b"VP8X":
            return data[:24] + b"".join(struct.pack("<I", side & 0xFFFFFF)[:3] for side in four) + data[30:]
        return data[:21] + struct.pack("<I", (two[0] & 0x3FFF) | (two[1] & 0x3FFF) << 14) + data[25:]
    if data[:2] == b"II":
        (place,) = struct.unpack_from("<I", data, 4)
        changed = bytearray(data)
        for entry in range(place + 2, place + 2 + 12 * struct.unpack_from("<H", data, place)[0], 12):
            tag = struct.unpack_from("<H", data, entry)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", changed, entry + 2, 4, 1, four[tag - 256])
        return bytes(changed)
    if data[:2] == b"BM":
        return data[:18] + struct.pack("<II", *four) + data[26:]
    if data[:1] == b"P":
        kind, _, rest = data.split(b"\n", 2)
        return b"\n".join([kind, b"%d %d" % (width, height), rest])
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", *four) + data[place + 8 :]


def damaged(name: str, case: int) -> bytes:
    """The damaged file of a format and a case."""
    random = np.random.default_rng([sorted(UNDAMAGED).index(name), case])
    data = DAMAGES[case % len(DAMAGES)](choose(UNDAMAGED[name], random), random)
    while random.random() < 0.2 and data:
        data = choose([flip, overwrite, cut], random)(data, random)
    return with_checksums(data) if random.random() < 0.7 else data


def outcome(data: bytes, case: int) -> str:
    """The reason why a file cannot be read, or an empty string; any other error fails the test.

    What is decoded is within the limits of an image, whatever size the header states.
    """
    channels, size = (1, 3)[case % 2], [(8, 8), (5, 16)][case // 2 % 2]
    with suppress(*READ_ERRORS):
        read_header(data)
    try:
        image = open_encoded(data, (None, 16)[case % 3 > 0])
        pixels = fit(image, size, channels, Fitting(levels=Levels(integers=(0, 65_535), floats=(0, 255))))
    except READ_ERRORS as error:
        reason = failure_reason(error)
        assert reason
        assert "\n" not in reason
        return reason
    assert Image.MAX_IMAGE_PIXELS is not None
    assert image.width * image.height <= Image.MAX_IMAGE_PIXELS
    assert max(image.size) <= MAX_SIDE
    assert (pixels.shape, pixels.dtype) == ((channels, *size), np.uint8)
    return ""


@pytest.mark.parametrize("name", UNDAMAGED)
def test_undamaged_files_are_read(name: str) -> None:
    for case in range(4):
        assert [outcome(data, case) for data in UNDAMAGED[name]] == [""] * len(UNDAMAGED[name])


@pytest.mark.parametrize("name", UNDAMAGED)
def test_damaged_files_become_pixels_or_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = memory()
    reasons = []
    for case in range(NUM_CASES):
        try:
            reasons.append(outcome(damaged(name, case), case))
        except BaseException as error:
            error.add_note(f"in damaged({name!r}, {case})")
            raise
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "" or name in ("TIFF", "AVIF")  # whose libraries print to the terminal directly
    assert memory() - before < MAX_MEMORY
    assert NUM_CASES / 5 < sum(map(bool, reasons)) < NUM_CASES  # the damage matters, and is not always fatal


def memory() -> int:
    """The peak memory of the process, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def black(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel, which is a very small file."""
    pack = zlib.compressobj(1)
    rows, row = b"".join(pack.compress(bytes(1 + -(-width // 8))) for _ in range(height)), pack.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows + row) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((15_000, 10_000), "15000 x 10000 pixels.*89,478,485"),
        ((100_000, 2_000), "limit of 178956970 pixels"),
        ((9, 70_000), "9 x 70000 pixels.*65,535"),
    ],
)
def test_decompression_bombs_are_refused_before_they_are_decoded(size: tuple[int, int], message: str) -> None:
    """Between the number of pixels at which Pillow warns and the one at which it refuses, and beyond that."""
    data, before = black(*size), memory()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(Image.DecompressionBombError, match=message):
            open_encoded(data)
    assert [str(warning.message) for warning in warned] == []
    assert memory() - before < 2**26


def test_huge_jpeg_is_read_at_a_small_size() -> None:
    data = encoded(Image.new("L", (15_000, 6_000), 90), "JPEG", quality=90)
    with pytest.raises(Image.DecompressionBombError, match="15000 x 6000 pixels"):
        open_encoded(data)
    image = open_encoded(data, 700)
    assert image.size == (15_000 // 8, 6_000 // 8)
    assert abs(int(fit(image, (4, 4), 1).mean()) - 90) <= 1


def test_large_images_are_decoded_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four large images at a time, however many cores there are, and small ones without a limit.

    Large images wait in ``fit`` until four are there, and small ones until five are there.
    """
    monkeypatch.setattr("vaekit.data.decode.os.cpu_count", lambda: 16)
    monkeypatch.setattr("vaekit.data.row_files.rows_per_block", lambda row_bytes: 1)
    monkeypatch.setattr("vaekit.data.decode.LARGE_PIXELS", 50)
    barriers = {True: threading.Barrier(4), False: threading.Barrier(5)}
    lock, num_inside, max_inside = threading.Lock(), {True: 0, False: 0}, {True: 0, False: 0}

    def counted_fit(image: Image.Image, *arguments: Any) -> Any:
        large = image.width > 5
        with lock:
            num_inside[large] += 1
            max_inside[large] = max(max_inside[large], num_inside[large])
        barriers[large].wait(60)
        with lock:
            num_inside[large] -= 1
        return fit(image, *arguments)

    monkeypatch.setattr("vaekit.data.decode.fit", counted_fit)
    for number in range(80):
        side = (5, 10)[number % 2]
        Image.new("L", (side, side), number).save(tmp_path / f"{number:02}.png")
    images = load_images(tmp_path, "all", size=2)
    assert images.pixels[:, 0, 0, 0].tolist() == list(range(80))
    assert max_inside[True] == 4
    assert max_inside[False] >= 5


def test_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.write(UNDAMAGED["PNG"][0])
        file.truncate(2**30 + 1)
    before = memory()
    with pytest.raises(ValueError, match=r"1\.0 GB"):
        open_encoded(tmp_path / "large.png")
    assert memory() - before < 2**26


def test_damaged_metadata_is_ignored_without_a_warning() -> None:
    """EXIF that is truncated, of wrong types, or not EXIF at all."""
    color = Image.new("RGB", (6, 4), (200, 100, 50))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    whole = exif.tobytes()
    text = whole.replace(struct.pack(">HHI", 0x0112, 3, 1), struct.pack(">HHI", 0x0112, 2, 4))
    assert text != whole
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for damaged_exif in (whole[:20], text, b"Exif\0\0no such thing", b"Exif\0\0", whole[:-9] + b"\xff" * 40):
            for name in ("PNG", "JPEG", "WEBP"):
                data = encoded(color, name, exif=damaged_exif)
                assert read_header(data)[0] == (4, 6)
                assert np.abs(fit(open_encoded(data), (4, 6), 3)[:, 1, 1].astype(int) - (200, 100, 50)).max() <= 8
    assert warned == []


def test_warning_filters_are_restored() -> None:
    before = list(warnings.filters)
    open_encoded(UNDAMAGED["PNG"][0])
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="restored"):
        warnings.warn_explicit("restored", UserWarning, "PIL/Image.py", 1, module="PIL.Image")


def test_damaged_files_are_left_out_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (300, 7, 6, 3), np.uint8)
    bad = [(name, case) for case in range(3) for name in UNDAMAGED if outcome(damaged(name, case), case)][:10]
    assert len(bad) == 10
    for number, row in enumerate(rows):
        Image.fromarray(row).save(tmp_path / f"{number:03}.png")
    for name, case in bad:
        (tmp_path / f"{name}-{case}.png").write_bytes(damaged(name, case))
    images = load_images(tmp_path, "all", size=(7, 6))
    np.testing.assert_array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), rows)
    (line,) = capsys.readouterr().err.splitlines()
    assert "10 of 310 images left out" in line
    assert all(f"{name}-{case}.png: not an image that can be read" in line for name, case in bad)
