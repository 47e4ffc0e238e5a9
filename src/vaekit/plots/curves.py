"""Learning curves, from the lines of ``metrics.jsonl``: of one run with its splits, or of several runs over one another."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaekit.plots.style import ACCENT, SECOND, color, styled

History = Sequence[dict[str, Any]]
"""The epochs of a run, each with ``epoch``, ``train``, ``valid``, ``lr`` and ``grad_norm``; terms in nats per image."""

QUANTITIES = {
    "elbo": ("ELBO (higher is better)", "nats per image"),
    "distortion": ("distortion (lower is better)", "nats per image"),
    "rate": ("rate, the KL", "nats per image"),
    "beta": ("KL weight", "mean over the epoch"),
    "lr": ("learning rate", "at the epoch's end"),
    "grad_norm": ("gradient norm", "mean over the epoch"),
}
"""What is drawn, with its title and unit."""
SPLIT = ("elbo", "distortion", "rate")
"""What is measured on training and on validation images."""


@styled
def learning_curves(history: History, title: str) -> Figure:
    """Draws the ELBO, its two terms, the KL weight, the learning rate and the gradient norm against epochs.

    Arguments:
        history: The epochs.
        title: What was trained, on how many images.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, quantity in zip(figure.subplots(2, 3).flat, QUANTITIES, strict=True):
        _draw(axes, {"": history}, quantity)
    return figure


@styled
def curve(histories: Mapping[str, History], quantity: str) -> Figure:
    """Draws one quantity against epochs, small enough for a phone.

    Arguments:
        histories: The epochs of each run by its name; of a single run both splits are drawn, of several the validation.
        quantity: One of :data:`QUANTITIES`.
    """
    figure = Figure(figsize=(4.2, 3.0 + (0.16 * len(histories) if len(histories) > 1 else 0)), layout="constrained")
    axes = figure.subplots()
    _draw(axes, histories, quantity)
    if len(histories) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)
    return figure


def _draw(axes: Axes, histories: Mapping[str, History], quantity: str) -> None:
    """One quantity of one run or of several."""
    title, unit = QUANTITIES[quantity]
    several = len(histories) > 1
    for number, (name, history) in enumerate(histories.items()):
        if several:
            _line(axes, history, quantity, "valid", color(number), name)
        else:
            _line(axes, history, quantity, "train", ACCENT, "train")
        if quantity in SPLIT and not several:
            _line(axes, history, quantity, "valid", SECOND, "validation")
            axes.legend()
    axes.set_title(f"{title}, validation" if several and quantity in SPLIT else title)
    axes.set_ylabel(unit)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True)
    if quantity == "elbo":
        _zoom(axes)
    if quantity in ("beta", "grad_norm"):
        axes.set_ylim(bottom=0)
    if quantity == "lr" and any(record["lr"] > 0 for history in histories.values() for record in history):
        axes.set_yscale("log")


def _line(axes: Axes, history: History, quantity: str, split: str, ink: str, label: str) -> None:
    measured = split if quantity in SPLIT else "train"
    found = [(r["epoch"], r.get(quantity, r[measured].get(quantity))) for r in history]
    points = [(epoch, value) for epoch, value in found if value is not None]
    axes.plot(*zip(*points, strict=True) if points else ([], []), color=ink, label=label, **_marks(len(points)))


def _marks(num: int) -> dict[str, Any]:
    """Points are marked while there are few of them."""
    return {"marker": "o", "markersize": 3} if num < 30 else {}


def _zoom(axes: Axes) -> None:
    """Keeps the first epochs, which are far below all others, from flattening the curve."""
    values = sorted(value for line in axes.lines for value in np.asarray(line.get_ydata(), float).tolist())
    if len(values) > 8:
        low, high = values[len(values) // 10], values[-1]
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
