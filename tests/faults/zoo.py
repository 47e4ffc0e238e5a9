"""Hostile files: none is executed, none leads to another folder, and no name acts on a terminal or a page.

Each case is written by a function of :mod:`tests.faults.zoo_files`. ``zoo/NAME`` is its name, and ``zoo/source/NAME`` one
of the sources of images of :mod:`tests.hostile_data`.
"""

import os
import random
from importlib.util import find_spec
from pathlib import Path

from tests.faults.fork_server import Command, Finished, run
from tests.faults.operations import CHANGES, Fault
from tests.faults.preparation import Preparation
from tests.faults.verdict import EQUAL, Verdict, complaint, controls
from tests.faults.zoo_case import Hostile
from tests.faults.zoo_files import CANARY, SCRIPT, hostile_cases

SECONDS = 1.0
"""How long it may take to refuse a file, in seconds of the processor."""
PAGES = (".html", ".svg", ".csv", ".md", ".txt")
"""Files that people open with programs that act on what they hold."""


class Zoo:
    """The suite of hostile files.

    Arguments:
        preparation: Prepared folders.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.material = preparation.material

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of all cases, or of a sample."""
        names = [f"zoo/{name}" for name in [*hostile_cases(), *(f"source/{name}" for name in _sources())]]
        return names if len(names) <= num else random.Random(seed).sample(names, num)

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in a folder, beside which nothing may appear."""
        work, cache = folder / "work", {"VAEKIT_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "temporary")}
        for made in (work, folder / "outside", folder / "temporary"):
            made.mkdir()
        (folder / "outside" / "precious").write_text("of the user")
        case = (
            _source_case(name, work)
            if name.startswith("zoo/source/")
            else hostile_cases()[name.removeprefix("zoo/")](self.material, work)
        )
        before = _names(work)
        command = Command(
            case.args, Fault(kinds=CHANGES), seconds=15, environment=cache, watched=Path("/"), drawn=case.drawn
        )
        finished = run(command, work, folder / "logs")
        return _verdict(name, case, finished, folder, before)


def _verdict(name: str, case: Hostile, finished: Finished, folder: Path, before: set[str]) -> Verdict:
    if any(path.name in (CANARY, "executed-or-escaped") for path in folder.rglob("*")) or Path("/tmp", CANARY).exists():
        return Verdict(name, "executed", f"vae {' '.join(case.args)}", "code")
    if _names(folder / "outside") != {"precious"} or (folder / "outside" / "precious").read_text() != "of the user":
        return Verdict(name, "escaped", f"changed what is outside: {sorted(_names(folder / 'outside'))}", "path")
    if outside := _outside(finished, folder):
        return Verdict(name, "escaped", f"wrote {outside}", "path")
    if wrong := complaint(finished):
        return Verdict(name, *wrong)
    if case.refused is True and finished.code == 0:
        return Verdict(name, "accepted", finished.out[-200:], name.rpartition("/")[2])
    if case.refused is False and finished.code != 0:
        return Verdict(name, "failed", finished.err.strip()[:200], name.rpartition("/")[2])
    if finished.code and finished.busy > SECONDS:
        return Verdict(name, "slow", f"{finished.busy:.1f} s: {finished.err[:100]}", name.rpartition("/")[2])
    for path in sorted(_names(folder / "work") - before):
        if harm := _harm(folder / "work" / path):
            return Verdict(name, "injected", f"{path}: {harm}", Path(path).name)
    return Verdict(name, "refused" if finished.code else EQUAL)


def _outside(finished: Finished, folder: Path) -> str:
    """A file outside of the folder that was changed; empty if none was."""
    inside = (f"{folder}/", "/dev/", os.environ["VAEKIT_CACHE"])
    return next((op.path for op in finished.operations if not op.path.startswith(inside)), "")


def _harm(path: Path) -> str:
    """What in a file that was written could act on who opens it; empty if nothing could."""
    if path.suffix not in PAGES or not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")
    if raw := controls(text.replace("\r\n", "\n")):
        return f"control characters {raw[:3]}"
    if path.suffix in (".html", ".svg", ".md") and SCRIPT in text:
        return "a script"
    if path.suffix == ".csv":
        cells = [cell.strip('"') for line in text.splitlines() for cell in line.split(",")]
        formulas = [cell for cell in cells if cell.startswith(("=", "+", "-", "@")) and not _is_number(cell)]
        return f"a formula {formulas[0]!r}" if formulas else ""
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _sources() -> list[str]:
    if find_spec("tests.hostile_data") is None:
        return []
    from tests.hostile_data import zoo

    return list(zoo())


def _source_case(name: str, work: Path) -> Hostile:
    from tests.hostile_data import zoo

    source = zoo()[name.removeprefix("zoo/source/")](work)
    shown = source.relative_to(work) if source.is_relative_to(work) else source  # a device is elsewhere
    return Hostile(("data", str(shown)), refused=None)
