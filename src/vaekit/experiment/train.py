"""``vaekit.train``: from a recipe or a model to a finished run folder, and resuming one.

:func:`train` accepts a recipe or a model, :func:`run` turns a recipe into a run folder, :func:`resume` continues one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from vaekit.core.arguments import BY_FUNCTION, checked
from vaekit.core.config import describe, to_data
from vaekit.core.errors import ConfigError, DataError, RunError
from vaekit.core.files import user_path
from vaekit.core.processes import any_process, is_main, on_main
from vaekit.core.progress import OutputConsole
from vaekit.core.rng import fixed_seed
from vaekit.data import Dataset, load_images
from vaekit.experiment.fine_tuning import chosen_recipe, fitted_to
from vaekit.experiment.locked_run import begin, carry_out, go_on, same_everywhere
from vaekit.experiment.place import has_run, lacks_environment, locate, refuse_other_folder, refuse_other_recipe, require_run
from vaekit.experiment.prepare import Experiment, prepare
from vaekit.experiment.restored_environment import restore_environment
from vaekit.models import Model
from vaekit.objectives import OBJECTIVES, Objective
from vaekit.runs.identity import MAY_CHANGE, differences
from vaekit.runs.lock import locked
from vaekit.runs.model_recipe import recipe_of
from vaekit.runs.overrides import by_place, pop_sources
from vaekit.runs.recipe import Recipe, complete
from vaekit.runs.replacement import recover
from vaekit.runs.run_folder import RunFolder
from vaekit.training import Callback, join_processes


@checked(ConfigError)
def train(
    what: str | Path | Model | None = None,
    images: Any = None,
    *,
    start: str | Path | None = None,
    test: Dataset | None = None,
    objective: Annotated[Objective | None, BY_FUNCTION] = None,
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
            return go_on(folder, recipe, prepared, console, by_name=True, report=report)
    on_main(lambda: refuse_other_folder(folder))
    with fixed_seed(recipe.training.seed):
        experiment = same_everywhere(prepared())
        with _locked(folder):
            on_main(lambda: begin(experiment, folder, console, force))
            return carry_out(experiment, folder, console, report)


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
        if any_process(is_main() and lacks_environment(folder)):
            restore_environment(folder, by_place(overrides))
        stored = RunFolder(folder).recipe
        moved, lr = pop_sources(others), others.pop("optimizer.lr", None)
        recipe = complete(to_data(stored), others)
        if changed := differences(stored, recipe):
            may = ", ".join(("optimizer.lr", *MAY_CHANGE))
            raise ConfigError(f"{changed[0][0]}: a resumed run cannot change it (it may change {may})")
        prepared = partial(prepare, recipe, location=locate(folder, moved), callbacks=callbacks if is_main() else ())
        return go_on(folder, recipe, prepared, console, moved=moved, lr=lr, dry_run=dry_run, report=report)


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
