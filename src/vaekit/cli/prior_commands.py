"""``vae prior``."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli.options import Device, RunPath, Seed


def prior(
    run: RunPath,
    name: Annotated[
        str,
        typer.Option(
            help="The prior: gaussian, mixture, flow, maf, two-stage or flow-matching; of codes: transformer.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder of the new run; RUN-NAME by default.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="The most gradient steps; by default those of the prior.", min=1, max=10_000_000)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="The number of latents per step.", min=2)] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.", min=0)] = None,
    passes: Annotated[
        int | None, typer.Option(help="How often each training image is encoded; 4 if it changes each time.", min=1)
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An argument of the prior, as width=512.")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace a run that the folder holds.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report, which saves some seconds.")] = False,
) -> None:
    """Fit a better prior to a trained model, for better samples; encoder and decoder stay as they are.

    The training images are encoded once, the prior is fitted to their latents, and a new run folder is written that every
    command accepts. With gaussian, mixture, flow and maf the model has an ELBO, a higher one than before; two-stage and
    flow-matching can only be sampled. Whether samples are copies of training images is always printed and drawn.

    [bold]Examples[/bold]

      vae prior runs/fashion-mnist --name flow-matching

      vae prior runs/mnist-conv --name mixture --set num_components=20

      vae prior runs/faces --name gaussian --out runs/better-faces

      vae prior runs/fashion-vq --name transformer
    """
    from vaekit.core.progress import OutputConsole
    from vaekit.experiment.fit_prior import fit_prior
    from vaekit.runs.overrides import parse_overrides

    fit_prior(
        run,
        name,
        parse_overrides(change or []),
        out=out,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        passes=passes,
        seed=seed,
        device=device,
        force=force,
        report=not no_report,
        console=OutputConsole(),
    )
