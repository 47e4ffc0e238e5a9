"""Optimizers and learning-rate schedulers by name, from well-kept implementations in torch.

The signature of each function is what a recipe may set. Fused kernels are used where torch has them: on the CPU they take a
small model's update from a tenth of a step to almost nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn
from torch.optim import Optimizer

Parameters = Iterable[nn.Parameter]
Decay = Annotated[float, Field(ge=0, lt=1)]


def adam(
    parameters: Parameters,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adam (Kingma & Ba, 2014), https://arxiv.org/abs/1412.6980."""
    return torch.optim.Adam(parameters, lr, betas, eps, weight_decay, fused=True)


def adamw(
    parameters: Parameters,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2017), https://arxiv.org/abs/1711.05101."""
    return torch.optim.AdamW(parameters, lr, betas, eps, weight_decay, fused=True)


def adamax(
    parameters: Parameters,
    lr: PositiveFloat = 2e-3,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adam in the infinity norm (Kingma & Ba, 2014), https://arxiv.org/abs/1412.6980."""
    return torch.optim.Adamax(parameters, lr, betas, eps, weight_decay, foreach=True)


def adagrad(
    parameters: Parameters, lr: PositiveFloat = 1e-2, eps: PositiveFloat = 1e-10, weight_decay: NonNegativeFloat = 0.0
) -> Optimizer:
    """Adagrad (Duchi et al., 2011), https://jmlr.org/papers/v12/duchi11a.html."""
    return torch.optim.Adagrad(parameters, lr, eps=eps, weight_decay=weight_decay)


def sgd(
    parameters: Parameters, lr: PositiveFloat = 1e-2, momentum: Decay = 0.0, weight_decay: NonNegativeFloat = 0.0
) -> Optimizer:
    """Stochastic gradient descent, with momentum on request."""
    return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, fused=True)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "adamax": adamax,
    "adagrad": adagrad,
    "sgd": sgd,
}


class Scheduler(ABC):
    """What sets an optimizer's learning rate: before each step by the time, after each epoch by the validation ELBO."""

    @abstractmethod
    def before_step(self, epoch: float) -> None:
        """Sets the learning rate for a step at a time in epochs, fractional."""

    @abstractmethod
    def after_epoch(self, elbo: float) -> None:
        """Takes note of the validation ELBO, in nats per image."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns what an exact resume needs beside the optimizer."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a saved state."""


NUM_STAGES = 8
START = 0.01
"""What a warm-up begins with, as a share of the learning rate: at 0 the first step would be none."""


class Timed(Scheduler):
    r"""A linear warm-up, then half a cosine wave down to a fraction of the learning rate; constant without either.

    Arguments:
        optimizer: Whose learning rate to set.
        epochs: The time at which training ends.
        warmup: How long the warm-up takes, in epochs.
        final: What is left of the learning rate at the end; 1 keeps it constant.

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
        """Returns what the learning rate is multiplied with at a time in epochs."""
        if epoch < self.warmup:
            return START + (1 - START) * epoch / self.warmup
        done = min((epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9), 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))

    def before_step(self, epoch: float) -> None:
        """Sets the learning rate by the time."""
        for group, lr in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = lr * self.factor(epoch)

    def after_epoch(self, elbo: float) -> None:
        """Does nothing: time alone decides."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the learning rates that the factor applies to."""
        return {"base": self.base}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the learning rates that the factor applies to."""
        self.base = state["base"]


class Stages(Timed):
    r"""Stage after stage, :math:`3^i` epochs at :math:`10^{-i/7}` of the learning rate for i = 0, 1, ..., 7 and on.

    Eight stages are 3,280 epochs, as published; fewer epochs are the first of these.

    References:
        | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
    """

    def factor(self, epoch: float) -> float:
        """Returns what the learning rate is multiplied with at a time in epochs."""
        stage = math.floor(math.log(2 * epoch + 1, 3) + 1e-9)  # stage i begins after (3^i - 1) / 2 epochs
        return float(10 ** (-min(stage, NUM_STAGES - 1) / (NUM_STAGES - 1)))


class Plateau(Scheduler):
    """Lowers the learning rate when the validation ELBO stops rising, by torch's ``ReduceLROnPlateau``.

    Arguments:
        optimizer: Whose learning rate to set.
        factor: What the learning rate is multiplied with.
        patience: How many epochs without a better validation ELBO to bear.
        threshold: How much better, in nats, counts as better.
        min_lr: Where to stop.
    """

    def __init__(self, optimizer: Optimizer, factor: float, patience: int, threshold: float, min_lr: float) -> None:
        self.inner = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "max", factor, patience, threshold, threshold_mode="abs", min_lr=min_lr
        )

    def before_step(self, epoch: float) -> None:
        """Does nothing: the validation ELBO alone decides."""

    def after_epoch(self, elbo: float) -> None:
        """Takes note of the validation ELBO."""
        self.inner.step(elbo)

    def state_dict(self) -> dict[str, Any]:
        """Returns the best ELBO so far and how long it has stood."""
        return {"best": self.inner.best, "num_bad_epochs": self.inner.num_bad_epochs, "last_epoch": self.inner.last_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the best ELBO so far and how long it has stood."""
        self.inner.best, self.inner.num_bad_epochs = state["best"], state["num_bad_epochs"]
        self.inner.last_epoch = state["last_epoch"]


def constant(optimizer: Optimizer, epochs: int, warmup: NonNegativeFloat = 0.0) -> Scheduler:
    """The same learning rate throughout, after a warm-up in epochs."""
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


SCHEDULERS: dict[str, Callable[..., Scheduler]] = {
    "constant": constant,
    "cosine": cosine,
    "stages": stages,
    "plateau": plateau,
}
