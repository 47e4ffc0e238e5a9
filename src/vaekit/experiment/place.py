"""The place of a run: whether a folder may be written, what it holds, and what an error says about it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vaekit.core.command_text import anew_command, from_command, resume_command
from vaekit.core.errors import DataError, Interrupted, RunError
from vaekit.core.files import describe_os_error, os_error_cure, read_object, write_json
from vaekit.core.signals import PIPE_CODE, StopSignal
from vaekit.models.folder_format import CONFIG
from vaekit.runs.identity import differences, identity
from vaekit.runs.location import SOURCE, Location, sources_to_record
from vaekit.runs.recipe import Recipe
from vaekit.runs.replacement import NEW, RESTORED, contents
from vaekit.runs.run_folder import CHECKPOINTS, ENVIRONMENT, IMAGES, RECIPE, RunFolder
from vaekit.runs.run_list import is_over
from vaekit.runs.run_records import RunRecords
from vaekit.training import Checkpoints


def has_run(folder: Path) -> bool:
    """Returns whether a folder holds a run, be it finished, stopped, or in the middle of a replacement."""
    is_whole = (folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file()
    return is_whole or (folder / NEW).is_dir() or (folder / RESTORED).is_dir()


def lacks_environment(folder: Path) -> bool:
    """Returns whether a folder holds the recipe and the checkpoints of a run, and no ``environment.json``."""
    has_checkpoint = bool(Checkpoints(folder / CHECKPOINTS, "").paths)
    return has_checkpoint and (folder / RECIPE).is_file() and not (folder / ENVIRONMENT).exists()


def refuse_other_folder(folder: Path) -> None:
    """Refuses a folder that holds something else than a run.

    Raises:
        RunError: If it does, or it is a file.
    """
    is_other = bool(contents(folder)) and not has_run(folder) if folder.is_dir() else folder.exists()
    if is_other:
        raise RunError(f"{folder}: exists and is no run folder; choose another with --out")


def require_place(folder: Path, recipe: Recipe, force: bool) -> None:
    """Refuses a folder that a run cannot be written to, before anything is prepared.

    Arguments:
        folder: The run folder.
        recipe: The recipe of the run.
        force: Whether a run that is there would be replaced.

    Raises:
        RunError: If it holds something else, or a run of another recipe that would not be replaced, or may not be written.
    """
    if has_run(folder) and not force:
        refuse_other_recipe(folder, recipe)
    refuse_other_folder(folder)
    found = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not found.is_dir():
        raise RunError(f"{folder}: {found} is a file, not a folder; choose another with --out")
    if not os.access(found, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: {found} may not be written; choose another with --out")


def refuse_other_recipe(folder: Path, recipe: Recipe) -> None:
    """Refuses to go on with a run by another recipe.

    Raises:
        RunError: If the folder's run has another recipe.
    """
    changed = differences(RunFolder(folder).recipe, recipe)
    if changed:
        place, before, after = changed[0]
        raise RunError(
            f"{folder}: holds a run of another recipe ({place}: {_short(before)} there, {_short(after)} here); "
            "--force replaces it, --out chooses another folder"
        )


def refuse_other_images(folder: Path, fingerprints: Mapping[str, str], name: str) -> None:
    """Refuses to go on with other images than the run began with.

    Raises:
        RunError: If they have changed.
    """
    if RunFolder(folder).environment.get("data") != dict(fingerprints):
        raise RunError(f"{name}: not the images that the run began with, so it cannot be resumed; give those with --data")


def refuse_other_labels(folder: Path, facts: Mapping[str, str], name: str) -> None:
    """Refuses to go on with a conditional model on other labels than the run began with.

    Raises:
        RunError: If they have changed.
    """
    recorded = RunFolder(folder).environment.get("labels")
    if recorded is not None and recorded != facts.get("labels"):
        raise RunError(f"{name}: the images have other labels than when the run began; give the same with --data")


def run_classes(folder: Path, recipe: Recipe) -> Sequence[str]:
    """Returns the classes of a conditional run, by label; empty if it has none, or no model yet."""
    if not recipe.model.conditional or not (folder / CONFIG).is_file():
        return ()
    condition = read_object(folder / CONFIG, "copy it again, or train into another folder").get("condition")
    classes = condition.get("classes") if isinstance(condition, dict) else None
    return [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else ()


def locate(folder: Path, moved: Sequence[str]) -> Location:
    """Returns where the images of a run are: ``moved``, or else what the run says.

    Raises:
        DataError: If they are not there, or ``moved`` names another number of sources than the run has.
    """
    run = RunFolder(folder)
    data = run.environment.get("data") if (folder / ENVIRONMENT).is_file() else None
    name = data.get("name") if isinstance(data, dict) else None
    known = run.recipe.data.sources
    if moved and len(moved) != len(known):
        raise DataError(f"{folder}: its images are of {len(known)} sources, {len(moved)} are named; give --data for each")
    source, *also = moved or run.sources
    return Location(source, str(name or known[0]), tuple(also))


def remember_sources(folder: Path, sources: Sequence[str]) -> None:
    """Records where the images of a run are now.

    Raises:
        RunError: If the environment cannot be read.
    """
    with write_errors(folder):
        known = RunFolder(folder).environment
        write_json(folder / ENVIRONMENT, known | {SOURCE: sources[0]} | sources_to_record(sources))


def require_run(folder: Path) -> None:
    """Refuses a folder that holds no run, before anything in it is touched.

    Raises:
        RunError: If a file that makes it a run is missing or damaged.
    """
    if not has_run(folder) and not lacks_environment(folder):
        name, path = RunFolder(folder).recipe.name, folder / ENVIRONMENT
        raise RunError(f"{path}: missing, so {name!r} cannot be resumed; copy it again, or train into another folder")


def refuse_links(folder: Path) -> None:
    """Refuses a run folder whose subfolders lead elsewhere, where other files would be overwritten.

    Raises:
        RunError: If one is a link.
    """
    for name in (CHECKPOINTS, IMAGES):
        if (folder / name).is_symlink():
            raise RunError(
                f"{folder / name}: a link, and a run writes into its own folder only; remove it, or move it there"
            )


def open_checkpoints(folder: Path) -> Checkpoints:
    """Returns the checkpoints of a run folder.

    Raises:
        RunError: If the recipe is not the one that the run began with.
    """
    run, environment = RunFolder(folder), RunFolder(folder).environment
    data = environment.get("data")
    if not isinstance(data, dict) or environment.get("run") != identity(run.recipe, data):
        raise RunError(
            f"{folder / RECIPE}: not the recipe that the run began with, or {ENVIRONMENT} is of another run; "
            f"put them back, or train anew: {anew_command(folder)}"
        )
    return Checkpoints(folder / CHECKPOINTS, environment["run"])


def is_cleaned(folder: Path, recipe: Recipe) -> bool:
    """Returns whether a run has no checkpoints, and needs none, because nothing is left to do.

    Raises:
        RunError: If it would need them.
    """
    if open_checkpoints(folder).paths:
        return False
    records = RunRecords(folder)
    if is_over(records, recipe.training):
        return True
    if is_over(records, records.outline.training):
        raise RunError(
            f"{folder}: finished, and its checkpoints were removed (vae clean), so it cannot go on with more epochs; "
            f"a new run from its weights: {from_command(folder)}"
        )
    return False


def how_to_go_on(folder: Path) -> str:
    """Returns the end of a message: the command that continues a run."""
    return f"go on with: {resume_command(folder)}"


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the disk, a closed output and a signal into one line that says how to go on.

    Raises:
        RunError: If a file cannot be written.
        Interrupted: If the output was closed, or a signal came.
    """
    try:
        yield
    except BrokenPipeError:
        raise Interrupted(f"stopped, because the output was closed; {how_to_go_on(folder)}", PIPE_CODE) from None
    except StopSignal as stop:
        raise Interrupted(f"stopped by {stop}; {how_to_go_on(folder)}", stop.exit_code) from None
    except OSError as error:
        if not folder.is_dir():
            raise RunError(was_removed(folder)) from None
        raise RunError(
            f"{_not_written(folder, error)}, and the last checkpoint stays; {os_error_cure(error)}; "
            f"then {how_to_go_on(folder)}"
        ) from None


def was_removed(folder: Path) -> str:
    """Returns the message about a folder that is gone while its run is written."""
    return f"{folder}: was removed, moved or replaced while the run wrote it; resume it in its new place, or train anew"


@contextmanager
def begin_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the disk before the first checkpoint into one line; a run that was to be replaced is still there.

    Raises:
        RunError: If a file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{_not_written(folder, error)}, so no run was begun, and what was there stays; {os_error_cure(error)}; "
            "another folder: vae train --out"
        ) from None


def _not_written(folder: Path, error: OSError) -> str:
    return f"{error.filename or folder}: cannot be written ({describe_os_error(error)})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
