"""Pages about runs."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.runs import Run


def write_report(run: Run, path: Path) -> None:
    """Writes a page about a run."""
    raise NotImplementedError


def write_comparison(runs: Sequence[Run], path: Path) -> None:
    """Writes a page about several runs."""
    raise NotImplementedError
