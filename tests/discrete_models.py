"""Discrete models whose latents can all be listed, for tests."""

from itertools import product

import torch
from torch import Tensor

from tests.oracles import Flatten, LinearDecoder, LinearNormal
from vaekit.distributions import (
    CodePrior,
    FiniteScalarQuantizer,
    Quantizer,
    ResidualQuantizer,
    TransformerPrior,
    UniformCodes,
    VectorQuantizer,
)
from vaekit.models import VAE, ClassLabel

SHAPE = (1, 2, 3)
NUM_PIXELS = 6


def linear_vq(prior: CodePrior | None = None, scale: float = 0.3, noise: float = 0.0) -> VAE:
    """Two positions of three codes, and a linear-Gaussian decoder: nine latents, in evaluation mode.

    Arguments:
        prior: The prior; by default the uniform one.
        scale: The standard deviation of a pixel.
        noise: How far the codes are moved from each other.
    """
    torch.manual_seed(0)
    posterior = VectorQuantizer(NUM_PIXELS, 4, codes=3, positions=2)
    posterior.codebooks[0].vectors.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]) * (1 + noise))
    decoder = LinearDecoder(SHAPE, torch.randn(NUM_PIXELS, 4), torch.randn(NUM_PIXELS))
    return VAE(Flatten(SHAPE), posterior, prior or UniformCodes(4), decoder, LinearNormal(scale)).eval()


def all_indices(model: VAE) -> Tensor:
    """Every sequence of indices of a model, with shape (K^T, T)."""
    assert isinstance(model.prior, CodePrior)
    return torch.tensor(list(product(range(model.prior.num_codes), repeat=model.prior.length)))


def log_evidence(model: VAE, x: Tensor, labels: Tensor | None = None) -> Tensor:
    """The exact log p(x), by the sum over all latents, in nats, with shape (B)."""
    assert isinstance(model.posterior, Quantizer)
    z = model.posterior.embed(all_indices(model)).unsqueeze(1).expand(-1, len(x), -1)
    log_pz, log_px = model.log_joint(x, labels)(z)
    return (log_pz + log_px).logsumexp(0)


def perturbed_transformer(latent_dim: int, context_dim: int = 0, **options: object) -> TransformerPrior:
    """A small transformer whose weights differ from those at initialization once a model has given it its codes."""
    return _Perturbed(latent_dim, context_dim, width=8, num_blocks=2, num_heads=2, dropout=0.0)


class _Perturbed(TransformerPrior):
    def make_layers(self) -> None:
        super().make_layers()
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter += 0.5 * torch.randn(parameter.shape, generator=generator)


def quantizers(context: int = 0) -> list[Quantizer]:
    """One quantizer of each kind, of vectors and of maps."""
    return [
        VectorQuantizer(5, 6, codes=4, positions=3),
        VectorQuantizer((5, 2, 3), 12, codes=4),
        ResidualQuantizer(5, 12, codes=4, quantizers=2, positions=3),
        ResidualQuantizer((5, 2, 1), 12, codes=3, quantizers=3),
        FiniteScalarQuantizer(5, 4, levels=[5, 4], positions=2),
        FiniteScalarQuantizer((5, 1, 2), 6, levels=[3, 2, 5]),
    ]


def conditional_vq() -> VAE:
    """A class-conditional model of three classes whose prior is a transformer."""
    condition = ClassLabel(["a", "b", "c"])
    prior = perturbed_transformer(4, condition.context_dim)
    base = linear_vq()
    for part in (base.encoder, base.decoder):
        part.context_dim = condition.context_dim
    return VAE(base.encoder, base.posterior, prior, base.decoder, base.likelihood, condition).eval()
