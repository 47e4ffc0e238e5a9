"""Animations of a model: through waypoints, through the digits of pi, of traversals, and of its training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import mpmath
import torch
from PIL import Image

from vaekit.core.errors import DataError, RunError
from vaekit.core.progress import track
from vaekit.evaluation.finiteness import require_finite
from vaekit.plots.animation import Animation
from vaekit.plots.channels import as_uint8
from vaekit.plots.frames import captioned, enlarge, mosaic, swing, timeline, waypoint_animation
from vaekit.plots.style import count
from vaekit.presentation.latent_planes import traverse
from vaekit.presentation.model_view import ModelView
from vaekit.presentation.waypoints import WaypointName, parse_waypoints

STEPS, SWING_STEPS = 8, 16
"""The number of frames between two waypoints, and between the two ends of a traversal."""
FRAME, HOLD, DIGIT_HOLD, LAST = 70, 700, 350, 2_000
"""The duration of a frame, of a waypoint, of a digit of pi and of the last epoch of a training, in milliseconds."""
CHUNK_SIZE = 64
"""The number of frames that are decoded between two updates of the progress bar."""
MIN_GRID_WIDTH = 360
"""The least width of the grids of images of an epoch, in pixels, for the text below them."""
MAX_DIGITS = 10_000
"""The maximum number of digits of pi."""

InterpolationPath = Literal["linear", "spherical"]


def animate_waypoints(
    view: ModelView,
    names: Sequence[WaypointName],
    *,
    steps: int = STEPS,
    hold: int = HOLD,
    size: int = 280,
    path: InterpolationPath = "linear",
    labels: Sequence[str] = (),
    captions: Sequence[str] = (),
) -> Animation:
    """Returns an animation from waypoint to waypoint and back to the first.

    Arguments:
        view: The model and its images.
        names: The names of at least two waypoints (see :mod:`vaekit.presentation.waypoints`).
        steps: The number of frames between two waypoints.
        hold: The duration of a waypoint, in milliseconds.
        size: The least length of the longer side of an image, in pixels.
        path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.
        labels: The classes of image files, if the model is class-conditional: one for all, or one for each.
        captions: The captions of the waypoints; by default their names.

    Raises:
        DataError: If there are fewer than two waypoints, or one does not exist.
    """
    if len(names) < 2:
        raise DataError(f"an animation needs at least two waypoints, got {len(names)}: --through 1,9")
    waypoints = parse_waypoints(view, names, labels)
    positions, durations = timeline(len(names), steps, hold, FRAME)
    chunks = track(positions.split(CHUNK_SIZE), f"decoding {len(positions):,} frames", -(-len(positions) // CHUNK_SIZE))
    frames = (view.model.decode_path(waypoints.z, chunk, waypoints.labels, path) for chunk in chunks)
    decoded = [as_uint8(require_finite(chunk, "the decoded images")) for chunk in frames]
    names_shown = list(captions) or waypoints.captions
    return waypoint_animation(torch.cat(decoded), positions, durations, names_shown, size, view.channels)


def animate_pi(
    view: ModelView,
    digits: int = 40,
    *,
    steps: int = STEPS,
    hold: int = DIGIT_HOLD,
    size: int = 280,
    path: InterpolationPath = "linear",
) -> Animation:
    """Returns an animation through the digits of pi; other arguments as of :func:`animate_waypoints`.

    Raises:
        DataError: If there are fewer than ten classes, or the number of digits is out of range.
    """
    images = view.images
    if len(images.class_names) < 10:
        raise DataError(f"{images.name}: pi needs the ten classes 0 to 9, and there are {len(images.class_names)}")
    names = digits_of_pi(digits)
    captions = [f"{names[0]}.", *names[1:]]
    return animate_waypoints(view, list(names), steps=steps, hold=hold, size=size, path=path, captions=captions)


def animate_traversals(
    view: ModelView, num: int = 9, *, steps: int = SWING_STEPS, size: int = 280, start: WaypointName = "@0"
) -> Animation:
    """Returns an animation in which latents move through their ranges and back, one latent in each tile.

    Arguments:
        view: The model and its images.
        num: The maximum number of latents.
        steps: The number of frames between the two ends of a range.
        size: The approximate size of all tiles side by side, in pixels; a tile has at least 150.
        start: The waypoint that gives the values of all other latents.
    """
    traversal = traverse(view, num, swing(steps), start)
    columns = round(len(traversal.latents) ** 0.5) or 1
    tiles = [enlarge(row, max(size // columns, 150), view.channels) for row in traversal.images]
    captions = [view.describe_latent(latent) for latent in traversal.latents]
    frames = [mosaic([*map(captioned, row, captions)], columns) for row in zip(*tiles, strict=True)]
    return Animation(frames, [FRAME] * len(frames))


def animate_training(folder: Path) -> Animation:
    """Returns an animation of the reconstructions and samples of each epoch of a run.

    Arguments:
        folder: The run folder.

    Raises:
        RunError: If the run folder has images of fewer than two epochs, or an image cannot be read.
    """
    images = folder / "images" / "epochs"
    names = (path.stem.removeprefix("samples-") for path in images.glob("samples-*.png"))
    epochs = sorted((name for name in names if name.isdecimal()), key=int)
    if len(epochs) < 2:
        raise RunError(
            f"{images}: holds images of {count(len(epochs), 'epochs')}, and an animation needs two; "
            "train with --set training.images_every=1"
        )
    frames = []
    for epoch in track(epochs, "reading images of epochs"):
        parts = [
            captioned(_read(images / f"reconstructions-{epoch}.png"), "validation images above their reconstructions"),
            captioned(_read(images / f"samples-{epoch}.png"), "samples from the same latents in every epoch"),
        ]
        frames.append(captioned(mosaic(parts, columns=1), f"epoch {int(epoch)} of {int(epochs[-1])}"))
    duration = max(80, min(400, 8_000 // len(frames)))
    return Animation(_of_one_size(frames), [duration] * (len(frames) - 1) + [LAST])


def digits_of_pi(num: int) -> str:
    """Returns the first digits of pi, ``3141...``.

    Raises:
        DataError: If the number of digits is below 2 or above :data:`MAX_DIGITS`.
    """
    if not 2 <= num <= MAX_DIGITS:
        raise DataError(f"{num} digits of pi: choose from 2 to {MAX_DIGITS:,}")
    with mpmath.workdps(num + 10):
        return str(mpmath.nstr(mpmath.pi, num + 5)).replace(".", "")[:num]


def _of_one_size(frames: list[Image.Image]) -> list[Image.Image]:
    """Frames on white of one size and mode: a run that was resumed may show other channels than before."""
    if len({(frame.size, frame.mode) for frame in frames}) == 1:
        return frames
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    sheets = [Image.new("RGB", size, "white") for _ in frames]
    for sheet, frame in zip(sheets, frames, strict=True):
        sheet.paste(frame)
    return sheets


def _read(path: Path) -> Image.Image:
    """A grid of images, at least as wide as its caption."""
    try:
        with Image.open(path) as image:
            if image.width >= MIN_GRID_WIDTH:
                return image.copy()
            sheet = Image.new(image.mode, (MIN_GRID_WIDTH, image.height), "white")
            sheet.paste(image)
            return sheet
    except (OSError, SyntaxError) as error:
        raise RunError(f"{path}: cannot be read ({error}); train again, or remove the images of this epoch") from None
