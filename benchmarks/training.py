"""Training speed in images per second: vaekit, a tensor loop in plain PyTorch, pythae, and the usual DataLoader script.

Run it as ``python -m benchmarks.training``. All methods run in one process and alternate, A B C D A B C D ..., after a
warm-up round, so that other load on the machine affects all of them. Each method trains one epoch over the same images per
round.

In the table, the **ratio** is vaekit's speed divided by the method's speed in the same round; vaekit is faster if it is
above 1. The **target** is the minimum of the median ratio, for the faster variant of each method. The **loss** is given for
the warm-up and for the last round, in nats per image; pythae's is the loss of gray pixels and not comparable. The benchmark
fails if the networks have different numbers of parameters, or if a loss does not decrease.
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.training_methods import BATCH_SIZE, FAMILIES, METHODS, Epoch, TrainingMethod, settings, training_images
from vaekit.core.files import write_json

TARGETS = {"tensor-loop": 0.90, "pythae": 1.7, "dataloader": 3.0}
"""The minimum median ratio, by family of methods."""


@dataclass(frozen=True)
class Result:
    """The measurements of a method.

    Arguments:
        speeds: Images per second in each round.
        ratios: vaekit's speed divided by the method's speed in each round.
        losses: The losses of the warm-up and of the last round.
        target: The minimum of the median ratio; None if the method has no target.
    """

    speeds: list[float]
    ratios: list[float]
    losses: tuple[float, float]
    target: float | None

    @property
    def meets_target(self) -> bool | None:
        """Whether the median ratio reaches the target; None without a target."""
        return None if self.target is None else median(self.ratios) >= self.target


def main() -> None:
    options = _options()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print(settings())
    methods = build_methods(options.only, options.images)
    check_parameters(methods)
    epochs = run_rounds(methods, options.rounds)
    check_losses(epochs)
    results = compare(epochs, options.images)
    print(format_table(results))
    if options.json is not None:
        report = {"machine": facts, "settings": settings(), "images": options.images}
        write_json(options.json, report | {"results": {name: _to_data(result) for name, result in results.items()}})


def build_methods(names: list[str], num_images: int) -> dict[str, TrainingMethod]:
    """Prepares the named methods and vaekit; a method that is not installed is skipped with a message."""
    images = training_images(num_images)
    methods = {}
    for name, build in METHODS.items():
        if name not in ("vaekit", *names):
            continue
        torch.manual_seed(0)
        try:
            methods[name] = build(images)
        except ModuleNotFoundError as error:
            print(f"{name}: skipped ({error}); pip install -r benchmarks/requirements.txt")
    return methods


def check_parameters(methods: Mapping[str, TrainingMethod]) -> None:
    """Asserts that all networks have the same number of parameters."""
    numbers = {name: sum(p.numel() for p in method.network.parameters()) for name, method in methods.items()}
    assert len(set(numbers.values())) == 1, f"the networks differ in their number of parameters: {numbers}"


def run_rounds(methods: Mapping[str, TrainingMethod], rounds: int) -> dict[str, list[Epoch]]:
    """Trains one epoch with each method per round; the first round is the warm-up."""
    epochs: dict[str, list[Epoch]] = {name: [] for name in methods}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)  # no progress bar: its thread would take computing time
        for name, method in methods.items():
            epochs[name].append(method.train_epoch())
    return epochs


def check_losses(epochs: Mapping[str, list[Epoch]]) -> None:
    """Asserts that every loss has decreased, so that no method is fast because it leaves out work."""
    for name, rounds in epochs.items():
        first, last = rounds[0].loss, rounds[-1].loss
        assert last < first, f"{name}: the loss did not decrease, from {first} to {last}"


def compare(epochs: Mapping[str, list[Epoch]], num_images: int) -> dict[str, Result]:
    """Returns speeds and ratios; the fastest variant of each family has the target."""
    speeds = {name: [num_images / epoch.seconds for epoch in rounds[1:]] for name, rounds in epochs.items()}
    targets = {}
    for family, target in TARGETS.items():
        if variants := [name for name in FAMILIES[family] if name in speeds]:
            targets[max(variants, key=lambda name: median(speeds[name]))] = target
    return {
        name: Result(
            speeds=speeds[name],
            ratios=[vaekit / other for vaekit, other in zip(speeds["vaekit"], speeds[name], strict=True)],
            losses=(rounds[0].loss, rounds[-1].loss),
            target=targets.get(name),
        )
        for name, rounds in epochs.items()
    }


def format_table(results: Mapping[str, Result]) -> str:
    """Returns the results as text, one line per method."""
    lines = [
        f"{'method':<18}{'images/s':>10}  {'min - max':^17}  {'ratio':>5}  {'min - max':^13}  {'target':<12}{'loss':<14}"
    ]
    for name, result in results.items():
        speeds, ratios = result.speeds, result.ratios
        target = "" if result.target is None else f">= {result.target:.2f} {'yes' if result.meets_target else 'NO'}"
        lines.append(
            f"{name:<18}{median(speeds):>10,.0f}  {min(speeds):>7,.0f} - {max(speeds):<7,.0f}  "
            f"{median(ratios):>5.2f}  {min(ratios):>5.2f} - {max(ratios):<5.2f}  {target:<12}"
            f"{result.losses[0]:.1f} -> {result.losses[1]:.1f}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Returns facts about the machine; a load near the number of cores before the start means that other work runs."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _to_data(result: Result) -> dict[str, Any]:
    medians = {"median_speed": median(result.speeds), "median_ratio": median(result.ratios)}
    return medians | {"meets_target": result.meets_target} | vars(result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.training", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100 * BATCH_SIZE, help="training images per epoch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up (%(default)s)")
    parser.add_argument("--threads", type=int, help="torch threads (torch's default)")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD",
                        help="compare vaekit with these methods only: %(choices)s")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
