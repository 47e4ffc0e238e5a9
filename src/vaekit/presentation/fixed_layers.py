"""Samples of a ladder with its upper layers fixed and the lower ones sampled anew: what each layer carries."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaekit.core.errors import ModelError
from vaekit.evaluation.finiteness import require_finite
from vaekit.models.layer_samples import with_new_lower_layers
from vaekit.presentation.model_view import ModelView

NUM_ROWS = 8
"""The number of rows, each with upper layers of its own, where one number of layers is fixed."""


def samples_of_layers(
    view: ModelView, fixed: int | None, num: int, label: str | None = None
) -> tuple[Tensor, list[str], str]:
    """Samples images whose upper layers are fixed; the first image of each row is the sample that they are of.

    Arguments:
        view: The model.
        fixed: The number of fixed layers in all rows, each of which begins with another sample; or None for rows of one
            sample, in which 0, 1, 2, ... layers are fixed.
        num: The number of images in a row.
        label: The class, if the model is class-conditional; the first by default.

    Returns:
        Images of shape (R * num, C, H, W), the text at the left of each row, and the title.

    Raises:
        ModelError: If the model has one stochastic layer, or not so many.
    """
    model, names = view.model, view.model.layer_names
    if not names:
        raise ModelError("--fix-layers: the model has one stochastic layer, which is not fixed in part; train a ladder")
    if fixed is not None and not 0 < fixed < len(names):
        raise ModelError(f"--fix-layers {fixed}: the model has {len(names)} layers; choose 1 to {len(names) - 1}, or each")
    numbers = list(range(len(names))) if fixed is None else [fixed] * NUM_ROWS
    with model.inference():
        own = model.prior_of(1, view.labels([label] if label else [], 1)).sample()
        rows = [_row(view, own if fixed is None else None, number, num, label) for number in numbers]
    images = require_finite(torch.cat(rows), "the samples")
    if fixed is None:
        title = "rows of one sample, left: so many upper layers of it are fixed, the lower ones sampled anew"
        return images, [_row_label(names, number) for number in numbers], title
    title = f"left: samples; beside them the same with {fixed} of {len(names)} layers fixed, the lower ones sampled anew"
    return images, [], title


def _row(view: ModelView, own: Tensor | None, num_fixed: int, num: int, label: str | None) -> Tensor:
    """A sample and others of its upper layers, with shape (num, C, H, W)."""
    labels = view.labels([label] if label else [], 1)
    labels = None if labels is None else labels.expand(num)
    pz = view.model.prior_of(num, labels)
    own = pz.sample()[:1] if own is None else own
    z = with_new_lower_layers(pz, own.expand(num, -1), num_fixed)
    return view.model.decode_mean(torch.cat([own, z[1:]]), labels)


def _row_label(names: Sequence[str], num_fixed: int) -> str:
    """The text at the left of a row, as ``3 fixed`` and the resolutions of the free layers below it."""
    free = names[num_fixed:]
    kinds = [f"{free.count(name)} at {name}" for name in dict.fromkeys(free)]
    return f"{num_fixed} fixed\n" + "free: " + ", ".join(kinds)
