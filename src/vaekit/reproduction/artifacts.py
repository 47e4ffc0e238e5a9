"""The artifact cache of a reproduction: finished trainings and evaluations are reused, an interrupted one is resumed.

An artifact is a training or an evaluation, in a folder of its own. The folder holds the checkpoint of unfinished work, and
``artifact.json`` with the settings, the result and the computing time of finished work. A finished artifact is created
again only if its settings change.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from vaekit.core.config import to_data
from vaekit.core.files import write_json
from vaekit.models import VAE, load_vae
from vaekit.reproduction.artifact_progress import ArtifactView
from vaekit.reproduction.measured_training import MeasuredTraining
from vaekit.training import find_device

ARTIFACT, ELAPSED = "artifact.json", "elapsed.json"


class ArtifactCache:
    """The artifacts of one tier of a reproduction.

    Arguments:
        folder: The folder of the artifacts, ``.../REPRODUCTION/TIER``.
        console: The console for progress.
        seconds_by_folder: The computing time of each artifact that was used, shared with the caches from
            :meth:`of_reproduction`.
    """

    def __init__(self, folder: Path, console: Console, seconds_by_folder: dict[Path, float] | None = None) -> None:
        self.folder = folder
        self.console = console
        self.seconds_by_folder = {} if seconds_by_folder is None else seconds_by_folder

    @property
    def seconds(self) -> float:
        """The computing time of all artifacts that were used so far, including those read from disk."""
        return sum(self.seconds_by_folder.values())

    def of_reproduction(self, name: str) -> "ArtifactCache":
        """Returns the cache of the same tier of another reproduction, to share its artifacts."""
        folder = self.folder.parent.parent / name / self.folder.name
        return ArtifactCache(folder, self.console, self.seconds_by_folder)

    def get_or_create(self, name: str, settings: Mapping[str, Any], create: Callable[[Path], Any]) -> Any:
        """Returns the result of an artifact: from disk if it was finished with the same settings, else created.

        Arguments:
            name: The name of the artifact, a relative path.
            settings: Everything that the result depends on, as data.
            create: Creates the result in the given folder, or resumes from a checkpoint there. Returns JSON data.
        """
        folder = self.folder / name
        settings = json.loads(json.dumps(to_data(settings)))
        artifact = _read(folder / ARTIFACT)
        if artifact is None or artifact["settings"] != settings:
            artifact = _create(folder, settings, create)
        self.seconds_by_folder[folder] = artifact["seconds"]
        return artifact["result"]

    def train(self, name: str, training: MeasuredTraining) -> tuple[VAE, list[dict[str, Any]]]:
        """Trains and measures a model, as one artifact.

        Arguments:
            name: The name of the artifact.
            training: The training and its measurements.

        Returns:
            The trained model, and the records of :meth:`MeasuredTraining.run`.
        """
        view = ArtifactView(self.console, name, training.num_images_seen)
        records = self.get_or_create(name, training.settings, lambda folder: training.run(folder, view))
        return load_vae(self.folder / name).to(find_device(training.recipe.training.device)), records


def _create(folder: Path, settings: Any, create: Callable[[Path], Any]) -> dict[str, Any]:
    """Creates or resumes an artifact, and adds up the computing time over interruptions."""
    elapsed = _read(folder / ELAPSED)
    if elapsed is None or elapsed["settings"] != settings:
        shutil.rmtree(folder, ignore_errors=True)
        elapsed = {"settings": settings, "seconds": 0.0}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ELAPSED, elapsed)
    start = time.monotonic()
    try:
        result = create(folder)
    finally:
        elapsed["seconds"] += time.monotonic() - start
        write_json(folder / ELAPSED, elapsed)
    artifact = {"settings": settings, "seconds": elapsed["seconds"], "result": result}
    write_json(folder / ARTIFACT, artifact)
    return artifact


def _read(path: Path) -> dict[str, Any] | None:
    """Returns the JSON of a file, or None if it is missing or damaged, so that the artifact is created again."""
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and "settings" in data else None
