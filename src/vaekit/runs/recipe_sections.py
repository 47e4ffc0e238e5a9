"""The sections of a recipe with fixed keys: the images, the model, the evaluation and the initial weights.

Each key has its type, its range and its default here. The section of training is :mod:`vaekit.training.training_config`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

from vaekit.core.config import Section, Spec
from vaekit.data.augmentation import Augmentation
from vaekit.data.fitting import Fit, checked_color
from vaekit.data.layout import MAX_CHANNELS
from vaekit.data.levels import AUTO, checked_levels
from vaekit.plots.channel_choice import parse_channels

Side = Annotated[int, Field(ge=1, le=65_535)]
Channel = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
LatentDim = Annotated[int, Field(gt=0, le=1_000_000)]


def _read_channels(value: Any) -> Any:
    """A value of ``data.shown_channels``, which may be written as ``3,2,1``."""
    return parse_channels(value, "data.shown_channels") if isinstance(value, str) else value


ShownChannels = Annotated[Channel | tuple[Channel, Channel, Channel] | None, BeforeValidator(_read_channels)]


class DataSection(Section):
    """The source of the images and their preparation.

    Arguments:
        name: A known name, a folder, an array file or a Hub id.
        also: More sources, whose images are added; classes of one name are one class.
        size: The side, or height and width, that images are fitted to; None for their original size.
        channels: 1 for gray, 3 for color, None for the channels of the source; up to 16 for images that have so many.
        fit: What to do if proportions differ: ``crop`` the middle, ``pad`` with the background, or ``stretch``.
        background: The color behind transparent pixels and around padded images.
        levels: The values of black and white, ``[0, 4095]``; or for each kind of values (``uint8``, ``integers``,
            ``floats``), as a run writes those that were found; ``auto`` to find them.
        augment: The augmentation of training images, applied each time they are used; None for no augmentation.
        binarize: ``dynamic`` binarizes training images at random each time they are used, ``static`` once, ``none`` keeps
            gray levels. Validation and test images are binarized once, with fixed seeds, in both cases.
        validation: The share of training images that is held out for validation, unless the source has training, validation
            and test images.
        shown_channels: The channels that images, reports and plots of the run show: one as gray, or three as red, green and
            blue, as in ``[3, 2, 1]``; by default all, and other than gray and color images channel by channel.
    """

    name: str
    also: tuple[str, ...] = ()
    size: Side | tuple[Side, Side] | None = None
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] | None = None
    fit: Fit = "crop"
    background: Annotated[str, AfterValidator(checked_color)] = "white"
    levels: Annotated[Any, BeforeValidator(checked_levels)] = AUTO
    augment: Augmentation | None = None
    binarize: Literal["none", "dynamic", "static"] = "none"
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    shown_channels: ShownChannels = None

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources of images, ``name`` first."""
        return self.name, *self.also


class ModelSection(Section):
    """The parts of a VAE; its shape follows from the images.

    Arguments:
        latent_dim: D, the number of latents; None for a ladder, whose layers give it.
        encoder: The encoder.
        decoder: The decoder.
        likelihood: The likelihood.
        posterior: The posterior.
        prior: The prior.
        conditional: Whether the model is class-conditional.
        fitted: Whether convolutional networks are narrower for fewer than 10,000 images. A recipe whose networks are changed
            is not fitted.
    """

    latent_dim: LatentDim | None = None
    encoder: Spec
    decoder: Spec
    likelihood: Spec
    posterior: Spec = {"name": "diagonal-gaussian"}
    prior: Spec = {"name": "standard-normal"}
    conditional: bool = False
    fitted: bool = False


class EvaluationSection(Section):
    """The evaluation at the end of a run.

    Arguments:
        num_samples: K, the number of importance samples of the estimate of log p(x); 0 for no estimate.
        max_images: The number of test images of that estimate; None for all.
    """

    num_samples: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    max_images: PositiveInt | None = 1000
