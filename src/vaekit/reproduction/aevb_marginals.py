"""Figure 3 of Auto-Encoding Variational Bayes: the marginal likelihood with 3 latents, for three training methods.

The marginal likelihood is estimated from posterior samples, as in the paper's Appendix D, and by annealed importance
sampling, which checks that estimate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

from vaekit.core.config import to_data
from vaekit.data import ImageSet
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.evaluation.likelihood.posterior_sampling import posterior_log_likelihood
from vaekit.models import Model
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.aevb import (
    CHOICES,
    INIT_STDDEV,
    best_step_size,
    initialize_normal,
    load_train_test,
    make_recipe,
    published_curves,
)
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.measured_training import Measure, MeasuredTraining
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.runs.recipe import Recipe, complete

LATENT_DIM, HIDDEN = 3, 100
TOLERANCE = 4.0
NUM_IMAGES = 1000
"""The number of training and of test images on which the marginal likelihood is estimated, the first ones."""
NUM_POSTERIOR_SAMPLES = 50
PLAN: dict[Tier, tuple[dict[int, tuple[float, ...]], int]] = {
    "smoke": ({1000: (1e6,)}, 50),
    "cpu": ({1000: (1e6, 5e6)}, NUM_IMAGES),
    "gpu": ({1000: (1e6, 2e6, 5e6, 1e7, 2e7, 6e7), 50_000: (5e6, 1e7, 2e7, 6e7)}, NUM_IMAGES),
}
"""For each number of training images, the numbers of images seen at which to estimate; and the number of images to use."""
ANNEALING = Annealing(num_chains=8, num_distributions=200, start="prior", num_leapfrog_steps=5)
Learner = Literal["aevb", "wakesleep", "mcem"]
LEARNER_NAMES: dict[Learner, str] = {"aevb": "AEVB", "wakesleep": "wake-sleep", "mcem": "Monte Carlo EM"}
LEARNERS: dict[Tier, tuple[Learner, ...]] = {"smoke": ("mcem",), "cpu": tuple(LEARNER_NAMES), "gpu": tuple(LEARNER_NAMES)}
MCEM_STEP_SIZE = 0.02
MCEM_UPDATES = 5
"""The number of updates of the weights per step, as published."""

METHOD_CHOICES = [
    "The models have 3 latents and 100 hidden units, as published. Training uses the first N training images of MNIST.",
    "Monte Carlo EM keeps one latent per training image between batches, counts an image as seen at each of the five "
    "updates of the weights per batch, and uses a step size of 0.02. The paper specifies none of this.",
    "The standard error of a difference is that of two independent means. It is too large, since both means are over the "
    "same images.",
    "Appendix D uses 50 chains per image, which start from samples of the prior chosen by p(x|z). It runs 40 trajectories "
    "of 4 leapfrog steps, fits a Gaussian with full covariance to the samples, and runs 40 more trajectories for the "
    "samples of the estimate. The paper specifies neither the density nor the number of trajectories.",
    f"Annealed importance sampling uses {ANNEALING.num_chains} chains from the prior, {ANNEALING.num_distributions} "
    f"distributions and {ANNEALING.num_leapfrog_steps} leapfrog steps.",
]

Curves = Mapping[str, Sequence[Mapping[str, Any]]]


def figure_3(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Trains with each method, and estimates the marginal likelihood of training and test images during training."""
    (plan, num_images), published = PLAN[tier], published_curves()["fig3"]
    all_train, test = load_train_test("mnist")
    curves: dict[str, list[dict[str, Any]]] = {}
    rows: list[Row] = []
    for num_train, images_seen in plan.items():
        train = all_train.first(num_train)
        for learner in LEARNERS[tier]:
            name = f"ntrain{num_train}_{learner}"
            curves[name] = _train(cache, learner, train, test, images_seen, num_images)
            rows += _likelihood_rows(f"N = {num_train:,}, {LEARNER_NAMES[learner]}", curves[name][-1], published, name)
        rows += _gain_rows(num_train, curves, published) if f"ntrain{num_train}_wakesleep" in curves else []
    figure = panels(figure_3_panels([*plan], curves, published))
    return Outcome(rows, figure, list_figure_3_choices(num_images), curves)


def list_figure_3_choices(num_images: int) -> list[str]:
    """Returns the choices, given the number of images on which the marginal likelihood is estimated."""
    scope = (
        f"Both estimates are means over the first {num_images:,} training images and the first {num_images:,} test images."
    )
    return [*CHOICES["binarize"], *CHOICES["initialization"], *METHOD_CHOICES, scope]


def _estimates(model: Model, train: ImageSet, test: ImageSet, num_images: int) -> dict[str, Any]:
    """Returns both estimates of log p(x), for the first training and test images."""
    numbers: dict[str, Any] = {}
    for split, images in (("train", train.first(num_images)), ("test", test.first(num_images))):
        numbers[split] = posterior_log_likelihood(model, images, num_samples=NUM_POSTERIOR_SAMPLES).to_data()
        numbers[f"{split}_ais"] = annealed_log_likelihood(model, images, ANNEALING).to_data()
    return numbers


