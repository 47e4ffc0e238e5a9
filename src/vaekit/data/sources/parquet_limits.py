"""Limits of what a parquet file may expand to, from what it states and from its dictionaries, before it is read."""

from pathlib import Path
from typing import Any

from vaekit.data.sources.archive_limits import check_expansion, check_space, expansion_limit

MAX_ROWS_PER_BYTE = 1
"""The largest number of rows for each byte of a file; an encoded image has more than 60 bytes."""
MIN_IMAGE_BYTES = 60
"""Less than any encoded image takes: a column that has fewer bytes for each value beside its dictionary repeats values."""


def check_parquet(path: Path, scratch: Path) -> None:
    """Checks that a parquet file can be written out in a folder.

    Raises:
        ValueError: If it states or repeats more values than the images of a file of its size.
        Exception: One of pyarrow's, if it is damaged.
    """
    from pyarrow import parquet  # type: ignore[import-untyped]  # heavy; needed only if the images are not in the cache

    file_bytes, metadata = path.stat().st_size, parquet.read_metadata(path)
    if metadata.num_rows > MAX_ROWS_PER_BYTE * file_bytes:
        raise ValueError(f"it states {metadata.num_rows:,} rows in {file_bytes:,} bytes")
    num_bytes = 0
    for group in range(metadata.num_row_groups):
        facts = metadata.row_group(group)
        for column in (facts.column(index) for index in range(facts.num_columns)):
            stated = column.total_uncompressed_size
            if _may_repeat(column, expansion_limit(file_bytes)):
                stated = max(stated, _repeated_bytes(path, group, column.path_in_schema, expansion_limit(file_bytes)))
            num_bytes += stated
    check_space(num_bytes, scratch)
    check_expansion(num_bytes, file_bytes)


def _may_repeat(column: Any, limit: int) -> bool:
    """Whether a column could exceed the limit by repeating a few long values."""
    if column.physical_type != "BYTE_ARRAY" or not column.has_dictionary_page:
        return False
    beside = column.total_compressed_size - (column.data_page_offset - column.dictionary_page_offset)
    may_exceed = column.total_uncompressed_size * column.num_values > limit
    return bool(beside < MIN_IMAGE_BYTES * column.num_values and may_exceed)


def _repeated_bytes(path: Path, group: int, column: str, limit: int) -> int:
    """The size of a column with all repetitions, as far as it is within the limit, without expanding its dictionary."""
    import pyarrow.compute as compute  # type: ignore[import-untyped]
    from pyarrow import parquet, types

    total = 0
    with parquet.ParquetFile(path, read_dictionary=[column]) as file:
        for batch in file.iter_batches(row_groups=[group], columns=[column]):
            array = batch.column(0)
            while types.is_nested(array.type):
                array = array.field(0) if types.is_struct(array.type) else array.flatten()
            if not types.is_dictionary(array.type):
                return total
            lengths = compute.take(compute.binary_length(array.dictionary), array.indices)
            total += compute.sum(lengths).as_py() or 0
            if total > limit:
                break
    return total
