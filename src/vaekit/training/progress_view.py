"""What one sees while a model learns: a live bar on a terminal, one plain line an epoch elsewhere."""

import time
from abc import ABC, abstractmethod
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

REFRESH_SECONDS = 0.2
PLAIN_LINES = 20
"""About how many lines of training a log gets."""


class View(ABC):
    """Something that is told how training goes."""

    @abstractmethod
    def begin(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """Training begins, or goes on, at a step of so many."""

    @abstractmethod
    def step(self, step: int, images_seen: int, logs: dict[str, Any], lr: float) -> None:
        """A step was taken; ``logs`` holds its scalar tensors."""

    @abstractmethod
    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """An epoch ended; ``record`` is its line of ``metrics.jsonl``."""

    @abstractmethod
    def end(self) -> None:
        """Training ended, one way or another."""


def view_for(console: Console) -> View:
    """The live view on a terminal, plain lines elsewhere."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView(View):
    """One line an epoch, or every few epochs where there are many."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def begin(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """Says nothing."""

    def step(self, step: int, images_seen: int, logs: dict[str, Any], lr: float) -> None:
        """Says nothing."""

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Prints the epoch's line, if it is its turn."""
        if record["epoch"] % max(1, epochs // PLAIN_LINES) == 0 or record["epoch"] in (1, epochs):
            self.console.print(epoch_line(record, epochs), highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Says nothing."""


class LiveView(View):
    """A bar with the ELBO and its two terms, and a line for each epoch that is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("", terms="")
        self.num_steps = 0
        self.steps_per_epoch = 1
        self.last = (time.monotonic(), 0)

    def begin(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """Shows the bar."""
        self.num_steps, self.steps_per_epoch = num_steps, steps_per_epoch
        self.bar.update(self.task, total=num_steps, completed=step)
        self.bar.start()

    def step(self, step: int, images_seen: int, logs: dict[str, Any], lr: float) -> None:
        """Moves the bar, a few times a second: reading a number makes an accelerator wait."""
        now, (before, seen) = time.monotonic(), self.last
        if now - before < REFRESH_SECONDS:
            return
        self.last = (now, images_seen)
        values = {key: float(value) for key, value in logs.items()}
        speed = f"{(images_seen - seen) / (now - before):,.0f} images/s" if seen else ""
        self.bar.update(
            self.task,
            completed=step,
            description=f"epoch {-(-step // self.steps_per_epoch)}/{self.num_steps // self.steps_per_epoch}",
            terms=f"{_terms(values)}  {_weights(values, lr)}  {speed}",
        )

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """Prints the epoch's line above the bar."""
        self.bar.console.print(epoch_line(record, epochs), highlight=False)

    def end(self) -> None:
        """Takes the bar away."""
        self.bar.stop()


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """The line of an epoch: validation and training ELBO with both terms, weights, and speed."""
    width = len(str(epochs))
    train = record["train"]
    return (
        f"epoch {record['epoch']:>{width}}/{epochs}  "
        f"valid {_terms(record['valid'])}{'*' if record['best'] else ' '} "
        f"train elbo {train['elbo']:.2f}  {_weights(train, record['lr'])}  "
        f"{record['images_per_second']:,.0f} images/s"
    )


def _terms(values: dict[str, float]) -> str:
    return f"elbo {values['elbo']:.2f} = -({values['distortion']:.2f} + {values['rate']:.2f})"


def _weights(values: dict[str, float], lr: float) -> str:
    beta = f"beta {values['beta']:.3g}  " if "beta" in values else ""
    return f"{beta}lr {lr:.1e}"
