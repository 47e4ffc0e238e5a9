"""``vae runs`` and ``vae clean``: the runs of a folder, and the removal of checkpoints that nobody needs."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli.options import is_terminal, say
from vaekit.core.rounding import with_error
from vaekit.core.safe_text import printable

if TYPE_CHECKING:
    from vaekit.runs.run_list import RunSummary

RUNS = "runs"
"""The folder that is looked into by default."""
MIN_NAME, MAX_DATA = 16, 10
"""The least number of characters that a path keeps, and the largest of the name of data."""
Folders = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FOLDER]...", help="Run folders, or folders that hold some; runs by default.", show_default=False
    ),
]


MARKS = {"v": "the best of the validation images so far", "c": "a bound of log p(x | class), not comparable with the others"}
"""What marks after an ELBO mean."""


def runs(folders: Folders = None) -> None:
    """List runs: the images, the epochs, the state, the ELBO, the size and the date of each, newest first.

    The ELBO is that of the test split; before the end of a run it is the best of the validation images, marked by v. That of
    a class-conditional run, marked by c, bounds log p(x | class) and is not comparable with the others. A run whose prior
    can only be sampled has none.

    [bold]Examples[/bold]

      vae runs

      vae runs runs/ old-runs/
    """
    found = _summaries(folders)
    if not found:
        say(f"no runs in {' '.join(folders or [RUNS])}; vae train begins one")
        return
    found.sort(key=lambda run: run.started, reverse=True)
    lines = [("run", "data", "epochs", "state", "ELBO", "size", "started")] + [_cells(run) for run in found]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rest = sum(widths[1:]) + 2 * (len(widths) - 1)
    widths[0] = min(widths[0], max(MIN_NAME, shutil.get_terminal_size().columns - rest))
    for path, *cells in lines:
        name = path if len(path) <= widths[0] else f"…{path[1 - widths[0] :]}"
        say("  ".join(map(_aligned, (name, *cells), widths, range(len(widths)))).rstrip())
    elbos = [cells[4] for cells in lines[1:]]
    for mark, meaning in MARKS.items():
        if any(mark in elbo.split() for elbo in elbos):
            say(f"{mark}: {meaning}")
    for run in found:
        if run.problem:
            say(f"{run.folder}: {run.state}: {run.problem.removeprefix(f'{run.folder}: ')}")


def clean(
    folders: Folders = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
) -> None:
    """Remove the checkpoints of finished runs, which only more epochs would need; everything else stays.

    Runs that are not finished are never touched. A run without checkpoints can still be plotted, evaluated and fine-tuned
    (vae train --from).

    [bold]Examples[/bold]

      vae clean

      vae clean runs/mnist-conv --yes
    """
    from vaekit.runs.run_list import remove_checkpoints

    found = _summaries(folders)
    finished = [run for run in found if run.state == "finished" and run.checkpoint_size]
    for run in found:
        if run.state != "finished" and run.checkpoint_size:
            say(f"{run.folder}: {run.state}, so its checkpoints stay")
    if not finished:
        say("no finished run has checkpoints")
        return
    for run in finished:
        say(f"{run.folder}: {_size(run.checkpoint_size)} of {_size(run.size)}")
    total = f"{_size(sum(run.checkpoint_size for run in finished))} in {len(finished)} run{'s' * (len(finished) != 1)}"
    if not yes and not (sys.stdin.isatty() and is_terminal()):
        say(f"checkpoints of {total}; nothing was removed, --yes removes them")
    elif yes or typer.confirm(f"Remove the checkpoints of {total}?"):
        freed = sum(remove_checkpoints(run.folder) for run in finished)
        say(f"freed {_size(freed)}")


def _summaries(folders: list[str] | None) -> "list[RunSummary]":
    """The runs in folders; none where the folder that is looked into by default does not exist."""
    from vaekit.runs.run_list import find_runs, summarize

    if folders is None and not Path(RUNS).is_dir():
        return []
    return [summarize(folder) for folder in find_runs(folders or [RUNS])]


def _cells(run: "RunSummary") -> tuple[str, ...]:
    """The cells of a run."""
    elbo = "" if run.valid_elbo is None else f"{run.valid_elbo:,.5g} v"
    if run.elbo is not None:
        elbo = with_error(*run.elbo, 2).split(" ± ")[0]
    elbo = "sampler" if run.state == "finished" and not elbo else elbo
    elbo += " c" if run.conditional and elbo not in ("", "sampler") else ""
    epochs = f"{run.epochs}/{run.max_epochs}" if run.max_epochs else ""
    data = run.data if len(run.data) <= MAX_DATA else " + ".join(Path(source).name for source in run.data.split(" + "))
    return printable(str(run.folder)), printable(data, MAX_DATA), epochs, run.state, elbo, _size(run.size), run.started[:10]


def _aligned(cell: str, width: int, column: int) -> str:
    """A cell at its width; numbers are at the right."""
    return cell.rjust(width) if column in (2, 4, 5) else cell.ljust(width)


def _size(num_bytes: int) -> str:
    """A size as people write it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
