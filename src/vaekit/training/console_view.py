"""Training progress on the console: a live bar on a terminal, one plain line per epoch elsewhere."""

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from vaekit.training.callbacks import Callback

if TYPE_CHECKING:
    from vaekit.training.trainer import Trainer

REFRESH_SECONDS = 0.2
PLAIN_LINES = 20
"""About how many lines of training a log gets."""


def progress_view(console: Console) -> Callback:
    """Returns the live view on a terminal, plain lines elsewhere."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView(Callback):
    """One line per epoch, or per several epochs where there are many."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_epoch(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Prints the epoch's line."""
        epochs = trainer.config.epochs
        if record["epoch"] % max(1, epochs // PLAIN_LINES) == 0 or record["epoch"] in (1, epochs):
            self.console.print(epoch_line(record, epochs), highlight=False, soft_wrap=True)


class LiveView(Callback):
    """A bar with the ELBO and its two terms, and a line for each finished epoch."""

    def __init__(self, console: Console) -> None:
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
        self.last = (time.monotonic(), 0)

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Shows the bar."""
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
        values = {key: float(value) for key, value in logs.items()}
        speed = f"{(progress.images_seen - seen) / (now - before):,.0f} images/s" if seen else ""
        self.bar.update(
            self.task,
            completed=progress.step,
            description=f"epoch {-(-progress.step // len(trainer.batches))}/{trainer.config.epochs}",
            terms=f"{_terms(values)}  {_weights(values, trainer.lr)}  {speed}",
        )

    def on_epoch(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Prints the epoch's line above the bar."""
        self.bar.console.print(epoch_line(record, trainer.config.epochs), highlight=False)

    def on_train_end(self, trainer: "Trainer") -> None:
        """Removes the bar."""
        self.bar.stop()


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """Returns the line of an epoch: validation and training ELBO, KL weight, learning rate and speed."""
    width = len(str(epochs))
    train = record["train"]
    value = f"elbo {train['elbo']:.2f}" if "elbo" in train else f"loss {train['loss']:.2f}"
    return (
        f"epoch {record['epoch']:>{width}}/{epochs}  "
        f"valid {_terms(record['valid'])}{'*' if record['best'] else ' '} "
        f"train {value}  {_weights(train, record['lr'])}  "
        f"{record['images_per_second']:,.0f} images/s"
    )


def _terms(values: dict[str, float]) -> str:
    if "elbo" not in values:
        return f"loss {values['loss']:.2f}"
    return f"elbo {values['elbo']:.2f} = -({values['distortion']:.2f} + {values['rate']:.2f})"


def _weights(values: dict[str, float], lr: float) -> str:
    beta = f"beta {values['beta']:.3g}  " if "beta" in values else ""
    return f"{beta}lr {lr:.1e}"
