"""``vae train`` and ``vae recipes``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vaekit.core.errors import ConfigError
from vaekit.core.files import user_path
from vaekit.core.launcher import launched_rank
from vaekit.core.progress import OutputConsole

if TYPE_CHECKING:
    from vaekit.runs.recipe import Recipe


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe's name, or a YAML file; digits by default, images for --data. 'vae recipes' lists them."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Other images: a name, folder, file or hub id; several are one set. With --resume: where they are now."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help="Begin with the weights, the model and the recipe of a run.", show_default=False
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Fit images to a side, as 128, or height x width, as 96x128.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 for gray, 3 for color, or up to 16.", min=1, max=16)] = None,
    fit: Annotated[
        Literal["crop", "pad", "stretch"] | None, typer.Option(help="What to do if proportions differ; crop by default.")
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="The color behind transparent pixels and around padded images; white by default.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="The number of passes over the images.")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="The number of latents.")] = None,
    beta: Annotated[float | None, typer.Option(help="A constant KL weight; 1 is the ELBO.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="The number of images per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    conditional: Annotated[bool, typer.Option("--conditional", help="Give the model the class of each image.")] = False,
    seed: Annotated[int | None, typer.Option(help="The random seed.")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option(help="The device to train on; auto by default.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "float32", "bfloat16"] | None,
        typer.Option(help="The precision of networks; fp32 by default, bf16 is faster on recent GPUs."),
    ] = None,
    on_spike: Annotated[
        Literal["stop", "skip", "rollback"] | None,
        typer.Option(help="What to do if a gradient norm is over 10 times its running median, or not finite."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/RECIPE by default.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Train anew and replace an existing run.")] = False,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Continue a run by its own recipe.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="PLACE=VALUE", help="Change the recipe; may be given several times.")
    ] = None,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Write metrics and images only, which saves some seconds at the end.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the recipe, train nothing.")] = False,
) -> None:
    """Train a model and write a run folder with the model, metrics, images and a report.

    Without a recipe it trains on the handwritten digits of the package, or on the images that --data names. A run that was
    stopped goes on when the same command is typed again. Ctrl-C, SIGTERM and SIGHUP save it first.

    [bold]Examples[/bold]

      vae train

      vae train mnist-conv --epochs 10 --set data.binarize=none

      vae train --data holiday/ --size 96

      vae train --resume runs/mnist-conv

      vae train --from runs/mnist-conv --data holiday/ --lr 1e-4

      vae train digits --plugin my_parts.py --set model.prior.name=mine
    """
    from vaekit.runs.overrides import combine, parse_size

    shorthands = {
        "data": data[0] if data else None,
        "also": data[1:] if data and data[1:] else None,
        "size": None if size is None else parse_size(size),
        "channels": channels,
        "fit": fit,
        "background": background,
        "epochs": epochs,
        "latent_dim": latent_dim,
        "beta": beta,
        "batch_size": batch_size,
        "lr": lr,
        "conditional": conditional or None,
        "seed": seed,
        "device": device,
        "precision": precision,
        "on_spike": on_spike,
    }
    overrides = combine(shorthands, change or [])
    console = OutputConsole(quiet=launched_rank() > 0)
    if resume is not None:
        _refuse_with_resume({"recipe": recipe, "--out": out, "--force": force or None, "--from": start})
        _resume(resume, overrides, console, dry_run=dry_run, report=not no_report)
        return
    loaded = _load(recipe, start, overrides)
    folder = out or Path("runs") / loaded.name
    if dry_run:
        _print_plan(loaded, folder, console, force=force)
        return
    from vaekit.experiment.train import run

    run(loaded, folder, force=force, report=not no_report, console=console)


def _refuse_with_resume(options: dict[str, Any]) -> None:
    """Refuses what does not go together with --resume."""
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"--resume goes on with a run as it is, so it takes no {given[0]}; leave it out")


def _resume(folder: Path, overrides: dict[str, Any], console: OutputConsole, *, dry_run: bool, report: bool) -> None:
    """Continues a run."""
    from vaekit.runs.similar_runs import require_folder

    require_folder(str(folder))
    from vaekit.experiment.train import resume

    resume(folder, overrides, console, dry_run=dry_run, report=report)


def _load(recipe: str | None, start: str | None, overrides: dict[str, Any]) -> "Recipe":
    """Loads a recipe. What can be refused without torch, which takes seconds to import, is refused before."""
    from vaekit.data.sources.resolve import resolve
    from vaekit.runs.recipe import DEFAULT, OWN, load_outline, load_recipe
    from vaekit.runs.similar_runs import require_run

    also = overrides.get("data.also")
    given = [overrides.get("data.name"), *(also if isinstance(also, list) else ())]
    named = [source for source in given if isinstance(source, str)]
    if start is not None:
        require_run(start)
    else:
        recipe = (OWN if named else DEFAULT) if recipe is None else recipe
        load_outline(recipe, overrides)
    for source in named:
        resolve(source)
    if start is None:
        return load_recipe(str(recipe), overrides)
    from vaekit.experiment.fine_tuning import fine_tuned

    return fine_tuned(start, recipe, overrides)


def recipes() -> None:
    """List the recipes, with what each needs and the numbers to expect.

    [bold]Example[/bold]

      vae recipes
    """
    from rich.table import Table

    from vaekit.runs.recipe import load_outline, recipe_names

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name in recipe_names():
        recipe = load_outline(name)
        expected = ", ".join(f"{key} {value:g}" for key, value in recipe.expected.items())
        promise = f"expect on test images: {expected}\n" if expected else ""
        facts = f"needs {recipe.needs}\n{promise}[dim]{recipe.reference}[/dim]\n"
        table.add_row(name, f"{recipe.title}\n{facts}")
    OutputConsole().print(table)


def _print_plan(recipe: "Recipe", folder: Path, console: OutputConsole, *, force: bool) -> None:
    """Prints the data, the model and the recipe of a run, if it could begin."""
    from vaekit.core.config import to_data
    from vaekit.core.yaml_text import format_yaml
    from vaekit.experiment.locked_run import announce
    from vaekit.experiment.place import require_place
    from vaekit.experiment.prepare import prepare

    require_place(user_path(folder), recipe, force)
    experiment = prepare(recipe)
    announce(experiment, folder, console)
    console.print(format_yaml(to_data(experiment.recipe)), emoji=False, highlight=False, markup=False, soft_wrap=True)
