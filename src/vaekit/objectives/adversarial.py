r"""The loss of autoencoders for latent diffusion: reconstruction, a small rate, features, and a patch discriminator.

.. math::
    \mathrm{loss}(x) &= \underbrace{-\log p(x|z)}_{\text{distortion}} + \beta \, \mathrm{rate}
        + n \, w_f \, d(x, \hat x) + n \, \lambda \, w_a \, \bigl(-\mathrm{mean}\, D(\hat x)\bigr) \\
    \lambda &= \frac{\lVert \nabla_W (\mathrm{distortion} + n \, w_f \, d) \rVert}
        {\lVert \nabla_W (-n \, \mathrm{mean}\, D(\hat x)) \rVert}

where :math:`\hat x` is the mean of p(x|z), n the number of values of an image, d the distance by features
(:mod:`vaekit.objectives.feature_network`), D the discriminator (:mod:`vaekit.objectives.discriminator`), and W the last
layer of the decoder. So the discriminator moves the last layer :math:`w_a` times as much as reconstruction and features do.
With a Laplace likelihood the distortion is the absolute error.

**None of this is a bound of log p(x).** ``elbo``, ``rate`` and ``distortion`` are logged unweighted and without additions:
they are the bound for the model's own likelihood, which is not what is trained for. So no epoch is the best by it, and the
weights of the last epoch are kept.

The gradients of the terms never mix. The discriminator is trained on images and detached reconstructions by its own loss,
added to that of the model. Features and the decoder's adversarial loss are differentiated with respect to the
reconstruction alone, and what reaches the model is this gradient (:func:`with_gradient`), so that neither the discriminator
nor the network of features gets any of it. The norms of the gradients with respect to W of each term, as it is weighted in
the loss, are logged: ``gradient_distortion``, ``gradient_features``, ``gradient_adversarial``.

References:
    | Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021), https://arxiv.org/abs/2012.09841
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), https://arxiv.org/abs/2112.10752
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from vaekit.core.arguments import checked
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.schedules import AnySchedule, as_schedule
from vaekit.core.shares import average_logs
from vaekit.core.terms import Loss, StepContext, Terms
from vaekit.data import Dataset, ImageSet
from vaekit.objectives.discriminator import PatchDiscriminator, discriminator_loss
from vaekit.objectives.feature_learning import learned_network
from vaekit.objectives.feature_network import FeatureNetwork, feature_distance
from vaekit.objectives.objective import NumSamples, Objective
from vaekit.objectives.vgg16 import Vgg16, vgg16

MAX_RATIO, EPSILON = 1e4, 1e-4
"""The largest ratio of gradient norms, and what is added to its denominator, as published."""


class Adversarial(Objective):
    r"""Reconstruction, rate, features and a patch discriminator: the loss of an autoencoder for latent diffusion.

    Arguments:
        beta: :math:`\beta`, the KL weight, as a number or a schedule.
        features: :math:`w_f`, the weight of the distance by features, in nats for each value of an image; 0 for none.
        feature_network: ``learned`` for a small network that learns from the training images, or ``vgg16``.
        adversarial: :math:`w_a`, the gradient norm of the adversarial term at the decoder's last layer, as a multiple of
            that of reconstruction and features; 0 for no discriminator.
        start: The epoch with which the discriminator begins to learn and the decoder to learn from it.
        width: The number of channels of the discriminator's first layer.
        num_samples: K, the number of samples of z for each image.
        penalties: The weight of each penalty of the model's parts; 1 for those that are not named.
    """

    keeps_last: ClassVar[bool] = True
    needs_gray_levels: ClassVar[bool] = True
    feature_maps: FeatureNetwork | Vgg16 | None
    discriminator: PatchDiscriminator | None

    @checked(ConfigError)
    def __init__(
        self,
        beta: AnySchedule = 0.01,
        features: NonNegativeFloat = 1.0,
        feature_network: Literal["learned", "vgg16"] = "learned",
        adversarial: NonNegativeFloat = 0.5,
        start: NonNegativeFloat = 0.0,
        width: PositiveInt = 32,
        num_samples: NumSamples = 1,
        penalties: dict[str, AnySchedule] = {},
    ) -> None:
        super().__init__(num_samples, penalties)
        self.beta = as_schedule(beta, "beta")
        self.features = features
        self.feature_network = feature_network
        self.adversarial = adversarial
        self.start = start
        self.width = width
        self.feature_maps = None
        self.discriminator = None
        self._last_layer: tuple[nn.Parameter, ...] = ()  # not a parameter of this module

    def prepare(self, model: nn.Module, images: Dataset) -> None:
        """Builds the discriminator, finds the decoder's last layer, and learns or loads the features.

        Raises:
            ModelError: If the model has no decoder.
            DataError: If the features cannot be learned or loaded.
            ConfigError: If the data is no set of images.
        """
        if not isinstance(images, ImageSet):
            raise ConfigError(f"objective: adversarial compares images, and {images.name} holds {images.noun}; choose elbo")
        self._last_layer = (last_layer(model),)
        device = self._last_layer[0].device
        if self.adversarial:
            self.discriminator = PatchDiscriminator(images.shape, self.width).to(device)
            self.discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.features:
            is_learned = self.feature_network == "learned"
            self.feature_maps = learned_network(images, device) if is_learned else vgg16(images.shape[0], device)

    def forward(self, terms: Terms, context: StepContext) -> Loss:
        """Returns the loss of a batch, in nats per image, the discriminator's included.

        Raises:
            ModelError: If :meth:`prepare` was not called, or for another model.
        """
        if not self._last_layer:
            raise ModelError("objective: adversarial has no networks yet; call its method prepare(model, images) first")
        distortion, rate, beta = terms.distortion().mean(), terms.rate().mean(), self.beta(context.epoch)
        mean, num_values = terms.px.mean, terms.x[0].numel()
        distance, judgment = self._distance(mean, terms.x), self._judgment(mean, context)
        norms, weight = self._norms_and_weight(distortion, mean, distance[1], judgment[1], context)
        discriminator = self._discriminator_loss(mean.detach(), terms.x, context)
        loss = distortion + beta * rate + self.weighted_penalties(terms, context)
        loss = loss + self.features * num_values * with_gradient(*distance, mean)
        loss = loss + weight * num_values * with_gradient(*judgment, mean)
        logs = {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion, "beta": rate.new_tensor(beta)}
        logs |= {name: value.mean() for name, value in terms.penalties.items()}
        logs |= {"absolute_error": (mean - terms.x).abs().mean()} | norms
        logs |= {"features": distance[0]} if self.features else {}
        judged = {"adversarial": judgment[0], "adversarial_weight": weight, "discriminator": discriminator}
        logs |= judged if self.adversarial else {}
        return Loss(loss + discriminator, {key: value.detach() for key, value in logs.items()})

    def _norms_and_weight(
        self, distortion: Tensor, mean: Tensor, features: Tensor, adversarial: Tensor, context: StepContext
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The norms of the weighted gradients of the terms at the last layer, to log, and the adversarial weight.

        Arguments:
            distortion: The distortion, a scalar.
            mean: The reconstructions, with shape (K, B, C, H, W).
            features: The gradient of the distance by features with respect to the reconstructions.
            adversarial: That of the adversarial term.
            context: The time.
        """
        num_values = mean[0, 0].numel()
        found = average_logs(  # over the processes, so that all have one weight
            {
                "distortion": self._at_last_layer(distortion),
                "features": self.features * num_values * self._at_last_layer(mean, features),
                "adversarial": num_values * self._at_last_layer(mean, adversarial),
            }
        )
        weight = self.adversarial * _ratio(found["distortion"] + found["features"], found["adversarial"])
        if not self._begun(context):
            weight = torch.zeros_like(weight)
        norms = {"gradient_distortion": found["distortion"].norm()}
        norms |= {"gradient_features": found["features"].norm()} if self.features else {}
        norms |= {"gradient_adversarial": weight * found["adversarial"].norm()} if self.adversarial else {}
        return norms, weight

    def _begun(self, context: StepContext) -> bool:
        return self.discriminator is not None and context.epoch >= self.start

    def _distance(self, mean: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean distance by features, and its gradient with respect to the reconstructions."""
        network = self.feature_maps
        if network is None:
            return mean.new_zeros(()), torch.zeros_like(mean)
        return _differentiated(lambda y: feature_distance(network, y, x).mean(), mean)

    def _judgment(self, mean: Tensor, context: StepContext) -> tuple[Tensor, Tensor]:
        """The decoder's adversarial loss, and its gradient with respect to the reconstructions."""
        discriminator = self.discriminator
        if discriminator is None or not self._begun(context):
            return mean.new_zeros(()), torch.zeros_like(mean)
        return _differentiated(lambda y: -discriminator(y.flatten(0, 1)).mean(), mean)

    def _discriminator_loss(self, fake: Tensor, real: Tensor, context: StepContext) -> Tensor:
        """The loss of the discriminator, a scalar."""
        if self.discriminator is None or not self._begun(context):
            return fake.new_zeros(())
        return discriminator_loss(self.discriminator(real), self.discriminator(fake.flatten(0, 1)))

    def _at_last_layer(self, output: Tensor, gradient: Tensor | None = None) -> Tensor:
        """The gradient of a scalar, or of a tensor with a gradient, with respect to the decoder's last layer."""
        (weight,) = self._last_layer
        if not output.requires_grad:  # without gradients only the values of the terms are asked for
            return torch.zeros_like(weight)
        (found,) = torch.autograd.grad(output, weight, gradient, retain_graph=True, allow_unused=True)
        if found is None:
            raise ModelError("objective: the loss does not depend on the decoder's last weights; register its output last")
        return found


def last_layer(model: nn.Module) -> nn.Parameter:
    """Returns the weights of the last layer of a model's decoder: its last matrix or kernel.

    Raises:
        ModelError: If the model has no decoder.
    """
    decoder = getattr(model, "decoder", None)
    kernels = [] if not isinstance(decoder, nn.Module) else [p for p in decoder.parameters() if p.dim() > 1]
    if not kernels:
        raise ModelError("objective: adversarial needs a model with a decoder of layers; choose elbo")
    return kernels[-1]


def with_gradient(value: Tensor, gradient: Tensor, source: Tensor) -> Tensor:
    """Returns a value with a given gradient.

    Arguments:
        value: A scalar.
        gradient: Its gradient with respect to the source.
        source: The tensor that the gradient flows to.
    """
    return value + ((source - source.detach()) * gradient).sum()


def _differentiated(function: Callable[[Tensor], Tensor], source: Tensor) -> tuple[Tensor, Tensor]:
    """A scalar function of a tensor, and its gradient with respect to the tensor alone; both are detached."""
    with torch.enable_grad():
        leaf = source.detach().requires_grad_()
        value = function(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def _ratio(first: Tensor, second: Tensor) -> Tensor:
    """The ratio of the norms of two gradients, at most 10,000."""
    ratio: Tensor = first.norm() / (second.norm() + EPSILON)
    return ratio.clamp(max=MAX_RATIO)
