"""Which column of a table holds images, and which their classes."""

from collections.abc import Iterable
from typing import Any

from vaekit.data.image_files import READ_ERRORS, read_header

IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "bytes", "content", "data")
"""The names of columns of images in a table that does not declare one; the first of them, else any column of bytes."""
LABELS = ("label", "labels", "category", "class", "class_name", "target")
"""The names of columns of classes in a table that declares none; the first that a table has."""
NUM_EXAMINED = 10
"""The number of cells that are examined for images."""


def declare_images(tables: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Returns the column of images, and the tables with that column declared as images; None if there is no such column.

    A column that is not declared may hold encoded images as bytes, or as bytes and a path.

    Arguments:
        tables: The tables of ``datasets`` of each split.
    """
    import datasets

    features = next(iter(tables.values())).features if tables else {}
    declared = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    if declared:
        return declared[0], tables
    plain = [key for key, feature in features.items() if _may_hold_images(feature)]
    for key in sorted(plain, key=lambda key: IMAGES.index(key.lower()) if key.lower() in IMAGES else len(IMAGES)):
        if any(_holds_images(table, key) for table in tables.values()):
            return key, {split: table.cast_column(key, datasets.Image()) for split, table in tables.items()}
    return None, tables


def label_column(names: Iterable[str]) -> str | None:
    """Returns the first of the names of columns that is one for classes, whatever its case; None if there is none."""
    folded = {name.strip().casefold(): name for name in reversed(list(names))}
    return next((folded[label] for label in LABELS if label in folded), None)


def _may_hold_images(feature: Any) -> bool:
    """Whether a column holds bytes, or bytes and a path, as the Hub stores images."""
    if isinstance(feature, dict):
        return set(feature) <= {"bytes", "path"} and "binary" in str(getattr(feature.get("bytes"), "dtype", ""))
    return str(getattr(feature, "dtype", "")) in ("binary", "large_binary")


def _holds_images(table: Any, key: str) -> bool:
    """Whether one of the first cells of a column is an encoded image."""
    for cell in table.with_format("arrow")[:NUM_EXAMINED][key].to_pylist():
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        try:
            if data:
                read_header(data)
                return True
        except READ_ERRORS:
            continue
    return False
