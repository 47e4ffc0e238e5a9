r"""The variational autoencoder, as a composition of parts.

.. math::
    x \xrightarrow{\text{encoder}} h \xrightarrow{\text{posterior}} q(z|x) \to z
      \xrightarrow{\text{decoder}} a \xrightarrow{\text{likelihood}} p(x|z), \qquad p(z) \text{ from the prior}

Each part is a module that one can swap; a paper is a combination. The model says what its distributions are
(:class:`vaekit.core.terms.Terms`); what is asked of them is an objective's business.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
    | Stochastic Backpropagation and Approximate Inference (Rezende et al., 2014), https://arxiv.org/abs/1401.4082
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit.core.errors import ModelError
from vaekit.core.terms import LatentTerms, Terms
from vaekit.core.units import to_unit_interval
from vaekit.distributions import Likelihood, Posterior, Prior, sample_from_noise
from vaekit.models.conditions import Condition
from vaekit.models.interpolation import along
from vaekit.networks import Decoder, Encoder, Shape

CPU_CHUNK_BUDGET, ACCELERATOR_CHUNK_BUDGET = 2**20, 2**26
"""How many numbers the widest layer holds for all images that are decoded at a time: 4 MB of float32, which a processor's
cache keeps (a convolutional decoder is half as fast with more), and 256 MB on an accelerator."""

Draw = Callable[[int], Tensor]
"""Standard normal noise for the images of a batch: K in, numbers of shape (K, B, D) out."""


class VAE(nn.Module):
    """A variational autoencoder of parts.

    Images go in as uint8, or as floating point on the unit interval, with shape (B, C, H, W).

    Arguments:
        encoder: Images to features.
        posterior: Features to q(z|x).
        prior: p(z).
        decoder: Latents to the parameters of the likelihood.
        likelihood: Parameters to p(x|z).
        condition: Labels to a context that encoder, prior and decoder are given; without one the model takes no labels.

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
        if tuple(encoder.shape) != tuple(decoder.shape):
            raise ModelError(f"the encoder reads {encoder.shape} and the decoder draws {decoder.shape}; give both one shape")
        num_maps = likelihood.num_maps(encoder.shape[0])
        if decoder.num_maps != num_maps:
            raise ModelError(
                f"the likelihood reads {num_maps} maps of parameters and the decoder draws {decoder.num_maps}; "
                "set the decoder's num_maps to likelihood.num_maps(channels)"
            )
        context_dim = 0 if condition is None else condition.context_dim
        if {encoder.context_dim, decoder.context_dim} != {context_dim}:
            raise ModelError(
                f"the condition gives {context_dim} numbers, the encoder takes {encoder.context_dim} and the decoder "
                f"{decoder.context_dim}; set their context_dim to the condition's"
            )

    @property
    def shape(self) -> Shape:
        """The shape of an image, (C, H, W)."""
        return self.encoder.shape

    @property
    def latent_dim(self) -> int:
        """D, how many latents there are."""
        return self.decoder.latent_dim

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.parameters()).device

    # What the model says: distributions, with gradients.

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        """Returns q(z|x), with batch shape (B) and event shape (D), for images of shape (B, C, H, W)."""
        return self._posterior(x, self._context(labels, len(x)))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Distribution:
        """Returns p(x|z), with batch shape (*, B) and event shape (C, H, W), for latents of shape (*, B, D)."""
        return self._likelihood(z, self._context(labels, z.shape[-2]))

    def forward(self, x: Tensor, labels: Tensor | None = None, num_samples: int = 1, draw: Draw | None = None) -> Terms:
        """Returns what the model says of a batch.

        Arguments:
            x: Images, with shape (B, C, H, W).
            labels: Their classes, with shape (B), if the model is conditional.
            num_samples: K, how many samples of z to draw for each image.
            draw: The noise that samples of z are made of; by default from torch's global generator.
        """
        context = self._context(labels, len(x))
        latent = self._latent(x, context, num_samples, draw)
        return self._terms(latent, self.likelihood.target(x), context)

    def latent_terms(
        self, x: Tensor, labels: Tensor | None = None, num_samples: int = 1, draw: Draw | None = None
    ) -> LatentTerms:
        """Returns what the model says of a batch's latents alone, without decoding; arguments as of :meth:`forward`."""
        return self._latent(x, self._context(labels, len(x)), num_samples, draw)

    def prior_of(self, num: int, labels: Tensor | None = None) -> Distribution:
        """Returns p(z), or p(z|c) of labels of shape (num), with batch shape (num) and event shape (D)."""
        return self._prior(num, self._context(labels, num))

    def joint(self, x: Tensor, labels: Tensor | None = None) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Returns the function from latents of a batch's images, with shape (*, B, D), to log p(z) and log p(x|z).

        Both have shape (*, B) and are in nats; the encoder is not asked, but by a prior that is made of it.
        """
        context = self._context(labels, len(x))
        pz, target = self._prior(len(x), context), self.likelihood.target(x)
        return lambda z: (pz.log_prob(z), self._likelihood(z, context).log_prob(target))

    # What one does with a model: images and numbers, without gradients.

    def sample(self, num: int, labels: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draws latents from the prior and returns the mean images of p(x|z).

        Arguments:
            num: How many images.
            labels: Their classes, with shape (num), if the model is conditional.
            temperature: Scales the distance of latents from the prior's mean; below 1 gives safer images.

        Returns:
            Images on the unit interval, with shape (num, C, H, W).
        """
        with self.inference():
            context = self._context(labels, num)
            pz = self._prior(num, context)
            z = pz.sample()
            if temperature != 1:
                z = pz.mean + temperature * (z - pz.mean)
            return self._means(z, context)

    def sample_joint(self, num: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draws z from the prior and images from p(x|z), noise and all, where :meth:`sample` gives its mean.

        Returns:
            Latents of shape (num, D), and images of shape (num, C, H, W) that the likelihood takes as they are.
        """
        with self.inference():
            context = self._context(labels, num)
            z = self._prior(num, context).sample()
            # one by one, so that what is drawn does not depend on how many are decoded at a time
            return z, torch.cat([self._likelihood(z[i : i + 1], _rows(context, i, 1)).sample() for i in range(num)])

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Returns the mean images of p(x|z) at the mean of q(z|x), on the unit interval, with shape (B, C, H, W)."""
        with self.inference():
            context = self._context(labels, len(x))
            chunks = range(0, len(x), self.chunk_size)
            z = [self._posterior(x[i : i + self.chunk_size], _rows(context, i, self.chunk_size)).mean for i in chunks]
            return self._means(torch.cat(z), context)

    def decode_mean(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Returns the mean images of p(x|z) on the unit interval, with shape (B, C, H, W), for latents of shape (B, D)."""
        with self.inference():
            return self._means(z.to(self.device), self._context(labels, len(z)))

    def interpolate(
        self, a: Tensor, b: Tensor, steps: int = 10, labels: Tensor | None = None, path: str = "linear"
    ) -> Tensor:
        """Decodes the way between the posterior means of two images.

        Arguments:
            a: The first image, with shape (C, H, W).
            b: The last image, with shape (C, H, W).
            steps: How many images, both ends included.
            labels: The classes of the two, with shape (2), if the model is conditional; the context moves in a line.
            path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.

        Returns:
            Images on the unit interval, with shape (steps, C, H, W).
        """
        with self.inference():
            ends = self._posterior(torch.stack([a, b]).to(self.device), self._context(labels, 2)).mean
            return self.decode_path(ends, torch.linspace(0, 1, steps), labels, path)

    def decode_path(self, z: Tensor, positions: Tensor, labels: Tensor | None = None, path: str = "linear") -> Tensor:
        """Decodes points on the closed way through latents.

        Arguments:
            z: T latents to pass, with shape (T, D).
            positions: Where on the way, with shape (F): ``i + w`` lies between latents ``i`` and ``i + 1`` at weight ``w``;
                after the last latent comes the first again.
            labels: The classes of the T, with shape (T), if the model is conditional; the context moves in a line.
            path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.

        Returns:
            Images on the unit interval, with shape (F, C, H, W).
        """
        with self.inference():
            positions, context = positions.to(self.device), self._context(labels, len(z))
            return self._means(
                along(z.to(self.device), positions, path), None if context is None else along(context, positions)
            )

    def traverse(self, z: Tensor, latents: Sequence[int], values: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decodes one latent at a time at other values, all others staying as they are.

        Arguments:
            z: Where to start from, with shape (D).
            latents: R latents, by number.
            values: What each of them takes, with shape (R, S).
            labels: The class, with shape (1), if the model is conditional.

        Returns:
            Images on the unit interval, with shape (R, S, C, H, W); row ``r`` changes latent ``latents[r]`` alone.
        """
        points = z.cpu().repeat(*values.shape, 1)
        for row, latent in enumerate(latents):
            points[row, :, latent] = values[row]
        flat = points.flatten(0, 1)
        images = self.decode_mean(flat, None if labels is None else labels.expand(len(flat)))
        return images.reshape(*values.shape, *self.shape)

    def elbo(self, x: Tensor, labels: Tensor | None = None, num_samples: int = 1) -> Tensor:
        """Returns the evidence lower bound of each image, in nats, with shape (B); the rate is exact where it can be."""
        with self.inference():
            terms = self.forward(x, labels, num_samples)
            return -(terms.distortion() + terms.rate())

    def log_likelihood(
        self, x: Tensor, labels: Tensor | None = None, num_samples: int = 5000, draw: Draw | None = None
    ) -> Tensor:
        r"""Estimates log p(x) of each image by importance sampling, from below.

        .. math:: \log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)}, \qquad z_k \sim q(z|x)

        The samples are drawn in chunks, so that memory does not grow with K, and there are exactly K of them.

        References:
            | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519

        Arguments:
            x: Images, with shape (B, C, H, W).
            labels: Their classes, with shape (B), if the model is conditional.
            num_samples: K, how many samples of z for each image.
            draw: The noise that samples of z are made of; by default from torch's global generator.

        Returns:
            Nats per image, with shape (B).
        """
        total = torch.full((len(x),), -math.inf, device=x.device)
        for log_weights in self.log_weights(x, labels, num_samples, draw):
            total = torch.logaddexp(total, log_weights.logsumexp(0))
        return total - math.log(num_samples)

    def log_weights(
        self, x: Tensor, labels: Tensor | None = None, num_samples: int = 5000, draw: Draw | None = None
    ) -> Iterator[Tensor]:
        """Yields log p(x, z) - log q(z|x) of samples of z, some at a time, in nats; arguments as of :meth:`log_likelihood`.

        Yields:
            Tensors of shape (k, B), whose lengths k sum to K.

        Raises:
            ModelError: If there are to be no samples.
        """
        if num_samples < 1:
            raise ModelError(f"num_samples must be at least 1, got {num_samples}")
        chunk = max(1, self.chunk_size // len(x))
        with self.inference():
            context = self._context(labels, len(x))
            qz, pz = self._posterior(x, context), self._prior(len(x), context)
            target = self.likelihood.target(x)
            for start in range(0, num_samples, chunk):
                z = _sampled(qz, min(chunk, num_samples - start), draw)
                yield self._terms(LatentTerms(z, qz, pz), target, context).log_weights()

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Turns off gradients and training behavior (dropout and the like), and puts the latter back afterwards."""
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was_training)

    @property
    def chunk_size(self) -> int:
        """How many images are encoded or decoded at a time where there may be any number of them."""
        return max(1, (CPU_CHUNK_BUDGET if self.device.type == "cpu" else ACCELERATOR_CHUNK_BUDGET) // self._widest)

    @cached_property
    def _widest(self) -> int:
        """How many numbers the widest layer of the decoder holds for an image."""
        sizes = [math.prod(self.shape)]

        def note(module: nn.Module, args: Any, output: Any) -> None:
            sizes.append(output.numel() if isinstance(output, Tensor) else 0)

        hooks = [module.register_forward_hook(note) for module in self.decoder.modules()]
        try:
            with self.inference():
                labels = None if self.condition is None else torch.zeros(1, dtype=torch.int64)
                self.decoder(torch.zeros(1, self.latent_dim, device=self.device), self._context(labels, 1))
        finally:
            for hook in hooks:
                hook.remove()
        return max(sizes)

    def _posterior(self, x: Tensor, context: Tensor | None) -> Distribution:
        if tuple(x.shape[1:]) != tuple(self.shape):
            raise ModelError(f"the model reads images of shape {tuple(self.shape)}, got {tuple(x.shape[1:])}")
        qz: Distribution = self.posterior(self.encoder(to_unit_interval(x), context))
        return qz

    def _prior(self, num: int, context: Tensor | None) -> Distribution:
        """p(z), which may be made of this model's own q(z|x)."""
        pz: Distribution = self.prior(num, context, self._posterior)
        return pz

    def _likelihood(self, z: Tensor, context: Tensor | None) -> Distribution:
        """p(x|z) for z of shape (*, B, D)."""
        px: Distribution = self.likelihood(self._decoded(z, context))
        return px

    def _decoded(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The decoder's output; it sees one batch axis, and what it gives is float32 from here on."""
        batch = z.shape[:-1]
        if context is not None:
            context = context.expand(*batch, -1).flatten(0, -2)
        parameters: Tensor = self.decoder(z.flatten(0, -2), context).float().unflatten(0, batch)
        return parameters

    def _latent(self, x: Tensor, context: Tensor | None, num_samples: int, draw: Draw | None) -> LatentTerms:
        qz, pz = self._posterior(x, context), self._prior(len(x), context)
        return LatentTerms(_sampled(qz, num_samples, draw), qz, pz)

    def _terms(self, latent: LatentTerms, target: Tensor, context: Tensor | None) -> Terms:
        parameters = self._decoded(latent.z, context)
        if self.training:
            self.likelihood.observe(parameters, target)
        px = self.likelihood(parameters)
        return Terms(px.log_prob(target), (latent,), px, target, lambda: self._sleep_terms(len(target), context))

    def _sleep_terms(self, num: int, context: Tensor | None) -> LatentTerms:
        with torch.no_grad():
            pz = self._prior(num, context)
            z = pz.sample()
            x = self._likelihood(z, context).sample()
        return LatentTerms(z.unsqueeze(0), self._posterior(x, context), pz)

    def _means(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The mean images of p(x|z) for z of shape (B, D), in chunks, so that thousands of large images can be had."""
        chunks = range(0, len(z), self.chunk_size)
        means = [self._likelihood(z[i : i + self.chunk_size], _rows(context, i, self.chunk_size)).mean for i in chunks]
        return torch.cat(means)

    def _context(self, labels: Tensor | None, num: int) -> Tensor | None:
        if self.condition is None:
            if labels is not None:
                raise ModelError("the model is not conditional, so it takes no labels; train one with --conditional")
            return None
        if labels is None:
            raise ModelError("the model is conditional: give it the label of each image")
        if len(labels) != num:
            raise ModelError(f"{len(labels)} labels for {num} images")
        context: Tensor = self.condition(labels.to(self.device))
        return context


def _sampled(qz: Distribution, num_samples: int, draw: Draw | None) -> Tensor:
    """Samples of q(z|x), with shape (K, B, D)."""
    return qz.rsample(torch.Size([num_samples])) if draw is None else sample_from_noise(qz, draw(num_samples))


def _rows(context: Tensor | None, start: int, num: int) -> Tensor | None:
    return None if context is None else context[start : start + num]
