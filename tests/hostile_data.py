"""Hostile sources of images: what a stranger could send, a disk could damage, or a mistake could produce.

Each case writes a source below a folder and returns its path. A source is either read or refused in one line, quickly, in
little memory, without writing outside of the cache and without executing anything. :data:`MARKER` is the name of a file that
appears if something was executed or written where it must not be.
"""

import gzip
import io
import itertools
import json
import os
import pickle
import socket
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

Write = Callable[[Path], Path]
"""Writes a source below a folder and returns its path."""
MARKER = "executed-or-escaped"
"""The name of a file that no case may lead to."""


def cases(seed: int) -> Iterator[tuple[str, Write]]:
    """Yields cases with their names, without end: first all of the zoo, then random damage to valid sources.

    Arguments:
        seed: The seed of the random damage.
    """
    yield from zoo().items()
    for number in itertools.count():
        yield _damage(np.random.default_rng((seed, number)), f"{seed}-{number}")


def zoo() -> dict[str, Write]:
    """The cases that were thought of, by name."""
    return {**_npy(), **_npz(), **_zips(), **_tars(), **_images(), **_folders(), **_metadata(), **_parquet(), **_others()}


class _Trap:
    """An object that writes the marker when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.marker = str(folder / MARKER)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def png(width: int = 6, height: int = 5, level: int = 100, mode: str = "L", kind: str = "PNG", **options: Any) -> bytes:
    """A small image file."""
    file, noise = io.BytesIO(), np.random.default_rng(level).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


def _file(name: str, content: bytes | Callable[[Path], bytes]) -> Write:
    """Writes one file."""

    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content(folder))
        return folder / name

    return write


# Arrays


def npy(header: str, values: bytes = b"", version: int = 1) -> bytes:
    """A ``.npy`` file with any text as its header."""
    text = header.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + values


def array(values: Any) -> bytes:
    """An array as a ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def stated(shape: str, descr: str = "'|u1'", order: str = "False") -> str:
    """The header of an array."""
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def _npy() -> dict[str, Write]:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (20, 6, 5), np.uint8)
    headers = {
        "negative side": stated("(4, -6, 5)"),
        "zero side": stated("(4, 0, 5)"),
        "zero images": stated("(0, 6, 5)"),
        "huge zero": stated("(999999999999999999, 0, 5)"),
        "huge": stated("(1000000000, 1000, 1000)"),
        "overflow": stated("(4294967296, 4294967296, 4)"),
        "sides of many digits": stated(f"({'9' * 6000}, 6, 5)"),
        "many sides": stated("(" + "1, " * 3000 + ")"),
        "no shape": stated("None"),
        "shape of text": stated("('a', 'b')"),
        "unclosed": "{'descr': '|u1', 'shape': (4, 6, 5), 'fortran_order': ",
        "unclosed nest": "(" * 9000,
        "minus signs": "-" * 9000,
        "code": stated("(4, 6, 5)").replace("False", "__import__('os').mkdir('executed-or-escaped')"),
        "expression": stated("(2 * 2, 6, 5)"),
        "structured": stated("(4, 6, 5)", "[('a', '|u1'), ('b', '|u1')]"),
        "objects": stated("(4, 6, 5)", "'|O'"),
        "no type": stated("(4, 6, 5)", "'nonsense'"),
        "empty type": stated("(4, 6, 5)", "'<U0'"),
        "subarray": stated("(4, 6, 5)", "'(1000000,1000000)u1'"),
        "twice": stated("(4, 6, 5)").replace("}", "'shape': (1, 1, 1)}"),
        "nul": stated("(4, 6, 5)").replace(",", "\0,"),
    }
    arrays = {
        "uint8": pixels,
        "float": pixels / 255,
        "bool": pixels > 99,
        "big-endian": (pixels / 255).astype(">f8"),
        "half": (pixels / 255).astype("f2"),
        "fortran": np.asfortranarray(pixels),
        "fortran float": np.asfortranarray(pixels / 255),
        "channels": random.integers(0, 256, (20, 6, 5, 3), np.uint8),
        "not a number": np.full((4, 6, 5), np.nan),
        "infinite": np.full((4, 6, 5), np.inf),
        "one bad float": np.where(np.arange(20)[:, None, None] == 19, 1e30, pixels / 255),
        "negative": pixels.astype("f4") - 128,
        "complex": pixels.astype("c8"),
        "integers": pixels.astype("i8"),
        "text": np.array([["abc"]]),
        "scalar": np.float64(1),
        "vector": np.arange(9.0),
        "five axes": np.zeros((2, 2, 2, 2, 2), np.uint8),
        "long rows": np.zeros((1, 1, 70_000), np.uint8),
        "dates": np.zeros((4, 6, 5), "M8[s]"),
        "void": np.zeros((4, 6, 5), "V4"),
    }
    trap = _file("a.npy", lambda folder: npy(stated("(1,)", "'|O'"), pickle.dumps(np.array([_Trap(folder)], object))))
    return {
        **{f"npy header: {name}": _file("a.npy", npy(header, bytes(120))) for name, header in headers.items()},
        **{f"npy: {name}": _file("a.npy", array(values)) for name, values in arrays.items()},
        "npy: trap": trap,
        "npy: version 2": _file("a.npy", npy(stated("(4, 6, 5)"), bytes(120), 2)),
        "npy: version 9": _file("a.npy", npy(stated("(4, 6, 5)"), bytes(120), 9)),
        "npy: long header": _file("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 1000),
        "npy: magic only": _file("a.npy", b"\x93NUMPY"),
        "npy: empty": _file("a.npy", b""),
        "npy: pickle": _file("a.npy", lambda folder: pickle.dumps(_Trap(folder))),
        "npy: pipe": _pipe("a.npy"),
        "npy: folder": lambda folder: _made(folder / "a.npy"),
    }


def npz(**members: bytes) -> bytes:
    """A ``.npz`` file of members."""
    return zipped({f"{name}.npy": content for name, content in members.items()})


def _npz() -> dict[str, Write]:
    pixels, labels = np.zeros((20, 6, 5), np.uint8), np.arange(20) % 3
    bomb = lambda folder: npz(images=array(np.zeros((100, 1000, 2000), np.uint8)))  # noqa: E731
    made = {
        "labels": npz(images=array(pixels), labels=array(labels)),
        "float labels": npz(images=array(pixels), labels=array(labels / 2)),
        "labels that are not numbers": npz(images=array(pixels), labels=array(np.full(20, np.nan))),
        "text labels": npz(images=array(pixels), labels=array(np.array(["@a", "\x1b[31m", "=1"] * 6 + ["", " "]))),
        "byte labels": npz(images=array(pixels), labels=array(np.array([b"\xff\xfe", b"b"] * 10))),
        "mixed labels": npz(x_train=array(pixels), y_train=array(labels), x_test=array(pixels), y_test=array(labels.astype(str))),
        "complex labels": npz(images=array(pixels), labels=array(labels.astype("c8"))),
        "date labels": npz(images=array(pixels), labels=array(labels.astype("M8[D]"))),
        "long labels": npz(images=array(pixels), labels=npy(stated("(20,)", "'<U1000000'"))),
        "one-hot labels": npz(images=array(pixels), labels=array(np.eye(20))),
        "no labels": npz(images=array(pixels), labels=array(np.zeros(0))),
        "huge labels": npz(images=array(pixels), labels=npy(stated("(9999999999,)"))),
        "object labels": npz(images=array(pixels), labels=npy(stated("(20,)", "'|O'"), bytes(160))),
        "split that is a path": npz(**{f"x_../../{MARKER}": array(pixels)}),
        "split that is a device": npz(**{"x_con:": array(pixels), "x_": array(pixels)}),
        "long split": npz(**{f"x_{'a' * 300}": array(pixels)}),
        "splits of different shapes": npz(x_train=array(pixels), x_test=array(pixels[:, 1:])),
        "no images": npz(faces=array(pixels)),
        "many arrays": npz(**{f"a{number}": b"" for number in range(3000)}),
        "not an array": npz(images=b"hello"),
        "huge": npz(images=npy(stated("(100000, 1000, 1000)"))),
        "empty": zipped({}),
        "objects": npz(images=npy(stated("(4, 6, 5)", "'|O'"), bytes(960))),
        "other compression": zipped({"images.npy": array(pixels)}, zipfile.ZIP_LZMA),
    }
    return {
        **{f"npz: {name}": _file("a.npz", content) for name, content in made.items()},
        "npz: bomb": _file("a.npz", bomb),
        "npz: stated sizes": _file("a.npz", lambda folder: _restated(npz(images=array(pixels)), 2**31)),
        "npz: trap": _file("a.npz", lambda folder: npz(images=pickle.dumps(_Trap(folder)))),
        "npz: pickle": _file("a.npz", lambda folder: pickle.dumps(_Trap(folder))),
    }


# Archives


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _restated(data: bytes, size: int) -> bytes:
    """A zip file that states another size of its members."""
    changed, start = bytearray(data), 0
    while (start := data.find(b"PK\1\2", start)) >= 0:
        changed[start + 24 : start + 28] = min(size, 2**32 - 2).to_bytes(4, "little")
        start += 4
    return bytes(changed)


def _doubled(folder: Path) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as archive:
        for level in range(20):
            archive.writestr("a.png", png(level=level))
            archive.writestr("b.png", png(level=level))
    return file.getvalue()


def _linked_zip(target: str) -> bytes:
    file, member = io.BytesIO(), zipfile.ZipInfo("link.png")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, target)
    return file.getvalue()


