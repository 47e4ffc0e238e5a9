"""Experiments: the one place that wires data, model, objective, training, evaluation and images together.

:func:`run` turns a recipe into a run folder, :func:`resume` goes on where one stopped, and :func:`train` is both for Python.
"""

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from vaekit.core.config import build, describe, to_data
from vaekit.core.errors import ConfigError, DataError, Diverged, Interrupted, ModelError, RunError
from vaekit.core.files import atomic_path, write_json
from vaekit.core.rng import fixed_seed
from vaekit.data import Batches, ImageSet, Transform, augmenter, binarize, compose, hold_out, load_images, sample_binary
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.models import VAE, VAEConfig, build_vae, load_vae, save_vae
from vaekit.models.serialization import FORMAT
from vaekit.objectives import OBJECTIVES, Objective
from vaekit.presentation.metric_text import print_metrics
from vaekit.runs.recipe import DataSection, Recipe, complete, load_recipe, recipe_of, write_recipe
from vaekit.runs.run_folder import ENVIRONMENT, HISTORY, METRICS, RECIPE, REPORT, STATE, TEST_SEED, RunFolder
from vaekit.training import (
    OPTIMIZERS,
    SCHEDULERS,
    Hooks,
    Trainer,
    make_accelerator,
    read_state,
    view_for,
    write_state,
)

VALIDATION_SEED, TRAIN_SEED = 1, 2
"""The seeds with which the other splits are binarized once, the same for every run."""
CURVES_SECONDS = 10
"""How long the learning curves stand before they are drawn anew: they take longer than an epoch of a small model."""
MAY_CHANGE = (
    "training.epochs",
    "training.patience",
    "training.device",
    "training.images_every",
    "training.checkpoint_minutes",
)
"""What a resumed run may change."""


@dataclass(frozen=True)
class Splits:
    """The images of a run, and what is done to training images each time they are seen."""

    train: ImageSet
    valid: ImageSet
    test: ImageSet
    transform: Transform | None


def train(
    what: str | Path | VAE,
    images: ImageSet | NDArray[Any] | Tensor | None = None,
    *,
    test: ImageSet | None = None,
    objective: Objective | None = None,
    out: str | Path | None = None,
    force: bool = False,
    console: Console | None = None,
    **overrides: Any,
) -> RunFolder:
    """Trains a recipe, or a model put together by hand.

    Arguments:
        what: The name of a recipe, a YAML file, or a VAE.
        images: Images to learn from instead of the recipe's; required for a VAE.
        test: Images for the final numbers; without them they are held out of ``images``.
        objective: What is asked of the model instead of the recipe's objective.
        out: The run folder; ``runs/NAME`` by default.
        force: Whether to replace a run that is there already.
        console: Where to tell about it; ``Console(quiet=True)`` of ``rich`` tells nothing.
        overrides: Changes by shorthand (``epochs=5``, ``lr=1e-3``, ...) or, with ``**{...}``, by place (``training.ema``).

    Returns:
        The run, whose ``model`` is that of the best epoch; a VAE that was handed over ends as the last one left it.

    Raises:
        VaekitError: If anything that was asked for cannot be.

    Example:
        >>> run = vaekit.train("mnist-conv", epochs=5)
        >>> run.metrics["elbo"]["value"]
    """
    given = images if images is None or isinstance(images, ImageSet) else load_images(images, "all")
    spec = None if objective is None else describe(objective, OBJECTIVES)
    if isinstance(what, VAE):
        if given is None:
            raise DataError("a model put together by hand learns from images: train(model, images)")
        recipe = recipe_of(what, given.name, overrides, spec)
        folder = Path(out or f"runs/{recipe.name}")
        return run(recipe, folder, force=force, model=what, images=given, test=test, console=console)
    named = {} if given is None else {"data": given.name}
    recipe = load_recipe(what, named | overrides | ({} if spec is None else {"objective": spec}))
    folder = Path(out or f"runs/{recipe.name}")
    return run(recipe, folder, force=force, images=given, test=test, console=console)


