"""The speed of the importance-weighted estimate of log p(x), relative to the speed of matrix products on this machine.

Run it as ``python -m benchmarks.likelihood runs/mnist-mlp``. Parts of the test images alternate with products of matrices of
the size of a decoder with 512 hidden units; torch counts the operations. It prints the time for all images, the median over
the parts with its range, and log p(x).
"""

import argparse
import math
import time
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from vaekit.evaluation.likelihood.bounds import log_likelihood
from vaekit.runs.run_folder import RunFolder

ROWS, HIDDEN, PIXELS = 2000, 512, 784
PLAIN_SECONDS = 4.0


def plain_rate() -> float:
    """Returns the number of operations per second of matrix products."""
    left, right = torch.randn(ROWS, HIDDEN), torch.randn(HIDDEN, PIXELS)
    count, begun = 0, time.monotonic()
    while time.monotonic() - begun < PLAIN_SECONDS:
        left @ right
        count += 1
    return count * 2 * ROWS * HIDDEN * PIXELS / (time.monotonic() - begun)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.likelihood", description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="a run folder")
    parser.add_argument("--num-samples", type=int, default=5000, help="samples per image (%(default)s)")
    parser.add_argument("--parts", type=int, default=5, help="number of parts (%(default)s)")
    options = parser.parse_args()
    run = RunFolder(options.run)
    images, k = run.images(), options.num_samples
    with FlopCounterMode(display=False) as counter:
        log_likelihood(run.model, images.first(1), num_samples=k)
    operations = counter.get_total_flops()

    seconds, shares, values = [], [], []
    before = plain_rate()
    for part in torch.arange(len(images)).chunk(options.parts):
        begun = time.monotonic()
        values.append(log_likelihood(run.model, images.take(part), num_samples=k))
        seconds.append(time.monotonic() - begun)
        after = plain_rate()
        shares.append(len(part) * operations / seconds[-1] / ((before + after) / 2))
        before = after

    total = sum(seconds)
    mean = sum(value.value * value.num_images for value in values) / len(images)
    error = math.hypot(*(value.standard_error * value.num_images for value in values)) / len(images)
    print(
        f"{len(images):,} images, {k:,} samples each, {torch.get_num_threads()} threads: {total:.0f} s, "
        f"{len(images) * operations / total / 1e9:.0f} GFLOP/s, {median(shares):.0%} [{min(shares):.0%}-{max(shares):.0%}] "
        f"of plain matrix products; log p(x) {mean:.2f} +- {error:.2f} nats per image"
    )


if __name__ == "__main__":
    main()
