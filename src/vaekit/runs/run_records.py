"""The records of a run folder: recipe, history, metrics, environment and curves, which are read without torch."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vaekit.core.errors import ConfigError, RunError
from vaekit.core.files import describe_os_error, read_object, require_regular
from vaekit.core.progress import notify
from vaekit.core.yaml_text import read_text
from vaekit.models.folder_format import CONFIG, WEIGHTS, check_format
from vaekit.plots.curves import learning_curves
from vaekit.runs.recipe import Recipe, read_outline, read_recipe

RECIPE, HISTORY, METRICS, ENVIRONMENT = "recipe.yaml", "metrics.jsonl", "metrics.json", "environment.json"
REPORT = "report.html"
RUN_FILES = (RECIPE, HISTORY, METRICS, ENVIRONMENT, CONFIG, WEIGHTS)
"""The files that make a run, which no other output may overwrite."""
SPLITS = {"train": "training", "valid": "validation"}
CHECKPOINTS, IMAGES = "checkpoints", "images"


class RunRecords:
    """What the text files of a run folder say.

    Arguments:
        folder: The run folder.

    Raises:
        RunError: If the folder was written by another version of the format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / ENVIRONMENT).is_file():
            check_format(self.environment, folder)

    @property
    def has_recipe(self) -> bool:
        """Whether the folder says what its model was trained on; a bare model folder does not."""
        return (self.folder / RECIPE).is_file()

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe.

        Raises:
            RunError: If there is none.
        """
        return self._read(read_recipe)

    @cached_property
    def name(self) -> str:
        """The name of the recipe, for which no part of it is imported; errors as of :attr:`recipe`."""
        return self.outline.name

    @cached_property
    def outline(self) -> Recipe:
        """The recipe, whose parts have no defaults, so that none is imported; errors as of :attr:`recipe`."""
        return self._read(read_outline)

    @property
    def has_metrics(self) -> bool:
        """Whether there are final metrics."""
        return (self.folder / METRICS).is_file()

    def _read(self, read: Callable[[str, str, Mapping[str, Any], Mapping[str, Any]], Recipe]) -> Recipe:
        path = self.folder / RECIPE
        if not path.is_file():
            raise RunError(f"{self.folder}: no {RECIPE} there, so it is no run folder")
        try:
            return read(read_text(path), str(path), {}, {})
        except ConfigError as error:  # of a place in the file, which the user has not typed
            raise ConfigError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of the epochs so far.

        Raises:
            RunError: If a line is damaged; a last line that is cut short is left out, with a line.
        """
        path = self.folder / HISTORY
        if not path.exists():
            return []
        try:
            require_regular(path)
            *lines, torn = path.read_text(encoding="utf-8").split("\n")
            records = [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path}: damaged ({describe_os_error(error)}); {self._restored_by_resume}") from None
        if not all(map(_is_record, records)):
            raise RunError(f"{path}: damaged, a line is no record of an epoch; {self._restored_by_resume}")
        if torn:
            notify(f"{path}: the last line is cut short, so it is left out")
        return records

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics.

        Raises:
            RunError: If the run is not finished, or the file is damaged.
        """
        path = self.folder / METRICS
        if not path.exists() and not (self.folder / RECIPE).is_file():
            raise RunError(f"{self.folder}: a model folder, which holds no metrics; vae evaluate computes them")
        if not path.exists():
            raise RunError(f"{path}: not there yet; go on with vae train --resume {self.folder}")
        metrics = read_object(path, self._restored_by_resume)
        if not isinstance(metrics.get("elbo"), dict) and not is_sampler_only(metrics):
            raise RunError(f"{path}: damaged, it holds no ELBO; {self._restored_by_resume}")
        return metrics

    @property
    def environment(self) -> dict[str, Any]:
        """The machine, the versions and the data of the run.

        Raises:
            RunError: If the file is missing or damaged.
        """
        path = self.folder / ENVIRONMENT
        data = read_object(path, "copy it again, or train into another folder")
        counts = data.get("images", {})
        if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
            raise RunError(f"{path}: damaged, it does not count the images; copy it again, or train into another folder")
        return data

    @property
    def _restored_by_resume(self) -> str:
        return f"vae train --resume {self.folder} restores it"

    def curves(self) -> Figure:
        """Plots the learning curves.

        Raises:
            RunError: If no epoch is finished.
        """
        name = self.name
        if not self.history:
            raise RunError(f"{self.folder}: no epoch has been finished; go on with vae train --resume {self.folder}")
        counts = self.environment.get("images", {})
        means = " and ".join(f"{counts[key]:,} {word}" for key, word in SPLITS.items() if key in counts)
        title = f"{name}, means over {means} images" if means else name
        return learning_curves(self.history, title)


def is_sampler_only(metrics: Mapping[str, Any]) -> bool:
    """Returns whether final metrics are those of a model whose prior has no density, so that they hold no ELBO."""
    return isinstance(metrics.get("distortion"), dict) and str(metrics.get("meaning", "")).startswith("sampler only")


def _is_record(record: Any) -> bool:
    """Whether a line of the history holds the numbers of an epoch."""
    if not isinstance(record, dict) or not all(_is_number(record.get(key)) for key in ("epoch", "images_seen", "lr")):
        return False
    train, valid = record.get("train"), record.get("valid")
    parts = (part.values() for part in (train, valid) if isinstance(part, dict))
    has_parts = isinstance(train, dict) and isinstance(valid, dict) and {"elbo", "rate", "distortion"} <= valid.keys()
    return has_parts and all(map(_is_number, chain(*parts)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