def load_splits(data: DataSection, seed: int, images: ImageSet | None = None, test: ImageSet | None = None) -> Splits:
    """Loads and prepares the images of a run.

    Arguments:
        data: Which images, and how they are prepared.
        seed: The seed with which the validation split is drawn.
        images: Images to learn from instead.
        test: Images to test on instead.
    """
    if images is None:
        fitting = {"fit": data.fit, "background": data.background}
        options: dict[str, Any] = {"size": data.size, "channels": data.channels, **fitting}
        images = load_images(data.name, "train", **options)
        test = test or load_images(data.name, "test", **options)
    elif test is None:
        images, test = hold_out(images, 0.1, seed=seed, splits=("train", "test"))
    if test.shape != images.shape:
        raise DataError(f"training images are {images.shape} and test images {test.shape}; give them one shape")
    train, valid = hold_out(images, data.validation, seed=seed, splits=("train", "validation"))
    steps = [] if data.augment is None else [augmenter(data.augment, images.shape, data.background)]
    if data.binarize != "none":
        valid, test = binarize(valid, seed=VALIDATION_SEED), binarize(test, seed=TEST_SEED)
    if data.binarize == "static":
        if steps:
            raise ConfigError("data.augment: changed images would not be binary; set data.binarize to dynamic or none")
        train = binarize(train, seed=TRAIN_SEED)
    if data.binarize == "dynamic":
        steps.append(sample_binary)
    return Splits(train, valid, test, compose(steps))


@dataclass(frozen=True)
class Experiment:
    """A recipe made real: everything is built and checked, and nothing is written yet."""

    recipe: Recipe
    splits: Splits
    model: VAE
    trainer: Trainer


def prepare(
    recipe: Recipe, *, model: VAE | None = None, images: ImageSet | None = None, test: ImageSet | None = None
) -> Experiment:
    """Builds what a recipe names.

    Raises:
        VaekitError: If a part of it cannot be.
    """
    config = recipe.training
    accelerator = make_accelerator(config.device, config.precision)
    splits = load_splits(recipe.data, config.seed, images, test)
    model = model or build_model(recipe, splits.train)
    if tuple(model.shape) != tuple(splits.train.shape):
        raise ModelError(
            f"the model reads images of {model.shape} and the data has {splits.train.shape}; give both one shape"
        )
    if model.condition is not None and splits.train.labels is None:
        raise DataError(f"{splits.train.name}: has no labels, which a conditional model needs")
    trainer = make_trainer(recipe, model, splits.train, splits.transform, accelerator)
    return Experiment(recipe, splits, model, trainer)


def make_trainer(
    recipe: Recipe, model: VAE, images: ImageSet, transform: Transform | None, accelerator: Accelerator | None = None
) -> Trainer:
    """Wires a model to what it learns from and to a recipe's objective, optimizer and scheduler.

    Raises:
        VaekitError: If a part of it cannot be.
    """
    config = recipe.training
    accelerator = accelerator or make_accelerator(config.device, config.precision)
    model.to(accelerator.device)
    optimizer = build(OPTIMIZERS, recipe.optimizer, place="optimizer", parameters=list(model.parameters()))
    scheduler = build(SCHEDULERS, recipe.scheduler, place="scheduler", optimizer=optimizer, epochs=config.epochs)
    objective = build(OBJECTIVES, recipe.objective, place="objective")
    batches = Batches(images, config.batch_size, seed=config.seed, device=accelerator.device, transform=transform)
    return Trainer(model, objective, batches, optimizer, scheduler, config, accelerator)


def build_model(recipe: Recipe, images: ImageSet) -> VAE:
    """Builds a recipe's model for the shape, and if it is conditional the classes, of images."""
    section = recipe.model
    condition = None
    if section.conditional:
        if images.labels is None:
            raise DataError(f"{images.name}: has no labels, which --conditional needs")
        condition = {"name": "class-label", "classes": list(images.class_names)}
    parts = section.model_dump(exclude={"conditional"})
    return build_vae(VAEConfig(shape=images.shape, condition=condition, **parts))


