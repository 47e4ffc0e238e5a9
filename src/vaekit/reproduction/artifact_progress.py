"""What one sees while a piece of a reproduction is trained: a bar on a terminal, a line for each measurement elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vaekit.training import View

REFRESH_SECONDS = 0.5


class PieceView(View):
    """How far a piece's training has come.

    Arguments:
        console: Where to tell.
        name: The piece.
        num_samples: How many training images it sees in all.
    """

    def __init__(self, console: Console, name: str, num_samples: int) -> None:
        self.console = console
        self.name = name
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} images seen"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(name, total=num_samples)
        self.last = 0.0

    def begin(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """Shows the bar."""
        self.bar.start()

    def step(self, step: int, images_seen: int, logs: dict[str, Any], lr: float) -> None:
        """Moves the bar, twice a second."""
        if time.monotonic() - self.last > REFRESH_SECONDS:
            self.last = time.monotonic()
            self.bar.update(self.task, completed=images_seen)

    def measured(self, samples: float, what: str, value: float) -> None:
        """Prints what was measured, in nats, after so many images."""
        self.bar.console.print(f"{self.name}: {samples:,.0f} images seen, {what} {value:.2f}", highlight=False)

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Says nothing: an epoch of a small set is over in a moment."""

    def end(self) -> None:
        """Takes the bar away."""
        self.bar.stop()
