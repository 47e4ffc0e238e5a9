"""How long, how large, how often: the settings of a training run as data."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vaekit.core.config import Section


class TrainingConfig(Section):
    """The settings of a training run.

    Arguments:
        epochs: How often to go through the images, at most.
        batch_size: B, how many images a step sees.
        patience: Stop after so many epochs without a better validation ELBO; None never stops early.
        clip_norm: Scale the gradient down to this norm where it is larger; None never does.
        weight_prior: The standard deviation of a normal prior of every weight, which makes what is learned a MAP estimate:
            the gradient of -log p(weights) / N joins that of the loss, N being the number of training images; None for
            none.
        ema: The decay of an exponential moving average of the weights, which is then what is validated and kept.
        seed: The seed of everything random.
        device: Where to train; ``auto`` takes an accelerator if there is one.
        precision: What networks compute in; log-probabilities are float32 always.
        images_every: Draw reconstructions and samples every so many epochs.
        checkpoint_minutes: Save the state within an epoch too, when it takes longer than this.
    """

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 128
    patience: PositiveInt | None = None
    clip_norm: PositiveFloat | None = None
    weight_prior: PositiveFloat | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    images_every: PositiveInt = 5
    checkpoint_minutes: PositiveFloat = 10.0
