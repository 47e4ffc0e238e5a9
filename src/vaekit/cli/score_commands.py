"""``vae score`` and ``vae embed``, which write one row per image."""

from typing import Annotated, Literal

import typer

from vaekit.cli.options import Channels, Device, Output, RunPath, Seed, is_streamed, place, read_channels, say, store, write
from vaekit.core.errors import ConfigError

Source = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A name, folder, array or hub id; by default the run's own.", show_default=False),
]
By = Literal["log_px", "elbo", "ratio", "waic", "typicality", "reconstruction", "latent"]
Split = Annotated[
    Literal["train", "test", "all"] | None,
    typer.Option(help="By default test; all images of other data without splits.", show_default=False),
]


def score(
    run: RunPath,
    data: Source = None,
    against: Annotated[
        str | None,
        typer.Option(help="Other images: print how well each score separates them from DATA.", show_default=False),
    ] = None,
    by: Annotated[
        By,
        typer.Option(help="The score that orders images, lowest first."),
    ] = "log_px",
    resort: Annotated[
        By | None,
        typer.Option(help="Order the table that is there by another score; computes none again.", show_default=False),
    ] = None,
    num_samples: Annotated[
        int, typer.Option(help="Samples per image for the estimate of log p(x).", min=2, max=1_000_000)
    ] = 100,
    max_images: Annotated[int, typer.Option(help="Images of each set, chosen at random; 0: all.", min=0)] = 0,
    num: Annotated[
        int, typer.Option("--num", "-n", help="Images on the contact sheet, lowest score first.", min=1, max=1_000)
    ] = 40,
    split: Split = None,
    seed: Seed = 0,
    device: Device = "cpu",
    channels: Channels = None,
    output: Output = None,
) -> None:
    """Score images for outlier detection: log p(x) of each, corrections of it, reconstruction error and latent distance.

    Writes a table, .csv or .parquet, most unusual first, and beside it a contact sheet of the most unusual images. The
    likelihood alone often fails, as --against shows: with an AUROC below 0.5 the other images score higher than DATA.

    [bold]Examples[/bold]

      vae score runs/mnist-mlp -o scores.csv

      vae score runs/mnist-mlp holiday/ --by ratio -o holiday.parquet

      vae score runs/fashion-mnist --against mnist --max-images 2000

      vae score runs/mnist-mlp holiday/ --resort latent -o holiday.parquet
    """
    from vaekit.core.rounding import with_error
    from vaekit.evaluation.likelihood.bounds import CROSS_ENTROPY
    from vaekit.experiment.resort import resort as resort_table
    from vaekit.experiment.score import UNITS, describe_scores
    from vaekit.experiment.score import score as score_images
    from vaekit.export.tables import TABLES, check_suffix, check_writable, write_table
    from vaekit.plots.channel_choice import check_channels
    from vaekit.plots.contact_sheet import contact_sheet
    from vaekit.runs.run_folder import RunFolder

    path = place(output, run, "scores.csv", "")
    if is_streamed(path):
        raise ConfigError("-o -: score writes a table and a contact sheet beside it; name a file, as in -o scores.csv")
    check_suffix(path, TABLES)
    sheet = path.with_suffix(".png")
    check_writable(path)
    check_writable(sheet)
    folder = RunFolder(run)
    shown = read_channels(channels) or folder.shown_channels
    check_channels(shown, folder.model.shape[0], "--channels")  # before scores are computed
    meanings = describe_scores(folder.model)
    if resort is not None:
        table = resort_table(folder, path, resort, data, against=against, split=split)
        images, captions = table.most_unusual(num)
        write(lambda file: write_table(table.columns, file), path)
        first = f"{len(captions):,} of {len(table):,} images, most unusual first"
        title = f"{first}, by {meanings[resort]}, {UNITS[resort]} below each"
        write(contact_sheet(images, captions, title, channels=shown).save, sheet)
        return
    scored = score_images(
        folder,
        data,
        against=against,
        by=by,
        num_samples=num_samples,
        max_images=max_images or None,
        split=split,
        seed=seed,
        device=device,
    )
    store(lambda file: write_table(scored.columns(), file), path)
    for one in scored.sets:
        say(f"{one.title}: {one.meaning}")
        if one.scores is not None and one.scores.warning:
            say(one.scores.warning)
    if against is not None:
        say("AUROC: how well a score separates the first set from the second; 0.5 is chance, below 0.5 it is reversed")
    for name, estimate in scored.aurocs().items():
        say(f"  {name:<14}  {with_error(estimate.value, estimate.standard_error, 4)}  {meanings[name]}")
    say(str(path))
    images, captions = scored.most_unusual(num)
    title = (
        f"{len(captions):,} of {len(scored.order):,} images, most unusual first, by {meanings[by]}, {UNITS[by]} below each; "
        f"{' and '.join(one.title for one in scored.sets)}"
    )
    if any(one.meaning.startswith(CROSS_ENTROPY) for one in scored.sets):
        title += f"; {CROSS_ENTROPY}"
    write(contact_sheet(images, captions, title, channels=shown).save, sheet)


def embed(run: RunPath, data: Source = None, split: Split = None, device: Device = "cpu", output: Output = None) -> None:
    """Encode images: write means and standard deviations of q(z|x), labels and file names.

    The suffix of -o chooses the format: .csv, .parquet, or .npz with arrays means, stddevs, labels, names and classes.

    [bold]Examples[/bold]

      vae embed runs/mnist-conv -o latents.csv

      vae embed runs/mnist-conv holiday/ -o latents.npz
    """
    from vaekit.experiment.embed import FORMATS
    from vaekit.experiment.embed import embed as encode
    from vaekit.export.tables import check_suffix, check_writable

    path = place(output, run, "latents.csv", "")
    check_suffix(path, FORMATS)
    check_writable(path)
    write(encode(run, data, split=split, device=device).write, path)
