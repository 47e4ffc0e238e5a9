"""How many images are read, written or decoded at a time; this module imports nothing."""

BLOCK_BYTES = 2**24
"""The approximate number of bytes, 16 MB, that are read, written or decoded at a time."""
MAX_BLOCK_ROWS = 256
"""The largest number of rows in a block."""


def rows_per_block(row_bytes: int) -> int:
    """Returns the number of rows of this size to process at a time: at most 256, and at least one."""
    return max(1, min(MAX_BLOCK_ROWS, BLOCK_BYTES // max(row_bytes, 1)))
