"""Where the images of a run are.

A relative path in a recipe means another folder when a command is typed elsewhere. So a run records what its path meant when
it began, in ``environment.json``, and the recipe stays as it was written.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError
from vaekit.data.sources.hub import Hub
from vaekit.data.sources.resolve import resolve

SOURCE = "source"
"""The key of the environment of a run under which the absolute path of its images is, if the recipe has a relative one."""
ALSO = "also"
"""The key of where more sources of the same run are, those that the recipe has as relative paths and all others."""


@dataclass(frozen=True)
class Location:
    """Where images are now, and what they are called.

    Arguments:
        source: A source, as in :func:`vaekit.load_images`.
        name: The name of the images when the run began.
        also: More sources of the same set.
    """

    source: str
    name: str
    also: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, ``source`` first."""
        return self.source, *self.also


def absolute_source(source: str) -> str | None:
    """Returns the absolute path that a relative one means here; None if it is no relative path of something that exists."""
    try:
        found = resolve(source)
    except DataError:
        return None
    path, config = getattr(found, "path", None), getattr(found, "config", None)
    if not isinstance(path, Path) or path.is_absolute():
        return None
    return os.path.abspath(path) + (f":{config}" if config else "")


def sources_to_record(sources: Sequence[str]) -> dict[str, Any]:
    """Returns what a run records of where its images are: a relative path of the first, and all others if there are more."""
    first, *also = sources
    recorded = absolute_source(first)
    more = {ALSO: [absolute_source(source) or source for source in also]} if also else {}
    return ({SOURCE: recorded} if recorded else {}) | more


def find_sources(sources: Sequence[str], environment: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns where all images of a run are, by its recipe and what it has recorded; errors as of :func:`find_source`."""
    first, *also = sources
    recorded = environment.get(ALSO)
    known = recorded if isinstance(recorded, list) and len(recorded) == len(also) else also
    more = [find_source(source, place if place != source else None) for source, place in zip(also, known, strict=True)]
    return find_source(first, environment.get(SOURCE)), *more


def find_source(source: str, recorded: object) -> str:
    """Returns where the images of a run are: where it has recorded, or else what its recipe says.

    Arguments:
        source: The source in the recipe.
        recorded: What the run has recorded; None if the source is no relative path.

    Raises:
        DataError: If they are in neither place.
    """
    if not isinstance(recorded, str):
        try:
            resolve(source)
        except DataError as error:
            raise DataError(f"{error}; if the run's images are elsewhere now, say where with --data") from None
        return source
    for place in (recorded, source):
        try:
            if not isinstance(resolve(place), Hub):
                return place
        except DataError:
            continue
    raise DataError(f"{source}: the run's images were in {recorded}, and are not there; say where they are with --data")
