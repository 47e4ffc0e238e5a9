r"""Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114.

What its experiments share: multilayer perceptrons with one hidden layer of tanh units, encoder and decoder of one width
(500 units for MNIST, 200 for Frey Face, 100 for the marginal likelihoods), a Bernoulli decoder for MNIST and for Frey Face
a Gaussian one whose mean passes a sigmoid and whose log-variance is learned for each pixel, weights first drawn from N(0,
0.01), a prior N(0, I) of the weights, Adagrad with the best of three stepsizes, minibatches of 100 and one sample of z.
"""

import json
import math
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from vaekit.core.errors import Diverged
from vaekit.core.units import NATS
from vaekit.data import ImageSet, binarize, hold_out, load_images
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.likelihood.bounds import bound_values, elbo_of_each, elbo_terms
from vaekit.models import VAE
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.artifacts import Workshop
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.runs.recipe import Recipe, complete

PAPER = "Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114"
Method = Literal["aevb", "wakesleep"]
METHODS: dict[Method, tuple[str, str]] = {"aevb": ("AEVB", "elbo"), "wakesleep": ("wake-sleep", "wake-sleep")}
"""What each method is called, and the objective that it is here."""

NUM_TRAIN = 50_000
"""How many MNIST images are learned from: the paper says 50,000 of its Figure 3 and nothing of Figure 2."""
NUM_FREY_TEST = 200
STEPSIZES = (0.01, 0.02, 0.1)
TRIAL = 50_000
"""For how many images each stepsize is tried before the best is taken."""
SPREAD = 0.1
"""The standard deviation of the first weights, of N(0, 0.01)."""
HIDDEN = {"mnist": 500, "frey": 200}
"""How wide the networks of Figures 2, 4 and 5 are."""
IMAGE_NAMES = {"mnist": "MNIST", "frey": "Frey Face"}
NUM_BOUND = 10_000
"""On how many training images the training bound is measured."""

CHOICES = {
    "binary": [
        "MNIST is binarized once, with a fixed seed; the paper does not say how its pixels were made binary, if they were.",
    ],
    "mnist": [
        "Learned from are the first 50,000 training images of MNIST, tested are all 10,000 test images.",
    ],
    "frey": [
        "Frey Face is split at random with a fixed seed into 1,765 training and 200 test images, pixels are divided by "
        "255 and not dequantized, and the log-density is that of [0, 1]; the paper does not name its split.",
    ],
    "weights": [
        "The first weights and biases are drawn from N(0, 0.01), read as a variance, which is how the paper writes normals; "
        "`aevb-weights` shows what the other reading does.",
        "The stepsize is the one of 0.01, 0.02 and 0.1 with the best training bound after 50,000 images.",
    ],
    "bounds": [
        "The training bound is measured on the first 10,000 training images; both bounds with one sample of z an image.",
    ],
}


def figures() -> dict[str, Any]:
    """Returns the curves of the paper's Figures 2 and 3, read off its PDF."""
    found: dict[str, Any] = json.loads(files("vaekit.reproduction.published").joinpath("aevb.json").read_text())
    return found


def images_of(data: str) -> tuple[ImageSet, ImageSet]:
    """Returns the training and the test images of ``mnist`` or ``frey``."""
    if data == "frey":
        faces = load_images("freyfaces", "all", channels=1)
        return hold_out(faces, NUM_FREY_TEST / len(faces), seed=0, splits=("train", "test"))
    train = load_images("mnist", "train", size=28, channels=1).first(NUM_TRAIN)
    return binarize(train, seed=2), binarize(load_images("mnist", "test", size=28, channels=1), seed=0)


def recipe_for(data: str, latents: int, method: Method, *, hidden: int, epochs: int, stepsize: float) -> Recipe:
    """Returns the paper's model and training."""
    network = {"name": "mlp", "hidden": [hidden], "activation": "tanh"}
    likelihood = {"name": "gaussian", "scale": "pixel", "floor": 0.0} if data == "frey" else {"name": "bernoulli"}
    return complete(
        {
            "name": f"aevb-{data}-{latents}-{method}",
            "reference": PAPER,
            "data": {"name": {"frey": "freyfaces"}.get(data, data)},
            "model": {"latent_dim": latents, "encoder": network, "decoder": network, "likelihood": likelihood},
            "objective": {"name": METHODS[method][1]},
            "optimizer": {"name": "adagrad", "lr": stepsize},
            "training": {"epochs": epochs, "batch_size": 100, "weight_prior": 1.0},
        },
        {},
    )


