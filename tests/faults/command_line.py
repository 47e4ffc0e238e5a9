"""The command ``python -m tests.faults``: runs suites, prints what went wrong, and writes the figures."""

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from tests.faults.disk import Disk
from tests.faults.fork_server import warm
from tests.faults.fuzz import Fuzz
from tests.faults.kills import Kills
from tests.faults.launched import Launched
from tests.faults.preparation import Preparation
from tests.faults.suite import Suite, in_folder, in_processes, scratch_folder
from tests.faults.trainings import training
from tests.faults.verdict import Verdict, failures, group, table
from tests.faults.writers import Writers
from tests.faults.zoo import Zoo

SUITES: dict[str, Callable[[Preparation], Suite]] = {
    "kills": Kills,
    "disk": Disk,
    "writers": Writers,
    "launched": Launched,
    "fuzz": Fuzz,
    "zoo": Zoo,
}
PACKAGES = ("vaekit", "torch", "numpy", "safetensors", "pillow", "pydantic")


def main(arguments: list[str] | None = None) -> int:
    """Runs the suites; returns 1 if anything went wrong."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    begun = time.monotonic()
    with scratch_folder(options.keep) as scratch:
        (scratch / "warm").mkdir()
        warm([training("plain"), training("augmented", out="again")], scratch / "warm")
        names = [options.only.split("/")[0]] if options.only else options.suites or list(SUITES)
        preparation = Preparation(scratch, options.jobs)
        verdicts = [verdict for name in names for verdict in _run_suite(name, options, preparation)]
        if options.keep:
            print(f"kept in {scratch}")
    seconds = time.monotonic() - begun
    _print(verdicts, seconds)
    if options.output is not None:
        options.output.write_text(json.dumps(_figures(verdicts, options, seconds), indent=2) + "\n")
    return int(any(not verdict.good for verdict in verdicts))


def _run_suite(name: str, options: argparse.Namespace, preparation: Preparation) -> list[Verdict]:
    suite = SUITES[name](preparation)
    cases = [options.only] if options.only else suite.cases(options.cases, options.seed)

    def judge(case: str) -> Verdict:
        return in_folder(suite, case, preparation.scratch, options.keep, bool(options.only))

    return list(in_processes(judge, cases, options.jobs))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"some of {', '.join(SUITES)}; all by default")
    parser.add_argument("--cases", type=int, default=1500, help="the number of cases of each suite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="the number of processes")
    parser.add_argument("--only", metavar="CASE", help="repeat the case of this name, and print what it prints")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the cases")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the figures")
    return parser


def _print(verdicts: list[Verdict], seconds: float) -> None:
    print(table(verdicts))
    for kind, place, num, one in failures(verdicts):
        print(f"\n{num} x {kind} at {place}: {one.detail[:400]}\n    python -m tests.faults --only {one.case}")
    wrong = sum(not verdict.good for verdict in verdicts)
    print(f"\n{len(verdicts):,} cases in {seconds:,.0f} s, {wrong:,} went wrong")


def _figures(verdicts: list[Verdict], options: argparse.Namespace, seconds: float) -> dict[str, object]:
    """Everything that the run was, and what came of it."""
    return {
        "verdicts": {
            name: dict(Counter(verdict.kind for verdict in verdicts if group(verdict.case) == name))
            for name in dict.fromkeys(group(verdict.case) for verdict in verdicts)
        },
        "failures": [
            {"kind": kind, "place": place, "cases": num, "example": one.case, "detail": one.detail}
            for kind, place, num, one in failures(verdicts)
        ],
        "cases": options.cases,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
