"""``vaekit.train``: from a recipe or a model to a finished run folder, and resuming one.

:func:`train` accepts a recipe or a model, :func:`run` turns a recipe into a run folder, :func:`resume` continues one.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from vaekit.core.config import describe, to_data
from vaekit.core.errors import ConfigError, DataError, Diverged, Interrupted, RunError
from vaekit.core.files import user_path
from vaekit.core.processes import ProcessLost, any_process, is_main, leave, on_main, require_same
from vaekit.core.progress import OutputConsole, print_line
from vaekit.core.rng import fixed_seed
from vaekit.core.signals import StopSignal
from vaekit.data import Dataset, load_images
from vaekit.experiment.fine_tuning import chosen_recipe, fitted_to
from vaekit.experiment.finish import finish, is_finished
from vaekit.experiment.forecast import forecast
from vaekit.experiment.place import (
    begin_errors,
    has_run,
    how_to_go_on,
    is_cleaned,
    locate,
    open_checkpoints,
    refuse_links,
    refuse_other_folder,
    refuse_other_images,
    refuse_other_labels,
    refuse_other_recipe,
    remember_sources,
    require_run,
    run_classes,
    write_errors,
)
from vaekit.experiment.prepare import Experiment, prepare, with_lr
from vaekit.experiment.run_writer import RunWriter, begin_folder, fingerprints, label_facts, num_parameters
from vaekit.models import Model
from vaekit.objectives import OBJECTIVES, Objective
from vaekit.runs.identity import MAY_CHANGE, differences
from vaekit.runs.lock import locked
from vaekit.runs.migration import migrate
from vaekit.runs.model_recipe import recipe_of
from vaekit.runs.overrides import by_place, pop_sources
from vaekit.runs.recipe import Recipe, complete, write_recipe
from vaekit.runs.replacement import clear, recover, restore
from vaekit.runs.run_folder import RECIPE, RunFolder
from vaekit.training import Callback, Trainer, join_processes, progress_view


def train(
    what: str | Path | Model | None = None,
    images: Any = None,
    *,
    start: str | Path | None = None,
    test: Dataset | None = None,
    objective: Objective | None = None,
    callbacks: Sequence[Callback] = (),
    out: str | Path | None = None,
    force: bool = False,
    report: bool = True,
    console: Console | None = None,
    **overrides: Any,
) -> RunFolder:
    """Trains a recipe, or a model built in Python.

    Arguments:
        what: The name of a recipe, a YAML file, or a model; not needed with ``start``.
        images: Data to train on, or what :func:`vaekit.load_images` reads, instead of the recipe's; required for a model.
        start: A run whose weights the new one begins with; its model and, if ``what`` is None, its recipe are taken over.
        test: Data for the final metrics; by default a tenth of ``images`` is held out.
        objective: The objective to use instead of the recipe's.
        callbacks: Called at fixed points of training (:class:`vaekit.Callback`).
        out: The run folder; ``runs/NAME`` by default.
        force: Whether to replace an existing run; without it, a run of the same recipe goes on.
        report: Whether to plot the learning curves and write the report at the end.
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
    data = images if images is None or isinstance(images, Dataset) else load_images(images, "all", **fitted_to(start))
    if objective is not None and not isinstance(objective, Objective):
        raise ConfigError(
            "objective: give an objective, as vaekit.IWAE(num_samples=5); a name is given by **{'objective.name': 'iwae'}"
        )
    spec = {} if objective is None else {"objective": describe(objective, OBJECTIVES)}
    if isinstance(what, Model):
        if data is None:
            raise DataError("a model built in Python needs data: train(model, images)")
        if start is not None:
            raise ConfigError("a model begins with the weights that it has: train(model, images) without start")
        recipe, model = recipe_of(what, data.name, overrides, spec), what
    else:
        changes = ({} if data is None else {"data": data.name}) | overrides | spec
        recipe, model = chosen_recipe(what, start, changes), None
    folder = user_path(out or f"runs/{recipe.name}")
    options = {"force": force, "report": report}
    return run(recipe, folder, model=model, images=data, test=test, callbacks=callbacks, console=console, **options)


