"""What a reproduction says: rows of published and obtained numbers, each with a tolerance set beforehand and a verdict.

A paper's table or figure has **tiers**: ``smoke`` for a minute, ``cpu`` for about an hour on two cores, ``gpu`` for the
paper's own schedule. Tolerances belong to the row and never to the outcome.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure
from PIL.Image import Image

from vaekit.core.units import NATS

if TYPE_CHECKING:
    from vaekit.reproduction.artifacts import Workshop

Tier = Literal["smoke", "cpu", "gpu"]
TIERS: tuple[Tier, ...] = ("smoke", "cpu", "gpu")
SURE = 2.0
"""How many standard errors a number must lie from a limit to be said to be on one side of it."""


@dataclass(frozen=True)
class Row:
    """A number of a paper beside the one that was obtained.

    Arguments:
        what: What the number is.
        published: What the paper prints, or what its figure shows.
        obtained: What was obtained; None where the row was not run.
        standard_error: Of what was obtained, over images.
        tolerance: How far the two may lie apart; None where they are not to be compared.
        least: What a claim of order or size asks for instead: the obtained number must be no less.
        most: And no more.
        unit: The unit of all of them.
        note: What is different here from what was published.
    """

    what: str
    published: float | None
    obtained: float | None
    standard_error: float | None = None
    tolerance: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = NATS
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether what was obtained is what was published, within the tolerance, and by how much not.

        A claim of order or size is decided only where noise cannot be what decides it.
        """
        if self.obtained is None:
            return "not run"
        if math.isnan(self.obtained):
            return "not a number"
        if self.least is not None or self.most is not None:
            least, most = -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most
            nearest = min(abs(self.obtained - end) for end in (least, most))
            if self.standard_error is not None and nearest < SURE * self.standard_error:
                return "undecided, within the noise"
            return "holds" if least <= self.obtained <= most else "does not hold"
        if self.published is None:
            return "no published number"
        if self.tolerance is None:
            return "not compared"
        beyond = abs(self.obtained - self.published) - self.tolerance
        return "within" if beyond <= 0 else f"missed by {beyond:.2f}" if beyond >= 0.01 else "missed by less than 0.01"

    def to_data(self) -> dict[str, Any]:
        """Returns the row, with its verdict, as a dictionary."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Outcome:
    """What a tier came to.

    Arguments:
        rows: The table.
        figure: What the paper draws, drawn again.
        choices: What was chosen where the paper is silent, or done otherwise, a sentence each.
        curves: The numbers that the figure draws, by name.
    """

    rows: list[Row]
    figure: Figure | Image
    choices: list[str]
    curves: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduction:
    """A table or figure of a paper that can be had again.

    Arguments:
        name: What to call it.
        title: What it shows.
        paper: Authors, year and link.
        data: Which images it needs.
        tiers: What each tier does and about how long it takes.
        run: Makes it.
    """

    name: str
    title: str
    paper: str
    data: str
    tiers: dict[Tier, str]
    run: Callable[["Workshop", Tier], Outcome]
