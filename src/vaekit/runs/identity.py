"""What makes a run this run and no other: its recipe and its images, as a hash that its files carry.

A checkpoint or weights of another seed, other images or another recipe may have the same shapes; the hash tells them apart.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vaekit.core.config import to_data
from vaekit.runs.recipe import Recipe

MAY_CHANGE = (
    "data.shown_channels",
    "training.epochs",
    "training.patience",
    "training.on_spike",
    "training.device",
    "training.images_every",
    "training.checkpoint_minutes",
    "training.lr_changes",
)
"""What a resumed run may change, and what is no part of its identity. Its learning rate changes by ``lr_changes``."""
OPTIONAL = ("initial", "prior_fit", "data.also")
"""What is no part of the identity of a run that does not have it: runs of earlier versions do not name it."""
DESCRIPTION = ("name", "title", "needs", "expected", "reference")
"""What describes a recipe and changes nothing in the run."""


def identity(recipe: Recipe, fingerprints: Mapping[str, str]) -> str:
    """Returns the hash of a run.

    Arguments:
        recipe: The recipe.
        fingerprints: The hashes of the images.
    """
    data = {"recipe": _fixed(recipe), "images": dict(fingerprints)}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: Recipe, after: Recipe) -> list[tuple[str, Any, Any]]:
    """Returns the places at which two recipes describe different runs, each with both values."""
    return _compare(_fixed(before), _fixed(after), "")


def first_difference(before: Any, after: Any) -> tuple[str, Any, Any] | None:
    """Returns the first place at which two mappings differ, with both values; None if they are equal."""
    return next(iter(_compare(before, after, "")), None)


def _fixed(recipe: Recipe) -> dict[str, Any]:
    """A recipe as data, without what may change."""
    data = {key: value for key, value in to_data(recipe).items() if key not in DESCRIPTION}
    if not data["model"]["fitted"]:  # runs that began before there was this key have none
        del data["model"]["fitted"]
    data["data"] = {key: value for key, value in data["data"].items() if key != "levels"}  # the hashes of images show them
    for place in MAY_CHANGE:
        part, key = place.split(".")
        data[part] = {name: value for name, value in data[part].items() if name != key}
    for place in OPTIONAL:
        *parents, key = place.split(".")
        section = data[parents[0]] if parents else data
        if not section[key]:
            del section[key]
    if "initial" in data and data["initial"]["weights"]:
        data["initial"] = {"weights": data["initial"]["weights"]}  # wherever the run is now
    return data


def _compare(before: Any, after: Any, place: str) -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [d for key in keys for d in _compare(before.get(key), after.get(key), f"{place}.{key}".lstrip("."))]
    return [] if before == after else [(place, before, after)]
