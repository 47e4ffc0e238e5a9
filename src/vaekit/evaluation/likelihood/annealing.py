r"""log p(x) by annealed importance sampling (AIS), and a bracket around it by bidirectional Monte Carlo.

A path of unnormalized densities leads from a start :math:`q_0(z)`, the prior or the posterior q(z|x), to :math:`p(x, z)`:

.. math:: f_t(z) = q_0(z)^{1 - \beta_t} \, p(x, z)^{\beta_t}, \qquad 0 = \beta_0 < \dots < \beta_T = 1.

A chain starts at :math:`z_0 \sim q_0` and moves by Hamiltonian Monte Carlo transitions that leave :math:`f_t` invariant. Its
weight

.. math:: \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \bigl(\log p(x, z_{t-1}) - \log q_0(z_{t-1})\bigr)

satisfies :math:`\mathbb{E}\,w = p(x)`. So :math:`\log \frac1S \sum_s w_s` over S chains is, in expectation, a lower bound of
log p(x). A reverse chain starts at an exact sample of :math:`p(z|x)` and runs from T to 0. The same product then satisfies
:math:`\mathbb{E}\,w^{-1} = 1 / p(x)` and gives an upper bound. Exact posterior samples are known for images that are sampled
from the model. For these images the difference of the two bounds limits the error of both (**bidirectional Monte Carlo**).

The :math:`\beta_t` follow a sigmoid, with small steps at both ends. Step sizes are relative to the standard deviations of
q(z|x) and of the start. They are adapted to an acceptance rate on the first images of a set, with separate noise, and then
fixed for each t, so that every transition leaves its density invariant.

References:
    | Annealed importance sampling (Neal, 2001), https://arxiv.org/abs/physics/9803008
    | On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017), https://arxiv.org/abs/1611.04273
    | Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse et al., 2015), https://arxiv.org/abs/1511.02543
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.progress import track
from vaekit.core.rng import fixed_seed
from vaekit.core.units import NATS
from vaekit.data import Dataset
from vaekit.evaluation.estimate import Estimate, Metric, batches, mean_over_images
from vaekit.evaluation.likelihood.annealed_chains import (
    Annealing,
    adapted_step_sizes,
    backward_weights,
    forward_weights,
    path_of,
)
from vaekit.evaluation.likelihood.bounds import space_of, with_noise
from vaekit.evaluation.noise import Noise
from vaekit.models import Model

__all__ = [
    "METRICS",
    "NUM_ADAPTATION_IMAGES",
    "Annealing",
    "Bracket",
    "annealed_log_likelihood",
    "annealed_of_each",
    "bracket",
]

NUM_ADAPTATION_IMAGES = 20
"""The number of images, the first ones, on which the step sizes are adapted."""
METRICS = (
    Metric(
        "annealed",
        "log p(x), AIS",
        "log p(x) by annealed importance sampling: the importance-weighted bound plus the mean difference to it.",
        NATS,
        2,
        True,
        "chains",
    ),
    Metric(
        "annealed_gap",
        "AIS − IW",
        "The AIS estimate minus the importance-weighted bound, over the same images.",
        NATS,
        2,
        None,
        "chains",
    ),
    Metric(
        "bracket_gap",
        "AIS bracket",
        "An upper limit of the error of AIS, on images that are sampled from the model.",
        NATS,
        2,
        None,
        "chains",
    ),
)


def annealed_log_likelihood(model: Model, data: Dataset, annealing: Annealing | None = None, *, seed: int = 0) -> Estimate:
    """Estimates log p(x) by annealed importance sampling, from below in expectation.

    Arguments:
        model: The model.
        data: The data set.
        annealing: The settings; by default those of :class:`Annealing`.
        seed: The seed of the chains. Each image has its own random numbers.

    Returns:
        The mean over images, in nats; ``num_samples`` is the number of chains, ``steps`` the number of distributions.
    """
    annealing = annealing or Annealing()
    return _mean(annealed_of_each(model, data, annealing, seed=seed), annealing, space_of(model, data))


def annealed_of_each(model: Model, data: Dataset, annealing: Annealing, *, seed: int = 0) -> Tensor:
    """Returns the estimate of log p(x) for each image, in nats, with shape (N)."""
    with model.inference():
        xs, ys = zip(*batches(model, data.first(NUM_ADAPTATION_IMAGES)), strict=True)
        steps = _adapted_steps(model, torch.cat(xs), None if ys[0] is None else torch.cat(ys), annealing, seed)
        values = []
        description = f"annealing {len(data):,} images"
        for x, labels, noise in with_noise(model, data, seed, description, _batch_size(model, annealing)):
            log_weights = forward_weights(path_of(model, x, labels, annealing), annealing, steps, noise)
            values.append(log_weights.logsumexp(0) - math.log(annealing.num_chains))
    return torch.cat(values).cpu()


@dataclass(frozen=True)
class Bracket:
    """The two bounds of bidirectional Monte Carlo.

    Arguments:
        lower: The mean over images of annealed importance sampling.
        upper: The mean over images of its reverse.
        gap: Their difference, an upper limit of the error of both.
    """

    lower: Estimate
    upper: Estimate
    gap: Estimate

    def to_data(self) -> dict[str, Any]:
        """Returns the two bounds as a dictionary for JSON."""
        return {"lower": self.lower.to_data(), "upper": self.upper.to_data()}


def bracket(
    model: Model, num: int, annealing: Annealing | None = None, *, labels: Tensor | None = None, seed: int = 0
) -> Bracket:
    """Brackets log p(x) of images that are sampled from the model.

    Arguments:
        model: The model.
        num: The number of images.
        annealing: The settings; by default those of :class:`Annealing`.
        labels: The classes of the images, with shape (num), if the model is conditional.
        seed: The seed of images and chains.
    """
    annealing = annealing or Annealing()
    with model.inference(), fixed_seed(seed):
        z, x = model.sample_joint(num, labels)
        first = slice(NUM_ADAPTATION_IMAGES)
        steps = _adapted_steps(model, x[first], None if labels is None else labels[first], annealing, seed)
        lows, highs = [], []
        chunks = torch.arange(num).split(_batch_size(model, annealing))
        for chunk in track(chunks, f"annealing {num:,} images in both directions"):
            path = path_of(model, x[chunk], None if labels is None else labels[chunk], annealing)
            noise = _noise(model, seed, chunk.tolist())
            lows.append(forward_weights(path, annealing, steps, noise).logsumexp(0) - math.log(annealing.num_chains))
            exact = z[chunk].expand(annealing.num_chains, -1, -1)
            highs.append(
                math.log(annealing.num_chains) - (-backward_weights(path, annealing, steps, exact, noise)).logsumexp(0)
            )
    low, high, space = torch.cat(lows), torch.cat(highs), "images drawn by the model"
    return Bracket(*(_mean(values, annealing, space) for values in (low, high, high - low)))


def _mean(values: Tensor, annealing: Annealing, space: str) -> Estimate:
    return mean_over_images(values, NATS, annealing.num_chains, space, annealing.num_distributions)


def _noise(model: Model, seed: int, positions: list[int]) -> Noise:
    return Noise(seed, positions, model.latent_dim, model.device)


def _batch_size(model: Model, annealing: Annealing) -> int:
    """The number of images that are annealed at a time."""
    return max(1, model.chunk_size // annealing.num_chains)


def _adapted_steps(model: Model, x: Tensor, labels: Tensor | None, annealing: Annealing, seed: int) -> Tensor:
    """The step sizes for t = 0 to T, with shape (T + 1), adapted on images x.

    Their noise has negative positions, so it is independent of the noise of the chains that use the steps.
    """
    chunks = torch.arange(len(x)).split(_batch_size(model, annealing))
    return adapted_step_sizes(
        [
            (
                path_of(model, x[chunk], None if labels is None else labels[chunk], annealing),
                _noise(model, seed, (chunk - len(x)).tolist()),
            )
            for chunk in chunks
        ],
        annealing,
    )
