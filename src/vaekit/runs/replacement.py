"""Replacing what a run folder holds: a process that is killed at any instant leaves the old run or the new one.

A new run is prepared in ``.vaekit-beginning``, up to its first checkpoint, and that folder is renamed to ``.vaekit-new``.
What the run folder held is moved to ``.vaekit-replaced``, and what is in ``.vaekit-new`` takes its place. Each move is one
rename, and :func:`recover` goes on with them where a process was killed. The old run stays in ``.vaekit-replaced`` until the
new one has a model worth keeping: :func:`forget` removes it, and :func:`restore` puts it back.

The run folder itself is never removed or renamed, since it may be a link or somebody's working directory.
"""

import shutil
from pathlib import Path

from vaekit.core.files import flush
from vaekit.runs.lock import LOCK

BEGINNING, NEW, REPLACED = ".vaekit-beginning", ".vaekit-new", ".vaekit-replaced"
RESTORED, DISCARDED, MOVING = ".vaekit-restored", ".vaekit-discarded", ".vaekit-moving"
OWN = {LOCK, BEGINNING, NEW, REPLACED, RESTORED, DISCARDED, MOVING}
"""The names in a run folder that are no part of the run."""


def contents(folder: Path) -> list[Path]:
    """Returns what a folder holds of a run, or of anything else; nothing if there is no such folder."""
    return [path for path in folder.iterdir() if path.name not in OWN] if folder.is_dir() else []


def begin(folder: Path) -> Path:
    """Returns an empty folder in which to write the first files of a new run; :func:`install` then puts them in place."""
    if not restore(folder):  # the run that was itself replaced, if its replacement has not become anything
        forget(folder)
    beginning = folder / BEGINNING
    shutil.rmtree(beginning, ignore_errors=True)
    beginning.mkdir()
    return beginning


def install(folder: Path) -> None:
    """Replaces what a run folder holds by what has begun."""
    flush(folder / BEGINNING)
    (folder / BEGINNING).rename(folder / NEW)
    _exchange(folder, NEW, REPLACED)


def recover(folder: Path) -> None:
    """Completes a replacement in which a process was killed."""
    for source, target in ((NEW, REPLACED), (RESTORED, DISCARDED)):
        if (folder / source).is_dir():
            _exchange(folder, source, target)
    for name in (BEGINNING, DISCARDED):
        shutil.rmtree(folder / name, ignore_errors=True)


def restore(folder: Path) -> bool:
    """Puts back the run that was replaced, and removes the new one; returns whether there was one."""
    replaced = folder / REPLACED
    if not (replaced.is_dir() and any(replaced.iterdir())):
        return False
    replaced.rename(folder / RESTORED)
    _exchange(folder, RESTORED, DISCARDED)
    shutil.rmtree(folder / DISCARDED, ignore_errors=True)
    return True


def forget(folder: Path) -> None:
    """Removes the run that was replaced."""
    shutil.rmtree(folder / REPLACED, ignore_errors=True)


def clear(folder: Path) -> None:
    """Removes what a folder holds of a run."""
    for path in contents(folder):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _exchange(folder: Path, source: str, target: str) -> None:
    """Moves what the folder holds to ``target``, and then what ``source`` holds into the folder."""
    if not (folder / target).is_dir():
        moving = folder / MOVING
        moving.mkdir(exist_ok=True)
        for path in contents(folder):
            path.rename(moving / path.name)
        moving.rename(folder / target)
    for path in (folder / source).iterdir():
        path.rename(folder / path.name)
    flush(folder)
    (folder / source).rmdir()
    if not any((folder / target).iterdir()):
        (folder / target).rmdir()
