"""Adaptation of the step size of Hamiltonian trajectories toward a target acceptance rate.

The step grows by a small factor when more trajectories than the target are accepted, else it shrinks by it. While their step
is adapted, chains do not leave their density invariant, so that adaptation ends before samples are used.
"""

import torch
from torch import Tensor


def adapt_step(step: Tensor, acceptance: Tensor, target: float, rate: float = 0.02) -> Tensor:
    """Returns the next step size.

    Arguments:
        step: The step size, of any shape.
        acceptance: The share of accepted trajectories, of the same shape.
        target: The acceptance rate aimed at.
        rate: The relative change of the step.
    """
    return torch.where(acceptance > target, (1 + rate) * step, (1 - rate) * step)
