"""Helpers of tests: the outputs of plot commands, read back."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tests.commands import SHAPE
from vaekit.plots import Animation


def pixels(image: Path | Image.Image | Figure, dpi: int = 200) -> np.ndarray:
    """The pixels of an image, in a file or not."""
    if isinstance(image, Figure):
        file = io.BytesIO()
        image.savefig(file, dpi=dpi)
        image = Image.open(file)
    if isinstance(image, Path):
        with Image.open(image) as opened:
            return np.asarray(opened)
    return np.asarray(image)


def played(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """The gray frames of an animation, and how long each is shown."""
    frames, durations = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            frames.append(np.asarray(image.convert("L")).astype(int))
            durations.append(image.info["duration"])
    return frames, durations


def plays(path: Path, animation: Animation) -> None:
    """Asserts that a file shows an animation at any time; a GIF within half a step of 64 gray levels, a WebP on average."""
    frames, durations = played(path)
    ends = np.cumsum(durations)
    assert abs(ends[-1] - sum(animation.durations)) <= (5 if path.suffix == ".gif" else 0)
    for start, frame in zip(np.cumsum([0, *animation.durations[:-1]]), animation.frames, strict=True):
        found = frames[np.searchsorted(ends, start + 5, side="right")]  # frames that are the same are one in the file
        error = np.abs(found - np.asarray(frame.convert("L"), int))
        assert error.max() <= 2.5 if path.suffix == ".gif" else error.mean() < 8


def unlabeled(path: Path, num: int = 20) -> Path:
    """Images without classes."""
    np.save(path, np.random.default_rng(0).integers(0, 256, (num, *SHAPE[1:]), dtype=np.uint8))
    return path


PLACES = {
    "traverse": ([], "traverse.png"),
    "manifold": ([], "manifold.png"),
    "interpolate": ([1, 9], "interpolate-1-9.png"),
    "map": ([], "latent-map.png"),
    "rates": ([], "rates.png"),
    "errors": ([], "errors.png"),
    "curves": ([], "learning-curves.png"),
}


COMMANDS = [[command, *map(str, args)] for command, (args, _) in PLACES.items()]
