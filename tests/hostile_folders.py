"""Hostile folders: pipes, sockets, links, names, cards, and files that are no images or too large ones."""

import gzip
import os
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.hostile_archives import zipped
from tests.hostile_files import MARKER, Write, card, filled, images, made_folder, pipe, png


def black(width: int, height: int) -> bytes:
    """The header of a large PNG, with a little of its data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    parts = chunk(b"IHDR", size + b"\1\0\0\0\0") + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def image_folders() -> dict[str, Write]:
    exif = Image.Exif()
    exif[0x0112] = 77
    frames = {"save_all": True, "append_images": [Image.new("RGB", (6, 5), (level, 0, 0)) for level in range(9)]}
    kinds = {
        "bomb.png": black(60_000, 60_000),
        "wide.png": black(80_000, 2),
        "zero.png": black(0, 5),
        "negative.png": black(2**32 - 1, 2**32 - 1),
        "empty.png": b"",
        "truncated.png": png()[:60],
        "text.png": b"hello",
        "jpeg.png": png(kind="JPEG"),
        "animated.gif": png(mode="RGB", kind="GIF", **frames),
        "animated.png": png(mode="RGB", **frames),
        "animated.webp": png(mode="RGB", kind="WEBP", **frames),
        "cmyk.jpg": png(mode="CMYK", kind="JPEG"),
        "deep.png": png(mode="I;16"),
        "deeper.tif": png(mode="I", kind="TIFF"),
        "floats.tif": png(mode="F", kind="TIFF"),
        "palette.png": png(mode="P"),
        "clear.png": png(mode="RGBA"),
        "bits.png": png(mode="1"),
        "lab.tif": png(mode="LAB", kind="TIFF"),
        "ycc.jpg": png(mode="YCbCr", kind="JPEG"),
        "turned.jpg": png(kind="JPEG", exif=exif),
        "nonsense.jpg": png(kind="JPEG", exif=b"Exif\0\0" + b"\xff" * 90),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n(executed-or-escaped) (w) file\n",
        "script.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        "large.jpg": png()[:20] + bytes(3_000_000),
        "zip.png": zipped({"a.png": png()}),
    }

    def alone(name: str, content: bytes) -> Write:
        return lambda folder: filled(folder / "pics", {name: content, "other.png": png()})

    def among(name: str, content: bytes) -> Write:
        return lambda folder: filled(folder / "pics", images(40) | {name: content})

    return {
        **{f"image alone: {name}": alone(name, content) for name, content in kinds.items()},
        **{f"image among others: {name}": among(name, content) for name, content in kinds.items()},
    }


def _with(special: Callable[[Path], object], num: int = 40) -> Write:
    """A folder of images, and something special in it."""

    def write(folder: Path) -> Path:
        special(filled(folder / "pics", images(num)))
        return folder / "pics"

    return write


def _socket(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket is limited to about 100 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
        os.chdir(here)

    return make


def _deep(folder: Path) -> None:
    for _ in range(60):
        folder = folder / ("d" * 30)
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png())


def folders() -> dict[str, Write]:
    specials: dict[str, Callable[[Path], object]] = {
        "pipe": lambda folder: os.mkfifo(folder / "pipe.png"),
        "pipe without a suffix": lambda folder: os.mkfifo(folder / "pipe"),
        "pipe as a card": lambda folder: os.mkfifo(folder / "README.md"),
        "pipe as metadata": lambda folder: os.mkfifo(folder / "metadata.csv"),
        "pipe as a table": lambda folder: os.mkfifo(folder / "a.parquet"),
        "pipe as an archive": lambda folder: os.mkfifo(folder / "a.zip"),
        "socket": _socket("socket.png"),
        "device": lambda folder: (folder / "zero.png").symlink_to("/dev/zero"),
        "broken link": lambda folder: (folder / "gone.png").symlink_to("nowhere"),
        "broken table": lambda folder: (folder / "gone.parquet").symlink_to("nowhere"),
        "loop": lambda folder: (folder / "loop").symlink_to(".."),
        "loops": lambda folder: [(folder / f"l{number}").symlink_to(".") for number in range(50)],
        "link to itself": lambda folder: (folder / "self.png").symlink_to("self.png"),
        "name that is not UTF-8": lambda folder: (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(png()),
        "bad file whose name is not UTF-8": lambda folder: (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(b""),
        "class that is not UTF-8": lambda folder: filled(folder / os.fsdecode(b"\xff\xfe"), images()),
        "newline": lambda folder: (folder / "a\nb.png").write_bytes(b""),
        "escape sequence": lambda folder: (folder / "\x1b]0;x\x07.png").write_bytes(b""),
        "markup": lambda folder: (folder / "[red]x.png").write_bytes(b""),
        "glob": lambda folder: (folder / "[!x]*?.png").write_bytes(b""),
        "deep": _deep,
        "empty archive": lambda folder: (folder / "a.zip").write_bytes(b""),
        "archive with a path out": lambda folder: (folder / "a.zip").write_bytes(zipped({f"../../{MARKER}.png": png()})),
        "compressed bomb": lambda folder: (folder / "a.tar.gz").write_bytes(gzip.compress(bytes(150_000_000), 1)),
        "folder as a card": lambda folder: (folder / "README.md").mkdir(),
        "folder as metadata": lambda folder: (folder / "metadata.csv").mkdir(),
        "script": lambda folder: (folder / "pics.py").write_text("import os; os.mkdir('executed-or-escaped')"),
        **{
            f"card: {name}": lambda folder, text=text: (folder / "README.md").write_text(text)
            for name, text in _cards().items()
        },
        "settings": lambda folder: (folder / ".huggingface.yaml").write_text(card("/etc/*").strip("-\n")),
    }
    return {
        **{f"folder: {name}": _with(special) for name, special in specials.items()},
        "folder: empty": lambda folder: made_folder(folder / "pics"),
        "folder: run": lambda folder: filled(folder / "run", images() | {"recipe.yaml": b"", "environment.json": b"{}"}),
        "folder: model": lambda folder: filled(folder / "m", images() | {"config.json": b"", "model.safetensors": b""}),
        "folder: texts": lambda folder: filled(folder / "pics", {f"{number}.txt": b"" for number in range(300)}),
        "folder: missing": lambda folder: folder / "nowhere",
        "folder: pipe alone": pipe("pics"),
        "folder: long name": lambda folder: folder / ("a" * 5000),
    }


def _cards() -> dict[str, str]:
    laugh = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    return {
        "absolute": card("/etc/*"),
        "parent": card("../*"),
        "address": card("https://example.invalid/a.parquet"),
        "address in a split": card([{"split": "train", "path": ["hf://datasets/x/y/z.parquet"]}]),
        "chain": card("zip://a::https://example.invalid/a.zip"),
        "folder": card("*.png", data_dir="/etc"),
        "nothing": card("nothing-*.png"),
        "images": card("*.png"),
        "other values": card(["*.png", 7, None]),
        "other option": card("*.png", trust_remote_code=True),
        "aliases": f"---\n{laugh}configs: *a9\n---\n",
        "nested": "---\nconfigs: " + "[" * 5000 + "\n---\n",
        "recursive": "---\nconfigs: &a [*a]\n---\n",
        "date": "---\nx: 2020-99-99\nconfigs: []\n---\n",
        "tag": "---\nconfigs: !!python/object/apply:os.mkdir [executed-or-escaped]\n---\n",
        "not closed": "---\nconfigs: []\n",
        "no dictionary": "---\n- 1\n---\n",
        "no list": "---\nconfigs: 7\n---\n",
        "binary": "---\n\x00\x01\n---\n",
        "types": "---\ndataset_info:\n  features:\n  - name: image\n    dtype: nonsense\nconfigs:\n- config_name: x\n---\n",
    }
