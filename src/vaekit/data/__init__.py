"""Data sets: their sources, the cache of decoded images, and the batches for training."""

from vaekit.data.augment import Augmentation, augmenter
from vaekit.data.batches import Batch, Batches, Transform, compose
from vaekit.data.binarize import binarize, sample_binary
from vaekit.data.cache import clear_cache, list_cache
from vaekit.data.class_order import in_class_order
from vaekit.data.dataset import Dataset, TensorSet, hold_out
from vaekit.data.fitting import Fit, Fitting, fit
from vaekit.data.image_files import open_image
from vaekit.data.images import ImageSet, is_image_shape
from vaekit.data.inspection import SplitSummary, inspect
from vaekit.data.loading import load_images, load_validation

__all__ = [
    "Augmentation",
    "Batch",
    "Batches",
    "Dataset",
    "Fit",
    "Fitting",
    "ImageSet",
    "SplitSummary",
    "TensorSet",
    "Transform",
    "augmenter",
    "binarize",
    "clear_cache",
    "compose",
    "fit",
    "hold_out",
    "in_class_order",
    "inspect",
    "is_image_shape",
    "list_cache",
    "load_images",
    "load_validation",
    "open_image",
    "sample_binary",
]
