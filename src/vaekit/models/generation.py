"""Samples, reconstructions, interpolations and traversals: what can be generated from p(z), q(z|x) and p(x|z).

What returns images runs without gradients and decodes in chunks, so that memory does not grow with their number.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.arguments import Count, NonNegative, checked
from vaekit.core.errors import ModelError
from vaekit.data import Fitting, is_image_shape
from vaekit.data.preparing import Images, prepare_images
from vaekit.models.chunks import rows
from vaekit.models.inputs import require_image, require_labels, require_latents, require_values
from vaekit.models.interpolation import along
from vaekit.models.latent_variable_model import LatentVariableModel
from vaekit.models.layer_samples import following_layers, tempered_sample

LatentPath = Literal["linear", "spherical"]
"""The way from one latent to another: a line, or the arc that keeps the length of latents."""


Temperatures = NonNegative | Sequence[NonNegative]
"""One temperature, or one for each stochastic layer from the top down."""


class GenerativeModel(LatentVariableModel):
    """What can be generated from the three distributions of a model; all methods take labels where those take a context."""

    @property
    def fitting(self) -> Fitting:
        """How images of files and of Python are fitted: as those that the model was trained on, if it knows how."""
        preprocessing = getattr(self, "preprocessing", None)
        return Fitting() if preprocessing is None else preprocessing.fitting

    def prepare(self, images: Images) -> Tensor:
        """Returns images as the model reads them: fitted to its shape and scaled as those that it was trained on.

        Gray levels stay gray, also if the model was trained on binarized images; :func:`vaekit.binarize` binarizes a set.

        Arguments:
            images: A path, an image of Pillow, an array of shape (H, W) or (H, W, C), or several of these; see
                :func:`vaekit.data.prepare_images`.

        Returns:
            uint8 of shape (B, C, H, W), on the model's device.

        Raises:
            ModelError: If the model is not of images.
            DataError: If an image does not exist, cannot be read, or has other channels.

        Example:
            >>> x = vae.prepare("mine.png")
            >>> vae.elbo(x)
        """
        if not is_image_shape(self.shape):
            raise ModelError(f"the model is of data of shape {tuple(self.shape)}, not of images; give it a tensor")
        channels, height, width = self.shape
        return prepare_images(images, (channels, height, width), self.fitting).to(self.device)

    def encode(self, x: Tensor | Images, labels: Tensor | None = None) -> Distribution:
        """Returns q(z|x), with batch shape (B) and event shape (D), for images of shape (B, C, H, W).

        What is no tensor, as a path or an image of Pillow, goes through :meth:`prepare`; so it does in :meth:`reconstruct`.
        A tensor of another shape or scale raises a ModelError.
        """
        x = self._input(x)
        return self.qz(x, self.context(labels, len(x)))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Distribution:
        """Returns p(x|z), with batch shape (*, B) and event shape (C, H, W), for latents of shape (*, B, D).

        Raises:
            ModelError: If the latents have another shape, type or device.
        """
        require_latents(z, self.latent_dim, self, "*, B, D")
        return self.px(z, self.context(labels, z.shape[-2]))

    def prior_of(self, num: int, labels: Tensor | None = None) -> Distribution:
        """Returns p(z), or p(z|c) of labels of shape (num), with batch shape (num) and event shape (D)."""
        return self.pz(num, self.context(labels, num))

    @checked(ModelError)
    def sample(self, num: Count, labels: Tensor | None = None, temperature: Temperatures = 1.0) -> Tensor:
        """Samples latents from the prior and returns the means of p(x|z).

        Arguments:
            num: The number of images.
            labels: Their classes, with shape (num), if the model is conditional.
            temperature: Scales the distance of latents from the prior's mean; below 1 samples are closer to the mean. For a
                model of several stochastic layers also one for each, from the top down. The
                logits of codes are divided by it.

        Returns:
            Images on the unit interval, with shape (num, C, H, W).
        """
        with self.inference():
            context = self.context(labels, num)
            return self._means(tempered_sample(self.pz(num, context), temperature), context)

    @checked(ModelError)
    def sample_joint(self, num: Count, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples z ~ p(z) and x ~ p(x|z), with the noise of p(x|z), where :meth:`sample` returns its mean.

        Returns:
            Latents of shape (num, D), and images of shape (num, C, H, W) that are valid input of the model.
        """
        with self.inference():
            context = self.context(labels, num)
            z = self.pz(num, context).sample()
            # one by one, so that the samples do not depend on the chunk size
            return z, torch.cat([self.px(z[i : i + 1], rows(context, i, 1)).sample() for i in range(num)])

    def reconstruct(self, x: Tensor | Images, labels: Tensor | None = None) -> Tensor:
        """Returns the means of p(x|z) at the mean of q(z|x), on the unit interval, with shape (B, C, H, W)."""
        x = self._input(x)
        with self.inference():
            context = self.context(labels, len(x))
            chunks = range(0, len(x), self.chunk_size)
            z = [self.qz(x[i : i + self.chunk_size], rows(context, i, self.chunk_size)).mean for i in chunks]
            return self._means(torch.cat(z), context)

    def decode_mean(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Returns the means of p(x|z) on the unit interval, with shape (B, C, H, W), for latents of shape (B, D)."""
        require_latents(z, self.latent_dim, self, moved=True)
        with self.inference():
            return self._means(z.to(self.device), self.context(labels, len(z)))

    @checked(ModelError)
    def interpolate(
        self, a: Tensor, b: Tensor, steps: Count = 10, labels: Tensor | None = None, path: LatentPath = "linear"
    ) -> Tensor:
        """Decodes points between the posterior means of two images.

        Arguments:
            a: The first image, with shape (C, H, W).
            b: The last image, with shape (C, H, W).
            steps: The number of images, both ends included.
            labels: The classes of the two, with shape (2), if the model is conditional; the context moves on a line.
            path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.

        Returns:
            Images on the unit interval, with shape (steps, C, H, W).
        """
        for image in (a, b):
            require_image(image, self.shape)
        x = self._input(torch.stack([a, b]).to(self.device))
        with self.inference():
            ends = self.qz(x, self.context(labels, 2)).mean
            return self.decode_path(ends, torch.linspace(0, 1, steps), labels, path)

    @checked(ModelError)
    def decode_path(self, z: Tensor, positions: Tensor, labels: Tensor | None = None, path: LatentPath = "linear") -> Tensor:
        """Decodes points on the closed path through latents.

        Arguments:
            z: T latents, with shape (T, D).
            positions: Positions on the path, with shape (F): ``i + w`` lies between latents ``i`` and ``i + 1`` at weight
                ``w``; the first latent follows the last.
            labels: The classes of the T, with shape (T), if the model is conditional; the context moves on a line.
            path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.

        Returns:
            Images on the unit interval, with shape (F, C, H, W).
        """
        require_latents(z, self.latent_dim, self, "T, D", moved=True)
        require_values(positions, (None,), "positions")
        with self.inference():
            positions, context = positions.to(self.device), self.context(labels, len(z))
            points = along(z.to(self.device), positions, path)
            return self._means(points, None if context is None else along(context, positions))

    @checked(ModelError)
    def traverse(self, z: Tensor, latents: Sequence[int], values: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decodes z with one latent at a time set to other values.

        Arguments:
            z: The point to start from, with shape (D).
            latents: R latents, by number.
            values: The values of each of them, with shape (R, S).
            labels: The class, with shape (1), if the model is conditional.

        Returns:
            Images on the unit interval, with shape (R, S, C, H, W); row ``r`` changes latent ``latents[r]`` alone. If the
            model has several stochastic layers, those below follow: each keeps its distance from its mean given the layers
            above, in standard deviations.

        Raises:
            ModelError: If there is no such latent, or z or the values have another shape.
        """
        require_latents(z, self.latent_dim, self, "D", moved=True)
        require_values(values, (len(latents), None), "values")
        if wrong := [latent for latent in latents if not 0 <= latent < self.latent_dim]:
            raise ModelError(f"latent {wrong[0]}: there is none (known: 0 to {self.latent_dim - 1})")
        if labels is not None:
            require_labels(labels, 1)
        points = z.cpu().repeat(*values.shape, 1)
        for row, latent in enumerate(latents):
            points[row, :, latent] = values[row]
        with self.inference():
            points = following_layers(lambda num: self._prior_of_one(num, labels), z, points, latents)
        flat = points.flatten(0, 1)
        images = self.decode_mean(flat, None if labels is None else labels.expand(len(flat)))
        return images.reshape(*values.shape, *self.shape)

    def _prior_of_one(self, num: int, labels: Tensor | None) -> Distribution:
        """The prior of ``num`` images of the class of one, with batch shape (num)."""
        return self.prior_of(num, None if labels is None else labels.expand(num))

    def _input(self, x: Tensor | Images) -> Tensor:
        """A tensor as it is, if the model can read it, and what is none as :meth:`prepare` reads it."""
        if not isinstance(x, Tensor):
            return self.prepare(x)
        self.require_input(x)
        return x

    def _means(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The means of p(x|z) for z of shape (B, D), in chunks."""
        chunks = range(0, len(z), self.chunk_size)
        return torch.cat([self.px(z[i : i + self.chunk_size], rows(context, i, self.chunk_size)).mean for i in chunks])
