"""Hostile metadata and parquet files: broken, nested, missing and repeated values, and paths elsewhere."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tests.hostile_files import Write, filled, images, one_file, pipe, png


def metadata_files() -> dict[str, Write]:
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
        return lambda folder: filled(folder / "pics", images() | {name: content})

    return {
        **{f"metadata.csv: {name}": folder_with("metadata.csv", text) for name, text in csv.items()},
        **{f"metadata.jsonl: {name}": folder_with("metadata.jsonl", text) for name, text in lines.items()},
        "metadata.csv: binary": lambda folder: filled(folder / "pics", images() | {"metadata.csv": bytes(range(256)) * 9}),
        "metadata.parquet: text": lambda folder: filled(folder / "pics", images() | {"metadata.parquet": b"PAR1 PAR1"}),
        "metadata: both": lambda folder: filled(
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


def parquet_files() -> dict[str, Write]:
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
        "no names": table(
            cells, _features(label={"names": [], "_type": "ClassLabel"}), label=pa.array([0] * 20, pa.int64())
        ),
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
        **{f"parquet: {name}": one_file("a.parquet", content) for name, content in made.items()},
        "parquet: pipe": pipe("a.parquet"),
    }


def _nested(cells: list[Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"images": pa.array([[cell] for cell in cells])}), file)
    return file.getvalue()
