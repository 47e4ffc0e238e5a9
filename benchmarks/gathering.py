"""The share of a training step that is spent on gathering and augmenting its images.

Run it as ``python -m benchmarks.gathering pokemon-128``, or with another recipe; ``--data`` and ``--size`` are as for
``vae train``. Gathering a batch and the update of the model alternate; medians over the steps are printed.
"""

import argparse
import time
from statistics import median

from vaekit.core.rng import fixed_seed
from vaekit.experiment.prepare import prepare
from vaekit.runs.recipe import load_recipe

NUM_WARMUP = 2
"""The number of steps before those that are timed."""


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.gathering", description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", help="the name of a recipe")
    parser.add_argument("--data", help="another source of images")
    parser.add_argument("--size", type=int, help="the height and width of the images")
    parser.add_argument("--steps", type=int, default=20, help="the number of timed steps (%(default)s)")
    options = parser.parse_args()
    overrides = {"data": options.data, "size": options.size}
    recipe = load_recipe(options.recipe, {key: value for key, value in overrides.items() if value is not None})
    with fixed_seed(0):
        trainer = prepare(recipe).trainer
        trainer.step.train()
        batches, gather_seconds, update_seconds = iter(trainer.batches), [], []
        for _ in range(NUM_WARMUP + options.steps):
            start = time.monotonic()
            batch = next(batches)
            gathered = time.monotonic()
            trainer.step.update(batch, 1.0)
            gather_seconds.append(gathered - start)
            update_seconds.append(time.monotonic() - gathered)
    gather, update = 1000 * median(gather_seconds[NUM_WARMUP:]), 1000 * median(update_seconds[NUM_WARMUP:])
    shape = "x".join(map(str, batch.x.shape))
    print(f"{recipe.name}, {shape}: gather and augment {gather:.1f} ms, update {update:.1f} ms, ratio {gather / update:.1%}")


if __name__ == "__main__":
    main()
