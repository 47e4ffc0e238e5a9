"""How fast images are decoded into the cache, against what Pillow alone does on one core.

Run it as ``python -m benchmarks.decoding``. It makes up a folder of photographs (JPEG, 640x480, clouds with the spectrum of
natural scenes), decodes it to 128x128 in color, and times Pillow on one core at the same work: open, turn upright, convert,
cut out the middle, scale. The two take turns. ``rate`` is images per second; the ratio is over the number of cores times
Pillow's rate. With ``--mnist`` it times the 60,000 + 10,000 images of MNIST instead, the first start and a later one.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageOps

from vaekit.data import load_images

SIDE = 128


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.decoding", description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=20_000, help="how many photographs (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed (%(default)s)")
    parser.add_argument("--mnist", action="store_true", help="time MNIST")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["VAEKIT_CACHE"] = f"{temporary}/cache"
        if options.mnist:
            mnist(Path(temporary), options.rounds)
        else:
            photos(Path(temporary), options.photos, options.rounds)


def mnist(temporary: Path, rounds: int) -> None:
    """Times loading MNIST without and with its images in the cache."""
    for what in ("first", "later"):
        times = []
        for _ in range(rounds):
            if what == "first":
                shutil.rmtree(temporary / "cache", ignore_errors=True)
            start = time.monotonic()
            load_images("mnist", size=28, channels=1)
            times.append(time.monotonic() - start)
        print(f"mnist, {what} start  {median(times):6.2f} s  [{min(times):.2f} - {max(times):.2f}]")


def photos(temporary: Path, num: int, rounds: int) -> None:
    """Times a folder of photographs."""
    make_photos(temporary / "photos", num)
    files = sorted((temporary / "photos").iterdir())
    ours, alone = [], []
    for _ in range(rounds):
        shutil.rmtree(temporary / "cache", ignore_errors=True)
        start = time.monotonic()
        load_images(temporary / "photos", "all", size=SIDE, channels=3)
        ours.append(num / (time.monotonic() - start))
        start = time.monotonic()
        for file in files[:1000]:
            pillow(file)
        alone.append(min(num, 1000) / (time.monotonic() - start))
    cores = os.cpu_count() or 1
    ratios = [a / (cores * b) for a, b in zip(ours, alone, strict=True)]
    print(f"vaekit, {cores} cores       {median(ours):8.0f} images/s  [{min(ours):.0f} - {max(ours):.0f}]")
    print(f"Pillow, one core      {median(alone):8.0f} images/s  [{min(alone):.0f} - {max(alone):.0f}]")
    print(f"ratio to {cores} x Pillow   {median(ratios):8.2f}             [{min(ratios):.2f} - {max(ratios):.2f}]")


def pillow(file: Path) -> np.ndarray:
    """What one would write with Pillow alone."""
    with Image.open(file) as image:
        return np.asarray(
            ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
        )


def make_photos(folder: Path, num: int, distinct: int = 100) -> None:
    """Writes photographs of clouds: noise whose amplitude falls with frequency, as that of natural scenes does."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    height, width = 480, 640
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    for number in range(min(num, distinct)):
        noise = np.fft.rfft2(draw.standard_normal((3, height, width)))
        clouds = np.fft.irfft2(noise / frequency, s=(height, width))
        clouds = 128 + 45 * clouds / clouds.std()
        Image.fromarray(clouds.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(
            folder / f"{number:06}.jpg", quality=90
        )
    for number in range(distinct, num):
        shutil.copy(folder / f"{number % distinct:06}.jpg", folder / f"{number:06}.jpg")


if __name__ == "__main__":
    main()
