"""A distribution that can be sampled and has no density."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit.core.errors import NoDensityError
from vaekit.core.rng import generator

Draw = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps two independent tensors of standard normal noise, each of shape (M, D), and the positions in the batch that their
rows belong to, of shape (M), to samples of shape (M, D)."""


class Sampler(Distribution):
    """Samples that are made of standard normal noise by a function; mean and standard deviation are given.

    Arguments:
        name: The name of the prior, for messages.
        batch_size: B. The batch shape is (B).
        loc: The mean of the aggregate posterior, with shape (D).
        scale: Its standard deviations, with shape (D).
        draw: The function from noise to samples.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, name: str, batch_size: int, loc: Tensor, scale: Tensor, draw: Draw) -> None:
        self.name = name
        self.loc = loc
        self.scale = scale
        self.draw = draw
        super().__init__(torch.Size([batch_size]), loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean of the aggregate posterior that the prior was fitted to, with shape (B, D)."""
        return self.loc.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each latent under that aggregate posterior, with shape (B, D)."""
        return (self.scale**2).expand(self._extended_shape())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples latents of shape (*sample_shape, B, D), without a gradient."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(2, *shape, dtype=self.loc.dtype).to(self.loc.device)
        return self._of(noise[0], noise[1])

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, B, D) into samples of the same shape.

        Each sample is a function of its own noise alone; further noise is seeded by a hash of it.
        """
        rows = noise.detach().cpu().reshape(-1, noise.shape[-1]).contiguous()
        seeds = (int.from_bytes(blake2b(row.tobytes(), digest_size=7).digest(), "little") for row in rows.numpy())
        more = torch.stack([torch.randn(rows.shape[1], generator=generator(seed)) for seed in seeds])
        return self._of(noise, more.to(noise).reshape(noise.shape))

    def log_prob(self, value: Tensor) -> NoReturn:
        """Raises NoDensityError."""
        raise NoDensityError(
            f"prior {self.name}: it has no density, it can only be sampled, so there is no ELBO and no log p(x); "
            "fit one with a density: vae prior RUN --name flow"
        )

    def _of(self, noise: Tensor, more: Tensor) -> Tensor:
        positions = torch.arange(self.batch_shape[0], device=noise.device).expand(noise.shape[:-1]).flatten()
        with torch.no_grad(), torch.autocast(noise.device.type, enabled=False):
            return self.draw(noise.flatten(0, -2), more.flatten(0, -2), positions).reshape(noise.shape)
