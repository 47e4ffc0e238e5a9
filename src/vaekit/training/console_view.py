"""Training progress on the console: a line per epoch (:mod:`vaekit.training.epoch_table`), on a terminal above a bar."""

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from vaekit.core.progress import clock, notify
from vaekit.training.callbacks import Callback
from vaekit.training.epoch_table import EpochTable

if TYPE_CHECKING:
    from vaekit.training.trainer import Trainer

REFRESH_SECONDS = 0.2
LOG_SECONDS = 30.0
"""The time between two lines within an epoch, where there is no terminal."""
PLAIN_LINES = 20
"""About how many lines of training a log gets."""


def progress_view(console: Console) -> Callback:
    """Returns the live view on a terminal, plain lines elsewhere."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class TimeLeft:
    """Estimates the time until the last epoch from the steps that this process has made, validation included."""

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Starts the clock."""
        self.begun, self.first_step = time.monotonic(), trainer.progress.step

    def text(self, trainer: "Trainer") -> str:
        """Returns the time left, as ``2:05 left``; at most, if the run may stop early."""
        num_done = trainer.progress.step - self.first_step
        num_left = trainer.config.epochs * len(trainer.batches) - trainer.progress.step
        seconds = (time.monotonic() - self.begun) * num_left / max(num_done, 1)
        return f"{clock(seconds)} left"


class EpochLines(Callback):
    """The lines of epochs under their header."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.table: EpochTable | None = None
        self.time_left = TimeLeft()

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Starts the clock."""
        self.time_left.on_train_begin(trainer)

    def print_epoch(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Prints the line of an epoch, and before the first one the header."""
        if self.table is None:
            self.table = EpochTable(trainer.config.epochs, trainer.step.objective.keeps_last)
            for line in self.table.header(record):
                self._print(line, "dim")
        self._print(self.table.line(record), "bold" if self.table.is_marked(record) else "")

    def _print(self, line: str, style: str) -> None:
        self.console.print(line, style=style or None, highlight=False, markup=False, soft_wrap=True)


class PlainView(EpochLines):
    """One line per epoch, or per several epochs where there are many; within long epochs a line on the error stream."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.printed = 0
        self.due = 0.0

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Starts the clock."""
        super().on_train_begin(trainer)
        self.due = time.monotonic() + LOG_SECONDS

    def on_step(self, trainer: "Trainer", logs: dict[str, Tensor]) -> None:
        """Prints from time to time how far the run is."""
        if time.monotonic() >= self.due and not self.console.quiet:
            notify(f"{_epoch(trainer)}, step {trainer.progress.step:,}: {self.time_left.text(trainer)}")
            self.due = time.monotonic() + LOG_SECONDS

    def on_epoch(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Prints the epoch's line."""
        epochs = trainer.config.epochs
        if record["epoch"] % max(1, epochs // PLAIN_LINES) == 0 or record["epoch"] in (1, epochs):
            self.print_epoch(trainer, record)
            self.printed, self.due = record["epoch"], time.monotonic() + LOG_SECONDS

    def on_train_end(self, trainer: "Trainer") -> None:
        """Prints the last epoch, if training has stopped early at one that has no line."""
        if trainer.finished and trainer.records and self.printed not in (0, trainer.records[-1]["epoch"]):
            self.print_epoch(trainer, trainer.records[-1])


class LiveView(EpochLines):
    """A bar that begins with the time left, and a line for each finished epoch above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("", state="")
        self.last = (time.monotonic(), 0)

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Shows the bar."""
        super().on_train_begin(trainer)
        total = trainer.config.epochs * len(trainer.batches)
        self.bar.update(self.task, total=total, completed=trainer.progress.step)
        self.bar.start()

    def on_step(self, trainer: "Trainer", logs: dict[str, Tensor]) -> None:
        """Moves the bar, a few times a second: reading a value makes an accelerator wait."""
        progress = trainer.progress
        now, (before, seen) = time.monotonic(), self.last
        if now - before < REFRESH_SECONDS:
            return
        self.last = (now, progress.images_seen)
        key = "elbo" if "elbo" in logs else "loss"
        value = f"{'ELBO' if key == 'elbo' else key} {float(logs[key]):.1f}"
        speed = f"{(progress.images_seen - seen) / (now - before):,.0f} images/s" if seen else ""
        self.bar.update(
            self.task,
            completed=progress.step,
            description=self.time_left.text(trainer),
            state=f"{_epoch(trainer)}  {value}  {speed}",
        )

    def on_epoch(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Prints the epoch's line above the bar."""
        self.print_epoch(trainer, record)

    def on_train_end(self, trainer: "Trainer") -> None:
        """Removes the bar."""
        self.bar.stop()


def _epoch(trainer: "Trainer") -> str:
    return f"epoch {-(-trainer.progress.step // len(trainer.batches))}/{trainer.config.epochs}"
