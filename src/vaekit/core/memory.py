"""A bound on the memory that building a model may take, checked before the memory is used.

A configuration of a few bytes can declare layers of any size. :func:`limit_allocations` counts the sizes of new tensors and
stops before one is made that exceeds the limit.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil
from torch.utils._python_dispatch import TorchDispatchMode

from vaekit.core.errors import ModelError

FLOAT_BYTES = 4


def memory_bytes() -> int:
    """Returns the memory of this machine, in bytes."""
    return int(psutil.virtual_memory().total)


def require_memory(num_bytes: int, what: str) -> None:
    """Checks that something fits into half of the memory of this machine.

    Arguments:
        num_bytes: Its size in bytes.
        what: Its name, for the message.

    Raises:
        ModelError: If it does not.
    """
    limit = memory_bytes() // 2
    if num_bytes > limit:
        raise ModelError(f"{what}: needs {num_bytes / 1e9:,.1f} GB, over half of this machine's memory; ask for fewer")


@contextmanager
def limit_allocations(max_bytes: float, place: str, reason: str) -> Iterator[None]:
    """Lets tensors of at most ``max_bytes`` in all be made in the block.

    Arguments:
        max_bytes: The limit in bytes.
        place: Where the size is declared, for the message.
        reason: What the limit is, for the message.

    Raises:
        ModelError: If it is exceeded.
    """
    with _Allocations(max_bytes):
        try:
            yield
        except _TooLargeError:
            raise ModelError(f"{place}: the model that it describes is larger than {reason}") from None


class _TooLargeError(Exception):
    pass


class _Allocations(TorchDispatchMode):
    """Counts the bytes of new tensors, made by functions such as ``torch.empty`` whose first argument is a size."""

    def __init__(self, limit: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit = limit
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch would import its compiler, which takes a second, to exclude this class from it."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        size = args[0] if args else None
        if isinstance(size, list | tuple) and all(isinstance(side, int) for side in size):
            self.total += FLOAT_BYTES * math.prod(size)
            if self.total > self.limit:
                raise _TooLargeError
        return func(*args, **(kwargs or {}))
