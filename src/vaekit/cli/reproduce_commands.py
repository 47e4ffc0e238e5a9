"""``vae reproduce``."""

from typing import Annotated, Literal

import typer

from vaekit.cli.options import Output, say
from vaekit.core.errors import ConfigError, suggest
from vaekit.core.files import user_path


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The reproduction to run. Without it, list all reproductions.")
    ] = None,
    tier: Annotated[
        Literal["smoke", "cpu", "gpu"],
        typer.Option(help="A minute; about an hour on two cores; or the paper's own schedule, on an accelerator."),
    ] = "cpu",
    output: Output = None,
) -> None:
    """Reproduce a published table or figure, and compare the numbers with the published ones.

    Trains and evaluates with the paper's protocol, and writes results.json, results.md and figure.png to results/NAME; those
    of the smoke tier, which only shows that everything runs, go to runs/reproduce/NAME. The same command resumes after an
    interruption.

    [bold]Examples[/bold]

      vae reproduce

      vae reproduce aevb-fig2 --tier smoke
    """
    from rich.table import Table

    from vaekit.core.progress import OutputConsole
    from vaekit.reproduction import REPRODUCTIONS, results_folder
    from vaekit.reproduction import reproduce as run
    from vaekit.reproduction.results_page import PAGE

    console = OutputConsole()
    if name is None:
        for reproduction in REPRODUCTIONS.values():
            console.print(f"[bold]{reproduction.name}[/bold]  {reproduction.title}", highlight=False, soft_wrap=True)
            console.print(f"  {reproduction.paper}; data: {reproduction.data}", highlight=False, soft_wrap=True)
            for key, description in reproduction.tiers.items():
                console.print(f"  --tier {key:<6}{description}", highlight=False, soft_wrap=True)
        return
    if name not in REPRODUCTIONS:
        raise ConfigError(
            f"{name}: there is no such reproduction{suggest(name, REPRODUCTIONS)}; vae reproduce lists all of them"
        )
    folder = user_path(output or results_folder(name, tier))
    rows = run(REPRODUCTIONS[name], tier, folder, console=console)
    table = Table("quantity", "published", "obtained", "verdict")
    for row in rows:
        obtained = "" if row["obtained"] is None else f"{row['obtained']:.2f}"
        published = "" if row["published"] is None else f"{row['published']:.2f}"
        table.add_row(row["quantity"], published, obtained, row["verdict"])
    console.print(table)
    say(str(folder / PAGE))
