r"""The contracts between a model, an objective and a training loop.

A model says of a batch what every objective and estimator is made of (:class:`Terms`):

.. math:: \log p(x|z), \qquad z \sim q(z|x), \qquad q(z|x), \qquad p(z),

an objective makes of it one number to descend and a few to log (:class:`Loss`). Shape letters: ``K`` samples of ``z`` per
image, ``B`` batch, ``D`` latents. Everything is in nats per image; ``log_*`` and ``elbo`` are better when higher,
``rate``, ``distortion`` and ``value`` when lower.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions.kl import kl_divergence


@dataclass(frozen=True)
class LatentTerms:
    """One stochastic layer; a hierarchical model has several.

    Arguments:
        z: Samples of the posterior, with shape (K, B, *latent).
        qz: The posterior q(z|x), with batch shape (B) or (K, B) and the latent's shape as its event.
        pz: The prior, or this layer's prior given the layers above, with batch shape (B) or (K, B).
    """

    z: Tensor
    qz: Distribution
    pz: Distribution

    def rate(self) -> Tensor:
        r"""Returns KL(q(z|x) || p(z)) for each latent, in nats, with shape (B, D).

        Analytic where torch registers the pair, else the Monte Carlo estimate
        :math:`\frac1K \sum_k \log q(z_k|x) - \log p(z_k)`. Where one of the two does not factorize over latents there is
        no such thing as a rate for each of them: the joint rate is returned, with D = 1.
        """
        q, p = self.qz, self.pz
        if isinstance(q, Independent) and isinstance(p, Independent):
            q, p = q.base_dist, p.base_dist
        try:
            rate = kl_divergence(q, p)
            has_sample_axis = len(self.qz.batch_shape) == 2
            rate = rate.mean(0) if has_sample_axis else rate
        except NotImplementedError:
            rate = (q.log_prob(self.z) - p.log_prob(self.z)).mean(0)
        return rate.flatten(1) if rate.dim() > 1 else rate.unsqueeze(-1)

    def log_ratio(self) -> Tensor:
        """Returns log p(z) - log q(z|x) of each sample, in nats, with shape (K, B)."""
        return self.pz.log_prob(self.z) - self.qz.log_prob(self.z)


@dataclass(frozen=True)
class Terms:
    """What a model says of a batch.

    Arguments:
        log_px: log p(x|z) of each sample, in nats, with shape (K, B).
        latents: The stochastic layers, from the top down.
        px: The distribution p(x|z), with batch shape (K, B) and the image's shape as its event.
        x: What it was asked about, the images as the likelihood sees them, with shape (B, C, H, W).
        sleep_terms: Samples z ~ p(z) and x ~ p(x|z) from the model, one for each image of the batch, without gradients, and
            returns z with q(z|x); the gradient of q reaches the encoder.
    """

    log_px: Tensor
    latents: tuple[LatentTerms, ...]
    px: Distribution
    x: Tensor
    sleep_terms: Callable[[], LatentTerms]

    def log_weights(self) -> Tensor:
        """Returns log p(x, z) - log q(z|x) of each sample, in nats, with shape (K, B)."""
        return reduce(add, (latent.log_ratio() for latent in self.latents), self.log_px)

    def score(self) -> Tensor:
        r"""Returns zeros of shape (K, B) whose gradient is the score, :math:`\partial_\phi \log q_\phi(z|x)` at z as it is.

        Added to :meth:`log_weights` it takes from their gradient all that does not pass through z.
        """
        scores = (latent.qz.log_prob(latent.z.detach()) for latent in self.latents)
        return reduce(add, (score - score.detach() for score in scores))

    def distortion(self) -> Tensor:
        """Returns -E log p(x|z), in nats, with shape (B)."""
        return -self.log_px.mean(0)

    def rates(self) -> list[Tensor]:
        """Returns the rate of each latent of each stochastic layer, in nats, each with shape (B, D)."""
        return [latent.rate() for latent in self.latents]

    def rate(self) -> Tensor:
        """Returns KL(q(z|x) || p(z)) over all latents of all layers, in nats, with shape (B)."""
        return reduce(add, (rate.sum(-1) for rate in self.rates()))


@dataclass(frozen=True)
class Loss:
    """What an objective makes of :class:`Terms`.

    Arguments:
        value: The number to descend, a scalar in nats per image; lower is better.
        logs: Detached scalars to log: ``elbo``, ``rate``, ``distortion`` and whatever the objective adds, ``beta`` say.
    """

    value: Tensor
    logs: dict[str, Tensor]