def _locked(data: bytes) -> bytes:
    changed = bytearray(data)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        changed[changed.index(signature) + offset] |= 1
    return bytes(changed)


def _overlapping(folder: Path) -> bytes:
    """A zip file whose members all share the same data."""
    data = zipped({"a.png": bytes(3_000_000)})
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entries = b"".join(data[start:end].replace(b"a.png", b"%05d" % number) for number in range(2000))
    tail = bytearray(data[end:])
    tail[8:12] = (2000).to_bytes(2, "little") * 2
    tail[12:16] = len(entries).to_bytes(4, "little")
    return data[:start] + entries.replace(b"0.png", b".png") + bytes(tail)


def images(num: int = 20, prefix: str = "") -> dict[str, bytes]:
    """Files of images."""
    return {f"{prefix}{level:03}.png": png(level=level) for level in range(num)}


def _zips() -> dict[str, Write]:
    bomb = lambda folder: zipped({"a.png": bytes(300_000_000)})  # noqa: E731
    made: dict[str, bytes | Callable[[Path], bytes]] = {
        "images": zipped(images()),
        "empty": zipped({}),
        "texts": lambda folder: zipped({f"{number}.txt": b"words" for number in range(30_000)}, zipfile.ZIP_STORED),
        "images among texts": lambda folder: zipped({f"{number}.txt": b"" for number in range(3000)} | images()),
        "path out": zipped({f"../{MARKER}": png(), f"../{MARKER}.png": png()}),
        "path far out": zipped({"a/../../../../../../../../../../tmp/executed-or-escaped.png": png()}),
        "absolute path": zipped({f"/tmp/{MARKER}.png": png()}),
        "path of Windows": zipped({f"..\\..\\{MARKER}.png": png(), "C:\\a.png": png()}),
        "link": _linked_zip("../../../outside.png"),
        "bomb": bomb,
        "nested bomb": lambda folder: zipped({"inner.zip": zipped({"a.png": bytes(150_000_000)})}),
        "nested": zipped({"inner.zip": zipped(images())}),
        "nested path out": zipped({"inner.zip": zipped({f"../../../{MARKER}.png": png()})}),
        "overlapping": _overlapping,
        "encrypted": _locked(zipped({"a.png": png()})),
        "same names": _doubled,
        "file and folder": zipped({"a.png": png(), "a.png/b.png": png()}),
        "folders only": zipped({"a/": b"", "b/": b""}),
        "long name": zipped({"a" * 300 + ".png": png()}),
        "deep name": zipped({"a/" * 1500 + "b.png": png()}),
        "nul in a name": zipped({"a.png": png()}).replace(b"a.png", b"a\0.pn"),
        "controls in names": zipped({f"\x1b[31m{number}\x07.png": b"" for number in range(3)}),
        "name that is not UTF-8": zipped({"abcd.png": b"no image"}).replace(b"abcd", b"\xff\xfe\xfd\xfc"),
        "stated size": _restated(zipped(images()), 2**32 - 2),
        "smaller stated size": _restated(zipped(images()), 3),
        "no compression of this number": zipped(images(2)).replace(b"\x08\0\x00\x00", b"\x63\0\x00\x00"),
        "card out": zipped(images() | {"README.md": _card("/etc/*").encode()}),
        "script": zipped(images() | {"pics.py": b"import os; os.mkdir('executed-or-escaped')"}),
        "text": b"no zip",
        "start": b"PK\3\4",
        "nothing": b"",
    }
    return {
        **{f"zip: {name}": _file("pics.zip", content) for name, content in made.items()},
        "zip: pipe": _pipe("pics.zip"),
    }


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar file of members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """A member of a tar file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def _stated_tar(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = member("a.png", kind)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def _tars() -> dict[str, Write]:
    good = [(member(name), content) for name, content in images().items()]
    made = {
        "images": tarred(*good),
        "no mode": tarred(*((member(name, mode=0), content) for name, content in images().items())),
        "set-user-id": tarred(*((member(name, mode=0o6777), content) for name, content in images().items())),
        "path out": tarred((member(f"../{MARKER}.png"), png())),
        "absolute path": tarred((member(f"/tmp/{MARKER}.png"), png()), *good),
        "link out": tarred((member("a.png", tarfile.SYMTYPE, "../../x.png"), b"")),
        "link, then through it": tarred(
            (member("d.zip", tarfile.SYMTYPE, "/tmp"), b""), (member(f"d.zip/{MARKER}.png"), png())
        ),
        "link to itself": tarred((member("a.png", tarfile.SYMTYPE, "a.png"), b"")),
        "hard link out": tarred((member("a.png", tarfile.LNKTYPE, "/etc/passwd"), b"")),
        "device": tarred((member("a.png", tarfile.CHRTYPE), b"")),
        "pipe": tarred((member("a.png", tarfile.FIFOTYPE), b"")),
        "stated petabyte": _stated_tar(2**50),
        "stated negative": _stated_tar(2**50).replace(b"\x80\0\0\0\0\x04", b"\xff\xff\xff\xff\xff\xff"),
        "long header": _stated_tar(2**33, tarfile.XHDTYPE),
        "long name header": _stated_tar(2**33, tarfile.GNUTYPE_LONGNAME),
        "empty": tarred(),
        "text": b"no tar" * 500,
        "nothing": b"",
        "nested": tarred((member("inner.tar"), tarred(*good))),
    }
    bomb = lambda folder: gzip.compress(tarred((member("a.png"), bytes(150_000_000))), 1)  # noqa: E731
    hidden = lambda folder: gzip.compress(tarred((member("a.txt"), bytes(150_000_000))), 1)  # noqa: E731
    header = lambda folder: gzip.compress(_stated_tar(2**28, tarfile.XHDTYPE) + bytes(2**28), 1)  # noqa: E731
    return {
        **{f"tar: {name}": _file("pics.tar", content) for name, content in made.items()},
        "tar.gz: images": _file("pics.tar.gz", gzip.compress(tarred(*good))),
        "tar.gz: bomb": _file("pics.tar.gz", bomb),
        "tar.gz: bomb that is no image": _file("pics.tgz", hidden),
        "tar.gz: header": _file("pics.tgz", header),
        "tar.gz: truncated": _file("pics.tgz", gzip.compress(tarred(*good))[:-30]),
        "tar.gz: not tar": _file("pics.tgz", gzip.compress(b"hello")),
        "tar.xz: text": _file("pics.tar.xz", b"\xfd7zXZ\0hello"),
        "tar.bz2: text": _file("pics.tar.bz2", b"BZh9hello"),
    }


# Images


def black(width: int, height: int) -> bytes:
    """The header of a large PNG, with a little of its data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    parts = chunk(b"IHDR", size + b"\1\0\0\0\0") + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _images() -> dict[str, Write]:
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
        return lambda folder: _filled(folder / "pics", {name: content, "other.png": png()})

    def among(name: str, content: bytes) -> Write:
        return lambda folder: _filled(folder / "pics", images(40) | {name: content})

    return {
        **{f"image alone: {name}": alone(name, content) for name, content in kinds.items()},
        **{f"image among others: {name}": among(name, content) for name, content in kinds.items()},
    }


