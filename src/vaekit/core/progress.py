"""Progress on the error stream: lines, and bars for work that takes longer than a second.

Bars are shown on a terminal only, and removed at the end. Of several processes only the first shows anything.
"""

import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track as rich_track

from vaekit.core.launcher import launched_rank
from vaekit.core.safe_text import MAX_NAME, encodable, printable

T = TypeVar("T")
_RECORDERS: list[list[str]] = []
OUTPUT = "the output"
"""The name of the output in an error of the system, which names a file else."""


@contextmanager
def output_errors() -> Iterator[None]:
    """Names the output in an error of writing to it, as where its disk is full; a terminal that is gone is a closed output.

    Raises:
        OSError: If the output cannot be written; BrokenPipeError if it was closed.
    """
    try:
        yield
    except OSError as error:
        raise OSError(errno.EPIPE if error.errno == errno.EIO else error.errno, error.strerror, OUTPUT) from None


class OutputConsole(Console):
    """A console that raises BrokenPipeError when its pipe or terminal was closed; rich's own ends the process silently."""

    def on_broken_pipe(self) -> None:
        """Raises the error that rich has caught."""
        raise BrokenPipeError(errno.EPIPE, "the output was closed")

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints as rich does."""
        with output_errors():
            super().print(*objects, **options)


def track(items: Iterable[T], description: str, total: int | None = None, done: int = 0) -> Iterator[T]:
    """Yields the items and shows a bar.

    Arguments:
        items: The items.
        description: The work, in a few words.
        total: The number of items, if they have no length.
        done: The number of items that were finished before.
    """
    console = Console(stderr=True)
    yield from rich_track(
        items,
        _plain(description),
        total,
        completed=done,
        console=console,
        transient=True,
        disable=not console.is_terminal or launched_rank() > 0,
        update_period=0.1,
    )


def working(description: str) -> AbstractContextManager[object]:
    """Shows a spinner while the context lasts, for work whose progress is unknown."""
    console = Console(stderr=True)
    spinner = "dots" if console.encoding.startswith("utf") else "line"
    is_shown = console.is_terminal and launched_rank() == 0
    return console.status(_plain(description), spinner=spinner) if is_shown else nullcontext()


@contextmanager
def recorded_lines() -> Iterator[list[str]]:
    """Yields a list to which the lines are added that :func:`notify` prints while the context lasts."""
    lines: list[str] = []
    _RECORDERS.append(lines)
    try:
        yield lines
    finally:
        _RECORDERS.remove(lines)


def notify(line: str) -> None:
    """Prints a line for the user on the error stream."""
    for lines in _RECORDERS:
        lines.append(line)
    if launched_rank() == 0:
        print(encodable(printable(line), sys.stderr.encoding or "utf-8"), file=sys.stderr)


def print_line(line: str, console: Console) -> None:
    """Prints a line as it is: names in it are no markup, emoji codes or numbers to color, and have no other effect."""
    console.print(encodable(printable(line), console.encoding), highlight=False, markup=False, emoji=False, soft_wrap=True)


def _plain(description: str) -> str:
    """A description that holds no markup."""
    return escape(printable(description, MAX_NAME))
