"""Films of a model: through waypoints, through the digits of pi, and of traversals."""

from collections.abc import Sequence
from typing import Literal

import mpmath
import torch
from PIL import Image

from vaekit.core.errors import DataError
from vaekit.core.progress import track
from vaekit.evaluation.finiteness import require_finite
from vaekit.plots.animation import Animation, LazyFrames
from vaekit.plots.channels import as_uint8
from vaekit.plots.frames import captioned, enlarge, frame_durations, mosaic, swing, timeline, waypoint_animation
from vaekit.presentation.latent_planes import traverse
from vaekit.presentation.model_view import ModelView
from vaekit.presentation.waypoints import WaypointName, parse_waypoints

STEPS, DIGIT_STEPS, SWING_STEPS = 30, 15, 45
"""The number of frames between two waypoints, between two digits of pi, and between the two ends of a traversal."""
HOLD, DIGIT_HOLD = 700, 300
"""The duration of a waypoint and of a digit of pi, in milliseconds."""
SIZE = 720
"""The default size of the images of a film, in pixels."""
CHUNK_SIZE = 64
"""The number of frames that are decoded between two updates of the progress bar."""
MIN_TILE = 150
"""The least size of a latent's image, in pixels, for the text below it."""
MAX_DIGITS = 10_000
"""The maximum number of digits of pi."""

InterpolationPath = Literal["linear", "spherical"]


def animate_waypoints(
    view: ModelView,
    names: Sequence[WaypointName],
    *,
    steps: int = STEPS,
    hold: int = HOLD,
    size: int = SIZE,
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
    positions, durations = timeline(len(names), steps, hold)
    chunks = track(positions.split(CHUNK_SIZE), f"decoding {len(positions):,} frames", -(-len(positions) // CHUNK_SIZE))
    frames = (view.model.decode_path(waypoints.z, chunk, waypoints.labels, path) for chunk in chunks)
    decoded = [as_uint8(require_finite(chunk, "the decoded images")) for chunk in frames]
    names_shown = list(captions) or waypoints.captions
    return waypoint_animation(torch.cat(decoded), positions, durations, names_shown, size, view.channels, view.look)


def animate_pi(
    view: ModelView,
    digits: int = 40,
    *,
    steps: int = DIGIT_STEPS,
    hold: int = DIGIT_HOLD,
    size: int = SIZE,
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
    view: ModelView, num: int = 9, *, steps: int = SWING_STEPS, size: int = SIZE, start: WaypointName | None = None
) -> Animation:
    """Returns an animation in which latents move through their ranges and back, one latent in each tile.

    Arguments:
        view: The model and its images.
        num: The maximum number of latents.
        steps: The number of frames between the two ends of a range.
        size: The approximate size of all tiles side by side, in pixels; a tile has at least :data:`MIN_TILE`.
        start: The waypoint that gives the values of all other latents; by default as of :func:`traverse`.
    """
    traversal = traverse(view, num, swing(steps), start)
    columns = round(len(traversal.latents) ** 0.5) or 1
    captions, theme = [view.describe_latent(latent) for latent in traversal.latents], view.look.theme

    def frame(number: int) -> Image.Image:
        tiles = enlarge(traversal.images[:, number], max(size // columns, MIN_TILE), view.channels, view.look)
        shown = [captioned(tile, caption, theme) for tile, caption in zip(tiles, captions, strict=True)]
        return mosaic(shown, columns, theme=theme)

    return Animation(LazyFrames(frame, 2 * steps), frame_durations(2 * steps))


def digits_of_pi(num: int) -> str:
    """Returns the first digits of pi, ``3141...``.

    Raises:
        DataError: If the number of digits is below 2 or above :data:`MAX_DIGITS`.
    """
    if not 2 <= num <= MAX_DIGITS:
        raise DataError(f"{num} digits of pi: choose from 2 to {MAX_DIGITS:,}")
    with mpmath.workdps(num + 10):
        return str(mpmath.nstr(mpmath.pi, num + 5)).replace(".", "")[:num]
