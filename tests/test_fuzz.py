"""Damaged images: whatever a file holds, it becomes pixels or a reason, soon, without a warning and in little memory."""

import resource
import struct
import time
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
from vaekit.data.decode import UNREADABLE, fit, header_of, open_encoded, reason_of

CASES = 150
"""How many damaged files there are of each format."""
SECONDS = 1.0
"""How long the processor may be busy with one of them, if it is not honestly large."""
PIXELS_A_SECOND = 2e7
"""How many pixels that are really there it has to go through in a second at least, to decode, turn, blend and scale them."""
MEMORY = 1_500_000_000
"""How much the memory of the process may grow with all of them: four times the largest image that is read."""

Random = np.random.Generator


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    """An image as a file of a format."""
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def sound() -> dict[str, list[bytes]]:
    """Small files of each format that are as they should be."""
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


SOUND = sound()


# Ways to damage a file


def cut(data: bytes, draw: Random) -> bytes:
    """Leaves off the end."""
    return data[: draw.integers(len(data))]


def flip(data: bytes, draw: Random) -> bytes:
    """Changes a few bytes, mostly where headers are."""
    changed = bytearray(data)
    for _ in range(draw.integers(1, 9)):
        changed[draw.integers(len(data) if draw.random() < 0.5 else min(len(data), 64))] = draw.integers(256)
    return bytes(changed)


def overwrite(data: bytes, draw: Random) -> bytes:
    """Puts noise in place of a block."""
    start = draw.integers(len(data))
    return data[:start] + draw.bytes(draw.integers(1, 65)) + data[start + 64 :]


def double(data: bytes, draw: Random) -> bytes:
    """Writes a part twice: a chunk, where the format has any, or any other part."""
    if data[:4] == b"\x89PNG":
        parts = list(chunks(data))
        index = draw.integers(len(parts))
        parts.insert(index, parts[draw.integers(len(parts))])
        return data[:8] + b"".join(chunk(*part) for part in parts)
    start, end = sorted(draw.integers(len(data), size=2))
    return data[:end] + data[start:end] + data[end:]


def splice(data: bytes, draw: Random) -> bytes:
    """Goes on as another file, of this format or another."""
    other = pick([file for files in SOUND.values() for file in files], draw)
    return data[: draw.integers(len(data))] + other[draw.integers(len(other)) :]


def claim(data: bytes, draw: Random) -> bytes:
    """States another size, large or none at all."""
    sides = [0, 1, 255, 9_000, 12_000, 32_767, 65_535, 100_000, 2**31 - 1, 2**32 - 1]
    return resized(data, pick(sides, draw), pick(sides, draw))


WAYS: list[Callable[[bytes, Random], bytes]] = [cut, flip, overwrite, double, splice, claim]


def pick(things: list[Any], draw: Random) -> Any:
    """One of them."""
    return things[draw.integers(len(things))]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parts of a PNG file, as far as they go."""
    place = 8
    while place + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        place += size + 12


def summed(data: bytes) -> bytes:
    """The file with checksums that are right again, where it has any, since wrong ones hide all other damage."""
    return data[:8] + b"".join(chunk(*part) for part in chunks(data)) if data[:4] == b"\x89PNG" else data


def resized(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its header; as much of it as fits there."""
    two, four = ((width & 0xFFFF, height & 0xFFFF), (width & 0xFFFFFFFF, height & 0xFFFFFFFF))
    if data[:4] == b"\x89PNG":
        return summed(data[:16] + struct.pack(">II", *four) + data[24:])
    if data[:2] == b"\xff\xd8":
        frame = next(place for place in range(2, len(data)) if data[place] == 0xFF and data[place + 1] in (0xC0, 0xC2))
        return data[: frame + 5] + struct.pack(">HH", *two[::-1]) + data[frame + 9 :]
    if data[:3] == b"GIF":
        start = data.index(b",\0\0\0\0")  # of the first frame, which is larger than the whole else
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
    """The case's damaged file of a format."""
    draw = np.random.default_rng([sorted(SOUND).index(name), case])
    data = WAYS[case % len(WAYS)](pick(SOUND[name], draw), draw)
    while draw.random() < 0.2 and data:
        data = pick([flip, overwrite, cut], draw)(data, draw)
    return summed(data) if draw.random() < 0.7 else data


