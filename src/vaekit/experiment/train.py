"""``vaekit.train``: from a recipe or a model to a finished run folder, and resuming one.

:func:`train` accepts a recipe or a model, :func:`run` turns a recipe into a run folder, :func:`resume` continues one.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from vaekit.core.config import describe, to_data
from vaekit.core.errors import ConfigError, DataError, Diverged, Interrupted, RunError
from vaekit.core.files import write_json, write_text
from vaekit.core.progress import print_line
from vaekit.core.rng import fixed_seed
from vaekit.data import Dataset, ImageSet, load_images
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.experiment.prepare import Experiment, prepare
from vaekit.experiment.run_writer import (
    RunWriter,
    begin_folder,
    fingerprints,
    first_images,
    num_parameters,
    write_curves,
    write_grids,
)
from vaekit.models import Model, load_vae
from vaekit.objectives import OBJECTIVES, Objective
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.metric_text import print_metrics
from vaekit.reports.run_report import run_report
from vaekit.runs.recipe import Recipe, complete, load_recipe, recipe_of, write_recipe
from vaekit.runs.run_folder import ENVIRONMENT, HISTORY, METRICS, RECIPE, REPORT, STATE, RunFolder
from vaekit.training import Callback, progress_view, read_state

MAY_CHANGE = (
    "training.epochs",
    "training.patience",
    "training.device",
    "training.images_every",
    "training.checkpoint_minutes",
)
"""What a resumed run may change."""


def train(
    what: str | Path | Model,
    images: Dataset | NDArray[Any] | Tensor | None = None,
    *,
    test: Dataset | None = None,
    objective: Objective | None = None,
    callbacks: Sequence[Callback] = (),
    out: str | Path | None = None,
    force: bool = False,
    console: Console | None = None,
    **overrides: Any,
) -> RunFolder:
    """Trains a recipe, or a model built in Python.

    Arguments:
        what: The name of a recipe, a YAML file, or a model.
        images: Data to train on instead of the recipe's; required for a model.
        test: Data for the final metrics; by default a tenth of ``images`` is held out.
        objective: The objective to use instead of the recipe's.
        callbacks: Called at fixed points of training (:class:`vaekit.Callback`).
        out: The run folder; ``runs/NAME`` by default.
        force: Whether to replace an existing run.
        console: Where progress is printed; ``Console(quiet=True)`` of ``rich`` prints nothing.
        overrides: Changes by shorthand (``epochs=5``, ``lr=1e-3``, ...) or, with ``**{...}``, by place (``training.ema``).

    Returns:
        The run, whose ``model`` is that of the best epoch; a model that was passed in ends with the weights of the last.

    Raises:
        VaekitError: If something that was asked for cannot be done.

    Example:
        >>> run = vaekit.train("mnist-conv", epochs=5)
        >>> run.metrics["elbo"]["value"]
    """
    data = images if images is None or isinstance(images, Dataset) else load_images(images, "all")
    spec = {} if objective is None else {"objective": describe(objective, OBJECTIVES)}
    if isinstance(what, Model):
        if data is None:
            raise DataError("a model built in Python needs data: train(model, images)")
        recipe, model = recipe_of(what, data.name, overrides, spec), what
    else:
        named = {} if data is None else {"data": data.name}
        recipe, model = load_recipe(what, named | overrides | spec), None
    folder = Path(out or f"runs/{recipe.name}")
    return run(recipe, folder, force=force, model=model, images=data, test=test, callbacks=callbacks, console=console)


def run(
    recipe: Recipe,
    folder: Path,
    *,
    force: bool = False,
    model: Model | None = None,
    images: Dataset | None = None,
    test: Dataset | None = None,
    callbacks: Sequence[Callback] = (),
    console: Console | None = None,
) -> RunFolder:
    """Runs a recipe from its first step to its final metrics.

    Arguments:
        recipe: The recipe.
        folder: The run folder; it is made when everything that the run needs has been found.
        force: Whether to replace an existing run.
        model: A model to train instead of the recipe's.
        images: Data to train on instead of the recipe's.
        test: Data to test on instead of the recipe's.
        callbacks: Called at fixed points of training.
        console: Where progress is printed.

    Raises:
        VaekitError: If something that the recipe asks for cannot be done.
    """
    console = console or Console()
    _refuse_existing(folder, force)
    with fixed_seed(recipe.training.seed):
        experiment = prepare(recipe, model=model, images=images, test=test, callbacks=callbacks)
        announce(experiment, folder, console)
        _empty(folder)
        begin_folder(experiment, folder)
        return _carry_out(experiment, folder, console)


def resume(
    folder: Path,
    overrides: Mapping[str, Any],
    console: Console | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    dry_run: bool = False,
) -> RunFolder:
    """Continues a run that was stopped; on the CPU the result is bit for bit that of a run that was not.

    Raises:
        VaekitError: If there is nothing to resume, or an override would make it another run.
    """
    console = console or Console()
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder, so there is nothing to resume")
    before = to_data(RunFolder(folder).recipe)
    recipe = complete(before, overrides)
    changed = _differences(before, to_data(recipe))
    if forbidden := [place for place in changed if place not in MAY_CHANGE]:
        raise ConfigError(f"{forbidden[0]}: a resumed run cannot change it (it may change {', '.join(MAY_CHANGE)})")
    state = read_state(folder / STATE)
    with fixed_seed(recipe.training.seed):
        experiment = prepare(recipe, callbacks=callbacks)
        if _stored_fingerprints(folder) != fingerprints(experiment.splits):
            raise RunError(f"{recipe.data.name}: the images have changed since the run began, so it cannot be resumed")
        experiment.trainer.load_state_dict(state)
        progress = experiment.trainer.progress
        if experiment.trainer.finished and (folder / METRICS).exists():
            raise RunError(f"{folder}: finished after {progress.epoch} epochs; give more with --epochs to go on")
        announce(experiment, folder, console)
        if dry_run:
            return RunFolder(folder)
        (folder / METRICS).unlink(missing_ok=True)
        write_recipe(recipe, folder / RECIPE)
        _shorten_history(folder, progress.epoch)
        console.print(f"resumed after {progress.epoch} epochs, step {progress.step:,}", highlight=False)
        return _carry_out(experiment, folder, console)


def announce(experiment: Experiment, folder: Path, console: Console) -> None:
    """Prints a line about the data, the model and the device of a run."""
    recipe, splits, trainer = experiment.recipe, experiment.splits, experiment.trainer
    shape = "x".join(str(side) for side in experiment.model.shape)
    print_line(
        f"{recipe.name}: {len(splits.train):,} {shape} images of {splits.train.name} to train on, "
        f"{len(splits.valid):,} to validate, {len(splits.test):,} to test; {recipe.model.latent_dim} latents, "
        f"{num_parameters(experiment.model):,} parameters; {len(trainer.batches):,} steps per epoch "
        f"on {trainer.device}; {folder}",
        console,
    )


def _carry_out(experiment: Experiment, folder: Path, console: Console) -> RunFolder:
    """Trains and evaluates."""
    trainer = experiment.trainer
    writer = RunWriter(folder, experiment.splits.valid, experiment.recipe.training.images_every)
    trainer.callbacks += [writer, progress_view(console)]
    try:
        trainer.fit()
        if not trainer.progress.best_epoch:
            raise Diverged(
                f"the validation ELBO is not finite in any epoch up to epoch {trainer.progress.epoch}; "
                "lower the learning rate (--lr) or clip the gradient (--set training.clip_norm=1)"
            )
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}; go on with: vae train --resume {folder}") from None
    except Diverged as error:
        if not trainer.progress.best_epoch:
            shutil.rmtree(folder)
            raise
        raise Diverged(f"{error}; {folder} keeps the last good epoch, {trainer.progress.epoch}") from None
    try:
        return _finish(experiment, folder, console)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped after the last epoch; for its metrics: vae train --resume {folder}") from None


def _finish(experiment: Experiment, folder: Path, console: Console) -> RunFolder:
    """Writes the final metrics, images and report, of the best model on the test split."""
    recipe, trainer, test = experiment.recipe, experiment.trainer, experiment.splits.test
    model = load_vae(folder).to(trainer.device)
    section = recipe.evaluation
    config = replace(BRIEF, num_samples=section.num_samples, max_images=section.max_images)
    evaluation = evaluate_model(model, test, config=config)
    metrics = {
        "recipe": recipe.name,
        "epochs": trainer.progress.epoch,
        "best_epoch": trainer.progress.best_epoch,
        "seconds": round(trainer.progress.seconds, 2),
        "parameters": num_parameters(model),
        **evaluation.to_data(),
    }
    shown = first_images(test)
    if shown is not None:
        write_grids(model, shown, folder)
    write_curves(folder)
    write_json(folder / METRICS, metrics)
    print_metrics(evaluation, console)
    written = {"images": folder / "images", "metrics": folder / METRICS}
    if isinstance(test, ImageSet):
        run_report(RunFolder(folder), Gallery(model, test)).save(folder / REPORT)
        written = {"report": folder / REPORT} | written
    for name, path in written.items():
        print_line(f"{name:<9} {path}", console)
    return RunFolder(folder)


def _refuse_existing(folder: Path, force: bool) -> None:
    """Raises unless the folder is free, or a run that may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not ((folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file()):
        raise RunError(f"{folder}: exists and is no run folder; choose another with --out")
    if not force:
        raise RunError(f"{folder}: exists; --force replaces it, --out chooses another, vae train --resume {folder} goes on")


def _empty(folder: Path) -> None:
    """Makes the folder, or removes what is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # not the folder itself, which may be a link or the working directory
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror})") from None


def _shorten_history(folder: Path, num_epochs: int) -> None:
    """Removes epochs after the checkpoint from the history."""
    path = folder / HISTORY
    lines = path.read_text().splitlines() if path.exists() else []
    write_text(path, "".join(f"{line}\n" for line in lines[:num_epochs]))


def _stored_fingerprints(folder: Path) -> Any:
    """The fingerprints of the data that a run began with."""
    path = folder / ENVIRONMENT
    try:
        return json.loads(path.read_text())["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}), so the run cannot be resumed") from None


def _differences(before: Any, after: Any, place: str = "") -> list[str]:
    """The dotted places at which two nested dictionaries differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [d for key in keys for d in _differences(before.get(key), after.get(key), f"{place}.{key}".lstrip("."))]
    return [] if before == after else [place]
