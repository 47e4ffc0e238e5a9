"""Progress on the error stream: lines, and bars for work that takes longer than a second.

Bars are shown on a terminal only, and removed at the end.
"""

import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


class OutputConsole(Console):
    """A console that raises BrokenPipeError when the output was closed; rich's own ends the process silently."""

    def on_broken_pipe(self) -> None:
        """Raises the error that rich has caught."""
        raise BrokenPipeError(errno.EPIPE, "the output was closed")


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
        description,
        total,
        completed=done,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        update_period=0.1,
    )


def working(description: str) -> AbstractContextManager[object]:
    """Shows a spinner while the context lasts, for work whose progress is unknown."""
    console = Console(stderr=True)
    return console.status(description) if console.is_terminal else nullcontext()


def notify(line: str) -> None:
    """Prints a line for the user."""
    print(line, file=sys.stderr)
