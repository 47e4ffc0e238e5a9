"""Progress of a training in a reproduction: a bar on a terminal, otherwise a line for each measurement."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vaekit.training import View

REFRESH_SECONDS = 0.5


class ArtifactView(View):
    """Shows how many of the training images were used.

    Arguments:
        console: The console to print to.
        name: The name of the artifact.
        num_images_seen: The number of training images that the whole training uses, counting repeats.
    """

    def __init__(self, console: Console, name: str, num_images_seen: int) -> None:
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
        self.task = self.bar.add_task(name, total=num_images_seen)
        self.updated = 0.0

    def begin(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """Shows the bar."""
        self.bar.start()

    def step(self, step: int, images_seen: int, logs: dict[str, Any], lr: float) -> None:
        """Updates the bar, twice per second."""
        if time.monotonic() - self.updated > REFRESH_SECONDS:
            self.updated = time.monotonic()
            self.bar.update(self.task, completed=images_seen)

    def show_measurement(self, images_seen: float, name: str, value: float) -> None:
        """Prints a measured number, in nats per image."""
        self.bar.console.print(f"{self.name}: {images_seen:,.0f} images seen, {name} {value:.2f}", highlight=False)

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Does nothing, because an epoch of a small data set takes a fraction of a second."""

    def end(self) -> None:
        """Removes the bar."""
        self.bar.stop()