def _filled(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder of files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# Folders


def _pipe(name: str) -> Write:
    """A pipe, on which reading waits forever."""

    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)
        return folder / name

    return write


def _with(special: Callable[[Path], object], num: int = 40) -> Write:
    """A folder of images, and something special in it."""

    def write(folder: Path) -> Path:
        special(_filled(folder / "pics", images(num)))
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


def _folders() -> dict[str, Write]:
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
        "class that is not UTF-8": lambda folder: _filled(folder / os.fsdecode(b"\xff\xfe"), images()),
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
            f"card: {name}": lambda folder, card=card: (folder / "README.md").write_text(card)
            for name, card in _cards().items()
        },
        "settings": lambda folder: (folder / ".huggingface.yaml").write_text(_card("/etc/*").strip("-\n")),
    }
    return {
        **{f"folder: {name}": _with(special) for name, special in specials.items()},
        "folder: empty": lambda folder: _made(folder / "pics"),
        "folder: run": lambda folder: _filled(folder / "run", images() | {"recipe.yaml": b"", "environment.json": b"{}"}),
        "folder: model": lambda folder: _filled(folder / "m", images() | {"config.json": b"", "model.safetensors": b""}),
        "folder: texts": lambda folder: _filled(folder / "pics", {f"{number}.txt": b"" for number in range(300)}),
        "folder: missing": lambda folder: folder / "nowhere",
        "folder: pipe alone": _pipe("pics"),
        "folder: long name": lambda folder: folder / ("a" * 5000),
    }


