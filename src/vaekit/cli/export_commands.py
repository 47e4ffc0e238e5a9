"""``vae export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vaekit.cli.options import Device, RunPath, say


def export(
    run: RunPath,
    format: Annotated[
        Literal["diffusers"], typer.Option("--format", help="The format: diffusers, for AutoencoderKL.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Images whose latents are measured, instead of the training images: a name, folder or hub id."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write; RUN/FORMAT by default."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Write a model in the format of another library.

    With diffusers: a folder that AutoencoderKL.from_pretrained opens, with scaling factors that are computed from the
    latents of the training images, and a page that says what they mean. It needs the networks autoencoder-kl, the posterior
    diagonal-gaussian and the likelihood laplace or gaussian. The library need not be installed to write the folder.

    [bold]Examples[/bold]

      vae export runs/tokenizer --format diffusers

      vae export runs/tokenizer --format diffusers -o my-vae
    """
    from vaekit.core.progress import OutputConsole, print_line
    from vaekit.experiment.export_model import export_model
    from vaekit.runs.unfinished import unfinished_line

    if unfinished := unfinished_line(run):
        print_line(unfinished, OutputConsole(stderr=True))
    exported = export_model(run, format, out=output, data=data, device=device)
    for line in exported.lines:
        print_line(line, OutputConsole())
    say(str(exported.folder))
