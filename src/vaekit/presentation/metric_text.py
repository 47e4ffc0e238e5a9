"""The final numbers as people read them: what each is called, what it means, and how it is written."""

import math
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

MEANINGS = {
    "elbo": ("ELBO", "A lower bound of log p(x): how probable the model finds an image it never saw. Higher is better."),
    "distortion": ("distortion", "What is lost by drawing an image from its latents: −E log p(x|z). Lower is better."),
    "rate": (
        "rate",
        "What the latents say about an image beyond the prior: KL(q(z|x) ‖ p(z)). ELBO = −(distortion + rate).",
    ),
    "bits_per_dim": ("bits/dim", "The ELBO as the bits that each number of an image costs. Lower is better."),
    "log_likelihood": ("log p(x), IW", "A tighter bound than the ELBO, by importance sampling. Higher is better."),
    "bits_per_dim_iw": ("bits/dim, IW", "That bound as the bits that each number of an image costs. Lower is better."),
    "iw_gap": ("IW − ELBO", "How far the ELBO lies below that bound, over the same images."),
    "annealed": (
        "log p(x), AIS",
        "The tightest of the three, by annealed importance sampling: that by importance sampling, and what annealing adds.",
    ),
    "annealed_gap": ("AIS − IW", "How far importance sampling lies below annealing, over the same images."),
    "bracket_gap": ("AIS bracket", "How far at most annealing is off on images that the model drew, from both sides."),
    "amortization_gap": (
        "amortization",
        "What the ELBO gains when each image's posterior is refined: the encoder's haste.",
    ),
    "active_units": ("active latents", "Latents whose posterior mean moves with the image; the others carry nothing."),
    "psnr": ("PSNR", "How near reconstructions are to their images, in decibels of squared error. Higher is better."),
    "ms_ssim": ("MS-SSIM", "The same over five scales. Higher is better."),
    "ssim": ("SSIM", "How alike reconstructions and images are in structure; 1 is equal. Higher is better."),
}
"""The final numbers, each with its name and what it means."""
COUNTED = {
    "log_likelihood": "samples",
    "iw_gap": "samples",
    "annealed": "chains",
    "annealed_gap": "chains",
    "bracket_gap": "chains",
    "amortization_gap": "samples",
}
"""The numbers whose counts are said beside them, and what was counted."""
HIGHER_IS_BETTER = ("elbo", "log_likelihood", "annealed", "psnr", "ssim", "ms_ssim")


CLOSED = 0.5
"""How wide, in nats, the bracket of annealing may be for what it brackets to be called known."""


def is_open(gap: Mapping[str, Any]) -> bool:
    """Whether a bracket is surely too wide: by two standard errors."""
    return bool(gap["value"] - 2 * gap.get("standard_error", 0.0) > CLOSED)


def value_of(key: str, number: Mapping[str, Any]) -> str:
    """Returns a number with its standard error."""
    if key == "active_units":
        return f"{number['value']} of {number['of']}"
    digits = 4 if key in ("ssim", "ms_ssim", "bits_per_dim", "bits_per_dim_iw") else 2
    value = f"{number['value']:.{digits}f}"
    return f"{value} ± {number['standard_error']:.{digits}f}" if "standard_error" in number else value


def unit_of(key: str, number: Mapping[str, Any]) -> str:
    """Returns the unit of a number, and what it rests on where that is not said elsewhere."""
    if key == "active_units":
        return f"variance over {number['threshold']:g}"
    unit = "" if key in ("ssim", "ms_ssim") else str(number["unit"])
    if key in COUNTED:
        counted = f"{number['num_samples']:,} {COUNTED[key]} each, " if "num_samples" in number else ""
        steps = f"{number['steps']:,} steps, " if "steps" in number else ""
        num = number["num_images"]
        some = f"{number['num_annealed']:,} of " if number.get("num_annealed", num) < num else ""
        return f"{unit}, {counted}{steps}{some}{num:,} images"
    return unit


