r"""What the latents carry.

A latent is **active** if its posterior mean moves with the picture:
:math:`\mathrm{Var}_x(\mathbb{E}_{q(z|x)}[z_d]) > 0.01` over the set.

References:
    | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
"""

from typing import Any

import torch

from vaekit.data import ImageSet
from vaekit.evaluation.estimates import batches
from vaekit.models import VAE

THRESHOLD = 0.01
"""The variance of posterior means above which a latent counts as active."""


def active_units(model: VAE, images: ImageSet) -> dict[str, Any]:
    """Counts the active latents over a set of pictures.

    Returns:
        ``value`` active latents ``of`` so many, with the ``threshold`` and ``num_pictures`` that the count rests on.
    """
    with model.inference():
        means = torch.cat([model.encode(x, labels).mean.flatten(1) for x, labels in batches(model, images)])
    active = int((means.double().var(0) > THRESHOLD).sum()) if len(means) > 1 else 0
    return {"value": active, "of": means.shape[1], "threshold": THRESHOLD, "num_pictures": len(means)}
