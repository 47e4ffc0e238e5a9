"""The contract of every objective: a loss, made of a model's terms and the context of the step.

A loss is a mean over the images of a batch. Several processes compute it over a part of the images each, and average losses,
logs and gradients (:mod:`vaekit.core.shares`). So a loss that is not linear in a mean over the batch takes this mean by
:func:`vaekit.core.shares.batch_mean`; all others by ``mean()``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from vaekit.core.schedules import AnySchedule, as_schedule
from vaekit.core.terms import Loss, StepContext, Terms
from vaekit.data import Dataset

NumSamples = Annotated[int, Field(gt=0, le=10_000)]
"""K in a recipe, bounded because the memory of a step is proportional to it; published objectives take up to 64."""


class Objective(nn.Module, ABC):
    """A function of a model's terms and of the context of the step. Its parameters, if it has any, are trained and saved.

    Arguments:
        num_samples: K, the number of samples of z that the model takes for each image.
        penalties: The weight of each penalty of the model's parts (:attr:`vaekit.core.terms.Terms.penalties`), a number or a
            schedule; 1 for those that are not named.

    Attributes:
        keeps_last: Whether the weights of the last epoch are kept, because the validation ELBO does not say which are the
            best; else those of the best validation ELBO.
        needs_gray_levels: Whether images must not be binarized.
    """

    keeps_last: ClassVar[bool] = False
    needs_gray_levels: ClassVar[bool] = False

    def __init__(self, num_samples: int = 1, penalties: Mapping[str, AnySchedule] = {}) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.penalties = {name: as_schedule(weight) for name, weight in penalties.items()}

    def prepare(self, model: nn.Module, images: Dataset) -> None:
        """Builds what depends on the model and on the training data, before training; by default nothing.

        Arguments:
            model: The model, on the device of the training.
            images: The training data.
        """

    @abstractmethod
    def forward(self, terms: Terms, context: StepContext) -> Loss:
        """Returns the loss, in nats per image.

        Arguments:
            terms: The terms of a batch.
            context: The time in epochs and in steps, and the number of training images.
        """

    def weighted_penalties(self, terms: Terms, context: StepContext) -> Tensor | float:
        """Returns the weighted sum of the penalties of the model's parts, a scalar in nats per image; 0 without any."""
        one = as_schedule(1.0)
        return sum(self.penalties.get(name, one)(context.epoch) * value.mean() for name, value in terms.penalties.items())


def scale_pathwise_gradient(terms: Terms, weights: Tensor | float) -> None:
    """Multiplies the gradient that a loss sends through the samples z to the posterior; the loss itself stays the same.

    Arguments:
        terms: The terms that the loss is made of.
        weights: The factor, 0 to stop the gradient; or one factor for each sample, with shape (K, B).
    """
    for latent in terms.latents:
        if latent.z.requires_grad:
            event = latent.z.dim() - 2
            factor = weights if isinstance(weights, float) else weights.detach()[(...,) + (None,) * event]
            latent.z.register_hook(lambda gradient, factor=factor: gradient * factor)