def _card(data_files: Any, **options: Any) -> str:
    return f"---\nconfigs:\n- {json.dumps({'config_name': 'x', 'data_files': data_files} | options)}\n---\n"


def _cards() -> dict[str, str]:
    laugh = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    return {
        "absolute": _card("/etc/*"),
        "parent": _card("../*"),
        "address": _card("https://example.invalid/a.parquet"),
        "address in a split": _card([{"split": "train", "path": ["hf://datasets/x/y/z.parquet"]}]),
        "chain": _card("zip://a::https://example.invalid/a.zip"),
        "folder": _card("*.png", data_dir="/etc"),
        "nothing": _card("nothing-*.png"),
        "images": _card("*.png"),
        "other values": _card(["*.png", 7, None]),
        "other option": _card("*.png", trust_remote_code=True),
        "aliases": f"---\n{laugh}configs: *a9\n---\n",
        "nested": "---\nconfigs: " + "[" * 5000 + "\n---\n",
        "recursive": "---\nconfigs: &a [*a]\n---\n",
        "date": "---\nx: 2020-99-99\nconfigs: []\n---\n",
        "tag": "---\nconfigs: !!python/object/apply:os.mkdir [executed-or-escaped]\n---\n",
        "not closed": "---\nconfigs: []\n",
        "no dictionary": "---\n- 1\n---\n",
        "no list": "---\nconfigs: 7\n---\n",
        "binary": "---\n\x00\x01\n---\n",
        "dataset_info": "---\ndataset_info:\n  features:\n  - name: image\n    dtype: nonsense\nconfigs:\n- config_name: x\n---\n",
    }


