"""Optimizers by name, from torch.

The signature of each function is what a recipe may set. Fused kernels are used where torch has them: on the CPU they reduce
the update of a small model from a tenth of a step to almost nothing.
"""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
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
    """Stochastic gradient descent, with momentum if it is not 0."""
    return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, fused=True)