def run(
    recipe: Recipe,
    folder: Path,
    *,
    force: bool = False,
    report: bool = True,
    model: Model | None = None,
    images: Dataset | None = None,
    test: Dataset | None = None,
    callbacks: Sequence[Callback] = (),
    console: Console | None = None,
) -> RunFolder:
    """Runs a recipe from its first step to its final metrics, or from where it was stopped.

    Arguments:
        recipe: The recipe.
        folder: The run folder; it is made when everything that the run needs has been found. A run of the same recipe that
            it holds goes on.
        force: Whether to replace the run that the folder holds.
        report: Whether to plot the learning curves and write the report at the end.
        model: A model to train instead of the recipe's.
        images: Data to train on instead of the recipe's.
        test: Data to test on instead of the recipe's.
        callbacks: Called at fixed points of training.
        console: Where progress is printed.

    Raises:
        VaekitError: If something that the recipe asks for cannot be done.
    """
    join_processes(recipe.training.device)
    folder, console = user_path(folder), _console(console)

    def prepared(classes: Sequence[str] = (), begins: bool = True) -> Experiment:
        mine = callbacks if is_main() else ()
        parts: dict[str, Any] = {"model": model, "images": images, "test": test}
        return prepare(recipe, **parts, callbacks=mine, classes=classes, begins=begins)

    if any_process(is_main() and not force and has_run(folder)):
        with _locked(folder):
            on_main(lambda: refuse_other_recipe(folder, recipe))
            return _go_on(folder, recipe, prepared, console, report=report)
    on_main(lambda: refuse_other_folder(folder))
    with fixed_seed(recipe.training.seed):
        experiment = _same_everywhere(prepared())
        with _locked(folder):
            on_main(lambda: _begin(experiment, folder, console, force))
            return _carry_out(experiment, folder, console, report)


def resume(
    folder: Path,
    overrides: Mapping[str, Any],
    console: Console | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    dry_run: bool = False,
    report: bool = True,
) -> RunFolder:
    """Continues a run that was stopped; on the CPU the result is bit for bit that of a run that was not.

    A run that is finished stays as it is, unless ``overrides`` give it more epochs. Under ``data`` they may say where the
    images are now, if they are elsewhere; they must be the same images.

    Raises:
        VaekitError: If there is nothing to resume, or an override would make it another run.
    """
    others = by_place(overrides)
    join_processes(str(others.get("training.device", "auto")))
    folder, console = user_path(folder), _console(console)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder, so there is nothing to resume")
    on_main(lambda: require_run(folder))
    with _locked(folder):
        stored = RunFolder(folder).recipe
        moved, lr = pop_sources(others), others.pop("optimizer.lr", None)
        recipe = complete(to_data(stored), others)
        if changed := differences(stored, recipe):
            may = ", ".join(("optimizer.lr", *MAY_CHANGE))
            raise ConfigError(f"{changed[0][0]}: a resumed run cannot change it (it may change {may})")
        prepared = partial(prepare, recipe, location=locate(folder, moved), callbacks=callbacks if is_main() else ())
        return _go_on(folder, recipe, prepared, console, moved=moved, lr=lr, dry_run=dry_run, report=report)


