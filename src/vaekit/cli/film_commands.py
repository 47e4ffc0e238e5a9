"""The command that makes films: ``vae animate``."""

from typing import Annotated

import typer

from vaekit.cli.drawing import InterpolationPath, Pixelated, Start, ThemeName, drawing, look
from vaekit.cli.options import Channels, Data, Labels, Output, RunPath, read_channels, write


def animate(
    context: typer.Context,
    run: RunPath,
    through: Annotated[
        list[str] | None,
        typer.Option(
            help="pi, or waypoints separated by commas: classes, @N for test image N, files; or repeated, one each."
        ),
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="The training, from before its first step.")] = False,
    traverse: Annotated[bool, typer.Option("--traverse", help="Latents that move through their ranges.")] = False,
    digits: Annotated[int, typer.Option(help="The number of digits of pi.", min=2)] = 40,
    steps: Annotated[
        int | None,
        typer.Option(help="The number of frames between two waypoints, of which 30 are a second.", min=1, max=1_000),
    ] = None,
    hold: Annotated[
        int | None, typer.Option(help="The duration of a waypoint, in milliseconds.", min=20, max=60_000)
    ] = None,
    size: Annotated[int, typer.Option(help="The least size of an image, in pixels.", min=1, max=8_192)] = 720,
    num: Annotated[int, typer.Option("--num", "-n", help="The number of latents of --traverse.", min=1)] = 9,
    path: InterpolationPath = "linear",
    start: Start = None,
    label: Labels = None,
    data: Data = None,
    channels: Channels = None,
    theme: ThemeName = "dark",
    pixelated: Pixelated = False,
    output: Output = None,
) -> None:
    """Animate a path through classes, images or the digits of pi; or the latents; or the training.

    The suffix of -o chooses the format: .webp, .gif, or .mp4 if imageio-ffmpeg is installed.

    [bold]Examples[/bold]

      vae animate runs/mnist-conv --through 1,9

      vae animate runs/mnist-conv --through pi --digits 100 -o pi.mp4

      vae animate runs/mnist-conv --traverse
    """
    from vaekit.experiment import plot
    from vaekit.plots.animation import check_suffix

    output_path = drawing(context, output, run, "film", ".webp")
    check_suffix(output_path)  # before the frames are computed
    animation = plot.animate(
        run,
        through[0] if through and len(through) == 1 else through or None,
        training=training,
        traverse=traverse,
        digits=digits,
        steps=steps,
        hold=hold,
        size=size,
        num=num,
        path=path,
        start=start,
        labels=label or (),
        data=data,
        channels=read_channels(channels),
        look=look(theme, pixelated),
    )
    write(animation.save, output_path)
