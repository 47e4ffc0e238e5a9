"""The two readings of N(0, 0.01), the initialization in Auto-Encoding Variational Bayes.

The paper does not say whether 0.01 is a variance or a standard deviation. The other figures here use a variance of 0.01,
which is a standard deviation of 0.1. This experiment trains models of Figure 2 from both initializations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.aevb import (
    DATA_NAMES,
    INIT_STDDEV,
    METHOD_NAMES,
    METHODS,
    Experiment,
    list_choices,
    load_train_test,
    published_curves,
    train_model,
)
from vaekit.reproduction.aevb_bounds import X_LABEL, Y_LABEL, bound_limits, bound_row, published_line
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.protocol import Outcome, Tier

INIT_STDDEVS = (INIT_STDDEV, 0.01)


def _experiments(images_seen: float) -> list[Experiment]:
    models = (("mnist", 3), ("mnist", 200), ("frey", 10))
    return [Experiment(data, latent_dim, method, images_seen) for method in METHODS for data, latent_dim in models]


EXPERIMENTS: dict[Tier, list[Experiment]] = {
    "smoke": [Experiment("frey", 10, "wakesleep", 1e5)],
    "cpu": _experiments(1e6),
    "gpu": _experiments(1e8),
}


def compare_initializations(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Trains each model from both initializations and compares the test bounds."""
    published = published_curves()["fig2"]
    images = {data: load_train_test(data) for data in dict.fromkeys(experiment.data for experiment in EXPERIMENTS[tier])}
    rows, curves = [], {}
    for experiment in EXPERIMENTS[tier]:
        for stddev in INIT_STDDEVS:
            _, records = train_model(cache, replace(experiment, init_stddev=stddev), *images[experiment.data])
            curves[f"{experiment.curve_name}_from_{stddev}"] = records
            rows.append(bound_row(experiment, records[-1], published, _initialization(stddev)))
    figure = [initialization_panel(experiment, curves, published) for experiment in EXPERIMENTS[tier]]
    return Outcome(rows, panels(figure), list_choices([*images]), curves)


def initialization_panel(
    experiment: Experiment, curves: Mapping[str, Sequence[Mapping[str, Any]]], published: Mapping[str, Any]
) -> Panel:
    """Returns the published curve of a model and its curves from both initializations."""
    lines = [published_line("published", published[f"{experiment.curve_name}_test"], 2)]
    for number, stddev in enumerate(INIT_STDDEVS):
        records = curves[f"{experiment.curve_name}_from_{stddev}"]
        x, y = [r["images_seen"] for r in records], [r["elbo"] for r in records]
        lines.append(Curve(_initialization(stddev), x, y, number))
    title = f"{DATA_NAMES[experiment.data]}, {experiment.latent_dim} latents, {METHOD_NAMES[experiment.method]}"
    limits = bound_limits(experiment.data, [y for line in lines[1:] for y in line.y])
    return Panel(title, X_LABEL, Y_LABEL, lines, limits, logarithmic=True)


def _initialization(stddev: float) -> str:
    return f"initial standard deviation {stddev}"
