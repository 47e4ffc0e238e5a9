"""``vae data``: what a source holds, and what is in the cache."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli.options import Output, place, write
from vaekit.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

COMMON = 8
"""How many sizes and classes are listed; the rest is counted."""


def data(
    source: Annotated[
        str | None, typer.Argument(help="A name, folder, archive, array, parquet file, list of files, or hub id.")
    ] = None,
    augment: Annotated[str | None, typer.Option(metavar="RECIPE", help="Show how a recipe changes training images.")] = None,
    background: Annotated[str, typer.Option(help="The color behind transparent pixels and around images.")] = "white",
    cache: Annotated[bool, typer.Option("--cache", help="List the decoded images that are kept.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove them.")] = False,
    output: Output = None,
) -> None:
    """Look at images before training on them: counts, sizes, classes, what cannot be read, and a contact sheet.

    [bold]Examples[/bold]

      vae data holiday/ -o holiday.png

      vae data images.zip

      vae data user/set:config@revision

      vae data holiday/ --augment mine.yaml

      vae data --cache
    """
    if cache or clear:
        if source is not None:
            raise ConfigError("--cache and --clear are of the whole cache, so they take no source")
        _tell_cache(clear)
        return
    if source is None:
        raise ConfigError("say which images: vae data FOLDER, a name or a hub id; or --cache")
    from vaekit.data import inspect
    from vaekit.plots import grid

    called = Path(source.partition("@")[0]).name.split(".")[0].replace(":", "-")
    where = place(output, ".", f"{called or 'images'}-sheet.png", ".")
    begun = time.monotonic()
    found = inspect(source, background)
    seconds = time.monotonic() - begun
    for one in found:
        print(f"{one.split}: {one.num:,} images, {'gray' if one.channels == 1 else 'color'}")
        print(f"  sizes    {_common({f'{h}x{w}': num for (h, w), num in one.sizes.most_common()})}")
        print(f"  modes    {_common(dict(one.modes.most_common()))}")
        print(f"  classes  {_common(one.classes) if one.classes else 'none'}")
        print(f"  damaged  {len(one.skipped):,}" + "".join(f"\n    {bad.name}: {bad.reason}" for bad in one.skipped))
    print(f"looked at {sum(one.num for one in found):,} images in {seconds:.1f} s")
    sheet, title = found[0].sheet, f"{found[0].num:,} {found[0].split} images of {source}"
    if augment is not None:
        sheet, title = (
            _augmented(sheet, augment),
            f"images of {source} as {augment} changes them; the first row as they are",
        )
    write(grid(sheet, 10, title=title).save, where)


def _augmented(sheet: "Tensor", name: str) -> "Tensor":
    """The first images, and five draws of what a recipe makes of them."""
    import torch

    from vaekit.core.rng import generator
    from vaekit.data import augmenter
    from vaekit.runs.recipe import load_recipe

    data = load_recipe(name).data
    if data.augment is None:
        raise ConfigError(f"{name}: the recipe changes no images; give it data.augment, as in {{flip: 0.5}}")
    shown, draw = sheet[:10], generator(0)
    change = augmenter(data.augment, (3, *shown.shape[2:]), data.background)
    return torch.cat([shown, *(change(shown, draw) for _ in range(5))])


def _common(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({num:,})" for name, num in list(counts.items())[:COMMON])
    return shown + (f", and {len(counts) - COMMON:,} more" if len(counts) > COMMON else "")


def _tell_cache(clear: bool) -> None:
    from vaekit.data import cached, clear_cache

    entries = clear_cache() if clear else cached()
    for entry in entries:
        shape = "x".join(map(str, entry.shape)) or entry.state
        print(f"{entry.num_bytes / 2**20:9.1f} MB  {entry.num:>9,} {shape:<12} {entry.name}  {entry.folder}")
    total = sum(entry.num_bytes for entry in entries) / 2**20
    print(f"{total:9.1f} MB  {'removed' if clear else 'in all'}")
