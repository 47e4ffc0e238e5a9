"""Waypoints: the latents that an interpolation or an animation passes, from the names that a user gives them.

A name is one of

- ``@12``: test image 12;
- a class, by name or number (``7``, ``Sandal``): the posterior means nearest to the class's mean, another one each time;
- the path of an image file.

A name comes before a number: where classes are named by numbers, a number is only ever a name.

A class whose name is written as a path has precedence over the file, and ``./cat.png`` is the file. A class whose name is
written as ``@12`` is named by its number. Code that knows which class or image it means does not spell it out, since the
names of classes are of any form: it passes a :class:`ClassWaypoint` or an :class:`ImageWaypoint`.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vaekit.core.errors import DataError, ModelError, class_index, whole_number
from vaekit.core.safe_text import MAX_NAME, printable, valid_unicode
from vaekit.presentation.model_view import ModelView

NUM_NEAREST = 10
"""The number of posterior means that represent a class, one after the other, so that its images differ."""
MAX_PIECES = 32
"""The maximum number of pieces between commas that are taken together for one name."""
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
class ClassWaypoint:
    """A class, by its label."""

    label: int


@dataclass(frozen=True)
class ImageWaypoint:
    """An image of the set, by its number from 0."""

    index: int


@dataclass(frozen=True)
class FileWaypoint:
    """An image file."""

    path: Path


Place = ClassWaypoint | ImageWaypoint | FileWaypoint
"""What a name means."""
WaypointName = str | int | Place
"""A name as a user writes it, or what it means."""


@dataclass(frozen=True)
class Waypoint:
    """One waypoint: its latents of shape (D), its class (0 if there are no labels), and its caption."""

    z: Tensor
    label: int
    caption: str


def parse_waypoints(view: ModelView, names: Sequence[WaypointName], labels: Sequence[str] = ()) -> Waypoints:
    """Returns the waypoints of names.

    Arguments:
        view: The model, and the images that classes and numbers refer to.
        names: T names, as in the module's documentation.
        labels: The classes of image files, if the model is class-conditional: one for all, or one for each.

    Raises:
        DataError: If there is no such class, test image or file.
        ModelError: If a class-conditional model lacks labels.
    """
    if not names:
        raise DataError("no waypoint is named; give classes, as 1, images, as @3, or files")
    texts = [str(name) if isinstance(name, int) else name for name in names]  # of classes that are named by numbers
    places = [_read_name(view, name) if isinstance(name, str) else name for name in texts]
    paths = [place.path for place in places if isinstance(place, FileWaypoint)]
    of_files = iter(_of_files(view, paths, labels))
    waypoints, visits = [], Counter[Place]()
    for place in places:
        if isinstance(place, FileWaypoint):
            waypoints.append(next(of_files))
        elif isinstance(place, ImageWaypoint):
            waypoints.append(_of_image(view, place.index))
        else:
            waypoints.append(_of_class(view, place.label, visits[place]))
        visits[place] += 1
    classes = None if view.model.condition is None else torch.tensor([waypoint.label for waypoint in waypoints])
    z = torch.stack([waypoint.z for waypoint in waypoints])
    return Waypoints(z, classes, [waypoint.caption for waypoint in waypoints])


def split_names(view: ModelView, text: str) -> list[str]:
    """Splits names at commas, but not within the name of a class or the path of a file that holds commas.

    Where the same text could be one name or several, it is the longest one.

    Arguments:
        view: The model, and the images whose classes are named.
        text: The names of waypoints, separated by commas; empty ones are left out.
    """
    names, pieces = [], text.split(",")
    while pieces:
        joined = [",".join(pieces[:num]) for num in range(1, min(len(pieces), MAX_PIECES) + 1)]
        num, name = max((num, name) for num, name in enumerate(map(partial(_known, view), joined), 1) if name or num == 1)
        names.append(name or pieces[0].strip())
        pieces = pieces[num:]
    return [name for name in names if name]


def _known(view: ModelView, text: str) -> str:
    """The class or the image file that is named by text as it is, or without spaces around it; empty if there is none."""
    for name in (text, text.strip()):
        if valid_unicode(name) in view.class_names or (name.lower().endswith(IMAGE_SUFFIXES) and os.path.isfile(name)):
            return name
    return ""


def _read_name(view: ModelView, name: str) -> Place:
    """What a name means."""
    if name.startswith("@") and name[1:].isdecimal():
        return _image_numbered(view, name)
    if name in view.class_names:
        return ClassWaypoint(view.class_names.index(name))
    if name.lower().endswith(IMAGE_SUFFIXES):
        return FileWaypoint(Path(name))
    if name.startswith("@"):
        raise DataError(f"{printable(name, MAX_NAME)}: a test image is named by its number, e.g. @0")
    try:
        return _class_named(view, name)
    except DataError:
        if os.path.isfile(name):
            return FileWaypoint(Path(name))
        raise


def _image_numbered(view: ModelView, name: str) -> ImageWaypoint:
    """The image that ``@N`` means."""
    images, number = view.images, whole_number(name[1:])
    if number is None or number >= len(images):
        known = f"there are {len(images):,} {images.split} images, numbered from 0"
        raise DataError(f"{printable(name, MAX_NAME)}: {known}")
    return ImageWaypoint(number)


def _class_named(view: ModelView, name: str) -> ClassWaypoint:
    """The class that a name or a number means."""
    images = view.images
    if images.labels is None:
        shown = printable(name, MAX_NAME)
        raise DataError(f"{shown}: {images.name} has no classes; name {images.split} images by number (@0) or by file")
    return ClassWaypoint(class_index(name, images.class_names))


def _of_files(view: ModelView, paths: Sequence[Path], labels: Sequence[str]) -> list[Waypoint]:
    """The waypoints of image files."""
    images = view.read_files(paths)
    known = view.file_labels(labels, len(paths))
    classes = [0] * len(paths) if known is None else known.tolist()
    return [
        Waypoint(_encode(view, image.unsqueeze(0), label), label, path.stem)
        for path, image, label in zip(paths, images, classes, strict=True)
    ]


def _of_image(view: ModelView, index: int) -> Waypoint:
    """The waypoint of an image of the set."""
    images = view.images
    if view.model.condition is not None and images.labels is None:
        raise ModelError(f"@{index}: the model is conditional, and {images.name} has no labels; use labeled images")
    label = 0 if images.labels is None else int(images.labels[index])
    z = _encode(view, images.gather(torch.tensor([index])), label)
    return Waypoint(z, label, f"{images.split} image {index}")


def _of_class(view: ModelView, label: int, visit: int) -> Waypoint:
    """The waypoint of a class that was visited ``visit`` times before."""
    images = view.images
    name = images.class_names[label]
    labels = torch.empty(0) if images.labels is None else images.labels
    rows = labels.eq(label).nonzero().squeeze(1)
    if len(rows) == 0:
        raise DataError(f"{printable(name, MAX_NAME)}: no {images.split} image is of this class")
    means = view.encodings.means[rows]
    nearest = (means - means.mean(0)).norm(dim=1).argsort(stable=True)[:NUM_NEAREST]
    return Waypoint(means[nearest[visit % len(nearest)]], label, name)


def _encode(view: ModelView, x: Tensor, label: int) -> Tensor:
    """The posterior mean of one image, with shape (D)."""
    labels = None if view.model.condition is None else torch.tensor([label])
    with view.model.inference():
        mean: Tensor = view.model.encode(x.to(view.model.device), labels).mean[0].cpu()
    return mean
