"""A Laplace likelihood: log p(x|z) = -|x - mu| / b - log 2b, summed over pixels, with one learned scale b.

python examples/laplace_likelihood.py
vae train digits --plugin examples/laplace_likelihood.py --set model.likelihood.name=trained-laplace
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace

import vaekit
from vaekit.distributions import LIKELIHOODS, Likelihood


@LIKELIHOODS.register("trained-laplace")
class LaplaceLikelihood(Likelihood):
    measure = "density"
    support = "real line"

    def __init__(self, initial_scale: float = 0.25) -> None:
        super().__init__()
        self.initial_scale = initial_scale
        self.log_scale = nn.Parameter(torch.tensor(initial_scale).log())

    def num_maps(self, channels: int) -> int:
        return channels

    def forward(self, parameters: Tensor) -> Distribution:
        mean = parameters.sigmoid()
        return Independent(Laplace(mean, self.log_scale.exp().expand_as(mean), validate_args=False), 3, validate_args=False)


def main(out: Path = Path("runs/laplace"), epochs: int = 50) -> vaekit.RunFolder:
    return vaekit.train("digits", out=out, epochs=epochs, force=True, **{"model.likelihood": {"name": "trained-laplace"}})


if __name__ == "__main__":
    main()
