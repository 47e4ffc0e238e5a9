r"""The amortization gap: the loss in the ELBO from using an encoder instead of optimizing each posterior.

For each image the mean and the standard deviation of the posterior are optimized by gradient ascent on the ELBO, starting
from the encoder's, with the model fixed:

.. math:: q^*(z) = \mathcal{N}(\mu^*, \mathrm{diag}\,\sigma^{*2}), \qquad
          (\mu^*, \sigma^*) = \arg\max_{\mu, \sigma} \mathrm{elbo}(x; \mu, \sigma)

.. math:: \underbrace{\log p(x) - \mathrm{elbo}(x; q)}_{\text{inference gap}}
          = \underbrace{\log p(x) - \mathrm{elbo}(x; q^*)}_{\text{approximation gap}}
          + \underbrace{\mathrm{elbo}(x; q^*) - \mathrm{elbo}(x; q)}_{\text{amortization gap}}

Both bounds are estimated with samples that were not used in the optimization.

References:
    | Inference Suboptimality in Variational Autoencoders (Cremer et al., 2018), https://arxiv.org/abs/1801.03558
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaekit.core.errors import ModelError
from vaekit.core.terms import LatentTerms
from vaekit.core.units import NATS
from vaekit.data import Dataset
from vaekit.distributions import is_diagonal_gaussian
from vaekit.distributions.bounded_scale import scale_of
from vaekit.evaluation.estimate import Estimate, Metric, mean_over_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.models import Model

NUM_STEPS, LEARNING_RATE = 300, 0.05
"""The number of steps of Adam, and its learning rate, in standard deviations of the encoder's posterior."""
NUM_STEP_SAMPLES = 5
"""The number of samples of z in an optimization step."""
NUM_SAMPLES = 100
"""The number of samples of z with which both bounds are estimated."""
MAX_BATCH_SIZE = 100
"""The largest number of images that are refined at a time."""

METRICS = (
    Metric(
        "amortization_gap",
        "amortization",
        "The increase of the ELBO when each image's posterior is optimized, starting from the encoder's.",
        NATS,
        2,
        None,
        "samples",
    ),
)


def amortization_gap(
    model: Model, data: Dataset, *, num_samples: int = NUM_SAMPLES, num_steps: int = NUM_STEPS, seed: int = 0
) -> Estimate:
    """Estimates the increase of the ELBO when each image's posterior is optimized, in nats.

    Arguments:
        model: A model whose posterior is a diagonal Gaussian.
        data: The data set.
        num_samples: K, the number of samples of z with which both bounds are estimated.
        num_steps: The number of optimization steps.
        seed: The seed of all samples.

    Raises:
        ModelError: If the posterior is of another kind.
    """
    gaps = []
    batch_size = max(1, min(MAX_BATCH_SIZE, model.chunk_size // NUM_STEP_SAMPLES))
    with model.inference():
        for x, labels, noise in with_noise(model, data, seed, f"refining {len(data):,} posteriors", batch_size):
            qz, pz = model.encode(x, labels), model.prior_of(len(x), labels)
            if not is_diagonal_gaussian(qz):
                raise ModelError("the amortization gap is defined for diagonal Gaussian posteriors only; this one is not")
            refined = _refine(model, x, labels, qz, pz, num_steps, noise)
            z_noise = noise.normal(num_samples)
            before, after = (_elbo(model, x, labels, q, pz, z_noise) for q in (qz, refined))
            gaps.append(after - before)
    return mean_over_images(torch.cat(gaps).cpu(), NATS, num_samples, space_of(model, data), steps=num_steps)


def _refine(
    model: Model, x: Tensor, labels: Tensor | None, qz: Distribution, pz: Distribution, num_steps: int, noise: Noise
) -> Distribution:
    """The optimized posterior of each image, N(mean + shift * stddev, (stddev * e^log_ratio)^2)."""
    mean, stddev = qz.mean, qz.stddev
    shift, log_ratio = torch.zeros_like(mean).requires_grad_(), torch.zeros_like(mean).requires_grad_()
    optimizer = torch.optim.Adam([shift, log_ratio], LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)

    def posterior() -> Distribution:
        return Independent(Normal(mean + shift * stddev, stddev * scale_of(log_ratio), validate_args=False), 1)

    with torch.enable_grad():
        for _ in range(num_steps):
            loss = -_elbo(model, x, labels, posterior(), pz, noise.normal(NUM_STEP_SAMPLES)).sum()
            optimizer.zero_grad()
            shift.grad, log_ratio.grad = torch.autograd.grad(loss, [shift, log_ratio])
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        return posterior()


def _elbo(model: Model, x: Tensor, labels: Tensor | None, q: Distribution, pz: Distribution, noise: Tensor) -> Tensor:
    """The ELBO of each image under its posterior q, with shape (B), from noise of shape (K, B, D)."""
    z, log_joint = q.mean + q.stddev * noise, model.log_joint(x, labels)
    log_px = torch.cat([log_joint(chunk)[1] for chunk in z.split(max(1, model.chunk_size // len(x)))])
    return log_px.mean(0) - LatentTerms(z, q, pz).rate().sum(-1)