def first_weights(model: VAE, spread: float = SPREAD) -> None:
    """Draws all weights and biases as the paper does, with a standard deviation."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=spread)


def epochs_at(samples: Sequence[float], num: int) -> list[int]:
    """Returns the epochs, of ``num`` images each, that end nearest to numbers of images seen, without repeats."""
    return sorted({max(1, round(n / num)) for n in samples})


def grid(last: float) -> list[float]:
    """Returns numbers of images seen, evenly spaced in their logarithm: ten in each power of ten from 1e5 on."""
    return [
        *(10 ** (5 + i / 10) for i in range(round(10 * math.log10(last / 1e5)) + 1) if 5 + i / 10 < math.log10(last)),
        last,
    ]


def bounds(model: VAE, train: ImageSet, test: ImageSet) -> dict[str, float]:
    """Returns the test bound with its terms and standard error, and the training bound, in nats per image."""
    found = elbo_terms(model, test)
    numbers = {name: estimate.value for name, estimate in found.items()}
    seen = elbo_terms(model, train.first(NUM_BOUND))["elbo"]
    return numbers | {"standard_error": found["elbo"].standard_error or 0.0, "train": seen.value}


def best_stepsize(
    shop: Workshop, data: str, latents: int, method: Method, hidden: int, train: ImageSet, spread: float = SPREAD
) -> float:
    """Tries each stepsize for a little and returns the one of the best training bound."""
    prepare, settings = partial(first_weights, spread=spread), {"spread": spread}
    epochs, some = max(1, round(TRIAL / len(train))), train.first(NUM_BOUND)
    measure, found = partial(bound_values, images=some), {}
    for stepsize in STEPSIZES:
        recipe = recipe_for(data, latents, method, hidden=hidden, epochs=epochs, stepsize=stepsize)
        name = f"stepsizes/{data}-{latents}-{method}-{len(train)}-{stepsize}-from-{spread}"
        try:
            _, records = shop.learn(name, recipe, train, measure, at=[epochs], prepare=prepare, settings=settings)
            found[stepsize] = records[-1]["elbo"]
        except Diverged:
            found[stepsize] = -math.inf
    return max(found, key=lambda stepsize: found[stepsize])


def trained(
    shop: Workshop,
    data: str,
    latents: int,
    method: Method,
    samples: float,
    train: ImageSet,
    test: ImageSet,
    spread: float = SPREAD,
) -> tuple[VAE, list[dict[str, float]]]:
    """Trains a model of Figure 2 on so many images, repeats counted, and returns it with its bounds on the way."""
    hidden = HIDDEN[data]
    stepsize = best_stepsize(shop, data, latents, method, hidden, train, spread)
    at = epochs_at(grid(samples), len(train))
    recipe = recipe_for(data, latents, method, hidden=hidden, epochs=at[-1], stepsize=stepsize)
    measure = partial(bounds, train=train, test=test)
    name, prepare = f"{data}-{latents}-{method}-{round(samples)}-from-{spread}", partial(first_weights, spread=spread)
    return shop.learn(name, recipe, train, measure, at=at, prepare=prepare, settings={"spread": spread})


def at_samples(curve: Sequence[Sequence[float]], samples: float) -> float | None:
    """Reads a published curve of [log10 of images seen, bound] at a number of images; None beyond its ends."""
    x, y = np.array(curve).T
    where = math.log10(samples)
    return float(np.interp(where, x, y)) if x[0] - 0.05 <= where <= x[-1] + 0.05 else None


# Figure 2: the bound against training images seen.

MNIST_TOLERANCE, FREY_TOLERANCE = 4.0, 0.1
"""In nats, and as a share of the published bound: binarization and split are unknown."""
Plan = dict[tuple[str, int, Method], float]
"""How many images each model of Figure 2 sees, by data, latents and method."""


def _plan(mnist: dict[int, float], frey: dict[int, float]) -> Plan:
    return {
        (data, latents, method): samples
        for data, sizes in (("mnist", mnist), ("frey", frey))
        for latents, samples in sizes.items()
        for method in METHODS
    }


FIGURE_2: dict[Tier, Plan] = {
    "smoke": {("mnist", 20, "aevb"): 1e5, ("frey", 10, "aevb"): 1e5},
    "cpu": _plan(dict.fromkeys((3, 5, 10, 20, 200), 3e6), {2: 1e6, 5: 1e6, 10: 1e7, 20: 1e6}),
    "gpu": _plan(dict.fromkeys((3, 5, 10, 20, 200), 1e8), dict.fromkeys((2, 5, 10, 20), 1e8)),
}


def figure_2(shop: Workshop, tier: Tier) -> Outcome:
    """Trains AEVB and wake-sleep with several numbers of latents and follows the bound."""
    plan, published = FIGURE_2[tier], figures()["fig2"]
    sets = {data: images_of(data) for data in {data for data, _, _ in plan}}
    curves: dict[str, list[dict[str, float]]] = {}
    rows: list[Row] = []
    bounds_of_each: dict[tuple[str, int, Method], Tensor] = {}
    for (data, latents, method), samples in plan.items():
        model, records = trained(shop, data, latents, method, samples, *sets[data])
        curves[f"{data}_nz{latents}_{method}"] = records
        rows.append(bound_row(data, latents, method, records[-1], published))
        distortion, rate = elbo_of_each(model, sets[data][1])
        bounds_of_each[data, latents, method] = -(distortion + rate)
    rows += _orders(plan, bounds_of_each, published)
    choices = choices_of(sorted(sets, reverse=True))
    return Outcome(rows, panels(_figure_2_panels(curves, published)), choices, curves)


def bound_row(
    data: str, latents: int, method: Method, record: dict[str, float], published: dict[str, Any], note: str = ""
) -> Row:
    """Returns the test bound beside that of the paper's Figure 2 at as many images seen, where that has such a model."""
    curve = published.get(f"{data}_nz{latents}_{method}_test")
    theirs = None if curve is None else at_samples(curve, record["samples"])
    tolerance = MNIST_TOLERANCE if data == "mnist" else FREY_TOLERANCE * abs(theirs or 0)
    name, called = IMAGE_NAMES[data], METHODS[method][0]
    what = f"{name}, {latents} latents, {called}: test bound at {record['samples']:,} images seen"
    return Row(what, theirs, record["elbo"], record["standard_error"], tolerance, note=note)


