"""The runs of a folder: what each is, how far it is, how good and how large; and the removal of checkpoints.

Only text files are read, so that listing a hundred runs takes a second. A run is finished if its epochs are done, or the
validation ELBO has not risen for ``patience`` epochs, and its final metrics are those of its last epoch.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from vaekit.core.errors import RunError, VaekitError
from vaekit.core.files import describe_os_error, os_error_cure, user_path
from vaekit.models.folder_format import WEIGHTS
from vaekit.runs.lock import LOCK, locked
from vaekit.runs.replacement import NEW, REPLACED, RESTORED
from vaekit.runs.run_records import CHECKPOINTS, ENVIRONMENT, RECIPE, RunRecords
from vaekit.training.training_config import TrainingConfig

State = Literal["finished", "stopped", "running", "damaged"]
MAX_RUNS = 2_000
"""The largest number of folders that are looked at in each folder."""


@dataclass(frozen=True)
class RunSummary:
    """What a run folder holds.

    Arguments:
        folder: The run folder.
        state: ``finished``; ``stopped``, if training can go on; ``running``, if a process writes it; or ``damaged``.
        conditional: Whether the model is class-conditional, so that its ELBO is that of log p(x | class).
        data: The sources of the images.
        epochs: The number of epochs that are done.
        max_epochs: The number of epochs of the recipe.
        elbo: The final ELBO on the test split in nats per image and its standard error; None before the end.
        valid_elbo: The best validation ELBO so far; None before the first epoch.
        started: The time of the beginning, as ISO 8601; empty if it is not known.
        size: The size of all files in bytes.
        checkpoint_size: The size of the checkpoints in bytes.
        problem: Why it is damaged; else empty.
    """

    folder: Path
    state: State
    conditional: bool = False
    data: str = ""
    epochs: int = 0
    max_epochs: int = 0
    elbo: tuple[float, float] | None = None
    valid_elbo: float | None = None
    started: str = ""
    size: int = 0
    checkpoint_size: int = 0
    problem: str = ""


def find_runs(folders: Sequence[str | Path]) -> list[Path]:
    """Returns the run folders among folders, and up to two levels below them, in alphabetical order.

    Raises:
        RunError: If a folder does not exist.
    """
    found: dict[Path, None] = {}
    for given in folders:
        folder = user_path(given)
        if not folder.is_dir():
            raise RunError(f"{folder}: no such folder, so there are no runs in it")
        found |= dict.fromkeys(_runs_below(folder, 2))
    return list(found)


def summarize(folder: Path) -> RunSummary:
    """Returns what a run folder holds; one that is damaged says why."""
    size, checkpoint_size = _size_of(folder), _size_of(folder / CHECKPOINTS)
    try:
        records = RunRecords(folder)
        recipe, history = records.outline, records.history
        started = str(records.environment.get("started", ""))
        elbos = [float(record["valid"]["elbo"]) for record in history]
        over = is_over(records, recipe.training)
        elbo = records.metrics.get("elbo", {}) if over else {}
    except VaekitError as error:
        state: State = "running" if _is_written(folder) else "damaged"
        return RunSummary(folder, state, size=size, checkpoint_size=checkpoint_size, problem=str(error))
    return RunSummary(
        folder,
        "running" if _is_written(folder) else "finished" if over else "stopped",
        recipe.model.conditional,
        " + ".join(recipe.data.sources),
        len(history),
        recipe.training.epochs,
        _value_and_error(elbo),
        max(elbos, default=None) if elbo or not over else None,
        started,
        size,
        checkpoint_size,
    )


def is_over(records: RunRecords, training: TrainingConfig) -> bool:
    """Returns whether nothing is left to train or to evaluate, with these settings of training.

    Raises:
        VaekitError: If a file is damaged.
    """
    folder, history = records.folder, records.history
    if not history or any((folder / name).exists() for name in (NEW, RESTORED, REPLACED)):
        return False
    if not (folder / WEIGHTS).is_file() or not records.has_metrics:
        return False
    best = max((record["epoch"] for record in history if record.get("best")), default=0)
    last = history[-1]["epoch"]
    stalled = training.patience is not None and last - best >= training.patience
    return records.metrics.get("epochs") == last and (last >= training.epochs or stalled)


def remove_checkpoints(folder: Path) -> int:
    """Removes the checkpoints of a finished run, while its lock is held; returns the number of bytes.

    Raises:
        RunError: If the run is not finished, its checkpoints are a link, another process writes it, or a file cannot be
            removed.
    """
    with locked(folder):
        records = RunRecords(folder)
        if not is_over(records, records.outline.training):
            raise RunError(f"{folder}: not finished, so its checkpoints stay; vae train --resume {folder} goes on")
        checkpoints = folder / CHECKPOINTS
        if checkpoints.is_symlink():
            raise RunError(f"{checkpoints}: a link, and only what is in the run folder is removed; remove it yourself")
        freed = _size_of(checkpoints)
        try:
            shutil.rmtree(checkpoints)
        except OSError as error:
            reason = f"cannot be removed ({describe_os_error(error)})"
            raise RunError(f"{error.filename or checkpoints}: {reason}; {os_error_cure(error)}") from None
    return freed


def _runs_below(folder: Path, levels: int) -> Iterator[Path]:
    if (folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file():
        yield folder
    elif levels:
        with suppress(OSError):  # a folder that may not be looked into
            for child in sorted(islice(folder.iterdir(), MAX_RUNS)):
                if child.is_dir() and not child.name.startswith("."):
                    yield from _runs_below(child, levels - 1)


def _size_of(folder: Path) -> int:
    """The size of the files below a folder in bytes; links are not followed."""
    if folder.is_symlink() or not folder.is_dir():
        return 0
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it was removed meanwhile
            total += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
    return total


def _is_written(folder: Path) -> bool:
    """Whether a process holds the lock of a run folder."""
    if not (folder / LOCK).is_file():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # it cannot be written, so nobody writes it
        return False
    lock.release()
    return False


def _value_and_error(elbo: Any) -> tuple[float, float] | None:
    value, error = elbo.get("value"), elbo.get("standard_error")
    return (float(value), float(error or 0)) if isinstance(value, int | float) else None
