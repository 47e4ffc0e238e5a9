"""How the images of a model were prepared, as data: a part of ``config.json``, so that a model alone is usable.

Later images are fitted to the model's shape and scaled to gray levels in the same way.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from vaekit.core.config import Section
from vaekit.data.fitting import Fit, Fitting
from vaekit.data.levels import AUTO, Levels, checked_levels


class Preprocessing(Section):
    """How images become the input of a model, whose shape says their size and channels.

    Arguments:
        fit: What is done if proportions differ: ``crop``, ``pad`` or ``stretch``.
        background: The color behind transparent pixels and around padded images.
        levels: The values of black and white, as in a recipe; ``auto`` to find them.
        binarize: How training images were binarized: ``none``, ``dynamic`` or ``static``. Test images are binarized once.
        classes: The names of the classes of the training images, by label; empty if they had no labels.
    """

    fit: Fit = "crop"
    background: str = "white"
    levels: Annotated[Any, BeforeValidator(checked_levels)] = AUTO
    binarize: Literal["none", "dynamic", "static"] = "none"
    classes: tuple[str, ...] = ()

    @property
    def fitting(self) -> Fitting:
        """How images are fitted.

        Raises:
            DataError: If the background is not a color.
        """
        return Fitting(self.fit, self.background, Levels.read(self.levels))
