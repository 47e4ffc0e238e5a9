r"""A masked autoregressive flow as a prior.

Each layer shifts and scales every latent by functions of the latents before it,

.. math:: \epsilon_d = e^{a_d} z_d + m_d, \qquad (m_d, a_d) = g_d(z_1, \dots, z_{d-1}; c),

and the order of the latents is reversed from layer to layer. The density takes one pass through the networks. A sample takes
D passes, one for each latent, so this prior is slow to sample where there are many latents; the coupling layers of
:class:`~vaekit.distributions.flows.FlowPrior` have the same cost in both directions.

References:
    | Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from zuko.flows import MaskedAutoregressiveTransform
from zuko.lazy import LazyComposedTransform

from vaekit.distributions.bounded_scale import scale_of
from vaekit.distributions.flows import PRIOR_SAMPLES, FlowDistribution, Widths, begin_as_identity, standardize
from vaekit.distributions.latent_set import LatentSet
from vaekit.distributions.priors import Encode, Prior


class MAFPrior(Prior):
    """A masked autoregressive flow, given the context if the model is conditional; initialized to the standard normal.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
        num_transforms: The number of layers.
        hidden: The widths of the hidden layers of the network of each layer.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        num_transforms: PositiveInt = 5,
        hidden: Widths = [128, 128],
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.num_transforms = num_transforms
        self.hidden = hidden
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        orders = [torch.arange(latent_dim), torch.arange(latent_dim).flip(0)]
        self.flow = LazyComposedTransform(
            *(
                MaskedAutoregressiveTransform(
                    features=latent_dim,
                    context=context_dim,
                    order=orders[index % 2],
                    hidden_features=hidden,
                    activation=nn.SiLU,
                )
                for index in range(num_transforms)
            )
        )
        begin_as_identity(self.flow)

    def start(self, latents: LatentSet, seed: int) -> None:
        """Sets shift and scale to the mean and the standard deviation of each latent."""
        standardize(self.loc, self.log_scale, latents)

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> FlowDistribution:
        """Returns the flow with batch shape (B) and event shape (D)."""
        context = None if context is None else context.float()
        return FlowDistribution(batch_size, self.loc, scale_of(self.log_scale), self.flow, context, PRIOR_SAMPLES)
