"""What N(0, 0.01) means: models of Figure 2 of Auto-Encoding Variational Bayes from first weights of either reading.

The paper draws all weights from N(0, 0.01) at first and does not say whether 0.01 is a variance or a standard deviation. The
other figures here read a variance, a standard deviation of 0.1; these models learn from both.
"""

from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction.aevb import (
    IMAGE_NAMES,
    METHODS,
    SPREAD,
    Method,
    bound_row,
    choices_of,
    figures,
    images_of,
    limits_of,
    trained,
)
from vaekit.reproduction.artifacts import Workshop
from vaekit.reproduction.protocol import Outcome, Tier

SPREADS = (SPREAD, 0.01)
Models = tuple[tuple[str, int, Method], ...]
MODELS: Models = (
    ("mnist", 3, "aevb"),
    ("mnist", 200, "aevb"),
    ("frey", 10, "aevb"),
    ("mnist", 3, "wakesleep"),
    ("mnist", 200, "wakesleep"),
    ("frey", 10, "wakesleep"),
)
"""Data, latents and method of each."""
PLAN: dict[Tier, tuple[Models, float]] = {
    "smoke": ((("frey", 10, "wakesleep"),), 1e5),
    "cpu": (MODELS, 1e6),
    "gpu": (MODELS, 1e8),
}
"""Which models, and how many images each sees."""


def first_weights(shop: Workshop, tier: Tier) -> Outcome:
    """Trains each model from both, and follows the test bound."""
    (models, samples), published = PLAN[tier], figures()["fig2"]
    sets = {data: images_of(data) for data in dict.fromkeys(data for data, _, _ in models)}
    rows, charts, curves = [], [], {}
    for data, latents, method in models:
        name = f"{data}_nz{latents}_{method}"
        theirs = published[f"{name}_test"]
        drawn = [Curve("published", [10**x for x, _ in theirs], [y for _, y in theirs], 2, published=True)]
        for number, spread in enumerate(SPREADS):
            _, records = trained(shop, data, latents, method, samples, *sets[data], spread)
            curves[f"{name}_from_{spread}"] = records
            rows.append(bound_row(data, latents, method, records[-1], published, f"from a standard deviation of {spread}"))
            x, y = [r["samples"] for r in records], [r["elbo"] for r in records]
            drawn.append(Curve(f"from a standard deviation of {spread}", x, y, number))
        title = f"{IMAGE_NAMES[data]}, {latents} latents, {METHODS[method][0]}"
        ends = [value for curve in drawn[1:] for value in curve.y]
        limits = limits_of(data, ends)
        charts.append(Panel(title, "training images seen", "bound, nats per image", drawn, limits, logarithmic=True))
    return Outcome(rows, panels(charts), choices_of([*sets]), curves)
