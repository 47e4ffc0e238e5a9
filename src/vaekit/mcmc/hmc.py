r"""Hamiltonian Monte Carlo for many chains at once.

A density :math:`f(z) = \exp \sum_i \lambda_i \ell_i(z)` is given by the log-densities :math:`\ell_i` and their weights
:math:`\lambda_i`, so that a path of densities is a path of weights, along which values and gradients are reused. With
momentum :math:`r \sim \mathcal{N}(0, \mathrm{diag}\, s^{-2})` for scales :math:`s` of :math:`z`, a trajectory of :math:`L`
leapfrog steps

.. math::
    r \gets r + \tfrac{\epsilon}{2} \nabla \log f(z), \qquad z \gets z + \epsilon \, s^2 r, \qquad
    r \gets r + \tfrac{\epsilon}{2} \nabla \log f(z)

is accepted with probability :math:`\min(1, e^{H - H'})`, :math:`H = -\log f(z) + \tfrac12 |s \, r|^2`, which leaves
:math:`f` invariant for any step :math:`\epsilon` and scales that do not depend on the chain. Chains are independent.

References:
    | MCMC using Hamiltonian dynamics (Neal, 2011), https://arxiv.org/abs/1206.1901
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.core.errors import ModelError

LogDensities = Callable[[Tensor], Sequence[Tensor]]
"""Points of shape (*, D) in, :math:`\\ell_1` to :math:`\\ell_I` out, each with shape (*) and differentiable. They are not
stacked into one tensor, so that the gradient of one does not pass through the graphs of the others."""


@dataclass(frozen=True)
class State:
    """The state of chains.

    Arguments:
        z: Points, with shape (*, D).
        values: The log-densities there, with shape (I, *).
        gradients: Their gradients, with shape (I, *, D).
    """

    z: Tensor
    values: Tensor
    gradients: Tensor

    @classmethod
    def at(cls, z: Tensor, log_densities: LogDensities) -> "State":
        """Returns the state of chains at points of shape (*, D).

        Raises:
            ModelError: If a log-density does not depend on the point, as that of codes.
        """
        with torch.enable_grad():
            point = z.detach().requires_grad_()
            values = log_densities(point)
            gradients = [_gradient(value, point) for value in values]
        return cls(z.detach(), torch.stack([value.detach() for value in values]), torch.stack(gradients))

    def where(self, chosen: Tensor, other: "State") -> "State":
        """Returns this state for the chains where ``chosen``, of shape (*), is true, and the other state for the rest."""
        return State(
            torch.where(chosen.unsqueeze(-1), self.z, other.z),
            torch.where(chosen, self.values, other.values),
            torch.where(chosen.unsqueeze(-1), self.gradients, other.gradients),
        )


@dataclass(frozen=True)
class Trajectory:
    r"""The length and the step size of a trajectory.

    Arguments:
        step: :math:`\epsilon`, in units of the scales; a number, or one for each chain with shape (*, 1).
        num_steps: L, the number of leapfrog steps.
        scale: :math:`s`, about the standard deviation of the density along each axis, of a shape that broadcasts to (*, D).
    """

    step: float | Tensor
    num_steps: int
    scale: Tensor


def transition(
    state: State, weights: Tensor, log_densities: LogDensities, trajectory: Trajectory, noise: Tensor, uniform: Tensor
) -> tuple[State, Tensor]:
    r"""Moves chains by one trajectory, which leaves :math:`f` invariant.

    Arguments:
        state: The state of the chains.
        weights: :math:`\lambda`, with shape (I).
        log_densities: The log-densities, :math:`\ell`.
        trajectory: Length, step size and scales.
        noise: Standard normal noise for the momentum, with shape (*, D).
        uniform: Uniform noise in [0, 1) for acceptance, with shape (*).

    Returns:
        The new state, and the acceptance probability of each chain, with shape (*).
    """
    step, scale = trajectory.step, trajectory.scale
    momentum = noise / scale
    start = _log_density(state, weights) - _kinetic(momentum, scale)
    moved = state
    for _ in range(trajectory.num_steps):
        momentum = momentum + 0.5 * step * _slope(moved, weights)
        moved = State.at(moved.z + step * scale**2 * momentum, log_densities)
        momentum = momentum + 0.5 * step * _slope(moved, weights)
    difference = _log_density(moved, weights) - _kinetic(momentum, scale) - start
    probability = torch.nan_to_num(difference, nan=-torch.inf).clamp(max=0).exp()  # a trajectory that diverged is rejected
    return moved.where(uniform < probability, state), probability


def _log_density(state: State, weights: Tensor) -> Tensor:
    return torch.einsum("i,i...->...", weights, state.values)


def _slope(state: State, weights: Tensor) -> Tensor:
    return torch.einsum("i,i...d->...d", weights, state.gradients)


def _kinetic(momentum: Tensor, scale: Tensor) -> Tensor:
    return 0.5 * (scale * momentum).square().sum(-1)


def _gradient(value: Tensor, point: Tensor) -> Tensor:
    """The gradient of log-densities of shape (*) at points of shape (*, D)."""
    gradient = None
    if value.requires_grad:
        [gradient] = torch.autograd.grad(value.sum(), point, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ModelError("Hamiltonian Monte Carlo needs a density of z, and codes have none; choose another posterior")
    return gradient
