"""Hostile NumPy files: headers that state anything, values that are no pixels, objects, and bombs."""

import io
import pickle
import zipfile
from typing import Any

import numpy as np

from tests.hostile_archives import restated, zipped
from tests.hostile_files import MARKER, Trap, Write, made_folder, one_file, pipe


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


def npy_files() -> dict[str, Write]:
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
    trap = one_file("a.npy", lambda folder: npy(stated("(1,)", "'|O'"), pickle.dumps(np.array([Trap(folder)], object))))
    return {
        **{f"npy header: {name}": one_file("a.npy", npy(header, bytes(120))) for name, header in headers.items()},
        **{f"npy: {name}": one_file("a.npy", array(values)) for name, values in arrays.items()},
        "npy: trap": trap,
        "npy: version 2": one_file("a.npy", npy(stated("(4, 6, 5)"), bytes(120), 2)),
        "npy: version 9": one_file("a.npy", npy(stated("(4, 6, 5)"), bytes(120), 9)),
        "npy: long header": one_file("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 1000),
        "npy: magic only": one_file("a.npy", b"\x93NUMPY"),
        "npy: empty": one_file("a.npy", b""),
        "npy: pickle": one_file("a.npy", lambda folder: pickle.dumps(Trap(folder))),
        "npy: pipe": pipe("a.npy"),
        "npy: folder": lambda folder: made_folder(folder / "a.npy"),
    }


def npz(**members: bytes) -> bytes:
    """A ``.npz`` file of members."""
    return zipped({f"{name}.npy": content for name, content in members.items()})


def npz_files() -> dict[str, Write]:
    pixels, labels = np.zeros((20, 6, 5), np.uint8), np.arange(20) % 3
    bomb = lambda folder: npz(images=array(np.zeros((100, 1000, 2000), np.uint8)))  # noqa: E731
    made = {
        "labels": npz(images=array(pixels), labels=array(labels)),
        "float labels": npz(images=array(pixels), labels=array(labels / 2)),
        "labels that are not numbers": npz(images=array(pixels), labels=array(np.full(20, np.nan))),
        "text labels": npz(images=array(pixels), labels=array(np.array(["@a", "\x1b[31m", "=1"] * 6 + ["", " "]))),
        "byte labels": npz(images=array(pixels), labels=array(np.array([b"\xff\xfe", b"b"] * 10))),
        "mixed labels": npz(
            x_train=array(pixels), y_train=array(labels), x_test=array(pixels), y_test=array(labels.astype(str))
        ),
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
        **{f"npz: {name}": one_file("a.npz", content) for name, content in made.items()},
        "npz: bomb": one_file("a.npz", bomb),
        "npz: stated sizes": one_file("a.npz", lambda folder: restated(npz(images=array(pixels)), 2**31)),
        "npz: trap": one_file("a.npz", lambda folder: npz(images=pickle.dumps(Trap(folder)))),
        "npz: pickle": one_file("a.npz", lambda folder: pickle.dumps(Trap(folder))),
    }
