"""The table of several runs: each metric with its error and a bar, the best ones marked, and seeds of one recipe together.

Numbers are compared only if they are of the same images, likelihood and number of samples. Bounds of log p(x | class), which
a class-conditional model has, are in columns of their own and are ranked among themselves.

Runs that differ only by the seed are a group. Its row has the mean over the seeds and their standard deviation; it is
compared with the other rows by the standard error of this mean, and its runs are not ranked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from vaekit.core.rounding import with_error
from vaekit.evaluation.evaluation_result import METRICS
from vaekit.evaluation.likelihood.conditional import is_conditional
from vaekit.plots.style import color, typeset
from vaekit.presentation.metric_text import HIGHER_IS_BETTER, MEANINGS, value_of
from vaekit.reports.sections import names_of

WITHOUT_LIKELIHOOD = ("psnr", "ssim", "ms_ssim", "active_units")
"""The metrics that do not depend on the likelihood or on samples of z."""
MIN_BAR = 4
"""The length of the bar of the worst value, in percent of that of the best."""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Arguments:
        key: The key of its metric.
        conditional: Whether it is of class-conditional models.
        name: The name.
        meaning: What it is.
    """

    key: str
    conditional: bool
    name: str
    meaning: str


@dataclass(frozen=True)
class Cell:
    """A number of the table.

    Arguments:
        text: The number with its standard error, or of a group with the standard deviation over its runs.
        best: Whether no comparable number is significantly better.
        bar: The length of its bar in percent; None for none.
    """

    text: str
    best: bool = False
    bar: int | None = None


@dataclass(frozen=True)
class Row:
    """A run, or a group of runs, in the table.

    Arguments:
        name: The name.
        about: A line about its data, model and training.
        color: The color of its curves.
        is_member: Whether it is a run of the group above.
        cells: The numbers, by column.
    """

    name: str
    about: str
    color: str
    is_member: bool = False
    cells: Mapping[Column, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A run, or a group of runs, before its numbers are compared.

    Arguments:
        name: The name.
        about: A line about it.
        runs: The final metrics of its runs.
        number: The number of its color.
        is_member: Whether it is a run of a group.
    """

    name: str
    about: str
    runs: Sequence[Mapping[str, Any]]
    number: int
    is_member: bool = False

    def estimate(self, key: str) -> tuple[float, float]:
        """Returns a number and its standard error: over images of one run, or over runs of a group."""
        values = [float(run[key]["value"]) for run in self.runs]
        if len(values) == 1:
            return values[0], float(self.runs[0][key].get("standard_error") or 0.0)
        return mean(values), stdev(values) / math.sqrt(len(values))

    def text(self, key: str) -> str:
        """Returns a number as text; of a group, with the standard deviation over its runs."""
        texts = [value_of(key, run[key]) for run in self.runs]  # also checks that they are numbers
        if len(texts) == 1:
            return typeset(texts[0])
        values = [float(run[key]["value"]) for run in self.runs]
        return typeset(with_error(mean(values), stdev(values), METRICS[key].digits))

    def has(self, key: str) -> bool:
        """Returns whether all its runs have a metric."""
        return all(key in run for run in self.runs)


def columns_of(metrics: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Returns the columns that any run has a number for."""
    found = []
    for key in MEANINGS:
        for conditional in (False, True):
            runs = [run for run in metrics if key in run and _is_apart(key, run) == conditional]
            if runs:
                found.append(Column(key, conditional, *names_of(runs[0])[key]))
    return found


def rows_of(entries: Sequence[Entry], columns: Sequence[Column]) -> list[Row]:
    """Returns the rows of entries, whose numbers are compared with those of all others that are not members of a group.

    Raises:
        RunError: If a final metric is damaged.
    """
    texts = [{column: entry.text(column.key) for column in columns if _is_in(column, entry)} for entry in entries]
    ranked = [entry for entry in entries if not entry.is_member]
    return [
        Row(
            entry.name,
            entry.about,
            color(entry.number),
            entry.is_member,
            {column: _cell(column.key, text, entry, ranked) for column, text in shown.items()},
        )
        for entry, shown in zip(entries, texts, strict=True)
    ]


def _is_apart(key: str, run: Mapping[str, Any]) -> bool:
    """Whether a metric of a run is one given the class, which has a column of its own."""
    return key not in WITHOUT_LIKELIHOOD and is_conditional(run)


def _is_in(column: Column, entry: Entry) -> bool:
    return entry.has(column.key) and _is_apart(column.key, entry.runs[0]) == column.conditional


def _cell(key: str, text: str, entry: Entry, ranked: Sequence[Entry]) -> Cell:
    """A number, whether it is the best among the comparable ones, and its bar."""
    comparable = [
        other for other in ranked if other.has(key) and _protocol(key, other.runs[0]) == _protocol(key, entry.runs[0])
    ]
    if len(comparable) < 2 or METRICS[key].higher_is_better is None:
        return Cell(text)
    sign = 1 if METRICS[key].higher_is_better else -1
    value, error = entry.estimate(key)
    estimates = [other.estimate(key) for other in comparable]
    best = all(sign * (other - value) <= 2 * math.hypot(other_error, error) for other, other_error in estimates)
    low, high = min(sign * other for other, _ in estimates), max(sign * other for other, _ in estimates)
    share = (sign * value - low) / (high - low) if high > low else 1.0
    bar = round(MIN_BAR + (100 - MIN_BAR) * min(1.0, max(0.0, share)))
    return Cell(text, best and key in HIGHER_IS_BETTER and not entry.is_member, bar)


def _protocol(key: str, metrics: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two numbers must have in common to be comparable: the images, the likelihood, and the number of samples."""
    data = metrics["data"]
    images = (data["fingerprint"], data["split"], data["pixels"], data["num_images"], tuple(data["shape"]))
    if key in WITHOUT_LIKELIHOOD:
        return images
    number = metrics[key]
    return (*images, metrics["meaning"], is_conditional(metrics), number.get("num_samples"), number.get("num_images"))
