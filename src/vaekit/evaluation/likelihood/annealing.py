r"""log p(x) by annealed importance sampling (AIS), and a bracket around it by bidirectional Monte Carlo.

A path of unnormalized densities leads from a start :math:`q_0(z)`, the prior or the posterior q(z|x), to :math:`p(x, z)`:

.. math:: f_t(z) = q_0(z)^{1 - \beta_t} \, p(x, z)^{\beta_t}, \qquad 0 = \beta_0 < \dots < \beta_T = 1.

A chain starts at :math:`z_0 \sim q_0` and moves by Hamiltonian Monte Carlo transitions that leave :math:`f_t` invariant. Its
weight

.. math:: \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \bigl(\log p(x, z_{t-1}) - \log q_0(z_{t-1})\bigr)

satisfies :math:`\mathbb{E}\,w = p(x)`. So :math:`\log \frac1S \sum_s w_s` over S chains is, in expectation, a lower bound of
log p(x). A reverse chain starts at an exact sample of :math:`p(z|x)` and runs from T to 0. The same product then satisfies
:math:`\mathbb{E}\,w^{-1} = 1 / p(x)` and gives an upper bound. Exact posterior samples are known for images that are sampled
from the model. For these images the difference of the two bounds limits the error of both (**bidirectional Monte Carlo**).

The :math:`\beta_t` follow a sigmoid, with small steps at both ends. Step sizes are relative to the standard deviations of
q(z|x) and of the start. They are adapted to an acceptance rate on the first images of a set, with separate noise, and then
fixed for each t, so that every transition leaves its density invariant.

References:
    | Annealed importance sampling (Neal, 2001), https://arxiv.org/abs/physics/9803008
    | On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017), https://arxiv.org/abs/1611.04273
    | Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse et al., 2015), https://arxiv.org/abs/1511.02543
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.errors import ConfigError, suggest
from vaekit.core.progress import track
from vaekit.core.rng import fixed_seed
from vaekit.core.units import NATS
from vaekit.data import Dataset
from vaekit.distributions import sample_from_noise
from vaekit.evaluation.estimate import Estimate, Metric, batches, mean_over_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.mcmc.hmc import LogDensities, State, Trajectory, transition
from vaekit.mcmc.step_size import adapt_step
from vaekit.models import Model

SIGMOID_RANGE = 4.0
"""The sigmoid of the :math:`\\beta_t` is evaluated from minus this value to plus this value."""
NUM_ADAPTATION_IMAGES = 20
"""The number of images, the first ones, on which the step sizes are adapted."""
FIRST_STEP = 0.5
"""The first step size, in standard deviations."""

METRICS = (
    Metric(
        "annealed",
        "log p(x), AIS",
        "log p(x) by annealed importance sampling: the importance-weighted bound plus the mean difference to it.",
        NATS,
        2,
        True,
        "chains",
    ),
    Metric(
        "annealed_gap",
        "AIS − IW",
        "The AIS estimate minus the importance-weighted bound, over the same images.",
        NATS,
        2,
        None,
        "chains",
    ),
    Metric(
        "bracket_gap",
        "AIS bracket",
        "An upper limit of the error of AIS, on images that are sampled from the model.",
        NATS,
        2,
        None,
        "chains",
    ),
)

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

    num_chains: int = 16
    num_distributions: int = 1000
    start: Start = "posterior"
    num_leapfrog_steps: int = 10
    acceptance: float = 0.65

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_distributions", "num_leapfrog_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"annealing: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.acceptance < 1:
            raise ConfigError(f"annealing: acceptance must be between 0 and 1, got {self.acceptance}")
        if self.start not in get_args(Start):
            raise ConfigError(f"annealing: unknown start {self.start!r}{suggest(self.start, get_args(Start))}")

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


def annealed_log_likelihood(model: Model, data: Dataset, annealing: Annealing | None = None, *, seed: int = 0) -> Estimate:
    """Estimates log p(x) by annealed importance sampling, from below in expectation.

    Arguments:
        model: The model.
        data: The data set.
        annealing: The settings; by default those of :class:`Annealing`.
        seed: The seed of the chains. Each image has its own random numbers.

    Returns:
        The mean over images, in nats; ``num_samples`` is the number of chains, ``steps`` the number of distributions.
    """
    annealing = annealing or Annealing()
    return _mean(annealed_of_each(model, data, annealing, seed=seed), annealing, space_of(model, data))


def annealed_of_each(model: Model, data: Dataset, annealing: Annealing, *, seed: int = 0) -> Tensor:
    """Returns the estimate of log p(x) for each image, in nats, with shape (N)."""
    with model.inference():
        xs, ys = zip(*batches(model, data.first(NUM_ADAPTATION_IMAGES)), strict=True)
        steps = _adapted_steps(model, torch.cat(xs), None if ys[0] is None else torch.cat(ys), annealing, seed)
        values = []
        description = f"annealing {len(data):,} images"
        for x, labels, noise in with_noise(model, data, seed, description, _batch_size(model, annealing)):
            log_weights = _forward(_path(model, x, labels, annealing), annealing, steps, noise)
            values.append(log_weights.logsumexp(0) - math.log(annealing.num_chains))
    return torch.cat(values).cpu()


@dataclass(frozen=True)
class Bracket:
    """The two bounds of bidirectional Monte Carlo.

    Arguments:
        lower: The mean over images of annealed importance sampling.
        upper: The mean over images of its reverse.
        gap: Their difference, an upper limit of the error of both.
    """

    lower: Estimate
    upper: Estimate
    gap: Estimate

    def to_data(self) -> dict[str, Any]:
        """Returns the two bounds as a dictionary for JSON."""
        return {"lower": self.lower.to_data(), "upper": self.upper.to_data()}


def bracket(
    model: Model, num: int, annealing: Annealing | None = None, *, labels: Tensor | None = None, seed: int = 0
) -> Bracket:
    """Brackets log p(x) of images that are sampled from the model.

    Arguments:
        model: The model.
        num: The number of images.
        annealing: The settings; by default those of :class:`Annealing`.
        labels: The classes of the images, with shape (num), if the model is conditional.
        seed: The seed of images and chains.
    """
    annealing = annealing or Annealing()
    with model.inference(), fixed_seed(seed):
        z, x = model.sample_joint(num, labels)
        first = slice(NUM_ADAPTATION_IMAGES)
        steps = _adapted_steps(model, x[first], None if labels is None else labels[first], annealing, seed)
        lows, highs = [], []
        chunks = torch.arange(num).split(_batch_size(model, annealing))
        for chunk in track(chunks, f"annealing {num:,} images in both directions"):
            path = _path(model, x[chunk], None if labels is None else labels[chunk], annealing)
            noise = _noise(model, seed, chunk.tolist())
            lows.append(_forward(path, annealing, steps, noise).logsumexp(0) - math.log(annealing.num_chains))
            exact = z[chunk].expand(annealing.num_chains, -1, -1)
            highs.append(math.log(annealing.num_chains) - (-_backward(path, annealing, steps, exact, noise)).logsumexp(0))
    low, high, space = torch.cat(lows), torch.cat(highs), "images drawn by the model"
    return Bracket(*(_mean(values, annealing, space) for values in (low, high, high - low)))


def _mean(values: Tensor, annealing: Annealing, space: str) -> Estimate:
    return mean_over_images(values, NATS, annealing.num_chains, space, annealing.num_distributions)


def _noise(model: Model, seed: int, positions: list[int]) -> Noise:
    return Noise(seed, positions, model.latent_dim, model.device)


def _batch_size(model: Model, annealing: Annealing) -> int:
    """The number of images that are annealed at a time."""
    return max(1, model.chunk_size // annealing.num_chains)


def _path(model: Model, x: Tensor, labels: Tensor | None, annealing: Annealing) -> Path:
    qz, log_joint = model.encode(x, labels), model.log_joint(x, labels)
    start = qz if annealing.start == "posterior" else model.prior_of(len(x), labels)

    def log_densities(z: Tensor) -> tuple[Tensor, Tensor]:
        log_pz, log_px = log_joint(z)
        return start.log_prob(z), log_pz + log_px

    return Path(log_densities, start, (start.stddev, qz.stddev))


def _initial_state(path: Path, annealing: Annealing, noise: Noise) -> State:
    """Chains at samples of q0, with shape (S, B, D)."""
    return State.at(sample_from_noise(path.start, noise.normal(annealing.num_chains)), path.log_densities)


def _forward(path: Path, annealing: Annealing, steps: Tensor, noise: Noise) -> Tensor:
    """The log-weights of chains from the start to p(x, z), with shape (S, B)."""
    betas = annealing.betas.tolist()
    state = _initial_state(path, annealing, noise)
    log_weights = torch.zeros_like(state.values[0])
    for t in range(1, len(betas)):
        log_weights += (betas[t] - betas[t - 1]) * (state.values[1] - state.values[0])
        if t < len(betas) - 1:
            state, _ = _move(path, annealing, betas[t], float(steps[t]), state, noise)
    return log_weights


def _backward(path: Path, annealing: Annealing, steps: Tensor, z: Tensor, noise: Noise) -> Tensor:
    """The log-weights of chains from exact samples of p(z|x), of shape (S, B, D), to the start, with shape (S, B)."""
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


def _adapted_steps(model: Model, x: Tensor, labels: Tensor | None, annealing: Annealing, seed: int) -> Tensor:
    """The step sizes for t = 0 to T, with shape (T + 1), adapted on images x.

    Their noise has negative positions, so it is independent of the noise of the chains that use the steps.
    """
    chunks = torch.arange(len(x)).split(_batch_size(model, annealing))
    return _adapt(
        [
            (
                _path(model, x[chunk], None if labels is None else labels[chunk], annealing),
                _noise(model, seed, (chunk - len(x)).tolist()),
            )
            for chunk in chunks
        ],
        annealing,
    )


def _adapt(paths: list[tuple[Path, Noise]], annealing: Annealing) -> Tensor:
    """Step sizes for t = 0 to T at which the acceptance rate over all paths is about the target, with shape (T + 1)."""
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
