"""``vae evaluate``."""

from typing import Annotated

import typer

from vaekit.cli.options import Data, Output, RunFolder, Seed, place, test_images, write_json


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

    path = place(output, run, "evaluation.json", "")
    model, images = load(run), test_images(run, data)
    numbers = measure(model, images, num_samples=num_samples, max_pictures=max_pictures or None, seed=seed)
    console = Console()
    tell(numbers, console)
    write_json(numbers, path)
