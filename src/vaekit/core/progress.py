"""Progress on the error stream, for work that takes longer than a second.

A terminal shows bars after a second, which are removed at the end. A pipe or a file gets a line now and then, the first
after a few seconds, so that a log shows that a long command is alive. Of several processes only the first shows anything.
"""

import errno
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext, suppress
from threading import Event, Thread, Timer
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from vaekit.core.launcher import launched_rank
from vaekit.core.safe_text import MAX_NAME, encodable, printable

T = TypeVar("T")
_RECORDERS: list[list[str]] = []
OUTPUT = "the output"
"""The name of the output in an error of the system, which names a file else."""

FIRST_LINE_SECONDS, LINE_SECONDS = 4.0, 15.0
"""The time before the first line about long work where there is no terminal, and between two of them."""


SHOWN_SECONDS = 1.0
"""The time before a bar or a spinner is shown on a terminal: what is over sooner would only flash."""


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
    """Yields the items and shows a bar, or lines where there is no terminal.

    Arguments:
        items: The items.
        description: The work, in a few words.
        total: The number of items, if they have no length.
        done: The number of items that were finished before.
    """
    console = Console(stderr=True)
    total = len(items) if total is None and isinstance(items, Sized) else total
    if not console.is_terminal:
        yield from _track_by_lines(items, description, total, done)
        return
    bar = Progress(*Progress.get_default_columns(), console=console, transient=True, disable=launched_rank() > 0)
    task = bar.add_task(_plain(description), total=total, completed=done)
    with _shown_late(bar.start, bar.stop):
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def _shown_late(show: Callable[[], None], hide: Callable[[], None]) -> Iterator[None]:
    """Shows something while the context lasts, but not in its first second."""
    shown = Event()

    def show_now() -> None:
        shown.set()
        with suppress(OSError, ValueError):  # the error stream was closed
            show()

    timer = Timer(SHOWN_SECONDS, show_now)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown.is_set():
            hide()


def _track_by_lines(items: Iterable[T], description: str, total: int | None, done: int) -> Iterator[T]:
    """Yields the items, and prints from time to time how many are finished and how long the others will take."""
    begun, num, before = time.monotonic(), done, done

    def state() -> str:
        if total is None:
            return f"{num:,} so far"
        seconds = time.monotonic() - begun
        left = f", about {clock(seconds * (total - num) / (num - before))} left" if num > before else ""
        return f"{num:,} of {total:,}{left}"

    with _reporting(description, state):
        for item in items:
            yield item
            num += 1


@contextmanager
def working(description: str) -> Iterator[None]:
    """Shows a spinner while the context lasts, or lines where there is no terminal, for work whose progress is unknown."""
    console, begun = Console(stderr=True), time.monotonic()
    if not console.is_terminal:
        with _reporting(description, lambda: f"{clock(time.monotonic() - begun)} so far"):
            yield
        return
    spinner = "dots" if console.encoding.startswith("utf") else "line"
    status = console.status(_plain(description), spinner=spinner)
    with _shown_late(status.start, status.stop) if launched_rank() == 0 else nullcontext():
        yield


@contextmanager
def _reporting(description: str, state: Callable[[], str]) -> Iterator[None]:
    """Prints a line about the state of some work after a few seconds and then at intervals, by a thread."""
    ended = Event()

    def report() -> None:
        seconds = FIRST_LINE_SECONDS
        while not ended.wait(seconds):
            with suppress(OSError, ValueError):  # the error stream was closed
                notify(f"{description}: {state()}")
            seconds = LINE_SECONDS

    thread = Thread(target=report, name="vaekit-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1.0)  # longer only if nobody reads the error stream


def clock(seconds: float) -> str:
    """Returns a time as ``2:05``, or ``1:02:05`` from an hour up."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
    """Prints a line as it is: names in it are no markup, emoji codes or numbers to color, and have no other effect.

    A terminal gets several lines if it is too narrow, broken between words; a long path is left whole.
    """
    text = encodable(printable(line), console.encoding)
    for part in wrapped(text, console.width) if console.is_terminal else [text]:
        console.print(part, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_command(command: str, console: Console) -> None:
    """Prints a command that is to be copied: on a line of its own, indented, and never broken."""
    text = encodable(printable(f"  {command}"), console.encoding)
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def wrapped(text: str, width: int) -> list[str]:
    """Returns the lines of a text, broken between words; those after the first are indented, and long words stay whole."""
    lines = [""]
    for number, word in enumerate(text.split(" ")):
        joined = f"{lines[-1]} {word}" if number else word
        if cell_len(joined) <= width or not lines[-1].strip():
            lines[-1] = joined
        else:
            lines.append(f"  {word}")
    return lines


def _plain(description: str) -> str:
    """A description that holds no markup."""
    return escape(printable(description, MAX_NAME))