# Metadata and tables


def _metadata() -> dict[str, Write]:
    csv = {
        "good": "file_name,label\n" + "".join(f"{level:03}.png,{'ab'[level % 2]}\n" for level in range(20)),
        "empty": "",
        "header": "file_name,label\n",
        "no file_name": "name,label\n000.png,a\n",
        "missing file": "file_name,label\n999.png,a\n",
        "path out": "file_name,label\n../../../etc/passwd,a\n",
        "absolute path": "file_name,label\n/etc/passwd,a\n",
        "address": "file_name,label\nhttps://example.invalid/a.png,a\n",
        "ragged": "file_name,label\n000.png,a,b,c\n001.png\n",
        "quotes": 'file_name,label\n"000.png,a\n',
        "same file": "file_name,label\n" + "000.png,a\n" * 9,
        "many digits": f"file_name,label\n000.png,{'9' * 5000}\n",
        "formula": "file_name,label\n" + "".join(f"{level:03}.png,=1+1\n" for level in range(20)),
    }
    lines = {
        "good": "".join(json.dumps({"file_name": f"{level:03}.png", "label": level % 3}) + "\n" for level in range(20)),
        "nested labels": "".join(json.dumps({"file_name": f"{n:03}.png", "label": [n, {"a": n}]}) + "\n" for n in range(20)),
        "mixed labels": '{"file_name": "000.png", "label": 1}\n{"file_name": "001.png", "label": "a"}\n',
        "no file_name": '{"label": 1}\n',
        "null file_name": '{"file_name": null, "label": 1}\n',
        "number as file_name": '{"file_name": 7, "label": 1}\n',
        "broken": '{"file_name": "000.png", "label": \n',
        "list": "[1]\n",
        "null": "null\n",
        "deep": "[" * 20_000 + "\n",
        "deep objects": '{"a":' * 20_000 + "\n",
        "not UTF-8": "\udcff\udcfe\n",
        "empty": "",
    }

    def folder_with(name: str, text: str) -> Write:
        content = text.encode("utf-8", "surrogateescape")
        return lambda folder: _filled(folder / "pics", images() | {name: content})

    return {
        **{f"metadata.csv: {name}": folder_with("metadata.csv", text) for name, text in csv.items()},
        **{f"metadata.jsonl: {name}": folder_with("metadata.jsonl", text) for name, text in lines.items()},
        "metadata.csv: binary": lambda folder: _filled(folder / "pics", images() | {"metadata.csv": bytes(range(256)) * 9}),
        "metadata.parquet: text": lambda folder: _filled(folder / "pics", images() | {"metadata.parquet": b"PAR1 PAR1"}),
        "metadata: both": lambda folder: _filled(
            folder / "pics", images() | {"metadata.csv": csv["good"].encode(), "metadata.jsonl": lines["good"].encode()}
        ),
    }


