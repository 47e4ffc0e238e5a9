"""Random changes of sources of images, and random scales: nothing but a read or one line, and no silent change of scale.

``python -m tests.faults.sources --cases 10000``: one half are damaged sources (:mod:`tests.hostile_data`), each inspected
and loaded. The other half are undamaged arrays and TIFF files whose black and white are known, of which one split is dark:
all pixels must be scaled by the values that docs/data.md gives for the whole set.
"""

import argparse
import shutil
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.faults.verdict import outcome_of
from tests.hostile_data import cases
from vaekit.data import inspect, load_images

LIMIT = 10.0
"""The longest that a case may take, in seconds."""
WHITES = (1, 255, 1023, 4095, 16_383, 65_535)


def main() -> int:
    """Tries the cases; returns 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sources", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds, slowest = Counter[str](), 0.0
    damaged = islice(cases(options.seed), options.cases // 2)
    for number in range(options.cases):
        folder = Path(tempfile.mkdtemp())
        begun = time.perf_counter()
        if number % 2:
            name, kind = f"scale {number}", _scaled(np.random.default_rng((options.seed, number)), folder)
        else:
            name, write = next(damaged)
            source = write(folder)
            kind = outcome_of(lambda source=source: (inspect(source), load_images(source, "all")))
        seconds = time.perf_counter() - begun
        kind, slowest = kind if seconds < LIMIT else "slow", max(slowest, seconds)
        kinds[kind] += 1
        if kind not in ("read", "refused", "scaled"):
            print(f"{name}: {kind}")
        shutil.rmtree(folder, ignore_errors=True)
    for kind, num in kinds.most_common():
        print(f"{num:>7,} {kind}")
    print(f"slowest {slowest:.2f} s")
    return int(bool(kinds.keys() - {"read", "refused", "scaled"}))


def _scaled(random: np.random.Generator, folder: Path) -> str:
    """What becomes of a dark training split and a bright test split of one scale."""
    black, white, dtype = _draw_scale(random)
    dark, bright = _draw(random, black, white, dtype, 0.3), _draw(random, black, white, dtype, 1.0)
    splits = {"train": dark, "test": bright}
    can_be_tiff = dtype in (np.uint8, np.uint16, np.int32, np.float32)
    source = folder / "pics" if can_be_tiff and random.random() < 0.5 else folder / "a.npz"
    if source.suffix:
        np.savez(source, **{f"x_{split}": images for split, images in splits.items()})
    else:
        for split, images in splits.items():
            (source / split).mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(source / split / f"{number}.tif")
    for split, images in splits.items():
        found = load_images(source, split).pixels[:, 0].numpy().astype(float)
        expected = (images.astype(float) - black) / (white - black) * 255
        if np.abs(found - expected).max() > 0.51:
            return f"a changed scale of {np.dtype(dtype)} from {black} to {white} in {source.name} {split}"
    return "scaled"


def _draw_scale(random: np.random.Generator) -> tuple[float, float, Any]:
    """Black, white and a type that can hold them."""
    if random.random() < 0.4:
        black, white = ((0, 1), (-1, 1), (0, 255))[int(random.integers(3))]
        return black, white, (np.float32, np.float64, np.float16)[int(random.integers(3))]
    white = WHITES[int(random.integers(len(WHITES)))]
    types = [
        dtype for dtype in (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64) if white <= np.iinfo(dtype).max
    ]
    return 0, white, types[int(random.integers(len(types)))]


def _draw(random: np.random.Generator, black: float, white: float, dtype: Any, brightness: float) -> NDArray[Any]:
    """Images whose values reach from black to a share of white, which is at least a half of it for a bright split."""
    top = black + (white - black) * (brightness if brightness < 1 else random.uniform(0.55, 1.0))
    values = random.uniform(black, top, (3, 5, 7))
    values[0, 0, 0], values[0, 0, 1] = black, max(top, 1) if white == 1 else top
    return (np.rint(values) if np.issubdtype(dtype, np.integer) else values).astype(dtype)


if __name__ == "__main__":
    raise SystemExit(main())
