"""Samples, reconstructions, interpolations and traversals: what can be generated from p(z), q(z|x) and p(x|z).

What returns images runs without gradients and decodes in chunks, so that memory does not grow with their number.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit.core.errors import ModelError
from vaekit.core.safe_text import MAX_NAME, printable_value
from vaekit.data import Fitting, is_image_shape
from vaekit.data.preparing import Images, prepare_images
from vaekit.distributions.code_vectors import CodeVectors
from vaekit.models.conditions import Condition
from vaekit.models.interpolation import along

CPU_CHUNK_BUDGET, ACCELERATOR_CHUNK_BUDGET = 2**20, 2**26
"""How many numbers the widest layer holds for all images of a chunk: 4 MB of float32, which fit into a processor's cache (a
convolutional decoder is half as fast with more), and 256 MB on an accelerator."""


class LatentVariableModel(nn.Module, ABC):
    """Three distributions over images x and latents z, and what can be generated from them.

    ``qz``, ``pz`` and ``px`` take a context, which :meth:`context` computes from labels; all other methods take labels.

    Attributes:
        condition: Labels to a context; None for a model that is not class-conditional.
    """

    condition: Condition | None

    def __init__(self) -> None:
        super().__init__()
        self.condition = None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The event shape of x, (C, H, W) for images."""

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """D, the number of latents of all stochastic layers."""

    @abstractmethod
    def qz(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """Returns q(z|x), with batch shape (B) and event shape (D), for x of shape (B, *shape)."""

    @abstractmethod
    def pz(self, num: int, context: Tensor | None = None) -> Distribution:
        """Returns p(z), with batch shape (num) and event shape (D)."""

    @abstractmethod
    def px(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """Returns p(x|z), with batch shape (*, B) and the event shape of x, for latents of shape (*, B, D)."""

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def context(self, labels: Tensor | None, num: int) -> Tensor | None:
        """Returns the context of labels, with shape (num, E); None for a model that is not class-conditional.

        Raises:
            ModelError: If labels are missing, not expected, or not ``num``, or ``num`` is less than 1.
        """
        if not isinstance(num, int) or isinstance(num, bool):
            raise ModelError(f"the number of images is a whole number, got {printable_value(num, MAX_NAME)}")
        if num < 1:
            raise ModelError(f"the number of images is at least 1, got {num}")
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

    @property
    def fitting(self) -> Fitting:
        """How images of files and of Python are fitted: as those that the model was trained on, if it knows how."""
        preprocessing = getattr(self, "preprocessing", None)
        return Fitting() if preprocessing is None else preprocessing.fitting

    def refuse_wrong_scale(self, x: Tensor) -> None:
        """Raises a ModelError for pixels that cannot be on the scale that the model reads; by default for none.

        What users call with their own images asks it. Training does not: where it diverges, it names the cause itself.
        """

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
        """Returns p(x|z), with batch shape (*, B) and event shape (C, H, W), for latents of shape (*, B, D)."""
        return self.px(z, self.context(labels, z.shape[-2]))

    def prior_of(self, num: int, labels: Tensor | None = None) -> Distribution:
        """Returns p(z), or p(z|c) of labels of shape (num), with batch shape (num) and event shape (D)."""
        return self.pz(num, self.context(labels, num))

    def sample(self, num: int, labels: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Samples latents from the prior and returns the means of p(x|z).

        Arguments:
            num: The number of images.
            labels: Their classes, with shape (num), if the model is conditional.
            temperature: Scales the distance of latents from the prior's mean; below 1 samples are closer to the mean. The
                logits of codes are divided by it.

        Returns:
            Images on the unit interval, with shape (num, C, H, W).
        """
        with self.inference():
            context = self.context(labels, num)
            pz = self.pz(num, context)
            if isinstance(pz, CodeVectors):
                return self._means(pz.tempered(temperature).sample(), context)
            z = pz.sample()
            if temperature != 1:
                z = pz.mean + temperature * (z - pz.mean)
            return self._means(z, context)

    def sample_joint(self, num: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
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
        with self.inference():
            return self._means(z.to(self.device), self.context(labels, len(z)))

    def interpolate(
        self, a: Tensor, b: Tensor, steps: int = 10, labels: Tensor | None = None, path: str = "linear"
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
        if steps < 1:
            raise ModelError(f"steps must be at least 1, got {steps}")
        with self.inference():
            ends = self.qz(self._input(torch.stack([a, b])).to(self.device), self.context(labels, 2)).mean
            return self.decode_path(ends, torch.linspace(0, 1, steps), labels, path)

    def decode_path(self, z: Tensor, positions: Tensor, labels: Tensor | None = None, path: str = "linear") -> Tensor:
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
        with self.inference():
            positions, context = positions.to(self.device), self.context(labels, len(z))
            points = along(z.to(self.device), positions, path)
            return self._means(points, None if context is None else along(context, positions))

    def traverse(self, z: Tensor, latents: Sequence[int], values: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decodes z with one latent at a time set to other values.

        Arguments:
            z: The point to start from, with shape (D).
            latents: R latents, by number.
            values: The values of each of them, with shape (R, S).
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

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Turns off gradients and the behavior of layers in training (dropout and the like), and restores the latter."""
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was_training)

    @property
    def chunk_size(self) -> int:
        """The number of images that are encoded or decoded at a time where there may be any number of them."""
        return max(1, (CPU_CHUNK_BUDGET if self.device.type == "cpu" else ACCELERATOR_CHUNK_BUDGET) // self._widest)

    @cached_property
    def _widest(self) -> int:
        """The largest number of values that a layer between z and p(x|z) holds for one image."""
        sizes = [math.prod(self.shape)]

        def note(module: nn.Module, args: Any, output: Any) -> None:
            sizes.append(output.numel() if isinstance(output, Tensor) else 0)

        hooks = [module.register_forward_hook(note) for module in self.modules()]
        try:
            with self.inference():
                labels = None if self.condition is None else torch.zeros(1, dtype=torch.int64)
                self.px(torch.zeros(1, self.latent_dim, device=self.device), self.context(labels, 1))
        finally:
            for hook in hooks:
                hook.remove()
        return max(sizes)

    def _input(self, x: Tensor | Images) -> Tensor:
        """A tensor as it is, if its scale is right, and what is none as :meth:`prepare` reads it."""
        if not isinstance(x, Tensor):
            return self.prepare(x)
        self.refuse_wrong_scale(x)
        return x

    def _means(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The means of p(x|z) for z of shape (B, D), in chunks."""
        chunks = range(0, len(z), self.chunk_size)
        return torch.cat([self.px(z[i : i + self.chunk_size], rows(context, i, self.chunk_size)).mean for i in chunks])


def rows(context: Tensor | None, start: int, num: int) -> Tensor | None:
    """Returns ``num`` rows of a context from ``start`` on, or None for None."""
    return None if context is None else context[start : start + num]
