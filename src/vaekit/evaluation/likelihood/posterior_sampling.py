r"""log p(x) from samples of the posterior, as in Appendix D of Auto-Encoding Variational Bayes.

Let :math:`q(z)` be a density that is fitted to samples of the posterior, and :math:`z_l` L new samples of the posterior:

.. math:: \frac{1}{p(x)} = \int \frac{q(z)}{p(x)} \, dz = \mathbb{E}_{p(z|x)}\Big[\frac{q(z)}{p(z) \, p(x|z)}\Big]
          \approx \frac1L \sum_{l=1}^L \frac{q(z_l)}{p(z_l) \, p(x|z_l)}.

The estimator does not use the encoder. It is accurate only for few latents, fewer than five. Here :math:`q` is a Gaussian
with a full covariance. Each of the L samples comes from a separate Hamiltonian Monte Carlo chain, whose first state is a
sample of the prior that is resampled in proportion to p(x|z).

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
"""

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vaekit.core.errors import ConfigError
from vaekit.core.units import NATS
from vaekit.data import Dataset
from vaekit.distributions import sample_from_noise
from vaekit.evaluation.estimate import Estimate, mean_over_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.mcmc.hmc import LogDensities, State, Trajectory, transition
from vaekit.mcmc.step_size import adapt_step
from vaekit.models import Model

NUM_CANDIDATES = 1000
"""The number of prior samples from which the first states are resampled."""
MIN_SAMPLES_PER_LATENT = 5
"""The smallest L per latent. With fewer samples the estimate is too high by tenths of a nat or more."""
NUM_TRANSITIONS = 40
"""The number of transitions before the samples that q(z) is fitted to, and again before the new samples."""
NUM_LEAPFROG_STEPS = 4
ACCEPTANCE, ADAPTATION_RATE = 0.8, 0.1
RIDGE = 1e-6
"""A value added to the variances of the fitted Gaussian."""


def posterior_log_likelihood(model: Model, data: Dataset, *, num_samples: int = 50, seed: int = 0) -> Estimate:
    """Estimates log p(x) of a model with few latents from samples of its posteriors.

    Arguments:
        model: The model, which must not be class-conditional.
        data: The data set.
        num_samples: L, the number of samples that the Gaussian is fitted to, and of new samples.
        seed: The seed of the chains. Each image has its own random numbers.

    Raises:
        ConfigError: If L is too small for the number of latents.
    """
    min_samples = MIN_SAMPLES_PER_LATENT * model.latent_dim
    if num_samples < min_samples:
        raise ConfigError(
            f"num_samples must be at least {min_samples} for a Gaussian of {model.latent_dim} latents, got {num_samples}"
        )
    batch_size = max(1, model.chunk_size // num_samples)
    values = []
    with model.inference():
        for x, _, noise in with_noise(model, data, seed, f"sampling {len(data):,} posteriors", batch_size):
            values.append(_estimate(model, x, num_samples, noise))
    return mean_over_images(torch.cat(values).cpu(), NATS, num_samples, space_of(model, data))


def _estimate(model: Model, x: Tensor, num_samples: int, noise: Noise) -> Tensor:
    """The estimate of log p(x) of each image, with shape (B)."""
    log_joint = model.log_joint(x)

    def log_densities(z: Tensor) -> tuple[Tensor]:
        log_pz, log_px = log_joint(z)
        return (log_pz + log_px,)

    state = State.at(_initial_points(model, x, num_samples, noise), log_densities)
    step = 0.5 * state.z.std(0, keepdim=True).mean(-1, keepdim=True).clamp(min=0.01)  # (1, B, 1)
    state, step = _warm_up(state, step, log_densities, noise)
    fitted = _fit_gaussian(state.z)
    state = _sample(state, step, log_densities, noise)
    ratios: Tensor = fitted.log_prob(state.z) - state.values[0]
    return math.log(num_samples) - ratios.logsumexp(0)


def _initial_points(model: Model, x: Tensor, num: int, noise: Noise) -> Tensor:
    """Samples of the prior, resampled in proportion to p(x|z), with shape (num, B, D)."""
    pz, log_joint = model.prior_of(len(x)), model.log_joint(x)
    z = sample_from_noise(pz, noise.normal(NUM_CANDIDATES))
    chunk_size = max(1, model.chunk_size // len(x))
    log_px = torch.cat([log_joint(chunk)[1] for chunk in z.split(chunk_size)])
    _, uniform = noise.transition(num)  # (num, B)
    cumulative = log_px.softmax(0).cumsum(0).T.contiguous()
    indices = torch.searchsorted(cumulative, uniform.T.contiguous()).T.clamp(max=NUM_CANDIDATES - 1)
    return z.gather(0, indices.unsqueeze(-1).expand(-1, -1, z.shape[-1]))


def _warm_up(state: State, step: Tensor, log_densities: LogDensities, noise: Noise) -> tuple[State, Tensor]:
    """The chains after :data:`NUM_TRANSITIONS` transitions, during which the step of each image is adapted."""
    for _ in range(NUM_TRANSITIONS):
        state, probability = _transition(state, step, log_densities, noise)
        acceptance = probability.mean(0, keepdim=True).unsqueeze(-1)
        step = adapt_step(step, acceptance, ACCEPTANCE, ADAPTATION_RATE)
    return state, step


def _sample(state: State, step: Tensor, log_densities: LogDensities, noise: Noise) -> State:
    """The chains after :data:`NUM_TRANSITIONS` transitions with fixed steps."""
    for _ in range(NUM_TRANSITIONS):
        state, _ = _transition(state, step, log_densities, noise)
    return state


def _transition(state: State, step: Tensor, log_densities: LogDensities, noise: Noise) -> tuple[State, Tensor]:
    normal, uniform = noise.transition(len(state.z))
    trajectory = Trajectory(step, NUM_LEAPFROG_STEPS, state.z.new_ones(()))
    return transition(state, state.values.new_ones(1), log_densities, trajectory, normal, uniform)


def _fit_gaussian(z: Tensor) -> MultivariateNormal:
    """The Gaussian that is fitted to samples of shape (L, B, D), with batch shape (B)."""
    centered = (z - z.mean(0)).double()
    covariance = torch.einsum("lbi,lbj->bij", centered, centered) / (len(z) - 1)
    ridge = RIDGE * torch.eye(z.shape[-1], dtype=covariance.dtype, device=z.device)
    return MultivariateNormal(z.mean(0), (covariance + ridge).float())
