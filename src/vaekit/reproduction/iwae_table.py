r"""Importance Weighted Autoencoders (Burda, Grosse & Salakhutdinov, 2015), https://arxiv.org/abs/1509.00519: Table 1.

The model has one stochastic layer of 50 latents and two hidden layers of 200 tanh units in the encoder and in the decoder.
Pixels are binarized anew each time an image is used, and the minibatch size is 20. The optimizer is Adam with
:math:`\epsilon = 10^{-4}`. Training has eight stages, :math:`i = 0, \dots, 7`, of :math:`3^i` epochs with a learning rate of
:math:`10^{-i/7} \cdot 10^{-3}`. The negative log-likelihood is estimated on the test set by 5,000 importance samples.
"""

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaekit.core.units import NATS
from vaekit.data import ImageSet, binarize, hold_out, load_images, sample_binary
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.latents.encodings import active_units
from vaekit.evaluation.likelihood.bounds import bound_values, log_likelihood_of_each
from vaekit.models import VAE, Model
from vaekit.networks import MLPDecoder
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.measured_training import MeasuredTraining
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.runs.recipe import Recipe, complete

PAPER = "Importance Weighted Autoencoders (Burda, Grosse & Salakhutdinov, 2015), https://arxiv.org/abs/1509.00519"
TABLE_1 = {1: (86.76, 19), 5: (85.54, 22), 50: (84.78, 25)}
"""The published negative log-likelihood and number of active units with one stochastic layer, by k."""
NLL_TOLERANCE, UNITS_TOLERANCE = 0.3, 2
NUM_VALIDATION = 400
PUBLISHED_EPOCHS = 3280
"""The number of epochs of the published schedule: 3^0 + ... + 3^7."""
EPOCHS: dict[Tier, int] = {"smoke": 1, "cpu": 40, "gpu": PUBLISHED_EPOCHS}
KS: dict[Tier, tuple[int, ...]] = {"smoke": (5,), "cpu": (1, 5, 50), "gpu": (1, 5, 50)}
EVALUATION: dict[Tier, tuple[int, int]] = {"smoke": (100, 200), "cpu": (5000, 10_000), "gpu": (5000, 10_000)}
"""The number of importance samples per image, and the number of test images."""
BATCH_SIZE = 20
MIN_MEAN = 0.001
"""The minimum distance of the initial pixel means from 0 and from 1."""

CHOICES = [
    "Training uses 59,600 images. As in the paper, 400 of the 60,000 are held out at random; they are not used.",
    "The test set is binarized once, with a fixed seed.",
    "Adam's epsilon is 1e-4 for gradients summed over the minibatch, as in the released code, that is 5e-6 for mean "
    "gradients. The released code also initializes the second moments to one and uses a first decay rate of 0.99, which "
    "acts as a warm-up. This is not reproduced.",
    "A unit is active if the variance of its posterior mean over the test set exceeds 0.01.",
]


def schedule_note(tier: Tier) -> str:
    """Returns how a tier's schedule differs from the published one."""
    epochs = EPOCHS[tier]
    return "" if epochs == PUBLISHED_EPOCHS else f"shortened schedule, the first {epochs} of {PUBLISHED_EPOCHS:,} epochs"


def load_train_test() -> tuple[ImageSet, ImageSet]:
    """Returns the training images, with gray pixels, and the test images, binarized once."""
    images = load_images("mnist", "train", size=28, channels=1)
    train, _ = hold_out(images, NUM_VALIDATION / len(images), seed=0, splits=("train", "validation"))
    return train, binarize(load_images("mnist", "test", size=28, channels=1), seed=0)


def make_recipe(k: int, epochs: int) -> Recipe:
    """Returns the paper's model and training."""
    network = {"name": "mlp", "hidden": [200, 200], "activation": "tanh"}
    return complete(
        {
            "name": f"iwae-{k}",
            "reference": PAPER,
            "data": {"name": "mnist", "binarize": "dynamic"},
            "model": {"latent_dim": 50, "encoder": network, "decoder": network, "likelihood": {"name": "bernoulli"}},
            "objective": {"name": "iwae", "num_samples": k},
            "optimizer": {"name": "adam", "lr": 1e-3, "eps": 1e-4 / BATCH_SIZE},
            "scheduler": {"name": "stages"},
            "training": {"epochs": epochs, "batch_size": BATCH_SIZE},
        },
        {},
    )


