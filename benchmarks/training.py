"""Images per second of training: vaekit beside a bare loop, pythae, and the usual DataLoader script.

Run it as ``python -m benchmarks.training``. All contenders live in one process and take turns, A B C D A B C D ..., after a
warm-up round, so that whatever else the machine does meets them alike. A turn is an epoch over the same images.

How to read the table: a **ratio** is vaekit's speed over the contender's, computed within each round; above 1 vaekit is the
faster. The **bar** is what the median ratio has to reach against a way to train, at its fastest setting. The **loss** goes
from the warm-up to the last round, in nats per image; pythae's is of gray levels and cannot be compared with the others'.
Everyone must have as many parameters as vaekit and must have learned, or the measurement is refused.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.contenders import BATCH_SIZE, CONTENDERS, Contender, Turn, training_images

BARS = {"bare": 0.90, "pythae": 1.7, "dataloader": 3.0}
"""What vaekit's speed over a contender's has to reach, by way to train."""


@dataclass(frozen=True)
class Result:
    """The rounds of a contender.

    Arguments:
        speeds: Images per second in each round.
        ratios: vaekit's speed over its own in each round.
        losses: The losses of the warm-up and of the last round.
        bar: What the median ratio has to reach; None where nothing is asked.
    """

    speeds: list[float]
    ratios: list[float]
    losses: tuple[float, float]
    bar: float | None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        return None if self.bar is None else median(self.ratios) >= self.bar


def main() -> None:
    options = _options()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    contenders = enter(options.only, options.images)
    check_networks(contenders)
    turns = take_turns(contenders, options.rounds)
    check_learning(turns)
    results = compare(turns, options.images)
    print(table(results))
    if options.json is not None:
        report = {"machine": facts, "images": options.images, "results": {n: _plain(r) for n, r in results.items()}}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def enter(names: list[str], num_images: int) -> dict[str, Contender]:
    """Sets contenders up, vaekit among them; one that is not installed is left out with a word on how to get it."""
    images = training_images(num_images)
    contenders = {}
    for name, build in CONTENDERS.items():
        if name not in ("vaekit", *names):
            continue
        torch.manual_seed(0)
        try:
            contenders[name] = build(images)
        except ModuleNotFoundError as error:
            print(f"{name}: skipped ({error}); pip install -r benchmarks/requirements.txt")
    return contenders


def check_networks(contenders: Mapping[str, Contender]) -> None:
    """Asserts that everyone trains as many parameters."""
    numbers = {name: sum(p.numel() for p in contender.network.parameters()) for name, contender in contenders.items()}
    assert len(set(numbers.values())) == 1, f"the networks differ in their number of parameters: {numbers}"


def take_turns(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[Turn]]:
    """Lets everyone train an epoch in each round; the first is the warm-up."""
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)  # no bar, whose thread would take time from everyone
        for name, contender in contenders.items():
            turns[name].append(contender.turn())
    return turns


def check_learning(turns: Mapping[str, list[Turn]]) -> None:
    """Asserts that everyone's loss has fallen, so that no one was fast by leaving out work."""
    for name, taken in turns.items():
        first, last = taken[0].loss, taken[-1].loss
        assert last < first, f"{name} did not learn: its loss went from {first} to {last}"


def compare(turns: Mapping[str, list[Turn]], num_images: int) -> dict[str, Result]:
    """Turns times into speeds and ratios; of each way to train, the setting with the fastest median has the bar."""
    speeds = {name: [num_images / turn.seconds for turn in taken[1:]] for name, taken in turns.items()}
    fastest = {name.partition("-")[0]: name for name in sorted(speeds, key=lambda name: median(speeds[name]))}
    bars = {fastest[way]: bar for way, bar in BARS.items() if way in fastest}
    return {
        name: Result(
            speeds=speeds[name],
            ratios=[ours / theirs for ours, theirs in zip(speeds["vaekit"], speeds[name], strict=True)],
            losses=(taken[0].loss, taken[-1].loss),
            bar=bars.get(name),
        )
        for name, taken in turns.items()
    }


def table(results: Mapping[str, Result]) -> str:
    """The results, a contender a row."""
    lines = [
        f"{'contender':<14}{'images/s':>10}  {'min - max':^17}  {'ratio':>5}  {'min - max':^13}  {'bar':<12}{'loss':<14}"
    ]
    for name, result in results.items():
        speeds, ratios = result.speeds, result.ratios
        bar = "" if result.bar is None else f">= {result.bar:.2f} {'yes' if result.met else 'NO'}"
        lines.append(
            f"{name:<14}{median(speeds):>10,.0f}  {min(speeds):>7,.0f} - {max(speeds):<7,.0f}  "
            f"{median(ratios):>5.2f}  {min(ratios):>5.2f} - {max(ratios):<5.2f}  {bar:<12}"
            f"{result.losses[0]:.1f} -> {result.losses[1]:.1f}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What it runs on; a load near the number of cores before the start means that something else runs too."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _plain(result: Result) -> dict[str, Any]:
    numbers = {"median_speed": median(result.speeds), "median_ratio": median(result.ratios), "met": result.met}
    return numbers | vars(result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.training", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--images", type=int, default=100 * BATCH_SIZE, help="how many images a turn trains on (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how many rounds after the warm-up (%(default)s)")
    parser.add_argument("--threads", type=int, help="how many threads torch uses (its own choice)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME",
                        help="measure vaekit against these alone: %(choices)s")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
