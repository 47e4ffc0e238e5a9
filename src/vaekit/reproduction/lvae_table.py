"""Ladder variational autoencoders on MNIST: the table of addtt/ladder-vae-pytorch, https://github.com/addtt/ladder-vae-pytorch.

Its best documented small model has three stochastic layers with 64 channels and 32 latents per point, one at each of three
resolutions, four residual blocks per layer, free bits of 0.5 nats, a learned prior of the top layer, and Adamax with a
learning rate of 3e-4 in minibatches of 64 images. Pixels are binarized once. The negative log-likelihood is estimated on the
test set by 1,000 importance samples.
"""

from functools import partial
from pathlib import Path

import torch

from vaekit.core.units import NATS
from vaekit.data import ImageSet, binarize, hold_out, load_images
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.likelihood.bounds import bound_values, log_likelihood_of_each
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.plots.style import count
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.measured_training import MeasuredTraining
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.runs.recipe import Recipe, complete

PAPER = (
    "Ladder Variational Autoencoders (Sønderby et al., 2016), https://arxiv.org/abs/1602.02282; numbers of "
    "https://github.com/addtt/ladder-vae-pytorch"
)
PUBLISHED = 79.24
"""The negative log-likelihood of three layers in nats per image, by 1,000 importance samples; the ELBO is -82.14."""
PUBLISHED_ELBO = -82.14
TOLERANCE = 0.5
NETWORK: dict[Tier, tuple[int, int, int]] = {"smoke": (8, 1, 2), "cpu": (24, 1, 4), "gpu": (64, 4, 32)}
"""Channels, residual blocks per layer, and latents per point."""
EPOCHS: dict[Tier, int] = {"smoke": 1, "cpu": 20, "gpu": 400}
LEARNING_RATE: dict[Tier, float] = {"smoke": 1e-2, "cpu": 1e-2, "gpu": 3e-4}
EVALUATION: dict[Tier, tuple[int, int]] = {"smoke": (20, 100), "cpu": (1000, 500), "gpu": (1000, 10_000)}
"""The number of importance samples per image, and the number of test images."""
NUM_VALIDATION = 10_000

CHOICES = [
    "Training uses 50,000 images; the other 10,000 are held out at random. All images are binarized once, with fixed seeds; "
    "the published model was trained on the binarization of Larochelle, which is not used here.",
    "The layers are at 14x14, 7x7 and 4x4. The top layer has a learned Gaussian prior, and the posterior of each layer is "
    "relative to its prior. There is no normalization and no data-dependent initialization.",
    "Free bits fall to 0 over the first fifth of the epochs, so that the objective is the bound itself at the end.",
]


def load_splits(tier: Tier) -> tuple[ImageSet, ImageSet]:
    """Returns training and test images, binarized once."""
    images = load_images("mnist", "train", size=28, channels=1)
    train, _ = hold_out(images, NUM_VALIDATION / len(images), seed=0, splits=("train", "validation"))
    train = train.first(10_000) if tier == "smoke" else train
    return binarize(train, seed=2), binarize(load_images("mnist", "test", size=28, channels=1), seed=0)


def make_recipe(tier: Tier) -> Recipe:
    """Returns the model and its training."""
    channels, blocks, width = NETWORK[tier]
    widths, epochs = [channels // 2, channels, channels, channels], EPOCHS[tier]
    return complete(
        {
            "name": "lvae-mnist",
            "reference": PAPER,
            "data": {"name": "mnist", "binarize": "static"},
            "model": {
                "encoder": {"name": "ladder", "channels": widths, "blocks": [0, blocks, blocks, blocks]},
                "posterior": {"name": "residual"},
                "prior": {"name": "mixture-of-gaussians", "num_components": 1},
                "decoder": {"name": "ladder", "channels": widths, "layers": [0, 1, 1, 1], "width": width, "blocks": blocks},
                "likelihood": {"name": "bernoulli"},
            },
            "objective": {
                "name": "layered-elbo",
                "free_bits": {"name": "linear", "epochs": epochs / 5, "start": 0.5, "end": 0},
            },
            "optimizer": {"name": "adamax", "lr": LEARNING_RATE[tier]},
            "scheduler": {"name": "constant" if tier == "gpu" else "cosine"},
            "training": {"epochs": epochs, "batch_size": 64, "ema": 0.999, "on_spike": "skip"},
        },
        {},
    )


def schedule_note(tier: Tier) -> str:
    """Returns how a tier differs from the published model and its schedule."""
    if tier == "gpu":
        return ""
    (channels, blocks, width), published = NETWORK[tier], NETWORK["gpu"]
    return (
        f"shortened schedule, {count(EPOCHS[tier], 'epochs')}; smaller network, {channels} channels, "
        f"{count(blocks, 'blocks')} and {width} latents per point instead of {', '.join(map(str, published))}"
    )


def table(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Trains a ladder of three layers, and measures its negative log-likelihood."""
    train, test = load_splits(tier)
    num_samples, num_images = EVALUATION[tier]
    recipe, some, epochs = make_recipe(tier), test.first(num_images), EPOCHS[tier]
    measured = sorted({max(1, round(epochs * i / 10)) for i in range(1, 11)})
    training = MeasuredTraining(recipe, train, partial(bound_values, images=some), epochs=measured)
    model, records = cache.train("three-layers", training)

    def evaluate(folder: Path) -> list[float]:
        values: list[float] = log_likelihood_of_each(model, some, num_samples=num_samples).tolist()
        return values

    settings = {"recipe": recipe, "train": train.fingerprint, "test": test.fingerprint}
    settings |= {"num_samples": num_samples, "num_images": num_images}
    log_px = torch.tensor(cache.get_or_create("three-layers-evaluation", settings, evaluate))
    nll, note = mean_over_images(-log_px, NATS), schedule_note(tier)
    quantity = f"3 layers: negative log-likelihood by IW-{num_samples}, first {num_images:,} test images"
    rows = [
        Row(quantity, PUBLISHED, nll.value, nll.standard_error, TOLERANCE, note=note),
        Row(f"3 layers: ELBO, first {num_images:,} test images", PUBLISHED_ELBO, records[-1]["elbo"], None, 1.0, note=note),
    ]
    line = Curve("3 layers", [r["epoch"] for r in records], [r["elbo"] for r in records], 0)
    panel = Panel("test ELBO during training", "epoch", "nats per image", [line])
    return Outcome(rows, panels([panel]), CHOICES, {"3 layers": records})