def _train(
    cache: ArtifactCache,
    learner: Learner,
    train: ImageSet,
    test: ImageSet,
    images_seen: tuple[float, ...],
    num_images: int,
) -> list[dict[str, Any]]:
    """Trains a model, and estimates after each number of images seen."""
    if learner == "mcem":
        return _train_by_mcem(cache, train, test, images_seen, num_images)
    epochs = [round(n / len(train)) for n in images_seen]
    step_size = best_step_size(cache, "mnist", LATENT_DIM, learner, HIDDEN, train)
    recipe = make_recipe(
        "mnist", LATENT_DIM, learner, hidden=HIDDEN, epochs=epochs[-1], step_size=step_size, num_train=len(train)
    )

    def measure(model: Model) -> dict[str, Any]:
        return {**bound_values(model, test.first(num_images)), **_estimates(model, train, test, num_images)}

    return _run(cache, f"{learner}-{len(train)}", recipe, train, measure, epochs, num_images)


def _train_by_mcem(
    cache: ArtifactCache, train: ImageSet, test: ImageSet, images_seen: tuple[float, ...], num_images: int
) -> list[dict[str, Any]]:
    """Trains a decoder by Monte Carlo EM; an image counts as seen at each of the updates of a step."""
    epochs = [round(n / (MCEM_UPDATES * len(train))) for n in images_seen]
    recipe = make_recipe(
        "mnist", LATENT_DIM, "aevb", hidden=HIDDEN, epochs=epochs[-1], step_size=MCEM_STEP_SIZE, num_train=len(train)
    )
    recipe = complete(to_data(recipe), {"step": {"name": "monte-carlo-em", "updates": MCEM_UPDATES}})
    measure = partial(_estimates, train=train, test=test, num_images=num_images)
    records = _run(cache, f"mcem-{len(train)}", recipe, train, measure, epochs, num_images)
    return [record | {"images_seen": MCEM_UPDATES * record["images_seen"]} for record in records]


def _run(
    cache: ArtifactCache,
    name: str,
    recipe: Recipe,
    train: ImageSet,
    measure: Measure,
    epochs: list[int],
    num_images: int,
) -> list[dict[str, Any]]:
    settings = {
        "init_stddev": INIT_STDDEV,
        "num_estimated": num_images,
        "annealing": asdict(ANNEALING),
        "num_posterior_samples": NUM_POSTERIOR_SAMPLES,
    }
    training = MeasuredTraining(recipe, train, measure, epochs, initialize=initialize_normal, extra_settings=settings)
    return cache.train(name, training)[1]


def read_nearest(curve: Sequence[Sequence[float]], images_seen: float) -> float | None:
    """Reads a published curve of [millions of images seen, log p(x)]; returns None if no point is within 5 percent."""
    millions = images_seen / 1e6
    near = [(abs(x - millions), y) for x, y in curve if abs(x - millions) < 0.05 * x]
    return min(near)[1] if near else None


def _likelihood_rows(model: str, record: Mapping[str, Any], published: Mapping[str, Any], name: str) -> list[Row]:
    """Returns the likelihood of training and test images by both estimators."""
    rows = []
    for split in ("train", "test"):
        published_value = read_nearest(published[f"{name}_{split}"], record["images_seen"])
        for key, estimator in ((split, "Appendix D"), (f"{split}_ais", "AIS")):
            quantity = f"{model}: log p(x) of {split} images by {estimator} after {record['images_seen']:,} images"
            rows.append(Row(quantity, published_value, record[key]["value"], record[key]["standard_error"], TOLERANCE))
    return rows


def _gain_rows(num_train: int, curves: Curves, published: Mapping[str, Any]) -> list[Row]:
    """Returns the claim that both other methods reach a higher likelihood of training images than wake-sleep."""
    rows = []
    names: dict[Learner, str] = {learner: f"ntrain{num_train}_{learner}" for learner in LEARNER_NAMES}
    final = {learner: curves[name][-1] for learner, name in names.items()}
    values = {key: read_nearest(published[f"{name}_train"], final[key]["images_seen"]) for key, name in names.items()}
    baseline, published_baseline = final["wakesleep"]["train_ais"], values["wakesleep"]
    learners: tuple[Learner, ...] = ("aevb", "mcem")
    for learner in learners:
        estimate, published_value = final[learner]["train_ais"], values[learner]
        published_gain = (
            None if published_value is None or published_baseline is None else published_value - published_baseline
        )
        error = math.hypot(estimate["standard_error"], baseline["standard_error"])
        quantity = f"N = {num_train:,}: log p(x) of train images by AIS, {LEARNER_NAMES[learner]} minus wake-sleep"
        rows.append(Row(quantity, published_gain, estimate["value"] - baseline["value"], error, minimum=0.0))
    return rows


def figure_3_panels(nums_train: Sequence[int], curves: Curves, published: Mapping[str, Any]) -> list[Panel]:
    """Returns a panel for each number of training images."""
    last = max(record["images_seen"] for records in curves.values() for record in records) / 1e6
    figure = []
    for num_train in nums_train:
        lines = []
        for number, (learner, label) in enumerate(LEARNER_NAMES.items()):
            for split in ("test", "train"):
                name, solid = f"ntrain{num_train}_{learner}", split == "test"
                x, y = zip(*published[f"{name}_{split}"], strict=True)
                lines.append(Curve(f"{label}, {split}, published", x, y, number, solid, published=True))
                records = curves.get(name, [])
                x_ais, y_ais = [r["images_seen"] / 1e6 for r in records], [r[f"{split}_ais"]["value"] for r in records]
                lines.append(Curve(f"{label}, {split}, AIS", x_ais, y_ais, number, solid))
        title, x_label = f"N = {num_train:,}, 3 latents", "training images seen, millions"
        limits, x_limits = (-160.0, -100.0), (0, 1.1 * last)
        figure.append(Panel(title, x_label, "log p(x), nats per image", lines, limits, x_limits))
    return figure
