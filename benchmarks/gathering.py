"""How much of a training step goes into gathering and augmenting its images.

Run it as ``python -m benchmarks.gathering pokemon-128``, with another recipe and with ``--data`` and ``--size`` as for
``vae train``. Batches and steps of the network take turns; printed are medians over the steps.
"""

import argparse
import time
from statistics import median

from vaekit.core.rng import fixed_seed
from vaekit.experiment.train import prepare
from vaekit.runs.recipe import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.gathering", description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", help="a recipe's name")
    parser.add_argument("--data", help="other images")
    parser.add_argument("--size", type=int, help="their side")
    parser.add_argument("--steps", type=int, default=20, help="how many steps are timed, but for two (%(default)s)")
    options = parser.parse_args()
    named = {"data": options.data, "size": options.size}
    recipe = load_recipe(options.recipe, {key: value for key, value in named.items() if value is not None})
    with fixed_seed(0):
        trainer = prepare(recipe).trainer
        trainer.step.train()
        batches, gathering, stepping = iter(trainer.batches), [], []
        for _ in range(options.steps + 2):
            begun = time.monotonic()
            batch = next(batches)
            gathered = time.monotonic()
            trainer.accelerator.backward(trainer.step(batch.x, batch.y, 1.0)["loss"])
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()
            gathering.append(gathered - begun)
            stepping.append(time.monotonic() - gathered)
    gather, step = 1000 * median(gathering[2:]), 1000 * median(stepping[2:])
    shape = "x".join(map(str, batch.x.shape))
    print(
        f"{recipe.name}, {shape}: gathering and augmenting {gather:.1f} ms, the network {step:.1f} ms, {gather / step:.1%}"
    )


if __name__ == "__main__":
    main()
