r"""log p(x) from samples of the posterior, as in Appendix D of Auto-Encoding Variational Bayes.

With a density :math:`q(z)` fitted to samples of the posterior, and L new samples of it,

.. math:: \frac{1}{p(x)} = \int \frac{q(z)}{p(x)} \, dz = \mathbb{E}_{p(z|x)}\Big[\frac{q(z)}{p(z) \, p(x|z)}\Big]
          \approx \frac1L \sum_{l=1}^L \frac{q(z_l)}{p(z_l) \, p(x|z_l)}.

It needs no encoder, and is good for few latents alone, fewer than five. Here :math:`q` is a Gaussian with a full
covariance, and each of the L samples comes from a Hamiltonian chain of its own, begun at a point that is drawn from the
prior and chosen by p(x|z).

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
"""

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vaekit.core.errors import ConfigError
from vaekit.core.units import NATS
from vaekit.data import ImageSet
from vaekit.distributions import sample_from_noise
from vaekit.evaluation.estimate import Estimate, mean_over_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.mcmc.hmc import LogDensities, State, Trajectory, transition
from vaekit.models import VAE

CANDIDATES = 1000
"""How many draws from the prior a chain's beginning is chosen among."""
MIN_SAMPLES = 5
"""How many samples for each latent there are at least: with fewer the estimate is too high by tenths of a nat and more."""
MOVES = 40
"""How many trajectories a chain takes before a sample of it is used, and again before the second."""
LEAPFROG = 4
ACCEPTANCE, SLOWER, FASTER = 0.8, 0.9, 1.1
RIDGE = 1e-6
"""What is added to the variances of the fitted Gaussian, of latents whose prior has 1."""


def posterior_log_likelihood(model: VAE, images: ImageSet, *, num_samples: int = 50, seed: int = 0) -> Estimate:
    """Estimates log p(x) of models of few latents from samples of their posteriors.

    Arguments:
        model: The model, not conditional.
        images: The images.
        num_samples: L, how many samples the density is fitted to, and how many new ones the estimate is a mean over.
        seed: The seed of the chains; each image has numbers of its own.

    Raises:
        ConfigError: If L is so small that the fitted Gaussian fits its samples rather than the posterior.
    """
    if num_samples < MIN_SAMPLES * model.latent_dim:
        least = MIN_SAMPLES * model.latent_dim
        raise ConfigError(
            f"a Gaussian of {model.latent_dim} latents is fitted to {least} samples at least, got {num_samples}"
        )
    most = max(1, model.chunk_size // num_samples)
    found = []
    with model.inference():
        for x, _, noise in with_noise(model, images, seed, f"sampling {len(images):,} posteriors", most):
            found.append(_estimate(model, x, num_samples, noise))
    return mean_over_images(torch.cat(found).cpu(), NATS, num_samples, space_of(model, images))


def _estimate(model: VAE, x: Tensor, num_samples: int, noise: Noise) -> Tensor:
    joint = model.log_joint(x)

    def log_densities(z: Tensor) -> tuple[Tensor]:
        log_pz, log_px = joint(z)
        return (log_pz + log_px,)

    state = State.at(_beginnings(model, x, num_samples, noise), log_densities)
    step = 0.5 * state.z.std(0, keepdim=True).mean(-1, keepdim=True).clamp(min=0.01)  # (1, B, 1)
    state, step = _moved(state, step, log_densities, noise, adapt=True)
    fitted = _gaussian(state.z)
    state, _ = _moved(state, step, log_densities, noise, adapt=False)
    ratios: Tensor = fitted.log_prob(state.z) - state.values[0]
    return math.log(num_samples) - ratios.logsumexp(0)


def _beginnings(model: VAE, x: Tensor, num: int, noise: Noise) -> Tensor:
    """Points of shape (num, B, D), drawn from the prior and chosen in proportion to p(x|z)."""
    pz, joint = model.prior_of(len(x)), model.log_joint(x)
    z = sample_from_noise(pz, noise.normal(CANDIDATES))
    part = max(1, model.chunk_size // len(x))
    log_px = torch.cat([joint(chunk)[1] for chunk in z.split(part)])
    _, uniform = noise.moves(num)  # (num, B)
    chosen = torch.searchsorted(log_px.softmax(0).cumsum(0).T.contiguous(), uniform.T.contiguous()).T.clamp(
        max=CANDIDATES - 1
    )
    return z.gather(0, chosen.unsqueeze(-1).expand(-1, -1, z.shape[-1]))


def _moved(state: State, step: Tensor, log_densities: LogDensities, noise: Noise, *, adapt: bool) -> tuple[State, Tensor]:
    """Chains after their moves; where it is asked for, with each image's step adapted on the way."""
    weights, scale = state.values.new_ones(1), state.z.new_ones(())
    for _ in range(MOVES):
        normal, uniform = noise.moves(len(state.z))
        state, accepted = transition(state, weights, log_densities, Trajectory(step, LEAPFROG, scale), normal, uniform)
        if adapt:
            often = accepted.mean(0, keepdim=True).unsqueeze(-1) > ACCEPTANCE
            step = step * torch.where(often, FASTER, SLOWER)
    return state, step


def _gaussian(z: Tensor) -> MultivariateNormal:
    """The Gaussian of samples of shape (L, B, D), with batch shape (B)."""
    centered = (z - z.mean(0)).double()
    covariance = torch.einsum("lbi,lbj->bij", centered, centered) / (len(z) - 1)
    ridge = RIDGE * torch.eye(z.shape[-1], dtype=covariance.dtype, device=z.device)
    return MultivariateNormal(z.mean(0), (covariance + ridge).float())
