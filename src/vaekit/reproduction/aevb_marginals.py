"""Figure 3 of Auto-Encoding Variational Bayes: the marginal likelihood of models of 3 latents, by three ways of learning.

It is estimated as in the paper's Appendix D from samples of the posterior, and by annealed importance sampling beside it,
which says how good that estimate is.
"""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vaekit.core.config import build, to_data
from vaekit.core.errors import Interrupted
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.evaluation.likelihood.posterior_sampling import posterior_log_likelihood
from vaekit.experiment.train import build_model
from vaekit.models import VAE
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.aevb import (
    CHOICES,
    SPREAD,
    best_stepsize,
    figures,
    first_weights,
    images_of,
    recipe_for,
)
from vaekit.reproduction.artifact_progress import PieceView
from vaekit.reproduction.artifacts import SAVE_SECONDS, STATE, Workshop
from vaekit.reproduction.protocol import Outcome, Row, Tier
from vaekit.training import OPTIMIZERS, MonteCarloEM, asked_to_stop, make_accelerator, read_state, write_state

LATENTS, HIDDEN = 3, 100
TOLERANCE = 4.0
NUM_POINTS = 1000
"""How many training and how many test images the marginal likelihood is estimated on, the first ones."""
NUM_SAMPLES = 50
MARGINAL: dict[Tier, tuple[dict[int, tuple[float, ...]], int]] = {
    "smoke": ({1000: (1e6,)}, 50),
    "cpu": ({1000: (1e6, 5e6)}, NUM_POINTS),
    "gpu": ({1000: (1e6, 2e6, 5e6, 1e7, 2e7, 6e7), 50_000: (5e6, 1e7, 2e7, 6e7)}, NUM_POINTS),
}
"""At how many images seen the likelihood is estimated, for each number of training images; and on how many points."""
ANNEALING = Annealing(chains=8, distributions=200, start="prior", leapfrog=5)
Learner = Literal["aevb", "wakesleep", "mcem"]
LEARNERS: dict[Learner, str] = {"aevb": "AEVB", "wakesleep": "wake-sleep", "mcem": "Monte Carlo EM"}
LEARNING: dict[Tier, tuple[Learner, ...]] = {"smoke": ("mcem",), "cpu": tuple(LEARNERS), "gpu": tuple(LEARNERS)}

NOTES = [
    "3 latents and 100 hidden units, as published. A model learns from the first N training images of MNIST.",
    "Monte Carlo EM keeps one latent for each training image from round to round, counts an image as seen at each of the "
    "five updates of a round, and takes a stepsize of 0.02; the paper says none of it.",
    "The standard error of a difference is that of two independent means: too large, since both are of the same images.",
    "Appendix D: 50 chains an image, begun at draws from the prior chosen by p(x|z), 40 trajectories of 4 leapfrog "
    "steps before the samples that a Gaussian with a full covariance is fitted to, and 40 more before those of the "
    "estimate; the paper names neither the density nor the number of trajectories.",
    f"Annealed importance sampling: {ANNEALING.chains} chains from the prior, {ANNEALING.distributions} distributions, "
    f"{ANNEALING.leapfrog} leapfrog steps.",
]
MCEM_STEPSIZE = 0.02


def figure_3(shop: Workshop, tier: Tier) -> Outcome:
    """Learns in three ways and estimates the marginal likelihood of training and test images on the way."""
    (plan, points), published = MARGINAL[tier], figures()["fig3"]
    whole, test = images_of("mnist")
    curves: dict[str, list[dict[str, Any]]] = {}
    rows: list[Row] = []
    for num, marks in plan.items():
        train = whole.first(num)
        for learner in LEARNING[tier]:
            learn = partial(learned_by_mcem, shop) if learner == "mcem" else partial(learned, shop, learner)
            records = learn(train, test, marks, points)
            curves[f"ntrain{num}_{learner}"] = records
            rows += _rows(f"N = {num:,}, {LEARNERS[learner]}", records[-1], published, f"ntrain{num}_{learner}")
        rows += _orders(num, curves, published) if f"ntrain{num}_wakesleep" in curves else []
    on = f"Both estimates are means over the first {points:,} training images and the first {points:,} test images."
    choices = [*CHOICES["binary"], *CHOICES["weights"], *NOTES, on]
    return Outcome(rows, panels(_charts(plan, curves, published)), choices, curves)


