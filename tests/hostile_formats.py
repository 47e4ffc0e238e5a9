"""Hostile files of well-known formats: idx files, saved data sets, tables and lists of labels."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.hostile_files import MARKER, Write, filled, images, made_folder, one_file, pipe, png


def idx(values: np.ndarray, code: int = 8) -> bytes:
    """Values of one byte as an idx file."""
    return bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def arrow(images: list[bytes], compression: str | None = None) -> bytes:
    """A table of images as ``datasets`` saves it."""
    file = io.BytesIO()
    table = pa.table({"image": pa.array([{"bytes": image, "path": None} for image in images])})
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return file.getvalue()


def saved(content: bytes, **state: object) -> dict[str, bytes]:
    """The files of a saved data set."""
    facts = {"_data_files": [{"filename": "a.arrow"}], "_fingerprint": "0"} | state
    return {"a.arrow": content, "state.json": json.dumps(facts).encode(), "dataset_info.json": b"{}"}


def format_files() -> dict[str, Write]:
    """The cases, by name."""
    return {**_idx_files(), **_saved_datasets(), **_label_files()}


def _idx_files() -> dict[str, Write]:
    gray, name = np.zeros((20, 6, 5), np.uint8), "train-images-idx3-ubyte"
    files = {
        "good": idx(gray),
        "huge": b"\0\0\x08\x03" + b"\xff" * 12,
        "zero side": b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 0, 5),
        "zero images": b"\0\0\x08\x03" + struct.pack(">3I", 0, 6, 5),
        "vector": idx(np.zeros(20, np.uint8)),
        "no dimensions": bytes([0, 0, 8, 0]),
        "other type": idx(gray, 0x0E),
        "empty": b"",
    }
    pair = {"train-images-idx3-ubyte": idx(gray), "train-labels-idx1-ubyte": idx(np.zeros(3, np.uint8))}
    return {
        **{f"idx: {kind}": one_file(name, content) for kind, content in files.items()},
        "idx: folder with other labels": lambda folder: filled(folder / "set", pair),
        "idx: folder in place of labels": lambda folder: (
            filled(folder / "set", {name: idx(gray)}),
            made_folder(folder / "set" / "train-labels-idx1-ubyte"),
            folder / "set",
        )[2],
        "idx: pipe in a folder": lambda folder: pipe(f"set/{name}")(folder).parent,
    }


def _saved_datasets() -> dict[str, Write]:
    content = arrow([png(level=level) for level in range(20)])
    bomb = arrow([bytes(2**20)] * 200, "zstd")
    sets = {
        "good": saved(content),
        "bomb": saved(bomb),
        "path out": saved(content, _data_files=[{"filename": f"../../{MARKER}"}]),
        "address": saved(content, _data_files=[{"filename": "https://example.invalid/a.arrow"}]),
        "itself": saved(content, _data_files=[{"filename": "."}]),
        "no files": saved(content, _data_files=[]),
        "numbers": saved(content, _data_files=[1, 2]),
        "missing": saved(content, _data_files=[{"filename": "b.arrow"}]),
        "twice": saved(content, _data_files=[{"filename": "a.arrow"}] * 2),
        "truncated": saved(content[: len(content) // 2]),
        "no table": saved(b"hello"),
        "other table": saved(arrow([])),
        "deep": saved(content) | {"state.json": b"[" * 20_000},
        "splits out": {"dataset_dict.json": json.dumps({"splits": ["..", "/etc"]}).encode()},
        "no splits": {"dataset_dict.json": b"[]"},
        "paths out": saved(_table_of_paths(["/etc/passwd"])),
    }
    return {f"saved: {kind}": _folder(files) for kind, files in sets.items()}


def _table_of_paths(paths: list[str]) -> bytes:
    file = io.BytesIO()
    features = {"info": {"features": {"image": {"_type": "Image"}}}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": None, "path": path} for path in paths], kind)
    table = pa.table({"image": column}).replace_schema_metadata({"huggingface": json.dumps(features)})
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def _label_files() -> dict[str, Write]:
    tables = {
        "good": "".join(f"{level:03}.png,{'ab'[level % 2]}\n" for level in range(20)),
        "formula": "".join(f"{level:03}.png,=1+1\n" for level in range(20)),
        "path out": "../../../etc/passwd,a\n" * 20,
        "long cell": f"000.png,{'a' * 200_000}\n",
        "quotes": '000.png,"a\n' * 20,
        "many columns": ",".join("a" for _ in range(10_000)) + "\n000.png,a\n",
        "binary": "".join(map(chr, range(256))),
        "empty": "",
    }
    lists = {
        "labels": "".join(f"pics/{level:03}.png a\n" for level in range(20)),
        "label of escapes": "".join(f"pics/{level:03}.png \x1b[31m{level % 2}\n" for level in range(20)),
        "device with a label": "/dev/zero a\n/dev/zero.png b\n",
        "backtracking": ".png" * 5_000 + "\n" + "a.png " * 5_000 + "\n",
    }

    def beside(text: str, name: str) -> Write:
        return lambda folder: filled(folder / "pics", images() | {name: text.encode()})

    def listed(text: str) -> Write:
        return lambda folder: (filled(folder / "pics", images()), one_file("list.txt", text.encode())(folder))[1]

    return {
        **{f"labels.csv: {kind}": beside(text, "labels.csv") for kind, text in tables.items()},
        **{f"labels.txt: {kind}": beside(text, "labels.txt") for kind, text in lists.items()},
        **{f"list: {kind}": listed(text) for kind, text in lists.items()},
        "labels.csv: pipe": lambda folder: (
            filled(folder / "pics", images()),
            pipe("pics/labels.csv")(folder),
            folder / "pics",
        )[2],
    }


def _folder(files: dict[str, bytes]) -> Write:
    def write(folder: Path) -> Path:
        return filled(folder / "set", files)

    return write
