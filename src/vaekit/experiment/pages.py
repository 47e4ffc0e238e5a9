"""The HTML pages of runs: the report of one, and the comparison of several."""

from collections.abc import Sequence

from vaekit.experiment.plot import Run, gallery_of, open_run
from vaekit.plots.channel_choice import Channels
from vaekit.plots.look import PAGE
from vaekit.reports.comparison import comparison
from vaekit.reports.page import Page
from vaekit.reports.run_report import run_report


def report(run: Run, data: str | None = None, channels: Channels | None = None) -> Page:
    """Returns the HTML report of a run."""
    return run_report(open_run(run), gallery_of(run, data, channels).looking(**vars(PAGE)))


def compare(runs: Sequence[Run], channels: Channels | None = None) -> Page:
    """Returns the HTML comparison of several runs.

    Raises:
        RunError: If there are fewer than two runs, one is named twice, or one is not finished.
    """
    return comparison([open_run(run) for run in runs], channels)
