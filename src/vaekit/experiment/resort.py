"""``vae score --resort``: a table of scores in the order of another score, without computing any again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.safe_text import spreadsheet_text, valid_unicode
from vaekit.experiment.embed import image_names
from vaekit.experiment.score import SCORES, MostUnusual, selections
from vaekit.experiment.selection import Selection
from vaekit.export.tables import read_table
from vaekit.runs.run_folder import RunFolder

NUMBERS = (*SCORES, "standard_error", "effective_samples", "variance", "complexity")
"""The columns of a table that hold numbers, which CSV holds as text."""


@dataclass(frozen=True)
class Resorted:
    """A table of scores in another order.

    Arguments:
        columns: The columns of the table, the most unusual image first.
        by: The score of the order.
        sets: The images that the table scores.
        path: The table, for messages.
    """

    columns: Mapping[str, Sequence[Any]]
    by: str
    sets: Sequence[Selection]
    path: Path

    def __len__(self) -> int:
        """The number of images."""
        return len(self.columns["rank"])

    def most_unusual(self, num: int) -> MostUnusual:
        """Returns at most ``num`` images, those with the lowest scores.

        Raises:
            DataError: If the images are others than those of the table.
        """
        found = [self._image(place) for place in range(min(num, len(self)))]
        captions = [
            f"{self.columns[self.by][place]:,.1f}" + (f" {self.columns['data'][place]}" if len(self.sets) > 1 else "")
            for place in range(len(found))
        ]
        return MostUnusual(torch.cat([image for image, _ in found]), captions, [name for _, name in found])

    def _image(self, place: int) -> tuple[Tensor, str]:
        """The image of a line of the table, and its name."""
        name, data, row = (str(self.columns[key][place]) for key in ("name", "data", "row"))
        split = str(self.columns["split"][place]) if "split" in self.columns else None
        for one in self.sets:
            number = int(row) if row.isdecimal() else len(one.images)
            if number < len(one.images) and _same(one.images.name, data) and _is_of_split(one, number, split):
                position = torch.tensor([number])
                own = image_names(one.images.take(position), position)[0]
                if _same(own, name):
                    return one.images.gather(position), own
        raise DataError(
            f"{self.path}: {name} of {data} is not among the images; give DATA, --against and --split as for the table"
        )


def resort(
    run: RunFolder | str | Path,
    table: Path,
    by: str,
    data: str | None = None,
    *,
    against: str | None = None,
    split: str | None = None,
) -> Resorted:
    """Orders a table of :func:`vaekit.score` by another of its scores.

    Arguments:
        run: The run whose model computed the scores.
        table: The table, CSV or parquet.
        by: The score to order by, lowest first.
        data: The images of the table, as for :func:`vaekit.score`.
        against: The second set of images of the table.
        split: The split of the images.

    Raises:
        DataError: If the table is missing or damaged, or does not have the score.
    """
    columns = read_table(table)
    if missing := [key for key in ("rank", "name", "data", "row") if key not in columns]:
        raise DataError(f"{table}: no table of scores, it has no column {missing[0]}; vae score writes one")
    if by not in columns:
        known = ", ".join(name for name in SCORES if name in columns)
        raise DataError(f"{table}: has no column {by} (it has {known}); score the images again, or choose one of these")
    columns |= {key: [_number(cell, key, table) for cell in columns[key]] for key in NUMBERS if key in columns}
    order = sorted(range(len(columns[by])), key=columns[by].__getitem__)
    ordered = {key: [column[position] for position in order] for key, column in columns.items()}
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    sets = selections(folder, data, against, split)
    return Resorted(ordered | {"rank": range(1, len(order) + 1)}, by, sets, table)


def _number(cell: Any, column: str, table: Path) -> float:
    """The number in a cell."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{table}: the column {column} holds {str(cell)[:40]!r}, which is no score; score the images again")
    return value


def _is_of_split(one: Selection, number: int, split: str | None) -> bool:
    """Whether an image is of the split that a table says; an earlier version says none, and then files must have names."""
    return bool(one.images.names) if split is None else one.splits[number] == split


def _same(name: str, cell: str) -> bool:
    """Whether a cell of a table, where text may be escaped, holds a name."""
    return cell in (name, spreadsheet_text(name), valid_unicode(name))
