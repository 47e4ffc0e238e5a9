"""The speed of decoding images into the cache, compared with Pillow on one core.

Run it as ``python -m benchmarks.decoding``. It generates a folder of photographs (JPEG, 640x480, noise with the spectrum of
natural images), decodes it to 128x128 in color, and times the same work by Pillow on one core: open, turn upright, convert,
crop the center, scale. The two alternate. Printed are images per second, and the ratio to the number of cores times Pillow's
speed. With ``--mnist`` it times the 70,000 images of MNIST instead, without and with a cache.
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
    parser.add_argument("--photos", type=int, default=20_000, help="the number of photographs (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the number of repetitions (%(default)s)")
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
    for cache in ("empty", "filled"):
        times = []
        for _ in range(rounds):
            if cache == "empty":
                shutil.rmtree(temporary / "cache", ignore_errors=True)
            start = time.monotonic()
            load_images("mnist", size=28, channels=1)
            times.append(time.monotonic() - start)
        print(f"mnist, {cache:6} cache  {median(times):6.2f} s  [{min(times):.2f} - {max(times):.2f}]")


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
    """Decodes a photograph with Pillow alone."""
    with Image.open(file) as image:
        return np.asarray(
            ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
        )


def make_photos(folder: Path, num: int, distinct: int = 100) -> None:
    """Writes images of noise whose amplitude falls with the frequency, as in photographs of natural scenes."""
    folder.mkdir()
    random = np.random.default_rng(0)
    height, width = 480, 640
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    for number in range(min(num, distinct)):
        noise = np.fft.rfft2(random.standard_normal((3, height, width)))
        pixels = np.fft.irfft2(noise / frequency, s=(height, width))
        pixels = 128 + 45 * pixels / pixels.std()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(
            folder / f"{number:06}.jpg", quality=90
        )
    for number in range(distinct, num):
        shutil.copy(folder / f"{number % distinct:06}.jpg", folder / f"{number:06}.jpg")


if __name__ == "__main__":
    main()
