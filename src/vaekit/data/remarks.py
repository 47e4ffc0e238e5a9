"""What was left out of a source: said each time that its images are opened, and not only when they are decoded.

The lines that reading a source has shown are part of its cache entry. A process says each of them once.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaekit.core.progress import notify
from vaekit.data.dataset import Dataset
from vaekit.data.decode import Skipped
from vaekit.data.images import ImageSet

MAX_NAMED = 10
"""The largest number of unreadable images that a line names."""
MAX_LISTED = 100
"""The largest number of unreadable images that a metrics file lists."""
MAX_NAME = 200
"""The most characters of the name of an image in a line."""
_SAID: set[tuple[Path, str]] = set()


def name_skipped(skipped: Sequence[Skipped]) -> str:
    """Returns the names of images that cannot be read, with the reasons."""
    rest = len(skipped) - MAX_NAMED
    named = "; ".join(f"{_short(image.name)}: {image.reason}" for image in skipped[:MAX_NAMED])
    return named + (f"; and {rest:,} more" if rest > 0 else "")


def skipped_line(name: str, skipped: Sequence[Skipped], num: int) -> str:
    """Returns a line about images that cannot be read, of ``num`` images of a source."""
    return f"{name}: {len(skipped):,} of {num:,} images left out; {name_skipped(skipped)}"


def remember(entry: Path, lines: Iterable[str]) -> None:
    """Remembers lines about a cache entry that this process has shown."""
    _SAID.update((entry, line) for line in lines)


def repeat(entry: Path, splits: Mapping[str, ImageSet]) -> None:
    """Says what was left out of the images of a cache entry, unless this process has said it.

    Arguments:
        entry: The folder of the entry.
        splits: Its splits.
    """
    lines = [line for images in splits.values() for line in images.remarks]
    lines += [
        skipped_line(images.name, images.skipped, len(images) + len(images.skipped))
        for images in splits.values()
        if images.skipped
    ]
    for line in dict.fromkeys(lines):
        if (entry, line) not in _SAID:
            notify(line)
    remember(entry, lines)


def skipped_images(*sets: Dataset | None) -> list[dict[str, str]]:
    """Returns the images that were left out of some sets, as data: the name and the reason of each, at most 100.

    Sets that were held out of one split share what was left out of it.
    """
    every = [image for images in sets if isinstance(images, ImageSet) for image in images.skipped]
    return [{"name": image.name, "reason": image.reason} for image in dict.fromkeys(every)][:MAX_LISTED]


def describe_skipped(metrics: Mapping[str, Any]) -> str:
    """Returns a sentence on the images that were left out, from a metrics file; an empty string if there are none."""
    skipped = metrics.get("skipped") or []
    named = [Skipped(0, str(image.get("name")), str(image.get("reason"))) for image in skipped if isinstance(image, dict)]
    if not named:
        return ""
    number = (
        f"{len(named)} image{'s' if len(named) > 1 else ''}" if len(named) < MAX_LISTED else f"At least {MAX_LISTED} images"
    )
    return (
        f"{number} of the source could not be read and {'are' if len(named) > 1 else 'is'} left out: {name_skipped(named)}."
    )


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."
