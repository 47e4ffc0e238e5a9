r"""The variational autoencoder, as a composition of parts.

.. math::
    x \xrightarrow{\text{encoder}} h \xrightarrow{\text{posterior}} q(z|x) \to z
      \xrightarrow{\text{decoder}} a \xrightarrow{\text{likelihood}} p(x|z), \qquad p(z) \text{ from the prior}

Each part is a module that can be swapped, and a paper is a combination of parts. The three distributions are defined here;
sampling and interpolation are in :mod:`vaekit.models.generation`, log p(x) in :mod:`vaekit.models.model`, losses in
:mod:`vaekit.objectives`.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
    | Stochastic Backpropagation and Approximate Inference (Rezende et al., 2014), https://arxiv.org/abs/1401.4082
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.arguments import checked
from vaekit.core.errors import ModelError
from vaekit.core.files import describe_os_error, user_path
from vaekit.core.terms import Terms
from vaekit.data.preprocessing import Preprocessing
from vaekit.distributions import Likelihood, Posterior, Prior
from vaekit.distributions.code_priors import join_codes
from vaekit.distributions.pixels import IMAGE_DIMS
from vaekit.models.conditions import Condition
from vaekit.models.folder_format import RUN_MARKS
from vaekit.models.inputs import require_images
from vaekit.models.model import Model
from vaekit.models.saving import base_of, describe_parts, refuse_overridden, write_model
from vaekit.networks import Decoder, Encoder, Shape

MAX_NOISY = 8.0
"""The largest value of floating-point pixels of which none is below 0; samples with noise exceed both ends of [0, 1]."""


@runtime_checkable
class HasPenalties(Protocol):
    """A part of a model that adds penalties to the loss, such as the commitment of a codebook."""

    def penalties(self, terms: Terms) -> dict[str, Tensor]:
        """Returns penalties by name, each of shape (B), which the objective weights."""


class VAE(Model):
    """A variational autoencoder of parts.

    Images go in as uint8, or as floating point on the unit interval, with shape (B, C, H, W).

    Arguments:
        encoder: Images to features.
        posterior: Features to q(z|x).
        prior: p(z).
        decoder: Latents to the parameters of the likelihood.
        likelihood: Parameters to p(x|z).
        condition: Labels to a context that encoder, prior and decoder are given; without one the model takes no labels.

    Attributes:
        preprocessing: How the images that it was trained on were prepared; None if it is not known.

    Raises:
        ModelError: If two parts do not fit together.

    Example:
        >>> shape = (1, 28, 28)
        >>> encoder = MLPEncoder(shape, hidden=[512])
        >>> decoder = MLPDecoder(20, shape, hidden=[512])
        >>> vae = VAE(encoder, DiagonalGaussian(512, 20), StandardNormal(20), decoder, Bernoulli())
        >>> vae.sample(64).shape
        torch.Size([64, 1, 28, 28])
    """

    preprocessing: Preprocessing | None

    @checked(ModelError)
    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
        condition: Condition | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.posterior = posterior
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood
        self.condition = condition
        self.preprocessing = None
        join_codes(posterior, prior)
        if tuple(encoder.shape) != tuple(decoder.shape):
            raise ModelError(
                f"the encoder reads {encoder.shape} and the decoder returns {decoder.shape}; give both one shape"
            )
        if likelihood.event_dim != len(encoder.shape):
            raise ModelError(
                f"the likelihood is for data of {likelihood.event_dim} dimensions and the encoder reads shape "
                f"{tuple(encoder.shape)}; choose another likelihood"
            )
        num_maps = likelihood.num_maps(encoder.shape[0])
        if decoder.num_maps != num_maps:
            raise ModelError(
                f"the likelihood reads {num_maps} maps of parameters and the decoder returns {decoder.num_maps}; "
                "set the decoder's num_maps to likelihood.num_maps(channels)"
            )
        context_dim = 0 if condition is None else condition.context_dim
        if {encoder.context_dim, decoder.context_dim} != {context_dim}:
            raise ModelError(
                f"the condition gives {context_dim} numbers, the encoder takes {encoder.context_dim} and the decoder "
                f"{decoder.context_dim}; set their context_dim to the condition's"
            )

    def save(self, path: str | Path) -> None:
        """Writes the model to a folder, from which :func:`vaekit.load` reads it.

        Raises:
            ConfigError: If a part is not registered, or a subclass changes what a VAE does.
            ModelError: If the folder is that of a run, whose files belong together, or cannot be written.

        Example:
            >>> vae.save("my-model")
            >>> vaekit.load("my-model").sample(64)
        """
        folder = user_path(path)
        if any((folder / name).exists() for name in RUN_MARKS):
            raise ModelError(f"{folder}: a run folder, whose weights are those of the run; choose another folder")
        refuse_overridden(type(self), base_of(type(self)))
        config = describe_parts(self)
        try:
            write_model(config, self.state_dict(), folder)
        except OSError as error:
            raise ModelError(f"{error.filename or folder}: cannot be written ({describe_os_error(error)})") from None

    @property
    def shape(self) -> Shape:
        """The shape of an image, (C, H, W)."""
        return self.encoder.shape

    @property
    def latent_dim(self) -> int:
        """D, the number of latents."""
        return self.decoder.latent_dim

    @property
    def has_density(self) -> bool:
        """Whether the prior has a density; without one the model can be sampled, and has no ELBO and no log p(x)."""
        return self.prior.has_density

    def qz(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """Returns q(z|x), with batch shape (B) and event shape (D), for images of shape (B, C, H, W).

        Raises:
            ModelError: If the images are no tensor, or have another shape than the model's.
        """
        require_images(x, self.shape, self)
        qz: Distribution = self.posterior(self.encoder(self.likelihood.encoder_input(x), context))
        return qz

    def refuse_wrong_scale(self, x: Tensor) -> None:
        """Refuses pixels that are neither integers from 0 to 255 nor on the unit interval, but for the noise of samples.

        A likelihood that scales its data itself takes any.

        Raises:
            ModelError: If a pixel is out of range.
        """
        scales_itself = type(self.likelihood).encoder_input is not Likelihood.encoder_input
        if x.dtype == torch.uint8 or len(self.shape) != IMAGE_DIMS or scales_itself or not x.numel():
            return
        if x.dtype == torch.bool:
            raise ModelError(
                "images are uint8 from 0 to 255, or floating point from 0 to 1, got bool; convert with .float()"
            )
        low, high = map(float, x.detach().aminmax())
        if not x.is_floating_point() and not 0 <= low <= high <= 255:
            raise ModelError(f"images of whole numbers are gray levels from 0 to 255, got {low:g} to {high:g}")
        if math.isnan(low):
            raise ModelError("images hold values that are not finite (nan); replace them, as by torch.nan_to_num(x)")
        if x.is_floating_point() and low >= 0 and high > MAX_NOISY:
            kind = str(x.dtype).removeprefix("torch.")
            raise ModelError(
                f"images are uint8 from 0 to 255, or floating point from 0 to 1, got {kind} up to {high:g}; divide by 255, "
                "or convert with .to(torch.uint8)"
            )

    def pz(self, num: int, context: Tensor | None = None) -> Distribution:
        """Returns p(z), with batch shape (num) and event shape (D); a VampPrior is made of this model's own q(z|x)."""
        pz: Distribution = self.prior(num, context, self.qz)
        return pz

    @property
    def top_dim(self) -> int:
        """The number of latents that the part ``prior`` is of: those of the top layer, here all."""
        return self.layer_sizes[0]

    def top_qz(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """Returns q of the top layer, with event shape (top_dim), as :meth:`qz` returns that of all layers."""
        return self.qz(x, context)

    def top_pz(self, num: int, context: Tensor | None = None) -> Distribution:
        """Returns p of the top layer, with event shape (top_dim), as :meth:`pz` returns that of all layers."""
        return self.pz(num, context)

    def px(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """Returns p(x|z), with batch shape (*, B) and event shape (C, H, W), for latents of shape (*, B, D)."""
        px: Distribution = self.likelihood(self._parameters_of(z, context))
        return px

    def _parameters_of(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The decoder's output in float32; the decoder itself gets one batch axis."""
        batch = z.shape[:-1]
        if context is not None:
            context = context.expand(*batch, -1).flatten(0, -2)
        parameters: Tensor = self.decoder(z.flatten(0, -2), context).float().unflatten(0, batch)
        return parameters

    def _parameters_of_samples(self, z: Tensor, qz: Distribution, context: Tensor | None) -> Tensor:
        """The decoder's output at samples of q(z|x)."""
        return self._parameters_of(z, context)

    def _px_of_samples(self, z: Tensor, qz: Distribution, context: Tensor | None, target: Tensor) -> Distribution:
        parameters = self._parameters_of_samples(z, qz, context)
        if self.training:
            self.likelihood.observe(parameters, target)
        px: Distribution = self.likelihood(parameters)
        return px

    def _terms(self, z: Tensor, qz: Distribution, pz: Distribution, target: Tensor, context: Tensor | None) -> Terms:
        terms = super()._terms(z, qz, pz, target, context)
        penalties = [part.penalties(terms) for part in self.children() if isinstance(part, HasPenalties)]
        return replace(terms, penalties={name: value for part in penalties for name, value in part.items()})
