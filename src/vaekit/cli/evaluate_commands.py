"""``vae evaluate``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaekit.cli.options import Data, Device, Output, RunPath, Seed, is_streamed, place, say, store_json

if TYPE_CHECKING:
    from vaekit.evaluation.evaluation_config import EvaluationConfig

MOST = 1_000_000
"""The maximum number of samples, chains and steps: with more, no evaluation ever ends."""
QUICK_SECONDS = 60.0
"""The time limit of each expensive part of a quick evaluation: with more, the part uses fewer images, or none."""
ANNOUNCED_SECONDS = 60.0
"""The approximate time above which an evaluation prints beforehand how long it takes."""


def evaluate(
    run: RunPath,
    num_samples: Annotated[
        int | None,
        typer.Option(
            help="Samples per image for the importance-weighted bound; 5,000 by default, 0: skip.", min=0, max=MOST
        ),
    ] = None,
    max_images: Annotated[
        int | None,
        typer.Option(help="Images at most for log p(x) and the gap; 1,000 by default for the bound, 0: all.", min=0),
    ] = None,
    num_annealed: Annotated[
        int | None, typer.Option(help="Images for annealed importance sampling; 100 by default, 0: skip.", min=0)
    ] = None,
    num_chains: Annotated[
        int | None, typer.Option(help="Annealing chains per image; 8 by default.", min=1, max=MOST)
    ] = None,
    num_distributions: Annotated[
        int | None, typer.Option(help="Intermediate distributions of annealing; 300 by default.", min=1, max=MOST)
    ] = None,
    num_refined: Annotated[
        int | None, typer.Option(help="Images for the amortization gap; 200 by default, 0: skip.", min=0)
    ] = None,
    features: Annotated[
        Literal["cnn", "inception"],
        typer.Option(help="Features for fidelity: learned from the training images, or Inception's for the FID."),
    ] = "cnn",
    quick: Annotated[bool, typer.Option("--quick", help="A minute or two, with larger standard errors.")] = False,
    data: Data = None,
    seed: Seed = 0,
    device: Device = "cpu",
    output: Output = None,
) -> None:
    """Evaluate a model on test images; every metric has a standard error.

    The ELBO and its terms; log p(x) by importance sampling and by annealing, with a bracket; the gaps between them; the
    decomposition of the rate and posterior collapse; reconstructions, fidelity of samples, and downstream tasks.

    [bold]Examples[/bold]

      vae evaluate runs/mnist-mlp --quick

      vae evaluate runs/mnist-mlp --max-images 0 -o metrics.json

      vae evaluate runs/mnist-conv --num-annealed 40 --num-chains 4

      vae evaluate runs/fashion-mnist --features inception
    """
    from vaekit.core.progress import OutputConsole
    from vaekit.evaluation.evaluation_config import FULL, QUICK
    from vaekit.experiment.evaluate import load_inputs
    from vaekit.export.tables import check_writable
    from vaekit.presentation.metric_text import duration, print_metrics

    path = place(output, run, "evaluation.json", "")
    check_writable(path)
    console = OutputConsole(stderr=is_streamed(path))
    inputs = load_inputs(run, data=data, features=features, device=device)
    preset = inputs.limited(QUICK, QUICK_SECONDS) if quick else FULL
    config = _with_options(preset, max_images, num_chains, num_distributions)
    config = replace(
        config,
        num_samples=config.num_samples if num_samples is None else num_samples,
        num_annealed=_at_most(config.num_annealed, max_images) if num_annealed is None else num_annealed,
        num_refined=_at_most(config.num_refined, max_images) if num_refined is None else num_refined,
    )
    if quick and preset != QUICK:
        num_iw = "all" if config.max_images is None else config.max_images
        images = f"{num_iw} images for importance sampling, {config.num_annealed} annealed, {config.num_refined} refined"
        limit = f"more would take over {duration(QUICK_SECONDS)} for a part"
        console.print(f"quick: {images}; {limit}", highlight=False, soft_wrap=True)
    seconds = inputs.seconds(config)
    if sum(seconds.values()) > ANNOUNCED_SECONDS:
        parts = ", ".join(f"{duration(value)} for {part}" for part, value in seconds.items())
        total = duration(sum(seconds.values()))
        how = "--max-images and the other options" if quick else "--quick and the options"
        console.print(f"about {total}: {parts}; {how} shorten it", highlight=False, soft_wrap=True)
    evaluation = inputs.evaluate(config, seed)
    store_json(evaluation.to_data(), path)
    print_metrics(evaluation, console)
    if not is_streamed(path):
        say(str(path))


def _at_most(num: int, limit: int | None) -> int:
    """A number of images, unless a smaller one was asked for; a limit of 0 stands for all images, and limits nothing."""
    return min(num, limit) if limit else num


def _with_options(
    config: "EvaluationConfig", max_images: int | None, num_chains: int | None, num_distributions: int | None
) -> "EvaluationConfig":
    """The configuration with the options that are given; a ``max_images`` of 0 stands for all images."""
    annealing = replace(
        config.annealing,
        num_chains=num_chains or config.annealing.num_chains,
        num_distributions=num_distributions or config.annealing.num_distributions,
    )
    config = replace(config, annealing=annealing)
    return config if max_images is None else replace(config, max_images=max_images or None)
