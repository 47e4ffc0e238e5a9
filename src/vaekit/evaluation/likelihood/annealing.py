r"""log p(x) by annealed importance sampling, and the bracket around it by going both ways.

A path of densities leads from a start :math:`q_0(z)` that can be drawn from, the prior or the encoder's posterior, to the
model's :math:`p(x, z)`:

.. math:: f_t(z) = q_0(z)^{1 - \beta_t} \, p(x, z)^{\beta_t}, \qquad 0 = \beta_0 < \dots < \beta_T = 1.

A chain starts at :math:`z_0 \sim q_0` and moves by Hamiltonian Monte Carlo that leaves :math:`f_t` as it is; with

.. math:: \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \bigl(\log p(x, z_{t-1}) - \log q_0(z_{t-1})\bigr)

:math:`\mathbb{E}\,w = p(x)`, so that :math:`\log \frac1S \sum_s w_s` of S chains is a lower bound of log p(x) on average.
Started at an exact sample of :math:`p(z|x)` and run from T to 0 the same product has :math:`\mathbb{E}\,w^{-1} = 1 / p(x)`
and bounds from above. An exact sample is known for images that the model has drawn itself: there the difference of the
two bounds the error of both, which is **bidirectional Monte Carlo**.

The :math:`\beta_t` follow a sigmoid, slow at both ends. Trajectories are measured in the standard deviations of q(z|x),
blended into the start's; their step is adapted to an acceptance rate in a pilot on the first images and then stands still
for each t, so that every chain leaves its density as it is, exactly.

References:
    | Annealed importance sampling (Neal, 2001), https://arxiv.org/abs/physics/9803008
    | On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017), https://arxiv.org/abs/1611.04273
    | Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse et al., 2015), https://arxiv.org/abs/1511.02543
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.errors import ConfigError, suggest
from vaekit.core.progress import track
from vaekit.core.rng import fixed_seed
from vaekit.core.units import NATS
from vaekit.data import ImageSet
from vaekit.distributions import sample_from_noise
from vaekit.evaluation.estimate import Estimate, batches, mean_over_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.mcmc.hmc import LogDensities, State, Trajectory, transition
from vaekit.models import VAE

STEEPNESS = 4.0
"""How much of a sigmoid the :math:`\\beta_t` follow, to both sides of its middle."""
PILOT = 20
"""How many images, the first ones, the steps are adapted on."""
FIRST_STEP, SLOWER, FASTER = 0.5, 0.98, 1.02
"""The first step, in standard deviations, and what it is multiplied with where too few or too many moves are accepted."""


Start = Literal["prior", "posterior"]


@dataclass(frozen=True)
class Annealing:
    """How to anneal.

    Arguments:
        chains: S, how many chains an image has.
        distributions: T, how many densities lie on the path after its start.
        start: Where chains start: at the model's ``prior``, or at the encoder's ``posterior``, which is nearer.
        leapfrog: L, how many leapfrog steps a move has.
        acceptance: The share of moves to be accepted.

    Raises:
        ConfigError: If a number is too small, or there is no such start.
    """

    chains: int = 16
    distributions: int = 1000
    start: Start = "posterior"
    leapfrog: int = 10
    acceptance: float = 0.65

    def __post_init__(self) -> None:
        for name in ("chains", "distributions", "leapfrog"):
            if getattr(self, name) < 1:
                raise ConfigError(f"annealing takes {name} of 1 at least, got {getattr(self, name)}")
        if not 0 < self.acceptance < 1:
            raise ConfigError(f"annealing takes an acceptance between 0 and 1, got {self.acceptance}")
        if self.start not in get_args(Start):
            raise ConfigError(f"annealing starts at {self.start!r}: no such start{suggest(self.start, get_args(Start))}")

    @property
    def betas(self) -> Tensor:
        r""":math:`\beta_0` to :math:`\beta_T`, with shape (T + 1)."""
        ramp = torch.linspace(-STEEPNESS, STEEPNESS, self.distributions + 1, dtype=torch.float64).sigmoid()
        return ((ramp - ramp[0]) / (ramp[-1] - ramp[0])).float()


@dataclass(frozen=True)
class Path:
    """The path of some images: log-densities (log q0, log p(x, z)), the start, and how broad each end is."""

    log_densities: LogDensities
    start: Distribution
    scales: tuple[Tensor, Tensor]

    def scale(self, beta: float) -> Tensor:
        """About how broad f is at a beta, with shape (B, D): precisions add as the log-densities do."""
        first, last = self.scales
        return ((1 - beta) / first.square() + beta / last.square()).rsqrt()


def annealed_log_likelihood(model: VAE, images: ImageSet, how: Annealing | None = None, *, seed: int = 0) -> Estimate:
    """Estimates log p(x) by annealed importance sampling, from below on average.

    Arguments:
        model: The model.
        images: The images.
        how: Chains, distributions and start.
        seed: The seed of the chains; each image has numbers of its own.

    Returns:
        The mean over images, in nats; ``num_samples`` are the chains, ``steps`` the distributions.
    """
    how = how or Annealing()
    values = annealed_of_each(model, images, how, seed=seed)
    return mean_over_images(values, NATS, how.chains, space_of(model, images), steps=how.distributions)


def annealed_of_each(model: VAE, images: ImageSet, how: Annealing, *, seed: int = 0) -> Tensor:
    """Returns the estimate of log p(x) for each image, in nats, with shape (N)."""
    with model.inference():
        xs, ys = zip(*batches(model, images.first(PILOT)), strict=True)
        steps = _pilot(model, torch.cat(xs), None if ys[0] is None else torch.cat(ys), how, seed)
        found = []
        for x, labels, noise in with_noise(model, images, seed, f"annealing {len(images):,} images", _most(model, how)):
            path = _path(model, x, labels, how)
            found.append(_forward(path, how, steps, noise).logsumexp(0) - math.log(how.chains))
    return torch.cat(found).cpu()


@dataclass(frozen=True)
class Bracket:
    """What bidirectional Monte Carlo says.

    Arguments:
        lower: The mean over images of annealed importance sampling.
        upper: The mean of its reverse.
        gap: Their difference, which bounds the error of both on images like these.
    """

    lower: Estimate
    upper: Estimate
    gap: Estimate


def bracket(model: VAE, num: int, how: Annealing | None = None, *, labels: Tensor | None = None, seed: int = 0) -> Bracket:
    """Brackets log p(x) of images that the model draws itself.

    Arguments:
        model: The model.
        num: How many images to draw.
        how: Chains, distributions and start.
        labels: Their classes, with shape (num), if the model is conditional.
        seed: The seed of images and chains.
    """
    how = how or Annealing()
    with model.inference(), fixed_seed(seed):
        z, x = model.sample_joint(num, labels)
        steps = _pilot(model, x[:PILOT], None if labels is None else labels[:PILOT], how, seed)
        lows, highs = [], []
        for part in track(torch.arange(num).split(_most(model, how)), f"annealing {num:,} images both ways"):
            path = _path(model, x[part], None if labels is None else labels[part], how)
            noise = _noise(model, seed, part.tolist())
            lows.append(_forward(path, how, steps, noise).logsumexp(0) - math.log(how.chains))
            back = _backward(path, how, steps, z[part].expand(how.chains, -1, -1), noise)
            highs.append(math.log(how.chains) - (-back).logsumexp(0))
    low, high = torch.cat(lows), torch.cat(highs)
    space = "images drawn by the model"
    lower, upper, gap = (
        mean_over_images(values, NATS, how.chains, space, steps=how.distributions) for values in (low, high, high - low)
    )
    return Bracket(lower, upper, gap)


def _noise(model: VAE, seed: int, places: list[int] | range) -> Noise:
    return Noise(seed, places, model.latent_dim, model.device)


def _most(model: VAE, how: Annealing) -> int:
    """How many images are annealed at a time."""
    return max(1, model.chunk_size // how.chains)


def _path(model: VAE, x: Tensor, labels: Tensor | None, how: Annealing) -> Path:
    qz, joint = model.encode(x, labels), model.log_joint(x, labels)
    start = qz if how.start == "posterior" else model.prior_of(len(x), labels)

    def log_densities(z: Tensor) -> tuple[Tensor, Tensor]:
        log_pz, log_px = joint(z)
        return start.log_prob(z), log_pz + log_px

    return Path(log_densities, start, (start.stddev, qz.stddev))


def _begin(path: Path, how: Annealing, noise: Noise) -> State:
    """Chains at their start, with shape (S, B, D)."""
    return State.at(sample_from_noise(path.start, noise.normal(how.chains)), path.log_densities)


def _forward(path: Path, how: Annealing, steps: Tensor, noise: Noise) -> Tensor:
    """The log-weights of chains from the start to p(x, z), with shape (S, B)."""
    betas = how.betas.tolist()
    state = _begin(path, how, noise)
    log_weights = torch.zeros_like(state.values[0])
    for t in range(1, len(betas)):
        log_weights += (betas[t] - betas[t - 1]) * (state.values[1] - state.values[0])
        if t < len(betas) - 1:
            state, _ = _move(path, how, betas[t], float(steps[t]), state, noise)
    return log_weights


def _backward(path: Path, how: Annealing, steps: Tensor, z: Tensor, noise: Noise) -> Tensor:
    """The log-weights of chains from exact samples of p(z|x), of shape (S, B, D), to the start, with shape (S, B)."""
    betas = how.betas.tolist()
    state = State.at(z, path.log_densities)
    state, _ = _move(path, how, 1.0, float(steps[-1]), state, noise)  # lets chains that start at one point part
    log_weights = torch.zeros_like(state.values[0])
    for t in range(len(betas) - 1, 0, -1):
        if t < len(betas) - 1:
            state, _ = _move(path, how, betas[t], float(steps[t]), state, noise)
        log_weights += (betas[t] - betas[t - 1]) * (state.values[1] - state.values[0])
    return log_weights


def _move(path: Path, how: Annealing, beta: float, step: float, state: State, noise: Noise) -> tuple[State, Tensor]:
    normal, uniform = noise.moves(how.chains)
    trajectory = Trajectory(step, how.leapfrog, path.scale(beta))
    weights = state.values.new_tensor([1 - beta, beta])
    return transition(state, weights, path.log_densities, trajectory, normal, uniform)


def _pilot(model: VAE, x: Tensor, labels: Tensor | None, how: Annealing, seed: int) -> Tensor:
    """The steps, adapted with noise that no image's own chains have: their randomness must not choose their steps."""
    walks = []
    for part in torch.arange(len(x)).split(_most(model, how)):
        path = _path(model, x[part], None if labels is None else labels[part], how)
        walks.append((path, _noise(model, seed, (part - len(x)).tolist())))
    return _adapt(walks, how)


def _adapt(walks: list[tuple[Path, Noise]], how: Annealing) -> Tensor:
    """Steps for t = 0 to T at which about the asked share of all moves is accepted, with shape (T + 1)."""
    betas = how.betas.tolist()
    states = [_begin(path, how, noise) for path, noise in walks]
    step, steps = FIRST_STEP, [FIRST_STEP]
    for beta in track(betas[1:], "adapting steps"):
        moved = [_move(path, how, beta, step, state, noise) for state, (path, noise) in zip(states, walks, strict=True)]
        states = [state for state, _ in moved]
        steps.append(step)
        often = float(torch.cat([accepted for _, accepted in moved], 1).mean())
        step *= FASTER if often > how.acceptance else SLOWER
    return torch.tensor(steps)
