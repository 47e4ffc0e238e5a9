"""Images: where they come from, the cache that holds them decoded, and the batches that training takes."""

from vaekit.data.augment import Augmentation, augmenter
from vaekit.data.batches import Batch, Batches, Transform, in_turn
from vaekit.data.binarize import binarize, draw_binary
from vaekit.data.cache import cached, clear_cache
from vaekit.data.decode import Fit, Fitting, fit, open_image
from vaekit.data.images import ImageSet, hold_out
from vaekit.data.inspection import Findings, inspect
from vaekit.data.loading import load_images

__all__ = [
    "Augmentation",
    "Batch",
    "Batches",
    "Findings",
    "Fit",
    "Fitting",
    "ImageSet",
    "Transform",
    "augmenter",
    "binarize",
    "cached",
    "clear_cache",
    "draw_binary",
    "fit",
    "hold_out",
    "in_turn",
    "inspect",
    "load_images",
    "open_image",
]
