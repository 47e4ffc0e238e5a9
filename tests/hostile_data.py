"""Hostile sources of images: what a stranger could send, a disk could damage, or a mistake could produce.

Each case writes a source below a folder and returns its path. A source is either read or refused in one line, quickly, in
little memory, without writing outside of the cache and without executing anything. :data:`~tests.hostile_files.MARKER` is
the name of a file that appears if something was executed or written where it must not be.
"""

import gzip
import itertools
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.hostile_archives import member, tar_files, tarred, zip_files, zipped
from tests.hostile_arrays import array, npy_files, npz, npz_files
from tests.hostile_files import MARKER, Trap, Write, card, filled, images, one_file, pipe, png
from tests.hostile_folders import folders, image_folders
from tests.hostile_formats import arrow, format_files, idx, saved
from tests.hostile_tables import metadata_files, parquet_files, table

__all__ = ["MARKER", "Write", "cases", "zoo"]


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
    return {
        **npy_files(),
        **npz_files(),
        **zip_files(),
        **tar_files(),
        **image_folders(),
        **folders(),
        **metadata_files(),
        **parquet_files(),
        **format_files(),
        **_others(),
    }


def _others() -> dict[str, Write]:
    return {
        "list: device": one_file("list.txt", b"/dev/zero\n"),
        "list: terminal": one_file("list.txt", b"/dev/stdin\n"),
        "list: long lines": one_file("list.txt", b"a" * 100_000 + b"\n" + b"\0\n"),
        "list: binary": one_file("list.txt", bytes(range(256))),
        "list: itself": one_file("list.txt", b"list.txt\n.\n..\n"),
        "list: pipe": lambda folder: (pipe("p.png")(folder), one_file("list.txt", b"p.png\n")(folder))[1],
        "list: is a pipe": pipe("list.txt"),
        "list: addresses": one_file("list.txt", b"https://example.invalid/a.png\n"),
        "list: nothing": one_file("list.txt", b""),
        "other: pickle": one_file("a.pkl", lambda folder: pickle.dumps(Trap(folder))),
        "other: device": lambda folder: Path("/dev/zero"),
        "other: arrow": one_file("pics/a.arrow", b"ARROW1\0\0hello"),
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
    "train-images-idx3-ubyte": lambda: idx(np.zeros((20, 6, 5), np.uint8)),
    "train-images-idx3-ubyte.gz": lambda: gzip.compress(idx(np.zeros((20, 6, 5), np.uint8))),
}
"""Valid files, by name."""


def _damage(random: np.random.Generator, number: str) -> tuple[str, Write]:
    """A valid source with random damage."""
    kinds = [*_VALID, "metadata.csv", "metadata.jsonl", "README.md", "labels.csv", "a.arrow"]
    name = kinds[int(random.integers(len(kinds)))]
    if name == "a.arrow":
        content = _damaged(arrow([png(level=level) for level in range(20)]), random)
        return f"damaged {name} {number}", lambda folder: filled(folder / "saved", saved(content))
    if name in _VALID:
        return f"damaged {name} {number}", one_file(name, _damaged(_VALID[name](), random))
    text = {
        "metadata.csv": "file_name,label\n" + "".join(f"{level:03}.png,{level % 3}\n" for level in range(20)),
        "metadata.jsonl": "".join(json.dumps({"file_name": f"{n:03}.png", "label": n % 3}) + "\n" for n in range(20)),
        "README.md": card("*.png"),
        "labels.csv": "file,label\n" + "".join(f"{level:03}.png,{level % 3}\n" for level in range(20)),
    }[name]
    content = _damaged(text.encode(), random)
    return f"damaged {name} {number}", lambda folder: filled(folder / "pics", images() | {name: content})


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
