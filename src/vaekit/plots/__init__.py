"""Pure functions from tensors and records to images, figures and animations."""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from vaekit.plots.animation import Animation
    from vaekit.plots.curves import curve, learning_curves
    from vaekit.plots.error_maps import error_plot
    from vaekit.plots.grids import grid, in_a_row, reconstruction_pairs, side_by_side, traversals
    from vaekit.plots.latent_plots import latent_map, rate_plot
    from vaekit.plots.layer_plots import layer_rate_plot
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
    "layer_rate_plot",
    "learning_curves",
    "manifold",
    "rate_plot",
    "reconstruction_pairs",
    "side_by_side",
    "to_svg",
    "traversals",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Animation": "animation",
        "Look": "look",
        "curve": "curves",
        "error_plot": "error_maps",
        "grid": "grids",
        "in_a_row": "grids",
        "latent_map": "latent_plots",
        "layer_rate_plot": "layer_plots",
        "learning_curves": "curves",
        "manifold": "planes",
        "rate_plot": "latent_plots",
        "reconstruction_pairs": "grids",
        "side_by_side": "grids",
        "to_svg": "style",
        "traversals": "grids",
    },
)
