"""Figure 2 of Auto-Encoding Variational Bayes: the bound against training images seen, for AEVB and wake-sleep."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vaekit.core.units import NATS
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.likelihood.bounds import elbo_of_each
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.aevb import (
    DATA_NAMES,
    METHOD_NAMES,
    METHODS,
    Experiment,
    list_choices,
    load_train_test,
    published_curves,
    read_curve,
    train_model,
)
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.protocol import Outcome, Row, Tier

MNIST_TOLERANCE, FREY_TOLERANCE = 4.0, 0.1
"""In nats, and as a fraction of the published bound. The paper's binarization and split are unknown."""
X_LABEL, Y_LABEL = "training images seen", "bound, nats per image"

Records = Sequence[Mapping[str, Any]]


def _experiments(mnist: dict[int, float], frey: dict[int, float]) -> list[Experiment]:
    """Returns experiments with both methods, given the images seen for each number of latents."""
    return [
        Experiment(data, latent_dim, method, images_seen)
        for data, by_latent_dim in (("mnist", mnist), ("frey", frey))
        for latent_dim, images_seen in by_latent_dim.items()
        for method in METHODS
    ]


EXPERIMENTS: dict[Tier, list[Experiment]] = {
    "smoke": [Experiment("mnist", 20, "aevb", 1e5), Experiment("frey", 10, "aevb", 1e5)],
    "cpu": _experiments(dict.fromkeys((3, 5, 10, 20, 200), 3e6), {2: 1e6, 5: 1e6, 10: 1e7, 20: 1e6}),
    "gpu": _experiments(dict.fromkeys((3, 5, 10, 20, 200), 1e8), dict.fromkeys((2, 5, 10, 20), 1e8)),
}


def figure_2(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Trains models with both methods and several numbers of latents, and records their bounds."""
    experiments, published = EXPERIMENTS[tier], published_curves()["fig2"]
    images = {data: load_train_test(data) for data in {experiment.data for experiment in experiments}}
    curves: dict[str, list[dict[str, Any]]] = {}
    bounds: dict[str, Tensor] = {}
    rows: list[Row] = []
    for experiment in experiments:
        model, records = train_model(cache, experiment, *images[experiment.data])
        curves[experiment.curve_name] = records
        rows.append(bound_row(experiment, records[-1], published))
        distortion, rate = elbo_of_each(model, images[experiment.data][1])
        bounds[experiment.curve_name] = -(distortion + rate)
    rows += _gain_rows(experiments, bounds, published)
    return Outcome(rows, panels(figure_2_panels(curves, published)), list_choices(sorted(images, reverse=True)), curves)


def bound_row(experiment: Experiment, record: Mapping[str, Any], published: Mapping[str, Any], note: str = "") -> Row:
    """Returns the test bound and, if Figure 2 has such a model, its bound after as many images."""
    curve = published.get(f"{experiment.curve_name}_test")
    published_bound = None if curve is None else read_curve(curve, record["images_seen"])
    tolerance = MNIST_TOLERANCE if experiment.data == "mnist" else FREY_TOLERANCE * abs(published_bound or 0)
    model = f"{DATA_NAMES[experiment.data]}, {experiment.latent_dim} latents, {METHOD_NAMES[experiment.method]}"
    quantity = f"{model}: test bound after {record['images_seen']:,} images"
    return Row(quantity, published_bound, record["elbo"], record["standard_error"], tolerance, note=note)


def bound_limits(data: str, bounds: Sequence[float]) -> tuple[float, float]:
    """Returns the limits of the y axis: those of the paper, extended to lower bounds on MNIST."""
    return (min(-150.0, *bounds) - 5, -95.0) if data == "mnist" else (0.0, 1600.0)


def _gain_rows(experiments: Sequence[Experiment], bounds: Mapping[str, Tensor], published: Mapping[str, Any]) -> list[Row]:
    """Returns the claim, for each number of latents, that AEVB reaches a better bound than wake-sleep."""
    rows = []
    for experiment in experiments:
        if experiment.method == "wakesleep":
            name = f"{experiment.data}_nz{experiment.latent_dim}"
            aevb, wakesleep = (read_curve(published[f"{name}_{m}_test"], experiment.images_seen) for m in METHODS)
            published_gain = None if aevb is None or wakesleep is None else aevb - wakesleep
            gain = mean_over_images(bounds[f"{name}_aevb"] - bounds[f"{name}_wakesleep"], NATS)
            quantity = f"{DATA_NAMES[experiment.data]}, {experiment.latent_dim} latents: bound of AEVB minus wake-sleep"
            rows.append(Row(quantity, published_gain, gain.value, gain.standard_error, minimum=0.0))
    return rows


def figure_2_panels(curves: Mapping[str, Records], published: Mapping[str, Any]) -> list[Panel]:
    """Returns a panel for each data set and number of latents."""
    figure = []
    for data, latent_dim in dict.fromkeys(tuple(name.split("_")[:2]) for name in curves):
        name = f"{data}_{latent_dim}"
        title = f"{DATA_NAMES[data]}, {latent_dim.removeprefix('nz')} latents"
        lines = [line for method in METHODS for line in _lines(method, name, curves, published)]
        final_bounds = [records[-1]["elbo"] for other, records in curves.items() if other.startswith(f"{name}_")]
        figure.append(Panel(title, X_LABEL, Y_LABEL, lines, bound_limits(data, final_bounds), logarithmic=True))
    return figure


def _lines(method: Any, name: str, curves: Mapping[str, Records], published: Mapping[str, Any]) -> list[Curve]:
    """Returns the published and the obtained curve of each split."""
    number, label, lines = METHODS.index(method), METHOD_NAMES[method], []
    for split, key in (("test", "elbo"), ("train", "train")):
        solid = split == "test"
        lines.append(published_line(f"{label}, {split}, published", published[f"{name}_{method}_{split}"], number, solid))
        if records := curves.get(f"{name}_{method}"):
            x, y = [r["images_seen"] for r in records], [r[key] for r in records]
            lines.append(Curve(f"{label}, {split}", x, y, number, solid))
    return lines


def published_line(label: str, curve: Sequence[Sequence[float]], color: int, solid: bool = True) -> Curve:
    """Returns a published curve of [log10 of images seen, bound]."""
    return Curve(label, [10**x for x, _ in curve], [y for _, y in curve], color, solid, published=True)
