"""A run whose ``environment.json`` is lost: what it says is found again, where recipe, images and checkpoints prove it.

A checkpoint carries a hash of the recipe and the images that its run began with (:mod:`vaekit.runs.identity`). If those of
today have the same hash, the run can go on bit for bit, and the file is written anew. The labels of a class-conditional run
are only in the file itself, so such a run cannot be resumed without it.
"""

from pathlib import Path

from vaekit.core.errors import RunError
from vaekit.core.files import write_json
from vaekit.core.progress import notify
from vaekit.core.tensor_files import DamagedFile, read_header
from vaekit.experiment.prepare import Experiment
from vaekit.experiment.run_writer import environment, fingerprints
from vaekit.runs.identity import identity
from vaekit.runs.location import sources_to_record
from vaekit.runs.run_folder import CHECKPOINTS, ENVIRONMENT, RECIPE, RunFolder
from vaekit.training import Checkpoints


def lacks_environment(folder: Path) -> bool:
    """Returns whether a folder holds a recipe and checkpoints, and no ``environment.json``."""
    has_checkpoint = bool(Checkpoints(folder / CHECKPOINTS, "").paths)
    return has_checkpoint and (folder / RECIPE).is_file() and not (folder / ENVIRONMENT).exists()


def refuse_unknown_labels(folder: Path) -> None:
    """Refuses a class-conditional run.

    Raises:
        RunError: If it is one.
    """
    if RunFolder(folder).recipe.model.conditional:
        raise RunError(
            f"{folder / ENVIRONMENT}: missing, and nothing else says which labels the class-conditional run began with, so "
            f"it cannot be resumed; copy it again, or train a new run from its weights: vae train --from {folder}"
        )


def restore_environment(folder: Path, experiment: Experiment) -> None:
    """Writes ``environment.json`` anew, with a line that says so.

    Arguments:
        folder: The run.
        experiment: Its recipe with its images, newly prepared.

    Raises:
        RunError: If recipe or images are not those of the checkpoints.
        OSError: If it cannot be written.
    """
    data = fingerprints(experiment.splits)
    run = identity(experiment.recipe, data)
    if run not in map(_belongs_to, Checkpoints(folder / CHECKPOINTS, run).paths):
        raise RunError(
            f"{folder / ENVIRONMENT}: missing, and recipe and images are not those that the checkpoints are of, so the run "
            "cannot be resumed; copy it again, put back recipe and images, or train into another folder"
        )
    facts = environment(experiment) | {"run": run, "data": data} | sources_to_record(experiment.recipe.data.sources)
    write_json(folder / ENVIRONMENT, {key: value for key, value in facts.items() if key not in ("started", "command")})
    notify(f"{folder / ENVIRONMENT}: was missing, and is written anew; recipe, images and checkpoints belong together")


def _belongs_to(path: Path) -> str:
    """The hash of the run that a checkpoint carries; empty if it cannot be read."""
    try:
        return read_header(path).metadata.get("belongs_to", "")
    except (DamagedFile, OSError):
        return ""
