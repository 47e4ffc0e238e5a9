"""Kills at random instants, and at every file operation of a run, a resume, a longer run and a replacement.

After the kill the user types the same command again, or ``vae train --resume``, until the run ends. It has to be, bit for
bit, the run that was never killed.

The name of a case says it all: ``kills/run/no-average/before/17`` dies before operation 17 of a run without a moving
average, ``halfway`` has written half of the data, ``power`` has lost what was not flushed, ``before/17+5`` kills the
recovery at its operation 5, and ``SIGTERM/0.31`` sends a signal after that share of the usual time.
"""

import os
import random
import shutil
import signal
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tests.faults.fork_server import Finished, run
from tests.faults.operations import Action, Fault, Operation
from tests.faults.preparation import Preparation
from tests.faults.recovery import recover
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.trainings import FEATURES
from tests.faults.verdict import Verdict

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
MANY = 200
"""With fewer cases only the plain training is tried."""
ACTIONS = {"before": Action.DIE_BEFORE, "halfway": Action.DIE_HALFWAY, "power": Action.DIE_BEFORE}


class Kills:
    """The suite of kills.

    Arguments:
        preparation: Prepared folders.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.scenarios = preparation.scenarios

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of about ``num`` cases: each operation of the plain training, and a sample of all others."""
        features = list(FEATURES) if num >= MANY else ["plain"]
        others = [(name, "plain") for name in SCENARIOS if name not in ("run", "resume")]
        made = self.scenarios.make([*product(("run", "resume"), features), *others])
        refused = [f"kills/{one.name}/{one.feature}/never/0" for one in made if one.refusal]
        return refused + _choose([one for one in made if not one.refusal], num, random.Random(seed))

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in a folder."""
        _, scenario, feature, action, at = name.split("/")
        return _judge(name, self.scenarios.get(scenario, feature), action, at, folder)


def _choose(scenarios: Sequence[Scenario], num: int, generator: random.Random) -> list[str]:
    """Half of the cases are operations of the plain training, a quarter those of features, the rest are random instants."""
    plain = [name for one in scenarios if one.feature == "plain" for name in _at_each(one)]
    featured = [name for one in scenarios if one.feature != "plain" for name in _at_each(one)]
    chosen = generator.sample(plain, min(len(plain), num // 2))
    chosen += generator.sample(featured, min(len(featured), (num - len(chosen)) // 2))
    return chosen + [_random_case(generator, scenarios) for _ in range(num - len(chosen))]


def _at_each(scenario: Scenario) -> list[str]:
    """A kill before each operation of a scenario, half-way through each write, and with a loss of power at each."""
    start = f"kills/{scenario.name}/{scenario.feature}"
    names = []
    for at, operation in enumerate(scenario.changes):
        names.append(f"{start}/before/{at}")
        if operation.kind == "write":
            names.append(f"{start}/halfway/{at}")
        else:
            names.append(f"{start}/power/{at}")
    return names


def _random_case(generator: random.Random, scenarios: Sequence[Scenario]) -> str:
    """A signal at a random instant, or two or three kills in a row."""
    one = generator.choice(scenarios)
    start, num = f"kills/{one.name}/{one.feature}", len(one.changes)
    if generator.random() < 0.5:
        return f"{start}/{generator.choice(SIGNALS)}/{generator.random():.3f}"
    more = "+".join(str(generator.randrange(num)) for _ in range(generator.randint(1, 2)))
    return f"{start}/{generator.choice(list(ACTIONS))}/{generator.randrange(num)}+{more}"


def _judge(name: str, scenario: Scenario, action: str, at: str, folder: Path) -> Verdict:
    if scenario.refusal:
        return Verdict(name, "unsupported", scenario.refusal, scenario.name)
    work = Path(shutil.copytree(scenario.folder, folder / "work"))
    stopped = [_stop(scenario, action, at.split("+")[0], work, folder / "logs")]
    resumed = int(stopped[0].seconds * 1e6) % 2 if action in SIGNALS else int(at.split("+")[0]) % 2
    commands = scenario.recoveries(resume_first=bool(resumed))
    for more in at.split("+")[1:]:
        fault = Fault(ACTIONS[action], int(more))
        stopped += [
            run(scenario.command(args, fault), work, folder / "logs")
            for args in commands
            if not (stopped[1:] and stopped[-1].code == 0)
        ]
    return recover(name, scenario, stopped, commands, work, folder / "logs")


def _stop(scenario: Scenario, action: str, at: str, work: Path, logs: Path) -> Finished:
    """Runs the command of a scenario, and kills it."""
    if action in SIGNALS:
        delay = 1.1 * float(at) * scenario.seconds
        signals = ((delay, int(signal.Signals[action])),)
        return run(scenario.command(scenario.args, signals=signals), work, logs)
    finished = run(scenario.command(scenario.args, Fault(ACTIONS[action], int(at))), work, logs)
    if action == "power":
        lose_unflushed(finished.operations[:-1], work)
    return finished


def lose_unflushed(operations: Sequence[Operation], folder: Path) -> None:
    """Shortens every file to what had been flushed of it, as a machine without power may."""
    written: dict[int, int] = {}
    flushed: dict[int, int] = {}
    for operation in operations:
        if operation.kind == "write":
            written[operation.inode] = written.get(operation.inode, 0) + operation.size
        if operation.kind == "sync":
            flushed[operation.inode] = written.get(operation.inode, 0)
    for path in folder.rglob("*"):
        inode = path.stat().st_ino
        if path.is_file() and written.get(inode, 0) > flushed.get(inode, 0):
            os.truncate(path, min(path.stat().st_size, flushed.get(inode, 0)))
