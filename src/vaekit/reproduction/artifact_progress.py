"""Progress of a training in a reproduction: a bar on a terminal, otherwise a line for each measurement."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vaekit.training import Callback, Trainer

REFRESH_SECONDS = 0.5


class ArtifactView(Callback):
    """Shows how many of the training images were used.

    Arguments:
        console: The console to print to.
        name: The name of the artifact.
        num_images_seen: The number of training images that the whole training uses, counting repeats.
    """

    def __init__(self, console: Console, name: str, num_images_seen: int) -> None:
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

    def on_train_begin(self, trainer: Trainer) -> None:
        """Shows the bar."""
        self.bar.start()

    def on_step(self, trainer: Trainer, logs: dict[str, Tensor]) -> None:
        """Updates the bar, twice per second."""
        if time.monotonic() - self.updated > REFRESH_SECONDS:
            self.updated = time.monotonic()
            self.bar.update(self.task, completed=trainer.progress.images_seen)

    def show_measurement(self, images_seen: int, numbers: Mapping[str, Any]) -> None:
        """Prints that the model was measured, and the ELBO in nats per image if it is among the numbers."""
        value = f"ELBO {numbers['elbo']:.2f}" if "elbo" in numbers else "measured"
        self.bar.console.print(f"{self.name}: {images_seen:,} images seen, {value}", highlight=False)

    def on_train_end(self, trainer: Trainer) -> None:
        """Removes the bar."""
        self.bar.stop()
