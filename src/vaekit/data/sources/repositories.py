"""What is laid out as a repository of the Hugging Face Hub: configurations, splits and columns, read by ``datasets``.

Images stay encoded; what comes out is their bytes or paths, with classes where a column holds any.
"""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.sources.source import RawSplit, raise_full_disk

CARD = "README.md"
"""The file in which a hub repository names its configurations."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Words in the names of folders that stand for a split, as on the Hub."""

LABEL = "label"
"""The column that holds classes where none is declared to."""
MAX_CLASSES = 1000
"""The most different values in that column that are classes; more of them are numbers or captions."""


def load(called: str, scratch: Path, *what: str, **options: Any) -> dict[str, RawSplit]:
    """Reads by ``datasets`` what messages call so; images stay encoded."""
    import datasets  # heavy, and only needed when the cache does not have the images yet

    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(*what, cache_dir=str(scratch), **options)
    except Exception as error:  # whatever its many builders raise, there is nothing to read
        raise_full_disk(error)
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"{called}: no images found there, nor a data set in the hub's layout ({reason})") from None
    found = {str(split): data for split, data in found.items() if len(data)}
    features = next(iter(found.values())).features if found else {}
    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    if not images:
        raise DataError(f"{called}: no images found there (columns: {', '.join(features) or 'none'})")
    labels, classes = _labels_of(called, found, features)
    return {split: RawSplit(_cells(data, images[0]), labels.get(split), classes) for split, data in found.items()}


def stated_configs(card: Path) -> tuple[list[str], bool]:
    """The configurations that a repository's card names, and whether one of them is meant where none is asked for."""
    if not os.path.isfile(card):  # which is no either where nobody may know
        return [], False
    from huggingface_hub import metadata_load  # heavy, and few folders have a card

    try:
        stated = (metadata_load(card) or {}).get("configs")
    except Exception:  # a file of this name may be anything
        return [], False
    configs = [one for one in stated if isinstance(one, dict) and "config_name" in one] if isinstance(stated, list) else []
    names = [str(one["config_name"]) for one in configs]
    return names, "default" in names or any(one.get("default") for one in configs)


def address(folder: Path) -> str:
    """Where ``datasets`` finds a folder.

    Raises:
        DataError: If it would take the name, as in ``holiday [2024]``, for a pattern.
    """
    if glob.has_magic(str(folder.resolve())):
        raise DataError(f"{folder}: a folder in the hub's layout cannot be read where a name has * ? or [ in it; rename it")
    return str(folder)


def split_of(folders: Sequence[str]) -> tuple[int, str] | None:
    """The first of an image's folders that is named as a split, by its place, and that split."""
    for place, folder in enumerate(folders):
        for word in re.split(r"[\W\d_]+", folder.casefold()):
            if word in SPLITS:
                return place, SPLITS[word]
    return None


@dataclass(frozen=True)
class _Cells(Sequence[Any]):
    """The cells of an Arrow column of encoded images, as the bytes or the path that each holds."""

    column: Any

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        cell = self.column[index].as_py()
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])

    @property
    def paths(self) -> list[Path | None]:
        """What the cells say of where their images lie, without the images."""
        cells = (cell for chunk in self.column.chunks for cell in chunk.field("path").to_pylist())
        return [Path(cell) if cell else None for cell in cells]


def _cells(data: Any, column: str) -> _Cells:
    """The encoded images in a column of ``datasets``."""
    import datasets

    encoded = data.cast_column(column, datasets.Image(decode=False)).with_format("arrow")
    return _Cells(encoded[:][column])  # in chunks that are mapped, where one piece would be a copy in memory


def _labels_of(called: str, found: dict[str, Any], features: Any) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """The labels of those splits of ``datasets`` in which every image has one, and the names of the classes."""
    import datasets

    declared = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    dtype = str(getattr(features.get(LABEL), "dtype", ""))
    if not declared and not dtype.startswith(("string", "large_string", "int", "uint", "bool")):
        return {}, ()
    column = declared[0] if declared else LABEL
    values = {split: data.with_format("arrow")[:][column].to_pylist() for split, data in found.items()}
    if declared:  # where the Hub writes -1 for a label that is kept secret
        values = {split: [None if label == -1 else label for label in given] for split, given in values.items()}
        classes = tuple(features[column].names)
        if all(split_of([name]) for name in classes):  # images right in train/ and test/, which datasets takes for classes
            return {}, ()
        places = {label: label for label in range(len(classes))}
    else:
        known = sorted({label for given in values.values() for label in given if label is not None})
        if len(known) > MAX_CLASSES:
            return {}, ()
        classes = tuple(str(label) for label in known)
        places = {label: place for place, label in enumerate(known)}
    labels = {}
    for split, given in values.items():
        missing = sum(label is None for label in given)
        if not missing:
            labels[split] = np.array([places[label] for label in given], np.int64)
        elif missing < len(given):
            notify(
                f"{called}: {missing:,} of {len(given):,} images in {split} have no {column}, so none of them gets a class"
            )
    return labels, classes if labels else ()
