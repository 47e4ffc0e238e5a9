r"""The training loop.

One step, from a batch to the weights:

.. math:: x \to \mathrm{Terms} \to \mathrm{Loss} \to \nabla \to \mathrm{clip} \to \theta \to \mathrm{EMA}

Everything that a later step depends on is in :meth:`Trainer.state_dict`: weights, their average, optimizer, scheduler,
counters, the place in the data and every random generator. A run that is stopped anywhere and resumed is, on the CPU, the
same run bit for bit.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from vaekit.core.errors import Diverged, Interrupted, RunError
from vaekit.data import Batch, Batches
from vaekit.models import VAE
from vaekit.objectives import Objective
from vaekit.training.optimizers import Scheduler
from vaekit.training.progress_view import View
from vaekit.training.training_config import TrainingConfig

Tensors = list[Tensor] | tuple[Tensor, ...]


class Step(nn.Module):
    """A model and what is asked of it, as one module: a batch and the time in, the loss and its logs out."""

    def __init__(self, model: VAE, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, x: Tensor, y: Tensor | None, epoch: float) -> dict[str, Tensor]:
        """Returns ``loss`` and the objective's logs, scalars in nats per image.

        Arguments:
            x: Images as uint8, with shape (B, C, H, W).
            y: Labels, with shape (B), or None; a model without a condition does not see them.
            epoch: The time in epochs, fractional.
        """
        labels = None if self.model.condition is None else y
        loss = self.objective(self.model(x, labels, self.objective.num_samples), epoch)
        return {"loss": loss.value, **loss.logs}


@dataclass
class Progress:
    """How far a run is."""

    epoch: int = 0
    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    best_elbo: float = -math.inf
    best_epoch: int = 0


@dataclass(frozen=True)
class Hooks:
    """What the street does at the landmarks of a run.

    Arguments:
        validate: The validation ``elbo``, ``rate`` and ``distortion`` of a model, in nats per image.
        keep_best: Keeps a model that validates better than all before.
        end_epoch: Takes note of an epoch's record and of the model as it is.
        save: Keeps the state of the run.
    """

    validate: Callable[[VAE], dict[str, float]]
    keep_best: Callable[[VAE], None]
    end_epoch: Callable[[dict[str, Any], VAE], None]
    save: Callable[[dict[str, Any]], None]


class Trainer:
    """A run of training.

    Arguments:
        model: The model, which is moved to the accelerator's device.
        objective: What is asked of it.
        batches: What it learns from, on the accelerator's device.
        optimizer: What moves its weights.
        scheduler: What sets the learning rate.
        config: How long, how large, how often.
        accelerator: The device and precision.
    """

    def __init__(
        self,
        model: VAE,
        objective: Objective,
        batches: Batches,
        optimizer: Optimizer,
        scheduler: Scheduler,
        config: TrainingConfig,
        accelerator: Accelerator,
    ) -> None:
        self.model = model
        self.batches = batches
        self.scheduler = scheduler
        self.config = config
        self.accelerator = accelerator
        # A quarter faster for convolutions, nothing for other layers; torch does not annotate this form.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step = accelerator.prepare(Step(model, objective))
        # Not prepared: without loss scaling or accumulation accelerate's wrapper only costs a twentieth of a small step.
        self.optimizer = optimizer
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.ema = None if config.ema is None else AveragedModel(model, multi_avg_fn=moving_average(config.ema))
        self.progress = Progress()
        self.log_names: list[str] = []
        self.log_sums: Tensor | None = None

    @property
    def learned(self) -> VAE:
        """The model to validate and keep: the average of the weights where one is kept, else the weights."""
        if self.ema is None:
            return self.model
        average = self.ema.module
        assert isinstance(average, VAE)
        return average

    @property
    def at_epoch_end(self) -> bool:
        """Whether an epoch has just ended, or none has begun."""
        return self.progress.step == self.progress.epoch * len(self.batches)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the validation ELBO has not risen for too long."""
        progress, patience = self.progress, self.config.patience
        stalled = patience is not None and progress.epoch - progress.best_epoch >= patience
        return progress.epoch >= self.config.epochs or stalled

    def fit(self, hooks: Hooks, view: View) -> None:
        """Trains until finished.

        Raises:
            Diverged: If a loss or gradient is not finite.
            Interrupted: If the process was asked to stop; the state is saved first.
        """
        steps_per_epoch = len(self.batches)
        view.begin(self.progress.step, self.config.epochs * steps_per_epoch, steps_per_epoch)
        try:
            with asked_to_stop() as stop:
                while not self.finished:
                    self._train_epoch(hooks, view, stop)
                    self._end_epoch(hooks, view)
        finally:
            view.end()

    def _train_epoch(self, hooks: Hooks, view: View, stop: Callable[[], bool]) -> None:
        """The rest of an epoch, step by step."""
        progress, steps_per_epoch = self.progress, len(self.batches)
        begun, saved = time.monotonic() - progress.seconds, time.monotonic()
        self.step.train()
        for batch in self.batches:
            epoch = progress.step / steps_per_epoch
            self.scheduler.before_step(epoch)
            logs = self.step(batch.x, batch.y, epoch)
            loss = logs["loss"]
            self.accelerator.backward(loss)
            pull_to_prior(self.parameters, self.config.weight_prior, len(self.batches.images))
            logs |= {"loss": loss.detach(), "grad_norm": self._gradient_norm(loss)}
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.ema is not None:
                self.ema.update_parameters(self.model)
            self._log(logs, batch)
            progress.step += 1
            progress.images_seen += len(batch)
            progress.seconds = time.monotonic() - begun
            view.step(progress.step, progress.images_seen, logs, self._lr())
            if stop():
                hooks.save(self.state_dict())
                raise Interrupted(f"stopped in epoch {progress.epoch + 1}, after step {progress.step}")
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                hooks.save(self.state_dict())
                saved = time.monotonic()

    def _gradient_norm(self, loss: Tensor) -> Tensor:
        """The norm of the gradient, in nats per image, which is clipped on request.

        Raises:
            Diverged: If it is not finite; the weights are as they were before the step.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = get_total_norm(gradients, foreach=True)
        if not bool((norm + loss.detach()).isfinite()):
            what = "loss" if not bool(loss.isfinite()) else "gradient"
            raise Diverged(
                f"the {what} is not finite at step {self.progress.step + 1} (epoch {self.progress.epoch + 1}); "
                "lower the learning rate (--lr) or clip the gradient (--set training.clip_norm=1)"
            )
        if self.config.clip_norm is not None:
            clip_grads_with_norm_(self.parameters, self.config.clip_norm, norm)
        return norm

    def _log(self, logs: dict[str, Tensor], batch: Batch) -> None:
        """Adds a step's scalars, weighted by its images, to the sums of the epoch, without waiting for the device."""
        values = torch.stack(list(logs.values()))
        self.log_names = list(logs)
        self.log_sums = values * len(batch) if self.log_sums is None else self.log_sums.add_(values, alpha=len(batch))

    def _end_epoch(self, hooks: Hooks, view: View) -> None:
        progress = self.progress
        assert self.log_sums is not None  # an epoch has at least one batch
        means = (self.log_sums / len(self.batches.images)).tolist()
        train = dict(zip(self.log_names, means, strict=True))
        self.log_sums = None
        before = time.monotonic()
        valid = hooks.validate(self.learned)
        progress.epoch += 1
        best = valid["elbo"] > progress.best_elbo
        if best:
            progress.best_elbo, progress.best_epoch = valid["elbo"], progress.epoch
            hooks.keep_best(self.learned)
        record = {
            "epoch": progress.epoch,
            "step": progress.step,
            "images_seen": progress.images_seen,
            "seconds": progress.seconds,
            "images_per_second": progress.images_seen / progress.seconds,
            "grad_norm": train.pop("grad_norm"),
            "lr": self._lr(),
            "train": train,
            "valid": valid,
            "best": best,
        }
        self.scheduler.after_epoch(valid["elbo"])
        hooks.end_epoch(record, self.learned)
        progress.seconds += time.monotonic() - before
        view.epoch(record, self.config.epochs)
        hooks.save(self.state_dict())

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _lay_out_optimizer_state(self) -> None:
        """Puts what was loaded for each weight into the weight's own memory layout, which fused kernels take for granted."""
        for weight, state in self.optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    state[key] = torch.empty_like(weight).copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a later step depends on."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "batches": self.batches.state_dict(),
            "logs": {"names": self.log_names, "sums": self.log_sums},
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a saved state.

        Raises:
            RunError: If it is the state of another model.
        """
        try:
            self.model.load_state_dict(state["model"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._lay_out_optimizer_state()
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(f"the checkpoint is of another model or optimizer ({error})") from None
        self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state_dict(state["batches"])
        self.progress = Progress(**state["progress"])
        sums = state["logs"]["sums"]
        self.log_names = state["logs"]["names"]
        self.log_sums = None if sums is None else sums.to(self.accelerator.device)
        torch.set_rng_state(state["random"]["cpu"])
        if state["random"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random"]["cuda"])


def make_accelerator(device: str, precision: str) -> Accelerator:
    """Returns the device and precision to train with.

    Raises:
        RunError: If the device is not there, or several processes were launched.
    """
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device != "auto" and not found[device]:
        there = " and ".join(name for name, is_there in found.items() if is_there)
        raise RunError(f"device: there is no {device} on this machine, only {there}; use --device auto")
    AcceleratorState._reset_state(reset_partial_state=True)  # else a process could only ever use one precision
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision={"float32": "no", "bfloat16": "bf16"}[precision])
    if accelerator.num_processes > 1:
        raise RunError("training in several processes is not supported yet; start one with vae train")
    return accelerator


def pull_to_prior(parameters: list[nn.Parameter], stddev: float | None, num_images: int) -> None:
    """Adds the gradient of -log N(weights; 0, s^2 I) / N to the weights' gradients, or nothing where there is no s."""
    if stddev is not None:
        learned = [(p.grad, p.detach()) for p in parameters if p.grad is not None]
        gradients, weights = zip(*learned, strict=True)
        torch._foreach_add_(gradients, weights, alpha=1 / (stddev**2 * num_images))


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    r"""Returns the update of an exponential moving average, :math:`\bar\theta \gets d \bar\theta + (1 - d) \theta`.

    The decay begins small, :math:`d = \min(\mathrm{decay}, \tfrac{1 + n}{10 + n})` after n updates, so that the average is
    worth something from the first epoch on.
    """

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, num_updates: Tensor | int) -> None:
        n = int(num_updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return update


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a request that is granted between two steps; a second one acts at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():  # handlers belong to the main thread
        yield asked.is_set
        return
    handlers = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