def outcome(data: bytes, case: int) -> str:
    """Why a file cannot be read, or nothing where it can; whatever else happens fails the test."""
    begun, channels, size = time.thread_time(), (1, 3)[case % 2], [(8, 8), (5, 16)][case // 2 % 2]
    with suppress(*UNREADABLE):
        header_of(data)
    said, num_pixels = "", 0
    try:
        image = open_encoded(data, (None, 16)[case % 3 > 0])
        num_pixels = image.width * image.height
        pixels = fit(image, size, channels)
    except UNREADABLE as error:
        said = reason_of(error)
    assert time.thread_time() - begun < SECONDS + num_pixels / PIXELS_A_SECOND
    assert "\n" not in said
    if not said:
        assert (pixels.shape, pixels.dtype) == ((channels, *size), np.uint8)
    return said


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read(name: str) -> None:
    for case in range(4):
        assert [outcome(data, case) for data in SOUND[name]] == [""] * len(SOUND[name])


@pytest.mark.parametrize("name", SOUND)
def test_damaged_files_become_pixels_or_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = memory()
    said = []
    for case in range(CASES):
        try:
            said.append(outcome(damaged(name, case), case))
        except BaseException as error:
            error.add_note(f"in damaged({name!r}, {case})")
            raise
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "" or name in ("TIFF", "AVIF")  # whose libraries tell the terminal, past Pillow and Python
    assert memory() - before < MEMORY
    assert CASES / 5 < sum(map(bool, said)) < CASES  # damage was done, and not all of it was fatal


def memory() -> int:
    """The most memory that the process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def black(width: int, height: int) -> bytes:
    """A black PNG of a bit a pixel, which takes next to nothing on disk."""
    pack = zlib.compressobj(1)
    rows, row = b"".join(pack.compress(bytes(1 + -(-width // 8))) for _ in range(height)), pack.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows + row) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((15_000, 10_000), "^15000 x 10000 pixels, more than 89,478,485; scale it down$"),
        ((100_000, 2_000), "exceeds limit of 178956970 pixels"),
        ((9, 70_000), "^9 x 70000 pixels, more than 65,535 on a side; scale it down$"),
    ],
)
def test_bombs_are_refused_before_they_go_off(size: tuple[int, int], says: str) -> None:
    """Between the number of pixels at which Pillow warns and the one at which it refuses, and beyond that."""
    data, before, begun = black(*size), memory(), time.thread_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(Image.DecompressionBombError, match=says):
            open_encoded(data)
    assert [str(one.message) for one in warned] == []
    assert memory() - before < 2**26
    assert time.thread_time() - begun < SECONDS


def test_huge_jpeg_is_read_where_it_is_wanted_small() -> None:
    data = encoded(Image.new("L", (15_000, 6_000), 90), "JPEG", quality=90)
    with pytest.raises(Image.DecompressionBombError, match="scale it down"):
        open_encoded(data)
    image = open_encoded(data, 700)
    assert image.size == (15_000 // 8, 6_000 // 8)
    assert abs(int(fit(image, (4, 4), 1).mean()) - 90) <= 1


def test_large_images_are_decoded_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cores there are, as each takes up to a gigabyte."""
    monkeypatch.setattr("vaekit.data.decode.os.cpu_count", lambda: 16)
    monkeypatch.setattr("vaekit.data.row_files.block_of", lambda row_bytes: 1)
    monkeypatch.setattr("vaekit.data.decode.LARGE", 50)
    inside: dict[bool, int] = {True: 0, False: 0}
    most = dict(inside)

    def slow(image: Image.Image, *arguments: Any) -> Any:
        large = image.width > 5
        inside[large] += 1
        most[large] = max(most[large], inside[large])
        time.sleep(0.02)
        inside[large] -= 1
        return fit(image, *arguments)

    monkeypatch.setattr("vaekit.data.decode.fit", slow)
    for number in range(60):
        side = (5, 10)[number % 2]
        Image.new("L", (side, side), number).save(tmp_path / f"{number:02}.png")
    images = load_images(tmp_path, "all", size=2)
    assert images.pixels[:, 0, 0, 0].tolist() == list(range(60))
    assert most[True] == 4
    assert most[False] > 4


def test_file_too_large_for_a_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.write(SOUND["PNG"][0])
        file.truncate(2**30 + 1)
    before = memory()
    with pytest.raises(ValueError, match=r"1\.0 GB, more than an image can have"):
        open_encoded(tmp_path / "large.png")
    assert memory() - before < 2**26


def test_odd_metadata_is_passed_over_in_silence() -> None:
    """EXIF that is cut short, of wrong types or no EXIF at all costs an image nothing, and nobody hears of it."""
    color = Image.new("RGB", (6, 4), (200, 100, 50))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    whole = exif.tobytes()
    text = whole.replace(struct.pack(">HHI", 0x0112, 3, 1), struct.pack(">HHI", 0x0112, 2, 4))
    assert text != whole
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for odd in (whole[:20], text, b"Exif\0\0no such thing", b"Exif\0\0", whole[:-9] + b"\xff" * 40):
            for name in ("PNG", "JPEG", "WEBP"):
                data = encoded(color, name, exif=odd)
                assert header_of(data)[0] == (4, 6)
                assert np.abs(fit(open_encoded(data), (4, 6), 3)[:, 1, 1].astype(int) - (200, 100, 50)).max() <= 8
    assert warned == []


def test_warnings_are_heard_again_afterwards() -> None:
    before = list(warnings.filters)
    open_encoded(SOUND["PNG"][0])
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn_explicit("heard", UserWarning, "PIL/Image.py", 1, module="PIL.Image")


def test_bad_files_among_many_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (300, 7, 6, 3), np.uint8)
    bad = [(name, case) for case in range(3) for name in SOUND if outcome(damaged(name, case), case)][:10]
    assert len(bad) == 10
    for number, row in enumerate(rows):
        Image.fromarray(row).save(tmp_path / f"{number:03}.png")
    for name, case in bad:
        (tmp_path / f"{name}-{case}.png").write_bytes(damaged(name, case))
    images = load_images(tmp_path, "all", size=(7, 6))
    np.testing.assert_array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), rows)
    (told,) = capsys.readouterr().err.splitlines()
    assert "10 of 310 images left out" in told
    assert all(f"{name}-{case}.png: not an image that can be read" in told for name, case in bad)
