"""Training with measurements at given epochs, resumable from a checkpoint."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaekit.core.config import to_data
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet, Transform
from vaekit.experiment.prepare import build_model, make_trainer
from vaekit.models import Model, save_vae
from vaekit.reproduction.artifact_progress import ArtifactView
from vaekit.runs.recipe import Recipe
from vaekit.training import Callback, Trainer, read_state, write_state

CHECKPOINT = "state.safetensors"
NOT_MEASURED = {"elbo": -math.inf, "distortion": math.inf, "rate": 0.0}

Measure = Callable[[Model], dict[str, Any]]
"""Measures a model during training; ``elbo`` is required if the recipe has a patience."""


@dataclass(frozen=True)
class MeasuredTraining:
    """A training that measures the model after given epochs.

    The trained model is that of the last epoch, or the one with the best measured ``elbo`` if the recipe has a patience.

    Arguments:
        recipe: The model, the objective, the optimizer and the number of epochs.
        images: The training images.
        measure: Returns the numbers to record.
        epochs: The epochs after which the model is measured, starting at 1.
        transform: Applied to training images each time they are used.
        initialize: Changes the initial weights of the model.
        extra_settings: Settings that the result depends on and that the other arguments do not contain.
    """

    recipe: Recipe
    images: ImageSet
    measure: Measure
    epochs: Sequence[int]
    transform: Transform | None = None
    initialize: Callable[[Model], None] | None = None
    extra_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on, as data."""
        return {
            "recipe": to_data(self.recipe),
            "images": self.images.fingerprint,
            "num_images": len(self.images),
            "epochs": list(self.epochs),
            **self.extra_settings,
        }

    @property
    def num_images_seen(self) -> int:
        """The number of training images that the whole training uses, counting repeats."""
        return self.recipe.training.epochs * len(self.images)

    def run(self, folder: Path, view: ArtifactView) -> list[dict[str, Any]]:
        """Trains the model, or resumes from the checkpoint in the folder, and saves the trained model there.

        Returns:
            A record for each of ``epochs``: ``epoch``, ``images_seen`` and the measured numbers.
        """
        recorder = _Recorder(self, folder, view)
        with fixed_seed(self.recipe.training.seed):
            model = build_model(self.recipe, self.images)
            if self.initialize is not None:
                self.initialize(model)
            callbacks = [recorder, view]
            trainer = make_trainer(self.recipe, model, self.images, self.transform, recorder.validate, callbacks)
            recorder.resume(trainer)
            trainer.fit()
            if self.recipe.training.patience is None:
                save_vae(trainer.averaged_model, folder)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return recorder.records


class _Recorder(Callback):
    """Measures the model after the given epochs, and saves the best model and checkpoints."""

    def __init__(self, training: MeasuredTraining, folder: Path, view: ArtifactView) -> None:
        self.training = training
        self.folder = folder
        self.view = view
        self.epoch = 0
        self.records: list[dict[str, Any]] = []

    def resume(self, trainer: Trainer) -> None:
        """Restores the trainer and the records from the checkpoint, if there is one."""
        if (self.folder / CHECKPOINT).exists():
            state = read_state(self.folder / CHECKPOINT)
            self.records = state["records"]
            trainer.load_state_dict(state["trainer"])
        self.epoch = trainer.progress.epoch

    def validate(self, model: Model) -> dict[str, Any]:
        """Returns the measured numbers, or a bound of minus infinity after the other epochs."""
        self.epoch += 1
        if self.epoch not in self.training.epochs:
            return NOT_MEASURED
        numbers = self.training.measure(model)
        images_seen = self.epoch * len(self.training.images)
        self.records.append({"epoch": self.epoch, "images_seen": images_seen, **numbers})
        self.view.show_measurement(images_seen, numbers)
        return NOT_MEASURED | numbers

    def on_best(self, trainer: Trainer) -> None:
        """Saves the model, if the recipe has a patience."""
        if self.training.recipe.training.patience is not None:
            save_vae(trainer.averaged_model, self.folder)

    def on_checkpoint(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Saves a checkpoint."""
        write_state(self.folder / CHECKPOINT, {"trainer": state, "records": self.records})
