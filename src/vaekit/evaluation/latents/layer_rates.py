"""The rate of each stochastic layer of a model: what each layer carries, in nats."""

import torch
from torch import Tensor

from vaekit.data import Dataset
from vaekit.evaluation.likelihood.bounds import with_noise
from vaekit.models import Model
from vaekit.models.model import layer_terms


def layer_rates(model: Model, images: Dataset) -> Tensor:
    """Returns the mean over images of the rate of each stochastic layer, from the top down, in nats, with shape (L)."""
    sums = []
    with model.inference():
        for x, labels, noise in with_noise(model, images, 0, f"rates of {len(images):,} images"):
            latent = model.latent_terms(x, labels, 1, noise.normal)
            layers = layer_terms(latent.z, latent.qz, latent.pz)
            sums.append(torch.stack([layer.rate().sum() for layer in layers]).cpu().double())
    return torch.stack(sums).sum(0) / len(images)
