"""Waypoints: the latents that an interpolation or an animation passes, from the names that a user gives them.

A name is one of

- a class, by name or number (``7``, ``Sandal``): the posterior means nearest to the class's mean, another one each time;
- ``@12``: test image 12;
- the path of an image file.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.core.errors import DataError, ModelError, class_index
from vaekit.presentation.model_view import ModelView

NUM_NEAREST = 10
"""The number of posterior means that represent a class, one after the other, so that its images differ."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


@dataclass(frozen=True)
class Waypoints:
    """Latents that an interpolation or an animation passes.

    Arguments:
        z: The latents, with shape (T, D).
        labels: Their classes, with shape (T), if the model is class-conditional.
        captions: Their names.
    """

    z: Tensor
    labels: Tensor | None
    captions: list[str]


@dataclass(frozen=True)
class Waypoint:
    """One waypoint: its latents of shape (D), its class (0 if there are no labels), and its caption."""

    z: Tensor
    label: int
    caption: str


def parse_waypoints(view: ModelView, names: Sequence[str], labels: Sequence[str] = ()) -> Waypoints:
    """Returns the waypoints of names.

    Arguments:
        view: The model, and the images that classes and numbers refer to.
        names: T names, as in the module's documentation.
        labels: The classes of image files, if the model is class-conditional: one for all, or one for each.

    Raises:
        DataError: If there is no such class, test image or file.
        ModelError: If a class-conditional model lacks labels.
    """
    files = [name for name in names if _is_file(view, name)]
    images = view.read_files([Path(name) for name in files])
    known = view.file_labels(labels, len(files))
    file_labels = [0] * len(files) if known is None else known.tolist()
    of_files = iter(
        Waypoint(_encode(view, image.unsqueeze(0), label), label, Path(name).stem)
        for name, image, label in zip(files, images, file_labels, strict=True)
    )
    waypoints, visits = [], Counter[str]()
    for name in names:
        if _is_file(view, name):
            waypoints.append(next(of_files))
        elif name.startswith("@"):
            waypoints.append(_of_image(view, name))
        else:
            waypoints.append(_of_class(view, name, visits[name]))
        visits[name] += 1
    classes = None if view.model.condition is None else torch.tensor([waypoint.label for waypoint in waypoints])
    z = torch.stack([waypoint.z for waypoint in waypoints])
    return Waypoints(z, classes, [waypoint.caption for waypoint in waypoints])


def _is_file(view: ModelView, name: str) -> bool:
    """Whether a name means an image file; a class has precedence over a file of the same name."""
    if name.lower().endswith(IMAGE_SUFFIXES):
        return True
    if name.startswith("@") or not Path(name).is_file():
        return False
    try:
        class_index(name, view.images.class_names)
    except DataError:
        return True
    return False


def _of_image(view: ModelView, name: str) -> Waypoint:
    """The waypoint of ``@N``."""
    images, number = view.images, name.removeprefix("@")
    if not number.isdecimal():
        raise DataError(f"{name}: a test image is named by its number, e.g. @0")
    if int(number) >= len(images):
        raise DataError(f"{name}: there are {len(images):,} {images.split} images, numbered from 0")
    if view.model.condition is not None and images.labels is None:
        raise ModelError(f"{name}: the model is conditional, and {images.name} has no labels; use labeled images")
    index = int(number)
    label = 0 if images.labels is None else int(images.labels[index])
    z = _encode(view, images.gather(torch.tensor([index])), label)
    return Waypoint(z, label, f"{images.split} image {index}")


def _of_class(view: ModelView, name: str, visit: int) -> Waypoint:
    """The waypoint of a class that was visited ``visit`` times before."""
    images = view.images
    if images.labels is None:
        raise DataError(f"{name}: {images.name} has no classes; name {images.split} images by number (@0) or by file")
    label = class_index(name, images.class_names)
    rows = images.labels.eq(label).nonzero().squeeze(1)
    if len(rows) == 0:
        raise DataError(f"{images.class_names[label]}: no {images.split} image is of this class")
    means = view.encodings.means[rows]
    nearest = (means - means.mean(0)).norm(dim=1).argsort(stable=True)[:NUM_NEAREST]
    return Waypoint(means[nearest[visit % len(nearest)]], label, images.class_names[label])


def _encode(view: ModelView, x: Tensor, label: int) -> Tensor:
    """The posterior mean of one image, with shape (D)."""
    labels = None if view.model.condition is None else torch.tensor([label])
    with view.model.inference():
        mean: Tensor = view.model.encode(x.to(view.model.device), labels).mean[0].cpu()
    return mean
