"""Figures 4 and 5 of Auto-Encoding Variational Bayes: manifolds of two latents, and samples with 2 to 20 latents.

The figures are for visual comparison. The table reports the test bounds of the models.
"""

from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.models import VAE
from vaekit.plots import grid, in_a_row
from vaekit.presentation.gallery import Gallery
from vaekit.reproduction.aevb import DATA_NAMES, Experiment, list_choices, load_train_test, published_curves, train_model
from vaekit.reproduction.aevb_bounds import bound_row
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.protocol import Outcome, Row, Tier

MANIFOLD_SIZE = 20
"""The number of images along each side of a manifold."""
NUM_SAMPLES = 100
MANIFOLDS: dict[Tier, list[Experiment]] = {
    "smoke": [Experiment("frey", 2, "aevb", 1e5)],
    "cpu": [Experiment("mnist", 2, "aevb", 3e6), Experiment("frey", 2, "aevb", 1e7)],
    "gpu": [Experiment("mnist", 2, "aevb", 1e8), Experiment("frey", 2, "aevb", 1e8)],
}
SAMPLES: dict[Tier, list[Experiment]] = {
    "smoke": [Experiment("mnist", 5, "aevb", 1e5)],
    "cpu": [Experiment("mnist", latent_dim, "aevb", 3e6) for latent_dim in (2, 5, 10, 20)],
    "gpu": [Experiment("mnist", latent_dim, "aevb", 1e8) for latent_dim in (2, 5, 10, 20)],
}
MANIFOLD_CHOICES = [
    "The square of latents is decoded at the quantiles 0.025 to 0.975 of a standard normal. Images are means of p(x|z).",
]
SAMPLE_CHOICES = ["Samples are means of p(x|z) with z sampled from the prior."]


def figure_4(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Plots the manifolds of MNIST and Frey Face."""
    rows, images = [], {}
    for experiment in MANIFOLDS[tier]:
        model, row, test = _train(cache, experiment)
        rows.append(row)
        plane = Gallery(model, test).plane(MANIFOLD_SIZE).images.flip(0)
        images[DATA_NAMES[experiment.data]] = grid(plane.flatten(0, 1), MANIFOLD_SIZE)
    choices = list_choices([experiment.data for experiment in MANIFOLDS[tier]]) + MANIFOLD_CHOICES
    return Outcome(rows, in_a_row([*images.values()], [*images]), choices)


def figure_5(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Plots samples of MNIST from models with 2, 5, 10 and 20 latents."""
    rows, images = [], {}
    for experiment in SAMPLES[tier]:
        model, row, _ = _train(cache, experiment)
        rows.append(row)
        with fixed_seed(0):
            images[f"{experiment.latent_dim} latents"] = grid(model.sample(NUM_SAMPLES), 10)
    return Outcome(rows, in_a_row([*images.values()], [*images]), list_choices(["mnist"]) + SAMPLE_CHOICES)


def _train(cache: ArtifactCache, experiment: Experiment) -> tuple[VAE, Row, ImageSet]:
    """Returns a model, its test bound and its test images; the artifacts are shared with Figure 2."""
    train, test = load_train_test(experiment.data)
    model, records = train_model(cache.of_reproduction("aevb-fig2"), experiment, train, test)
    return model, bound_row(experiment, records[-1], published_curves()["fig2"]), test
