"""All pairs of two sets of points, a chunk at a time, so that memory is bounded."""

from collections.abc import Iterator

from torch import Tensor

MAX_PAIRS = 2**22
"""The number of pairs in memory at once: 32 MB of float64."""


def pair_chunks(points: Tensor, others: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields chunks of the points with a buffer for one number per pair of a point in the chunk and another point.

    The buffer is the same memory each time, because allocating and freeing large tensors fragments the memory.

    Arguments:
        points: Points of shape (M, F).
        others: Points of shape (N, F).

    Yields:
        Points of shape (R, F) and an uninitialized buffer of shape (R, N).
    """
    chunks = points.split(max(1, MAX_PAIRS // len(others)))
    buffer = points.new_empty(len(chunks[0]), len(others))
    for chunk in chunks:
        yield chunk, buffer[: len(chunk)]
