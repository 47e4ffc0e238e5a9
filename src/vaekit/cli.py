"""The command ``vae``: a thin layer that reads options, calls the package, and says where it wrote.

A command imports what it runs only when it runs it, so that ``--help`` answers at once. Whatever a user can get wrong is a
:class:`vaekit.errors.VaekitError`: one line on the error stream and exit code 2, and a traceback only with ``--debug``.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.errors import ConfigError, DataError, Interrupted, ModelError, VaekitError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from vaekit.data import ImageSet
    from vaekit.models import VAE

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What click, or the copy of it that typer brings, raises for a command line that it cannot read."""

app = typer.Typer(
    name="vae",
    help="Train variational autoencoders, see what they learned, and know how good they are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a model folder, or a hub id.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.", show_default=False)]
Seed = Annotated[int, typer.Option(help="The seed of what is drawn.", min=0, max=2**63 - 1)]
Label = Annotated[list[str] | None, typer.Option(help="The class of what is drawn, by name or number; may be repeated.")]
Data = Annotated[str | None, typer.Option(help="Other pictures than the run's own: a name, folder, array or hub id.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train variational autoencoders, see what they learned, and know how good they are."""
    if version:
        from vaekit import __version__

        print(f"vaekit {__version__}")
        raise typer.Exit


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name, or a YAML file; digits by default. 'vae recipes' lists them.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Other pictures: a name, folder, .npy or .npz file, or hub id.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often to go through the pictures.")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="How many latents.")] = None,
    beta: Annotated[float | None, typer.Option(help="The KL weight, constant; 1 is the ELBO.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="How many pictures a step sees.")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    conditional: Annotated[bool, typer.Option("--conditional", help="Tell the model the class of a picture.")] = False,
    seed: Annotated[int | None, typer.Option(help="The seed of everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/RECIPE by default.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is there already.")] = False,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", metavar="PLACE=VALUE", help="Change the recipe.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the recipe, train nothing.")] = False,
) -> None:
    """Train a model and write a run folder with its pictures and numbers.

    Without a recipe it trains on handwritten digits that come with the package.

    [bold]Examples[/bold]

      vae train

      vae train mnist-conv --epochs 10 --set data.binarize=none

      vae train --resume runs/mnist-conv
    """
    from rich.console import Console

    from vaekit.experiment import prepare, run
    from vaekit.experiment import resume as go_on
    from vaekit.recipe import DEFAULT, load_recipe, parse_overrides

    shorthands = {
        "data": data,
        "epochs": epochs,
        "latent_dim": latent_dim,
        "beta": beta,
        "batch_size": batch_size,
        "lr": lr,
        "conditional": conditional or None,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    overrides = {key: value for key, value in shorthands.items() if value is not None} | parse_overrides(change or [])
    console = Console()
    if resume is not None:
        ignored = {"the recipe": recipe, "--out": out, "--force": force or None}
        if given := [name for name, value in ignored.items() if value is not None]:
            raise ConfigError(f"--resume goes on with a run as it is, so it takes no {given[0]}")
        go_on(resume, overrides, console, dry_run=dry_run)
        return
    loaded = load_recipe(recipe or DEFAULT, overrides)
    folder = out or Path("runs") / loaded.name
    if dry_run:
        _print_plan(prepare(loaded), folder, console)
        return
    run(loaded, folder, force=force, console=console)


@app.command()
def recipes() -> None:
    """List the recipes, with what each needs and the numbers to expect.

    [bold]Example[/bold]

      vae recipes
    """
    from rich.console import Console
    from rich.table import Table

    from vaekit.recipe import load_recipe, recipe_names

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name in recipe_names():
        recipe = load_recipe(name)
        expected = ", ".join(f"{key} {value:g}" for key, value in recipe.expected.items())
        facts = f"needs {recipe.needs}\nexpect on test pictures: {expected}\n[dim]{recipe.reference}[/dim]\n"
        table.add_row(name, f"{recipe.title}\n{facts}")
    Console().print(table)


@app.command()
def sample(
    run: RunFolder,
    num: Annotated[int, typer.Option("--num", "-n", help="How many pictures.", min=1)] = 100,
    label: Label = None,
    temperature: Annotated[float, typer.Option(help="Below 1: safer pictures, nearer the mean.", min=0.0)] = 1.0,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Draw pictures from the prior and lay them out in a grid.

    [bold]Examples[/bold]

      vae sample runs/mnist-mlp

      vae sample runs/mnist-conv --label 7 -n 25 -o sevens.png
    """
    import torch

    from vaekit.experiment import example_labels
    from vaekit.pictures import grid
    from vaekit.randomness import fixed_seed
    from vaekit.runs import load

    model = load(run)
    labels = example_labels(model, num)
    if label:
        chosen = _labels(model, label)
        labels = chosen[torch.arange(num) % len(chosen)]
    with fixed_seed(seed):
        pictures = model.sample(num, labels, temperature)
    _save(grid(pictures, columns=10 if num > 10 else None), output, run, "samples.png")


@app.command()
def reconstruct(
    run: RunFolder,
    images: Annotated[list[Path] | None, typer.Argument(help="Picture files; by default test pictures.")] = None,
    num: Annotated[int, typer.Option("--num", "-n", help="How many test pictures.", min=1)] = 40,
    label: Label = None,
    data: Data = None,
    output: Output = None,
) -> None:
    """Lay pictures out above their reconstructions.

    [bold]Examples[/bold]

      vae reconstruct runs/mnist-mlp

      vae reconstruct runs/mnist-mlp three.png seven.png -o both.png
    """
    from vaekit.pictures import reconstruction_pairs
    from vaekit.runs import load

    model = load(run)
    if images:
        shown = _pictures(model, images)
        labels = _labels(model, label, len(shown))
    else:
        found = _test_images(run, data).first(num)
        shown, labels = found.pixels, (found.labels if model.condition is not None else None)
        labels = _labels(model, label, len(shown)) if label else labels
    _save(reconstruction_pairs(shown, model.reconstruct(shown, labels)), output, run, "reconstructions.png")


@app.command()
def interpolate(
    run: RunFolder,
    a: Annotated[str, typer.Argument(help="The first picture: a file, or the number of a test picture.")],
    b: Annotated[str, typer.Argument(help="The last picture.")],
    steps: Annotated[int, typer.Option(help="How many pictures, both ends included.", min=2)] = 10,
    label: Label = None,
    data: Data = None,
    output: Output = None,
) -> None:
    """Draw the way from one picture to another through the latents, as a strip.

    The strip begins and ends with the reconstructions of the two.

    [bold]Examples[/bold]

      vae interpolate runs/mnist-mlp 0 1

      vae interpolate runs/mnist-mlp three.png seven.png --steps 12 -o strip.png
    """
    import torch

    from vaekit.pictures import grid
    from vaekit.runs import load

    model = load(run)
    ends, labels = [], []
    for end in (a, b):
        if end.isdecimal():
            found = _test_images(run, data)
            if int(end) >= len(found):
                raise DataError(f"{end}: there are {len(found)} test pictures, numbered from 0")
            ends.append(found.pixels[int(end)])
            labels += [] if found.labels is None else [int(found.labels[int(end)])]
        else:
            ends.append(_pictures(model, [Path(end)])[0])
    chosen = _labels(model, label, 2) if label or len(labels) < 2 else torch.tensor(labels)
    classes = None if model.condition is None else chosen
    strip = model.interpolate(ends[0], ends[1], steps, classes)
    _save(grid(strip, columns=steps), output, run, "interpolation.png")


@app.command()
def evaluate(
    run: RunFolder,
    num_samples: Annotated[
        int, typer.Option(help="K of the importance-weighted estimate of log p(x); 0: none.", min=0)
    ] = 100,
    max_pictures: Annotated[int, typer.Option(help="How many pictures it is made for; 0: all.", min=0)] = 1000,
    data: Data = None,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Measure a model on test pictures: ELBO, log p(x), active latents, PSNR and SSIM, with standard errors.

    [bold]Example[/bold]

      vae evaluate runs/mnist-mlp --num-samples 5000 --max-pictures 0
    """
    from rich.console import Console

    from vaekit.evaluation.evaluate import evaluate as measure
    from vaekit.experiment import tell
    from vaekit.runs import load

    path = _place(output, run, "evaluation.json", "")
    model, images = load(run), _test_images(run, data)
    numbers = measure(model, images, num_samples=num_samples, max_pictures=max_pictures or None, seed=seed)
    console = Console()
    tell(numbers, console)
    _write_json(numbers, path)


def main() -> None:
    """Runs the command; a user's mistake is one line and exit code 2, an interrupted training exit code 130."""
    debug = "--debug" in sys.argv
    try:
        if len(sys.argv) == 1:
            sys.argv.append("--help")
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UsageError as error:
        if debug:
            raise
        message = " ".join(str(getattr(error, "format_message", str)()).split())
        print(f"vae: {message} (vae --help, vae COMMAND --help)", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    except VaekitError as error:
        if debug:
            raise
        print(f"vae: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:  # torch raises a bare RuntimeError
        lacking = ("can't allocate memory", "not enough memory", "out of memory")
        if debug or not (isinstance(error, MemoryError) or any(words in str(error) for words in lacking)):
            raise
        print("vae: there is not enough memory for this; ask for fewer pictures or a smaller model", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _print_plan(experiment: Any, folder: Path, console: Any) -> None:
    """Prints what a run would do."""
    import yaml

    from vaekit.config import to_data
    from vaekit.experiment import announce

    announce(experiment, folder, console)
    text = yaml.safe_dump(to_data(experiment.recipe), sort_keys=False, allow_unicode=True)
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _test_images(run: str, data: str | None) -> "ImageSet":
    """Test pictures as the model saw them: the run's own, or others."""
    from vaekit.runs import RECIPE, Run, load, load_for, model_folder

    folder = model_folder(run)
    if (folder / RECIPE).is_file():
        return Run(folder).images(data)
    if data is None:
        raise DataError(f"{run}: a model folder does not say which pictures it is of; add --data")
    return load_for(load(run), data, "test")


def _pictures(model: "VAE", paths: list[Path]) -> "Tensor":
    """Picture files as uint8 of shape (N, C, H, W), fitted to a model's shape."""
    import numpy as np
    import torch

    from vaekit.data import fit, open_picture

    channels, height, width = model.shape
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such picture")
    pixels = [fit(open_picture(path, str(path)), (height, width), channels) for path in paths]
    return torch.from_numpy(np.stack(pixels))


def _labels(model: "VAE", names: list[str] | None, num: int | None = None) -> Any:
    """Class names as labels, one for each of so many pictures where that is asked for; None for a model without classes."""
    import torch

    if model.condition is None:
        if names:
            raise ModelError("the model is not conditional, so it takes no --label; train one with --conditional")
        return None
    if not names:
        raise ModelError(
            f"the model is conditional: say the class with --label (known: {', '.join(model.condition.classes)})"
        )
    if num is not None and len(names) not in (1, num):
        raise ModelError(f"{len(names)} labels for {num} pictures; give one for all or one for each")
    labels = torch.tensor([model.condition.index(name) for name in names])
    return labels if num is None else labels.expand(num)


def _place(output: Path | None, run: str, name: str, part: str = "pictures") -> Path:
    """Where to write: where ``-o`` says, else in a part of the run's folder, else here."""
    if output is not None:
        if not output.parent.is_dir():
            raise DataError(f"{output}: the folder {output.parent} does not exist")
        return output
    folder = Path(run) / part
    return folder / name if folder.is_dir() else Path(name)


def _save(picture: "Image.Image", output: Path | None, run: str, name: str) -> None:
    path = _place(output, run, name)
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be written ({error})") from None
    print(path)


def _write_json(numbers: dict[str, Any], path: Path) -> None:
    import json

    try:
        path.write_text(json.dumps(numbers, indent=2) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})") from None
    print(path)
