"""What a run will take, before it begins: time, by a few timed passes over a batch, and space on the disk."""

import time
from copy import deepcopy
from dataclasses import dataclass

import torch

from vaekit.core.processes import num_processes
from vaekit.core.progress import clock
from vaekit.core.rng import fixed_seed
from vaekit.core.terms import StepContext
from vaekit.experiment.prepare import Experiment
from vaekit.training import GradientStep
from vaekit.training.checkpoint import NUM_KEPT
from vaekit.training.step import BatchLoss

MAX_SECONDS, MAX_PASSES = 0.5, 10
"""The time that is spent on timing passes, and their largest number; one pass is always timed, and one precedes it."""
UPDATE = 1.25
"""How much longer an update takes than the passes over its batch: the optimizer, the average of the weights, the logs."""
FLOAT_BYTES, GRID_BYTES, OTHER_BYTES = 4, 50_000, 1_500_000
"""The approximate sizes of a weight, of a grid of images of an epoch, and of report, curves and history, in bytes."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Arguments:
        seconds: The time of training to the last epoch; None if it is not known beforehand.
        num_bytes: The approximate size of the run folder.
        can_end_early: Whether training may end before the last epoch.
    """

    seconds: float | None
    num_bytes: int
    can_end_early: bool

    def __str__(self) -> str:
        """A few words, as ``about 0:12 to train, or less if it stops early; about 6 MB``."""
        size = f"about {max(1, round(self.num_bytes / 1e6)):,} MB"
        if self.seconds is None:
            return size
        early = ", or less if it stops early" if self.can_end_early else ""
        return f"about {clock(max(1.0, self.seconds))} to train{early}; {size}"


def forecast(experiment: Experiment) -> Forecast:
    """Estimates the time and the space that an experiment will take from where it is; it is not changed by that."""
    trainer = experiment.trainer
    is_known = isinstance(trainer.step, GradientStep) and num_processes() == 1
    num_left = trainer.config.epochs - trainer.progress.epoch
    seconds = _seconds_per_epoch(experiment) * num_left if is_known else None
    return Forecast(seconds, _num_bytes(experiment), trainer.config.patience is not None)


def _seconds_per_epoch(experiment: Experiment) -> float:
    """The time of the updates and the validation of an epoch."""
    trainer, splits = experiment.trainer, experiment.splits
    size = min(trainer.config.batch_size, len(splits.train))
    positions = torch.arange(size)
    x = trainer.batches.dataset.gather(positions).to(trainer.device)
    labels = None if splits.train.labels is None or experiment.model.condition is None else splits.train.labels[positions]
    loss = deepcopy(BatchLoss(trainer.step.model, trainer.step.objective))  # together: one may refer to the other's weights
    y = None if labels is None else labels.to(trainer.device)

    def run_pass() -> float:
        begun = time.monotonic()
        with trainer.step.setup.accelerator.autocast():
            loss(x, y, StepContext(0.0, 0, len(splits.train)))["loss"].backward()
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)
        return time.monotonic() - begun

    with fixed_seed(0):
        run_pass()  # the first one allocates
        times = [run_pass()]
        while sum(times) < MAX_SECONDS and len(times) < MAX_PASSES:
            times.append(run_pass())
    return min(times) * (UPDATE * len(trainer.batches) + len(splits.valid) / size / 3)


def _num_bytes(experiment: Experiment) -> int:
    """The size of the model, the checkpoints, the grids of images and the rest."""
    trainer = experiment.trainer
    weights = sum(weight.numel() for weight in experiment.model.parameters()) * FLOAT_BYTES
    copies = 1 + NUM_KEPT * (4 + (trainer.ema is not None))  # a checkpoint: weights, best ones, two moments, their average
    num_grids = 2 * (trainer.config.epochs // trainer.config.images_every)
    return weights * copies + num_grids * GRID_BYTES + OTHER_BYTES