def _go_on(
    folder: Path,
    recipe: Recipe,
    prepared: Callable[..., Experiment],
    console: Console,
    *,
    moved: Sequence[str] = (),
    lr: Any = None,
    dry_run: bool = False,
    report: bool = True,
) -> RunFolder:
    """Continues the run of a locked folder: its images are at ``moved`` if they have moved, its learning rate is ``lr``."""
    refuse_links(folder)
    with write_errors(folder):
        on_main(lambda: migrate(folder))
    if is_cleaned(folder, recipe):
        print_line(
            f"{folder}: finished, and its checkpoints were removed (vae clean); --force without --resume trains anew",
            console,
        )
        return RunFolder(folder)
    state = open_checkpoints(folder).read()
    with fixed_seed(recipe.training.seed):
        experiment = _same_everywhere(prepared(classes=run_classes(folder, recipe), begins=False))
        source = " and ".join(moved or recipe.data.sources)
        refuse_other_images(folder, fingerprints(experiment.splits), source)
        refuse_other_labels(folder, label_facts(experiment), source)
        if moved and not dry_run:
            on_main(lambda: remember_sources(folder, moved))
        experiment.trainer.load_state_dict(state)
        experiment = experiment if lr is None else with_lr(experiment, lr)
        progress = experiment.trainer.progress
        if is_finished(experiment, folder, report=report):
            epochs = f"{progress.epoch} epoch{'s' * (progress.epoch != 1)}"
            line = f"{folder}: finished after {epochs}; --epochs goes on with more, --force without --resume trains anew"
            print_line(line, console)
            return RunFolder(folder)
        announce(experiment, folder, console)
        if dry_run:
            return RunFolder(folder)
        console.print(f"resumed after {progress.epoch} epochs, step {progress.step:,}", highlight=False)
        with write_errors(folder):
            on_main(lambda: write_recipe(experiment.recipe, folder / RECIPE))
        return _carry_out(experiment, folder, console, report)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder by the first process, and completes what a killed process left."""
    with ExitStack() as stack:
        on_main(lambda: stack.enter_context(locked(folder)))
        on_main(lambda: recover(folder))
        yield


def _console(console: Console | None) -> Console:
    """The console of the first process; the others print nothing."""
    return (console or OutputConsole()) if is_main() else Console(quiet=True)


def _same_everywhere(experiment: Experiment) -> Experiment:
    """The experiment, if all processes train the same recipe on the same images."""
    data = [to_data(experiment.recipe), fingerprints(experiment.splits)]
    require_same("the recipe or the data", json.dumps(data))
    return experiment


def _begin(experiment: Experiment, folder: Path, console: Console, force: bool) -> None:
    """Begins a run in a folder whose lock is held."""
    refuse_other_folder(folder)
    if has_run(folder) and not force:
        raise RunError(f"{folder}: another process has begun a run there; choose another with --out")
    announce(experiment, folder, console)
    with begin_errors(folder):
        begin_folder(experiment, folder)


def announce(experiment: Experiment, folder: Path, console: Console) -> None:
    """Prints the data, the model and the device of a run, and what it will take."""
    recipe, splits, trainer = experiment.recipe, experiment.splits, experiment.trainer
    shape = "x".join(str(side) for side in experiment.model.shape)
    print_line(
        f"{recipe.name}: {len(splits.train):,} {shape} images of {splits.train.name} to train on, "
        f"{len(splits.valid):,} to validate, {len(splits.test):,} to test",
        console,
    )
    print_line(
        f"{experiment.model.latent_dim} latents, {num_parameters(experiment.model):,} parameters; "
        f"{len(trainer.batches):,} steps per epoch on {trainer.device}",
        console,
    )
    print_line(f"{folder}: {forecast(experiment)}", console)


def _carry_out(experiment: Experiment, folder: Path, console: Console, report: bool) -> RunFolder:
    """Trains and evaluates."""
    trainer = experiment.trainer
    if main := is_main():
        every, channels = experiment.recipe.training.images_every, experiment.recipe.data.shown_channels
        writer = RunWriter(folder, open_checkpoints(folder), experiment.splits.valid, every, channels)
        trainer.callbacks += [writer, progress_view(console)]
    with write_errors(folder):
        _fit(trainer, folder)
        leave()
        if not main:  # the first process evaluates alone
            return RunFolder(folder)
        try:
            return finish(experiment, folder, console, report=report)
        except (KeyboardInterrupt, StopSignal) as stop:
            code = stop.exit_code if isinstance(stop, StopSignal) else 130
            raise Interrupted(f"stopped after the last epoch; {how_to_go_on(folder)}", code) from None


def _undo(folder: Path) -> None:
    """Removes a run that has come to nothing, and puts back the one that it replaced."""
    if not restore(folder):
        clear(folder)


def _fit(trainer: Trainer, folder: Path) -> None:
    """Trains; a run that diverges before its first good epoch leaves nothing, and what it replaced is put back."""
    try:
        trainer.fit()
        if not trainer.progress.best_epoch:
            raise Diverged(
                f"the validation ELBO is not finite in any epoch up to epoch {trainer.progress.epoch}; "
                "lower the learning rate (--lr) or clip the gradient (--set training.clip_norm=1)"
            )
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}; {how_to_go_on(folder)}", stopped.exit_code) from None
    except ProcessLost as lost:
        raise ProcessLost(f"{lost}; {how_to_go_on(folder)}") from None
    except Diverged as error:
        if trainer.progress.best_epoch:
            raise Diverged(f"{error}; {folder} keeps the last good epoch, {trainer.progress.epoch}") from None
        on_main(lambda: _undo(folder))
        kept = f"; {folder} holds the run that was there before" if has_run(folder) else ""
        raise Diverged(f"{error}{kept}") from None
