"""Where a reproduction is made, piece by piece, so that an interrupted one goes on where it was.

A piece is a training, or an evaluation of one. Its folder keeps the state of what is being made; a finished piece leaves
``piece.json`` with its settings, its result and the seconds it took, and is not made again while its settings are the same.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vaekit.core.config import to_data
from vaekit.core.files import write_json
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet, Transform
from vaekit.experiment.train import build_model, make_trainer
from vaekit.models import VAE, load_vae, save_vae
from vaekit.reproduction.artifact_progress import PieceView
from vaekit.runs.recipe import Recipe
from vaekit.training import Hooks, make_accelerator, read_state, write_state

PIECE, STATE, ELAPSED = "piece.json", "state.safetensors", "elapsed.json"
SAVE_SECONDS = 60
"""How long a training runs between two saves of its state; an epoch of a small set is over in a fraction of a second."""

Measure = Callable[[VAE], dict[str, float]]
"""The numbers of a model at a point of its training, ``elbo``, ``distortion`` and ``rate`` among them."""


class Workshop:
    """The folder of a reproduction's pieces.

    Arguments:
        folder: Where the pieces are.
        console: Where to tell about them.
        spent: How many seconds each piece took, by its folder, of this workshop and those beside it.
    """

    def __init__(self, folder: Path, console: Console, spent: dict[Path, float] | None = None) -> None:
        self.folder = folder
        self.console = console
        self.spent = {} if spent is None else spent

    @property
    def seconds(self) -> float:
        """How long all pieces took that were asked for so far, whenever they were made."""
        return sum(self.spent.values())

    def beside(self, name: str) -> "Workshop":
        """Returns the workshop of another reproduction, of the same tier, whose pieces this one uses."""
        return Workshop(self.folder.parent.parent / name / self.folder.name, self.console, self.spent)

    def piece(self, name: str, settings: Mapping[str, Any], make: Callable[[Path], Any]) -> Any:
        """Returns the result of a piece: read back if it was finished with these settings, else made.

        Arguments:
            name: What to call it; a folder.
            settings: All that its result depends on, as data.
            make: Makes it, given its folder, or goes on with it; returns what JSON can hold.
        """
        folder = self.folder / name
        wanted = json.loads(json.dumps(to_data(settings)))
        done = _read(folder / PIECE)
        if done is None or done["settings"] != wanted:
            begun = _read(folder / ELAPSED) or {"settings": None, "seconds": 0.0}
            if begun["settings"] != wanted:
                shutil.rmtree(folder, ignore_errors=True)
                begun = {"settings": wanted, "seconds": 0.0}
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / ELAPSED, begun)
            start = time.monotonic()
            try:
                result = make(folder)
            finally:
                begun["seconds"] += time.monotonic() - start
                write_json(folder / ELAPSED, begun)
            done = {"settings": wanted, "seconds": begun["seconds"], "result": result}
            write_json(folder / PIECE, done)
        self.spent[folder] = done["seconds"]
        return done["result"]

    def learn(
        self,
        name: str,
        recipe: Recipe,
        images: ImageSet,
        measure: Measure,
        *,
        at: Sequence[int],
        transform: Transform | None = None,
        prepare: Callable[[VAE], None] | None = None,
        settings: Mapping[str, Any] = {},
    ) -> tuple[VAE, list[dict[str, float]]]:
        """Trains a model and measures it on the way, as one piece.

        The model is that of the last epoch, or of the best measured ``elbo`` if the recipe has patience.

        Arguments:
            name: What to call the piece.
            recipe: The model, the objective, the optimizer and how long.
            images: What it learns from.
            measure: What is measured.
            at: After which epochs.
            transform: What is done to training images each time they are seen.
            prepare: What is done to the fresh model, its initialization say.
            settings: What else the result depends on.

        Returns:
            The model, and a record for each epoch in ``at``, with ``epoch`` and ``samples``, the training images seen.
        """
        everything = {
            "recipe": to_data(recipe),
            "images": images.fingerprint,
            "num": len(images),
            "at": list(at),
            **settings,
        }

        def make(folder: Path) -> Any:
            return self._train(folder, name, recipe, images, measure, at, transform, prepare)

        records = self.piece(name, everything, make)
        device = make_accelerator(recipe.training.device, recipe.training.precision).device
        return load_vae(self.folder / name).to(device), records

    def _train(
        self,
        folder: Path,
        name: str,
        recipe: Recipe,
        images: ImageSet,
        measure: Measure,
        at: Sequence[int],
        transform: Transform | None,
        prepare: Callable[[VAE], None] | None,
    ) -> list[dict[str, float]]:
        records: list[dict[str, float]] = []
        saved = time.monotonic()
        with fixed_seed(recipe.training.seed):
            model = build_model(recipe, images)
            if prepare is not None:
                prepare(model)
            trainer = make_trainer(recipe, model, images, transform)
            if (folder / STATE).exists():
                state = read_state(folder / STATE)
                records = state["records"]
                trainer.load_state_dict(state["trainer"])
            view = PieceView(self.console, name, recipe.training.epochs * len(images))

            def validate(model: VAE) -> dict[str, float]:
                epoch = trainer.progress.epoch + 1
                if epoch not in wanted:
                    return {"elbo": -math.inf, "distortion": math.inf, "rate": 0.0}
                numbers = measure(model)
                records.append({"epoch": epoch, "samples": epoch * len(images), **numbers})
                view.measured(records[-1]["samples"], "bound", numbers["elbo"])
                return numbers

            def save(state: dict[str, Any]) -> None:
                nonlocal saved
                if time.monotonic() - saved > SAVE_SECONDS or trainer.finished or not trainer.at_epoch_end:
                    write_state(folder / STATE, {"trainer": state, "records": records})
                    saved = time.monotonic()

            def keep_best(model: VAE) -> None:
                if recipe.training.patience is not None:
                    save_vae(model, folder)

            wanted = {*at}
            trainer.fit(Hooks(validate, keep_best, lambda record, model: None, save), view)
            if recipe.training.patience is None:
                save_vae(trainer.learned, folder)
        (folder / STATE).unlink(missing_ok=True)
        return records


def _read(path: Path) -> dict[str, Any] | None:
    """What a piece left behind; nothing where it is not there or damaged, so that the piece is made again."""
    try:
        found = json.loads(path.read_text()) if path.is_file() else None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "settings" in found else None
