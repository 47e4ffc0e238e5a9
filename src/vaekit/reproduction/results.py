"""What a reproduction leaves: ``results.json`` with everything, ``results.md`` to read, ``figure.png`` to look at.

One folder holds all tiers of a reproduction; the figure is that of the highest tier that was run.
"""

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL.Image import Image
from rich.console import Console

from vaekit.core.errors import Interrupted, RunError
from vaekit.core.files import write_json
from vaekit.plots.style import count
from vaekit.presentation.metric_text import duration
from vaekit.reproduction.artifacts import Workshop
from vaekit.reproduction.protocol import TIERS, Outcome, Reproduction, Tier

RESULTS, PAGE, FIGURE = "results.json", "results.md", "figure.png"
PIECES = Path("runs") / "reproduce"


def reproduce(
    reproduction: Reproduction, tier: Tier, folder: Path, *, pieces: Path = PIECES, console: Console | None = None
) -> list[dict[str, Any]]:
    """Runs a tier of a reproduction, or what is left of it, and writes its results.

    Arguments:
        reproduction: What to run.
        tier: How much of it.
        folder: Where the results go.
        pieces: Where the pieces of the work are kept; a finished piece is not made again.
        console: Where to tell about it.

    Returns:
        The rows of the table, each with its verdict.

    Raises:
        VaekitError: If something that it needs cannot be had, or the folder is a file.
        Interrupted: If the process was asked to stop; the same call goes on.
    """
    console = console or Console()
    known = read_results(folder)
    for place, advice in ((folder, "choose another folder with -o"), (pieces, "move it, or start elsewhere")):
        there = next(path for path in (place, *place.absolute().parents) if path.exists())
        if not there.is_dir():
            raise RunError(f"{place}: {there} is a file; {advice}")
    command = f"vae reproduce {reproduction.name} --tier {tier}"
    if folder != Path("results") / reproduction.name:
        command += f" -o {folder}"
    shop = Workshop(pieces / reproduction.name / tier, console)
    try:
        outcome = reproduction.run(shop, tier)
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}; go on with: {command}") from None
    except KeyboardInterrupt:  # within an evaluation, which is made anew; what was finished before it is kept
        raise Interrupted(f"stopped; go on with: {command}") from None
    known[tier] = record(outcome, shop, command)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, {"name": reproduction.name, "tiers": known})
    _replace(folder / PAGE, lambda path: path.write_text(page(reproduction, known)))
    if tier == max(known, key=TIERS.index):
        _replace(folder / FIGURE, partial(_draw, outcome.figure))
    rows: list[dict[str, Any]] = known[tier]["rows"]
    return rows


def read_results(folder: Path) -> dict[Tier, dict[str, Any]]:
    """Returns what is known of each tier that was run.

    Raises:
        RunError: If the results cannot be read.
    """
    path = folder / RESULTS
    try:
        tiers: dict[Tier, dict[str, Any]] = json.loads(path.read_text())["tiers"] if path.exists() else {}
        for tier, found in tiers.items():
            if tier not in TIERS or not {"rows", "choices", "command", "hardware", "seconds"} <= found.keys():
                raise ValueError(f"not the results of a tier: {tier}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it, or choose another folder with -o") from None
    return tiers


def record(outcome: Outcome, shop: Workshop, command: str) -> dict[str, Any]:
    """Returns a tier's outcome with what it was run by, on and how long, as JSON can hold it."""
    return {
        "rows": [row.to_data() for row in outcome.rows],
        "choices": outcome.choices,
        "command": command,
        "hardware": hardware(),
        "seconds": round(shop.seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {name: version(name) for name in ("vaekit", "torch", "numpy")},
        "curves": outcome.curves,
    }


def hardware() -> str:
    """Returns the machine in a line: the accelerator if torch sees one, the processor, and how many cores and threads."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    accelerator = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    cores, threads = count(os.cpu_count() or 1, "cores"), count(torch.get_num_threads(), "threads")
    return ", ".join([*accelerator, processor, cores, threads])


def page(reproduction: Reproduction, tiers: dict[Tier, dict[str, Any]]) -> str:
    """Returns the results as Markdown: a table for each tier, and what was not run."""
    parts = [f"# {reproduction.name}: {reproduction.title}", reproduction.paper, f"![figure]({FIGURE})"]
    for tier in reversed(TIERS):
        parts.append(f"## {tier}: {reproduction.tiers[tier]}")
        found = tiers.get(tier)
        if found is None:
            parts.append(f"Not run. `vae reproduce {reproduction.name} --tier {tier}` runs it.")
            continue
        lines = ["| what | published | obtained ± s.e. | tolerance | verdict |", "|---|---|---|---|---|"]
        parts.append("\n".join(lines + [_line(row) for row in found["rows"]]))
        parts.append("\n".join(f"- {sentence}" for sentence in found["choices"]))
        by = f"`{found['command']}`, {duration(found['seconds'])}"
        parts.append(f"{by} on {found['hardware']} (torch {found['packages']['torch']}).")
    return "\n\n".join(parts) + "\n"


def _line(row: dict[str, Any]) -> str:
    """A row of the table."""
    obtained = "not run" if row["obtained"] is None else _number(row["obtained"])
    if row["standard_error"] is not None:
        obtained += f" ± {_number(row['standard_error'])}"
    ends = {name: _number(row[name]) for name in ("least", "most") if row[name] is not None}
    asked = " and ".join(f"at {name} {end}" for name, end in ends.items()) or _number(row["tolerance"], "± ")
    what = f"{row['what']} ({row['note']})" if row["note"] else row["what"]
    return f"| {what} | {_number(row['published'])} | {obtained} {row['unit']} | {asked} | {row['verdict']} |"


def _number(value: float | None, before: str = "") -> str:
    """A number to two places, large ones to one, counts to none; a dash for none."""
    if value is None:
        return "–"
    places = 0 if isinstance(value, int) else 2 if abs(value) < 1000 else 1
    return f"{before}{value:.{places}f}".replace("-", "−")


def _draw(figure: Figure | Image, path: Path) -> None:
    if isinstance(figure, Figure):
        figure.savefig(path, dpi=110)
    else:
        figure.save(path)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".partial-{path.name}")
    write(partial)
    os.replace(partial, path)
