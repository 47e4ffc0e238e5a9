r"""Wake-sleep: two objectives instead of one bound.

.. math::
    \text{wake} \quad & \max_\theta \; \mathbb{E}_{x \sim \mathrm{data}, \, z \sim q_\phi(z|x)} \log p_\theta(x, z) \\
    \text{sleep} \quad & \max_\phi \; \mathbb{E}_{z \sim p_\theta(z), \, x \sim p_\theta(x|z)} \log q_\phi(z|x)

In the wake phase the decoder learns log p(x, z) from data and latents of the encoder; in the sleep phase the encoder learns
log q(z|x) from samples of the model. No gradient passes through a sample, so that z may be discrete. The two phases do not
optimize one objective: sleep minimizes KL(p(z|x) || q(z|x)), and over samples of the model instead of data.

References:
    | The "wake-sleep" algorithm for unsupervised neural networks (Hinton et al., 1995),
      https://doi.org/10.1126/science.7761831
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), which compares with it, https://arxiv.org/abs/1312.6114
"""

from functools import reduce
from operator import add

from torch import Tensor

from vaekit.core.errors import ModelError
from vaekit.core.schedules import AnySchedule
from vaekit.core.terms import LatentTerms, Loss, StepContext, Terms
from vaekit.distributions import PointMass
from vaekit.objectives.objective import NumSamples, Objective, scale_pathwise_gradient


class WakeSleep(Objective):
    """Both phases in one step. Their gradients reach different weights, unless the prior is made of the encoder.

    ``elbo``, ``rate`` and ``distortion`` are logged beside ``wake`` = -log p(x, z) and ``sleep`` = -log q(z|x) of samples.

    Arguments:
        num_samples: K, the number of samples of z for each image in the wake phase.
        penalties: The weight of each penalty of the model's parts; 1 for those that are not named.
    """

    def __init__(self, num_samples: NumSamples = 1, penalties: dict[str, AnySchedule] = {}) -> None:
        super().__init__(num_samples, penalties)

    def forward(self, terms: Terms, context: StepContext) -> Loss:
        """Returns the sum of both phases' losses of a batch, in nats per image.

        Raises:
            ModelError: If the model cannot be sampled for the sleep phase, has several layers, or q(z|x) is a point.
        """
        if len(terms.latents) > 1:  # lower layers and p(x|z) depend on the samples of upper ones, which are not held fixed
            raise ModelError("objective: wake-sleep is for one stochastic layer; choose elbo, layered-elbo or iwae")
        if any(isinstance(latent.qz, PointMass) for latent in terms.latents):
            raise ModelError("objective: wake-sleep needs a density q(z|x), and codes have none; choose elbo")
        if terms.sleep_terms is None:
            raise ModelError("objective: wake-sleep needs a model whose Terms have sleep_terms")
        scale_pathwise_gradient(terms, 0.0)
        wake = -reduce(add, (latent.pz.log_prob(latent.z) for latent in terms.latents), terms.log_px).mean()
        sleep = -_log_qz(terms.sleep_terms()).mean()
        loss = wake + sleep + self.weighted_penalties(terms, context)
        return Loss(loss, terms.logs() | {"wake": wake.detach(), "sleep": sleep.detach()})


def _log_qz(latents: tuple[LatentTerms, ...]) -> Tensor:
    """Log q(z|x) over all layers, with shape (K, B)."""
    return reduce(add, (latent.qz.log_prob(latent.z) for latent in latents))
