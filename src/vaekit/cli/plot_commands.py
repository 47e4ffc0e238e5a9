"""The commands that draw: stills, charts, moving images and pages."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vaekit.cli.options import Data, Label, Labels, Output, RunPath, Seed, gallery, place, show, write
from vaekit.core.errors import ConfigError

Way = Annotated[Literal["linear", "spherical"], typer.Option("--path", help="A line, or an arc that keeps latents' length.")]
Start = Annotated[str, typer.Option("--from", help="Where the other latents stay: @N, a class, or an image file.")]


def sample(
    run: RunPath,
    num: Annotated[int, typer.Option("--num", "-n", help="How many images.", min=1)] = 100,
    label: Labels = None,
    temperature: Annotated[float, typer.Option(help="Below 1: safer images, nearer the mean.", min=0.0)] = 1.0,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Draw images from the prior and lay them out in a grid.

    [bold]Examples[/bold]

      vae sample runs/mnist-mlp

      vae sample runs/mnist-conv --label 7 -n 25 -o sevens.png
    """
    from vaekit.plots.grids import columns_for
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import RunFolder

    model = RunFolder(run).model
    columns = columns_for(model.shape[-1])
    image = Gallery(model).samples(num, label or (), temperature, seed, columns if num > columns else None)
    write(image.save, place(output, run, "samples.png"))


def reconstruct(
    run: RunPath,
    images: Annotated[list[Path] | None, typer.Argument(help="Image files; by default test images.")] = None,
    num: Annotated[int | None, typer.Option("--num", "-n", help="How many test images.", min=1)] = None,
    label: Labels = None,
    data: Data = None,
    output: Output = None,
) -> None:
    """Lay test images out above their reconstructions, or images of your own beside theirs.

    Images of your own are also shown in a window where there is one.

    [bold]Examples[/bold]

      vae reconstruct runs/mnist-mlp

      vae reconstruct runs/mnist-mlp three.png seven.png -o both.png
    """
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import RunFolder

    folder = RunFolder(run)
    shown = Gallery(folder.model, None, folder.fitting) if images else gallery(run, data)
    image = shown.reconstructions(num, files=images or (), labels=label or ())
    write(image.save, place(output, run, "reconstructions.png"))
    if images:
        show(image)


def traverse(
    run: RunPath,
    num: Annotated[int, typer.Option("--num", "-n", help="How many latents, from the highest mean KL down.", min=1)] = 16,
    steps: Annotated[int, typer.Option(help="How many images in a row.", min=2, max=1_000)] = 11,
    start: Start = "@0",
    data: Data = None,
    output: Output = None,
) -> None:
    """Change one latent at a time, a row each, over the values that occur.

    [bold]Examples[/bold]

      vae traverse runs/fashion-mnist

      vae traverse runs/mnist-conv --from 3 --num 8 -o threes.png
    """
    image = gallery(run, data).traversals(num, steps, start)
    write(image.save, place(output, run, "traversals.png"))


def manifold(
    run: RunPath,
    steps: Annotated[int, typer.Option(help="How many images along each side.", min=1, max=500)] = 20,
    plane: Annotated[
        Literal["active", "principal"],
        typer.Option(help="With more than two latents: the two of the highest KL, or the principal components."),
    ] = "active",
    label: Label = None,
    data: Data = None,
    output: Output = None,
) -> None:
    """Decode the latent plane, evenly spaced in probability.

    [bold]Examples[/bold]

      vae manifold runs/mnist-2d

      vae manifold runs/mnist-conv --plane principal
    """
    image = gallery(run, data).manifold(steps, plane, label)
    write(image.save, place(output, run, "manifold.png"))


def interpolate(
    run: RunPath,
    a: Annotated[str, typer.Argument(help="Where to start: a class, @N for test image N, or an image file.")],
    b: Annotated[str, typer.Argument(help="Where to end.")],
    steps: Annotated[int, typer.Option(help="How many images, both ends included.", min=2, max=1_000)] = 10,
    path: Way = "linear",
    label: Labels = None,
    data: Data = None,
    output: Output = None,
) -> None:
    """Draw the way from one image or class to another through the latents, as a strip.

    [bold]Examples[/bold]

      vae interpolate runs/mnist-mlp 1 9

      vae interpolate runs/mnist-mlp @0 @1 --path spherical

      vae interpolate runs/mnist-mlp three.png seven.png --steps 12 -o strip.png
    """
    image = gallery(run, data).interpolation(a, b, steps, path, label or ())
    write(image.save, place(output, run, "interpolation.png"))


def map_(
    run: RunPath,
    method: Annotated[
        Literal["pca", "tsne", "umap"], typer.Option(help="How more than two latents are brought to a plane.")
    ] = "pca",
    num: Annotated[int | None, typer.Option("--num", "-n", help="How many images, from the first on.", min=2)] = None,
    widths: Annotated[bool, typer.Option("--widths", help="Draw posteriors as ellipses of one standard deviation.")] = False,
    data: Data = None,
    output: Output = None,
) -> None:
    """Draw where images lie in the latent space, colored by class.

    [bold]Examples[/bold]

      vae map runs/mnist-2d --widths

      vae map runs/mnist-conv --method tsne -o map.svg
    """
    figure = gallery(run, data).latent_map(method, num, widths)
    write(lambda path: figure.savefig(path, dpi=200), place(output, run, "latent-map.png"))


