"""The augmentation of training images as data, a section of a recipe; :mod:`vaekit.data.augment` applies it."""

from typing import Annotated

from pydantic import Field

from vaekit.core.config import Section

Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Augmentation(Section):
    """The augmentation of training images; none by default.

    Arguments:
        flip: The probability of a horizontal flip.
        vertical_flip: The probability of a vertical flip.
        rotate: The largest angle of a rotation in degrees, in either direction.
        shift: The largest translation, as a share of the height and width.
        zoom: The largest change of scale, as a share of 1.
        crop: The largest share of the area that is cropped before the rest is resized to the original size.
        jitter: The largest relative change of brightness and contrast, and of the saturation of color images; all channels
            of an image change by the same factors.
        hue: The largest rotation of the hue of color images, as a share of the color circle.
    """

    flip: Probability = 0.0
    vertical_flip: Probability = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    shift: Fraction = 0.0
    zoom: Fraction = 0.0
    crop: Fraction = 0.0
    jitter: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
