r"""The evidence lower bound of models with several stochastic layers, whose layers are kept in use while training begins.

.. math:: \mathrm{loss}(x) = \mathrm{distortion} + \beta(t) \sum_{l=1}^L \max(\gamma_l \, r_l, \lambda(t)),
    \qquad r_l = \mathrm{rate\ of\ layer\ } l

With **free bits** :math:`\lambda(t)`, a layer whose rate, averaged over the batch, lies below :math:`\lambda` costs
:math:`\lambda` and gets no gradient from its rate. With **KL balancing** of strength :math:`a(t)`, from 0 to 1, the factor

.. math:: \gamma_l = 1 - a + a\, \frac{L\, r_l}{\sum_m r_m}

lets layers of a low rate grow, and holds back those of a high one; no gradient goes through :math:`\gamma`. With
:math:`\lambda = 0` and :math:`a = 0` the loss is the bound itself, to which a schedule should lead. ``elbo``, ``rate`` and
``distortion`` are logged unweighted, and the rate of each layer as ``rate_1``, ``rate_2``, ... from the top down.

References:
    | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016) for free bits,
      https://arxiv.org/abs/1606.04934
    | NVAE (Vahdat & Kautz, 2020) for KL balancing, https://arxiv.org/abs/2007.03898
"""

import torch
from torch import Tensor

from vaekit.core.schedules import AnySchedule, as_schedule
from vaekit.core.shares import batch_mean
from vaekit.core.terms import Loss, StepContext, Terms
from vaekit.objectives.objective import NumSamples, Objective


class LayeredELBO(Objective):
    r"""The evidence lower bound with free bits and KL balancing for each stochastic layer.

    Arguments:
        beta: :math:`\beta`, the KL weight, as a number or a schedule.
        free_bits: :math:`\lambda`, the rate in nats below which a layer is not penalized further, a number or a schedule.
        balance: :math:`a`, the strength of KL balancing, as a number or a schedule; values above 1 count as 1.
        num_samples: K, the number of samples of z over which the distortion is averaged.
        penalties: The weight of each penalty of the model's parts; 1 for those that are not named.
    """

    def __init__(
        self,
        beta: AnySchedule = 1.0,
        free_bits: AnySchedule = 0.0,
        balance: AnySchedule = 0.0,
        num_samples: NumSamples = 1,
        penalties: dict[str, AnySchedule] = {},
    ) -> None:
        super().__init__(num_samples, penalties)
        self.beta = as_schedule(beta)
        self.free_bits = as_schedule(free_bits)
        self.balance = as_schedule(balance)

    def forward(self, terms: Terms, context: StepContext) -> Loss:
        """Returns the loss of a batch, in nats per image."""
        rates = torch.stack([batch_mean(rate.sum(-1)) for rate in terms.rates()])  # (L)
        distortion, rate = terms.distortion().mean(), rates.sum()
        balanced = balance_factors(rates.detach(), self.balance(context.epoch)) * rates
        beta, free_bits = self.beta(context.epoch), self.free_bits(context.epoch)
        penalty = balanced.clamp(min=free_bits) if free_bits else balanced  # a sampled rate may be below 0
        loss = distortion + beta * penalty.sum() + self.weighted_penalties(terms, context)
        logs = {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion, "beta": rate.new_tensor(beta)}
        logs |= {f"rate_{number}": value for number, value in enumerate(rates, start=1)}
        logs |= {name: value.mean() for name, value in terms.penalties.items()}
        return Loss(loss, {key: value.detach() for key, value in logs.items()})


def balance_factors(rates: Tensor, strength: float) -> Tensor:
    r"""Returns :math:`\gamma_l` of each layer, with shape (L), whose mean is 1.

    Arguments:
        rates: The rate of each layer, with shape (L).
        strength: :math:`a`, from 0 for no balancing to 1.
    """
    strength, shares = min(strength, 1.0), rates.clamp(min=0)
    return 1 - strength + strength * len(rates) * shares / shares.sum().clamp(min=1e-12)
