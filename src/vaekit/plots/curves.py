"""Learning curves from the records of ``metrics.jsonl``: both splits of one run, or several runs in one plot."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaekit.plots.style import ACCENT, SECOND, StyledFigure, color, literal, styled

History = Sequence[dict[str, Any]]
"""The records of the epochs of a run, with ``epoch``, ``train``, ``valid``, ``lr`` and ``grad_norm``."""

QUANTITIES = {
    "elbo": ("ELBO (higher is better)", "nats per image"),
    "distortion": ("distortion (lower is better)", "nats per image"),
    "rate": ("rate, the KL", "nats per image"),
    "beta": ("KL weight", "mean over the epoch"),
    "lr": ("learning rate", "at the epoch's end"),
    "grad_norm": ("gradient norm", "mean over the epoch"),
}
"""The plotted quantities, each with its title and unit."""
MAX_TITLE, MAX_NAME = 110, 50
"""The numbers of characters to which the title of a figure and the name of a run are cut."""
ON_BOTH_SPLITS = ("elbo", "distortion", "rate")
"""The quantities that are measured on training and on validation images."""


@styled
def learning_curves(history: History, title: str) -> Figure:
    """Plots the ELBO, its two terms, the KL weight, the learning rate and the gradient norm against epochs.

    Arguments:
        history: The records of the run.
        title: The text above the figure.
    """
    figure = StyledFigure(figsize=(10, 6), layout="constrained")
    figure.suptitle(literal(title, MAX_TITLE), fontsize=11)
    for axes, quantity in zip(figure.subplots(2, 3).flat, QUANTITIES, strict=True):
        _plot(axes, {"": history}, quantity)
    return figure


@styled
def curve(histories: Mapping[str, History], quantity: str) -> Figure:
    """Plots one quantity against epochs, in a figure that fits a phone.

    Arguments:
        histories: The records of each run by its name. Both splits of a single run are plotted, and the validation split of
            several runs.
        quantity: One of :data:`QUANTITIES`.
    """
    figure = StyledFigure(figsize=(4.2, 3.0 + (0.16 * len(histories) if len(histories) > 1 else 0)), layout="constrained")
    axes = figure.subplots()
    _plot(axes, histories, quantity)
    if len(histories) > 1:
        figure.legend(axes.get_lines(), [literal(name, MAX_NAME) for name in histories], loc="outside lower left", ncols=1)
    return figure


def _plot(axes: Axes, histories: Mapping[str, History], quantity: str) -> None:
    """Plots one quantity of one run or of several."""
    title, unit = QUANTITIES[quantity]
    several = len(histories) > 1
    for number, (name, history) in enumerate(histories.items()):
        if several:
            _line(axes, history, quantity, "valid", color(number), name)
        else:
            _line(axes, history, quantity, "train", ACCENT, "train")
        if quantity in ON_BOTH_SPLITS and not several:
            _line(axes, history, quantity, "valid", SECOND, "validation")
            axes.legend()
    axes.set_title(f"{title}, validation" if several and quantity in ON_BOTH_SPLITS else title)
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


def _line(axes: Axes, history: History, quantity: str, split: str, line_color: str, label: str) -> None:
    measured = split if quantity in ON_BOTH_SPLITS else "train"
    pairs = [(r["epoch"], r.get(quantity, r[measured].get(quantity))) for r in history]
    points = [(epoch, value) for epoch, value in pairs if value is not None]
    axes.plot(*zip(*points, strict=True) if points else ([], []), color=line_color, label=label, **_markers(len(points)))


def _markers(num: int) -> dict[str, Any]:
    """The options that mark the points of a short line."""
    return {"marker": "o", "markersize": 3} if num < 30 else {}


def _zoom(axes: Axes) -> None:
    """Leaves the first epochs, whose ELBO is far below the others, out of the range of the axis."""
    values = sorted(value for line in axes.lines for value in np.asarray(line.get_ydata(), float).tolist())
    if len(values) > 8:
        low, high = values[len(values) // 10], values[-1]
        if low < high:
            axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
