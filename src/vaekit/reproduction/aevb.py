r"""Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114: the setup of all experiments.

Encoder and decoder are multilayer perceptrons with one hidden layer of tanh units: 500 for MNIST, 200 for Frey Face, 100 for
the marginal likelihoods. The decoder is a Bernoulli for MNIST. For Frey Face it is a Gaussian with a sigmoid mean and a
learned log-variance per pixel. The weights are initialized from N(0, 0.01) and have a prior N(0, I). The optimizer is
Adagrad with the best of three step sizes, the minibatch size is 100, and the bound uses one sample of z per image.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from torch import nn

from vaekit.core.errors import Diverged
from vaekit.data import ImageSet, binarize, hold_out, load_images
from vaekit.evaluation.likelihood.bounds import bound_values, elbo_terms
from vaekit.models import VAE, Model
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.measured_training import MeasuredTraining
from vaekit.runs.recipe import Recipe, complete

PAPER = "Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114"
Method = Literal["aevb", "wakesleep"]
METHODS: tuple[Method, ...] = ("aevb", "wakesleep")
METHOD_NAMES: dict[Method, str] = {"aevb": "AEVB", "wakesleep": "wake-sleep"}
OBJECTIVES: dict[Method, str] = {"aevb": "elbo", "wakesleep": "wake-sleep"}
DATA_NAMES = {"mnist": "MNIST", "frey": "Frey Face"}

NUM_TRAIN = 50_000
"""The number of MNIST training images. The paper states 50,000 for Figure 3 and no number for Figure 2."""
NUM_FREY_TEST = 200
STEP_SIZES = (0.01, 0.02, 0.1)
NUM_STEP_SIZE_IMAGES = 50_000
"""The number of training images seen when step sizes are compared, counting repeats."""
INIT_STDDEV = 0.1
"""The standard deviation of the initial weights, reading the paper's N(0, 0.01) as a variance."""
HIDDEN = {"mnist": 500, "frey": 200}
"""The number of hidden units in Figures 2, 4 and 5."""
NUM_BOUND_IMAGES = 10_000
"""The number of training images on which the training bound is measured."""

CHOICES = {
    "binarize": [
        "MNIST is binarized once, with a fixed seed. The paper does not say whether or how its pixels were binarized.",
    ],
    "mnist": [
        "Training uses the first 50,000 training images of MNIST, and testing all 10,000 test images.",
    ],
    "frey": [
        "Frey Face is split at random, with a fixed seed, into 1,765 training and 200 test images. Pixels are divided by "
        "255 and not dequantized, and densities are those on [0, 1]. The paper does not specify its split.",
    ],
    "initialization": [
        "Weights and biases are initialized from N(0, 0.01), where 0.01 is read as a variance, as in the paper's other "
        "normal distributions. `aevb-weights` compares this with the other reading.",
        "The step size is the one of 0.01, 0.02 and 0.1 with the best training bound after 50,000 images.",
    ],
    "bounds": [
        "The training bound is measured on the first 10,000 training images. Both bounds use one sample of z per image.",
    ],
}


@dataclass(frozen=True)
class Experiment:
    """A model of Figure 2, and its training.

    Arguments:
        data: ``mnist`` or ``frey``.
        latent_dim: The number of latents.
        method: The training method.
        images_seen: The number of training images that the training uses, counting repeats.
        init_stddev: The standard deviation of the initial weights.
    """

    data: str
    latent_dim: int
    method: Method
    images_seen: float
    init_stddev: float = INIT_STDDEV

    @property
    def curve_name(self) -> str:
        """The name of its curves in ``published/aevb.json``, without the split."""
        return f"{self.data}_nz{self.latent_dim}_{self.method}"


def published_curves() -> dict[str, Any]:
    """Returns the curves of the paper's Figures 2 and 3, read from its PDF."""
    text = files("vaekit.reproduction.published").joinpath("aevb.json").read_text(encoding="utf-8")
    curves: dict[str, Any] = json.loads(text)
    return curves


def load_train_test(data: str) -> tuple[ImageSet, ImageSet]:
    """Returns the training and the test images of ``mnist`` or ``frey``."""
    if data == "frey":
        faces = load_images("freyfaces", "all", channels=1)
        return hold_out(faces, NUM_FREY_TEST / len(faces), seed=0, splits=("train", "test"))
    train = load_images("mnist", "train", size=28, channels=1).first(NUM_TRAIN)
    return binarize(train, seed=2), binarize(load_images("mnist", "test", size=28, channels=1), seed=0)


