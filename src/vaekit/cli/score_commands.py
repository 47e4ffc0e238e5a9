"""The commands that write a row for each image: how odd it is, and its code."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaekit.cli.options import Device, Output, RunPath, Seed, place, write
from vaekit.core.errors import DataError

if TYPE_CHECKING:
    from vaekit.data import ImageSet
    from vaekit.export.tables import Scored
    from vaekit.models import VAE
    from vaekit.runs.run_folder import RunFolder

Source = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A name, folder, array or hub id; by default the run's own.", show_default=False),
]
Split = Annotated[
    Literal["train", "test", "all"] | None,
    typer.Option(help="By default test, and all of other images that know no splits.", show_default=False),
]
MEANINGS = {
    "log_px": "log p(x) as it is",
    "elbo": "the evidence lower bound",
    "ratio": "log p(x) + length as PNG, a likelihood ratio against a compressor",
    "waic": "mean - variance of the log weights, over samples of one posterior",
    "typicality": "-|log p(x) - its mean over training images|",
}
"""What each score is; lower is odder."""
CENTER_IMAGES = 500
"""How many training images the center of typicality is a mean over."""


def score(
    run: RunPath,
    data: Source = None,
    against: Annotated[
        str | None, typer.Option(help="Other images: say how well each score tells DATA from them.", show_default=False)
    ] = None,
    by: Annotated[
        Literal["log_px", "elbo", "ratio", "waic", "typicality"],
        typer.Option(help="The score that images are ordered by, the oddest first."),
    ] = "log_px",
    num_samples: Annotated[int, typer.Option(help="K of the importance-weighted estimate of log p(x).", min=2)] = 100,
    max_images: Annotated[int, typer.Option(help="How many images of a set, drawn at random; 0: all.", min=0)] = 0,
    num: Annotated[int, typer.Option("--num", "-n", help="How many of the oddest are shown.", min=1, max=1_000)] = 40,
    split: Split = None,
    seed: Seed = 0,
    device: Device = "cpu",
    output: Output = None,
) -> None:
    """Score images by how odd a model finds them: log p(x) of each with its standard error, and corrections of it.

    Writes a table, .csv or .parquet, the oddest first, and beside it a contact sheet of the oddest. Plain likelihood is
    often misled, as --against shows: an AUROC below 0.5 finds the other images less odd than DATA.

    [bold]Examples[/bold]

      vae score runs/mnist-mlp -o scores.csv

      vae score runs/mnist-mlp holiday/ --by ratio -o holiday.parquet

      vae score runs/fashion-mnist --against mnist --max-images 2000
    """
    from vaekit.evaluation.likelihood.bounds import CROSS_ENTROPY, meaning
    from vaekit.evaluation.likelihood.scores import auroc
    from vaekit.export.tables import TABLES, check_place, check_suffix, in_order, oddest, scores_as_columns, write_table
    from vaekit.plots.contact_sheet import contact_sheet
    from vaekit.runs.run_folder import RunFolder
    from vaekit.training import find_device

    path = place(output, run, "scores.csv", "")
    check_suffix(path, TABLES)
    sheet = path.with_suffix(".png")
    check_place(path)
    check_place(sheet)
    folder = RunFolder(run)
    sets = [_images(folder, data, split)]
    if against is not None:
        sets.append(_images(folder, against, None))
        alone = [images.name for images in sets if min(len(images), max_images or len(images)) < 2]
        if alone:
            raise DataError(f"{alone[0]}: --against compares two sets, and takes two images of each at least")
    model = folder.model.to(find_device(device))
    center = _center(folder, model, num_samples, seed)
    if by == "typicality" and center is None:
        raise DataError("typicality is a distance from training images, and there are none; choose another --by")
    scored = [_scored(model, images, max_images, num_samples, seed, center) for images in sets]
    meanings = [meaning(model, images) for images in sets]
    for one, said in zip(scored, meanings, strict=True):
        print(f"{_counted(one)}: {said}")
    if len(scored) == 2:
        print("AUROC: how well a score tells the first from the second; 0.5 is chance, below it it is misled")
        for name, own in scored[0].values.items():
            found = auroc(own, scored[1].values[name])
            print(f"  {name:<10}  {found.value:.4f} ± {found.standard_error:.4f}  {MEANINGS[name]}")
    order = in_order(scored, by)
    write(lambda file: write_table(scores_as_columns(scored, order), file), path)
    pixels, captions = oddest(scored, order[:num], by)
    title = (
        f"the {len(captions):,} oddest of {len(order):,} images, oddest first, by {MEANINGS[by]}, in nats below each; "
        f"{' and '.join(map(_counted, scored))}"
    )
    if any(said.startswith(CROSS_ENTROPY) for said in meanings):
        title += f"; {CROSS_ENTROPY}"
    write(contact_sheet(pixels, captions, title).save, sheet)


def embed(run: RunPath, data: Source = None, split: Split = None, device: Device = "cpu", output: Output = None) -> None:
    """Write the codes of images: means and standard deviations of q(z|x), labels and file names.

    The suffix of -o chooses the format: .csv, .parquet, or .npz with arrays means, stddevs, labels, names and classes.

    [bold]Examples[/bold]

      vae embed runs/mnist-conv -o latents.csv

      vae embed runs/mnist-conv holiday/ -o latents.npz
    """
    from vaekit.evaluation.latents.encodings import encode_images
    from vaekit.export.tables import ARRAYS, TABLES, check_place, check_suffix, write_encodings
    from vaekit.runs.run_folder import RunFolder
    from vaekit.training import find_device

    path = place(output, run, "latents.csv", "")
    check_suffix(path, (*TABLES, ARRAYS))
    check_place(path)
    folder = RunFolder(run)
    images = _images(folder, data, split)
    codes = encode_images(folder.model.to(find_device(device)), images)
    write(lambda file: write_encodings(codes, images, file), path)


def _images(run: "RunFolder", source: str | None, split: str | None) -> "ImageSet":
    """Images as the model saw its own: test images of these, and of others all that are not split."""
    return run.images(source, split or ("test" if run.is_own(source) else "any"))


def _scored(
    model: "VAE", images: "ImageSet", most: int, num_samples: int, seed: int, center: float | None = None
) -> "Scored":
    """The scores of a set, or of so many of its images at random, in their order."""
    import torch

    from vaekit.core.rng import generator
    from vaekit.evaluation.likelihood.scores import scores
    from vaekit.export.tables import Scored

    rows = torch.randperm(len(images), generator=generator(seed))[: most or None].sort().values
    part = images.take(rows)
    return Scored(part, rows, scores(model, part, num_samples=num_samples, seed=seed), center)


def _center(run: "RunFolder", model: "VAE", num_samples: int, seed: int) -> float | None:
    """The mean of log p(x) over training images of the run, if they can still be had."""
    from vaekit.core.progress import notify

    try:
        train = _images(run, None, "train")
    except DataError as error:
        notify(f"{error}; so typicality is left out")
        return None
    return float(_scored(model, train, CENTER_IMAGES, num_samples, seed).scores.log_px.mean())


def _counted(scored: "Scored") -> str:
    images = scored.images
    kind = "" if images.split == "all" else f"{images.split} "
    return f"{len(images):,} {kind}image{'s' if len(images) != 1 else ''} of {images.name}"
