"""Curves over the published ones: what was obtained in color, what a paper shows pale behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from vaekit.plots.style import ACCENT, COLORS, SECOND, styled

METHOD_COLORS = [ACCENT, SECOND, *COLORS[4:]]
COLUMNS = 5
LEGEND_INCHES = 2.6
"""How much room an entry of the legend needs."""
PALE = 0.35
FEW = 25
"""Points are marked while a line has fewer."""


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Arguments:
        label: What it is, for the legend.
        x: Where, N numbers.
        y: What, N numbers.
        method: Which color: one for each method.
        solid: Solid for test images, dashed for training images.
        published: Whether it is the paper's, and drawn pale and broad.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    method: int = 0
    solid: bool = True
    published: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Arguments:
        title: What it shows.
        x_label: What its x axis counts.
        y_label: What its y axis measures, with the unit.
        curves: Its lines.
        limits: The lowest and the highest y.
        x_limits: The lowest and the highest x.
        logarithmic: Whether the x axis is.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    limits: tuple[float, float] | None = None
    x_limits: tuple[float, float] | None = None
    logarithmic: bool = False


@styled
def panels(charts: Sequence[Panel]) -> Figure:
    """Draws charts side by side, up to five in a row and in rows of equal length, under one legend."""
    rows = -(-len(charts) // COLUMNS)
    columns = -(-len(charts) // rows)
    figure = Figure(figsize=(3.0 * max(columns, 2), 2.8 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(charts) :]:
        axes.set_visible(False)
    for place, chart in enumerate(charts):
        axes = grid.flat[place]
        for curve in chart.curves:
            axes.plot(
                curve.x,
                curve.y,
                color=METHOD_COLORS[curve.method],
                linestyle="-" if curve.solid else "--",
                linewidth=4 if curve.published else 1.5,
                alpha=PALE if curve.published else 1,
                marker="o" if len(curve.x) < FEW else None,
                markersize=3.5,
                solid_capstyle="butt",
                dash_capstyle="butt",
                label=curve.label,
            )
        axes.set_title(chart.title)
        axes.set_xlabel(chart.x_label)
        if place % columns == 0:
            axes.set_ylabel(chart.y_label)
        if chart.logarithmic:
            axes.set_xscale("log")
        if chart.limits is not None:
            axes.set_ylim(*chart.limits)
        if chart.x_limits is not None:
            axes.set_xlim(*chart.x_limits)
        axes.grid(True)
    labels = {label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    across = max(1, int(figure.get_figwidth() / LEGEND_INCHES))
    figure.legend(labels.values(), labels.keys(), loc="outside lower left", ncols=across)
    return figure
