"""Random input of every kind, under the commands that read it: one line or a result, in little time and memory.

``fuzz/recipe/0-17`` is case 17 of seed 0 of the group ``recipe``. The groups are the keys of :data:`GROUPS`.
"""

import os
import random
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.faults.fork_server import Command, Finished, run
from tests.faults.fuzz_input import (
    Input,
    Material,
    files_input,
    numbers_input,
    options_input,
    recipe_input,
    set_input,
    source_input,
    train_input,
)
from tests.faults.operations import CHANGES, Fault
from tests.faults.outcome import contents, differences
from tests.faults.preparation import Preparation
from tests.faults.verdict import EQUAL, Verdict, complaint

SECONDS = 10.0
MEMORY = 1 << 30
"""The most time of the processor, and memory beyond that of a command that does nothing."""
PATIENCE = 30.0
"""When a command is killed, in seconds of the clock, which other work on the machine lengthens."""

GROUPS: dict[str, tuple[int, Callable[[Material, random.Random, Path], Input]]] = {
    "recipe": (4, recipe_input),
    "set": (4, set_input),
    "train": (2, train_input),
    "options": (6, options_input),
    "files": (8, files_input),
    "numbers": (1, numbers_input),
    "source": (2, source_input),
}
"""The groups, with the weight of each and what makes a case of it."""


class Fuzz:
    """The suite of random input.

    Arguments:
        preparation: Prepared folders.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.material = preparation.material
        idle = run(Command(("--version",)), preparation.scratch, preparation.scratch / "logs")
        self.idle_memory = idle.memory

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of about ``num`` cases, in the proportions of the groups."""
        total = sum(weight for weight, _ in GROUPS.values())
        groups = {name: row for name, row in GROUPS.items() if name != "source" or find_spec("tests.hostile_data")}
        return [
            f"fuzz/{name}/{seed}-{number}" for name, (weight, _) in groups.items() for number in range(num * weight // total)
        ]

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in a folder."""
        _, group, _ = name.split("/")
        work = folder / "work"
        work.mkdir()
        one = GROUPS[group][1](self.material, random.Random(name), work)
        (folder / "temporary").mkdir()
        environment = {"TMPDIR": str(folder / "temporary")}
        if group == "source":
            environment["VAEKIT_CACHE"] = str(folder / "cache")
        command = Command(one.args, Fault(kinds=CHANGES), seconds=PATIENCE, environment=environment, watched=Path("/"))
        finished = run(command, work, folder / "logs")
        return self._verdict(name, one, finished, folder)

    def _verdict(self, name: str, one: Input, finished: Finished, folder: Path) -> Verdict:
        shown = f" ({one.description}; vae {' '.join(one.args)[:300]!r})"
        memory = finished.memory - self.idle_memory
        if wrong := complaint(finished):
            return Verdict(name, wrong[0], wrong[1] + shown, wrong[2])
        if finished.busy > SECONDS:
            return Verdict(name, "slow", f"{finished.busy:.1f} s of the processor{shown}", one.args[0])
        if memory > MEMORY:
            return Verdict(name, "memory", f"{memory / MEMORY:.1f} GB{shown}", one.args[0])
        if "Warning:" in finished.err:
            line = next(line for line in finished.err.splitlines() if "Warning:" in line)
            return Verdict(name, "warning", line[:200] + shown, line.rpartition("/")[2][:60])
        if outside := _outside(finished, folder):
            return Verdict(name, "outside", f"wrote {outside}{shown}", "files")
        if any(path.name in ("canary", "executed-or-escaped") for path in folder.rglob("*")):
            return Verdict(name, "executed", shown, "code")
        if left := [path.name for path in (folder / "temporary").iterdir()]:
            return Verdict(name, "left over", f"{left[0]}{shown}", "temporary files")
        if finished.code == 0 and (accepted := _accepted(self.material, one, finished, folder / "work")):
            return Verdict(name, "accepted", accepted + shown, one.description)
        return Verdict(name, "refused" if finished.code else EQUAL)


def _outside(finished: Finished, folder: Path) -> str:
    """A file outside of the case's folder and the cache that was changed; empty if none was."""
    inside = (f"{folder}/", "/dev/", os.environ["VAEKIT_CACHE"])
    return next((op.path for op in finished.operations if not op.path.startswith(inside)), "")


def _accepted(material: Material, one: Input, finished: Finished, work: Path) -> str:
    """Why damage must not have been accepted; empty if it was rightly."""
    if one.must_be_noticed and not finished.err and "previous" not in finished.out:
        return "the damage was not noticed"
    if one.ends_as is not None:
        different = _lasting(differences(material.whole, contents(work / one.ends_as)))
        return f"the run differs: {'; '.join(different)[:200]}" if different else ""
    return ""


def _lasting(different: Sequence[str]) -> list[str]:
    """Differences that are not files which only describe the run."""
    return [line for line in different if not line.startswith(("recipe.yaml", "environment.json", "evaluation.json"))]
