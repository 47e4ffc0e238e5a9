r"""Schedules: pure functions of time.

Time :math:`t` is counted in **epochs** and is fractional (the step divided by the steps of an epoch), so that a recipe
keeps its meaning when the batch size or the data set changes. A schedule holds no state: the same :math:`t` always
gives the same value, which is what makes an exact resume trivial.

All schedules are frozen pydantic models, so that a recipe can name them and gets its numbers checked.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PlainValidator, PositiveFloat

from vaekit.core.arguments import BY_FUNCTION
from vaekit.core.config import Section, validate
from vaekit.core.errors import ConfigError
from vaekit.core.registry import lookup


class Schedule(Section, ABC):
    """A scalar as a function of time in epochs."""

    @abstractmethod
    def __call__(self, epoch: float) -> float:
        """Returns the value at a time in epochs (fractional, 0 at the first step)."""


class Constant(Schedule):
    """The same value at all times."""

    name: Literal["constant"] = "constant"
    value: NonNegativeFloat = 1.0

    def __call__(self, epoch: float) -> float:
        """Returns ``value``."""
        return self.value


class Linear(Schedule):
    r"""A straight line from ``start`` to ``end`` over the first ``epochs``, constant afterwards.

    .. math:: v(t) = s + (e - s) \min(t / T, 1)

    From 0 to 1 this is the KL warm-up of deep generative models.

    References:
        | Generating Sentences from a Continuous Space (Bowman et al., 2015), https://arxiv.org/abs/1511.06349
        | Ladder Variational Autoencoders (Sonderby et al., 2016), https://arxiv.org/abs/1602.02282
    """

    name: Literal["linear"] = "linear"
    epochs: PositiveFloat
    start: NonNegativeFloat = 0.0
    end: NonNegativeFloat = 1.0

    def __call__(self, epoch: float) -> float:
        """Returns the value on the line at ``epoch``."""
        return self.start + (self.end - self.start) * min(epoch / self.epochs, 1.0)


class Cosine(Schedule):
    r"""Half a cosine wave from ``start`` to ``end`` over the first ``epochs``, constant afterwards.

    .. math:: v(t) = s + (e - s) \, \tfrac12 (1 - \cos(\pi \min(t / T, 1)))
    """

    name: Literal["cosine"] = "cosine"
    epochs: PositiveFloat
    start: NonNegativeFloat = 0.0
    end: NonNegativeFloat = 1.0

    def __call__(self, epoch: float) -> float:
        """Returns the value on the wave at ``epoch``."""
        return self.start + (self.end - self.start) * 0.5 * (1 - math.cos(math.pi * min(epoch / self.epochs, 1.0)))


class Cyclical(Schedule):
    r"""A saw-tooth: in each period a line from ``start`` to ``end`` over its first part ``ramp``, then constant.

    References:
        | Cyclical Annealing Schedule (Fu et al., 2019), https://arxiv.org/abs/1903.10145
    """

    name: Literal["cyclical"] = "cyclical"
    epochs: PositiveFloat
    ramp: Annotated[float, Field(gt=0, le=1)] = 0.5
    start: NonNegativeFloat = 0.0
    end: NonNegativeFloat = 1.0

    def __call__(self, epoch: float) -> float:
        """Returns the value of the saw-tooth at ``epoch``."""
        phase = (epoch % self.epochs) / self.epochs
        return self.start + (self.end - self.start) * min(phase / self.ramp, 1.0)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "cyclical": Cyclical,
}


def as_schedule(value: Any, place: str = "") -> Schedule:
    """Returns the schedule that a number, or data such as ``{name: linear, epochs: 5}``, stands for.

    Arguments:
        value: The number, data or schedule.
        place: The name of the argument, for messages.

    Raises:
        ConfigError: If it stands for none.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Mapping):
        return validate(lookup(SCHEDULES, value.get("name"), f"{place}.name".lstrip(".")), dict(value), place)
    return validate(Constant, {"value": value}, place)


def _for_pydantic(value: Any) -> Schedule:
    try:
        return as_schedule(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


AnySchedule = Annotated[Schedule | float, PlainValidator(_for_pydantic), BY_FUNCTION]
"""What a recipe may write for a schedule: a number, or the fields of one of them under its ``name``."""
