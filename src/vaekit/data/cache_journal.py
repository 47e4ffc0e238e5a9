"""The journal of a cache entry that is being filled: how much of each split is on the disk, and by which levels."""

import time
from dataclasses import asdict
from pathlib import Path

from vaekit.data.decode import Skipped
from vaekit.data.levels import Levels
from vaekit.data.row_files import Rows
from vaekit.data.sealed_json import DAMAGED, read_sealed, write_sealed

JOURNAL = "journal.json"
"""The file that records how much of each split has been decoded."""
JOURNAL_SECONDS = 2.0
"""The time between two writes of the journal."""


class Journal:
    """The number of decoded images and the unreadable images of each split, written to disk every few seconds.

    Arguments:
        path: The file, which an interrupted attempt may have left.

    Attributes:
        levels: The levels that were found, or None.
        splits: The number of images that are done and those that cannot be read, by split.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = time.monotonic()
        self.levels: Levels | None = None
        self.splits: dict[str, tuple[int, list[Skipped]]] = {}
        try:
            data = read_sealed(path)
            self.levels = None if data["levels"] is None else Levels.read(data["levels"])
            for split, facts in data["splits"].items():
                self.splits[split] = (int(facts["done"]), [Skipped(**image) for image in facts["skipped"]])
        except DAMAGED:  # missing or damaged: decoding starts again
            self.levels, self.splits = None, {}

    def num_done(self, split: str) -> int:
        """Returns the number of images of a split that are done."""
        return self.splits.get(split, (0, []))[0]

    def skipped(self, split: str) -> list[Skipped]:
        """Returns the images of a split that cannot be read."""
        return self.splits.get(split, (0, []))[1]

    def begin(self, split: str) -> None:
        """Begins a split from its first image."""
        self.splits[split] = (0, [])

    def begin_anew(self, levels: Levels) -> None:
        """Begins all splits from their first images, with other levels."""
        self.levels, self.splits = levels, {}
        self._write()

    def add(self, split: str, rows: Rows, num_done: int, skipped: list[Skipped]) -> None:
        """Adds a block of a split: the number of images that are done after it, and those of it that cannot be read."""
        self.splits[split] = (num_done, self.skipped(split) + skipped)
        if time.monotonic() - self.written > JOURNAL_SECONDS:
            self.write(rows)

    def write(self, rows: Rows) -> None:
        """Writes the journal, after the rows that it refers to are on the disk."""
        rows.sync()
        self._write()

    def _write(self) -> None:
        facts = {
            split: {"done": num_done, "skipped": [asdict(image) for image in skipped]}
            for split, (num_done, skipped) in self.splits.items()
        }
        write_sealed(self.path, {"levels": None if self.levels is None else self.levels.write(), "splits": facts})
        self.written = time.monotonic()


def open_rows(path: Path, shape: tuple[int, ...], journal: Journal, split: str) -> Rows:
    """Returns the rows of a split: those of an interrupted attempt, or new ones.

    Arguments:
        path: Their file.
        shape: Their shape, (N, C, H, W).
        journal: The journal, in which new rows begin the split.
        split: The name of the split.
    """
    if journal.num_done(split):
        try:
            rows = Rows(path, writable=True)
            if tuple(rows.shape) == shape and 0 < journal.num_done(split) <= len(rows):
                return rows
            rows.close()
        except DAMAGED:
            pass
    journal.begin(split)
    return Rows.create(path, shape)