def _features(**columns: Any) -> dict[str, str]:
    """The metadata by which ``datasets`` stores the types of columns."""
    return {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}} | columns}})}


def table(cells: list[Any], features: dict[str, str] | None = None, **columns: Any) -> bytes:
    """A parquet file with images in its column ``image``."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    data = pa.table({"image": pa.array(cells, kind)} | columns)
    file = io.BytesIO()
    parquet.write_table(data.replace_schema_metadata(_features() if features is None else features), file)
    return file.getvalue()


def _repeated(num: int) -> bytes:
    """A parquet file in which one value is repeated by a dictionary."""
    value = pa.DictionaryArray.from_arrays(pa.array(np.zeros(num, np.int32)), pa.array([bytes(900_000)]))
    cells = pa.StructArray.from_arrays([value, pa.nulls(num, pa.string())], ["bytes", "path"])
    file = io.BytesIO()
    parquet.write_table(pa.table({"image": cells}).replace_schema_metadata(_features()), file)
    return file.getvalue()


def _parquet() -> dict[str, Write]:
    cells = [{"bytes": png(level=level), "path": None} for level in range(20)]
    label = {"names": ["a", "b"], "_type": "ClassLabel"}
    numbers = list(range(20))
    made: dict[str, bytes | Callable[[Path], bytes]] = {
        "images": table(cells),
        "labels": table(cells, _features(label=label), label=pa.array([n % 2 for n in numbers], pa.int64())),
        "labels out of range": table(cells, _features(label=label), label=pa.array(numbers, pa.int64())),
        "negative labels": table(cells, _features(label=label), label=pa.array([-n for n in numbers], pa.int64())),
        "integer names": table(
            cells, _features(label={"names": [1, 2], "_type": "ClassLabel"}), label=pa.array([0] * 20, pa.int64())
        ),
        "no names": table(cells, _features(label={"names": [], "_type": "ClassLabel"}), label=pa.array([0] * 20, pa.int64())),
        "float labels": table(cells, label=pa.array([0.5] * 20)),
        "null labels": table(cells, _features(label=label), label=pa.array([None] * 20, pa.int64())),
        "some null labels": table(cells, label=pa.array(["a", None] * 10)),
        "null type": table(cells, label=pa.nulls(20)),
        "nested labels": table(cells, label=pa.array([[n, n] for n in numbers])),
        "struct labels": table(cells, label=pa.array([{"a": n} for n in numbers])),
        "null images": table([None] * 20),
        "some null images": table([*cells, None, None]),
        "cells of nulls": table([{"bytes": None, "path": None}] * 20),
        "empty images": table([{"bytes": b"", "path": ""}] * 20),
        "paths out": table([{"bytes": None, "path": "/etc/passwd"}] * 20),
        "relative paths out": table([{"bytes": None, "path": "../../x.png"}] * 20),
        "addresses": table([{"bytes": None, "path": "https://example.invalid/a.png"}] * 20),
        "paths within": table([{"bytes": None, "path": "nothing.png"}] * 20),
        "nested images": _nested(cells),
        "no rows": table([]),
        "other columns": table(cells, {"huggingface": "{}"}),
        "broken features": table(cells, {"huggingface": "{"}),
        "features of other columns": table(cells, _features(label=label)),
        "deep features": table(cells, {"huggingface": "[" * 9000}),
        "unknown feature": table(cells, _features(label={"_type": "os.mkdir"}), label=pa.array(numbers)),
        "very many rows": lambda folder: table([None] * 3_000_000),
        "repeated": lambda folder: _repeated(5000),
        "text": b"PAR1hello",
        "magic": b"PAR1PAR1PAR1",
        "nothing": b"",
    }
    return {
        **{f"parquet: {name}": _file("a.parquet", content) for name, content in made.items()},
        "parquet: pipe": _pipe("a.parquet"),
    }


def _nested(cells: list[Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"images": pa.array([[cell] for cell in cells])}), file)
    return file.getvalue()


def _others() -> dict[str, Write]:
    return {
        "list: device": _file("list.txt", b"/dev/zero\n"),
        "list: terminal": _file("list.txt", b"/dev/stdin\n"),
        "list: long lines": _file("list.txt", b"a" * 100_000 + b"\n" + b"\0\n"),
        "list: binary": _file("list.txt", bytes(range(256))),
        "list: itself": _file("list.txt", b"list.txt\n.\n..\n"),
        "list: pipe": lambda folder: (_pipe("p.png")(folder), _file("list.txt", b"p.png\n")(folder))[1],
        "list: is a pipe": _pipe("list.txt"),
        "list: addresses": _file("list.txt", b"https://example.invalid/a.png\n"),
        "list: nothing": _file("list.txt", b""),
        "other: pickle": _file("a.pkl", lambda folder: pickle.dumps(_Trap(folder))),
        "other: device": lambda folder: Path("/dev/zero"),
        "other: arrow": _file("pics/a.arrow", b"ARROW1\0\0hello"),
    }


# Random damage


_VALID: dict[str, Callable[[], bytes]] = {
    "a.npy": lambda: array(np.random.default_rng(0).integers(0, 256, (20, 6, 5), np.uint8)),
    "b.npy": lambda: array(np.random.default_rng(0).random((20, 6, 5))),
    "a.npz": lambda: npz(images=array(np.zeros((20, 6, 5), np.uint8)), labels=array(np.arange(20) % 3)),
    "pics.zip": lambda: zipped(images()),
    "stored.zip": lambda: zipped(images(), zipfile.ZIP_STORED),
    "pics.tar": lambda: tarred(*((member(name), content) for name, content in images().items())),
    "pics.tar.gz": lambda: gzip.compress(tarred(*((member(name), content) for name, content in images().items()))),
    "a.parquet": lambda: table([{"bytes": png(level=level), "path": None} for level in range(20)]),
    "list.txt": lambda: b"".join(b"%03d.png\n" % level for level in range(20)),
}
"""Valid files, by name."""


def _damage(random: np.random.Generator, number: str) -> tuple[str, Write]:
    """A valid source with random damage."""
    kinds = [*_VALID, "metadata.csv", "metadata.jsonl", "README.md"]
    name = kinds[int(random.integers(len(kinds)))]
    if name in _VALID:
        return f"damaged {name} {number}", _file(name, _damaged(_VALID[name](), random))
    text = {
        "metadata.csv": "file_name,label\n" + "".join(f"{level:03}.png,{level % 3}\n" for level in range(20)),
        "metadata.jsonl": "".join(json.dumps({"file_name": f"{n:03}.png", "label": n % 3}) + "\n" for n in range(20)),
        "README.md": _card("*.png"),
    }[name]
    content = _damaged(text.encode(), random)
    return f"damaged {name} {number}", lambda folder: _filled(folder / "pics", images() | {name: content})


def _damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Truncates data, changes bytes, overwrites, repeats or removes a part of it."""
    changed, kind = bytearray(data), int(random.integers(6))
    start, end = sorted(int(position) for position in random.integers(len(data), size=2))
    if kind == 0:
        return data[:start]
    if kind == 1:
        for position in random.integers(len(data), size=int(random.integers(1, 5))):
            changed[position] ^= 1 << int(random.integers(8))
    elif kind == 2:
        for position in random.integers(min(len(data), 128), size=int(random.integers(1, 9))):
            changed[position] = int(random.integers(256))
    elif kind == 3:
        changed[start : start + 32] = random.bytes(32)
    elif kind == 4:
        changed[end:end] = changed[start:end]
    else:
        del changed[start : start + int(random.integers(1, 40))]
    return bytes(changed)
