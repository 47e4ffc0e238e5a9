r"""The ladder VAE: a VAE of several stochastic layers, whose prior and posterior share one top-down path.

.. math::
    p(z) = p(z_1) \prod_{l=2}^L p(z_l|z_{<l}), \qquad q(z|x) = \prod_{l=1}^L q(z_l|z_{<l}, x), \qquad
    z = (z_1, \dots, z_L)

Its parts are those of every VAE. The **encoder** computes feature maps at each resolution. The **decoder** is the path with
its stochastic layers (:mod:`vaekit.networks.ladder_networks`). The **posterior** says how q of a layer follows from its
prior (:mod:`vaekit.distributions.ladder_path`). The **prior** is that of the top layer, and any registered one. To
the outside the latents are one vector, from the top layer down, so that every estimator, plot and command works with it.

A training step goes down the path once: it samples the latents, and gives the distributions of all layers and p(x|z).

References:
    | Ladder Variational Autoencoders (Sønderby et al., 2016), https://arxiv.org/abs/1602.02282
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.errors import ModelError
from vaekit.distributions import (
    Descent,
    Likelihood,
    PathDistribution,
    Posterior,
    Prior,
    ResidualGaussian,
    ladder_gaussian,
)
from vaekit.distributions.ladder_path import ChooseLayer
from vaekit.models.conditions import Condition
from vaekit.models.inputs import require_images
from vaekit.models.vae import VAE
from vaekit.networks import Decoder, Encoder, LadderDecoder, LadderEncoder


class LadderVAE(VAE):
    """A VAE of several stochastic layers with a shared top-down path.

    Arguments:
        encoder: Images to feature maps.
        posterior: The posterior of a layer, relative to its prior.
        prior: p(z_1), the prior of the top layer.
        decoder: The top-down path, with the channels of the encoder.
        likelihood: Parameters to p(x|z).
        condition: Labels to a context that encoder, prior and path are given; without one the model takes no labels.

    Raises:
        ModelError: If two parts do not fit together.
    """

    decoder: LadderDecoder

    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
        condition: Condition | None = None,
    ) -> None:
        if not isinstance(encoder, LadderEncoder) or not isinstance(decoder, LadderDecoder):
            raise ModelError("model: a ladder has the encoder and the decoder ladder; set model.encoder.name=ladder")
        if not isinstance(posterior, ResidualGaussian):
            raise ModelError("model: a ladder has the posterior residual; set model.posterior.name=residual")
        if list(encoder.channels) != list(decoder.channels):
            raise ModelError(
                f"model: the encoder has channels {list(encoder.channels)} and the decoder {list(decoder.channels)}; give "
                "both the same"
            )
        super().__init__(encoder, posterior, prior, decoder, likelihood, condition)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The number of latents of each layer, from the top down."""
        return tuple(self.decoder.sizes)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The resolution of each layer, from the top down, as ``7x7``."""
        return tuple(f"{layer.size[0]}x{layer.size[1]}" for layer in self.decoder.layers_of_path)

    def qz(self, x: Tensor, context: Tensor | None = None) -> PathDistribution:
        """Returns q(z|x), with batch shape (B) and event shape (D), for images of shape (B, C, H, W)."""
        require_images(x, self.shape, self)
        encoder = self.encoder
        assert isinstance(encoder, LadderEncoder)
        features = self.decoder.project(encoder.maps(self.likelihood.encoder_input(x), context))
        added = self.decoder.top_parameters(len(x), features, context)
        return self._path(self.posterior(torch.cat([torch.zeros_like(added), added], -2)), len(x), features, context)

    def pz(self, num: int, context: Tensor | None = None) -> PathDistribution:
        """Returns p(z), with batch shape (num) and event shape (D)."""
        return self._path(self.top_pz(num, context), num, None, context)

    def log_joint(self, x: Tensor, labels: Tensor | None = None) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Returns a function from latents of shape (*, B, D) to log p(z) and log p(x|z), by one pass down the path."""
        context = self.context(labels, len(x))
        pz, target = self.pz(len(x), context), self.likelihood.target(x)
        return lambda z: (pz.log_prob(z), self.likelihood(pz.at(z).output).log_prob(target))

    def top_qz(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """Returns q(z_1|x), with batch shape (B) and event shape (D_1)."""
        return self.qz(x, context).top

    def top_pz(self, num: int, context: Tensor | None = None) -> Distribution:
        """Returns p(z_1), with batch shape (num) and event shape (D_1); a VampPrior is made of this model's own q(z_1|x)."""
        top: Distribution = self.prior(num, context, self.top_qz)
        return top

    def _parameters_of_samples(self, z: Tensor, qz: Distribution, context: Tensor | None) -> Tensor:
        return qz.at(z).output if isinstance(qz, PathDistribution) else super()._parameters_of_samples(z, qz, context)

    def _path(
        self, top: Distribution, num: int, features: Sequence[Tensor] | None, context: Tensor | None
    ) -> PathDistribution:
        """The joint distribution of the latents of all layers: the posterior if there are features, else the prior."""

        def descend(choose: ChooseLayer) -> Descent:
            return self._descend(choose, num, features, context)

        return PathDistribution(top, descend, self.decoder.sizes, features is not None)

    def _descend(self, choose: ChooseLayer, num: int, features: Sequence[Tensor] | None, context: Tensor | None) -> Descent:
        z: list[Tensor] = []
        priors: list[Distribution] = []
        posteriors: list[Distribution] = []

        def choose_from(index: int, parameters: Tensor, added: Tensor | None) -> Tensor:
            batch = z[0].shape[:-1] if z else torch.Size([num])
            parameters = parameters.unflatten(0, batch)
            priors.append(ladder_gaussian(parameters) if z else self.top_pz(num, context))
            if added is not None:
                posteriors.append(self.posterior(torch.cat([parameters, added.unflatten(0, batch)], -2)))
            z.append(choose(index, priors[-1] if added is None else posteriors[-1]))
            return z[-1].flatten(0, -2)

        output = self.decoder.descend(choose_from, num, features, context)
        return Descent(torch.cat(z, -1), tuple(priors), tuple(posteriors), output.float().unflatten(0, z[0].shape[:-1]))
