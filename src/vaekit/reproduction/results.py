"""Runs a tier of a reproduction and writes ``results.json`` (all numbers), ``results.md`` (tables) and ``figure.png``.

One folder holds all tiers of a reproduction. The figure is that of the highest tier that was run.
"""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL.Image import Image
from rich.console import Console

from vaekit.core.errors import Interrupted, RunError
from vaekit.core.files import atomic_path, write_json, write_text
from vaekit.core.signals import StopSignal
from vaekit.plots.style import count
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.protocol import TIERS, Outcome, Reproduction, Tier
from vaekit.reproduction.results_page import FIGURE, PAGE, page

RESULTS = "results.json"
ARTIFACTS = Path("runs") / "reproduce"


def reproduce(
    reproduction: Reproduction, tier: Tier, folder: Path, *, artifacts: Path = ARTIFACTS, console: Console | None = None
) -> list[dict[str, Any]]:
    """Runs a tier of a reproduction, or resumes it, and writes the results.

    Arguments:
        reproduction: The reproduction.
        tier: The tier.
        folder: The folder of the results.
        artifacts: The folder of the artifact caches of all reproductions.
        console: The console for progress.

    Returns:
        The rows of the table, each with its verdict.

    Raises:
        VaekitError: If data are missing, or one of the folders is a file.
        Interrupted: If the process was interrupted; the same call resumes.
    """
    console = console or Console()
    tiers = read_results(folder)
    _require_writable(folder, "choose another folder with -o")
    _require_writable(artifacts, "move it, or run in another folder")
    command = f"vae reproduce {reproduction.name} --tier {tier}"
    if folder != results_folder(reproduction.name, tier):
        command += f" -o {folder}"
    cache = ArtifactCache(artifacts / reproduction.name / tier, console)
    try:
        outcome = reproduction.run(cache, tier)
    except Interrupted as interruption:
        raise Interrupted(f"{interruption}; resume with: {command}", interruption.exit_code) from None
    except (KeyboardInterrupt, StopSignal) as stop:  # during an evaluation: it starts again, and finished artifacts are kept
        raise Interrupted(f"interrupted; resume with: {command}", getattr(stop, "exit_code", 130)) from None
    tiers[tier] = _record(outcome, cache.seconds, command)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, {"name": reproduction.name, "tiers": tiers})
    write_text(folder / PAGE, page(reproduction, tiers))
    if tier == max(tiers, key=TIERS.index):
        _save_figure(outcome.figure, folder / FIGURE)
    rows: list[dict[str, Any]] = tiers[tier]["rows"]
    return rows


def results_folder(name: str, tier: Tier) -> Path:
    """Returns the folder of the results of a tier, by default: a smoke test is no result, and is kept apart from them."""
    return ARTIFACTS / name / tier / "results" if tier == "smoke" else Path("results") / name


def read_results(folder: Path) -> dict[Tier, dict[str, Any]]:
    """Returns the stored record of each tier that was run.

    Raises:
        RunError: If the results cannot be read.
    """
    path = folder / RESULTS
    try:
        tiers: dict[Tier, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["tiers"] if path.exists() else {}
        for tier, record in tiers.items():
            if tier not in TIERS or not {"rows", "choices", "command", "hardware", "seconds"} <= record.keys():
                raise ValueError(f"not the results of a tier: {tier}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it, or choose another folder with -o") from None
    return tiers


def _require_writable(folder: Path, advice: str) -> None:
    """Raises a RunError if a folder, or one of its parents, is a file or may not be written."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise RunError(f"{folder}: {existing} is a file; {advice}")
    if not os.access(existing, os.W_OK):
        raise RunError(f"{folder}: {existing} may not be written; {advice}")


def _record(outcome: Outcome, seconds: float, command: str) -> dict[str, Any]:
    """Returns a tier's outcome with its command, hardware and computing time, as JSON data."""
    return {
        "rows": [row.to_data() for row in outcome.rows],
        "choices": outcome.choices,
        "command": command,
        "hardware": _hardware(),
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {name: version(name) for name in ("vaekit", "torch", "numpy")},
        "curves": outcome.curves,
    }


def _hardware() -> str:
    """Returns the accelerator, if torch has one, the processor, and the numbers of cores and threads."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    accelerator = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    cores, threads = count(os.cpu_count() or 1, "cores"), count(torch.get_num_threads(), "threads")
    return ", ".join([*accelerator, processor, cores, threads])


def _save_figure(figure: Figure | Image, path: Path) -> None:
    with atomic_path(path) as partial:
        if isinstance(figure, Figure):
            figure.savefig(partial, dpi=110)
        else:
            figure.save(partial)
