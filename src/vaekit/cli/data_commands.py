"""``vae data``: a summary of a source of images, and the cache of decoded images."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli.options import Channels, Output, place, read_channels, say, write
from vaekit.core.errors import ConfigError
from vaekit.core.safe_text import MAX_NAME, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vaekit.data import SplitSummary

MAX_LISTED = 8
"""The largest number of sizes, modes or classes that are listed; the rest is counted."""


def data(
    source: Annotated[
        str | None, typer.Argument(help="A name, folder, archive, array, parquet file, list of files, or hub id.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Show the images with the augmentation of a recipe.")
    ] = None,
    background: Annotated[
        str, typer.Option(help="The color behind transparent pixels and around images on the contact sheet.")
    ] = "white",
    channels: Channels = None,
    cache: Annotated[bool, typer.Option("--cache", help="List the cache of decoded images.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Clear the cache of decoded images.")] = False,
    output: Output = None,
) -> None:
    """Inspect a source of images before training: number, sizes, classes, unreadable files, and a contact sheet.

    [bold]Examples[/bold]

      vae data holiday/ -o holiday.png

      vae data images.zip

      vae data user/set:config@revision

      vae data holiday/ --augment mine.yaml

      vae data satellite.npy --channels 3,2,1

      vae data --cache
    """
    if cache or clear:
        if source is not None:
            raise ConfigError("--cache and --clear apply to the whole cache; leave out the source")
        _print_cache(clear)
        return
    if source is None:
        raise ConfigError("no source of images; add a folder, a name or a hub id, as in vae data FOLDER, or use --cache")
    from vaekit.data import inspect
    from vaekit.plots import grid
    from vaekit.plots.channel_choice import check_channels

    stem = Path(source.partition("@")[0]).name.split(".")[0].replace(":", "-")
    path = place(output, ".", f"{stem or 'images'}-sheet.png", ".")
    start = time.monotonic()
    shown = read_channels(channels)
    summaries = inspect(source, background)
    check_channels(shown, summaries[0].channels, "--channels")
    seconds = time.monotonic() - start
    for split in summaries:
        kind = {1: "gray", 3: "color"}.get(split.channels, f"{split.channels} channels")
        say(f"{split.split}: {split.num:,} images, {kind}")
        say(f"  sizes       {_list_counts({f'{h}x{w}': num for (h, w), num in split.sizes.most_common()})}")
        say(f"  modes       {_list_counts(dict(split.modes.most_common()))}")
        say(f"  classes     {_list_counts(split.classes) if split.classes else 'none'}")
        if split.labels_from:
            say(f"  labels      from {split.labels_from}")
        say(f"  unreadable  {len(split.skipped):,}")
        for bad in split.skipped:
            say(f"    {bad.name}: {bad.reason}")
    for remark in (_describe_splits(summaries), *summaries[0].remarks):
        _tell(remark)
    say(f"opened {sum(split.num for split in summaries):,} images in {seconds:.1f} s")
    first = summaries[0]
    sheet, title = first.sheet, f"{first.num:,} {first.split} images of {source}"
    if len(sheet) < first.num:
        title = f"{len(sheet):,} of {title}, chosen at random"
    if augment is not None:
        sheet = _augment(sheet, augment)
        title = f"images of {source} with the augmentation of {augment}; the first row is unchanged"
    write(grid(sheet, 10, title=title, channels=shown).save, path)


def _tell(line: str) -> None:
    """Prints a line, which a terminal gets wrapped."""
    from vaekit.core.progress import OutputConsole, print_line

    print_line(line, OutputConsole())


def _describe_splits(summaries: "Sequence[SplitSummary]") -> str:
    """Where the images that training, validation and tests use come from, as :func:`vaekit.load_images` takes them."""
    from vaekit.data.loading import TEST_MAX, TEST_SHARE

    names = [split.split for split in summaries]
    train = "train" if "train" in names else names[0]
    tests = [name for name in ("test", "validation", "valid") if name in names and name != train]
    if tests:
        return f"splits: {train} to train on, {tests[0]} to test on, as the source names them (docs/data.md, Splits)"
    num = next(split.num - len(split.skipped) for split in summaries if split.split == train)
    if num < 2:
        return "splits: a single image, which is all of each split"
    num_test = min(max(round(min(TEST_SHARE, TEST_MAX / num) * num), 1), num - 1)
    return (
        f"splits: the source has no test images, so {num_test:,} of {num:,} are held out at random, always the same ones; "
        "validation images are held out of the others"
    )


def _augment(sheet: "Tensor", name: str) -> "Tensor":
    """Ten images, and five augmented versions of them."""
    import torch

    from vaekit.core.rng import generator
    from vaekit.data import augmenter
    from vaekit.runs.recipe import load_recipe

    data = load_recipe(name).data
    if data.augment is None:
        raise ConfigError(f"{name}: the recipe has no augmentation; add data.augment, as in {{flip: 0.5}}")
    images, noise = sheet[torch.linspace(0, len(sheet) - 1, min(10, len(sheet))).long()], generator(0)
    transform = augmenter(data.augment, (images.shape[1], *images.shape[2:]), data.background)
    return torch.cat([images, *(transform(images, noise) for _ in range(5))])


def _list_counts(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{printable(name, MAX_NAME)} ({num:,})" for name, num in list(counts.items())[:MAX_LISTED])
    return listed + (f", and {len(counts) - MAX_LISTED:,} more" if len(counts) > MAX_LISTED else "")


def _print_cache(clear: bool) -> None:
    """Prints the entries of the cache, or removes them and prints the removed ones."""
    from vaekit.data import clear_cache, list_cache

    entries = clear_cache() if clear else list_cache()
    for entry in entries:
        shape = "x".join(map(str, entry.shape)) or entry.state
        say(f"{entry.num_bytes / 2**20:9.1f} MB  {entry.num:>9,} {shape:<12} {entry.name}  {entry.folder}")
    total = sum(entry.num_bytes for entry in entries) / 2**20
    say(f"{total:9.1f} MB  {'removed' if clear else 'in total'}")
