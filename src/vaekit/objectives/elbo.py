r"""The evidence lower bound and its weighted forms.

.. math::
    \mathrm{elbo}(x) &= \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, p(z))
                      = -(\mathrm{distortion} + \mathrm{rate}) \\
    \mathrm{loss}(x) &= \mathrm{distortion} + \beta(t) \, \mathrm{penalty}(\mathrm{rate})

The penalty is the rate itself; with **free bits** :math:`\lambda`, latents whose rate over the batch lies below
:math:`\lambda` cost :math:`\lambda` each and feel no pull; with a **capacity** :math:`C(t)` it is
:math:`|\mathrm{rate} - C(t)|`. A **perceptual** term may be added, which makes the loss the bound of nothing. ``elbo``,
``rate`` and ``distortion`` are logged as they are, unweighted and without additions.
"""

from functools import reduce
from operator import add

from pydantic import NonNegativeFloat, PositiveInt

from vaekit.core.errors import ConfigError
from vaekit.core.schedules import AnySchedule, as_schedule
from vaekit.core.terms import Loss, Terms
from vaekit.objectives.objective import Objective
from vaekit.objectives.perceptual import dissimilarity


class ELBO(Objective):
    r"""The evidence lower bound with a scheduled KL weight, free bits and capacity.

    References:
        | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016) for free bits,
          https://arxiv.org/abs/1606.04934
        | beta-VAE (Higgins et al., 2017), https://openreview.net/forum?id=Sy2fzU9gl
        | Understanding disentangling in beta-VAE (Burgess et al., 2018) for capacity, https://arxiv.org/abs/1804.03599

    Arguments:
        beta: :math:`\beta`, the KL weight, as a number or a schedule; 1 is the bound itself.
        free_bits: :math:`\lambda`, the rate that each latent has for nothing, in nats; where the rate is one number for all
            latents, as under a VampPrior, that all of them have.
        capacity: :math:`C`, the rate in nats per image that is aimed at, as a number or a schedule; None for no aim.
        perceptual: What a structural dissimilarity of one between images and reconstructions costs, in nats; see
            :func:`vaekit.objectives.perceptual.dissimilarity`. With it the loss is the negative of no likelihood.
        num_samples: K, how many samples of z the distortion is averaged over.

    Raises:
        ConfigError: If there are both free bits and a capacity.
    """

    def __init__(
        self,
        beta: AnySchedule = 1.0,
        free_bits: NonNegativeFloat = 0.0,
        capacity: AnySchedule | None = None,
        perceptual: NonNegativeFloat = 0.0,
        num_samples: PositiveInt = 1,
    ) -> None:
        if free_bits and capacity is not None:
            raise ConfigError("objective: free_bits and capacity both bend the rate's penalty; choose one of them")
        self.beta = as_schedule(beta)
        self.free_bits = free_bits
        self.capacity = None if capacity is None else as_schedule(capacity)
        self.perceptual = perceptual
        self.num_samples = num_samples

    def __call__(self, terms: Terms, epoch: float) -> Loss:
        """Returns the loss of a batch, in nats per image."""
        rates = terms.rates()  # each (B, D)
        rate = reduce(add, (r.sum(-1) for r in rates)).mean()
        distortion = terms.distortion().mean()
        if self.capacity is not None:
            penalty = (rate - self.capacity(epoch)).abs()
        elif self.free_bits:
            penalty = reduce(add, (r.mean(0).clamp(min=self.free_bits).sum() for r in rates))
        else:
            penalty = rate
        beta = self.beta(epoch)
        logs = {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion, "beta": rate.new_tensor(beta)}
        loss = distortion + beta * penalty
        if self.perceptual:
            logs["dissimilarity"] = dissimilarity(terms.px.mean, terms.x).mean()
            loss = loss + self.perceptual * logs["dissimilarity"]
        return Loss(loss, {key: value.detach() for key, value in logs.items()})
