"""VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120: the prior changes and nothing else.

A multilayer perceptron of two gated hidden layers of 300 units on either side, 40 latents, pixels binarized anew whenever
they are seen, Adam at 5e-4, minibatches of 100, a KL weight that grows to 1 in the first epochs, the model of the best
validation bound, and the negative log-likelihood by 5,000 importance samples. The published numbers on these images are
those of Exemplar VAE (Norouzi, Fleet & Norouzi, 2020), https://arxiv.org/abs/2004.04795, whose code extends the
VampPrior's.
"""

from typing import Any

import torch

from vaekit.core.units import NATS
from vaekit.data import ImageSet, binarize, hold_out, load_images, sample_binary
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.likelihood.bounds import bound_values, log_likelihood_of_each
from vaekit.models import VAE
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.plots.style import count
from vaekit.reproduction.artifacts import Workshop
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.runs.recipe import Recipe, complete

PAPER = (
    "VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120; numbers of Exemplar VAE "
    "(Norouzi, Fleet & Norouzi, 2020), https://arxiv.org/abs/2004.04795"
)
PRIORS = {"standard-normal": "N(0, I)", "vamp": "VampPrior"}
PUBLISHED = {
    "mnist": {"standard-normal": 84.45, "vamp": 82.43},
    "fashion-mnist": {"standard-normal": 228.70, "vamp": 227.35},
}
"""Negative log-likelihood in nats per image; over seeds it varies by 0.05 to 0.15."""
TOLERANCE = {"mnist": 0.3, "fashion-mnist": 0.5}
GAIN_TOLERANCE = {"mnist": 0.6, "fashion-mnist": 0.6}
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
EPOCHS: dict[Tier, tuple[int, int, int | None]] = {"smoke": (1, 1, None), "cpu": (60, 15, None), "gpu": (1000, 100, 50)}
"""Epochs at most, epochs of warm-up, and epochs without a better validation bound to bear."""
COMPONENTS: dict[Tier, int] = {"smoke": 50, "cpu": 500, "gpu": 500}
EVALUATED: dict[Tier, tuple[int, int]] = {"smoke": (100, 200), "cpu": (5000, 2000), "gpu": (5000, 10_000)}
"""How many importance samples, and for how many test images."""

CHOICES = [
    "50,000 images to learn from; the 10,000 held out at random choose the model. Validation and test images are "
    "binarized once with fixed seeds.",
    "Pseudo-inputs begin at a mean of 0.05 and a standard deviation of 0.01, clipped to the unit interval.",
    "The two priors share the seed, the order of the images, the schedule and the importance samples; the gain is a mean "
    "of differences over the same test images, and known far better than the two levels.",
]


def images(data: str) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Returns training images, gray, and validation and test images, binarized once."""
    whole = load_images(data, "train", size=28, channels=1)
    train, valid = hold_out(whole, 1 / 6, seed=0, splits=("train", "validation"))
    return train, binarize(valid, seed=1), binarize(load_images(data, "test", size=28, channels=1), seed=0)


def recipe_for(data: str, prior: str, tier: Tier) -> Recipe:
    """Returns the model and its training, which differ in the prior alone."""
    epochs, warmup, patience = EPOCHS[tier]
    network = {"name": "mlp", "hidden": [300, 300], "activation": "gated"}
    priors = {"standard-normal": {"name": "standard-normal"}, "vamp": {"name": "vamp", "num_components": COMPONENTS[tier]}}
    return complete(
        {
            "name": f"{data}-{prior}",
            "reference": PAPER,
            "data": {"name": data, "binarize": "dynamic"},
            "model": {
                "latent_dim": 40,
                "encoder": network,
                "decoder": network,
                "prior": priors[prior],
                "likelihood": {"name": "bernoulli"},
            },
            "objective": {"name": "elbo", "beta": {"name": "linear", "epochs": warmup}},
            "optimizer": {"name": "adam", "lr": 5e-4},
            "training": {"epochs": epochs, "batch_size": 100, "patience": patience or epochs},
        },
        {},
    )


def compare_priors(shop: Workshop, tier: Tier, data: str) -> Outcome:
    """Trains the same model under both priors."""
    train, valid, test = images(data)
    epochs, warmup, _ = EPOCHS[tier]
    num_samples, num_images = EVALUATED[tier]
    note = "" if tier == "gpu" else f"shortened schedule, {count(epochs, 'epochs')} with {warmup} of warm-up"
    found, curves = {}, {}
    for prior in PRIORS:
        recipe = recipe_for(data, prior, tier)

        def measure(model: VAE) -> dict[str, float]:
            return bound_values(model, valid)

        model, curves[PRIORS[prior]] = shop.learn(
            prior, recipe, train, measure, at=range(1, epochs + 1), transform=sample_binary
        )

        def evaluate(folder: Any, model: VAE = model) -> list[float]:
            values: list[float] = log_likelihood_of_each(model, test.first(num_images), num_samples=num_samples).tolist()
            return values

        settings = {"recipe": recipe, "train": train.fingerprint, "test": test.fingerprint}
        settings |= {"num_samples": num_samples, "num_images": num_images}
        found[prior] = shop.piece(f"{prior}-evaluated", settings, evaluate)
    return Outcome(_rows(found, data, num_samples, note), _chart(curves, data), CHOICES, curves)


def _rows(found: dict[str, list[float]], data: str, num_samples: int, note: str) -> list[Row]:
    """Each prior's negative log-likelihood, and the gain."""
    values = {prior: torch.tensor(numbers) for prior, numbers in found.items()}
    on = f"first {len(values['vamp']):,} test images"
    rows = []
    for prior, name in PRIORS.items():
        estimate = mean_over_images(-values[prior], NATS)
        what = f"{NAMES[data]}, {name}: negative log-likelihood by IW-{num_samples}, {on}"
        published = PUBLISHED[data][prior]
        rows.append(Row(what, published, estimate.value, estimate.standard_error, TOLERANCE[data], note=note))
    gain = mean_over_images(values["vamp"] - values["standard-normal"], NATS)
    published = PUBLISHED[data]["standard-normal"] - PUBLISHED[data]["vamp"]
    what = f"{NAMES[data]}: gained by the VampPrior"
    rows.append(Row(what, published, gain.value, gain.standard_error, GAIN_TOLERANCE[data], note=note))
    rows.append(Row(f"{what}, its sign", published, gain.value, gain.standard_error, least=0.0, note=note))
    return rows


def _chart(curves: dict[str, list[dict[str, float]]], data: str) -> Any:
    drawn = [
        Curve(name, [r["epoch"] for r in records], [r["elbo"] for r in records], number)
        for number, (name, records) in enumerate(curves.items())
    ]
    best = max(record["elbo"] for records in curves.values() for record in records)
    limits = (best - 0.15 * abs(best), best + 0.01 * abs(best))
    return panels([Panel(f"{NAMES[data]}: validation ELBO while training", "epoch", "nats per image", drawn, limits)])
