"""``vae score`` and ``vae embed``, which write one row per image.

Without ``-o`` a table is in the run folder, and its name has what chooses its images, DATA, ``--against`` and ``--split``:
tables of other images do not overwrite each other, and ``--resort`` finds the one that it is to order.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaekit.cli.drawing import named
from vaekit.cli.options import (
    Channels,
    Device,
    Output,
    RunPath,
    Seed,
    is_streamed,
    place,
    read_channels,
    say,
    store,
    write,
)
from vaekit.core.errors import ConfigError

if TYPE_CHECKING:
    from vaekit.experiment.score import MostUnusual, ScoredImages
    from vaekit.plots.channel_choice import Channels as ChosenChannels
    from vaekit.runs.run_folder import RunFolder

Source = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A name, folder, array or hub id; by default the run's own.", show_default=False),
]
By = Literal["log_px", "elbo", "ratio", "waic", "typicality", "reconstruction", "latent"]
Split = Annotated[
    Literal["train", "test", "all"] | None,
    typer.Option(
        help="By default all images; the test images of data that has its own, and of the run with --against.",
        show_default=False,
    ),
]
NUM_NAMED = 5
"""The number of images that are named on the terminal."""
DIGITS = 7
"""The significant digits of scores in CSV: those of the single precision that they are computed in."""


def score(
    run: RunPath,
    data: Source = None,
    against: Annotated[
        str | None,
        typer.Option(help="Other images: print how well each score separates them from DATA.", show_default=False),
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="The score that orders images, lowest first; by default latent, or log_px without training images.",
            show_default=False,
        ),
    ] = None,
    resort: Annotated[
        By | None,
        typer.Option(help="Order the table that is there by another score; computes none again.", show_default=False),
    ] = None,
    num_samples: Annotated[
        int, typer.Option(help="Samples per image for the estimate of log p(x).", min=2, max=1_000_000)
    ] = 20,
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

    Writes a table into the run folder, or with -o a .csv or .parquet, most unusual first, and beside it a contact sheet of
    the most unusual images. Numbers in .csv have 7 significant digits. No score finds every kind of odd image, as --against
    shows: with an AUROC below 0.5 the other images score higher than DATA.

    [bold]Examples[/bold]

      vae score runs/holiday

      vae score runs/holiday --resort waic

      vae score runs/mnist-mlp holiday/ --by ratio -o holiday.parquet

      vae score runs/fashion-mnist --against mnist --max-images 2000
    """
    from vaekit.experiment.resort import resort as resort_table
    from vaekit.experiment.score import score as score_images
    from vaekit.export.tables import TABLES, check_suffix, check_writable, write_table
    from vaekit.plots.channel_choice import check_channels
    from vaekit.runs.run_folder import RunFolder

    path = place(output, run, f"{_name('scores', data, against, split)}.csv", "")
    if is_streamed(path):
        raise ConfigError("-o -: score writes a table and a contact sheet beside it; name a file, as in -o scores.csv")
    check_suffix(path, TABLES)
    sheet = path.with_suffix(".png")
    check_writable(path)
    check_writable(sheet)
    folder = RunFolder(run)
    shown = read_channels(channels) or folder.shown_channels
    check_channels(shown, folder.model.shape[0], "--channels")  # before scores are computed
    _warn_if_unfinished(run)
    if resort is not None:
        table = resort_table(folder, path, resort, data, against=against, split=split)
        most = table.most_unusual(max(num, NUM_NAMED))
        store(lambda file: write_table(table.columns, file), path)
        _name_most_unusual(most, resort, folder)
        say(str(path))
        of = f"{len(table):,} images of {' and '.join(one.images.name for one in table.sets)}"
        _write_sheet(most, num, len(table), of, resort, folder, sheet, shown)
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
    store(lambda file: write_table(scored.columns(), file, DIGITS), path)
    _print_scores(scored, folder)
    most = scored.most_unusual(max(num, NUM_NAMED))
    _name_most_unusual(most, scored.by, folder)
    say(str(path))
    _write_sheet(most, num, len(scored.order), _about(scored), scored.by, folder, sheet, shown)


def _name(word: str, data: str | None, against: str | None, split: str | None) -> str:
    """The name of a table without suffix, by what chooses its images."""
    sources = [(key, Path(value)) for key, value in (("", data), ("against", against)) if value is not None]
    return named(word, [*sources, *([] if split is None else [("split", split)])])


