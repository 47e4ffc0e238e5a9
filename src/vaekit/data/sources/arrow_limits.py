"""Limits of an Arrow file, the format in which ``datasets`` keeps tables, before it is read.

Arrow trusts what a file states: offsets that point elsewhere are read as they are, and compressed parts expand without a
limit. So each part is checked, and compressed parts, which ``datasets`` never writes, are refused before they expand.
"""

import os
import struct
from pathlib import Path
from typing import Any

from vaekit.data.sources.archive_limits import check_expansion

MAGIC = b"ARROW1"
"""The first bytes of a file with a footer; those of ``datasets`` are streams without one."""
MAX_ROWS_PER_BYTE = 1
"""The largest number of rows for each byte of a file."""
DICTIONARY_BATCH = 2
"""The number of the format for a message that holds a dictionary."""
HEADER_TYPE, HEADER, DATA, COMPRESSION = 1, 2, 1, 3
"""The positions of fields: of a message, of a dictionary batch and of a record batch."""


def check_arrow(path: Path) -> None:
    """Checks that an Arrow file of ``datasets`` can be read.

    Raises:
        ValueError: If it is compressed, or states more rows than a file of its size holds.
        Exception: One of pyarrow's, if it is damaged.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # heavy; needed only if the images are not in the cache

    file_bytes = os.path.getsize(path)
    with pa.memory_map(str(path)) as source:
        has_footer = source.read(len(MAGIC)) == MAGIC
        source.seek(8 if has_footer else 0)
        _refuse_compression(source)
        source.seek(0)
        with pa.ipc.open_file(source) if has_footer else pa.ipc.open_stream(source) as reader:
            batches = (reader.get_batch(n) for n in range(reader.num_record_batches)) if has_footer else reader
            num_rows = num_bytes = 0
            for batch in batches:
                batch.validate(full=True)
                num_rows += batch.num_rows
                num_bytes += batch.nbytes
                if num_rows > MAX_ROWS_PER_BYTE * file_bytes:
                    raise ValueError(f"it states {num_rows:,} rows in {file_bytes:,} bytes")
                check_expansion(num_bytes, file_bytes)


def _refuse_compression(source: Any) -> None:
    """Raises ValueError if a part of a file is compressed."""
    from pyarrow import ipc

    while True:
        try:
            message = ipc.read_message(source)
        except EOFError:
            return
        if message is None:
            return
        if message.type in ("record batch", "dictionary") and _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("it is compressed, which datasets does not do; save it again")


def _is_compressed(metadata: bytes) -> bool:
    """Whether the metadata of a message, a FlatBuffer, states a compression."""
    try:
        root = struct.unpack_from("<I", metadata)[0]
        header = _table(metadata, root, HEADER)
        kind = metadata[_field(metadata, root, HEADER_TYPE)]
        if kind == DICTIONARY_BATCH:
            header = _table(metadata, header, DATA)
        return bool(_field(metadata, header, COMPRESSION))
    except (struct.error, IndexError):
        raise ValueError("it is damaged") from None


def _field(data: bytes, table: int, position: int) -> int:
    """The offset of a field of a table; 0 if the table does not have it."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise IndexError
    size = struct.unpack_from("<H", data, vtable)[0]
    entry = 4 + 2 * position
    if entry + 2 > size:
        return 0
    offset = struct.unpack_from("<H", data, vtable + entry)[0]
    return table + offset if offset else 0


def _table(data: bytes, table: int, position: int) -> int:
    """The offset of a table that a field refers to."""
    field = _field(data, table, position)
    if not field:
        raise IndexError
    return int(field + struct.unpack_from("<I", data, field)[0])
