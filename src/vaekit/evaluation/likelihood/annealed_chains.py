r"""Chains of annealed importance sampling: the path of densities, its transitions, and their step sizes.

The mathematics, with :math:`f_t`, :math:`\beta_t` and the weights of chains, is in
:mod:`vaekit.evaluation.likelihood.annealing`, whose estimators run these chains.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.arguments import Count, require_fields
from vaekit.core.errors import ConfigError
from vaekit.core.progress import track
from vaekit.distributions import sample_from_noise
from vaekit.evaluation.noise import Noise
from vaekit.mcmc.hmc import LogDensities, State, Trajectory, transition
from vaekit.mcmc.step_size import adapt_step
from vaekit.models import Model

SIGMOID_RANGE = 4.0
"""The sigmoid of the :math:`\\beta_t` is evaluated from minus this value to plus this value."""
FIRST_STEP = 0.5
"""The first step size, in standard deviations."""

Start = Literal["prior", "posterior"]


@dataclass(frozen=True)
class Annealing:
    """The settings of annealed importance sampling.

    Arguments:
        num_chains: S, the number of chains for each image.
        num_distributions: T, the number of densities on the path after its start.
        start: Where chains start: at the ``prior``, or at the ``posterior`` q(z|x), which is closer to p(z|x).
        num_leapfrog_steps: L, the number of leapfrog steps of a transition.
        acceptance: The acceptance rate to which step sizes are adapted.

    Raises:
        ConfigError: If a number is too small, or ``start`` is unknown.
    """

    num_chains: Count = 16
    num_distributions: Count = 1000
    start: Start = "posterior"
    num_leapfrog_steps: Count = 10
    acceptance: float = 0.65

    def __post_init__(self) -> None:
        require_fields(self, ConfigError)
        if not 0 < self.acceptance < 1:
            raise ConfigError(f"annealing: acceptance must be between 0 and 1, got {self.acceptance}")

    @property
    def betas(self) -> Tensor:
        r""":math:`\beta_0` to :math:`\beta_T`, with shape (T + 1)."""
        ramp = torch.linspace(-SIGMOID_RANGE, SIGMOID_RANGE, self.num_distributions + 1, dtype=torch.float64).sigmoid()
        return ((ramp - ramp[0]) / (ramp[-1] - ramp[0])).float()


@dataclass(frozen=True)
class Path:
    """The path of densities for B images.

    Arguments:
        log_densities: z of shape (S, B, D) to (log q0(z), log p(x, z)).
        start: q0.
        scales: The standard deviations at the start and at the end of the path, each with shape (B, D).
    """

    log_densities: LogDensities
    start: Distribution
    scales: tuple[Tensor, Tensor]

    def scale(self, beta: float) -> Tensor:
        """Returns the approximate standard deviation of f at a beta, with shape (B, D), by interpolating precisions."""
        first, last = self.scales
        return ((1 - beta) / first.square() + beta / last.square()).rsqrt()


def path_of(model: Model, x: Tensor, labels: Tensor | None, annealing: Annealing) -> Path:
    """Returns the path of densities for images of shape (B, C, H, W)."""
    qz, log_joint = model.encode(x, labels), model.log_joint(x, labels)
    start = qz if annealing.start == "posterior" else model.prior_of(len(x), labels)

    def log_densities(z: Tensor) -> tuple[Tensor, Tensor]:
        log_pz, log_px = log_joint(z)
        return start.log_prob(z), log_pz + log_px

    return Path(log_densities, start, (start.stddev, qz.stddev))


def _initial_state(path: Path, annealing: Annealing, noise: Noise) -> State:
    """Chains at samples of q0, with shape (S, B, D)."""
    return State.at(sample_from_noise(path.start, noise.normal(annealing.num_chains)), path.log_densities)


def forward_weights(path: Path, annealing: Annealing, steps: Tensor, noise: Noise) -> Tensor:
    """Returns log-weights of chains from the start to p(x, z), with shape (S, B)."""
    betas = annealing.betas.tolist()
    state = _initial_state(path, annealing, noise)
    log_weights = torch.zeros_like(state.values[0])
    for t in range(1, len(betas)):
        log_weights += (betas[t] - betas[t - 1]) * (state.values[1] - state.values[0])
        if t < len(betas) - 1:
            state, _ = _move(path, annealing, betas[t], float(steps[t]), state, noise)
    return log_weights


def backward_weights(path: Path, annealing: Annealing, steps: Tensor, z: Tensor, noise: Noise) -> Tensor:
    """Returns log-weights of chains from exact samples of p(z|x), of shape (S, B, D), to the start, with shape (S, B)."""
    betas = annealing.betas.tolist()
    state = State.at(z, path.log_densities)
    state, _ = _move(path, annealing, 1.0, float(steps[-1]), state, noise)  # the chains of an image start at one point
    log_weights = torch.zeros_like(state.values[0])
    for t in range(len(betas) - 1, 0, -1):
        if t < len(betas) - 1:
            state, _ = _move(path, annealing, betas[t], float(steps[t]), state, noise)
        log_weights += (betas[t] - betas[t - 1]) * (state.values[1] - state.values[0])
    return log_weights


def _move(path: Path, annealing: Annealing, beta: float, step: float, state: State, noise: Noise) -> tuple[State, Tensor]:
    """One transition of all chains at a beta, and their acceptance probabilities with shape (S, B)."""
    normal, uniform = noise.transition(annealing.num_chains)
    trajectory = Trajectory(step, annealing.num_leapfrog_steps, path.scale(beta))
    weights = state.values.new_tensor([1 - beta, beta])
    return transition(state, weights, path.log_densities, trajectory, normal, uniform)


def adapted_step_sizes(paths: list[tuple[Path, Noise]], annealing: Annealing) -> Tensor:
    """Returns step sizes for t = 0 to T with an acceptance rate near the target over all paths, with shape (T + 1)."""
    states = [_initial_state(path, annealing, noise) for path, noise in paths]
    step = torch.tensor(FIRST_STEP, dtype=torch.float64)
    steps = [float(step)]
    for beta in track(annealing.betas.tolist()[1:], "adapting step sizes"):
        moved = [
            _move(path, annealing, beta, float(step), state, noise)
            for state, (path, noise) in zip(states, paths, strict=True)
        ]
        states = [state for state, _ in moved]
        steps.append(float(step))
        acceptance = torch.cat([probability for _, probability in moved], 1).mean().cpu().double()
        step = adapt_step(step, acceptance, annealing.acceptance)
    return torch.tensor(steps)