def rates(run: RunPath, data: Data = None, output: Output = None) -> None:
    """Draw the KL of each latent, and which latents are active.

    [bold]Example[/bold]

      vae rates runs/mnist-conv
    """
    figure = gallery(run, data).rates()
    write(lambda path: figure.savefig(path, dpi=200), place(output, run, "rates.png"))


def errors(
    run: RunPath,
    num: Annotated[int, typer.Option("--num", "-n", help="How many images to show beside the mean.", min=1)] = 6,
    data: Data = None,
    output: Output = None,
) -> None:
    """Draw where in an image reconstructions are wrong.

    [bold]Example[/bold]

      vae errors runs/fashion-mnist
    """
    figure = gallery(run, data).errors(num)
    write(lambda path: figure.savefig(path, dpi=200), place(output, run, "errors.png"))


def curves(run: RunPath, output: Output = None) -> None:
    """Draw the ELBO, its two terms, the KL weight, the learning rate and the gradient norm against epochs.

    [bold]Example[/bold]

      vae curves runs/mnist-conv -o curves.pdf
    """
    from vaekit.runs.run_folder import RunFolder

    figure = RunFolder(run).curves()
    write(lambda path: figure.savefig(path, dpi=120), place(output, run, "curves.png"))


def animate(
    run: RunPath,
    through: Annotated[
        str | None,
        typer.Option(help="Where to pass: pi, or stops with commas between: classes, @N for test image N, image files."),
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="The same images as the model learned.")] = False,
    traverse: Annotated[bool, typer.Option("--traverse", help="Latents moving through their values.")] = False,
    digits: Annotated[int, typer.Option(help="How many digits of pi.", min=2)] = 40,
    steps: Annotated[
        int | None, typer.Option(help="How many frames lie between two stops; 8 by default.", min=1, max=1_000)
    ] = None,
    hold: Annotated[int | None, typer.Option(help="How long a stop is held, in milliseconds.", min=20, max=60_000)] = None,
    size: Annotated[int, typer.Option(help="How many pixels an image fills at least.", min=1, max=8_192)] = 280,
    num: Annotated[int, typer.Option("--num", "-n", help="How many latents --traverse shows.", min=1)] = 9,
    path: Way = "linear",
    start: Start = "@0",
    label: Labels = None,
    data: Data = None,
    output: Output = None,
) -> None:
    """Make an animation: through classes, images or the digits of pi; of the latents; or of how training went.

    The suffix of -o chooses the format: .gif, .webp, or .mp4 where imageio-ffmpeg is installed.

    [bold]Examples[/bold]

      vae animate runs/mnist-conv --through 1,9

      vae animate runs/mnist-conv --through pi --digits 100 -o pi.webp

      vae animate runs/mnist-conv --traverse
    """
    from vaekit.plots.animation import check_suffix
    from vaekit.presentation.gallery import DIGIT_HOLD, HOLD, MOVES, SWING, film_of_training
    from vaekit.runs.run_folder import RunFolder

    if sum((through is not None, training, traverse)) != 1:
        raise ConfigError("say what to animate: one of --through 1,9, --through pi, --training, --traverse")
    if label and (training or traverse or through == "pi"):
        raise ConfigError("--label is the class of the image files that --through passes")
    name = "training" if training else "traversal" if traverse else "pi" if through == "pi" else "through"
    where = place(output, run, f"{name}.gif")
    check_suffix(where)
    if training:
        film = film_of_training(RunFolder(run).folder)
    elif traverse:
        film = gallery(run, data).film_of_traversals(num, steps or SWING, size, start)
    elif through == "pi":
        film = gallery(run, data).film_of_pi(digits, moves=steps or MOVES, hold=hold or DIGIT_HOLD, size=size, path=path)
    else:
        stops = [stop.strip() for stop in (through or "").split(",") if stop.strip()]
        film = gallery(run, data).film(
            stops, moves=steps or MOVES, hold=hold or HOLD, size=size, path=path, labels=label or ()
        )
    write(film.save, where)


def report(run: RunPath, data: Data = None, output: Output = None) -> None:
    """Write a page about a run that opens anywhere: one HTML file with its numbers, images, charts and recipe.

    [bold]Example[/bold]

      vae report runs/mnist-conv
    """
    from vaekit.reports.run_report import write_report
    from vaekit.runs.run_folder import REPORT, RunFolder

    found, shown = RunFolder(run), gallery(run, data)
    write(lambda path: write_report(found, shown, path), place(output, run, REPORT, "."))


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders.")],
    output: Output = None,
) -> None:
    """Write a page about several runs: their numbers side by side, curves over one another, the same images through each.

    [bold]Example[/bold]

      vae compare runs/mnist-mlp runs/mnist-conv -o compare.html
    """
    from vaekit.reports.run_report import write_comparison
    from vaekit.runs.run_folder import RunFolder

    found = [RunFolder(run) for run in runs]
    write(lambda path: write_comparison(found, path), place(output, ".", "compare.html", "."))
