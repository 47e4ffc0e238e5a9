"""``vae evaluate``."""

from dataclasses import replace
from typing import Annotated, Literal

import typer

from vaekit.cli.options import (
    Data,
    Device,
    Output,
    RunPath,
    Seed,
    place,
    write_json,
)
from vaekit.core.errors import DataError

QUICK_SECONDS = 60.0
"""How long each dear part of a quick evaluation may take; what takes longer is done for fewer images, or for none."""
LONG = 60.0
"""From how many seconds on one is told beforehand how long it will take."""


def evaluate(
    run: RunPath,
    num_samples: Annotated[
        int | None,
        typer.Option(help="K of the importance-weighted estimate of log p(x), 5,000 by default; 0: none.", min=0),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(help="How many images it is made for, 1,000 by default; 0: all.", min=0)
    ] = None,
    annealed: Annotated[
        int | None, typer.Option(help="How many images are annealed, 100 by default; 0: none.", min=0)
    ] = None,
    chains: Annotated[int | None, typer.Option(help="Chains of each annealed image, 8 by default.", min=1)] = None,
    distributions: Annotated[
        int | None, typer.Option(help="Distributions on the way of each chain, 300 by default.", min=1)
    ] = None,
    refined: Annotated[
        int | None, typer.Option(help="How many posteriors are refined, 200 by default; 0: none.", min=0)
    ] = None,
    features: Annotated[
        Literal["cnn", "inception"],
        typer.Option(help="What samples are compared by: features learned from training images, or Inception's for FID."),
    ] = "cnn",
    quick: Annotated[bool, typer.Option("--quick", help="A minute or two, with larger standard errors.")] = False,
    data: Data = None,
    seed: Seed = 0,
    device: Device = "cpu",
    output: Output = None,
) -> None:
    """Measure a model on test images: every honest number, with its standard error.

    The ELBO and its terms; log p(x) by importance sampling and by annealing, with a bracket; the gaps between them; what
    the latents carry and whether they are used; how good reconstructions and samples are; what the latents are good for.

    [bold]Examples[/bold]

      vae evaluate runs/mnist-mlp --quick

      vae evaluate runs/mnist-mlp --max-images 0 -o numbers.json

      vae evaluate runs/mnist-conv --max-images 500 --annealed 40 --chains 4 --distributions 150

      vae evaluate runs/fashion-mnist --features inception
    """
    from rich.console import Console

    from vaekit.evaluation.cost import forecast, seconds_per_decoding, seconds_per_look, shortened
    from vaekit.evaluation.model_evaluation import FULL, QUICK
    from vaekit.evaluation.model_evaluation import evaluate as measure
    from vaekit.evaluation.samples.inception import inception_features
    from vaekit.export.tables import check_place
    from vaekit.presentation.metric_text import duration, print_metrics
    from vaekit.runs.run_folder import RunFolder
    from vaekit.training import find_device

    path = place(output, run, "evaluation.json", "")
    check_place(path)
    folder = RunFolder(run)
    model, images = folder.model.to(find_device(device)), folder.images(data)
    train, gray = None, None
    if data is None and folder.has_recipe:
        train = folder.images(split="train")
        gray = folder.images(binarized=False), folder.images(split="train", binarized=False)
    if features == "inception" and train is None:
        raise DataError("an FID is a distance from training images, and there are none: name a run folder, and no --data")
    extractor = inception_features(model.device) if features == "inception" else None
    console, seconds = Console(), seconds_per_decoding(model, images)
    look = 0.0 if extractor is None else seconds_per_look(extractor, images)
    effort = shortened(QUICK, len(images), seconds, QUICK_SECONDS) if quick else FULL
    cut = quick and effort != QUICK
    how = effort.annealing
    how = replace(how, chains=chains or how.chains, distributions=distributions or how.distributions)
    effort = replace(effort, annealing=how)
    if num_samples is not None:
        effort = replace(effort, num_samples=num_samples)
    if annealed is not None:
        effort = replace(effort, annealed=annealed)
    if refined is not None:
        effort = replace(effort, refined=refined)
    if max_images is not None:
        effort = replace(effort, max_images=max_images or None)
    if cut:
        weighed = "all" if effort.max_images is None else effort.max_images
        counts = f"{weighed} images weighed, {effort.annealed} annealed, {effort.refined} refined"
        said = f"quick: {counts}; more would take over {duration(QUICK_SECONDS)} for a part"
        console.print(said, highlight=False, soft_wrap=True)
    waits = forecast(effort, len(images), seconds, look)
    if sum(waits.values()) > LONG:
        parts = ", ".join(f"{duration(wait)} for {part}" for part, wait in waits.items())
        said = f"about {duration(sum(waits.values()))}: {parts}; --quick and the options take less"
        console.print(said, highlight=False, soft_wrap=True)
    numbers = measure(model, images, train=train, gray=gray, extractor=extractor, effort=effort, seed=seed)
    print_metrics(numbers, console)
    write_json(numbers, path)
