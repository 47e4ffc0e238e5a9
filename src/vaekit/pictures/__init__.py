"""Pure functions from tensors and records to images, figures and films."""

from vaekit.pictures.animation import Film
from vaekit.pictures.curves import curve, learning_curves
from vaekit.pictures.errors import error_chart
from vaekit.pictures.grids import grid, in_a_row, manifold, reconstruction_pairs, side_by_side, traversals
from vaekit.pictures.latents import latent_map, rate_chart
from vaekit.pictures.style import to_svg

__all__ = [
    "Film",
    "curve",
    "error_chart",
    "grid",
    "in_a_row",
    "latent_map",
    "learning_curves",
    "manifold",
    "rate_chart",
    "reconstruction_pairs",
    "side_by_side",
    "to_svg",
    "traversals",
]
