"""The film of a training: the images of a run at its step 0, 1, 2, ..., in steps whose logarithms are evenly spaced.

A network learns most in its first steps, so that frames after equal numbers of steps would show little. Training keeps the
tiles of each of these steps in their own size, as small WebP files, and a ``film.json`` that says where they are; the film
is drawn from them: from each to the next one by a cross-fade, eased as in :mod:`vaekit.plots.frames`.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.core.errors import RunError
from vaekit.core.files import read_object
from vaekit.plots.animation import Animation, LazyFrames
from vaekit.plots.frames import RATE, frame_durations
from vaekit.plots.grid_text import Around, LineLabels
from vaekit.plots.grids import INPUT, MODEL, columns_for
from vaekit.plots.look import DOT, Look
from vaekit.plots.style import count
from vaekit.plots.tile_lines import MIN_TILE, draw

FILM, LAYOUT, INPUTS = Path("images", "film"), "film.json", "input.webp"
"""The folder of a run with the frames of its training; the file that says where their tiles are, and that of the images."""
PER_OCTAVE = 4
"""The number of frames between a step and the step of twice its number."""
COLUMNS, SAMPLE_ROWS, MAX_HEIGHT = 8, 4, 1_100
"""The maximum number of images side by side, of rows of samples, and the height to which there are more than one."""
SECONDS, FEWEST, MOST = 8, 3, 15
"""The approximate length of a film in seconds, and the least and largest number of frames from one step to the next."""
FIRST, LAST = 700, 2_000
"""The durations of the first and the last frame, in milliseconds."""


@dataclass(frozen=True)
class FilmLayout:
    """Where the tiles of a film are.

    Arguments:
        tile: The number of channels, 1 or 3, the height and the width of a tile.
        columns: The number of images side by side.
        num_tiles: The number of tiles of an image, which are below each other.
        sample_rows: The number of rows of samples, below one row of reconstructions.
        steps_per_epoch: The number of steps of an epoch.
    """

    tile: tuple[int, int, int]
    columns: int
    num_tiles: int
    sample_rows: int
    steps_per_epoch: int

    @property
    def num_lines(self) -> int:
        """The number of lines of tiles of a step."""
        return self.num_tiles * (1 + self.sample_rows)

    def to_json(self) -> dict[str, Any]:
        """Returns the layout as an object of JSON."""
        return asdict(self) | {"tile": list(self.tile)}


def film_layout(shape: tuple[int, int, int], num_tiles: int, num_images: int, steps_per_epoch: int) -> FilmLayout:
    """Returns the layout of the film of a model.

    Arguments:
        shape: The shape of an image.
        num_tiles: The number of tiles that it is shown as.
        num_images: The number of images that may be reconstructed.
        steps_per_epoch: The number of steps of an epoch.
    """
    channels, height, width = shape
    rows = max(1, min(SAMPLE_ROWS, MAX_HEIGHT // (height * num_tiles) - 2))
    columns = min(COLUMNS, columns_for(width), num_images)
    return FilmLayout(
        (channels if num_tiles == 1 and channels == 3 else 1, height, width), columns, num_tiles, rows, steps_per_epoch
    )


def is_filmed(step: int) -> bool:
    """Returns whether the images of a step are kept: those of step 0, and of the whole numbers next to powers of 2^(1/4)."""
    if step == 0:
        return True
    power = round(PER_OCTAVE * math.log2(step)) / PER_OCTAVE
    return round(2**power) == step


def frame_path(folder: Path, step: int) -> Path:
    """Returns the path of the images of a step."""
    return folder / FILM / f"step-{step:09d}.webp"


def animate_training(folder: Path, look: Look, size: int) -> Animation:
    """Returns the film of a training, from before its first step.

    Arguments:
        folder: The run folder.
        look: How it is drawn; its caption names no epoch.
        size: The least length of the shorter side, in pixels.

    Raises:
        RunError: If the run has images of fewer than two steps, or they cannot be read.
    """
    paths = sorted((folder / FILM).glob("step-*.webp"))
    steps = [int(path.stem.removeprefix("step-")) for path in paths if path.stem.removeprefix("step-").isdecimal()]
    if len(steps) < 2:
        raise RunError(f"{folder / FILM}: holds images of {count(len(steps), 'steps')}, and a film needs two; train again")
    layout = _read_layout(folder)
    inputs = _read_lines(folder / FILM / INPUTS, layout, layout.num_tiles)
    return _Film(folder, layout, steps, inputs, replace(look, size=size)).animation()


class _Film:
    """The frames of a film.

    Arguments:
        folder: The run folder.
        layout: Where the tiles are.
        steps: The steps whose images are there, in order.
        inputs: The images that are reconstructed, as lines.
        look: How they are drawn.
    """

    def __init__(self, folder: Path, layout: FilmLayout, steps: list[int], inputs: Tensor, look: Look) -> None:
        self.layout, self.steps, self.inputs, self.look = layout, steps, inputs, look
        self.lines = [_read_lines(frame_path(folder, step), layout, layout.num_lines) for step in steps]
        self.moves = max(FEWEST, min(MOST, SECONDS * RATE // len(steps)))

    def animation(self) -> Animation:
        """Returns the film."""
        num = self.moves * (len(self.steps) - 1) + 1
        durations = frame_durations(num)
        return Animation(LazyFrames(self._frame, num), [FIRST, *durations[1:-1], LAST])

    def _frame(self, number: int) -> Image.Image:
        """A frame between the images of two steps."""
        before, weight = divmod(number, self.moves)
        t = weight / self.moves
        eased = t * t * (3 - 2 * t)
        first, second = self.lines[before].float(), self.lines[min(before + 1, len(self.lines) - 1)].float()
        lines = torch.lerp(first, second, eased).round().byte()
        tiles = self.layout.num_tiles
        names = [INPUT, *[""] * (tiles - 1), MODEL, *[""] * (tiles - 1), "samples"]
        step = self.steps[before] if t < 0.5 else self.steps[before + 1]
        time = f"step {step:,}{DOT}epoch {step / self.layout.steps_per_epoch:.2f}"
        look = replace(self.look, caption=f"{self.look.caption}{DOT}{time}" if self.look.caption else time)
        shown = torch.cat([self.inputs, lines])
        return draw(shown, Around(labels=(LineLabels(names, 1),)), [2 * tiles], look, least=MIN_TILE if tiles > 1 else 1)


def _read_layout(folder: Path) -> FilmLayout:
    """The layout of a film."""
    path = folder / FILM / LAYOUT
    data = read_object(path, "train again")
    keys = ("columns", "num_tiles", "sample_rows", "steps_per_epoch")
    tile, numbers = data.get("tile"), [data.get(key, 0) for key in keys]
    sides = tile if isinstance(tile, list) else []
    if len(sides) != 3 or not all(isinstance(value, int) and 0 < value < 10**9 for value in (*sides, *numbers)):
        raise RunError(f"{path}: damaged, it does not say where the tiles are; train again")
    return FilmLayout((sides[0], sides[1], sides[2]), *numbers)


def _read_lines(path: Path, layout: FilmLayout, num_lines: int) -> Tensor:
    """The lines of tiles in a file, with shape (L, S, c, H, W)."""
    channels, height, width = layout.tile
    try:
        with Image.open(path, formats=["WEBP"]) as image:
            if image.size != (width * layout.columns, height * num_lines):
                raise RunError(f"{path}: of {image.width}x{image.height} pixels, and {LAYOUT} says otherwise; train again")
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); train again, or remove it") from None
    grid = torch.from_numpy(pixels).reshape(num_lines, height, layout.columns, width, channels)
    return grid.permute(0, 2, 4, 1, 3)
