r"""The contracts between a model, an objective and a training step.

For a batch a model computes :class:`Terms`, from which every objective and estimator is made:

.. math:: \log p(x|z), \qquad z \sim q(z|x), \qquad q(z|x), \qquad p(z).

An objective reduces them to a loss and values to log (:class:`Loss`). Shape letters: ``K`` samples of ``z`` per image, ``B``
batch, ``D`` latents of a layer. Everything is in nats per image. ``log_*`` and ``elbo`` are better when higher; ``rate``,
``distortion`` and losses when lower.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.kl import kl_per_latent


@dataclass(frozen=True)
class LatentTerms:
    """One stochastic layer; a hierarchical model has several.

    Arguments:
        z: Samples of the posterior, with shape (K, B, *event).
        qz: The posterior q(z|x), or q(z|x, layers above), with batch shape (B) or (K, B) and the event shape of z.
        pz: The prior p(z), or p(z|layers above), with batch shape (B) or (K, B) and the event shape of z.
    """

    z: Tensor
    qz: Distribution
    pz: Distribution

    def rate(self) -> Tensor:
        """Returns KL(q(z|x) || p(z)) of each latent, in nats, with shape (B, D), by :func:`vaekit.core.kl.kl_per_latent`."""
        return kl_per_latent(self.qz, self.pz, self.z)

    def log_ratio(self) -> Tensor:
        """Returns log p(z) - log q(z|x) of each sample, in nats, with shape (K, B)."""
        return self.pz.log_prob(self.z) - self.qz.log_prob(self.z)


@dataclass(frozen=True)
class Terms:
    """The distributions and samples of a batch.

    Arguments:
        log_px: log p(x|z) of each sample, in nats, with shape (K, B).
        latents: The stochastic layers, from the top down.
        px: The distribution p(x|z), with batch shape (K, B) and the event shape of x.
        x: The values at which p(x|z) is evaluated, with shape (B, C, H, W) for images.
        penalties: Penalties that parts of the model add to the loss, by name. Each has shape (B) and is weighted by the
            objective.
        sleep_terms: A function that samples z ~ p(z) and x ~ p(x|z), one for each image of the batch and without gradients,
            and returns the terms of z with q(z|x), whose gradient reaches the encoder. Only wake-sleep needs it.
    """

    log_px: Tensor
    latents: tuple[LatentTerms, ...]
    px: Distribution
    x: Tensor
    penalties: dict[str, Tensor] = field(default_factory=dict)
    sleep_terms: Callable[[], tuple[LatentTerms, ...]] | None = None

    def elbo(self) -> Tensor:
        """Returns the evidence lower bound, -(distortion + rate), in nats, with shape (B)."""
        return -(self.distortion() + self.rate())

    def log_weights(self) -> Tensor:
        """Returns log p(x, z) - log q(z|x) of each sample, in nats, with shape (K, B)."""
        return reduce(add, (latent.log_ratio() for latent in self.latents), self.log_px)

    def score(self) -> Tensor:
        r"""Returns zeros of shape (K, B) whose gradient is the score, :math:`\partial_\phi \log q_\phi(z|x)` at fixed z.

        Added to :meth:`log_weights` it removes the score term from their gradient and leaves the pathwise gradient.
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

    def logs(self) -> dict[str, Tensor]:
        """Returns the detached batch means of ``elbo``, ``rate``, ``distortion`` and each penalty."""
        with torch.no_grad():
            distortion, rate = self.distortion().mean(), self.rate().mean()
            penalties = {name: value.detach().mean() for name, value in self.penalties.items()}
        return {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion} | penalties


@dataclass(frozen=True)
class StepContext:
    """What an objective may know of the training beside the terms of its batch.

    Arguments:
        epoch: The time in epochs, fractional: 0 at the first step. Schedules are functions of it.
        step: The number of updates before this one.
        num_images: N, the number of training images.
    """

    epoch: float = 0.0
    step: int = 0
    num_images: int = 1


@dataclass(frozen=True)
class Loss:
    """What an objective makes of :class:`Terms`.

    Arguments:
        value: The loss, a scalar in nats per image; lower is better.
        logs: Detached scalars to log: ``elbo``, ``rate``, ``distortion`` and those of the objective, for example ``beta``.
    """

    value: Tensor
    logs: dict[str, Tensor]