def print_metrics(metrics: Mapping[str, Any], console: Console) -> None:
    """Prints the final numbers, each with its standard error and unit."""
    data = metrics["data"]
    console.print(
        f"\n{data['num_images']:,} {data['split']} images of {data['name']}, {data['pixels']}: {metrics['meaning']}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for key, (name, _) in MEANINGS.items():
        if key in metrics:
            line = f"{name:<14}{value_of(key, metrics[key]):>18}  {unit_of(key, metrics[key])}"
            console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)
    if "bracket_gap" in metrics and is_open(metrics["bracket_gap"]):
        said = "The bracket is open: annealing has not arrived, and more --distributions would raise log p(x) by AIS."
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    if "latents" in metrics:
        _print_latents(metrics["latents"], metrics["collapse"], console)
    if "fidelity" in metrics:
        _print_fidelity(metrics["fidelity"], console)
    if "usefulness" in metrics:
        _print_usefulness(metrics["usefulness"], console)
    for what, why in metrics.get("left_out", {}).items():
        console.print(f"without {what}: {why}", highlight=False, markup=False, soft_wrap=True)


PARTS = {
    "rate": "rate, KL(q(z|x) ‖ p(z))",
    "mutual_information": "mutual information of x and z",
    "aggregate_kl": "KL(q(z) ‖ p(z)) of the aggregate",
    "total_correlation": "total correlation",
    "dimension_wise_kl": "KL of each latent's aggregate, summed",
}
"""The rate and what it is made of."""


def _print_latents(latents: Mapping[str, Any], collapse: Mapping[str, Any], console: Console) -> None:
    """The parts of the rate, and whether the latents are used."""
    num = latents["rate"]["num_images"]
    table = _table(f"The rate over {num:,} images", "nats per image", "value")
    for key, name in PARTS.items():
        if key in latents:
            table.add_row(name, value_of(key, latents[key]))
    console.print(table)
    if latents["saturated"]:
        most = latents["log_num_images"]
        said = f"The mutual information is all that {num:,} images can show, log N = {most:.2f}: a lower bound of itself."
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    console.print(collapse["verdict"], highlight=False, markup=False, soft_wrap=True)


def _print_fidelity(fidelity: Mapping[str, Any], console: Console) -> None:
    """How like training images others are, by learned features."""
    count, extractor = fidelity["num_images"], fidelity["extractor"]["description"]
    title = f"{count:,} images against as many of the train split, by {extractor}"
    table = _table(title, "", *fidelity["rows"])
    for column in fidelity["columns"]:
        table.add_row(column, *(_short(row[column]) for row in fidelity["rows"].values()))
    console.print(table)
    if fidelity["few"]:
        head, dim = fidelity["columns"][0], fidelity["extractor"]["dim"]
        said = f"{head} of {count:,} images by {dim:,} features is bias before all: compare it with its floor alone."
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _print_usefulness(usefulness: Mapping[str, Any], console: Console) -> None:
    """What classifiers and clusterings make of the latents, and of pixels."""
    measures = {name: row for name, row in usefulness.items() if isinstance(row, dict) and "pixels" in row}
    representations = list(next(iter(measures.values())))
    table = _table("What the latents are good for", "", *representations)
    for name, row in measures.items():
        table.add_row(name, *(_short(row[representation]) for representation in representations))
    console.print(table)


def _table(title: str, *heads: str) -> Table:
    """A table without walls, which fits a narrow screen and breaks no word of its heads."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    for head in heads:
        table.add_column(head, min_width=max(map(len, head.split()), default=0))
    return table


def _short(number: Mapping[str, Any]) -> str:
    """A number to the first digit of its standard error; to three digits where there is none."""
    value, error = number["value"], number.get("standard_error")
    if not error:
        return f"{value:.3g}" if error is None else f"{value:.3g} ± 0"
    places = max(0, -math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"


def duration(seconds: float) -> str:
    """Returns a time that people read, e.g. ``12 min 4 s``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
