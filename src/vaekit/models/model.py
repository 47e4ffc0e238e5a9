r"""The contract of every model, and the estimators of log p(x) that follow from it.

A model is three distributions: :math:`q(z|x)`, :math:`p(z)` and :math:`p(x|z)`. Its latents are one vector per image, of
shape (D). A model of several stochastic layers concatenates them from the top down: its ``qz`` and ``pz`` are then
:class:`vaekit.distributions.LayeredDistribution`, and :class:`vaekit.core.terms.Terms` lists the layers one by one.

It is an abstract class and not a ``typing.Protocol``: estimators need ``nn.Module``, and a class that defines ``qz``, ``pz``
and ``px`` inherits everything else.

References:
    | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
"""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from vaekit.core.arguments import Count, checked, require
from vaekit.core.errors import ModelError
from vaekit.core.shares import batch_draw, batch_size, current_share, gather, own_random_numbers
from vaekit.core.terms import LatentTerms, Terms
from vaekit.distributions import (
    LayeredDistribution,
    Likelihood,
    PathDistribution,
    PointMass,
    reparameterize,
    sample_from_noise,
)
from vaekit.distributions.reparameterization import gaussian_of_each
from vaekit.models.generation import GenerativeModel

Noise = Callable[[int], Tensor]
"""Standard normal noise for the images of a batch: K in, noise of shape (K, B, D) out."""


