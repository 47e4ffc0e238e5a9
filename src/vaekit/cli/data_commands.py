"""``vae data``: a summary of a source of images, and the cache of decoded images."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli.options import Channels, Output, place, read_channels, say, write
from vaekit.core.errors import ConfigError
from vaekit.core.safe_text import MAX_NAME, printable

if TYPE_CHECKING:
    from torch import Tensor

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
    for remark in summaries[0].remarks:
        say(remark)
    say(f"opened {sum(split.num for split in summaries):,} images in {seconds:.1f} s")
    sheet, title = summaries[0].sheet, f"{summaries[0].num:,} {summaries[0].split} images of {source}"
    if augment is not None:
        sheet = _augment(sheet, augment)
        title = f"images of {source} with the augmentation of {augment}; the first row is unchanged"
    write(grid(sheet, 10, title=title, channels=shown).save, path)


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