def run(
    recipe: Recipe,
    folder: Path,
    *,
    force: bool = False,
    model: VAE | None = None,
    images: ImageSet | None = None,
    test: ImageSet | None = None,
    console: Console | None = None,
) -> RunFolder:
    """Runs a recipe from its first step to its last number.

    Arguments:
        recipe: What to run.
        folder: Where the run goes; it is made when everything that it needs has been found.
        force: Whether to replace a run that is there already.
        model: A model to train instead of the recipe's.
        images: Images to learn from instead of the recipe's.
        test: Images to test on instead of the recipe's.
        console: Where to tell about it.

    Raises:
        VaekitError: If anything that the recipe asks for cannot be.
    """
    console = console or Console()
    _refuse_existing(folder, force)
    with fixed_seed(recipe.training.seed):
        experiment = prepare(recipe, model=model, images=images, test=test)
        announce(experiment, folder, console)
        _replace(folder)
        write_recipe(recipe, folder / RECIPE)
        write_json(folder / ENVIRONMENT, environment(experiment))
        return _carry_out(experiment, folder, console)


def resume(
    folder: Path, overrides: Mapping[str, Any], console: Console | None = None, *, dry_run: bool = False
) -> RunFolder:
    """Goes on with a run where it stopped; on the CPU the result is that of a run that never did, bit for bit.

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
        experiment = prepare(recipe)
        if _known(folder) != _fingerprints(experiment.splits):
            raise RunError(f"{recipe.data.name}: the images have changed since the run began, so it cannot be resumed")
        experiment.trainer.load_state_dict(state)
        progress = experiment.trainer.progress
        if experiment.trainer.finished and (folder / METRICS).exists():
            raise RunError(f"{folder}: finished after {progress.epoch} epochs; give more with --epochs to go on")
        if dry_run:
            announce(experiment, folder, console)
            return RunFolder(folder)
        (folder / METRICS).unlink(missing_ok=True)
        write_recipe(recipe, folder / RECIPE)
        history = folder / HISTORY
        lines = history.read_text().splitlines() if history.exists() else []
        history.write_text("".join(f"{line}\n" for line in lines[: progress.epoch]))
        announce(experiment, folder, console)
        console.print(f"going on after {progress.epoch} epochs, step {progress.step:,}", highlight=False)
        return _carry_out(experiment, folder, console)


def environment(experiment: Experiment) -> dict[str, Any]:
    """What the run ran on and with."""
    packages = ("vaekit", "torch", "accelerate", "datasets", "numpy", "safetensors", "torchmetrics")
    device, splits = experiment.trainer.accelerator.device, experiment.splits
    return {
        "format": FORMAT,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seed": experiment.recipe.training.seed,
        "parameters": num_parameters(experiment.model),
        "data": _fingerprints(splits),
        "images": {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
    }


def num_parameters(model: VAE) -> int:
    """How many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def example_labels(model: VAE, num: int) -> Tensor | None:
    """Labels for images that nobody asked a class of: each class in turn, or None for a model without classes."""
    return None if model.condition is None else torch.arange(num) % len(model.condition.classes)


def _carry_out(experiment: Experiment, folder: Path, console: Console) -> RunFolder:
    """Trains, evaluates and draws."""
    trainer, splits = experiment.trainer, experiment.splits
    shown = _shown(splits.valid)
    curves_due = 0.0

    def validate(model: VAE) -> dict[str, float]:
        return bound_values(model, splits.valid)

    def end_epoch(record: dict[str, Any], model: VAE) -> None:
        nonlocal curves_due
        with (folder / HISTORY).open("a") as file:
            file.write(json.dumps(record) + "\n")
        if record["epoch"] % experiment.recipe.training.images_every == 0:
            draw(model, shown, folder)
            epochs = folder / "images" / "epochs"
            epochs.mkdir(exist_ok=True)
            for name in ("reconstructions", "samples"):
                shutil.copy(folder / "images" / f"{name}.png", epochs / f"{name}-{record['epoch']:04d}.png")
            if time.monotonic() >= curves_due:
                draw_curves(folder)
                curves_due = time.monotonic() + CURVES_SECONDS

    hooks = Hooks(
        validate=validate,
        keep_best=lambda model: save_vae(model, folder),
        end_epoch=end_epoch,
        save=lambda state: write_state(folder / STATE, state),
    )
    try:
        trainer.fit(hooks, view_for(console))
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
        raise Interrupted(f"stopped after the last epoch; for its numbers: vae train --resume {folder}") from None


