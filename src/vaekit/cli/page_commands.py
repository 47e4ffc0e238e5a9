"""The commands that write pages: the report of a run, and the comparison of several."""

from typing import Annotated

import typer

from vaekit.cli.options import Channels, Data, Output, RunPath, place, read_channels, write

PAGES = (".html", ".htm")
"""The suffixes of pages."""


def report(run: RunPath, data: Data = None, channels: Channels = None, output: Output = None) -> None:
    """Write a report of a run: one HTML file with samples, metrics and a verdict, figures and the recipe.

    [bold]Example[/bold]

      vae report runs/mnist-conv
    """
    from vaekit.experiment import pages
    from vaekit.export.tables import check_suffix
    from vaekit.runs.run_records import REPORT

    path = place(output, run, REPORT, ".")
    check_suffix(path, PAGES)
    write(pages.report(run, data, channels=read_channels(channels)).save, path)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders.")],
    channels: Channels = None,
    output: Output = None,
) -> None:
    """Write a comparison of several runs: one HTML file with their metrics, learning curves and reconstructions.

    Runs that differ only by the seed are a group, with mean and standard deviation.

    [bold]Example[/bold]

      vae compare runs/mnist-mlp runs/mnist-conv -o compare.html
    """
    from vaekit.experiment import pages
    from vaekit.export.tables import check_suffix

    path = place(output, ".", "compare.html", ".")
    check_suffix(path, PAGES)
    write(pages.compare(runs, channels=read_channels(channels)).save, path)
