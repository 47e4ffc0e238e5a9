"""Pure functions from tensors and records to images and figures."""

from vaekit.pictures.curves import learning_curves
from vaekit.pictures.grids import grid, reconstruction_pairs

__all__ = ["grid", "learning_curves", "reconstruction_pairs"]
