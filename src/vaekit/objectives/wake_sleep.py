r"""Wake-sleep: two objectives instead of one bound.

.. math::
    \text{wake} \quad & \max_\theta \; \mathbb{E}_{x \sim \mathrm{data}, \, z \sim q_\phi(z|x)} \log p_\theta(x, z) \\
    \text{sleep} \quad & \max_\phi \; \mathbb{E}_{z \sim p_\theta(z), \, x \sim p_\theta(x|z)} \log q_\phi(z|x)

Awake, the decoder learns to draw what is seen from the latents that the encoder gives it; asleep, the encoder learns to find
the latents of what the model dreams. No gradient passes through a sample, so that z may be of any kind; but the two do not
climb the same hill: sleep minimizes the other Kullback-Leibler divergence, and of dreams instead of images.

References:
    | The "wake-sleep" algorithm for unsupervised neural networks (Hinton et al., 1995),
      https://doi.org/10.1126/science.7761831
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), which compares with it, https://arxiv.org/abs/1312.6114
"""

import torch
from pydantic import PositiveInt

from vaekit.core.terms import Loss, Terms
from vaekit.objectives.objective import Objective, scale_pathwise_gradient


class WakeSleep(Objective):
    """Both phases in one step: their gradients reach different weights, but where the prior is made of the encoder.

    ``elbo``, ``rate`` and ``distortion`` are logged beside ``wake`` = -log p(x, z) and ``sleep`` = -log q(z|x) of dreams.

    Arguments:
        num_samples: K, how many samples of z the wake phase draws for each image.
    """

    def __init__(self, num_samples: PositiveInt = 1) -> None:
        self.num_samples = num_samples

    def __call__(self, terms: Terms, epoch: float) -> Loss:
        """Returns the sum of both phases' losses of a batch, in nats per image."""
        scale_pathwise_gradient(terms, 0.0)
        joint = terms.log_px + sum(latent.pz.log_prob(latent.z) for latent in terms.latents)
        dream = terms.sleep_terms()
        wake, sleep = -joint.mean(), -dream.qz.log_prob(dream.z).mean()
        with torch.no_grad():
            distortion, rate = terms.distortion().mean(), terms.rate().mean()
        logs = {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion}
        return Loss(wake + sleep, logs | {"wake": wake.detach(), "sleep": sleep.detach()})
