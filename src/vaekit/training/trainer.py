r"""The training loop: epochs, validation, the average of the weights, checkpoints and callbacks.

A :class:`vaekit.training.step.Step` updates the weights. Everything that a run has produced and that a later update depends
on is in :mod:`vaekit.training.trainer_state`. A run that is stopped anywhere and resumed is, on the
CPU, the same run bit for bit.

A checkpoint is saved after an epoch, unless epochs are so short that checkpoints would take more than a fiftieth of the
time; within long epochs at intervals; at the end; and whenever training is stopped between two steps.
"""

import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from vaekit.core.errors import ConfigError, Diverged, Interrupted, RunError
from vaekit.core.processes import any_process, num_processes, wait
from vaekit.core.signals import StopRequests, StopSignal, exit_code, stop_requests
from vaekit.core.terms import StepContext
from vaekit.data import Batch, Batches
from vaekit.models import Model
from vaekit.training.callbacks import Callback
from vaekit.training.divergence import LOWER_RATE, explain
from vaekit.training.ema import moving_average
from vaekit.training.schedulers import Scheduler
from vaekit.training.spikes import SpikeGuard
from vaekit.training.step import Step
from vaekit.training.trainer_state import Progress, restore, state_of
from vaekit.training.training_config import TrainingConfig

CHECKPOINT_SHARE = 0.015
"""The share of a run's time that checkpoints after short epochs may take."""

