"""Single images as a model reads them: fitted to one shape and scaled to gray levels, from files or from objects of Python.

Whole sets go through the cache (:func:`vaekit.data.load_images`); a few images are read directly.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.files import user_path
from vaekit.data.fitting import Fitting, Opened, Pixels, fit
from vaekit.data.image_files import open_image
from vaekit.data.level_search import Ranges, file_ranges, find_levels, with_levels_of_files
from vaekit.data.levels import EIGHT_BITS, UNKNOWN, Levels, ValueRange, kind_of, range_of, scale
from vaekit.data.loading import load_images
from vaekit.data.samples import Samples
from vaekit.data.sources.file_kinds import image_suffixes
from vaekit.data.sources.objects import EncodedList

Images = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor | Sequence[Any]
"""Images as Python has them: a path, an image of Pillow, an array of shape (H, W) or (H, W, C), or several of these."""
WANTED = "a path, an image of Pillow, an array of shape (H, W) or (H, W, C), or a list of these"
"""What images may be, for messages."""


def prepare_images(images: Images, shape: tuple[int, int, int], fitting: Fitting) -> Tensor:
    """Returns images as uint8 of shape (N, C, H, W).

    Arguments:
        images: A path of an image, of a folder or of another source of images; an image of Pillow; an array of shape
            (H, W), (H, W, C), (N, H, W) or (N, H, W, C); a tensor of shape (H, W), (C, H, W), (N, H, W) or (N, C, H, W),
            whose layout an array may have, too; or a list of paths, of images or of arrays, which may differ in size.
        shape: The shape of an image, (C, H, W).
        fitting: How images are fitted. Levels that are not known are found in the given images.

    Raises:
        DataError: If there is no such image, it cannot be read, or it has other channels.
    """
    if isinstance(images, str | os.PathLike):
        return _of_path(os.fspath(images), shape, fitting)
    several: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    if not several:
        raise DataError("no images: the list is empty")
    if all(isinstance(image, str | os.PathLike) for image in several):
        return read_image_files([Path(image) for image in several], shape, fitting)
    if all(isinstance(image, Image.Image) for image in several):
        encoded = EncodedList(several).encoded
        fitting = _with_levels(file_ranges({"": encoded}, fitting.levels, "images"), fitting)
        return _fitted([(open_image(image, "image"), "image") for image in encoded], len(encoded), shape, fitting)
    arrays = [each for image in several for each in _arrays(image, shape[0])]
    levels = _with_levels(_ranges_of(arrays), fitting).levels
    opened = [(_opened(array, levels, shape[0]), "array") for array in arrays]
    return _fitted(opened, len(opened), shape, replace(fitting, levels=UNKNOWN))


def read_image_files(paths: Sequence[Path], shape: tuple[int, int, int], fitting: Fitting) -> Tensor:
    """Reads image files as uint8 of shape (N, C, H, W); arguments as of :func:`prepare_images`.

    Raises:
        DataError: If a file does not exist, is no image, or has other channels.
    """
    paths = [user_path(path) for path in paths]
    for path in paths:
        if not os.path.isfile(path):  # also of a name that no path can have
            raise DataError(f"{path}: no such image")
    opened = ((open_image(path, str(path)), str(path)) for path in paths)
    return _fitted(opened, len(paths), shape, with_levels_of_files(paths, fitting))


def _of_path(path: str, shape: tuple[int, int, int], fitting: Fitting) -> Tensor:
    """The image of a file, or all images of another source."""
    if path.lower().endswith(tuple(image_suffixes())):
        return read_image_files([Path(path)], shape, fitting)
    channels, height, width = shape
    options: dict[str, Any] = {"fit": fitting.fit, "background": fitting.background, "levels": fitting.levels.write()}
    return load_images(path, "any", size=(height, width), channels=channels, **options).pixels


def _fitted(opened: Iterable[tuple[Opened, str]], num: int, shape: tuple[int, int, int], fitting: Fitting) -> Tensor:
    """Opened images with their names, fitted, with shape (N, C, H, W)."""
    channels, height, width = shape
    pixels = np.empty((num, channels, height, width), np.uint8)
    for row, (image, name) in enumerate(opened):
        try:
            pixels[row] = fit(image, (height, width), channels, fitting)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
    return torch.from_numpy(pixels)


def _arrays(image: Any, channels: int) -> list[NDArray[Any]]:
    """The images of an array or tensor, each with shape (H, W, C)."""
    if isinstance(image, Tensor):
        array = image.detach().cpu().numpy()
        is_single = array.ndim == 2 or (array.ndim == 3 and array.shape[0] in (1, 3, 4, channels))
        array = np.moveaxis(array, -3, -1) if array.ndim > 2 and (array.ndim == 4 or is_single) else array
    elif isinstance(image, np.ndarray):
        array = np.moveaxis(image, -3, -1) if _is_planar(image, channels) else image
        is_single = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4, channels))
    else:
        raise DataError(f"an image is {WANTED}, not {type(image).__name__}")
    if array.ndim not in (2, 3, 4) or not array.size or array.dtype.kind not in "biuf":
        raise DataError(f"array: {array.dtype} of shape {array.shape} is no image; give {WANTED}")
    batch = array[None] if is_single else array
    return list(batch if batch.ndim == 4 else batch[..., None])


def _is_planar(array: NDArray[Any], channels: int) -> bool:
    """Whether an array has the layout of tensors, (C, H, W) or (N, C, H, W), and cannot have that of images."""
    if array.ndim not in (3, 4) or array.shape[-1] in (1, 3, 4, channels):
        return False
    return bool(array.shape[-3] == channels if array.ndim == 3 else array.shape[-3] in (1, 3, 4, channels))


def _ranges_of(arrays: Sequence[NDArray[Any]]) -> Ranges:
    """The ranges of the values of arrays that are deeper than 8 bits, all arrays together."""
    ranges: Ranges = {}
    for array in arrays:
        if (kind := kind_of(array.dtype)) != "uint8":
            try:
                ranges[kind] = ranges.get(kind, ValueRange()).union(range_of(array))
            except ValueError as error:
                raise DataError(f"array: {error}") from None
    return ranges


def _with_levels(ranges: Ranges, fitting: Fitting) -> Fitting:
    """A fitting whose levels are completed by the ranges of values."""
    return replace(fitting, levels=find_levels(ranges, fitting.levels, "images")[0])


def _opened(array: NDArray[Any], levels: Levels, channels: int) -> Opened:
    """An array of shape (H, W, C) as an opened image of 8 bits."""
    kind = kind_of(array.dtype)
    pixels: Pixels = scale(array, levels.of(kind) or EIGHT_BITS)
    if pixels.shape[2] not in (1, 3, 4) or pixels.shape[2] == channels not in (1, 3):
        return Samples(pixels)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
