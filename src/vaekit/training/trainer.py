r"""The training loop: epochs, validation, the average of the weights, checkpoints and callbacks.

A :class:`vaekit.training.step.Step` updates the weights. Everything that a later update depends on is in
:meth:`Trainer.state_dict`: the step's modules and optimizers, the average, the scheduler, counters, the position in the data
and every random generator. A run that is stopped anywhere and resumed is, on the CPU, the same run bit for bit.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from vaekit.core.errors import Diverged, Interrupted, RunError
from vaekit.data import Batch, Batches
from vaekit.models import Model
from vaekit.training.callbacks import Callback
from vaekit.training.divergence import LOWER_RATE, explain
from vaekit.training.ema import moving_average
from vaekit.training.interruption import stop_requests
from vaekit.training.schedulers import Scheduler
from vaekit.training.spikes import SpikeGuard
from vaekit.training.step import Step
from vaekit.training.training_config import TrainingConfig

Validate = Callable[[Model], dict[str, float]]
"""Returns ``elbo``, ``rate`` and ``distortion`` of a model, in nats per image, and whatever else is to be recorded."""


@dataclass
class Progress:
    """How far a run is."""

    epoch: int = 0
    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    best_elbo: float = -math.inf
    best_epoch: int = 0


class Trainer:
    """A run of training.

    Arguments:
        step: The update of the weights.
        batches: The training data, on the accelerator's device.
        scheduler: Sets the learning rate.
        config: Epochs, patience, the decay of the average, and so on.
        validate: Measures a model after each epoch.
        callbacks: Called at fixed points of the run, in this order.
    """

    def __init__(
        self,
        step: Step,
        batches: Batches,
        scheduler: Scheduler,
        config: TrainingConfig,
        validate: Validate,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.step = step
        self.batches = batches
        self.scheduler = scheduler
        self.config = config
        self.validate = validate
        self.callbacks = list(callbacks)
        self.ema = None if config.ema is None else AveragedModel(step.model, multi_avg_fn=moving_average(config.ema))
        self.guard = None if config.on_spike is None else SpikeGuard(step, self.ema, config.on_spike)
        self.progress = Progress()
        self.log_names: list[str] = []
        self.log_sums: Tensor | None = None

    @property
    def averaged_model(self) -> Model:
        """The model that is validated and kept: the average of the weights where there is one, else the model itself."""
        if self.ema is None:
            return self.step.model
        average = self.ema.module
        assert isinstance(average, Model)
        return average

    @property
    def device(self) -> torch.device:
        """The device of model and data."""
        device: torch.device = self.step.setup.accelerator.device
        return device

    @property
    def lr(self) -> float:
        """The learning rate of the model's optimizer."""
        return float(self.step.optimizers["model"].param_groups[0]["lr"])

    @property
    def at_epoch_end(self) -> bool:
        """Whether an epoch has just ended, or none has begun."""
        return self.progress.step == self.progress.epoch * len(self.batches)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the validation ELBO has not risen for ``patience`` epochs."""
        progress, patience = self.progress, self.config.patience
        stalled = patience is not None and progress.epoch - progress.best_epoch >= patience
        return progress.epoch >= self.config.epochs or stalled

    def fit(self) -> None:
        """Trains until finished.

        Raises:
            Diverged: If a loss or gradient is not finite.
            Interrupted: If the process was asked to stop; the state is saved first.
        """
        self._call("on_train_begin")
        try:
            with stop_requests() as stop_requested:
                while not self.finished:
                    self._train_epoch(stop_requested)
                    self._end_epoch()
        finally:
            self._call("on_train_end")

    def _call(self, method: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(self, *arguments)

    def _train_epoch(self, stop_requested: Callable[[], bool]) -> None:
        """Trains to the end of the epoch, which a resumed run may have begun before."""
        progress = self.progress
        begun, saved = time.monotonic() - progress.seconds, time.monotonic()
        self.step.train()
        for batch in self.batches:
            logs = self._update(batch)
            progress.step += 1
            progress.images_seen += len(batch)
            progress.seconds = time.monotonic() - begun
            self._call("on_step", logs)
            if stop_requested():
                self._call("on_checkpoint", self.state_dict())
                raise Interrupted(f"stopped in epoch {progress.epoch + 1}, after step {progress.step}")
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self._call("on_checkpoint", self.state_dict())
                saved = time.monotonic()

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of weights and average, and its logs."""
        epoch = self.progress.step / len(self.batches)
        self.scheduler.before_step(epoch)
        if self.guard is not None:
            self.guard.before_update(self.progress.step)
        try:
            logs = self.step.update(batch, epoch)
        except Diverged as error:
            if self.guard is not None and self.guard.recover(len(batch)):
                return dict.fromkeys(self.log_names or ["loss"], torch.tensor(math.nan))
            where = f"at step {self.progress.step + 1} (epoch {self.progress.epoch + 1})"
            raise Diverged(explain(str(error), where, self.step, batch, epoch, self.batches.dataset)) from None
        if self.guard is not None:
            self.guard.after_update()
        if self.ema is not None:
            self.ema.update_parameters(self.step.model)
        self._sum_logs(logs, len(batch))
        return logs

    def _sum_logs(self, logs: dict[str, Tensor], num: int) -> None:
        """Adds a step's scalars, weighted by its number of images, to the epoch's sums, without waiting for the device."""
        values = torch.stack(list(logs.values()))
        self.log_names = list(logs)
        self.log_sums = values * num if self.log_sums is None else self.log_sums.add_(values, alpha=num)

    def _mean_logs(self) -> dict[str, float]:
        """The means over the updates of the epoch, which begin anew.

        Raises:
            Diverged: If no update was made.
        """
        if self.log_sums is None:
            raise Diverged(f"no update in epoch {self.progress.epoch + 1}: every gradient was a spike; {LOWER_RATE}")
        num_skipped = 0 if self.guard is None else self.guard.num_images
        means = (self.log_sums / (len(self.batches.dataset) - num_skipped)).tolist()
        self.log_sums = None
        return dict(zip(self.log_names, means, strict=True))

    def _end_epoch(self) -> None:
        progress, train = self.progress, self._mean_logs()
        before = time.monotonic()
        valid = self.validate(self.averaged_model)
        progress.epoch += 1
        best = valid["elbo"] > progress.best_elbo
        if best:
            progress.best_elbo, progress.best_epoch = valid["elbo"], progress.epoch
            self._call("on_best")
        norm = {"grad_norm": train.pop("grad_norm")} if "grad_norm" in train else {}
        record = {
            "epoch": progress.epoch,
            "step": progress.step,
            "images_seen": progress.images_seen,
            "seconds": progress.seconds,
            "images_per_second": progress.images_seen / progress.seconds,
            **norm,
            **({} if self.guard is None else {"spikes": self.guard.end_epoch()}),
            "lr": self.lr,
            "train": train,
            "valid": valid,
            "best": best,
        }
        self.scheduler.after_epoch(valid["elbo"])
        self._call("on_epoch", record)
        progress.seconds += time.monotonic() - before
        self._call("on_checkpoint", self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a later update depends on."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return {
            "progress": asdict(self.progress),
            "step": self.step.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "batches": self.batches.state_dict(),
            "logs": {"names": self.log_names, "sums": self.log_sums},
            "spikes": None if self.guard is None else self.guard.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state.

        Raises:
            RunError: If it is the state of another model.
        """
        try:
            self.step.load_state_dict(state["step"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(f"the checkpoint is of another model or optimizer ({error})") from None
        if self.guard is not None and state.get("spikes") is not None:
            self.guard.load_state_dict(state["spikes"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state_dict(state["batches"])
        self.progress = Progress(**state["progress"])
        sums = state["logs"]["sums"]
        self.log_names = state["logs"]["names"]
        self.log_sums = None if sums is None else sums.to(self.device)
        torch.set_rng_state(state["random"]["cpu"])
        if state["random"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random"]["cuda"])
