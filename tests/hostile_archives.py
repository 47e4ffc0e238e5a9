"""Hostile zip and tar files: paths out of them, links, bombs, names, and nested archives."""

import gzip
import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile_files import MARKER, Write, card, images, one_file, pipe, png


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def restated(data: bytes, size: int) -> bytes:
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


def zip_files() -> dict[str, Write]:
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
        "stated size": restated(zipped(images()), 2**32 - 2),
        "smaller stated size": restated(zipped(images()), 3),
        "no compression of this number": zipped(images(2)).replace(b"\x08\0\x00\x00", b"\x63\0\x00\x00"),
        "card out": zipped(images() | {"README.md": card("/etc/*").encode()}),
        "script": zipped(images() | {"pics.py": b"import os; os.mkdir('executed-or-escaped')"}),
        "text": b"no zip",
        "start": b"PK\3\4",
        "nothing": b"",
    }
    return {
        **{f"zip: {name}": one_file("pics.zip", content) for name, content in made.items()},
        "zip: pipe": pipe("pics.zip"),
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


def tar_files() -> dict[str, Write]:
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
        **{f"tar: {name}": one_file("pics.tar", content) for name, content in made.items()},
        "tar.gz: images": one_file("pics.tar.gz", gzip.compress(tarred(*good))),
        "tar.gz: bomb": one_file("pics.tar.gz", bomb),
        "tar.gz: bomb that is no image": one_file("pics.tgz", hidden),
        "tar.gz: header": one_file("pics.tgz", header),
        "tar.gz: truncated": one_file("pics.tgz", gzip.compress(tarred(*good))[:-30]),
        "tar.gz: not tar": one_file("pics.tgz", gzip.compress(b"hello")),
        "tar.xz: text": one_file("pics.tar.xz", b"\xfd7zXZ\0hello"),
        "tar.bz2: text": one_file("pics.tar.bz2", b"BZh9hello"),
    }
