r"""The evidence lower bound and its weighted forms.

.. math::
    \mathrm{elbo}(x) &= \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, p(z))
                      = -(\mathrm{distortion} + \mathrm{rate}) \\
    \mathrm{loss}(x) &= \mathrm{distortion} + \beta(t) \, \mathrm{penalty}(\mathrm{rate})

The penalty is the rate itself. With **free bits** :math:`\lambda`, latents whose rate, averaged over the batch, lies below
:math:`\lambda` cost :math:`\lambda` each and get no gradient from it. With a **capacity** :math:`C(t)` the penalty is
:math:`|\mathrm{rate} - C(t)|`, of the mean rate of the batch. With a **perceptual** term the loss is no bound. ``elbo``,
``rate`` and ``distortion`` are logged unweighted and without additions.
"""

from functools import reduce
from operator import add

from pydantic import NonNegativeFloat

from vaekit.core.arguments import checked
from vaekit.core.errors import ConfigError
from vaekit.core.schedules import AnySchedule, as_schedule
from vaekit.core.shares import batch_mean
from vaekit.core.terms import Loss, StepContext, Terms
from vaekit.objectives.objective import NumSamples, Objective
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
        beta: :math:`\beta`, the KL weight, as a number or a schedule; with 1 the loss is the bound itself.
        free_bits: :math:`\lambda`, the rate below which a latent is not penalized further, in nats. Where there is only a
            joint rate of all latents, as under a VampPrior, :math:`\lambda` is for all of them together.
        capacity: :math:`C`, the target rate in nats per image, as a number or a schedule; None for no target.
        perceptual: The weight, in nats, of the structural dissimilarity between images and reconstructions; see
            :func:`vaekit.objectives.perceptual.dissimilarity`. With it the loss is the negative of no likelihood.
        num_samples: K, the number of samples of z over which the distortion is averaged.
        penalties: The weight of each penalty of the model's parts; 1 for those that are not named.

    Raises:
        ConfigError: If both free bits and a capacity are given.
    """

    @checked(ConfigError)
    def __init__(
        self,
        beta: AnySchedule = 1.0,
        free_bits: NonNegativeFloat = 0.0,
        capacity: AnySchedule | None = None,
        perceptual: NonNegativeFloat = 0.0,
        num_samples: NumSamples = 1,
        penalties: dict[str, AnySchedule] = {},
    ) -> None:
        super().__init__(num_samples, penalties)
        if free_bits and capacity is not None:
            raise ConfigError("objective: free_bits and capacity both change the penalty of the rate; choose one of them")
        self.beta = as_schedule(beta, "beta")
        self.free_bits = free_bits
        self.capacity = None if capacity is None else as_schedule(capacity, "capacity")
        self.perceptual = perceptual

    def forward(self, terms: Terms, context: StepContext) -> Loss:
        """Returns the loss of a batch, in nats per image."""
        rates = terms.rates()  # each (B, D), computed once for the loss and the logs
        rate_per_image = reduce(add, (r.sum(-1) for r in rates))
        rate = rate_per_image.mean()
        distortion = terms.distortion().mean()
        if self.capacity is not None:
            rate_penalty = (batch_mean(rate_per_image) - self.capacity(context.epoch)).abs()
        elif self.free_bits:
            rate_penalty = reduce(add, (batch_mean(r, 0).clamp(min=self.free_bits).sum() for r in rates))
        else:
            rate_penalty = rate
        beta = self.beta(context.epoch)
        logs = {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion, "beta": rate.new_tensor(beta)}
        loss = distortion + beta * rate_penalty + self.weighted_penalties(terms, context)
        logs |= {name: value.mean() for name, value in terms.penalties.items()}
        if self.perceptual:
            logs["dissimilarity"] = dissimilarity(terms.px.mean, terms.x).mean()
            loss = loss + self.perceptual * logs["dissimilarity"]
        return Loss(loss, {key: value.detach() for key, value in logs.items()})
