"""Figures 4 and 5 of Auto-Encoding Variational Bayes: manifolds of two latents, and samples of models of 2 to 20.

They are images to be looked at; the table beside them says how good the models are that drew them.
"""

from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.models import VAE
from vaekit.plots import grid, in_a_row
from vaekit.presentation.gallery import Gallery
from vaekit.reproduction.aevb import IMAGE_NAMES, bound_row, choices_of, figures, images_of, trained
from vaekit.reproduction.artifacts import Workshop
from vaekit.reproduction.protocol import Outcome, Row, Tier

SIDE = 20
"""How many images along each side of a manifold."""
NUM_SAMPLES = 100
MANIFOLDS: dict[Tier, dict[str, float]] = {
    "smoke": {"frey": 1e5},
    "cpu": {"mnist": 3e6, "frey": 1e7},
    "gpu": {"mnist": 1e8, "frey": 1e8},
}
SAMPLES: dict[Tier, dict[int, float]] = {
    "smoke": {5: 1e5},
    "cpu": dict.fromkeys((2, 5, 10, 20), 3e6),
    "gpu": dict.fromkeys((2, 5, 10, 20), 1e8),
}
"""How many images each model has seen, by data and by latents."""


def figure_4(shop: Workshop, tier: Tier) -> Outcome:
    """Draws the manifolds of Frey Face and of MNIST."""
    rows, drawn = [], {}
    for data, samples in MANIFOLDS[tier].items():
        model, row, test = _model(shop, data, 2, samples)
        rows.append(row)
        plane = Gallery(model, test).plane(SIDE).images.flip(0)
        drawn[IMAGE_NAMES[data]] = grid(plane.flatten(0, 1), SIDE)
    choices = [
        *choices_of([*MANIFOLDS[tier]]),
        "The latent square is decoded at the quantiles 0.025 to 0.975 of a Gaussian; images are means of p(x|z).",
    ]
    return Outcome(rows, in_a_row([*drawn.values()], [*drawn]), choices)


def figure_5(shop: Workshop, tier: Tier) -> Outcome:
    """Draws samples of MNIST from models of 2, 5, 10 and 20 latents."""
    rows, drawn = [], {}
    for latents, samples in SAMPLES[tier].items():
        model, row, _ = _model(shop, "mnist", latents, samples)
        rows.append(row)
        with fixed_seed(0):
            drawn[f"{latents} latents"] = grid(model.sample(NUM_SAMPLES), 10)
    choices = [*choices_of(["mnist"]), "Samples are means of p(x|z) at latents drawn from the prior."]
    return Outcome(rows, in_a_row([*drawn.values()], [*drawn]), choices)


def _model(shop: Workshop, data: str, latents: int, samples: float) -> tuple[VAE, Row, ImageSet]:
    """A model, trained for Figure 2 where that has it, with its bound and its test images."""
    train, test = images_of(data)
    model, records = trained(shop.beside("aevb-fig2"), data, latents, "aevb", samples, train, test)
    return model, bound_row(data, latents, "aevb", records[-1], figures()["fig2"]), test