def make_recipe(
    data: str, latent_dim: int, method: Method, *, hidden: int, epochs: int, step_size: float, num_train: int
) -> Recipe:
    """Returns the paper's model and training.

    The prior N(0, I) of the weights adds -log p(weights) / N to the loss per image, which is a weight decay of 1 / N for N
    training images.
    """
    network = {"name": "mlp", "hidden": [hidden], "activation": "tanh"}
    likelihood = {"name": "gaussian", "scale": "pixel", "floor": 0.0} if data == "frey" else {"name": "bernoulli"}
    return complete(
        {
            "name": f"aevb-{data}-{latent_dim}-{method}",
            "reference": PAPER,
            "data": {"name": {"frey": "freyfaces"}.get(data, data)},
            "model": {"latent_dim": latent_dim, "encoder": network, "decoder": network, "likelihood": likelihood},
            "objective": {"name": OBJECTIVES[method]},
            "optimizer": {"name": "adagrad", "lr": step_size, "weight_decay": 1 / num_train},
            "training": {"epochs": epochs, "batch_size": 100},
        },
        {},
    )


def initialize_normal(model: Model, stddev: float = INIT_STDDEV) -> None:
    """Initializes all weights and biases from N(0, stddev²)."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=stddev)


def log_spaced(last: float) -> list[float]:
    """Returns numbers of images seen, ten per power of ten from 1e5 on, and ``last``."""
    return [
        *(10 ** (5 + i / 10) for i in range(round(10 * math.log10(last / 1e5)) + 1) if 5 + i / 10 < math.log10(last)),
        last,
    ]


def nearest_epochs(images_seen: Sequence[float], num_images: int) -> list[int]:
    """Returns the epochs that end nearest to the numbers of images seen, without repeats.

    Arguments:
        images_seen: Numbers of training images, counting repeats.
        num_images: The number of images per epoch.
    """
    return sorted({max(1, round(n / num_images)) for n in images_seen})


def measure_bounds(model: Model, train: ImageSet, test: ImageSet) -> dict[str, float]:
    """Returns the test bound with its terms and standard error, and the training bound, in nats per image."""
    terms = elbo_terms(model, test)
    numbers = {name: estimate.value for name, estimate in terms.items()}
    train_bound = elbo_terms(model, train.first(NUM_BOUND_IMAGES))["elbo"]
    return numbers | {"standard_error": terms["elbo"].standard_error or 0.0, "train": train_bound.value}


def best_step_size(
    cache: ArtifactCache,
    data: str,
    latent_dim: int,
    method: Method,
    hidden: int,
    train: ImageSet,
    init_stddev: float = INIT_STDDEV,
) -> float:
    """Trains briefly with each step size and returns the one with the best training bound."""
    epochs = max(1, round(NUM_STEP_SIZE_IMAGES / len(train)))
    bounds = {}
    for step_size in STEP_SIZES:
        training = MeasuredTraining(
            make_recipe(data, latent_dim, method, hidden=hidden, epochs=epochs, step_size=step_size, num_train=len(train)),
            train,
            partial(bound_values, images=train.first(NUM_BOUND_IMAGES)),
            epochs=[epochs],
            initialize=partial(initialize_normal, stddev=init_stddev),
            extra_settings={"init_stddev": init_stddev},
        )
        name = f"step-sizes/{data}-{latent_dim}-{method}-{len(train)}-{step_size}-init-{init_stddev}"
        try:
            bounds[step_size] = cache.train(name, training)[1][-1]["elbo"]
        except Diverged:
            bounds[step_size] = -math.inf
    return max(bounds, key=lambda step_size: bounds[step_size])


def train_model(
    cache: ArtifactCache, experiment: Experiment, train: ImageSet, test: ImageSet
) -> tuple[VAE, list[dict[str, Any]]]:
    """Trains a model of Figure 2. Returns it with its bounds during training, see :func:`measure_bounds`."""
    data, latent_dim, method = experiment.data, experiment.latent_dim, experiment.method
    hidden, init_stddev = HIDDEN[data], experiment.init_stddev
    step_size = best_step_size(cache, data, latent_dim, method, hidden, train, init_stddev)
    epochs = nearest_epochs(log_spaced(experiment.images_seen), len(train))
    training = MeasuredTraining(
        make_recipe(data, latent_dim, method, hidden=hidden, epochs=epochs[-1], step_size=step_size, num_train=len(train)),
        train,
        partial(measure_bounds, train=train, test=test),
        epochs=epochs,
        initialize=partial(initialize_normal, stddev=init_stddev),
        extra_settings={"init_stddev": init_stddev},
    )
    return cache.train(f"{data}-{latent_dim}-{method}-{round(experiment.images_seen)}-init-{init_stddev}", training)


def read_curve(curve: Sequence[Sequence[float]], images_seen: float) -> float | None:
    """Interpolates a published curve of [log10 of images seen, bound]; returns None beyond its ends."""
    x, y = np.array(curve).T
    position = math.log10(images_seen)
    return float(np.interp(position, x, y)) if x[0] - 0.05 <= position <= x[-1] + 0.05 else None


def list_choices(data_names: Sequence[str]) -> list[str]:
    """Returns the choices for models of ``mnist`` and ``frey`` that are measured by their bounds."""
    binarization = CHOICES["binarize"] if "mnist" in data_names else []
    by_data = [sentence for data in data_names for sentence in CHOICES[data]]
    return [*binarization, *by_data, *CHOICES["initialization"], *CHOICES["bounds"]]
