"""``vaekit.fit_prior`` and ``vae prior``: a run whose prior is fitted to a trained run, with its encoder and decoder.

The new run folder has everything that commands need: a recipe that names the prior and the run that it was fitted to, the
learning curves of that run, and metrics, images and a report of the new model. Nothing is written before all is computed.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from vaekit.core.arguments import Count, Seed, Within, checked
from vaekit.core.config import INFERRED, describe, to_data
from vaekit.core.errors import ConfigError, RunError
from vaekit.core.files import atomic_path, user_path, write_json, write_text
from vaekit.core.progress import OutputConsole, print_line
from vaekit.data import ImageSet, in_class_order
from vaekit.distributions import PRIORS
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.evaluation_result import Evaluation
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples.memorization import Memorization, memorization
from vaekit.experiment.fine_tuning import weights_hash
from vaekit.experiment.place import begin_errors, has_run, locate, refuse_other_folder, refuse_other_images
from vaekit.experiment.prepare import Splits, load_splits
from vaekit.experiment.prior_fit import FittedPrior, fit_to_model, require_fittable
from vaekit.experiment.run_writer import fingerprints, num_parameters, shown_images, write_curves, write_grids
from vaekit.models.serialization import save_vae
from vaekit.plots.look import PAGE
from vaekit.plots.neighbors import neighbor_plot
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.metric_text import print_metrics
from vaekit.reports.run_report import run_report
from vaekit.runs.identity import identity
from vaekit.runs.lock import locked
from vaekit.runs.names import short_name
from vaekit.runs.origins import PriorFit
from vaekit.runs.recipe import Recipe, complete, write_recipe
from vaekit.runs.replacement import BEGINNING, begin, forget, install, recover
from vaekit.runs.run_folder import ENVIRONMENT, HISTORY, METRICS, RECIPE, REPORT, RunFolder
from vaekit.training import find_device

MEMORIZATION = "memorization.png"
"""The name of the picture of samples beside their nearest training images."""


@checked(ConfigError)
def fit_prior(
    run: RunFolder | str | Path,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    steps: Count | None = None,
    batch_size: Annotated[int, Within(2)] | None = None,
    lr: Annotated[float, Within(0, above=True)] | None = None,
    passes: Count | None = None,
    seed: Seed = 0,
    device: str = "cpu",
    force: bool = False,
    report: bool = True,
    console: Console | None = None,
) -> RunFolder:
    """Fits a prior to a trained run, and writes a new run with its encoder and decoder and the new prior.

    Arguments:
        run: The run, or its folder.
        name: The name of the prior: ``gaussian``, ``mixture``, ``flow``, ``maf``, ``two-stage`` or ``flow-matching``;
            of codes ``transformer``.
        arguments: Arguments of the prior, such as ``{"num_components": 20}``; the others have their defaults.
        out: The folder of the new run; by default that of the run with the name of the prior appended.
        steps: The maximum number of gradient steps; by default that of the prior.
        batch_size: The number of latents in a step.
        lr: The highest learning rate.
        passes: How often each training image is encoded; by default once, and 4 times if it is changed at random.
        seed: The seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        force: Whether to replace a run that ``out`` holds.
        report: Whether to write the report.
        console: Where results are printed; ``Console(quiet=True)`` of ``rich`` prints nothing.

    Raises:
        VaekitError: If the run or its images cannot be read, there is no such prior, or an argument is wrong.

    Example:
        >>> better = vaekit.fit_prior("runs/fashion-mnist", "flow-matching")
        >>> better.model.sample(64)
    """
    source = run if isinstance(run, RunFolder) else RunFolder(run)
    console = console or OutputConsole()
    require_fittable(name)
    wanted = {"steps": steps, "batch_size": batch_size, "lr": lr}
    changes = {key: value for key, value in wanted.items() if value is not None}
    if not source.has_recipe:
        raise RunError(f"{source.folder}: a model folder does not say which images it was trained on; name a run folder")
    folder = user_path(out or source.folder.with_name(f"{source.folder.resolve().name}-{name}"))
    refuse_place(folder, source.folder, force)
    splits = splits_of(source)
    model = source.model.to(find_device(device))
    with locked(folder):
        recover(folder)
        refuse_place(folder, source.folder, force)
        try:
            fitted = fit_to_model(
                model,
                name,
                splits.train,
                splits.valid,
                transform=splits.transform,
                arguments=arguments,
                changes=changes,
                passes=passes,
                seed=seed,
            )
            for line in fitted.lines():
                print_line(line, console)
            evaluation = evaluate_model(fitted.model, splits.test, config=_config(source.recipe))
            copies = memorization_of(source, fitted)
            with begin_errors(folder):
                _write(source, fitted, evaluation, copies, splits, folder)
        finally:
            shutil.rmtree(folder / BEGINNING, ignore_errors=True)
        print_metrics(evaluation, console)
        for line in [] if copies is None else copies.lines():
            print_line(line, console)
        result = RunFolder(folder)
        if report and isinstance(splits.test, ImageSet):
            channels = source.recipe.data.shown_channels
            run_report(result, Gallery(fitted.model, splits.test, channels=channels, look=PAGE)).save(folder / REPORT)
            print_line(f"report    {folder / REPORT}", console)
        print_line(f"images    {folder / 'images'}", console)
    return result


def refuse_place(folder: Path, source: Path, force: bool) -> None:
    """Refuses a folder for a new run that holds something already.

    Raises:
        RunError: If it holds something that is no run, or a run and ``force`` is not set, or it is the source.
    """
    if folder.resolve() == source.resolve():
        raise RunError(f"{folder}: the run whose prior is fitted stays as it is; choose another folder with --out")
    refuse_other_folder(folder)
    if has_run(folder) and not force:
        raise RunError(f"{folder}: holds a run; --force replaces it, --out chooses another folder")


def splits_of(run: RunFolder) -> Splits:
    """Returns the data of a run, as its model was trained on them.

    Raises:
        DataError: If they are not there.
        RunError: If they are other images than those of the run.
    """
    recipe = run.recipe
    splits = load_splits(recipe.data, recipe.training.seed, location=locate(run.folder, ()))
    refuse_other_images(run.folder, fingerprints(splits), recipe.data.name)
    if run.model.condition is None:
        return splits
    classes = run.model.condition.classes
    train, valid, test = (in_class_order(part, classes) for part in (splits.train, splits.valid, splits.test))
    return replace(splits, train=train, valid=valid, test=test)


def memorization_of(run: RunFolder, fitted: FittedPrior) -> Memorization | None:
    """Returns whether samples are copies of training images, which are gray also for a model of binarized ones."""
    train, test = run.images(split="train", binarized=False), run.images(binarized=False)
    return memorization(fitted.model, train, test, seed=fitted.seed)


def fitted_recipe(run: RunFolder, fitted: FittedPrior) -> Recipe:
    """Returns the recipe of a run with a fitted prior: that of the run, with the prior and how it was fitted."""
    base = run.recipe
    data = {key: value for key, value in to_data(base).items() if key not in ("expected", "needs")}
    data["name"] = f"{base.name}-{fitted.name}"
    data["title"] = f"{base.title or base.name}, with the prior {fitted.name} fitted to {short_name(str(run.folder))}"
    data["model"]["prior"] = describe(fitted.model.prior, PRIORS, inferred=INFERRED)
    data["training"]["epochs"] = len(run.history) or base.training.epochs
    data["prior_fit"] = PriorFit(
        run=str(run.folder),
        weights=weights_hash(run.model),
        steps=fitted.schedule.steps,
        batch_size=fitted.schedule.batch_size,
        lr=fitted.schedule.lr,
        passes=fitted.passes,
        seed=fitted.seed,
    )
    return complete(data, {})


def _config(recipe: Recipe) -> Any:
    return replace(BRIEF, num_samples=recipe.evaluation.num_samples, max_images=recipe.evaluation.max_images)


def _write(
    run: RunFolder,
    fitted: FittedPrior,
    evaluation: Evaluation,
    copies: Memorization | None,
    splits: Splits,
    folder: Path,
) -> None:
    """Writes the new run, and puts it in place when it is whole."""
    recipe, beginning = fitted_recipe(run, fitted), begin(folder)
    known = run.environment
    name = identity(recipe, known["data"])
    write_recipe(recipe, beginning / RECIPE)
    write_text(beginning / HISTORY, (run.folder / HISTORY).read_text(encoding="utf-8"))
    write_json(beginning / ENVIRONMENT, known | _facts(fitted, name))
    write_json(beginning / METRICS, _metrics(run, recipe, fitted, evaluation, copies))
    save_vae(fitted.model, beginning, belongs_to=name)
    _write_images(run, fitted, copies, splits, beginning)
    install(folder)
    forget(folder)


def _facts(fitted: FittedPrior, name: str) -> dict[str, Any]:
    """What the environment of a run says of the fit."""
    return {
        "run": name,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "parameters": num_parameters(fitted.model),
    }


def _metrics(
    run: RunFolder, recipe: Recipe, fitted: FittedPrior, evaluation: Evaluation, copies: Memorization | None
) -> dict[str, Any]:
    """The final metrics; epochs and seconds are those of encoder and decoder."""
    history = run.history
    return {
        "recipe": recipe.name,
        "epochs": history[-1]["epoch"],
        "best_epoch": max((record["epoch"] for record in history if record.get("best")), default=history[-1]["epoch"]),
        "seconds": history[-1]["seconds"],
        "parameters": num_parameters(fitted.model),
        **evaluation.to_data(),
        "prior_fit": {
            "seconds": round(fitted.seconds, 2),
            "steps": fitted.record.steps,
            "best_step": fitted.record.best_step,
            "losses": fitted.record.losses,
            **({} if fitted.gain is None else {"gain": fitted.gain.to_data()}),
        },
        **({} if copies is None else {"memorization": copies.to_data()}),
    }


def _write_images(run: RunFolder, fitted: FittedPrior, copies: Memorization | None, splits: Splits, folder: Path) -> None:
    """Writes reconstructions, samples, learning curves and the nearest training images."""
    channels, look = run.recipe.data.shown_channels, RunFolder(folder).look
    shown = shown_images(splits.test, channels)
    if shown is not None:
        write_grids(fitted.model, shown, folder, channels, look)
    write_curves(folder)
    if copies is not None:
        train = run.images(split="train", binarized=False)
        plot = neighbor_plot(copies.images, copies.samples, copies.nearest, train, channels, look)
        with atomic_path(folder / "images" / MEMORIZATION) as partial:
            plot.save(partial)
