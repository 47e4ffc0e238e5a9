"""The verdict on a case: what went wrong, if anything did, and how to repeat the case."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from unicodedata import category

from tests.faults.fork_server import Finished
from vaekit.core.errors import VaekitError

EQUAL = "equal"


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Arguments:
        case: Its name, with which it is repeated.
        kind: ``equal`` or ``refused`` if all is well, else what went wrong: ``lost``, ``doubled``, ``traceback``, ...
        detail: More of it, on one line.
        place: Where in vaekit, or in which file; failures of one kind and place are counted together.
    """

    case: str
    kind: str
    detail: str = ""
    place: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return self.kind in (EQUAL, "refused", "done")


def complaint(finished: Finished, codes: Sequence[int] = (0, 2)) -> tuple[str, str, str] | None:
    """What is wrong with how a command ended, as kind, detail and place; None if nothing is.

    A command that fails says why on one line of the error stream, in printable characters, in time, with a known exit code.
    """
    text = finished.out + finished.err
    lines = finished.err.splitlines()
    last = lines[-1] if lines else ""
    if finished.timed_out:
        return "slow", f"still running after {finished.seconds:.0f} s", last
    if finished.traceback:
        return ("traceback", *_split(finished.traceback))
    if finished.code not in codes:
        return "exit code", f"{finished.code} {last}", str(finished.code)
    if raw := controls(text):
        return "raw control", f"{raw[:3]} in {last[:100]!r}", "output"
    if finished.code == 2 and not 1 <= len(_messages(lines)) <= 1:
        return "not one line", f"{len(lines)} lines: {finished.err[:200]!r}", "stderr"
    if any(len(line) > LONGEST for line in lines):
        return "long line", f"{max(map(len, lines))} characters: {last[:80]!r}", "stderr"
    return None


def outcome_of(read: Callable[[], object]) -> str:
    """What a call of the library ends in: ``read``, ``refused`` by a good message, or what went wrong."""
    try:
        read()
    except VaekitError as error:
        message = str(error)
        return "refused" if len(message) <= LONGEST and not controls(message) and "\n" not in message else "a bad message"
    except Exception as error:  # a traceback for the user
        return f"{type(error).__name__} at {traceback.extract_tb(error.__traceback__)[-1].name}"
    return "read"


def controls(text: str) -> list[str]:
    """The characters of a text that may act on a terminal: controls but line feeds and tabs, line separators, directions."""
    return sorted(
        {char for char in text if char not in "\n\t" and (category(char) in ("Cc", "Zl", "Zp") or char in DIRECTIONS)}
    )


DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LONGEST = 2_000
"""Characters that a message may have."""


def _messages(lines: list[str]) -> list[str]:
    """The lines of the error stream that are messages of failure, and not notes before it."""
    return [line for line in lines if line.startswith("vae: ")] or lines


def _split(traceback: str) -> tuple[str, str]:
    error, _, place = traceback.rpartition(" [")
    return error, place.rstrip("]")


def table(verdicts: Iterable[Verdict]) -> str:
    """Counts by group and kind."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        counts.setdefault(group(verdict.case), Counter())[verdict.kind] += 1
    kinds = sorted({kind for counter in counts.values() for kind in counter}, key=lambda kind: (kind != EQUAL, kind))
    rows = [["cases", *kinds, "total"]]
    rows += [[name, *(str(counter[kind]) for kind in kinds), str(counter.total())] for name, counter in counts.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def group(case: str) -> str:
    """The group of a case: its name without the feature of the training and the number."""
    parts = case.split("/")
    if parts[0] in ("kills", "disk"):
        return "/".join([*parts[:2], parts[3]])
    return "/".join(parts[:-1])


def failures(verdicts: Iterable[Verdict]) -> list[tuple[str, str, int, Verdict]]:
    """Failures of one kind at one place: kind, place, how many, and one of them; the most frequent first."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if not verdict.good:
            groups.setdefault((verdict.kind, verdict.place), []).append(verdict)
    found = [(kind, place, len(members), members[0]) for (kind, place), members in groups.items()]
    return sorted(found, key=lambda row: -row[2])
