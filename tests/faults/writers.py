"""Several processes that write into one run folder, and readers of a run that is being written.

``writers/stopped/same+resume/17``: the command ``same`` pauses before its operation 17 while ``resume`` runs. One process
writes at a time, the others say so in one line, and the run is in the end that of one command alone. Readers end in a
result or one line.
"""

import random
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.faults.fork_server import Command, Finished, Running, run
from tests.faults.operations import CHANGES, Action, Fault, Kind, Operation
from tests.faults.outcome import Contents, contents, differences, epochs
from tests.faults.preparation import Preparation
from tests.faults.scenarios import RESUME
from tests.faults.trainings import training
from tests.faults.verdict import EQUAL, Verdict, complaint

COMMANDS = {
    "same": training("plain"),
    "other": training("plain", "--seed", "7"),
    "third": training("plain", "--seed", "8"),
    "force": training("plain", "--force"),
    "resume": RESUME,
    "curves": ("curves", "run", "-o", "curves.png"),
    "sample": ("sample", "run", "-o", "sample.png"),
    "report": ("report", "run", "-o", "report.html"),
    "compare": ("compare", "run", "run", "-o", "compare.html"),
    "embed": ("embed", "run", "-o", "latents.csv"),
}
READERS = ("curves", "sample", "report", "compare", "embed")
FRESH = ("same+same", "same+other", "same+other+third", "same+force", "force+force", "same+same+same")
STOPPED = ("resume+resume", "same+resume", "force+resume", "resume+resume+resume", "same+same", "other+resume")
"""What starts together in an empty folder, and with a run that was stopped."""
ALWAYS = 6
"""The first operations, which are tried first: there a command has not yet marked the folder as its own."""
STARTS = {"fresh": "run", "stopped": "resume", "replaced": "force"}
"""The scenario whose folder each begins with."""


class Writers:
    """The suite of several writers.

    Arguments:
        preparation: Prepared folders.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.scenarios = preparation.scenarios
        alone = preparation.scratch / "alone"
        self.ends = {word: _alone(COMMANDS[word], alone / word) for word in ("same", "other", "third")}
        self.ends |= {"force": self.ends["same"], "resume": self.ends["same"]}

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of about ``num`` cases, the same number of each kind, at random operations."""
        generator = random.Random(seed)
        self.scenarios.make([(name, "plain") for name in STARTS.values()])
        kinds = [f"fresh/{kind}" for kind in FRESH] + [f"stopped/{kind}" for kind in STOPPED]
        kinds += [f"fresh/same+{reader}" for reader in READERS] + [f"replaced/force+{reader}" for reader in READERS]
        kinds = kinds if num >= len(kinds) else generator.sample(kinds, num)
        return [name for kind in kinds for name in self._at_operations(kind, num // len(kinds), generator)]

    def _at_operations(self, kind: str, num: int, generator: random.Random) -> list[str]:
        everywhere = range(len(self.scenarios.get(STARTS[kind.split("/")[0]], "plain").operations))
        first = everywhere[: min(ALWAYS, num // 2)]
        later = generator.sample(everywhere[len(first) :], min(num, len(everywhere)) - len(first))
        return [f"writers/{kind}/{at}" for at in [*first, *sorted(later)]]

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in a folder."""
        _, start, kinds, at = name.split("/")
        scenario = self.scenarios.get(STARTS[start], "plain")
        work = Path(shutil.copytree(scenario.folder, folder / "work"))
        words = kinds.split("+")
        ended = _start_together([COMMANDS[word] for word in words], int(at), work, folder / "logs")
        for finished in ended:
            if wrong := complaint(finished):
                return Verdict(name, *wrong)
        writers = [finished for finished, word in zip(ended, words, strict=True) if word not in READERS]
        if overlap := _overlap(writers):
            return Verdict(name, "two writers", overlap, start)
        if not any(finished.code == 0 for finished in writers):
            return Verdict(name, "nobody wrote", " | ".join(finished.err.strip() for finished in writers), start)
        return _compare(name, [self.ends[word] for word in words if word in self.ends], work)


def _start_together(commands: Sequence[tuple[str, ...]], at: int, work: Path, logs: Path) -> list[Finished]:
    """Stops the first command before an operation while the others run, then lets it continue."""
    everything = CHANGES | Kind.READ
    first = Running(Command(commands[0], Fault(Action.STOP, at, everything)), work, logs / "0")
    first.wait_until_stopped()
    others = [
        Running(Command(args, Fault(kinds=everything), seconds=20), work, logs / str(number))
        for number, args in enumerate(commands[1:], 1)
    ]
    ended = [one.wait() for one in others]
    first.go_on()
    return [first.wait(), *ended]


def _alone(args: tuple[str, ...], folder: Path) -> Contents:
    """The run of a command that nothing else disturbs."""
    work = folder / "work"
    work.mkdir(parents=True)
    run(Command(args), work, folder / "logs")
    return contents(work / "run")


def _compare(name: str, ends: Sequence[Contents], work: Path) -> Verdict:
    """Compares the run with what each command alone would have made."""
    found, numbers = contents(work / "run"), epochs(work / "run")
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return Verdict(name, "doubled", f"epochs {numbers}", "metrics.jsonl")
    different = min((differences(end, found) for end in ends), key=len)
    return Verdict(name, "lost", "; ".join(different), different[0].split(":")[0]) if different else Verdict(name, EQUAL)


def _overlap(writers: Sequence[Finished]) -> str:
    """Two processes that wrote into the run at the same time; empty if none did."""
    spans = []
    for number, finished in enumerate(writers):
        times = [operation.at for operation in finished.operations if _writes(operation)]
        if times:
            spans.append((min(times), max(times), number))
    spans.sort()
    for first, second in pairwise(spans):
        if second[0] < first[1]:
            return f"processes {first[2]} and {second[2]} wrote for {(first[1] - second[0]) / 1e6:.0f} ms at the same time"
    return ""


def _writes(operation: Operation) -> bool:
    """Whether an operation changes a run; a lock is not part of it."""
    return "/work/run" in operation.path and operation.kind in ("write", "rename", "resize") and "lock" not in operation.path