def initialize(model: Model, train: ImageSet) -> None:
    """Initializes weights by Glorot's uniform distribution, biases to zero, and the decoder's output to the mean image."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    chunks = torch.arange(len(train)).split(10_000)
    mean = torch.stack([train.gather(chunk).float().sum(0) for chunk in chunks]).sum(0) / (255 * len(train))
    assert isinstance(model, VAE)
    assert isinstance(model.decoder, MLPDecoder)
    with torch.no_grad():
        model.decoder.output.bias.copy_(mean.clamp(MIN_MEAN, 1 - MIN_MEAN).logit().flatten())


def train_model(
    cache: ArtifactCache, k: int, tier: Tier, train: ImageSet, test: ImageSet
) -> tuple[VAE, list[dict[str, Any]]]:
    """Trains a model with k samples. Returns it with its test bounds during training."""
    epochs = EPOCHS[tier]
    training = MeasuredTraining(
        make_recipe(k, epochs),
        train,
        partial(bound_values, images=test),
        epochs=sorted({max(1, round(epochs * i / 20)) for i in range(1, 21)}),
        transform=sample_binary,
        initialize=partial(initialize, train=train),
    )
    return cache.train(f"k-{k}", training)


def evaluation_settings(k: int, tier: Tier, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """Returns what every evaluation of a model depends on: its training and the images."""
    return {"recipe": make_recipe(k, EPOCHS[tier]), "train": train.fingerprint, "test": test.fingerprint}


def table_1(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Trains with 1, 5 and 50 samples, and measures the negative log-likelihood and the active units."""
    train, test = load_train_test()
    num_samples, num_images = EVALUATION[tier]
    rows, curves, log_px = [], {}, {}
    for k in KS[tier]:
        model, curves[f"k={k}"] = train_model(cache, k, tier, train, test)

        def evaluate(folder: Path, model: VAE = model) -> dict[str, Any]:
            values = log_likelihood_of_each(model, test.first(num_images), num_samples=num_samples)
            return {"log_px": values.tolist(), "active": active_units(model, test).value}

        settings = evaluation_settings(k, tier, train, test) | {"num_samples": num_samples, "num_images": num_images}
        numbers = cache.get_or_create(f"k-{k}-evaluation", settings, evaluate)
        log_px[k] = torch.tensor(numbers["log_px"])
        estimate = mean_over_images(log_px[k], NATS)
        (nll, active), note, model_name = TABLE_1[k], schedule_note(tier), f"1 layer, k = {k}"
        quantity = f"{model_name}: negative log-likelihood by IW-{num_samples}, {num_images:,} test images"
        rows.append(Row(quantity, nll, -estimate.value, estimate.standard_error, NLL_TOLERANCE, note=note))
        quantity = f"{model_name}: active units"
        rows.append(Row(quantity, active, numbers["active"], None, UNITS_TOLERANCE, unit="of 50", note=note))
    for fewer, more in pairwise(KS[tier]):
        gain = mean_over_images(log_px[more] - log_px[fewer], NATS)
        quantity, published = f"1 layer: gain from k = {fewer} to k = {more}", TABLE_1[fewer][0] - TABLE_1[more][0]
        rows.append(Row(quantity, published, gain.value, gain.standard_error, minimum=0.0, note=schedule_note(tier)))
    return Outcome(rows, panels([bound_panel(curves)]), CHOICES, curves)


def bound_panel(curves: dict[str, list[dict[str, Any]]]) -> Panel:
    """Returns the test ELBO during training, by the number of samples."""
    lines = [
        Curve(name, [r["epoch"] for r in records], [r["elbo"] for r in records], number)
        for number, (name, records) in enumerate(curves.items())
    ]
    return Panel("test ELBO during training with k samples", "epoch", "nats per image", lines)
