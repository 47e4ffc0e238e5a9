"""What a kill or a full disk interrupts: a new run, a resumed one, a longer one, one that replaces another, and so on."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.fork_server import Command, Finished, Signals, run
from tests.faults.operations import CHANGES, Action, Fault, Kind, Operation
from tests.faults.outcome import Contents, contents
from tests.faults.suite import in_processes
from tests.faults.trainings import BRIEF, training

RESUME = ("train", "--resume", "run")
SCENARIOS = ("run", "resume", "again", "extend", "force", "decode", "report", "evaluate")
PICTURES = 24


@dataclass(frozen=True)
class Scenario:
    """A command in a prepared folder, and how it ends when nothing happens to it.

    Arguments:
        name: ``run``, ``resume``, ...
        feature: The feature of the training.
        folder: A folder that is copied for each case; the run is ``run`` in it.
        args: The command.
        operations: The file operations of the command, with files that it opens to read.
        seconds: How long it takes.
        environment: Variables of the command.
        expected: The run after it.
        before: The run before it.
        refusal: The message if the command is refused even when nothing happens to it; empty if it works.
    """

    name: str
    feature: str
    folder: Path
    args: tuple[str, ...]
    operations: tuple[Operation, ...]
    seconds: float
    expected: Contents
    before: Contents
    environment: Mapping[str, str]
    refusal: str = ""

    def command(self, args: tuple[str, ...], fault: Fault | None = None, signals: Signals = ()) -> Command:
        """A command in the folder of the scenario."""
        return Command(args, fault, signals, environment=self.environment, drawn=self.drawn)

    @property
    def drawn(self) -> bool:
        """Whether figures and the report are drawn."""
        return self.feature == "drawn"

    @property
    def changes(self) -> list[Operation]:
        """The operations that can change what is on disk."""
        return [operation for operation in self.operations if operation.kind != "read"]

    @property
    def replaces(self) -> bool:
        """Whether a finished run becomes another, so that a run that was stopped may be either."""
        return self.name in ("extend", "force")

    def recoveries(self, *, resume_first: bool) -> list[tuple[str, ...]]:
        """The commands that a user may type after the command was stopped, in one of two orders."""
        if self.replaces:
            return [RESUME, self.args]
        if self.name in ("report", "evaluate"):
            return [self.args]
        same = self.args if self.name == "decode" else training(self.feature)
        return [RESUME, same] if resume_first else [same, RESUME]


class Scenarios:
    """Scenarios that are made when they are needed.

    Arguments:
        scratch: A folder for them.
        jobs: The number of processes that make them.
    """

    def __init__(self, scratch: Path, jobs: int) -> None:
        self.scratch = scratch
        self.jobs = jobs
        self.made: dict[tuple[str, str], Scenario] = {}

    def make(self, wanted: Iterable[tuple[str, str]]) -> list[Scenario]:
        """Makes scenarios, each given by name and feature."""
        wanted = list(wanted)
        missing = [key for key in wanted if key not in self.made]
        found = in_processes(lambda key: make_scenario(key[0], key[1], self.scratch), missing, self.jobs)
        self.made.update(zip(missing, found, strict=True))
        return [self.made[key] for key in wanted]

    def get(self, name: str, feature: str) -> Scenario:
        """Returns a scenario."""
        return self.make([(name, feature)])[0]


def make_scenario(name: str, feature: str, scratch: Path) -> Scenario:
    """Prepares the folder of a scenario, and runs its command once without a fault."""
    base = scratch / "scenarios" / f"{name}-{feature}"
    folder, logs = base / "before", base / "logs"
    folder.mkdir(parents=True)
    drawn = feature == "drawn"
    environment = {"VAEKIT_CACHE": "cache"} if name == "decode" else {}
    if name in ("resume", "again"):
        _stop_in_the_last_epoch(feature, base, folder)
    if name == "extend":
        succeed(Command(training(feature, epochs=2), drawn=drawn), folder, logs)
    if name in ("report", "evaluate"):
        succeed(Command(training(feature), drawn=drawn), folder, logs)
    if name == "decode":
        _write_pictures(folder / "pictures")
    if name == "force":
        succeed(Command(training(feature, "--seed", "7", epochs=2), drawn=drawn), folder, logs)
    args = {
        "run": training(feature),
        "again": training(feature),
        "resume": RESUME,
        "extend": (*RESUME, "--epochs", "4"),
        "force": training(feature, "--force"),
        "decode": training(feature, "--data", "pictures", "--size", "8"),
        "report": ("report", "run"),
        "evaluate": ("evaluate", "run", *BRIEF),
    }[name]
    work = Path(shutil.copytree(folder, base / "after"))
    finished = run(Command(args, Fault(kinds=CHANGES | Kind.READ), environment=environment, drawn=drawn), work, logs)
    refusal = "" if finished.code == 0 else finished.err.strip() or str(finished.code)
    expected, before = contents(work / "run"), contents(folder / "run")
    return Scenario(
        name, feature, folder, args, finished.operations, finished.seconds, expected, before, environment, refusal
    )


def _write_pictures(folder: Path) -> None:
    folder.mkdir()
    for level in range(PICTURES):
        pixels = np.random.default_rng(level).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"{level:02d}.png")


def _stop_in_the_last_epoch(feature: str, base: Path, folder: Path) -> None:
    """Leaves a run that was killed before the history had its last epoch."""
    whole = base / "whole"
    whole.mkdir()
    command = training(feature)
    finished = succeed(Command(command, Fault(), drawn=feature == "drawn"), whole, base / "logs")
    changes = ("write", "rename")
    history = [at for at, op in enumerate(finished.operations) if op.path.endswith("metrics.jsonl") and op.kind in changes]
    at = history[-1]
    run(Command(command, Fault(Action.DIE_BEFORE, at), drawn=feature == "drawn"), folder, base / "logs")


def succeed(command: Command, folder: Path, logs: Path) -> Finished:
    """Runs a command of the preparation, in which nothing may fail.

    Raises:
        RuntimeError: If it fails.
    """
    finished = run(command, folder, logs)
    if finished.code != 0:
        raise RuntimeError(f"vae {' '.join(command.args)} fails without a fault: {finished.err}")
    return finished
