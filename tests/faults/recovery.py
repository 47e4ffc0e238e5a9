"""Going on with a run that was stopped, as a user does, and comparing it with one that was not."""

import re
import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.faults.fork_server import Finished, run
from tests.faults.outcome import contents, differences, epochs
from tests.faults.scenarios import RESUME, Scenario
from tests.faults.verdict import EQUAL, Verdict, complaint

STOPPED = (0, 2, 129, 130, 143, -signal.SIGKILL)
"""Exit codes of a command that was killed or asked to stop, or could not write."""
BESIDE = ("run", "run.lock", ".run.lock", "pictures", "cache")
"""What may be left beside a run in the folder."""


def recover(
    name: str, scenario: Scenario, stopped: Sequence[Finished], commands: Sequence[tuple[str, ...]], work: Path, logs: Path
) -> Verdict:
    """Goes on with a run after something happened to commands; what is lost counts more than how they ended.

    Arguments:
        name: The name of the case.
        scenario: What was run.
        stopped: How the commands ended to which something happened.
        commands: What the user types, in this order, until the run has ended.
        work: The folder of the run.
        logs: Where output goes.
    """
    complaints = [wrong for finished in stopped if (wrong := complaint(finished, STOPPED))]
    verdict = _go_on(name, scenario, commands, work, logs)
    return Verdict(name, *complaints[0]) if complaints and verdict.kind in (EQUAL, "left over") else verdict


def _go_on(name: str, scenario: Scenario, commands: Sequence[tuple[str, ...]], work: Path, logs: Path) -> Verdict:
    """Types the commands until the run has ended, and compares it."""
    answers = []
    for args in commands:
        finished = run(scenario.command(args), work, logs)
        answers.append(finished)
        if wrong := complaint(finished):
            return Verdict(name, *wrong)
        if scenario.replaces and args == RESUME:
            if lost := _neither(scenario, work):
                return Verdict(name, "lost", lost, "neither the old run nor the new one")
        elif finished.code == 0:
            break
    if answers[-1].code != 0 and not any("finished after" in answer.err for answer in answers):
        resumed = next((answer for answer in answers if answer.args == RESUME), answers[-1])
        return Verdict(name, "unresumable", " | ".join(answer.err.strip() for answer in answers), resumed.err.strip()[:90])
    return compare(name, scenario, work)


def _neither(scenario: Scenario, work: Path) -> str:
    """Why a run that was to become another is neither the old one nor the new one; empty if it is one of them."""
    found = contents(work / "run")
    to_old, to_new = (_lost(differences(whole, found)) for whole in (scenario.before, scenario.expected))
    return f"old: {to_old[0]}; new: {to_new[0]}" if to_old and to_new else ""


def _lost(different: list[str]) -> list[str]:
    return [line for line in different if not line.endswith(": left over")]


def compare(name: str, scenario: Scenario, work: Path) -> Verdict:
    """Compares a run that has ended with the one that nothing happened to."""
    found, numbers = contents(work / "run"), epochs(work / "run")
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return Verdict(name, "doubled", f"epochs {numbers}", "metrics.jsonl")
    different = differences(scenario.expected, found)
    if lost := _lost(different):
        return Verdict(name, "lost", "; ".join(lost), lost[0].split(":")[0])
    outside = [path.name for path in work.iterdir() if path.name not in BESIDE]
    if different or outside:
        left = [*different, *outside]
        return Verdict(name, "left over", "; ".join(left), re.sub(r"tmp\w{6}|(?<=partial-)\d+", "*", left[0].split(":")[0]))
    return Verdict(name, EQUAL)
