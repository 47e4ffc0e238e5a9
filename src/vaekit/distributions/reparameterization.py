r"""Samples of a distribution as a function of standard normal noise.

.. math:: z = g(\epsilon), \quad \epsilon \sim \mathcal{N}(0, I) \quad \Rightarrow \quad z \sim q(z|x)

For a Gaussian, :math:`g(\epsilon) = \mu + \sigma \odot \epsilon` (the reparameterization trick). With given noise an
estimate is reproducible, the samples of an image do not depend on the other images of its batch, and two estimates can share
their noise (common random numbers). Distributions other than Gaussians provide :math:`g` as a method ``from_noise(noise)``.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
"""

from hashlib import blake2b

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vaekit.core.errors import ModelError
from vaekit.core.rng import fixed_seed


def is_diagonal_gaussian(distribution: Distribution) -> bool:
    """Returns whether a distribution is a Gaussian with independent latents."""
    return gaussian_of_each(distribution) is not None


def gaussian_of_each(distribution: Distribution) -> Normal | None:
    """Returns the Gaussian of each latent if a distribution is a Gaussian with independent latents, else None."""
    base = distribution.base_dist if isinstance(distribution, Independent) else None
    return base if isinstance(base, Normal) else None


def reparameterize(distribution: Distribution, noise: Tensor) -> Tensor:
    """Turns standard normal noise into samples of a distribution.

    Arguments:
        distribution: A distribution with batch shape (B) and event shape (D).
        noise: Standard normal noise, with shape (K, B, D).

    Returns:
        Samples of shape (K, B, D), with a pathwise gradient.

    Raises:
        ModelError: If the distribution is not a Gaussian and has no method ``from_noise``.
    """
    if gaussian := gaussian_of_each(distribution):
        return gaussian.loc + gaussian.scale * noise  # not stddev, which Independent takes from the root of a square
    if isinstance(distribution, MultivariateNormal):
        return distribution.loc + torch.einsum("...bij,...bj->...bi", distribution.scale_tril, noise)
    if hasattr(distribution, "from_noise"):
        samples: Tensor = distribution.from_noise(noise)
        return samples
    raise ModelError(
        f"{type(distribution).__name__}: no reparameterization of standard normal noise; add a method from_noise(noise)"
    )


def sample_from_noise(distribution: Distribution, noise: Tensor) -> Tensor:
    """Samples any distribution reproducibly: reparameterized noise if possible, else seeded by a hash of the noise.

    In the second case the samples of an image depend on the batch that contains it.

    Arguments:
        distribution: A distribution with batch shape (B) and event shape (D).
        noise: Standard normal noise, with shape (K, B, D).

    Returns:
        Samples of shape (K, B, D), with a pathwise gradient if they are reparameterized.
    """
    try:
        return reparameterize(distribution, noise)
    except ModelError:
        digest = blake2b(noise.detach().cpu().numpy().tobytes(), digest_size=7).digest()
        with fixed_seed(int.from_bytes(digest, "little")):
            return distribution.sample(noise.shape[:1])