Validate = Callable[[Model], dict[str, float]]
"""Returns ``elbo``, ``rate`` and ``distortion`` of a model, in nats per image, and whatever else is to be recorded."""


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
        if isinstance(callbacks, Callback):
            raise ConfigError("callbacks: give a list of them, as [callback]")
        self.callbacks = list(callbacks)
        if others := [callback for callback in self.callbacks if not isinstance(callback, Callback)]:
            raise ConfigError(f"callbacks: {type(others[0]).__name__} is no vaekit.Callback; derive its class from it")
        self.ema = None if config.ema is None else AveragedModel(step.model, multi_avg_fn=moving_average(config.ema))
        self.guard = None if config.on_spike is None else SpikeGuard(step, self.ema, config.on_spike)
        self.progress = Progress()
        self.records: list[dict[str, Any]] = []
        self.best_weights: dict[str, Tensor] | None = None
        self.log_names: list[str] = []
        self.log_sums: Tensor | None = None
        self._is_whole = True
        self._saved_at, self._save_seconds = time.monotonic(), 0.0

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
    def _only_to_be_validated(self) -> bool:
        """Whether all batches of the epoch have been trained on: a run may be stopped in the validation."""
        progress = self.progress
        return progress.step == (progress.epoch + 1) * len(self.batches) and self.batches.position == 0

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
        try:
            self._call("on_train_begin")
            with stop_requests() as stop, self.step.model.trusting_input():
                while not self.finished:
                    if not self._only_to_be_validated:
                        self._train_epoch(stop)
                    self._end_epoch(stop)
        except (Exception, KeyboardInterrupt, StopSignal) as error:
            is_saved = isinstance(error, Diverged | Interrupted)
            if self._is_whole and not is_saved:  # a callback of the user has failed, the output was closed, ...
                with suppress(OSError):
                    self._save()
            raise
        finally:
            self._call("on_train_end")

    def _call(self, method: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(self, *arguments)

    def _train_epoch(self, stop: StopRequests) -> None:
        """Trains to the end of the epoch, which a resumed run may have begun before."""
        progress = self.progress
        begun = time.monotonic() - progress.seconds
        self.step.train()
        for batch in self.batches:
            self._is_whole = False
            logs = self._update(batch)
            progress.step += 1
            progress.images_seen += batch.total
            progress.seconds = time.monotonic() - begun
            self._is_whole = True
            self._call("on_step", logs)
            self._stop_if_asked(stop)
            if self._seconds_unsaved > 60 * self.config.checkpoint_minutes:
                self._save()

    def _stop_if_asked(self, stop: StopRequests) -> None:
        """Saves the state and ends the run, if a signal has asked for it in any process."""
        if any_process(stop.number is not None):
            self._save()
            wait()  # a launcher stops all processes when one has ended, so none ends before the state is written
            epoch = f"after epoch {self.progress.epoch}" if self.at_epoch_end else f"in epoch {self.progress.epoch + 1}"
            raise Interrupted(f"stopped {epoch}, after step {self.progress.step}", exit_code(stop.number or signal.SIGTERM))

    @property
    def _seconds_unsaved(self) -> float:
        return time.monotonic() - self._saved_at

    def _save(self) -> None:
        begun = time.monotonic()
        self._call("on_checkpoint", self.state_dict())
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - begun

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of weights and average, and its logs."""
        step = self.progress.step
        context = StepContext(step / len(self.batches), step, len(self.batches.dataset))
        self._change_lr(step)
        self.scheduler.before_step(context.epoch)
        if self.guard is not None:
            self.guard.before_update(self.progress.step)
        try:
            logs = self.step(batch, context)
        except Diverged as error:
            if self.guard is not None and self.guard.recover(batch.total):
                return dict.fromkeys(self.log_names or ["loss"], torch.tensor(math.nan))
            where = f"at step {self.progress.step + 1} (epoch {self.progress.epoch + 1})"
            raise Diverged(explain(str(error), where, self.step, batch, context, self.batches.dataset)) from None
        if self.guard is not None:
            self.guard.after_update()
        if self.ema is not None:
            self.ema.update_parameters(self.step.model)
        self._sum_logs(logs, batch.total)
        return logs

    def _change_lr(self, step: int) -> None:
        """Sets the learning rate that a resumed run was given at a step."""
        for at, lr in self.config.lr_changes:
            if at == step:
                for group in self.step.optimizers["model"].param_groups:
                    group["lr"] = lr
                self.scheduler.change_lr(lr)

    def _sum_logs(self, logs: dict[str, Tensor], num: int) -> None:
        """Adds a step's scalars, weighted by its number of images, to the epoch's sums, without waiting for the device."""
        values = torch.stack(list(logs.values()))
        self.log_names = list(logs)
        self.log_sums = values * num if self.log_sums is None else self.log_sums.add_(values, alpha=num)

    def _end_epoch(self, stop: StopRequests) -> None:
        """Validates the model and records the epoch."""
        begun = time.monotonic()
        try:
            with stop.at_once() if num_processes() == 1 else nullcontext():  # several processes stop together, after it
                valid = self.validate(self.averaged_model)
        except StopSignal as stopped:
            self._save()
            raise Interrupted(f"stopped in the validation of epoch {self.progress.epoch + 1}", stopped.exit_code) from None
        self._is_whole = False
        record = self._record_epoch(valid)
        self._is_whole = True
        if record["best"]:
            self._call("on_best")
        self._call("on_epoch", record)
        self.progress.seconds += time.monotonic() - begun
        if self.finished or self._save_seconds <= CHECKPOINT_SHARE * self._seconds_unsaved:
            self._save()
        self._stop_if_asked(stop)

    def _record_epoch(self, valid: dict[str, float]) -> dict[str, Any]:
        """Counts the epoch, keeps its weights if they are the best, and returns its record."""
        progress, train = self.progress, self._mean_logs()
        progress.epoch += 1
        best = self.step.objective.keeps_last or valid["elbo"] > progress.best_elbo
        if best:
            progress.best_elbo, progress.best_epoch = valid["elbo"], progress.epoch
            self.best_weights = {key: value.cpu().clone() for key, value in self.averaged_model.state_dict().items()}
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
        self.records.append(record)
        return record

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

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the run has produced and that a later update depends on."""
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state.

        Raises:
            RunError: If it is the state of another run.
        """
        try:
            restore(self, state)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"the checkpoint is of another model or optimizer ({error})") from None
