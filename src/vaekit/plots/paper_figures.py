"""Figures of reproductions: the obtained curves in color, the published curves pale behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from vaekit.plots.style import ACCENT, COLORS, SECOND, StyledFigure, styled

METHOD_COLORS = [ACCENT, SECOND, *COLORS[4:]]
COLUMNS = 5
LEGEND_INCHES = 2.6
"""The width of an entry of the legend."""
PALE = 0.35
"""The opacity of published curves."""
MAX_MARKED = 25
"""The points of shorter lines are marked."""


@dataclass(frozen=True)
class Curve:
    """A line of a panel.

    Arguments:
        label: The text in the legend.
        x: N numbers.
        y: N numbers.
        method: The number of the method, which has a color.
        solid: Whether the line is solid (test images) or dashed (training images).
        published: Whether the line is the paper's, which is pale and broad.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    method: int = 0
    solid: bool = True
    published: bool = False


@dataclass(frozen=True)
class Panel:
    """One plot of a figure.

    Arguments:
        title: The title.
        x_label: The label of the x axis, with the unit.
        y_label: The label of the y axis, with the unit.
        curves: The lines.
        limits: The range of the y axis.
        x_limits: The range of the x axis.
        logarithmic: Whether the x axis is logarithmic.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    limits: tuple[float, float] | None = None
    x_limits: tuple[float, float] | None = None
    logarithmic: bool = False


@styled
def panels(plots: Sequence[Panel]) -> Figure:
    """Plots panels side by side, up to five in a row and in rows of equal length, above one legend."""
    rows = -(-len(plots) // COLUMNS)
    columns = -(-len(plots) // rows)
    figure = StyledFigure(figsize=(3.0 * max(columns, 2), 2.8 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(plots) :]:
        axes.set_visible(False)
    for place, panel in enumerate(plots):
        axes = grid.flat[place]
        for curve in panel.curves:
            axes.plot(
                curve.x,
                curve.y,
                color=METHOD_COLORS[curve.method],
                linestyle="-" if curve.solid else "--",
                linewidth=4 if curve.published else 1.5,
                alpha=PALE if curve.published else 1,
                marker="o" if len(curve.x) < MAX_MARKED else None,
                markersize=3.5,
                solid_capstyle="butt",
                dash_capstyle="butt",
                label=curve.label,
            )
        axes.set_title(panel.title)
        axes.set_xlabel(panel.x_label)
        if place % columns == 0:
            axes.set_ylabel(panel.y_label)
        if panel.logarithmic:
            axes.set_xscale("log")
        if panel.limits is not None:
            axes.set_ylim(*panel.limits)
        if panel.x_limits is not None:
            axes.set_xlim(*panel.x_limits)
        axes.grid(True)
    labels = {label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    across = max(1, int(figure.get_figwidth() / LEGEND_INCHES))
    figure.legend(labels.values(), labels.keys(), loc="outside lower left", ncols=across)
    return figure
