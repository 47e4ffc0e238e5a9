"""The settings of a training run as data: epochs, batch size, patience, precision, ..."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from vaekit.core.config import Section

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""The short names of precisions."""
OnSpike = Literal["stop", "skip", "rollback"]
"""What to do if a gradient norm is far above its running median."""


def _full_name(value: object) -> object:
    return PRECISIONS.get(value, value) if isinstance(value, str) else value


Precision = Annotated[Literal["float32", "bfloat16"], BeforeValidator(_full_name)]
"""The precision of networks, also by its short name."""


LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A learning rate that a resumed run goes on with."""


class TrainingConfig(Section):
    """The settings of a training run.

    Arguments:
        epochs: The number of passes over the images, at most.
        batch_size: B, the number of images of a step.
        patience: Stop after so many epochs without a better validation ELBO; None never stops early.
        clip_norm: Scale the gradient down to this norm where it is larger; None never does.
        ema: The decay of an exponential moving average of the weights; with it the average is validated and kept.
        seed: The seed of everything random.
        device: The device to train on; ``auto`` is an accelerator if there is one.
        precision: The precision of networks; log-probabilities are always float32.
        on_spike: What to do if a gradient norm is far above its running median: ``stop`` the run, ``skip`` the update, or
            ``rollback`` to weights of up to 200 steps before; None looks for none. See :mod:`vaekit.training.spikes`.
        images_every: The number of epochs between two grids of reconstructions and samples.
        lr_changes: Steps and the learning rates that a run was given there when it was resumed, as ``[[1200, 0.0001]]``; the
            schedule goes on with the new one.
        checkpoint_minutes: The time between two checkpoints within an epoch; there is one after each epoch in any case.
    """

    epochs: PositiveInt = 20
    batch_size: Annotated[int, Field(gt=0, le=1_000_000_000)] = 128
    patience: PositiveInt | None = None
    clip_norm: PositiveFloat | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = "float32"
    on_spike: OnSpike | None = None
    images_every: PositiveInt = 5
    lr_changes: tuple[tuple[NonNegativeInt, LearningRate], ...] = ()
    checkpoint_minutes: PositiveFloat = 10.0