def estimates(model: VAE, train: ImageSet, test: ImageSet, points: int) -> dict[str, Any]:
    """Returns both estimates of log p(x), of the first training and test images."""
    found: dict[str, Any] = {}
    for split, images in (("train", train), ("test", test)):
        some = images.first(points)
        found[split] = posterior_log_likelihood(model, some, num_samples=NUM_SAMPLES).to_data()
        found[f"{split}_ais"] = annealed_log_likelihood(model, some, ANNEALING).to_data()
    return found


def _estimated(points: int) -> dict[str, Any]:
    """What a record depends on beside the recipe and the images: the first weights, and how it is estimated."""
    return {"spread": SPREAD, "points": points, "annealing": vars(ANNEALING), "samples": NUM_SAMPLES}


def learned(
    shop: Workshop,
    learner: Literal["aevb", "wakesleep"],
    train: ImageSet,
    test: ImageSet,
    marks: tuple[float, ...],
    points: int,
) -> list[dict[str, Any]]:
    """Trains an encoder and a decoder, and estimates at each mark."""
    stepsize = best_stepsize(shop, "mnist", LATENTS, learner, HIDDEN, train)
    at = [round(mark / len(train)) for mark in marks]
    recipe = recipe_for("mnist", LATENTS, learner, hidden=HIDDEN, epochs=at[-1], stepsize=stepsize)

    def measure(model: VAE) -> dict[str, Any]:
        return {**bound_values(model, test.first(points)), **estimates(model, train, test, points)}

    name, settings = f"{learner}-{len(train)}", _estimated(points)
    _, records = shop.learn(name, recipe, train, measure, at=at, prepare=first_weights, settings=settings)
    return records


def learned_by_mcem(
    shop: Workshop, train: ImageSet, test: ImageSet, marks: tuple[float, ...], points: int
) -> list[dict[str, Any]]:
    """Learns a decoder by Monte Carlo EM, and estimates at each mark."""
    name = f"mcem-{len(train)}"
    recipe = recipe_for("mnist", LATENTS, "aevb", hidden=HIDDEN, epochs=1, stepsize=MCEM_STEPSIZE)

    def make(folder: Path) -> list[dict[str, Any]]:
        with fixed_seed(recipe.training.seed):
            model = build_model(recipe, train)
            first_weights(model)
        model.to(make_accelerator(recipe.training.device, recipe.training.precision).device)
        optimizer = build(OPTIMIZERS, recipe.optimizer, place="optimizer", parameters=list(model.parameters()))
        run = MonteCarloEM(model, train, optimizer, weight_prior=recipe.training.weight_prior)
        estimate = partial(estimates, train=train, test=test, points=points)
        return _carry_on(run, folder, PieceView(shop.console, name, round(marks[-1])), [*map(round, marks)], estimate)

    settings = {"recipe": to_data(recipe), "images": train.fingerprint, "num": len(train), "marks": marks}
    records: list[dict[str, Any]] = shop.piece(name, settings | _estimated(points), make)
    return records


