"""From a recipe to an experiment: data, model, step and trainer, built and checked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

from vaekit.core.config import build, to_data, validate
from vaekit.core.errors import ConfigError, DataError, ModelError, SeveralSizesError
from vaekit.core.memory import limit_allocations, memory_bytes
from vaekit.core.progress import notify
from vaekit.data import (
    Batches,
    Dataset,
    ImageSet,
    Transform,
    augmenter,
    binarize,
    compose,
    hold_out,
    in_class_order,
    load_images,
    load_validation,
    sample_binary,
)
from vaekit.data.preprocessing import Preprocessing
from vaekit.distributions import PRIORS
from vaekit.distributions.priors import require_density
from vaekit.evaluation.latents.code_use import code_use
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.experiment.fine_tuning import begin_with, initial_classes
from vaekit.experiment.network_size import fitted_parts
from vaekit.models import VAE, Model, VAEConfig, build_vae, check_savable
from vaekit.objectives import OBJECTIVES, Objective
from vaekit.plots.channel_choice import check_channels
from vaekit.runs.location import Location
from vaekit.runs.recipe import Recipe
from vaekit.runs.recipe_sections import DataSection
from vaekit.runs.run_folder import TEST_SEED
from vaekit.training import OPTIMIZERS, SCHEDULERS, STEPS, Callback, StepSetup, Trainer, make_accelerator
from vaekit.training.trainer import Validate
from vaekit.training.training_config import TrainingConfig

COPIES_OF_WEIGHTS = 5
"""What training keeps for each weight: the weight, its gradient, two moments, and the best weight."""
NUM_COMPARED = 2
"""The number of images of which a model and its copy compute the ELBO, to check that the model can be saved."""
VALIDATION_SEED, TRAIN_SEED = 1, 2
"""The seeds with which validation and training images are binarized once, the same for every run."""


@dataclass(frozen=True)
class Splits:
    """The data of a run, and the transform of training batches."""

    train: Dataset
    valid: Dataset
    test: Dataset
    transform: Transform | None


@dataclass(frozen=True)
class Experiment:
    """A recipe with everything that it names, built and checked; nothing is written yet."""

    recipe: Recipe
    splits: Splits
    model: Model
    trainer: Trainer


def prepare(
    recipe: Recipe,
    *,
    model: Model | None = None,
    images: Dataset | None = None,
    test: Dataset | None = None,
    location: Location | None = None,
    callbacks: Sequence[Callback] = (),
    classes: Sequence[str] = (),
    begins: bool = True,
) -> Experiment:
    """Builds what a recipe names.

    Arguments:
        recipe: The recipe.
        model: A model to train instead of the recipe's.
        images: Data to train on instead of the recipe's.
        test: Data to test on instead of the recipe's.
        location: Where the recipe's images are, if not where the recipe says.
        callbacks: Passed to the trainer.
        classes: The classes of the run that is continued, by label; empty for those of the data.
        begins: Whether the run begins, so that its model gets the weights that the recipe names; else a checkpoint has them.

    Raises:
        VaekitError: If a part of it cannot be built, or two parts do not fit together.
    """
    refuse_fitted_prior(recipe)
    config = recipe.training
    accelerator = make_accelerator(config.device, config.precision)
    splits = load_splits(recipe.data, config.seed, images, test, location)
    if classes := classes or initial_classes(recipe.initial if recipe.model.conditional else None):
        splits = replace(
            splits,
            train=in_class_order(splits.train, classes),
            valid=in_class_order(splits.valid, classes),
            test=in_class_order(splits.test, classes),
        )
    model = model or build_model(recipe, splits.train)
    if begins and recipe.initial is not None:
        begin_with(model, recipe.initial)
    if tuple(model.shape) != tuple(splits.train.shape):
        raise ModelError(
            f"the model reads images of {model.shape} and the data has {splits.train.shape}; give both one shape"
        )
    if model.condition is not None and splits.train.labels is None:
        raise DataError(f"{splits.train.name}: has no labels, which a conditional model needs")

    few = splits.train.first(NUM_COMPARED)
    check_savable(model, few.gather(torch.arange(len(few))), None if model.condition is None else few.labels)
    recipe = with_found_levels(recipe, splits.train)
    if isinstance(model, VAE):
        model.preprocessing = preprocessing_of(recipe.data, splits.train)

    def validate(model: Model) -> dict[str, float]:
        use = code_use(model, splits.valid)
        return bound_values(model, splits.valid, shared=True) | ({} if use is None else use.values())

    trainer = make_trainer(recipe, model, splits.train, splits.transform, validate, callbacks, accelerator)
    return Experiment(recipe, splits, model, trainer)


def refuse_fitted_prior(recipe: Recipe) -> None:
    """Refuses a recipe whose prior is fitted after training.

    Raises:
        ConfigError: If it is.
    """
    name = recipe.model.prior["name"]
    if recipe.prior_fit is not None:
        raise ConfigError(
            f"{recipe.name}: its prior was fitted to {recipe.prior_fit.run} and not trained with the model; fit it again: "
            f"vae prior {recipe.prior_fit.run} --name {name}"
        )
    require_density(name, PRIORS[name])  # type: ignore[arg-type]


def preprocessing_of(data: DataSection, images: Dataset) -> Preprocessing | None:
    """Returns how later images are prepared for a model that is trained on these; None if they are no images."""
    if not isinstance(images, ImageSet):
        return None
    options = {key: getattr(data, key) for key in ("fit", "background", "levels", "binarize")}
    return Preprocessing(**options, classes=images.class_names)


def with_lr(experiment: Experiment, lr: Any) -> Experiment:
    """Returns an experiment that goes on with another learning rate, from the step that its trainer has come to.

    Raises:
        ConfigError: If it is no learning rate.
    """
    trainer, config = experiment.trainer, experiment.recipe.training
    step = trainer.progress.step
    changes = [[at, value] for at, value in config.lr_changes if at < step] + [[step, lr]]
    try:
        trainer.config = validate(TrainingConfig, to_data(config) | {"lr_changes": changes}, "training")
    except ConfigError as error:  # of a place in the recipe that the user has not typed
        raise ConfigError(str(error).replace(f"training.lr_changes.{len(changes) - 1}.1", "optimizer.lr")) from None
    return replace(experiment, recipe=experiment.recipe.model_copy(update={"training": trainer.config}))


def with_found_levels(recipe: Recipe, images: Dataset) -> Recipe:
    """Returns a recipe with the levels that were found for its images, by which later images are scaled, too."""
    if not isinstance(images, ImageSet) or isinstance(recipe.data.levels, list):
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"levels": images.levels.write()})})


def load_splits(
    data: DataSection,
    seed: int,
    images: Dataset | None = None,
    test: Dataset | None = None,
    location: Location | None = None,
) -> Splits:
    """Loads and prepares the data of a run.

    Arguments:
        data: The source of the images and how they are prepared.
        seed: The seed of the random validation split.
        images: Data to train on instead.
        test: Data to test on instead.
        location: Where the images are, if not where ``data`` says.

    Raises:
        DataError: If training and test data have different shapes.
        ConfigError: If augmented images would have to be binary, or images do not have the channels to show.
    """
    valid: Dataset | None = None
    if images is None:
        options: dict[str, Any] = {key: getattr(data, key) for key in ("size", "channels", "fit", "background", "levels")}
        sources = data.sources if location is None else location.sources
        source = sources[0] if len(sources) == 1 else sources
        images = _load_training_images(source, options)
        test = test or load_images(source, "test", **options)
        valid = load_validation(source, **options)
        if location is not None:
            images, test = replace(images, name=location.name), replace(test, name=location.name)
            valid = None if valid is None else replace(valid, name=location.name)
    elif test is None:
        images, test = hold_out(images, 0.1, seed=seed, splits=("train", "test"))
    if test.shape != images.shape:
        raise DataError(f"training images are {images.shape} and test images {test.shape}; give them one shape")
    if valid is None:
        train, valid = hold_out(images, data.validation, seed=seed, splits=("train", "validation"))
    else:
        train = images
        notify(f"{train.name}: validated on its own {len(valid):,} validation images; data.validation is not used")
    if isinstance(train, ImageSet) and isinstance(valid, ImageSet) and isinstance(test, ImageSet):
        return _prepare_images(data, train, valid, test)
    if data.augment is not None or data.binarize != "none":
        raise ConfigError(f"data: {train.name} is no set of images, so it cannot be augmented or binarized")
    return Splits(train, valid, test, None)


def _load_training_images(source: str | Sequence[str], options: dict[str, Any]) -> ImageSet:
    """The training images; those of several sizes are fitted to one that suits them, which is set in the options."""
    try:
        return load_images(source, "train", **options)
    except SeveralSizesError as several:
        side = options["size"] = several.proposal
        name = source if isinstance(source, str) else " + ".join(source)
        notify(f"{name}: the images have several sizes and are fitted to {side}x{side}; --size chooses another")
        return load_images(source, "train", **options)


def _prepare_images(data: DataSection, train: ImageSet, valid: ImageSet, test: ImageSet) -> Splits:
    """Images, binarized and augmented as the recipe says."""
    check_channels(data.shown_channels, train.shape[0], "data.shown_channels")
    steps = [] if data.augment is None else [augmenter(data.augment, train.shape, data.background)]
    if data.binarize != "none":
        valid, test = binarize(valid, seed=VALIDATION_SEED), binarize(test, seed=TEST_SEED)
    if data.binarize == "static":
        if steps:
            raise ConfigError("data.augment: changed images would not be binary; set data.binarize to dynamic or none")
        train = binarize(train, seed=TRAIN_SEED)
    if data.binarize == "dynamic":
        steps.append(sample_binary)
    return Splits(train, valid, test, compose(steps))


def build_model(recipe: Recipe, images: Dataset) -> Model:
    """Builds a recipe's model for the shape, and if it is conditional for the classes, of the data."""
    section = recipe.model
    condition = None
    if section.conditional:
        if images.labels is None:
            raise DataError(f"{images.name}: has no labels, which --conditional needs")
        condition = {"name": "class-label", "classes": list(images.class_names)}
    parts = fitted_parts(section, images) if section.fitted else section.model_dump(exclude={"conditional", "fitted"})
    memory = memory_bytes()
    reason = f"the memory of this machine ({memory / 1e9:.0f} GB) allows in training; choose smaller layers"
    with limit_allocations(memory / COPIES_OF_WEIGHTS, "model", reason):
        return build_vae(VAEConfig(shape=images.shape, condition=condition, **parts))


