"""On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017), https://arxiv.org/abs/1611.04273.

The gap between the importance-weighted bound and log p(x), which is estimated by annealed importance sampling (AIS), on the
model of :mod:`vaekit.reproduction.iwae_table` that was trained with 50 samples.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vaekit.core.units import NATS
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import mean_over_images
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_of_each, bracket
from vaekit.evaluation.likelihood.bounds import log_likelihood_of_each
from vaekit.models import VAE
from vaekit.plots.paper_figures import Curve, Panel, panels
from vaekit.reproduction import iwae_table
from vaekit.reproduction.artifacts import ArtifactCache
from vaekit.reproduction.protocol import Outcome, Row, Tier

PAPER = (
    "On the Quantitative Analysis of Decoder-Based Generative Models (Wu, Burda, Salakhutdinov & Grosse, 2017), "
    "https://arxiv.org/abs/1611.04273"
)
K: dict[Tier, int] = {"smoke": iwae_table.KS["smoke"][0], "cpu": 50, "gpu": 50}
"""The number of samples that the model was trained with."""
PUBLISHED = {"AIS": -85.62, "IW-10000": -86.90}
GAP_LIMITS = (0.3, 1.5)
"""The gaps that count as about 1 nat. Models with the same ELBO can differ in the gap of their bound."""
MAX_BRACKET = 0.5
PLAN: dict[Tier, tuple[Annealing, int, int]] = {
    "smoke": (Annealing(num_chains=4, num_distributions=50), 20, 200),
    "cpu": (Annealing(num_chains=16, num_distributions=1000), 100, 10_000),
    "gpu": (Annealing(num_chains=16, num_distributions=10_000), 1000, 100_000),
}
"""The annealing, the number of test images, and the number of importance samples to compare with."""


def ais_gap(cache: ArtifactCache, tier: Tier) -> Outcome:
    """Compares the importance-weighted bound with annealed importance sampling."""
    train, test = iwae_table.load_train_test()
    k, (annealing, num_images, num_samples) = K[tier], PLAN[tier]
    model, _ = iwae_table.train_model(cache.of_reproduction("iwae-table1"), k, tier, train, test)

    def evaluate(folder: Path) -> dict[str, Any]:
        return _evaluate(model, test.first(num_images), annealing, num_samples)

    settings = iwae_table.evaluation_settings(k, tier, train, test)
    settings |= {"annealing": asdict(annealing), "num_images": num_images, "num_samples": num_samples}
    numbers = cache.get_or_create("annealed", settings, evaluate)
    rows = _rows(numbers, tier)
    return Outcome(rows, panels([likelihood_panel(numbers, tier)]), list_choices(tier), numbers)


def _evaluate(model: VAE, images: ImageSet, annealing: Annealing, num_samples: int) -> dict[str, Any]:
    ais = annealed_of_each(model, images, annealing)
    iw = log_likelihood_of_each(model, images, num_samples=num_samples)
    iw_fewer = log_likelihood_of_each(model, images, num_samples=num_samples // 100)
    values = {"ais": ais, "iw": iw, "iw_fewer": iw_fewer, "gap": ais - iw}
    estimates = {name: mean_over_images(value, NATS).to_data() for name, value in values.items()}
    return estimates | {"bracket": bracket(model, len(images), annealing).gap.to_data()}


def _rows(numbers: Mapping[str, Any], tier: Tier) -> list[Row]:
    annealing, num_images, num_samples = PLAN[tier]
    note, images = iwae_table.schedule_note(tier), f"first {num_images} test images"
    chains = f"{annealing.num_chains} chains, {annealing.num_distributions:,} distributions from the encoder"
    minimum, maximum = GAP_LIMITS

    def row(name: str, quantity: str, published: float | None, **options: Any) -> Row:
        return Row(quantity, published, numbers[name]["value"], numbers[name]["standard_error"], **options)

    gap, published_gap = f"gap: AIS minus IW-{num_samples:,}", PUBLISHED["AIS"] - PUBLISHED["IW-10000"]
    return [
        row("ais", f"AIS, {chains}, {images}", PUBLISHED["AIS"], note=note),
        row("iw", f"IW-{num_samples:,}, {images}", PUBLISHED["IW-10000"], note=note),
        row("gap", gap, published_gap, minimum=minimum, maximum=maximum, note=note),
        row("bracket", f"AIS bracket on {num_images} samples from the model", None, maximum=MAX_BRACKET),
    ]


def likelihood_panel(numbers: Mapping[str, Any], tier: Tier) -> Panel:
    """Returns log p(x) against the number of importance samples, and by annealing."""
    _, num_images, num_samples = PLAN[tier]
    x = [num_samples // 100, num_samples]
    lines = [
        Curve("importance sampling", x, [numbers["iw_fewer"]["value"], numbers["iw"]["value"]]),
        Curve("annealed importance sampling", x, [numbers["ais"]["value"]] * 2, 1),
    ]
    title = f"log p(x), first {num_images} test images"
    return Panel(title, "importance samples", "nats per image", lines, logarithmic=True)


def list_choices(tier: Tier) -> list[str]:
    """Returns the choices of a tier."""
    acceptance = PLAN[tier][0].acceptance
    return [
        f"The model is that of iwae-table1 with k = {K[tier]}, of the same tier.",
        "The test images are the first of MNIST's test set, binarized once. The published numbers are for 1,000 other "
        "images and for a model with longer training, so only their difference is compared.",
        "Chains start at the encoder's posterior, and move in units of its standard deviations. Step sizes are adapted to "
        f"an acceptance rate of {acceptance} on the first images, and are then fixed.",
    ]