def _orders(plan: Plan, bounds_of_each: dict[tuple[str, int, Method], Tensor], published: dict[str, Any]) -> list[Row]:
    """That AEVB ends above wake-sleep, over the same test images."""
    rows = []
    for (data, latents, method), samples in plan.items():
        if method == "wakesleep":
            theirs = [at_samples(published[f"{data}_nz{latents}_{one}_test"], samples) for one in METHODS]
            gap = None if None in theirs else theirs[0] - theirs[1]  # type: ignore[operator]
            ours = bounds_of_each[data, latents, "aevb"] - bounds_of_each[data, latents, "wakesleep"]
            above = mean_over_images(ours, NATS)
            what = f"{IMAGE_NAMES[data]}, {latents} latents: AEVB above wake-sleep by"
            rows.append(Row(what, gap, above.value, above.standard_error, least=0.0))
    return rows


def choices_of(sets: Sequence[str]) -> list[str]:
    """Returns what was chosen for models of ``mnist`` and ``frey`` that are measured by their bounds."""
    binary = CHOICES["binary"] if "mnist" in sets else []
    return binary + [sentence for data in sets for sentence in CHOICES[data]] + CHOICES["weights"] + CHOICES["bounds"]


def _figure_2_panels(curves: dict[str, list[dict[str, float]]], published: dict[str, Any]) -> list[Panel]:
    found = []
    for data, latents in dict.fromkeys(tuple(name.split("_")[:2]) for name in curves):
        drawn = []
        for number, (method, (called, _)) in enumerate(METHODS.items()):
            for split, solid in (("test", True), ("train", False)):
                theirs = published[f"{data}_{latents}_{method}_{split}"]
                drawn.append(
                    Curve(
                        f"{called}, {split}, published",
                        [10**x for x, _ in theirs],
                        [y for _, y in theirs],
                        number,
                        solid,
                        True,
                    )
                )
                if ours := curves.get(f"{data}_{latents}_{method}"):
                    key = "elbo" if split == "test" else "train"
                    drawn.append(
                        Curve(
                            f"{called}, {split}", [r["samples"] for r in ours], [r[key] for r in ours], number, solid, False
                        )
                    )
        title = f"{IMAGE_NAMES[data]}, {latents.removeprefix('nz')} latents"
        ends = [records[-1]["elbo"] for name, records in curves.items() if name.startswith(f"{data}_{latents}_")]
        limits = limits_of(data, ends)
        found.append(Panel(title, "training images seen", "bound, nats per image", drawn, limits, logarithmic=True))
    return found


def limits_of(data: str, ends: Sequence[float]) -> tuple[float, float]:
    """Returns the lowest and the highest bound of a chart: those of the paper's, and lower ones that were obtained."""
    return (min(-150.0, *ends) - 5, -95.0) if data == "mnist" else (0.0, 1600.0)
