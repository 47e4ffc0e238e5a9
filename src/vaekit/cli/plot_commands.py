"""The commands that plot: images, figures, animations and reports."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vaekit.cli.drawing import InterpolationPath, Pixelated, Size, Start, ThemeName, drawing, look
from vaekit.cli.film_commands import animate as animate
from vaekit.cli.layer_options import read_fixed_layers, read_temperatures
from vaekit.cli.options import Channels, Data, Label, Labels, Output, RunPath, Seed, read_channels, show, write
from vaekit.core.errors import ModelError

DPI = 200
"""The resolution of figures in dots per inch."""


def sample(
    context: typer.Context,
    run: RunPath,
    num: Annotated[int, typer.Option("--num", "-n", help="The number of images.", min=1)] = 100,
    label: Labels = None,
    temperature: Annotated[
        str,
        typer.Option(help="Below 1: samples closer to the prior's mean. Of a ladder also one for each layer: 0.7,0.8,1."),
    ] = "1",
    fix_layers: Annotated[
        str | None,
        typer.Option(
            help="Of a ladder: fix so many upper layers in each row, and sample the lower ones anew; or each: 0, 1, 2, ...",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    channels: Channels = None,
    theme: ThemeName = "dark",
    pixelated: Pixelated = False,
    size: Size = None,
    output: Output = None,
) -> None:
    """Sample images from the prior and plot them in a grid.

    [bold]Examples[/bold]

      vae sample runs/mnist-mlp

      vae sample runs/mnist-conv --label 7 -n 25 -o sevens.png

      vae sample runs/satellite --channels 3,2,1

      vae sample runs/mnist-ladder --fix-layers each
    """
    from vaekit.experiment import plot

    image = plot.sample(
        run,
        num,
        label or (),
        read_temperatures(temperature),
        seed,
        channels=read_channels(channels),
        look=look(theme, pixelated, size),
        fix_layers=read_fixed_layers(fix_layers),
    )
    write(image.save, drawing(context, output, run, "sample"))


def reconstruct(
    context: typer.Context,
    run: RunPath,
    images: Annotated[list[Path] | None, typer.Argument(help="Image files; by default test images.")] = None,
    num: Annotated[int | None, typer.Option("--num", "-n", help="The number of test images.", min=1)] = None,
    label: Labels = None,
    data: Data = None,
    channels: Channels = None,
    theme: ThemeName = "dark",
    pixelated: Pixelated = False,
    size: Size = None,
    output: Output = None,
) -> None:
    """Plot test images above their reconstructions, or your own images beside theirs.

    Your own images are also shown in a window if there is a screen.

    [bold]Examples[/bold]

      vae reconstruct runs/mnist-mlp

      vae reconstruct runs/mnist-mlp three.png seven.png -o both.png
    """
    from vaekit.experiment import plot

    image = plot.reconstruct(
        run, images or (), num, label or (), data, channels=read_channels(channels), look=look(theme, pixelated, size)
    )
    write(image.save, drawing(context, output, run, "reconstruct"))
    if images:
        show(image)


def traverse(
    context: typer.Context,
    run: RunPath,
    num: Annotated[
        int, typer.Option("--num", "-n", help="The number of latents, from the one that changes the image most down.", min=1)
    ] = 8,
    steps: Annotated[int, typer.Option(help="The number of images in a row.", min=2, max=1_000)] = 11,
    layer: Annotated[
        int | None,
        typer.Option(help="Of a ladder: only latents of this layer, from 1 at the top.", min=1, show_default=False),
    ] = None,
    start: Start = None,
    data: Data = None,
    channels: Channels = None,
    theme: ThemeName = "dark",
    pixelated: Pixelated = False,
    size: Size = None,
    output: Output = None,
) -> None:
    """Change one latent at a time over its range, one latent in a row.

    [bold]Examples[/bold]

      vae traverse runs/fashion-mnist

      vae traverse runs/mnist-conv --from 3 --num 8 -o threes.png
    """
    from vaekit.experiment import plot

    image = plot.traverse(
        run, num, steps, start, data, channels=read_channels(channels), look=look(theme, pixelated, size), layer=layer
    )
    write(image.save, drawing(context, output, run, "traverse"))


def manifold(
    context: typer.Context,
    run: RunPath,
    steps: Annotated[int, typer.Option(help="The number of images along each side.", min=1, max=500)] = 20,
    plane: Annotated[
        Literal["active", "principal"],
        typer.Option(help="With more than two latents: the two of the highest KL, or the principal components."),
    ] = "active",
    label: Label = None,
    data: Data = None,
    channels: Channels = None,
    theme: ThemeName = "dark",
    pixelated: Pixelated = False,
    size: Size = None,
    output: Output = None,
) -> None:
    """Decode a grid of points of the latent plane, evenly spaced in probability.

    [bold]Examples[/bold]

      vae manifold runs/mnist-2d

      vae manifold runs/mnist-2d --steps 30 --size 4000 -o poster.png

      vae manifold runs/mnist-conv --plane principal
    """
    from vaekit.experiment import plot

    image = plot.manifold(
        run, steps, plane, label, data, channels=read_channels(channels), look=look(theme, pixelated, size)
    )
    write(image.save, drawing(context, output, run, "manifold"))


def interpolate(
    context: typer.Context,
    run: RunPath,
    a: Annotated[str, typer.Argument(metavar="A", help="The first waypoint: a class, @N for test image N, or an image.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The last waypoint.")],
    steps: Annotated[int, typer.Option(help="The number of images, both ends included.", min=2, max=1_000)] = 10,
    path: InterpolationPath = "linear",
    label: Labels = None,
    data: Data = None,
    channels: Channels = None,
    theme: ThemeName = "dark",
    pixelated: Pixelated = False,
    size: Size = None,
    output: Output = None,
) -> None:
    """Interpolate between two images or classes in the latent space.

    [bold]Examples[/bold]

      vae interpolate runs/mnist-mlp 1 9

      vae interpolate runs/mnist-mlp @0 @1 --path spherical

      vae interpolate runs/mnist-mlp three.png seven.png --steps 12 -o strip.png
    """
    from vaekit.experiment import plot

    image = plot.interpolate(
        run, a, b, steps, path, label or (), data, channels=read_channels(channels), look=look(theme, pixelated, size)
    )
    write(image.save, drawing(context, output, run, "interpolate"))


def map_(
    context: typer.Context,
    run: RunPath,
    method: Annotated[
        Literal["pca", "tsne", "umap"], typer.Option(help="The projection of more than two latents to a plane.")
    ] = "pca",
    num: Annotated[int | None, typer.Option("--num", "-n", help="The number of images, chosen at random.", min=2)] = None,
    widths: Annotated[bool, typer.Option("--widths", help="Plot posteriors as ellipses of one standard deviation.")] = False,
    data: Data = None,
    theme: ThemeName = "light",
    output: Output = None,
) -> None:
    """Plot the posterior means of images in the latent space, colored by class, with density contours.

    [bold]Examples[/bold]

      vae map runs/mnist-2d --widths

      vae map runs/mnist-conv --method tsne -o map.svg
    """
    from vaekit.experiment import plot
    from vaekit.plots.style import THEMES, themed

    with themed(THEMES[theme]):
        figure = plot.map(run, method, num, widths, data)
    write(lambda path: figure.savefig(path, dpi=DPI), drawing(context, output, run, "latent-map"))


def rates(
    context: typer.Context, run: RunPath, data: Data = None, theme: ThemeName = "light", output: Output = None
) -> None:
    """Plot the KL of each latent, and which latents are active.

    [bold]Example[/bold]

      vae rates runs/mnist-conv
    """
    from vaekit.experiment import plot
    from vaekit.plots.style import THEMES, themed

    with themed(THEMES[theme]):
        figure = plot.rates(run, data)
    write(lambda path: figure.savefig(path, dpi=DPI), drawing(context, output, run, "rates"))


def errors(
    context: typer.Context,
    run: RunPath,
    num: Annotated[
        int, typer.Option("--num", "-n", help="The number of images to show beside the mean.", min=1, max=100)
    ] = 6,
    data: Data = None,
    channels: Channels = None,
    theme: ThemeName = "light",
    output: Output = None,
) -> None:
    """Plot the error of reconstructions in each pixel.

    [bold]Example[/bold]

      vae errors runs/fashion-mnist
    """
    from vaekit.experiment import plot
    from vaekit.plots.style import THEMES, themed

    with themed(THEMES[theme]):
        figure = plot.errors(run, num, data, channels=read_channels(channels))
    write(lambda path: figure.savefig(path, dpi=DPI), drawing(context, output, run, "errors"))


def curves(context: typer.Context, run: RunPath, theme: ThemeName = "light", output: Output = None) -> None:
    """Plot the ELBO, its two terms and whatever else changes against epochs, with the kept epoch marked.

    [bold]Example[/bold]

      vae curves runs/mnist-conv -o curves.pdf
    """
    from vaekit.core.files import user_path
    from vaekit.plots.style import THEMES, themed
    from vaekit.runs.run_records import RunRecords

    if not user_path(run).is_dir():
        raise ModelError(f"{run}: no such run folder, and only a run folder has learning curves")
    with themed(THEMES[theme]):
        figure = RunRecords(user_path(run)).curves()
    write(lambda path: figure.savefig(path, dpi=DPI), drawing(context, output, run, "learning-curves"))