def make_trainer(
    recipe: Recipe,
    model: Model,
    images: Dataset,
    transform: Transform | None,
    validate: Validate,
    callbacks: Sequence[Callback] = (),
    accelerator: Accelerator | None = None,
) -> Trainer:
    """Builds a recipe's objective, optimizer, step, scheduler and trainer for a model and its training data.

    Raises:
        VaekitError: If a part of it cannot be built.
    """
    config = recipe.training
    accelerator = accelerator or make_accelerator(config.device, config.precision)
    model.to(accelerator.device)
    objective: Objective = build(OBJECTIVES, recipe.objective, place="objective").to(accelerator.device)
    _refuse_settings(recipe, objective)
    objective.prepare(model, images)
    parameters = [*model.parameters(), *(p for p in objective.parameters() if p.requires_grad)]
    optimizer = build(OPTIMIZERS, recipe.optimizer, place="optimizer", parameters=parameters)
    scheduler = build(SCHEDULERS, recipe.scheduler, place="scheduler", optimizer=optimizer, epochs=config.epochs)
    setup = StepSetup(model, objective, optimizer, accelerator, len(images), config.clip_norm, config.seed)
    step = build(STEPS, recipe.step, place="step", setup=setup)
    device = accelerator.device
    batches = Batches(images, config.batch_size, seed=config.seed, device=device, transform=transform, shared=True)
    return Trainer(step, batches, scheduler, config, validate, callbacks)


def _refuse_settings(recipe: Recipe, objective: Objective) -> None:
    """Refuses settings that an objective does not fit."""
    name = recipe.objective["name"]
    if objective.keeps_last and recipe.training.patience is not None:
        raise ConfigError(
            f"training.patience: waits for a better validation ELBO, which the objective {name} does not look for; "
            "set it to null"
        )
    if objective.needs_gray_levels and recipe.data.binarize != "none":
        raise ConfigError(
            f"data.binarize: the objective {name} compares images with means of p(x|z), which are not binary; set it to none"
        )