class Model(GenerativeModel):
    """A latent variable model that objectives, estimators, plots and commands work with.

    A subclass defines :attr:`shape`, :attr:`latent_dim`, :meth:`qz`, :meth:`pz` and :meth:`px`, and has a likelihood. A
    class-conditional one has a :attr:`condition` too.

    Attributes:
        likelihood: The family of p(x|z): the scale and the support of its data.
    """

    likelihood: Likelihood

    @property
    def has_density(self) -> bool:
        """Whether p(z) has a density; without one the model can be sampled, and has no ELBO and no log p(x)."""
        return True

    def forward(self, x: Tensor, labels: Tensor | None = None, num_samples: int = 1, noise: Noise | None = None) -> Terms:
        """Returns the terms that objectives and estimators are made of.

        Arguments:
            x: Images, with shape (B, C, H, W).
            labels: Their classes, with shape (B), if the model is conditional.
            num_samples: K, the number of samples of z for each image.
            noise: The noise that samples of z are made of; by default from torch's global generator, for all images of a
                batch that several processes share.

        Raises:
            ModelError: If images or labels have another shape, type, device or scale than the model reads.
        """
        self.require_input(x)
        require(num_samples, Count, "num_samples", ModelError)
        require(noise, Noise | None, "noise", ModelError)
        context = self.context(labels, len(x))
        qz, pz = self.qz(x, context), self.pz(len(x), context)
        return self._terms(_samples(qz, num_samples, noise), qz, pz, self.likelihood.target(x), context)

    @checked(ModelError)
    def latent_terms(
        self, x: Tensor, labels: Tensor | None = None, num_samples: Count = 1, noise: Noise | None = None
    ) -> LatentTerms:
        """Returns the terms of the latents of all layers as one vector; it takes the arguments of :meth:`forward`.

        Nothing is decoded.
        """
        self.require_input(x)
        context = self.context(labels, len(x))
        qz, pz = self.qz(x, context), self.pz(len(x), context)
        return JointLatentTerms(_samples(qz, num_samples, noise), qz, pz)

    def log_joint(self, x: Tensor, labels: Tensor | None = None) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Returns a function that maps latents z of shape (*, B, D) to the pair log p(z) and log p(x|z).

        Both have shape (*, B) and are in nats. The encoder is not used, except by a prior that is made of it.
        """
        self.require_input(x)
        context = self.context(labels, len(x))
        pz, target = self.pz(len(x), context), self.likelihood.target(x)
        return lambda z: (pz.log_prob(z), self.px(z, context).log_prob(target))

    @checked(ModelError)
    def elbo(self, x: Tensor, labels: Tensor | None = None, num_samples: Count = 1) -> Tensor:
        """Returns the evidence lower bound of each image, in nats, with shape (B); the rate is analytic where possible.

        Raises:
            ModelError: As of :meth:`forward`.
        """
        with self.inference():
            return self.forward(x, labels, num_samples).elbo()

    @checked(ModelError)
    def log_likelihood(
        self, x: Tensor, labels: Tensor | None = None, num_samples: Count = 5000, noise: Noise | None = None
    ) -> Tensor:
        r"""Estimates log p(x) of each image by importance sampling, from below.

        .. math:: \log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)}, \qquad z_k \sim q(z|x)

        The K samples are taken in chunks, so that memory does not grow with K.

        Arguments:
            x: Images, with shape (B, C, H, W).
            labels: Their classes, with shape (B), if the model is conditional.
            num_samples: K, the number of samples of z for each image.
            noise: The noise that samples of z are made of; by default from torch's global generator.

        Returns:
            Nats per image, with shape (B).
        """
        self.require_input(x)
        total = torch.full((len(x),), -math.inf, device=x.device)
        for log_weights in self.log_weights(x, labels, num_samples, noise):
            total = torch.logaddexp(total, log_weights.logsumexp(0))
        return total - math.log(num_samples)

    @checked(ModelError)
    def log_weights(
        self, x: Tensor, labels: Tensor | None = None, num_samples: Count = 5000, noise: Noise | None = None
    ) -> Iterator[Tensor]:
        """Yields log p(x, z) - log q(z|x) of samples of z in chunks, in nats; arguments as of :meth:`log_likelihood`.

        Yields:
            Tensors of shape (k, B), whose lengths k sum to K.

        Raises:
            ModelError: If K is below 1, and as of :meth:`forward`.
        """
        self.require_input(x)
        chunk = max(1, self.chunk_size // len(x))
        with self.inference():
            context = self.context(labels, len(x))
            qz, pz = self.qz(x, context), self.pz(len(x), context)
            target = self.likelihood.target(x)
        if isinstance(qz, PointMass):  # all samples are one point
            with self.inference():
                yield self._terms(qz.sample((1,)), qz, pz, target, context).log_weights().expand(num_samples, -1)
            return
        for start in range(0, num_samples, chunk):
            with self.inference():  # not around the yield: the caller's gradients and the model's mode are its own
                z = _samples(qz, min(chunk, num_samples - start), noise)
                log_weights = self._terms(z, qz, pz, target, context).log_weights()
            yield log_weights

    def _terms(self, z: Tensor, qz: Distribution, pz: Distribution, target: Tensor, context: Tensor | None) -> Terms:
        """The terms of samples z of shape (K, B, D)."""
        px = self._px_of_samples(z, qz, context, target)
        return Terms(
            log_px=px.log_prob(target),
            latents=layer_terms(z, qz, pz),
            px=px,
            x=target,
            sleep_terms=lambda: self._sleep_terms(len(target), context),
        )

    def _px_of_samples(self, z: Tensor, qz: Distribution, context: Tensor | None, target: Tensor) -> Distribution:
        """p(x|z) at samples of q(z|x); a model that estimates a scale from its errors in training overrides it."""
        return self.px(z, context)

    def _sleep_terms(self, num: int, context: Tensor | None) -> tuple[LatentTerms, ...]:
        """Samples (z, x) of the model, and q(z|x) of them.

        Processes that share a batch sample all of it, and each takes its share. Only q(z|x), which has the gradients, is
        computed for the share alone.
        """
        share = current_share(num)
        with torch.no_grad(), nullcontext() if share else own_random_numbers():
            everyone = None if context is None else gather(context)
            pz = self.pz(batch_size(num), everyone)
            z = pz.sample()
            x = self.px(z, everyone).sample()
            if share is not None:
                z, x, pz = share.of(z), share.of(x), self.pz(num, context)
        return layer_terms(z.unsqueeze(0), self.qz(x, context), pz)


class JointLatentTerms(LatentTerms):
    """The latents of all layers, concatenated."""

    def rate(self) -> Tensor:
        """Returns the rate of each latent of each layer, in nats, with shape (B, D)."""
        return torch.cat([layer.rate() for layer in layer_terms(self.z, self.qz, self.pz)], -1)


def layer_terms(z: Tensor, qz: Distribution, pz: Distribution) -> tuple[LatentTerms, ...]:
    """Returns the terms of each stochastic layer, from the top down.

    Arguments:
        z: Samples of all layers, with shape (K, B, D).
        qz: The posterior, with batch shape (B) and event shape (D).
        pz: The prior, with the same shapes. If both have layers, each layer has its terms; else the vector is one layer.
    """
    if isinstance(qz, PathDistribution) and isinstance(pz, PathDistribution):
        descent = qz.at(z)  # one pass gives the layers of both
        return tuple(map(LatentTerms, qz.split(z), descent.posteriors, descent.priors))
    if isinstance(qz, LayeredDistribution) and isinstance(pz, LayeredDistribution):
        return tuple(map(LatentTerms, qz.split(z), qz.layers(z), pz.layers(z)))
    return (LatentTerms(z, qz, pz),)


def _samples(qz: Distribution, num_samples: int, noise: Noise | None) -> Tensor:
    """Samples of q(z|x), with shape (K, B, D)."""
    if isinstance(qz, PointMass):  # nothing is random
        return qz.rsample(torch.Size([num_samples]))
    if noise is not None:
        return sample_from_noise(qz, noise(num_samples))
    like = _parameter(qz)
    if like is not None:
        draw = partial(torch.randn, dtype=like.dtype, device=like.device)
        try:
            return reparameterize(qz, batch_draw(draw, (num_samples, *qz.batch_shape, *qz.event_shape), 1))
        except ModelError:  # a layer is not made of normal noise
            pass
    with own_random_numbers():
        return qz.rsample(torch.Size([num_samples]))


def _parameter(qz: Distribution) -> Tensor | None:
    """A tensor of the type and on the device of samples that are made of normal noise; None for other distributions."""
    if gaussian := gaussian_of_each(qz):
        return gaussian.loc
    if isinstance(qz, LayeredDistribution):
        return _parameter(qz.top)
    if isinstance(qz, MultivariateNormal) or hasattr(qz, "from_noise"):
        loc: Tensor | None = getattr(qz, "loc", None)
        return qz.mean if loc is None else loc
    return None
