"""Plots of latents: the map of posterior means, and the rate of each latent."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor

from vaekit.plots.style import ACCENT, INK, SECOND, StyledFigure, color, count, literal, marker, styled, written
from vaekit.plots.typefaces import weight_of

MAX_LEGEND = 40
"""The maximum number of classes that are distinguished; the legend of more would cover the map."""
MAX_TITLE, MAX_CLASS, MAX_CENTER = 80, 24, 12
"""The numbers of characters to which a line of the title, and the name of a class in the legend and on the map, are cut."""
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
    """Plots images as points in the latent space, colored by class.

    Arguments:
        points: Their coordinates, with shape (N, 1) or (N, 2); of one coordinate a histogram of each class is plotted.
        labels: Their classes, with shape (N), or None.
        classes: The names of the classes, by label.
        axis_names: The names of the coordinates.
        title: The text above.
        covariances: The covariance of each posterior, with shape (N, 2, 2), plotted as ellipses of one standard deviation;
            None for no ellipses.
    """
    groups = _groups(labels, len(points))
    named = labels is not None and len(groups) <= MAX_LEGEND
    groups = groups if named else _groups(None, len(points))
    names = {label: written(classes[label] if label < len(classes) else str(label), MAX_CLASS) for label, _ in groups}
    longest = max(map(len, names.values()), default=0)
    columns = 5 if longest <= 6 else 3 if longest <= 14 else 2
    height = 4.5 + (0.2 * -(-len(groups) // columns) if named else 0)
    figure = StyledFigure(figsize=(4.8, height), layout="constrained")
    figure.suptitle("\n".join(literal(line, MAX_TITLE) for line in title.split("\n")), fontsize=9)
    axes = figure.subplots()
    coordinates = points.numpy()
    handles: list[Artist] = []  # kept here, since matplotlib leaves out of a legend what is named _ANYTHING
    if points.shape[1] == 1:
        handles = _histograms(axes, coordinates[:, 0], groups, names)
        axes.set_ylabel("images")
    else:
        for label, rows in groups:
            class_color = color(label) if named else ACCENT
            cloud = axes.scatter(
                coordinates[rows, 0],
                coordinates[rows, 1],
                s=min(12, max(3, 8000 / len(points))),
                color=class_color,
                marker=marker(label),
                alpha=0.7,
                linewidths=0,
                label=names[label],
                rasterized=True,
            )
            handles.append(cloud)
            if covariances is not None:
                axes.add_collection(_ellipses(axes, coordinates[rows], covariances.numpy()[rows], class_color))
        if named:
            _name_centers(axes, coordinates, groups, names)
        axes.set_ylabel(axis_names[1])
    axes.set_xlabel(axis_names[0])
    if named:
        texts = [literal(names[label]) for label, _ in groups]
        legend = figure.legend(handles, texts, loc="outside lower center", ncols=columns)
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([30])
                handle.set_alpha(1)
    return figure


@styled
def rate_plot(rates: Tensor, variances: Tensor, threshold: float, num_images: int) -> Figure:
    """Plots the KL of each latent, and which latents are active.

    Arguments:
        rates: The mean KL of each latent in nats, with shape (D); or only their sum, with shape (1).
        variances: The variance of each latent's posterior mean, with shape (D).
        threshold: The variance above which a latent is active.
        num_images: The number of images that the means are over.
    """
    is_factorized = len(rates) == len(variances)
    order = (rates if is_factorized else variances).argsort(descending=True, stable=True)
    shown = order[:MAX_BARS].tolist()
    active = variances > threshold
    figure = StyledFigure(figsize=(4.2, 4.4), layout="constrained")
    rest = f", the first {MAX_BARS} shown" if len(order) > MAX_BARS else ""
    figure.suptitle(
        f"{int(active.sum())} of {count(len(active), 'latents')} active{rest}; {count(num_images, 'images')}",
        fontsize=10,
    )
    above, below = figure.subplots(2, 1, sharex=True)
    places = np.arange(len(shown))
    colors = [ACCENT if active[latent] else SECOND for latent in shown]
    if is_factorized:
        above.bar(places, rates[shown].numpy(), color=colors, hatch=["" if active[latent] else "//" for latent in shown])
    above.set_ylabel("KL, nats")
    above.set_title(f"rate of each latent, {float(rates.sum()):.2f} nats in all")
    for latent, place, latent_color in zip(shown, places, colors, strict=True):
        marker_shape = "o" if active[latent] else "x"
        below.plot(place, max(float(variances[latent]), 1e-8), marker_shape, color=latent_color, markersize=4)
    below.axhline(threshold, color=INK, linestyle="--", linewidth=1)
    below.annotate(
        f"active above {threshold:g}",
        (0.02, threshold),
        xycoords=("axes fraction", "data"),
        ha="left",
        va="top",
        fontsize=8,
    )
    below.set_yscale("log")
    below.set_ylim(min(threshold / 30, float(variances.clamp(min=1e-6).min()) / 2), max(3.0, 2 * float(variances.max())))
    below.set_ylabel("variance of the mean")
    below.set_title("how far the mean moves between images")
    below.set_xlabel("latent, from the highest KL down" if is_factorized else "latent, from the highest variance down")
    every = max(1, -(-len(shown) // 16))
    spare = max(0, MIN_PLACES - len(shown)) / 2
    below.set_xlim(-0.6 - spare, len(shown) - 0.4 + spare)
    below.set_xticks(places[::every], [str(latent) for latent in shown[::every]])
    for axes in (above, below):
        axes.grid(True, axis="y")
    return figure


def _groups(labels: Tensor | None, num: int) -> list[tuple[int, NDArray[np.int64]]]:
    """The rows of each class that occurs; all rows as one group if there are no labels."""
    if labels is None:
        return [(0, np.arange(num))]
    values = labels.numpy()
    return [(int(label), np.flatnonzero(values == label)) for label in np.unique(values)]


def _histograms(
    axes: Axes, values: NDArray[np.float32], groups: list[tuple[int, NDArray[np.int64]]], names: dict[int, str]
) -> list[Artist]:
    """Plots a histogram of each class, and returns the line of each."""
    edges = np.linspace(values.min() - 1e-6, values.max() + 1e-6, 41).tolist()
    lines: list[Artist] = []
    for label, rows in groups:
        axes.hist(values[rows], edges, histtype="step", linewidth=1.5, color=color(label), label=names[label])
        lines.append(axes.patches[-1])
    return lines


def _ellipses(axes: Axes, centers: NDArray[np.float32], covariances: NDArray[np.float32], edge: str) -> EllipseCollection:
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


def _name_centers(
    axes: Axes, points: NDArray[np.float32], groups: list[tuple[int, NDArray[np.int64]]], names: dict[int, str]
) -> None:
    """Writes the name of each class at its median, for readers who do not tell the colors apart."""
    for label, rows in groups:
        middle = np.median(points[rows], axis=0)
        axes.annotate(
            literal(names[label], MAX_CENTER),
            tuple(middle),
            ha="center",
            va="center",
            fontsize=9 if len(names[label]) <= 6 else 7,
            fontweight=weight_of(names[label]),
            color="black",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
