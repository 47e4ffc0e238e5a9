"""The size of networks for few images: with fewer of them a smaller network learns as much, in less time and space."""

from typing import Any

from vaekit.core.config import Spec
from vaekit.data import Dataset
from vaekit.runs.recipe_sections import ModelSection

WIDTHS = ((1_000, 0.5, 0.25), (10_000, 0.75, 0.5))
"""For up to so many images, the share of the recipe's channels, and of the width of its fully connected layers."""


def fitted_parts(section: ModelSection, images: Dataset) -> dict[str, Any]:
    """Returns the parts of a model, whose convolutional networks are narrower for few images.

    Arguments:
        section: The parts as the recipe names them.
        images: The training images.
    """
    parts = section.model_dump(exclude={"conditional", "fitted"})
    for limit, share, hidden_share in WIDTHS:
        if len(images) <= limit:
            narrower = {key: _narrow(parts[key], share, hidden_share) for key in ("encoder", "decoder")}
            return parts | narrower
    return parts


def _narrow(spec: Spec, share: float, hidden_share: float) -> Spec:
    """A network with these shares of its widths; channels stay multiples of 8, which group normalization needs."""
    if spec["name"] != "conv":
        return spec
    channels = [max(8, round(share * num / 8) * 8) for num in spec["channels"]]
    hidden = None if spec["hidden"] is None else max(64, round(hidden_share * spec["hidden"]))
    return spec | {"channels": channels, "hidden": hidden}
