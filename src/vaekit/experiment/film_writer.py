"""Keeps the images of a training at steps whose logarithms are evenly spaced, from before the first step.

:mod:`vaekit.presentation.training_film` says which steps these are, and makes the film.
"""

from pathlib import Path

import torch
from torch import Tensor

from vaekit.core.errors import RunError
from vaekit.core.files import atomic_path, read_object, write_json
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.models import Model
from vaekit.plots.channels import Channels, num_tiles, tiles
from vaekit.plots.look import to_image
from vaekit.presentation.training_film import FILM, INPUTS, LAYOUT, film_layout, frame_path, is_filmed
from vaekit.training import Trainer

QUALITY = 90
"""The quality of the WebP files, which take a tenth of the space of PNG files of color images."""


class FilmWriter:
    """Writes the images of a run into ``images/film`` of its folder.

    The steps are chosen by their number alone, so a run that is resumed keeps the images that an uninterrupted one keeps.

    Arguments:
        folder: The run folder.
        images: Images to reconstruct.
        channels: The channels to show; None for all.
        steps_per_epoch: The number of steps of an epoch.
    """

    def __init__(self, folder: Path, images: ImageSet, channels: Channels | None, steps_per_epoch: int) -> None:
        num_channels, height, width = images.shape
        shown = num_tiles(num_channels, channels)
        shape = (num_channels if channels is None else 1 if isinstance(channels, int) else 3, height, width)
        self.layout = film_layout(shape, shown, len(images), steps_per_epoch)
        self.folder, self.channels = folder, channels
        self.images = images.first(self.layout.columns)

    def begin(self) -> None:
        """Writes the layout and the images; frames of another layout, of other channels for example, are removed."""
        film = self.folder / FILM
        film.mkdir(parents=True, exist_ok=True)
        if (film / LAYOUT).exists() and not self._is_there(film / LAYOUT):
            for path in film.glob("step-*.webp"):
                path.unlink()
        write_json(film / LAYOUT, self.layout.to_json())
        self._write(tiles(self.images.pixels, self.channels), film / INPUTS)

    def after(self, trainer: Trainer) -> None:
        """Writes the images of a step if it is one of those that are kept, or the last one."""
        step = trainer.progress.step
        if is_filmed(step) or trainer.finished:
            self._write(self._decoded(trainer.averaged_model), frame_path(self.folder, step))

    def _is_there(self, path: Path) -> bool:
        try:
            return read_object(path, "") == self.layout.to_json()
        except RunError:
            return False

    def _decoded(self, model: Model) -> Tensor:
        """The tiles of reconstructions and samples, with shape (N, T, c, H, W)."""
        num, labels, condition = self.layout.columns, self.images.labels, model.condition
        classes = None if condition is None else torch.arange(num * self.layout.sample_rows) % len(condition.classes)
        reconstructions = model.reconstruct(self.images.pixels.to(model.device), None if condition is None else labels)
        with fixed_seed(0):
            samples = model.sample(num * self.layout.sample_rows, classes)
        return tiles(torch.cat([reconstructions.cpu(), samples.cpu()]), self.channels)

    def _write(self, shown: Tensor, path: Path) -> None:
        """Writes tiles as lines, without gaps."""
        rows = shown.unflatten(0, (-1, self.layout.columns))
        sheet = rows.permute(0, 2, 4, 1, 5, 3).flatten(2 + 1, 4).flatten(0, 2)
        with atomic_path(path) as partial:
            to_image(sheet.numpy()).save(partial, "WEBP", quality=QUALITY, method=4)
