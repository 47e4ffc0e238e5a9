"""Learning curves from the records of ``metrics.jsonl``: a figure of one run, or one quantity of several runs.

Whatever was logged is drawn, and what stays the same is written: a constant learning rate is a number, not a curve.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaekit.plots.style import ACCENT, SECOND, StyledFigure, color, literal, styled, theme, typeset

History = Sequence[dict[str, Any]]
"""The records of the epochs of a run, with ``epoch``, ``train``, ``valid``, ``lr`` and ``grad_norm``."""

QUANTITIES = {
    "elbo": ("ELBO (higher is better)", "nats per image"),
    "distortion": ("distortion (lower is better)", "nats per image"),
    "rate": ("rate, the KL", "nats per image"),
    "beta": ("KL weight", "mean over the epoch"),
    "lr": ("learning rate", "at the epoch's end"),
    "grad_norm": ("gradient norm", "mean over the epoch"),
    "code_use": ("codes used by validation images", "% of all codes"),
    "perplexity": ("perplexity of the codes", "validation images"),
}
"""The known quantities, each with its title and unit; any other one that was logged has its name for a title."""
ON_BOTH_SPLITS = ("elbo", "distortion", "rate")
"""The quantities that are measured on training and on validation images."""
ON_VALIDATION = ("code_use", "perplexity")
"""The quantities that are measured on validation images alone."""
MAX_TITLE, MAX_NAME = 110, 50
"""The numbers of characters to which the title of a figure and the name of a run are cut."""
DPI = 200
"""The resolution of a figure in dots per inch, at which its shorter side is at least 1080 pixels."""
INCHES, MAIN_INCHES, ROW_INCHES = 9.0, 4.2, 1.9
"""The width of the figure of a run, the height of its upper part, and that of a row of its lower part."""
IN_A_ROW = 3
"""The maximum number of panels of a row of the lower part."""
DASHES = ("-", "--", ":", "-.")
"""The styles of lines, each of ten colors."""


@styled
def learning_curves(history: History, title: str) -> Figure:
    """Plots the ELBO large, distortion and rate beside it, and below everything else that was logged and changes.

    The epoch whose weights were kept is marked.

    Arguments:
        history: The records of the run.
        title: The text above the figure.
    """
    others = [name for name in changing([history]) if name not in ON_BOTH_SPLITS]
    rows = -(-len(others) // IN_A_ROW)
    heights = [MAIN_INCHES, ROW_INCHES * rows] if rows else [MAIN_INCHES + 1.2]
    figure = StyledFigure(figsize=(INCHES, sum(heights) + 0.5), layout="constrained")
    figure.suptitle(literal(title, MAX_TITLE), fontsize=11)
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(heights), 1, height_ratios=heights)))
    for axes, quantity in zip(_main_panels(parts[0]), ON_BOTH_SPLITS, strict=True):
        _plot(axes, {"": history}, quantity, {})
        legend = axes.get_legend()
        if quantity != "elbo" and legend is not None:
            legend.remove()
    if others:
        columns = -(-len(others) // rows)  # four are two rows of two, so that none stands alone
        panels = parts[1].subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(others) :]:
            axes.set_visible(False)
        for axes, quantity in zip(panels.flat, others, strict=False):
            _plot(axes, {"": history}, quantity, {})
    if still := constants([history]):
        figure.supxlabel(literal("constant: " + ", ".join(still), MAX_TITLE), fontsize=8, color=theme().faint)
    return figure


@styled
def curve(
    histories: Mapping[str, History], quantity: str, groups: Mapping[str, int] | None = None, *, legend: bool = True
) -> Figure:
    """Plots one quantity against epochs, in a figure that fits a phone.

    Arguments:
        histories: The records of each run by its name. Both splits of a single run are plotted, and the validation split of
            several runs.
        quantity: One of :data:`QUANTITIES`, or any other that was logged.
        groups: The number of the color of each run by its name; by default each has its own.
        legend: Whether the names of several runs are below; a page may have a legend of its own.
    """
    several = len(histories) > 1
    height = 3.0 + (0.16 * len(histories) if several and legend else 0)
    figure = StyledFigure(figsize=(4.6, height), layout="constrained")
    axes = figure.subplots()
    _plot(axes, histories, quantity, groups or {name: number for number, name in enumerate(histories)})
    if several and legend:
        figure.legend(axes.get_lines(), [literal(name, MAX_NAME) for name in histories], loc="outside lower left", ncols=1)
    return figure


def changing(histories: Sequence[History]) -> list[str]:
    """Returns the quantities that were logged and are not the same in all epochs of all runs, the known ones first.

    The loss is left out where it is the negative ELBO, and so is what no run has.
    """
    logged = [name for name in _logged(histories) if not _is_negative_elbo(histories, name)]
    return [name for name in logged if name in ON_BOTH_SPLITS or not _is_constant(histories, name)]


def constants(histories: Sequence[History]) -> list[str]:
    """Returns the quantities that are the same in all epochs, each as its title and its value."""
    found = []
    for name in _logged(histories):
        if name not in ON_BOTH_SPLITS and _is_constant(histories, name):
            found.append(f"{title_of(name)[0]} {typeset(f'{_values(histories, name)[0]:.4g}')}")
    return found


def title_of(quantity: str) -> tuple[str, str]:
    """Returns the title and the unit of a quantity."""
    return QUANTITIES.get(quantity, (quantity.replace("_", " "), "mean over the epoch"))


def kept(history: History) -> dict[str, Any] | None:
    """Returns the record of the epoch whose weights were kept, that of the best validation ELBO; None if there is none."""
    with_elbo = [record for record in history if "elbo" in record.get("valid", {})]
    marked = [record for record in with_elbo if record.get("best")]
    return marked[-1] if marked else max(with_elbo, key=lambda record: record["valid"]["elbo"], default=None)


def value_of_epoch(record: Mapping[str, Any], quantity: str, split: str = "train") -> float | None:
    """Returns a quantity of an epoch, on a split if it is measured on both; None if it was not logged."""
    value = record.get(quantity, record[split if quantity in ON_BOTH_SPLITS else "train"].get(quantity))
    if value is None and quantity in ON_VALIDATION:
        value = record.get("valid", {}).get(quantity)
    return None if value is None else float(value)


def _logged(histories: Sequence[History]) -> list[str]:
    names = {name: None for history in histories for record in history for name in record["train"]}
    return [name for name in QUANTITIES if _values(histories, name)] + [name for name in names if name not in QUANTITIES]


def _values(histories: Sequence[History], quantity: str) -> list[float]:
    values = [value_of_epoch(record, quantity) for history in histories for record in history]
    return [value for value in values if value is not None]


def _is_constant(histories: Sequence[History], quantity: str) -> bool:
    values = _values(histories, quantity)
    epochs = max(map(len, histories), default=0)
    return epochs > 1 and max(values) - min(values) <= 1e-6 * max(1e-12, abs(values[0]))


def _is_negative_elbo(histories: Sequence[History], quantity: str) -> bool:
    if quantity != "loss":
        return False
    records = [record["train"] for history in histories for record in history]
    return all(
        abs(train.get("loss", 0) + train.get("elbo", 0)) <= 1e-4 * max(1.0, abs(train.get("loss", 0))) for train in records
    )


def _main_panels(figure: Any) -> list[Axes]:
    """The panels of ELBO, distortion and rate: one large one, and two at its right."""
    grid = figure.add_gridspec(2, 2, width_ratios=[1.7, 1])
    return [figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])]


def _plot(axes: Axes, histories: Mapping[str, History], quantity: str, groups: Mapping[str, int]) -> None:
    """Plots one quantity of one run or of several."""
    title, unit = title_of(quantity)
    several = len(histories) > 1
    for name, history in histories.items():
        if several:
            number = groups[name]
            _line(axes, history, quantity, "valid", color(number), name, DASHES[number // 10 % len(DASHES)])
        else:
            _line(axes, history, quantity, "train", ACCENT, "train")
        if quantity in ON_BOTH_SPLITS and not several:
            _line(axes, history, quantity, "valid", SECOND, "validation")
            _mark_kept(axes, history, quantity)
            axes.legend(loc="best")
    axes.set_title(f"{title}, validation" if several and quantity in ON_BOTH_SPLITS else title, loc="left")
    axes.set_ylabel(unit)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True)
    if quantity == "elbo":
        _zoom(axes)
    if quantity in ("beta", "grad_norm", *ON_VALIDATION):
        axes.set_ylim(bottom=0)
    if quantity == "lr" and any(record["lr"] > 0 for history in histories.values() for record in history):
        axes.set_yscale("log")


def _line(axes: Axes, history: History, quantity: str, split: str, line_color: str, label: str, style: str = "-") -> None:
    pairs = [(record["epoch"], value_of_epoch(record, quantity, split)) for record in history]
    points = [(epoch, value) for epoch, value in pairs if value is not None]
    axes.plot(
        *zip(*points, strict=True) if points else ([], []),
        color=line_color,
        linestyle=style,
        linewidth=1.6,
        label=label,
        **_markers(len(points)),
    )


def _mark_kept(axes: Axes, history: History, quantity: str) -> None:
    """Marks the epoch whose weights were kept, by a vertical line and a point on the validation curve."""
    record = kept(history)
    if record is None or len(history) < 2:
        return
    value = record["valid"].get(quantity)
    axes.axvline(record["epoch"], color=theme().faint, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    if value is not None:
        label = f"kept: epoch {record['epoch']}, {typeset(f'{value:.2f}')}"
        axes.plot(
            [record["epoch"]], [value], "o", color=SECOND, markersize=7, markeredgecolor=theme().paper, label=label, zorder=3
        )


def _markers(num: int) -> dict[str, Any]:
    """The options that mark the points of a short line."""
    return {"marker": "o", "markersize": 3} if num < 30 else {}


def _zoom(axes: Axes) -> None:
    """Leaves the first epochs, whose ELBO is far below the others, out of the range of the axis."""
    lines = [line for line in axes.lines if len(np.atleast_1d(line.get_xdata())) > 2]
    values = sorted(value for line in lines for value in np.asarray(line.get_ydata(), float).tolist())
    if len(values) > 8:
        low, high = values[len(values) // 10], values[-1]
        if low < high:
            axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
