"""Conditions: from labels to a context of shape (B, E).

The model computes the context once and gives it to encoder, prior and decoder:
q(z|x, c), p(z|c), p(x|z, c).

References:
    | Learning Structured Output Representation using Deep Conditional Generative Models (Sohn et al., 2015),
      https://papers.nips.cc/paper/5775
"""

from abc import ABC, abstractmethod
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit.core.arguments import checked
from vaekit.core.errors import ModelError, class_index


class Condition(nn.Module, ABC):
    """Turns labels into a context.

    Attributes:
        context_dim: E, the size of the context.
        classes: The names of the classes, by label.
    """

    context_dim: int
    classes: list[str]

    @abstractmethod
    def forward(self, labels: Tensor) -> Tensor:
        """Returns contexts of shape (B, E) of integer labels of shape (B)."""

    @checked(ModelError)
    def index(self, label: str) -> int:
        """Returns the label that a name or a number means.

        Raises:
            DataError: If there is no such class; the nearest names are offered.
        """
        return class_index(label, self.classes)


class ClassLabel(Condition):
    """A class, as a one-hot vector scaled by the root of E.

    Its mean square is 1, like that of latents under the prior. With a plain one-hot vector, which is shorter, a decoder
    reads the class from the latents for many epochs before it uses the label.

    Arguments:
        classes: The names of the classes, by label.
    """

    def __init__(self, classes: Annotated[list[str], Field(min_length=2)]) -> None:
        super().__init__()
        self.classes = list(classes)
        self.context_dim = len(classes)

    def forward(self, labels: Tensor) -> Tensor:
        """Returns one-hot vectors, times the root of E, of shape (B, E).

        Raises:
            ModelError: If a label is out of range.
        """
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.context_dim:
            raise ModelError(f"labels run from 0 to {self.context_dim - 1}, got {int(labels.min())} to {int(labels.max())}")
        context: Tensor = F.one_hot(labels.long(), self.context_dim) * self.context_dim**0.5
        return context
