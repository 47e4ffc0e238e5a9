"""The contract of a model: three distributions over images x and latents z, and what their methods share.

What can be generated from them is in :mod:`vaekit.models.generation`, the estimators in :mod:`vaekit.models.model`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit.core.arguments import Count, require
from vaekit.core.errors import ModelError
from vaekit.models.chunks import chunk_budget, sizes_of_outputs
from vaekit.models.conditions import Condition
from vaekit.models.inputs import require_images, require_labels


class LatentVariableModel(nn.Module, ABC):
    """Three distributions over images x and latents z, and what can be generated from them.

    ``qz``, ``pz`` and ``px`` take a context, which :meth:`context` computes from labels; all other methods take labels.

    Attributes:
        condition: Labels to a context; None for a model that is not class-conditional.
    """

    condition: Condition | None
    _trusts_input = False

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
    def layer_names(self) -> tuple[str, ...]:
        """The names of the stochastic layers, from the top down, where a model of several has them."""
        return ()

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The number of latents of each stochastic layer, from the top down."""
        return (self.latent_dim,)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def context(self, labels: Tensor | None, num: int) -> Tensor | None:
        """Returns the context of labels, with shape (num, E); None for a model that is not class-conditional.

        Raises:
            ModelError: If labels are missing, not expected, or not ``num`` whole numbers, or ``num`` is less than 1.
        """
        require(num, Count, "the number of images", ModelError)
        if self.condition is None:
            if labels is not None:
                raise ModelError("the model is not conditional, so it takes no labels; train one with --conditional")
            return None
        if labels is None:
            raise ModelError("the model is conditional: give it the label of each image")
        require_labels(labels, num)
        context: Tensor = self.condition(labels.to(self.device))
        return context

    def refuse_wrong_scale(self, x: Tensor) -> None:
        """Raises a ModelError for pixels that cannot be on the scale that the model reads; by default for none."""

    @contextmanager
    def trusting_input(self) -> Iterator[None]:
        """Turns off :meth:`refuse_wrong_scale` inside the context, as in training, where an accelerator would wait for it.

        Where training diverges, it names the cause itself.
        """
        before, self._trusts_input = self._trusts_input, True
        try:
            yield
        finally:
            self._trusts_input = before

    def require_input(self, x: Tensor) -> None:
        """Raises a ModelError for images of another shape, type, device or scale than the model reads."""
        if torch.compiler.is_compiling():
            return
        require_images(x, self.shape, self)
        if not self._trusts_input:
            self.refuse_wrong_scale(x)

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
        return max(1, chunk_budget(self.device) // self._widest)

    @cached_property
    def _widest(self) -> int:
        """The largest number of values that a layer between z and p(x|z) holds for one image."""
        with sizes_of_outputs(self) as sizes, self.inference():
            labels = None if self.condition is None else torch.zeros(1, dtype=torch.int64)
            self.px(torch.zeros(1, self.latent_dim, device=self.device), self.context(labels, 1))
        return max(math.prod(self.shape), *sizes, 0)
