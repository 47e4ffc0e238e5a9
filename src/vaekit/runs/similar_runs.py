"""The run folders nearby, for the message about a path at which there is none."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

from vaekit.core.errors import MAX_COMPARED, ModelError, RunError, suggest
from vaekit.core.files import user_path

RUNS = Path("runs")
"""The folder of runs, by default."""
MARKS = ("recipe.yaml", "config.json")
"""A folder that holds one of these is a run folder or a model folder."""
MAX_LOOKED_AT = 2_000
"""The largest number of folders that are looked at."""
MIN_SIMILARITY = 0.8
"""How similar a run's path is to an id of the Hub that must be a slip of it, from 0 to 1."""


def require_run(run: str) -> None:
    """Checks that a run is a folder, or may be a model on the Hub, without reading or downloading anything.

    Raises:
        ModelError: If it is neither, with the most similar runs.
    """
    path = user_path(run)
    if path.is_dir():
        return
    known = _known_near(path)
    if not is_hub_id(run) or any(_similarity(run, name) >= MIN_SIMILARITY for name in known):
        raise ModelError(f"{run}: no such run or model folder{_where_to_look(run, known)}")


def is_hub_id(run: str) -> bool:
    """Returns whether a name that is no folder may be a model on the Hub: ``owner/name``, but not ``runs/name``."""
    owner, slash, name = run.rstrip("/").partition("/")
    return bool(slash and name) and "/" not in name and not run.startswith((".", "/", "~")) and owner != str(RUNS)


def _where_to_look(run: str, known: list[str]) -> str:
    """The end of a message: the nearest runs; where there are none, the folder that the path was looked for in."""
    if known:
        return suggest(run, known)
    return f" in {Path.cwd()}, and no run near it; give its path from this folder, or list others: vae runs FOLDER"


def require_folder(run: str) -> None:
    """Checks that a run to go on with is a folder.

    Raises:
        RunError: If it is none, with the most similar runs.
    """
    path = user_path(run)
    if not path.is_dir():
        raise RunError(f"{run}: no such run folder, so there is nothing to resume{_where_to_look(run, _known_near(path))}")


def _known_near(path: Path) -> list[str]:
    """The paths of the runs near a path that is none."""
    return sorted({str(folder) for folder in islice(_nearby(path), MAX_LOOKED_AT)})


def _similarity(run: str, name: str) -> float:
    return SequenceMatcher(None, run, name).ratio() if len(run) <= MAX_COMPARED else 0.0


def _nearby(path: Path) -> Iterator[Path]:
    """The runs in the nearest folder of a path that exists, and in the folder of runs, one and two levels deep."""
    nearest = next((folder for folder in path.parents if folder.is_dir()), Path())
    for root in dict.fromkeys((nearest, RUNS)):
        for folder in _folders(root):
            if _is_run(folder):
                yield folder
            elif root != RUNS:
                yield from filter(_is_run, _folders(folder))


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(folder for folder in islice(root.iterdir(), MAX_LOOKED_AT) if folder.is_dir())
    except OSError:  # not there, or not to be read
        return []


def _is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in MARKS)
