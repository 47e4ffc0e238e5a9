"""A run whose ``environment.json`` is lost: what it says is found again, where recipe, images and checkpoints prove it.

A checkpoint carries a hash of the recipe and the images that its run began with (:mod:`vaekit.runs.identity`). If those of
today have the same hash, the run can go on bit for bit, and the file is written anew. The labels of a class-conditional run
are only in the file itself, so such a run cannot be resumed without it.
"""

from pathlib import Path
from typing import Any

from vaekit.core.command_text import from_command
from vaekit.core.errors import RunError
from vaekit.core.files import write_json
from vaekit.core.processes import on_main
from vaekit.core.progress import notify
from vaekit.core.rng import fixed_seed
from vaekit.core.tensor_files import DamagedFile, read_header
from vaekit.experiment.place import locate, write_errors
from vaekit.experiment.prepare import Experiment, prepare
from vaekit.experiment.run_writer import environment, fingerprints
from vaekit.runs.identity import identity
from vaekit.runs.location import sources_to_record
from vaekit.runs.overrides import pop_sources
from vaekit.runs.run_folder import CHECKPOINTS, ENVIRONMENT, RunFolder
from vaekit.training import Checkpoints


def restore_environment(folder: Path, overrides: dict[str, Any]) -> None:
    """Writes ``environment.json`` of a locked run anew, with a line that says so.

    Arguments:
        folder: The run.
        overrides: What is asked for, by place; under ``data`` it may say where the images are now.

    Raises:
        RunError: If recipe or images are not those of the checkpoints, or the run is class-conditional.
    """
    recipe = RunFolder(folder).recipe
    if recipe.model.conditional:
        raise RunError(
            f"{folder / ENVIRONMENT}: missing, and nothing else says which labels the class-conditional run began with, so "
            f"it cannot be resumed; copy it again, or train a new run from its weights: {from_command(folder)}"
        )
    with fixed_seed(recipe.training.seed):
        experiment = prepare(recipe, location=locate(folder, pop_sources(overrides)))
    on_main(lambda: _write(folder, experiment))


def _write(folder: Path, experiment: Experiment) -> None:
    """Writes the file, if the newly prepared recipe and images are those of a checkpoint."""
    data = fingerprints(experiment.splits)
    run = identity(experiment.recipe, data)
    if run not in map(_belongs_to, Checkpoints(folder / CHECKPOINTS, run).paths):
        raise RunError(
            f"{folder / ENVIRONMENT}: missing, and recipe and images are not those that the checkpoints are of, so the run "
            "cannot be resumed; copy it again, put back recipe and images, or train into another folder"
        )
    facts = environment(experiment) | {"run": run, "data": data} | sources_to_record(experiment.recipe.data.sources)
    with write_errors(folder):
        write_json(folder / ENVIRONMENT, {key: value for key, value in facts.items() if key not in ("started", "command")})
    notify(f"{folder / ENVIRONMENT}: was missing, and is written anew; recipe, images and checkpoints belong together")


def _belongs_to(path: Path) -> str:
    """The hash of the run that a checkpoint carries; empty if it cannot be read."""
    try:
        return read_header(path).metadata.get("belongs_to", "")
    except (DamagedFile, OSError):
        return ""
