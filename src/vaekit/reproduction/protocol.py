"""The result of a reproduction: rows of published and obtained numbers, each with a tolerance and a verdict.

Each table or figure has three **tiers**: ``smoke`` takes about a minute, ``cpu`` takes about an hour on two cores, and
``gpu`` follows the paper's own schedule. The tolerance of a row is set before the run and does not depend on the outcome.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure
from PIL.Image import Image

from vaekit.core.units import NATS

if TYPE_CHECKING:
    from vaekit.reproduction.artifacts import ArtifactCache

Tier = Literal["smoke", "cpu", "gpu"]
TIERS: tuple[Tier, ...] = ("smoke", "cpu", "gpu")
NUM_STANDARD_ERRORS = 2.0
"""The minimum distance of a number from a limit, in standard errors, for a verdict on that limit."""


@dataclass(frozen=True)
class Row:
    """A published number and the number that was obtained.

    A row is either compared with the published number (``tolerance``) or with limits (``minimum``, ``maximum``), which
    state a claim such as "the gain is positive".

    Arguments:
        quantity: The name of the number.
        published: The number in the paper's text, table or figure; None if there is none.
        obtained: The number that was obtained; None if the row was not run.
        standard_error: The standard error of the obtained number, over images.
        tolerance: The largest accepted distance between the two numbers; None if they are not compared.
        minimum: The lower limit of the obtained number; None for no lower limit.
        maximum: The upper limit of the obtained number; None for no upper limit.
        unit: The unit of all numbers in the row.
        note: A difference from the published setting.
    """

    quantity: str
    published: float | None
    obtained: float | None
    standard_error: float | None = None
    tolerance: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    unit: str = NATS
    note: str = ""

    @property
    def verdict(self) -> str:
        """The verdict on the obtained number.

        A limit is undecided if the obtained number lies within two standard errors of it.
        """
        if self.obtained is None:
            return "not run"
        if math.isnan(self.obtained):
            return "not a number"
        if self.minimum is not None or self.maximum is not None:
            return self._limit_verdict(self.obtained)
        if self.published is None:
            return "no published number"
        if self.tolerance is None:
            return "not compared"
        excess = abs(self.obtained - self.published) - self.tolerance
        if excess <= 0:
            return "within"
        direction = "higher" if self.obtained > self.published else "lower"
        return f"{direction} than published, missed by {f'{excess:.2f}' if excess >= 0.01 else 'less than 0.01'}"

    def _limit_verdict(self, obtained: float) -> str:
        minimum = -math.inf if self.minimum is None else self.minimum
        maximum = math.inf if self.maximum is None else self.maximum
        distance = min(abs(obtained - limit) for limit in (minimum, maximum))
        if self.standard_error is not None and distance < NUM_STANDARD_ERRORS * self.standard_error:
            return "undecided, within two standard errors"
        return "holds" if minimum <= obtained <= maximum else "does not hold"

    def to_data(self) -> dict[str, Any]:
        """Returns the row and its verdict as a dictionary."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one tier.

    Arguments:
        rows: The rows of the table.
        figure: The reproduced figure.
        choices: One sentence for each choice that the paper does not specify, and for each deviation from the paper.
        curves: The numbers that the figure shows, by name.
    """

    rows: list[Row]
    figure: Figure | Image
    choices: list[str]
    curves: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduction:
    """A table or figure of a paper that can be reproduced.

    Arguments:
        name: The name on the command line, and the name of the folder of the results.
        title: A one-line description.
        paper: Title, authors, year and link.
        data: The data sets.
        tiers: For each tier, what it runs and about how long it takes.
        run: Runs a tier, given the artifact cache of that tier.
    """

    name: str
    title: str
    paper: str
    data: str
    tiers: dict[Tier, str]
    run: Callable[["ArtifactCache", Tier], Outcome]
