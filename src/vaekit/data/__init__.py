"""Data sets: their sources, the cache of decoded images, and the batches for training."""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from vaekit.data.augment import augmenter
    from vaekit.data.augmentation import Augmentation
    from vaekit.data.batches import Batch, Batches, Transform, compose
    from vaekit.data.binarization import binarize, sample_binary
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

__getattr__ = lazy_names(
    __name__,
    {
        "Augmentation": "augmentation",
        "Batch": "batches",
        "Batches": "batches",
        "Dataset": "dataset",
        "Fit": "fitting",
        "Fitting": "fitting",
        "ImageSet": "images",
        "SplitSummary": "inspection",
        "TensorSet": "dataset",
        "Transform": "batches",
        "augmenter": "augment",
        "binarize": "binarization",
        "clear_cache": "cache",
        "compose": "batches",
        "fit": "fitting",
        "hold_out": "dataset",
        "in_class_order": "class_order",
        "inspect": "inspection",
        "is_image_shape": "images",
        "list_cache": "cache",
        "load_images": "loading",
        "load_validation": "loading",
        "open_image": "image_files",
        "sample_binary": "binarization",
    },
)
