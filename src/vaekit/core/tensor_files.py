"""Tensors on disk: safetensors with a checksum, equal bytes for equal content, and nothing used before it is checked.

A file is the length of its header, the header as JSON, and the data. The header's metadata holds ``sha256``, the hash of the
rest of the header and of the data: it tells whether any bit of the tensors, or of what they belong to, has changed.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from vaekit.core.files import atomic_path, describe_os_error, require_regular
from vaekit.core.safe_text import valid_unicode

CHECKSUM, METADATA = "sha256", "__metadata__"
LENGTH_BYTES = 8
CHUNK_BYTES = 2**22
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The names of types in the format."""


class DamagedFile(Exception):
    """A file of tensors that is not as it was written; its message is the reason."""


@dataclass(frozen=True)
class Header:
    """What a file of tensors says of itself before its data are read.

    Arguments:
        shapes: The shape of each tensor by its name.
        num_bytes: The size of all tensors in bytes.
        metadata: The strings that were written with them, without the checksum.
        checksum: The checksum, or None in a file of another program or of an earlier version.
    """

    shapes: dict[str, tuple[int, ...]]
    num_bytes: int
    metadata: dict[str, str]
    checksum: str | None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors, unless the file holds the same already.

    Arguments:
        path: The file; a reader sees the old one or the new one.
        tensors: Tensors by name, on any device.
        metadata: Strings that are stored with them.

    Raises:
        OSError: If the file cannot be written.
    """
    header, parts = _lay_out(tensors)
    header[METADATA] = dict(metadata)
    digest = hashlib.sha256(_canonical(header))
    for part in parts:
        digest.update(part)
    header[METADATA][CHECKSUM] = digest.hexdigest()
    text = _canonical(header)
    text += b" " * (-len(text) % LENGTH_BYTES)  # data begin at a multiple of eight bytes
    if not _holds(path, digest.hexdigest()):
        with atomic_path(path) as partial, partial.open("wb") as file:
            file.writelines((struct.pack("<Q", len(text)), text, *parts))


def read_header(path: Path) -> Header:
    """Reads the header of a file of tensors, without its data.

    Raises:
        DamagedFile: If it is none.
        FileNotFoundError: If there is no such file.
    """
    raw = _raw_header(path)
    metadata = raw.pop(METADATA, {})
    ends = [entry["data_offsets"][1] for entry in raw.values()]
    checksum = metadata.pop(CHECKSUM, None)
    return Header({name: tuple(entry["shape"]) for name, entry in raw.items()}, max(ends, default=0), metadata, checksum)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a file by name, after the check of its checksum where it has one.

    Raises:
        DamagedFile: If it is damaged.
        FileNotFoundError: If there is no such file.
    """
    check(path)
    try:
        with _named_in_utf8(path) as name:
            tensors: dict[str, Tensor] = load_file(name)
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise DamagedFile(describe_os_error(error)) from None
    return tensors


def check(path: Path) -> None:
    """Compares the content of a file with its checksum, where it has one.

    Raises:
        DamagedFile: If it is damaged.
        FileNotFoundError: If there is no such file.
    """
    header = _raw_header(path)
    checksum = header.get(METADATA, {}).pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(path, header):
        raise DamagedFile("its content does not fit its checksum")


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Returns the name of the first tensor that holds a value that is not finite, or None."""
    return next((name for name, value in tensors.items() if not bool(torch.isfinite(value).all())), None)


def _raw_header(path: Path) -> dict[str, Any]:
    """The header as JSON, after safetensors has checked lengths, types and offsets."""
    try:
        require_regular(path)
        with path.open("rb") as file, _named_in_utf8(path) as name, safetensors.safe_open(name, "pt"):
            length = _header_length(file.read(LENGTH_BYTES))
            header: dict[str, Any] = json.loads(file.read(length))
    except FileNotFoundError:
        raise
    except (safetensors.SafetensorError, OSError, RuntimeError, ValueError, RecursionError) as error:
        raise DamagedFile(describe_os_error(error)) from None
    return header


@contextmanager
def _named_in_utf8(path: Path) -> Iterator[str]:
    """Yields a name of the file in UTF-8, since the library takes no other: its path, or that of an open descriptor."""
    if valid_unicode(str(path)) == str(path):
        yield str(path)
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


def _lay_out(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], list[memoryview]]:
    """The header of tensors, and the bytes of each: wide types first, so that every tensor is aligned.

    The library's own writer copies all data twice, and ends the process where memory is short.
    """
    header: dict[str, Any] = {}
    parts: list[memoryview] = []
    start = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
        stop = start + parts[-1].nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    return header, parts


def _holds(path: Path, checksum: str) -> bool:
    """Whether a file holds the content of a checksum already."""
    try:
        check(path)
        return read_header(path).checksum == checksum
    except (DamagedFile, FileNotFoundError):
        return False


def _checksum(path: Path, header: dict[str, Any]) -> str:
    digest = hashlib.sha256(_canonical(header))
    with path.open("rb") as file:
        file.seek(LENGTH_BYTES + _header_length(file.read(LENGTH_BYTES)))
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _header_length(content: bytes) -> int:
    length: int = struct.unpack("<Q", content[:LENGTH_BYTES])[0]
    return length


def _canonical(header: dict[str, Any]) -> bytes:
    """A header as bytes that do not depend on the order in which it was made."""
    ordered = {name: dict(sorted(entry.items())) for name, entry in sorted(header.items())}
    return json.dumps(ordered, separators=(",", ":")).encode()
