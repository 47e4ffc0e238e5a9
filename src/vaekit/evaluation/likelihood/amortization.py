r"""What the encoder loses by answering at once: the amortization gap.

For each image the posterior's own mean and standard deviation are refined by gradient ascent on the evidence lower bound,
from the encoder's on, with everything else of the model as it is:

.. math:: q^*(z) = \mathcal{N}(\mu^*, \mathrm{diag}\,\sigma^{*2}), \qquad
          (\mu^*, \sigma^*) = \arg\max_{\mu, \sigma} \mathrm{elbo}(x; \mu, \sigma)

.. math:: \underbrace{\log p(x) - \mathrm{elbo}(x; q)}_{\text{inference gap}}
          = \underbrace{\log p(x) - \mathrm{elbo}(x; q^*)}_{\text{approximation gap}}
          + \underbrace{\mathrm{elbo}(x; q^*) - \mathrm{elbo}(x; q)}_{\text{amortization gap}}

Both bounds are measured with samples that the refinement never saw.

References:
    | Inference Suboptimality in Variational Autoencoders (Cremer et al., 2018), https://arxiv.org/abs/1801.03558
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaekit.core.errors import ModelError
from vaekit.core.terms import LatentTerms
from vaekit.core.units import NATS
from vaekit.data import ImageSet
from vaekit.distributions import is_diagonal_gaussian
from vaekit.evaluation.estimate import Estimate, mean_over_images
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.models import VAE

STEPS, LEARNING_RATE = 300, 0.05
"""How long each image's posterior is refined, by Adam, and how fast, in standard deviations of the encoder's."""
DRAWS = 5
"""How many samples of z a step of refinement sees."""
NUM_SAMPLES = 100
"""How many samples both bounds are measured with."""
MAX_CHUNK_SIZE = 100
"""How many images are refined at a time."""


def amortization_gap(
    model: VAE, images: ImageSet, *, num_samples: int = NUM_SAMPLES, steps: int = STEPS, seed: int = 0
) -> Estimate:
    """Returns how much each image's ELBO rises when its posterior is refined, in nats.

    Arguments:
        model: A model whose posterior is a diagonal Gaussian.
        images: The images.
        num_samples: K, how many samples both bounds are measured with.
        steps: How many steps each posterior is refined for.
        seed: The seed of all samples.

    Raises:
        ModelError: If the posterior is of another kind.
    """
    gaps = []
    most = max(1, min(MAX_CHUNK_SIZE, model.chunk_size // DRAWS))
    with model.inference():
        description = f"refining the posteriors of {len(images):,} images"
        for x, labels, noise in with_noise(model, images, seed, description, most):
            qz, pz = model.encode(x, labels), model.prior_of(len(x), labels)
            if not is_diagonal_gaussian(qz):
                raise ModelError(
                    "the amortization gap is that of a diagonal Gaussian, and this posterior is of another kind"
                )
            refined = _refined(model, x, labels, qz, pz, steps, noise)
            same = noise.normal(num_samples)
            before, after = (_elbo(model, x, labels, q, pz, same) for q in (qz, refined))
            gaps.append(after - before)
    return mean_over_images(torch.cat(gaps).cpu(), NATS, num_samples, space_of(model, images), steps=steps)


def _refined(
    model: VAE, x: Tensor, labels: Tensor | None, qz: Distribution, pz: Distribution, steps: int, noise: Noise
) -> Distribution:
    """The posterior of each image after refinement: mean + shift * stddev, and stddev * e^widening of the encoder's."""
    mean, stddev = qz.mean, qz.stddev
    shift, widening = torch.zeros_like(mean).requires_grad_(), torch.zeros_like(mean).requires_grad_()
    optimizer = torch.optim.Adam([shift, widening], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def posterior() -> Distribution:
        return Independent(Normal(mean + shift * stddev, stddev * widening.exp(), validate_args=False), 1)

    with torch.enable_grad():
        for _ in range(steps):
            loss = -_elbo(model, x, labels, posterior(), pz, noise.normal(DRAWS)).sum()
            optimizer.zero_grad()
            shift.grad, widening.grad = torch.autograd.grad(loss, [shift, widening])
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return posterior()


def _elbo(model: VAE, x: Tensor, labels: Tensor | None, q: Distribution, pz: Distribution, noise: Tensor) -> Tensor:
    """The ELBO of each image under a posterior of its own, with shape (B), by noise of shape (K, B, D)."""
    z, joint = q.mean + q.stddev * noise, model.log_joint(x, labels)
    log_px = torch.cat([joint(some)[1] for some in z.split(max(1, model.chunk_size // len(x)))])
    return log_px.mean(0) - LatentTerms(z, q, pz).rate().sum(-1)
