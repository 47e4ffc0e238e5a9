"""Overrides: changes of a recipe by dotted place (``training.epochs``) or by a short name of a common place (``epochs``)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vaekit.core.errors import ConfigError, whole_number
from vaekit.core.safe_text import MAX_NAME, printable
from vaekit.core.yaml_text import parse_yaml

SHORTHANDS = {
    "data": "data.name",
    "also": "data.also",
    "size": "data.size",
    "channels": "data.channels",
    "fit": "data.fit",
    "background": "data.background",
    "shown_channels": "data.shown_channels",
    "levels": "data.levels",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "seed": "training.seed",
    "device": "training.device",
    "precision": "training.precision",
    "on_spike": "training.on_spike",
    "lr": "optimizer.lr",
    "beta": "objective.beta",
    "latent_dim": "model.latent_dim",
    "conditional": "model.conditional",
}
"""The short names of common changes, on the command line and in Python, and the places that they change."""

MAX_PLACE = 8
"""The maximum number of keys of a dotted place."""


def parse_size(text: str) -> int | list[int]:
    """Reads ``128`` as a side, and ``96x128`` as height and width.

    Raises:
        ConfigError: If the text has another form.
    """
    sides = [whole_number(side) or 0 for side in text.lower().split("x", 2)]
    if len(sides) > 2 or min(sides) < 1:
        raise ConfigError(f"--size {printable(text, MAX_NAME)}: give a side, as 128, or height x width, as 96x128")
    return sides if len(sides) == 2 else sides[0]


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """Reads ``a.b=c`` assignments, whose values are YAML; returns the values by dotted place.

    Raises:
        ConfigError: If an assignment has no ``=``, its value is not YAML, or a place is assigned twice.
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        place, equals, value = assignment.partition("=")
        option = f"--set {printable(assignment, MAX_NAME)}"
        if not equals or not place:
            raise ConfigError(f"{option}: write it as place=value, as in --set data.binarize=none")
        place = SHORTHANDS.get(place.strip(), place.strip())
        if place in overrides:
            raise ConfigError(f"{option}: {printable(place, MAX_NAME)} is set twice; set it once")
        overrides[place] = parse_yaml(value, option)
    return overrides


def combine(shorthands: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Returns the overrides of a command line: options by their short name, and the assignments of ``--set``.

    Arguments:
        shorthands: The values of the options; those that are None were not given.
        assignments: As of :func:`parse_overrides`.

    Raises:
        ConfigError: If a place is given twice.
    """
    overrides = {SHORTHANDS[key]: value for key, value in shorthands.items() if value is not None}
    for place, value in parse_overrides(assignments).items():
        if place in overrides:
            raise ConfigError(f"{printable(place, MAX_NAME)}: given by an option and by --set; give it once")
        overrides[place] = value
    return overrides


def by_place(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns overrides with the dotted place of each short name; other images replace all sources that there were.

    Several sources may be given as one list.
    """
    found = {SHORTHANDS.get(key, key): value for key, value in overrides.items()}
    if "data.name" in found:
        name = found["data.name"]
        if isinstance(name, list | tuple) and name and "data.also" not in found:
            found["data.name"], *found["data.also"] = name
        found.setdefault("data.also", [])
    return found


def pop_sources(overrides: dict[str, Any]) -> Sequence[str]:
    """Returns the sources that overrides name, which are taken out of them: where the images of a run are now."""
    name, also = overrides.pop("data.name", None), overrides.pop("data.also", ())
    return () if name is None else [str(name), *map(str, also)]


def override(data: dict[str, Any], overrides: Mapping[str, Any], parts: Collection[str]) -> None:
    """Sets the overridden places of a recipe's data.

    Arguments:
        data: The data, which is changed.
        overrides: The new values, by dotted place or short name.
        parts: The places of parts; a new name for one of them drops the arguments of the old one.

    Raises:
        ConfigError: If a place cannot be in a recipe.
    """
    for place, value in sorted(
        by_place(overrides).items(), key=lambda item: not item[0].endswith("name")
    ):  # a new name resets its part
        _set(data, place, value, parts)


def _set(data: dict[str, Any], place: str, value: Any, parts: Collection[str]) -> None:
    """Sets a dotted place; a new name for a part drops the arguments of the old one."""
    *parents, key = place.split(".")
    if len(parents) >= MAX_PLACE:
        raise ConfigError(f"{printable(place, MAX_NAME)}: no place of a recipe has over {MAX_PLACE} keys")
    section: Any = data
    for parent in parents:
        section = section.setdefault(parent, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise ConfigError(f"{place}: {'.'.join(parents)} is a single value, not a section")
    if key == "name" and ".".join(parents) in parts and section.get("name") != value:
        section.clear()
    section[key] = value
