"""A VAE of tabular data: 20 columns of scikit-learn's breast-cancer set, 569 rows, with a Gaussian of each column.

python examples/tabular.py
"""

from pathlib import Path

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import vaekit
from vaekit.distributions import LIKELIHOODS, DiagonalGaussian, Likelihood, StandardNormal
from vaekit.networks import MLPDecoder, MLPEncoder

COLUMNS, LATENTS = 20, 4


@LIKELIHOODS.register("gaussian-columns")
class GaussianColumns(Likelihood):
    """p(x|z) = N(x; mu(z), diag s^2), with a learned standard deviation of each column."""

    measure = "density"
    support = "real line"
    event_dim = 1

    def __init__(self, columns: int = COLUMNS) -> None:
        super().__init__()
        self.columns = columns
        self.log_stddev = nn.Parameter(torch.zeros(columns))

    def num_maps(self, channels: int) -> int:
        return channels

    def target(self, x: Tensor) -> Tensor:
        return x

    encoder_input = target

    def forward(self, parameters: Tensor) -> Distribution:
        return Independent(Normal(parameters, self.log_stddev.exp().expand_as(parameters)), 1)


def main(out: Path = Path("runs/tabular"), epochs: int = 100) -> vaekit.RunFolder:
    values, labels = load_breast_cancer(return_X_y=True)
    table = torch.tensor(values[:, :COLUMNS], dtype=torch.float32)
    data = vaekit.TensorSet((table - table.mean(0)) / table.std(0), torch.tensor(labels), name="breast-cancer")
    encoder, decoder = MLPEncoder((COLUMNS,), hidden=[64]), MLPDecoder(LATENTS, (COLUMNS,), hidden=[64])
    vae = vaekit.VAE(encoder, DiagonalGaussian(64, LATENTS), StandardNormal(LATENTS), decoder, GaussianColumns())
    return vaekit.train(vae, data, out=out, epochs=epochs, force=True)


if __name__ == "__main__":
    main()
