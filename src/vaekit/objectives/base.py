"""What every objective is: a number to descend, made of a model's terms and the time."""

from abc import ABC, abstractmethod

from vaekit.terms import Loss, Terms


class Objective(ABC):
    """A function of a model's terms and of time.

    Attributes:
        num_samples: K, how many samples of z the model draws for each picture.
    """

    num_samples: int

    @abstractmethod
    def __call__(self, terms: Terms, epoch: float) -> Loss:
        """Returns the loss, in nats per picture.

        Arguments:
            terms: What the model says of a batch.
            epoch: The time in epochs, fractional: 0 at the first step.
        """