def _carry_on(run: MonteCarloEM, folder: Path, view: PieceView, marks: list[int], estimate: Any) -> list[dict[str, Any]]:
    """Goes on with a run of Monte Carlo EM to the last mark, from its saved state if there is one."""
    records: list[dict[str, Any]] = []
    if (folder / STATE).exists():
        state = read_state(folder / STATE)
        run.load_state_dict(state["run"])
        records = state["records"]
    saved = time.monotonic()
    view.begin(0, 0, 0)
    try:
        with asked_to_stop() as stop:
            while len(records) < len(marks):
                run.epoch()
                view.step(0, run.samples, {}, 0.0)
                if run.samples >= marks[len(records)]:
                    records.append({"samples": run.samples, **estimate(run.model)})
                    found = records[-1]["test_ais"]["value"]
                    view.measured(run.samples, "log p(x) of test images", found)
                if stop() or time.monotonic() - saved > SAVE_SECONDS:
                    write_state(folder / STATE, {"run": run.state_dict(), "records": records})
                    saved = time.monotonic()
                if stop():
                    raise Interrupted(f"stopped after {run.samples:,} images seen")
    finally:
        view.end()
    (folder / STATE).unlink(missing_ok=True)
    return records


def _published(curve: list[list[float]], samples: float) -> float | None:
    """A published curve of [millions of images seen, log p(x)] at a number of images; None without a point near it."""
    near = [(abs(x - samples / 1e6), y) for x, y in curve if abs(x - samples / 1e6) < 0.05 * x]
    return min(near)[1] if near else None


def _rows(what: str, record: dict[str, Any], published: dict[str, Any], name: str) -> list[Row]:
    """Training and test likelihood by both estimators."""
    rows = []
    for split in ("train", "test"):
        theirs = _published(published[f"{name}_{split}"], record["samples"])
        for key, how in ((split, "Appendix D"), (f"{split}_ais", "AIS")):
            found = record[key]
            said = f"{what}: log p(x) of {split} images by {how}, {record['samples']:,} seen"
            rows.append(Row(said, theirs, found["value"], found["standard_error"], TOLERANCE))
    return rows


def _orders(num: int, curves: dict[str, list[dict[str, Any]]], published: dict[str, Any]) -> list[Row]:
    """That wake-sleep ends below both others on training images."""
    rows = []
    last = {learner: curves[f"ntrain{num}_{learner}"][-1] for learner in LEARNERS}
    for learner in ("aevb", "mcem"):
        theirs = [_published(published[f"ntrain{num}_{one}_train"], last[one]["samples"]) for one in (learner, "wakesleep")]
        gap = None if None in theirs else theirs[0] - theirs[1]  # type: ignore[operator]
        ours = last[learner]["train_ais"], last["wakesleep"]["train_ais"]
        error = math.hypot(ours[0]["standard_error"], ours[1]["standard_error"])
        what = f"N = {num:,}: {LEARNERS[learner]} above wake-sleep on training images by AIS"
        rows.append(Row(what, gap, ours[0]["value"] - ours[1]["value"], error, least=0.0))
    return rows


def _charts(plan: dict[int, Any], curves: dict[str, list[dict[str, Any]]], published: dict[str, Any]) -> list[Panel]:
    charts = []
    for num in plan:
        drawn = []
        for number, (learner, called) in enumerate(LEARNERS.items()):
            for split, solid in (("test", True), ("train", False)):
                theirs = published[f"ntrain{num}_{learner}_{split}"]
                drawn.append(
                    Curve(
                        f"{called}, {split}, published", [x for x, _ in theirs], [y for _, y in theirs], number, solid, True
                    )
                )
                ours = curves.get(f"ntrain{num}_{learner}", [])
                x = [record["samples"] / 1e6 for record in ours]
                drawn.append(Curve(f"{called}, {split}, AIS", x, [r[f"{split}_ais"]["value"] for r in ours], number, solid))
        longest = max(record["samples"] for name, records in curves.items() for record in records) / 1e6
        charts.append(
            Panel(
                f"N = {num:,}, 3 latents",
                "training images seen, millions",
                "log p(x), nats per image",
                drawn,
                (-160.0, -100.0),
                x_limits=(0, 1.1 * longest),
            )
        )
    return charts
