"""Pure functions from tensors and records to images, figures and animations."""

from vaekit.plots.animation import Animation
from vaekit.plots.curves import curve, learning_curves
from vaekit.plots.error_maps import error_plot
from vaekit.plots.grids import grid, in_a_row, reconstruction_pairs, side_by_side, traversals
from vaekit.plots.latent_plots import latent_map, rate_plot
from vaekit.plots.look import Look
from vaekit.plots.planes import manifold
from vaekit.plots.style import to_svg

__all__ = [
    "Animation",
    "Look",
    "curve",
    "error_plot",
    "grid",
    "in_a_row",
    "latent_map",
    "learning_curves",
    "manifold",
    "rate_plot",
    "reconstruction_pairs",
    "side_by_side",
    "to_svg",
    "traversals",
]
