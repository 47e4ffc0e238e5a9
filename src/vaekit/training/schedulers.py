"""Learning-rate schedulers by name: functions of time, or of the validation ELBO.

The signature of each function is what a recipe may set.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch.optim import Optimizer


class Scheduler(ABC):
    """Sets an optimizer's learning rate: before each step by the time, after each epoch by the validation ELBO."""

    @abstractmethod
    def before_step(self, epoch: float) -> None:
        """Sets the learning rate for a step at a time in epochs, fractional."""

    @abstractmethod
    def after_epoch(self, elbo: float) -> None:
        """Uses the validation ELBO, in nats per image."""

    def change_lr(self, lr: float) -> None:
        """Goes on with another learning rate, which the optimizer has already; for schedules that remember theirs."""
        return

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns what an exact resume needs beside the optimizer."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state."""


NUM_STAGES = 8
START = 0.01
"""The share of the learning rate that a warm-up begins with; at 0 the first step would not move the weights."""


class Timed(Scheduler):
    r"""A linear warm-up, then half a cosine wave down to a fraction of the learning rate; constant without either.

    Arguments:
        optimizer: The optimizer.
        epochs: The time at which training ends.
        warmup: The length of the warm-up, in epochs.
        final: The share of the learning rate at the end; 1 keeps it constant.

    References:
        | SGDR (Loshchilov & Hutter, 2016), https://arxiv.org/abs/1608.03983
    """

    def __init__(self, optimizer: Optimizer, epochs: int, warmup: float, final: float) -> None:
        self.optimizer = optimizer
        self.epochs = epochs
        self.warmup = warmup
        self.final = final
        self.base = [float(group["lr"]) for group in optimizer.param_groups]

    def factor(self, epoch: float) -> float:
        """Returns the factor of the learning rate at a time in epochs."""
        if epoch < self.warmup:
            return START + (1 - START) * epoch / self.warmup
        done = min((epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9), 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))

    def before_step(self, epoch: float) -> None:
        """Sets the learning rate by the time."""
        for group, lr in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = lr * self.factor(epoch)

    def after_epoch(self, elbo: float) -> None:
        """Does nothing: the learning rate depends on time alone."""

    def change_lr(self, lr: float) -> None:
        """Applies the factor to another learning rate."""
        self.base = [lr for _ in self.base]

    def state_dict(self) -> dict[str, Any]:
        """Returns the learning rates that the factor applies to."""
        return {"base": self.base}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the learning rates that the factor applies to."""
        self.base = state["base"]


class Stages(Timed):
    r"""Stages of :math:`3^i` epochs at :math:`10^{-i/7}` of the learning rate, i = 0, 1, ..., 7; the last does not end.

    Eight stages are 3,280 epochs, as published; fewer epochs are the first of these.

    References:
        | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
    """

    def factor(self, epoch: float) -> float:
        """Returns the factor of the learning rate at a time in epochs."""
        stage = math.floor(math.log(2 * epoch + 1, 3) + 1e-9)  # stage i begins after (3^i - 1) / 2 epochs
        return float(10 ** (-min(stage, NUM_STAGES - 1) / (NUM_STAGES - 1)))


class Plateau(Scheduler):
    """Lowers the learning rate when the validation ELBO stops rising, by torch's ``ReduceLROnPlateau``.

    Arguments:
        optimizer: The optimizer.
        factor: The factor of the learning rate.
        patience: The number of epochs without a better validation ELBO before the learning rate falls.
        threshold: The least improvement, in nats, that counts as better.
        min_lr: The least learning rate.
    """

    def __init__(self, optimizer: Optimizer, factor: float, patience: int, threshold: float, min_lr: float) -> None:
        self.inner = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "max", factor, patience, threshold, threshold_mode="abs", min_lr=min_lr
        )

    def before_step(self, epoch: float) -> None:
        """Does nothing: the learning rate depends on the validation ELBO alone."""

    def after_epoch(self, elbo: float) -> None:
        """Lowers the learning rate if the validation ELBO has stopped rising."""
        self.inner.step(elbo)

    def state_dict(self) -> dict[str, Any]:
        """Returns the best ELBO so far and the number of epochs since."""
        return {"best": self.inner.best, "num_bad_epochs": self.inner.num_bad_epochs, "last_epoch": self.inner.last_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the best ELBO so far and the number of epochs since."""
        self.inner.best, self.inner.num_bad_epochs = state["best"], state["num_bad_epochs"]
        self.inner.last_epoch = state["last_epoch"]


def constant(optimizer: Optimizer, epochs: int, warmup: NonNegativeFloat = 0.0) -> Scheduler:
    """A constant learning rate after a warm-up in epochs."""
    return Timed(optimizer, epochs, warmup, final=1.0)


def cosine(
    optimizer: Optimizer, epochs: int, warmup: NonNegativeFloat = 0.0, final: Annotated[float, Field(ge=0, le=1)] = 0.01
) -> Scheduler:
    """A warm-up in epochs, then a cosine down to a fraction of the learning rate."""
    return Timed(optimizer, epochs, warmup, final)


def stages(optimizer: Optimizer, epochs: int) -> Scheduler:
    """Eight stages of growing length, 3,280 epochs in all, and falling learning rate, down to a tenth."""
    return Stages(optimizer, epochs, warmup=0.0, final=0.1)


def plateau(
    optimizer: Optimizer,
    epochs: int,
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    patience: NonNegativeInt = 3,
    threshold: NonNegativeFloat = 0.01,
    min_lr: NonNegativeFloat = 1e-5,
) -> Scheduler:
    """A lower learning rate whenever the validation ELBO stops rising."""
    return Plateau(optimizer, factor, patience, threshold, min_lr)