def _finish(experiment: Experiment, folder: Path, console: Console) -> RunFolder:
    """The final numbers, images and page, of the best model on the test split."""
    from vaekit.evaluation.model_evaluation import brief, evaluate
    from vaekit.presentation.gallery import Gallery
    from vaekit.reports.run_report import write_report

    recipe, trainer, test = experiment.recipe, experiment.trainer, experiment.splits.test
    model = load_vae(folder).to(trainer.accelerator.device)
    section = recipe.evaluation
    metrics = {
        "recipe": recipe.name,
        "epochs": trainer.progress.epoch,
        "best_epoch": trainer.progress.best_epoch,
        "seconds": round(trainer.progress.seconds, 2),
        "parameters": num_parameters(model),
        **evaluate(model, test, effort=brief(section.num_samples, section.max_images)),
    }
    draw(model, _shown(test), folder)
    draw_curves(folder)
    write_json(folder / METRICS, metrics)
    print_metrics(metrics, console)
    with atomic_path(folder / REPORT) as partial:
        write_report(RunFolder(folder), Gallery(model, test), partial)
    console.print(f"page      {folder / REPORT}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"images  {folder / 'images'}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"numbers   {folder / METRICS}", highlight=False, markup=False, soft_wrap=True)
    return RunFolder(folder)


def draw(model: VAE, images: ImageSet, folder: Path) -> None:
    """Writes ``reconstructions.png`` and ``samples.png`` into the run's ``images``."""
    from vaekit.plots import grid, reconstruction_pairs
    from vaekit.plots.grids import columns_for, number_for

    num = number_for(*images.shape[1:])
    pixels = folder / "images"
    pixels.mkdir(exist_ok=True)
    x = images.pixels.to(model.device)
    labels = images.labels if model.condition is not None else None
    with fixed_seed(0):
        samples = model.sample(num, example_labels(model, num))
    reconstruction_pairs(x, model.reconstruct(x, labels)).save(pixels / "reconstructions.png")
    grid(samples, columns_for(images.shape[-1])).save(pixels / "samples.png")


def _shown(images: ImageSet) -> ImageSet:
    """The images of a set that are drawn as training goes."""
    from vaekit.plots.grids import number_for

    return images.first(number_for(*images.shape[1:]))


def draw_curves(folder: Path) -> None:
    """Writes ``curves.png`` into the run's ``images``."""
    RunFolder(folder).curves().savefig(folder / "images" / "curves.png", dpi=120)


def announce(experiment: Experiment, folder: Path, console: Console) -> None:
    """Says in a line what is trained on what."""
    recipe, splits, trainer = experiment.recipe, experiment.splits, experiment.trainer
    shape = "x".join(str(side) for side in experiment.model.shape)
    console.print(
        f"{recipe.name}: {len(splits.train):,} {shape} images of {splits.train.name} to learn from, "
        f"{len(splits.valid):,} to validate, {len(splits.test):,} to test; {recipe.model.latent_dim} latents, "
        f"{num_parameters(experiment.model):,} parameters; {len(trainer.batches):,} steps an epoch "
        f"on {trainer.accelerator.device}; {folder}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _refuse_existing(folder: Path, force: bool) -> None:
    """Raises unless the folder is free, or a run that may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not ((folder / RECIPE).is_file() and (folder / ENVIRONMENT).is_file()):
        raise RunError(f"{folder}: exists and is no run folder; choose another with --out")
    if not force:
        raise RunError(f"{folder}: exists; --force replaces it, --out chooses another, vae train --resume {folder} goes on")


def _replace(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # not the folder itself, which may be a link or where one stands
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror})") from None


def _known(folder: Path) -> Any:
    """The fingerprints of the images that a run began with."""
    path = folder / ENVIRONMENT
    try:
        return json.loads(path.read_text())["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}), so the run cannot be resumed") from None


def _fingerprints(splits: Splits) -> dict[str, str]:
    return {"train": splits.train.fingerprint, "test": splits.test.fingerprint, "name": splits.train.name}


def _differences(before: Any, after: Any, place: str = "") -> list[str]:
    """The dotted places at which two nested dictionaries differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [d for key in keys for d in _differences(before.get(key), after.get(key), f"{place}.{key}".lstrip("."))]
    return [] if before == after else [place]