def _tell(line: str, *, stderr: bool = False) -> None:
    """Prints a line, which a terminal gets wrapped."""
    from vaekit.core.progress import OutputConsole, print_line

    print_line(line, OutputConsole(stderr=stderr))


def _warn_if_unfinished(run: str) -> None:
    """Says so if a run is still being trained or was stopped early."""
    from vaekit.runs.unfinished import unfinished_line

    if line := unfinished_line(run):
        _tell(line, stderr=True)


def _print_scores(scored: "ScoredImages", folder: "RunFolder") -> None:
    """Prints what was scored, what to be careful about, and how well the scores separate two sets."""
    from vaekit.core.rounding import with_error
    from vaekit.experiment.score import describe_scores

    for one in scored.sets:
        _tell("; ".join(filter(None, [one.selected.title, one.selected.remark])))
        _tell(f"  {one.meaning}")
    if warning := scored.warning:
        _tell(warning)
    if len(scored.sets) > 1:
        _tell("AUROC: how well a score separates the first set from the second; 0.5 is chance, below 0.5 it is reversed")
    meanings = describe_scores(folder.model)
    for name, estimate in scored.aurocs().items():
        say(f"  {name:<14}  {with_error(estimate.value, estimate.standard_error, 4)}  {meanings[name]}")


def _name_most_unusual(most: "MostUnusual", by: str, folder: "RunFolder") -> None:
    """Prints the names of the first images with their scores."""
    from vaekit.core.safe_text import MAX_NAME, printable
    from vaekit.experiment.score import UNITS, describe_scores

    captions = most.captions[:NUM_NAMED]
    _tell(f"most unusual by {by}: {describe_scores(folder.model)[by]}, {UNITS[by]}")
    width = max(map(len, captions))
    for caption, name in zip(captions, most.names, strict=False):
        say(f"  {caption:>{width}}  {printable(name, MAX_NAME - width - 4)}")
    likely, ratio = ("log_px", "ratio") if folder.model.has_density else ("reconstruction", "latent")
    other = likely if by != likely else ratio
    _tell(f"no score finds every kind of odd image; --resort {other} shows another order")


def _write_sheet(
    most: "MostUnusual",
    num: int,
    total: int,
    about: str,
    by: str,
    folder: "RunFolder",
    path: Path,
    channels: "ChosenChannels | None",
) -> None:
    """Draws the contact sheet of the most unusual images."""
    from vaekit.experiment.score import UNITS, describe_scores
    from vaekit.plots.contact_sheet import contact_sheet

    captions = most.captions[:num]
    first = f"the {len(captions):,} most unusual of {about}" if len(captions) < total else f"{about}, most unusual first"
    title = f"{first}; {by} below each: {describe_scores(folder.model)[by]}, {UNITS[by]}"
    drawn = contact_sheet(most.images[:num], captions, title, names=most.names[:num], channels=channels)
    write(drawn.save, path)


def _about(scored: "ScoredImages") -> str:
    """What is on the contact sheet: the sets, and that their scores are no likelihoods where they are not."""
    from vaekit.evaluation.likelihood.bounds import CROSS_ENTROPY

    is_no_likelihood = any(one.meaning.startswith(CROSS_ENTROPY) for one in scored.sets)
    titles = " and ".join(one.selected.title for one in scored.sets)
    return f"{titles} ({CROSS_ENTROPY})" if is_no_likelihood else titles


def embed(run: RunPath, data: Source = None, split: Split = None, device: Device = "cpu", output: Output = None) -> None:
    """Encode images: write means and standard deviations of q(z|x), labels and file names.

    The suffix of -o chooses the format: .csv, .parquet, or .npz with arrays means, stddevs, labels, names and classes.

    [bold]Examples[/bold]

      vae embed runs/holiday

      vae embed runs/mnist-conv holiday/ -o latents.npz
    """
    from vaekit.experiment.embed import FORMATS
    from vaekit.experiment.embed import embed as encode
    from vaekit.export.tables import check_suffix, check_writable

    path = place(output, run, f"{_name('latents', data, None, split)}.csv", "")
    check_suffix(path, FORMATS)
    if not is_streamed(path):
        check_writable(path)
    _warn_if_unfinished(run)
    embedding = encode(run, data, split=split, device=device)
    store(embedding.write, path)
    _tell("; ".join(filter(None, [embedding.selected.title, embedding.selected.remark])), stderr=is_streamed(path))
    if not is_streamed(path):
        say(str(path))
