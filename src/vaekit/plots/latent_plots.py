"""Plots of latents: the map of posterior means, and the rate of each latent."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from numpy.typing import NDArray
from torch import Tensor

from vaekit.plots.density import Density, density, places
from vaekit.plots.style import ACCENT, SECOND, StyledFigure, color, count, literal, marker, styled, theme, written
from vaekit.plots.typefaces import weight_of

Floats = NDArray[np.float64]
Groups = list[tuple[int, NDArray[np.int64]]]
"""The rows of each class."""

INCHES = 5.6
"""The width of a figure, which is 1120 pixels at 200 dots per inch."""
MAX_NAMED = 40
"""The maximum number of classes that are distinguished; the names of more would cover the map."""
MAX_TITLE, MAX_CLASS = 80, 24
"""The numbers of characters to which a line of the title and the name of a class are cut."""
MIN_CONTOURED = 60
"""The least number of points of a class whose density is drawn as contours."""
SHARES = (0.8, 0.4)
"""The shares of the points of a class that its contours hold."""
MAX_ASPECT = 4
"""The proportion of the extents of points above which each axis of a map has a scale of its own."""
MIN_PLACES = 8
"""The least number of bars that the axis has space for, so that few bars are not wide."""
MAX_BARS = 64
"""The maximum number of latents that are plotted."""


@styled
def latent_map(
    points: Tensor,
    labels: Tensor | None,
    classes: Sequence[str],
    *,
    axis_names: Sequence[str],
    title: str,
    covariances: Tensor | None = None,
) -> Figure:
    """Plots images as points in the latent space, colored by class, with the density and the name of each class.

    Points are in random order, so that no class covers another. The name of a class is at the mode of its density.

    Arguments:
        points: Their coordinates, with shape (N, 1) or (N, 2); of one coordinate a histogram of each class is plotted.
        labels: Their classes, with shape (N), or None.
        classes: The names of the classes, by label.
        axis_names: The names of the coordinates.
        title: The text above, in lines; the first one is the heading.
        covariances: The covariance of each posterior, with shape (N, 2, 2), plotted as ellipses of one standard deviation;
            None for no ellipses.
    """
    groups = _groups(labels, len(points))
    named = labels is not None and len(groups) <= MAX_NAMED
    groups = groups if named else _groups(None, len(points))
    names = {label: written(classes[label] if label < len(classes) else str(label), MAX_CLASS) for label, _ in groups}
    figure = StyledFigure(figsize=(INCHES, INCHES + 0.3), layout="constrained")
    axes = figure.subplots()
    _write_title(axes, title)
    coordinates = points.double().numpy()
    if points.shape[1] == 1:
        _plot_histograms(figure, axes, coordinates[:, 0], groups, names if named else {})
        axes.set_ylabel("images")
    else:
        _plot_cloud(axes, coordinates, groups, names if named else {}, covariances)
        axes.set_ylabel(axis_names[1])
    axes.set_xlabel(axis_names[0])
    return figure


def _write_title(axes: Axes, title: str) -> None:
    """Writes a heading, and fainter lines below it, from the left edge of a panel."""
    heading, *rest = (literal(line, MAX_TITLE) for line in title.split("\n"))
    weight = weight_of(heading)
    axes.set_title(heading, loc="left", pad=8 + 13 * len(rest), fontsize=10.5, fontweight=weight)
    for number, line in enumerate(reversed(rest)):
        place = (0, 8 + 13 * number)
        axes.annotate(
            line, (0, 1), place, "axes fraction", "offset points", fontsize=8.5, color=theme().faint, annotation_clip=False
        )


def _plot_cloud(axes: Axes, points: Floats, groups: Groups, names: dict[int, str], covariances: Tensor | None) -> None:
    """Plots points, densities and names; classes without names are plotted as one."""
    limits = _ranges(points)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    axes.set_box_aspect(1)
    _scatter(axes, points, groups, names)
    densities = [density(points[rows], limits) for _, rows in groups]
    for (label, rows), shown in zip(groups, densities, strict=True):
        class_color = color(label) if names else ACCENT
        if covariances is not None:
            axes.add_collection(_ellipses(axes, points[rows], covariances.numpy()[rows], class_color))
        elif len(rows) >= MIN_CONTOURED:
            levels = sorted({shown.level(points[rows], share) for share in SHARES})
            axes.contour(shown.x, shown.y, shown.values, levels, colors=class_color, linewidths=1.1, alpha=0.9)
    if names:
        _write_names(axes, densities, groups, names, limits)


def _ranges(points: Floats) -> list[tuple[float, float]]:
    """The ranges of two axes that hold all points: of one scale, unless the points would be on a line then."""
    low, high = points.min(0), points.max(0)
    sides = (high - low).clip(min=1e-6)
    sides = sides if sides.min() * MAX_ASPECT < sides.max() else np.full(2, sides.max())
    return [
        (float(center - 0.53 * side), float(center + 0.53 * side))
        for center, side in zip((low + high) / 2, sides, strict=True)
    ]


def _scatter(axes: Axes, points: Floats, groups: Groups, names: dict[int, str]) -> None:
    """Plots all points in random order, each in the color and the marker of its class."""
    order = np.random.default_rng(0).permutation(len(points))
    label_of = np.empty(len(points), np.int64)
    for label, rows in groups:
        label_of[rows] = label
    shown = label_of[order].tolist()
    cloud = axes.scatter(
        points[order, 0],
        points[order, 1],
        s=min(20.0, max(4.0, 12_000 / len(points))),
        c=[color(label) if names else ACCENT for label in shown],
        alpha=0.75 if len(points) <= 3_000 or theme().name == "dark" else 0.55,
        linewidths=0,
        rasterized=True,
    )
    shapes = {label: MarkerStyle(marker(label)) for label, _ in groups}
    paths = {label: shape.get_path().transformed(shape.get_transform()) for label, shape in shapes.items()}
    cloud.set_paths([paths[label] for label in shown] if len({marker(label) for label in paths}) > 1 else [paths[shown[0]]])


def _write_names(
    axes: Axes,
    densities: Sequence[Density],
    groups: Groups,
    names: dict[int, str],
    limits: Sequence[tuple[float, float]],
) -> None:
    """Writes the name of each class on its color, at the mode of its density or where it hides no other name."""
    size = 9 if len(groups) <= 12 and max(map(len, names.values())) <= 10 else 7
    unit = (limits[0][1] - limits[0][0]) / (72 * (INCHES - 0.7))  # of a point of the page
    sizes = [((0.62 * len(names[label]) + 1.0) * size * unit, 1.75 * size * unit) for label, _ in groups]
    for (label, _), place in zip(groups, places(densities, sizes), strict=True):
        axes.annotate(
            literal(names[label]),
            place,
            ha="center",
            va="center",
            fontsize=size,
            fontweight=weight_of(names[label]),
            color=_ink_on(color(label)),
            bbox={"boxstyle": "round,pad=0.3", "facecolor": color(label), "edgecolor": "#ffffff", "linewidth": 0.8},
            zorder=4,
        )


def _ink_on(background: str) -> str:
    """White, or black on a light color."""
    red, green, blue = (value**2.2 for value in to_rgb(background))
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.25 else "#ffffff"


@styled
def rate_plot(rates: Tensor, variances: Tensor, threshold: float, num_images: int) -> Figure:
    """Plots the KL of each latent, and which latents are active.

    Arguments:
        rates: The mean KL of each latent in nats, with shape (D); or only their sum, with shape (1);
            empty if the prior has no density.
        variances: The variance of each latent's posterior mean, with shape (D).
        threshold: The variance above which a latent is active.
        num_images: The number of images that the means are over.
    """
    is_factorized = len(rates) == len(variances)
    order = (rates if is_factorized else variances).argsort(descending=True, stable=True)
    shown = order[:MAX_BARS].tolist()
    active = variances > threshold
    colors = [ACCENT if active[latent] else SECOND for latent in shown]
    figure = StyledFigure(figsize=(INCHES, INCHES), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    rest = f", the first {MAX_BARS} shown" if len(order) > MAX_BARS else ""
    heading = f"{int(active.sum())} of {count(len(active), 'latents')} active{rest}"
    total = f"rate {float(rates.sum()):.2f} nats in all" if len(rates) else "no rate"
    _write_title(above, f"{heading}\n{total}; {count(num_images, 'images')}")
    if is_factorized:
        hatches = ["" if active[latent] else "//" for latent in shown]
        above.bar(range(len(shown)), rates[shown].numpy(), width=0.75, color=colors, hatch=hatches)
    else:
        text = "only the joint rate of all latents is known" if len(rates) else "sampler only: the prior has no density"
        above.text(0.5, 0.5, text, transform=above.transAxes, ha="center", fontsize=8.5, color=theme().faint)
    above.set_ylabel("rate (KL), nats")
    _plot_variances(below, [float(variances[latent]) for latent in shown], [bool(active[k]) for k in shown], threshold)
    ordered = "KL" if is_factorized else "variance"
    below.set_xlabel(f"latent, from the highest {ordered} down")
    every = max(1, -(-len(shown) // 16))
    spare = max(0, MIN_PLACES - len(shown)) / 2
    below.set_xlim(-0.6 - spare, len(shown) - 0.4 + spare)
    below.set_xticks(range(0, len(shown), every), [str(latent) for latent in shown[::every]])
    return figure


def _plot_variances(axes: Axes, values: Sequence[float], active: Sequence[bool], threshold: float) -> None:
    """Plots the variance of each latent's mean over images, and the threshold of active ones."""
    for place, (value, is_active) in enumerate(zip(values, active, strict=True)):
        shape = "o" if is_active else "x"
        axes.plot(place, max(value, 1e-8), shape, color=ACCENT if is_active else SECOND, markersize=5)
    axes.axhline(threshold, color=theme().faint, linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(min(threshold / 30, max(min(values), 1e-6) / 2), max(3.0, 2 * max(values)))
    axes.set_ylabel("variance of the posterior mean")
    axes.set_title(f"active above the dashed line, {threshold:g}", loc="left", fontsize=9, fontweight="normal")


def _groups(labels: Tensor | None, num: int) -> Groups:
    """The rows of each class that occurs; all rows as one group if there are no labels."""
    if labels is None:
        return [(0, np.arange(num))]
    values = labels.numpy()
    return [(int(label), np.flatnonzero(values == label)) for label in np.unique(values)]


def _plot_histograms(figure: Figure, axes: Axes, values: Floats, groups: Groups, names: dict[int, str]) -> None:
    """Plots a histogram of each class, with a legend of their names."""
    edges = np.linspace(values.min() - 1e-6, values.max() + 1e-6, 41).tolist()
    lines: list[Artist] = []  # kept here, since matplotlib leaves out of a legend what is named _ANYTHING
    for label, rows in groups:
        axes.hist(values[rows], edges, histtype="step", linewidth=1.5, color=color(label) if names else ACCENT)
        lines.append(axes.patches[-1])
    if names:
        longest = max(map(len, names.values()))
        columns = 6 if longest <= 6 else 3 if longest <= 14 else 2
        figure.legend(lines, [literal(name) for name in names.values()], loc="outside lower center", ncols=columns)


def _ellipses(axes: Axes, centers: Floats, covariances: NDArray[np.float32], edge: str) -> EllipseCollection:
    """The ellipses of one standard deviation of each posterior."""
    values, vectors = np.linalg.eigh(covariances)
    widths = 2 * np.sqrt(values.clip(min=0))
    angles = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    return EllipseCollection(
        widths[:, 1],
        widths[:, 0],
        angles,
        units="xy",
        offsets=centers,
        transOffset=axes.transData,
        facecolors="none",
        edgecolors=edge,
        linewidths=0.6,
        alpha=0.5,
    )
