"""``vae reproduce``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vaekit.cli.options import Output
from vaekit.core.errors import ConfigError, suggest


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="What to reproduce; without it, what there is.")
    ] = None,
    tier: Annotated[
        Literal["smoke", "cpu", "gpu"],
        typer.Option(help="A minute; about an hour on two cores; the paper's own schedule on an accelerator."),
    ] = "cpu",
    output: Output = None,
) -> None:
    """Have a paper's numbers again: published beside obtained, with a verdict.

    Trains, evaluates with the paper's own protocol and writes results/NAME: results.json, results.md and figure.png.
    Stopped, the same command goes on.

    [bold]Examples[/bold]

      vae reproduce

      vae reproduce aevb-fig2 --tier smoke
    """
    from rich.console import Console
    from rich.table import Table

    from vaekit.reproduction import REPRODUCTIONS
    from vaekit.reproduction import reproduce as run
    from vaekit.reproduction.results import PAGE

    console = Console()
    if name is None:
        for reproduction in REPRODUCTIONS.values():
            console.print(f"[bold]{reproduction.name}[/bold]  {reproduction.title}", highlight=False)
            console.print(f"  {reproduction.paper}; needs {reproduction.data}", highlight=False, soft_wrap=True)
            for key, cost in reproduction.tiers.items():
                console.print(f"  --tier {key:<6}{cost}", highlight=False, soft_wrap=True)
        return
    if name not in REPRODUCTIONS:
        raise ConfigError(
            f"{name}: nothing to reproduce by that name{suggest(name, REPRODUCTIONS)}; vae reproduce lists all"
        )
    folder = output or Path("results") / name
    rows = run(REPRODUCTIONS[name], tier, folder, console=console)
    table = Table("", "published", "obtained", "verdict")
    for row in rows:
        obtained = "" if row["obtained"] is None else f"{row['obtained']:.2f}"
        published = "" if row["published"] is None else f"{row['published']:.2f}"
        table.add_row(row["what"], published, obtained, row["verdict"])
    console.print(table)
    print(folder / PAGE)
