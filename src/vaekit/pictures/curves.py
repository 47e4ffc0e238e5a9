"""Learning curves, from the lines of ``metrics.jsonl``."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAIN, VALID = "#0072B2", "#D55E00"
"""Blue and vermillion of Okabe and Ito's palette, which colour-blind readers tell apart."""


def learning_curves(records: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draws the ELBO, its two terms, the KL weight and the learning rate against epochs.

    Arguments:
        records: The epochs, each with ``epoch``, ``train``, ``valid`` and ``lr``; ELBO, distortion and rate in nats.
        title: What was trained.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    figure.suptitle(title)
    (elbo, distortion, rate), (weight, lr, norm) = figure.subplots(2, 3, sharex=True)
    for axes, key, sense in ((elbo, "elbo", "higher"), (distortion, "distortion", "lower"), (rate, "rate", "KL")):
        _line(axes, records, [r["train"].get(key) for r in records], TRAIN, "train")
        _line(axes, records, [r["valid"].get(key) for r in records], VALID, "validation")
        axes.set_ylabel("nats per picture")
        axes.set_title(f"{key} ({sense})" if sense == "KL" else f"{key} ({sense} is better)")
    _zoom(elbo, records)
    elbo.legend(frameon=False)
    _line(weight, records, [r["train"].get("beta") for r in records], TRAIN, "train")
    weight.set_title("KL weight")
    _line(lr, records, [r["lr"] for r in records], TRAIN, "train")
    lr.set_title("learning rate")
    if any(r["lr"] > 0 for r in records):
        lr.set_yscale("log")
    for axes in (weight, norm):
        axes.set_ylabel("mean over the epoch")
    _line(norm, records, [r["grad_norm"] for r in records], TRAIN, "train")
    norm.set_title("gradient norm")
    for axes in (weight, lr, norm):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _line(axes: Axes, records: Sequence[dict[str, Any]], values: Sequence[float | None], colour: str, label: str) -> None:
    points = [(record["epoch"], value) for record, value in zip(records, values, strict=True) if value is not None]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=colour,
        label=label,
        marker="o" if len(points) < 30 else None,
        markersize=3,
    )
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _zoom(axes: Axes, records: Sequence[dict[str, Any]]) -> None:
    """Keeps the first epochs, which are far below all others, from flattening the curve."""
    values = sorted(record[part]["elbo"] for record in records for part in ("train", "valid"))
    if len(values) > 8:
        low, high = values[len(values) // 10], values[-1]
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
