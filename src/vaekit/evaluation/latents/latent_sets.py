"""The posteriors of a data set as :class:`~vaekit.distributions.latent_set.LatentSet`, to which a prior is fitted."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.progress import track
from vaekit.core.rng import fixed_seed, generator
from vaekit.data import Dataset, Transform
from vaekit.distributions import PointMass, is_diagonal_gaussian
from vaekit.distributions.latent_set import LatentSet
from vaekit.evaluation.estimate import positions_of_batches, values_at
from vaekit.evaluation.finiteness import require_finite
from vaekit.models import VAE

NUM_SAMPLES = 8
"""The number of samples that stand for a posterior that is no diagonal Gaussian."""


def latent_set_of(
    model: VAE, data: Dataset, transform: Transform | None = None, *, passes: int = 1, seed: int = 0
) -> LatentSet:
    """Returns the posteriors of a data set, on the model's device; of a ladder those of the top layer.

    Arguments:
        model: The model.
        data: The data set.
        transform: Applied to each batch, as in training: binarization or augmentation at random.
        passes: How often each value is encoded, changed anew by the transform.
        seed: The seed of the transform.

    Raises:
        ModelError: If a posterior is not finite.
    """
    source = generator(seed, model.device)
    chunks = [positions for _ in range(passes) for positions in positions_of_batches(model, data)]
    means, stddevs, contexts = [], [], []
    with model.inference(), fixed_seed(seed):
        for positions in track(chunks, f"encoding {len(data):,} {data.noun}", len(chunks)):
            x, labels = values_at(model, data, positions)
            x = x if transform is None else transform(x, source)
            context = model.context(labels, len(x))
            mean, stddev = _moments(model.top_qz(x, context))
            means.append(mean.flatten(0, 1))
            stddevs.append(stddev.flatten(0, 1))
            contexts += [] if context is None else [context.repeat(len(mean), 1)]
    return LatentSet(
        require_finite(torch.cat(means), "the means of q(z|x)"),
        require_finite(torch.cat(stddevs), "the standard deviations of q(z|x)"),
        torch.cat(contexts) if contexts else None,
    )


def _moments(qz: Distribution) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of posteriors, or samples and zeros, with shape (S, B, D)."""
    if is_diagonal_gaussian(qz) or isinstance(qz, PointMass):
        return qz.mean.unsqueeze(0), qz.stddev.unsqueeze(0)
    z = qz.sample(torch.Size([NUM_SAMPLES]))
    return z, torch.zeros_like(z)
