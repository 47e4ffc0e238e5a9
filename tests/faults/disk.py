"""A full or failing disk at every file operation, a small file system, and a folder that is removed while it is written.

``disk/run/plain/ENOSPC/once/17`` fails at operation 17 of a run, ``for-ever`` at all from there on. The command must say
in one line what cannot be written, or succeed; the last checkpoint stays; and the run resumed later is the one that
nothing happened to.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from tests.faults.fork_server import Command, Finished, run
from tests.faults.operations import FAILING, Action, Fault
from tests.faults.outcome import contents
from tests.faults.preparation import Preparation
from tests.faults.recovery import recover
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.trainings import FEATURES
from tests.faults.verdict import Verdict, complaint

DURATIONS = {"once": Action.FAIL_ONCE, "for-ever": Action.FAIL_FOREVER}
SIZES = tuple(range(0, 240, 8))
"""Sizes of a small file system in KB; the tiny run takes about 250."""
PLACES = ("run", "cache", "pictures")
"""What a message names: the run folder, the cache, or the folder of the images."""
REMOVED = tuple(range(0, 100, 5))
"""When the folder of a run is removed, in percent of its file operations."""


class Disk:
    """The suite of full and failing disks.

    Arguments:
        preparation: Prepared folders.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.scenarios = preparation.scenarios

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of about ``num`` cases: most at operations of the plain training, some at those of features."""
        generator = random.Random(seed)
        features = generator.sample(list(FEATURES), min(len(FEATURES), num // 100))
        keys = [*product(SCENARIOS, ["plain"]), *(("run", feature) for feature in features if feature != "plain")]
        made = [one for one in self.scenarios.make(keys) if not one.refusal]
        names = [name for one in made for name in _at_each(one)]
        special = [f"disk/run/plain/small/KB/{size}" for size in SIZES] if os.geteuid() == 0 else []
        special += [f"disk/run/plain/removed/percent/{share}" for share in REMOVED]
        special = generator.sample(special, min(len(special), num // 3))
        return special + generator.sample(names, min(num - len(special), len(names)))

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in a folder."""
        _, scenario, feature, error, how, at = name.split("/")
        one = self.scenarios.get(scenario, feature)
        work = folder / "work"
        if error == "small":
            with small_file_system(work, int(at)):
                return _judge_small(name, one, work, folder / "logs")
        shutil.copytree(one.folder, work)
        if error == "removed":
            return _judge_removed(name, one, int(at), work, folder / "logs")
        number, kinds = FAILING[error]
        finished = run(one.command(one.args, Fault(DURATIONS[how], int(at), kinds, number)), work, folder / "logs")
        return _judge_failure(name, one, finished, work, folder / "logs")


def _at_each(scenario: Scenario) -> Iterator[str]:
    """A failure of each kind at each operation that can fail so."""
    for error, (_, kinds) in FAILING.items():
        if (scenario.name, error) == ("decode", "READ-EACCES"):
            continue  # an image that may not be read is left out, with a line
        names = {kind.name.lower() for kind in kinds if kind.name}
        num = sum(operation.kind in names for operation in scenario.operations)
        for at, how in product(range(num), DURATIONS):
            yield f"disk/{scenario.name}/{scenario.feature}/{error}/{how}/{at}"


def _judge_failure(name: str, scenario: Scenario, finished: Finished, work: Path, logs: Path) -> Verdict:
    """Checks that a command that could not write says where, and goes on with the run on a disk in order."""
    commands = scenario.recoveries(resume_first=_is_odd(name))
    verdict = recover(name, scenario, [finished], commands, work, logs)
    if verdict.good and finished.code == 2 and not any(place in finished.err for place in PLACES):
        return Verdict(name, "no place named", finished.err.strip(), finished.err.strip()[:80])
    return verdict


def _is_odd(name: str) -> bool:
    return int(name.rpartition("/")[2]) % 2 == 1


@contextmanager
def small_file_system(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system in memory of a size; needs to be root."""
    folder.mkdir()
    options = f"size={max(kilobytes, 4)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _judge_small(name: str, scenario: Scenario, work: Path, logs: Path) -> Verdict:
    """Runs in the small file system, then makes it large and goes on."""
    finished = run(Command(scenario.args), work, logs)
    subprocess.run(["mount", "-o", "remount,size=100m", work], check=True)
    return _judge_failure(name, scenario, finished, work, logs)


def _judge_removed(name: str, scenario: Scenario, share: int, work: Path, logs: Path) -> Verdict:
    """Another process removes the run folder while the run writes; the run must end in one line, or write all of it anew."""
    at = share * len(scenario.changes) // 100
    finished = _run_and_remove(scenario.args, at, work, logs)
    if wrong := complaint(finished):
        return Verdict(name, *wrong)
    if finished.code == 0 and contents(work / "run").keys() != scenario.expected.keys():
        return Verdict(name, "silent", "exit code 0, and files are missing", "removed folder")
    return Verdict(name, "refused" if finished.code else "equal")


def _run_and_remove(args: Sequence[str], at: int, work: Path, logs: Path) -> Finished:
    command = Command(tuple(args), Fault(Action.MOVE_AWAY, at), watched=work / "run")
    return run(command, work, logs)
