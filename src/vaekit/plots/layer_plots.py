"""The plot of the rate of each stochastic layer of a model."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from vaekit.plots.latent_plots import INCHES, write_title
from vaekit.plots.style import StyledFigure, color, count, styled


@styled
def layer_rate_plot(rates: Tensor, names: Sequence[str], sizes: Sequence[int], num_images: int) -> Figure:
    """Plots the nats of each stochastic layer, from the top down; layers of one resolution have one color.

    Arguments:
        rates: The mean rate of each layer in nats, with shape (L).
        names: The resolution of each layer.
        sizes: The number of latents of each layer.
        num_images: The number of images that the means are over.
    """
    kinds, places = list(dict.fromkeys(names)), range(len(rates))
    height = max(2.6, 1.3 + 0.34 * len(rates))
    figure = StyledFigure(figsize=(INCHES, height), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, rates.tolist(), height=0.72, color=[color(kinds.index(name)) for name in names])
    for place, rate in zip(places, rates.tolist(), strict=True):
        axes.annotate(f"{rate:.2f}", (max(rate, 0), place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    lines = zip(range(1, len(rates) + 1), names, sizes, strict=True)
    axes.set_yticks(places, [f"{number} · {name} · {size:,} latents" for number, name, size in lines])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.14 * max(float(rates.max()), 1e-3))
    axes.set_xlabel("rate (KL), nats per image")
    axes.set_ylabel("stochastic layer, from the top down")
    sums = [sum(rate for rate, other in zip(rates.tolist(), names, strict=True) if other == name) for name in kinds]
    parts = ", ".join(f"{total:.2f} at {name}" for total, name in zip(sums, kinds, strict=True))
    heading = f"{float(rates.sum()):.2f} nats in {count(len(rates), 'layers')}, {count(num_images, 'images')}"
    write_title(axes, f"{heading}\n{parts}")
    return figure
