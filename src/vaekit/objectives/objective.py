"""What every objective is: a number to descend, made of a model's terms and the time."""

from abc import ABC, abstractmethod

from torch import Tensor

from vaekit.core.terms import Loss, Terms


class Objective(ABC):
    """A function of a model's terms and of time.

    Attributes:
        num_samples: K, how many samples of z the model draws for each image.
    """

    num_samples: int

    @abstractmethod
    def __call__(self, terms: Terms, epoch: float) -> Loss:
        """Returns the loss, in nats per image.

        Arguments:
            terms: What the model says of a batch.
            epoch: The time in epochs, fractional: 0 at the first step.
        """


def scale_pathwise_gradient(terms: Terms, weights: Tensor | float) -> None:
    """Multiplies the gradient that a loss sends through the samples z, back to the posterior, and leaves the loss as it is.

    Arguments:
        terms: The terms that the loss is made of.
        weights: What to multiply with: 0 lets nothing through; or one weight for each sample, with shape (K, B).
    """
    for latent in terms.latents:
        if latent.z.requires_grad:
            event = latent.z.dim() - 2
            factor = weights if isinstance(weights, float) else weights.detach()[(...,) + (None,) * event]
            latent.z.register_hook(lambda gradient, factor=factor: gradient * factor)
