"""VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120: the gain over a standard normal prior.

Encoder and decoder have two gated hidden layers of 300 units, and there are 40 latents. Pixels are binarized anew each time
an image is used. The optimizer is Adam with a learning rate of 5e-4, the minibatch size is 100, and the KL weight increases
to 1 in the first epochs. The model with the best validation bound is evaluated, by 5,000 importance samples. The published
numbers on these images are from Exemplar VAE (Norouzi, Fleet & Norouzi, 2020), https://arxiv.org/abs/2004.04795, whose code
extends that of the VampPrior.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from vaekit.core.units import NATS
from vaekit.data import ImageSet, binarize, hold_out, load_images, sample_binary
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.likelihood.bounds import bound_values, log_likelihood_of_each
from vaekit.models import VAE
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.plots.style import count
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.measured_training import MeasuredTraining
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.runs.recipe import Recipe, complete

PAPER = (
    "VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120; numbers of Exemplar VAE "
    "(Norouzi, Fleet & Norouzi, 2020), https://arxiv.org/abs/2004.04795"
)
PRIOR_NAMES = {"standard-normal": "N(0, I)", "vamp": "VampPrior"}
PUBLISHED = {
    "mnist": {"standard-normal": 84.45, "vamp": 82.43},
    "fashion-mnist": {"standard-normal": 228.70, "vamp": 227.35},
}
"""The negative log-likelihood in nats per image; its standard deviation over seeds is 0.05 to 0.15."""
NLL_TOLERANCE = {"mnist": 0.3, "fashion-mnist": 0.5}
GAIN_TOLERANCE = {"mnist": 0.6, "fashion-mnist": 0.6}
DATA_NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
EPOCHS: dict[Tier, tuple[int, int, int | None]] = {"smoke": (1, 1, None), "cpu": (60, 15, None), "gpu": (1000, 100, 50)}
"""The maximum number of epochs, the epochs of warm-up, and the patience in epochs."""
NUM_COMPONENTS: dict[Tier, int] = {"smoke": 50, "cpu": 500, "gpu": 500}
EVALUATION: dict[Tier, tuple[int, int]] = {"smoke": (100, 200), "cpu": (5000, 2000), "gpu": (5000, 10_000)}
"""The number of importance samples per image, and the number of test images."""

CHOICES = [
    "Training uses 50,000 images. The other 10,000, held out at random, choose the model. Validation and test images are "
    "binarized once, with fixed seeds.",
    "Pseudo-inputs are initialized with a mean of 0.05 and a standard deviation of 0.01, clipped to [0, 1].",
    "Both priors use the same seed, order of images, schedule and importance samples. The gain is a mean of differences "
    "over the same test images, so it is known more precisely than the two likelihoods.",
]


def load_splits(data: str) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Returns training images, with gray pixels, and validation and test images, binarized once."""
    images = load_images(data, "train", size=28, channels=1)
    train, valid = hold_out(images, 1 / 6, seed=0, splits=("train", "validation"))
    return train, binarize(valid, seed=1), binarize(load_images(data, "test", size=28, channels=1), seed=0)


def make_recipe(data: str, prior: str, tier: Tier) -> Recipe:
    """Returns the model and its training; recipes of two priors differ in the prior alone."""
    epochs, warmup, patience = EPOCHS[tier]
    network = {"name": "mlp", "hidden": [300, 300], "activation": "gated"}
    vamp = {"name": "vamp", "num_components": NUM_COMPONENTS[tier]}
    priors = {"standard-normal": {"name": "standard-normal"}, "vamp": vamp}
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


def compare_priors(cache: ArtifactCache, tier: Tier, data: str) -> Outcome:
    """Trains and evaluates the same model with both priors."""
    train, valid, test = load_splits(data)
    epochs, warmup, _ = EPOCHS[tier]
    num_samples, num_images = EVALUATION[tier]
    note = "" if tier == "gpu" else f"shortened schedule, {count(epochs, 'epochs')} with {warmup} of warm-up"
    log_px, curves = {}, {}
    for prior, prior_name in PRIOR_NAMES.items():
        recipe = make_recipe(data, prior, tier)
        measure = partial(bound_values, images=valid)
        training = MeasuredTraining(recipe, train, measure, epochs=range(1, epochs + 1), transform=sample_binary)
        model, curves[prior_name] = cache.train(prior, training)

        def evaluate(folder: Path, model: VAE = model) -> list[float]:
            values: list[float] = log_likelihood_of_each(model, test.first(num_images), num_samples=num_samples).tolist()
            return values

        settings = {"recipe": recipe, "train": train.fingerprint, "test": test.fingerprint}
        settings |= {"num_samples": num_samples, "num_images": num_images}
        log_px[prior] = cache.get_or_create(f"{prior}-evaluation", settings, evaluate)
    return Outcome(_rows(log_px, data, num_samples, note), plot_bounds(curves, data), CHOICES, curves)


def _rows(log_px: dict[str, list[float]], data: str, num_samples: int, note: str) -> list[Row]:
    """Returns the negative log-likelihood with each prior, and the gain."""
    values = {prior: torch.tensor(numbers) for prior, numbers in log_px.items()}
    rows = []
    for prior, prior_name in PRIOR_NAMES.items():
        nll = mean_over_images(-values[prior], NATS)
        model = f"{DATA_NAMES[data]}, {prior_name}"
        quantity = f"{model}: negative log-likelihood by IW-{num_samples}, first {len(values[prior]):,} test images"
        rows.append(Row(quantity, PUBLISHED[data][prior], nll.value, nll.standard_error, NLL_TOLERANCE[data], note=note))
    gain = mean_over_images(values["vamp"] - values["standard-normal"], NATS)
    published = PUBLISHED[data]["standard-normal"] - PUBLISHED[data]["vamp"]
    quantity = f"{DATA_NAMES[data]}: gain of the VampPrior"
    rows.append(Row(quantity, published, gain.value, gain.standard_error, GAIN_TOLERANCE[data], note=note))
    rows.append(Row(f"{quantity} is positive", published, gain.value, gain.standard_error, minimum=0.0, note=note))
    return rows


def plot_bounds(curves: dict[str, list[dict[str, Any]]], data: str) -> Figure:
    """Plots the validation ELBO during training with each prior."""
    lines = [
        Curve(name, [r["epoch"] for r in records], [r["elbo"] for r in records], number)
        for number, (name, records) in enumerate(curves.items())
    ]
    best = max(record["elbo"] for records in curves.values() for record in records)
    limits = (best - 0.15 * abs(best), best + 0.01 * abs(best))
    title = f"{DATA_NAMES[data]}: validation ELBO during training"
    return panels([Panel(title, "epoch", "nats per image", lines, limits)])
