r"""The importance-weighted bound and three estimates of its gradient.

.. math::
    \mathcal{L}_K(x) = \mathbb{E}\Big[\log \frac1K \sum_{k=1}^K w_k\Big], \qquad
    w_k = \frac{p_\theta(x, z_k)}{q_\phi(z_k|x)}, \qquad z_k = z(\epsilon_k, \phi), \qquad
    \tilde w_k = \frac{w_k}{\sum_j w_j}

With K = 1 it is the evidence lower bound with a Monte Carlo rate; it rises with K toward log p(x). The decoder's gradient
is :math:`\sum_k \tilde w_k \nabla_\theta \log w_k` throughout. The encoder's is, with :math:`\nabla_\phi \log w_k =
\tfrac{\partial \log w_k}{\partial z_k} \tfrac{\partial z_k}{\partial \phi} - \tfrac{\partial}{\partial \phi} \log
q_\phi(z_k|x)` in a pathwise term and a score term,

.. math::
    \text{reparameterized} \quad & \sum_k \tilde w_k \Big(\frac{\partial \log w_k}{\partial z_k} \frac{\partial
    z_k}{\partial \phi}
        - \frac{\partial}{\partial \phi} \log q_\phi(z_k|x)\Big) & \text{unbiased; signal-to-noise falls with K} \\
    \text{doubly reparameterized} \quad & \sum_k \tilde w_k^2 \, \frac{\partial \log w_k}{\partial z_k} \frac{\partial
    z_k}{\partial \phi}
        & \text{unbiased; signal-to-noise rises with K} \\
    \text{sticking the landing} \quad & \sum_k \tilde w_k \, \frac{\partial \log w_k}{\partial z_k} \frac{\partial
    z_k}{\partial \phi}
        & \text{biased for K > 1; lowest variance at the optimum}

References:
    | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
    | Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2018), https://arxiv.org/abs/1810.04152
    | Sticking the Landing (Roeder et al., 2017), https://arxiv.org/abs/1703.09194
    | Tighter Variational Bounds are Not Necessarily Better (Rainforth et al., 2018), https://arxiv.org/abs/1802.04537
"""

import math
from typing import Literal

from vaekit.core.arguments import checked
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.schedules import AnySchedule
from vaekit.core.terms import Loss, StepContext, Terms
from vaekit.objectives.objective import NumSamples, Objective, scale_pathwise_gradient

Gradient = Literal["reparameterized", "doubly-reparameterized", "sticking-the-landing"]


class IWAE(Objective):
    r"""The importance-weighted bound with K samples.

    ``elbo``, ``rate`` and ``distortion`` are logged beside ``iw_elbo``, the bound that is maximized.

    Arguments:
        num_samples: K, the number of samples of z for each image.
        gradient: The estimator of the encoder's gradient; the loss is the same for all.
        penalties: The weight of each penalty of the model's parts; 1 for those that are not named.
    """

    @checked(ConfigError)
    def __init__(
        self,
        num_samples: NumSamples = 50,
        gradient: Gradient = "reparameterized",
        penalties: dict[str, AnySchedule] = {},
    ) -> None:
        super().__init__(num_samples, penalties)
        self.gradient = gradient

    def forward(self, terms: Terms, context: StepContext) -> Loss:
        """Returns the loss of a batch, in nats per image.

        Raises:
            ModelError: If the gradient is doubly reparameterized and the model has several stochastic layers.
        """
        log_weights = terms.log_weights()  # (K, B)
        if self.gradient != "reparameterized":
            log_weights = log_weights + terms.score()
        if self.gradient == "doubly-reparameterized":
            if len(terms.latents) > 1:
                raise ModelError("gradient: doubly-reparameterized is for one stochastic layer; choose reparameterized")
            scale_pathwise_gradient(terms, log_weights.softmax(0))
        bound = (log_weights.logsumexp(0) - math.log(len(log_weights))).mean()
        return Loss(-bound + self.weighted_penalties(terms, context), terms.logs() | {"iw_elbo": bound.detach()})
