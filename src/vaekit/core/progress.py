"""What is said while work goes on, all of it on the error stream: lines, and bars for what takes longer than a second.

Bars are shown on a terminal only, and gone when done.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None, done: int = 0) -> Iterator[T]:
    """Yields the items behind a bar.

    Arguments:
        items: What to go through.
        description: What is done, in a word or two.
        total: How many items there are, where they do not know it themselves.
        done: How many of the total were done before.
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
    """Shows that something is going on for as long as the context lasts, where nobody can say how far it has come."""
    console = Console(stderr=True)
    return console.status(description) if console.is_terminal else nullcontext()


def notify(line: str) -> None:
    """Says something that the user should know, while work goes on."""
    print(line, file=sys.stderr)
