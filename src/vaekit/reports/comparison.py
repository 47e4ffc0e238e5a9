"""The page of several runs: their final metrics in one table, their learning curves, and the same images through each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaekit.core.errors import RunError
from vaekit.core.progress import track
from vaekit.plots import grid
from vaekit.plots.channels import Channels, describe_channels
from vaekit.plots.grids import columns_for
from vaekit.plots.look import Look
from vaekit.plots.style import color, count
from vaekit.presentation.gallery import SHOWN_SEED, Gallery
from vaekit.presentation.metric_text import duration
from vaekit.reports.metric_table import Entry, columns_of, rows_of
from vaekit.reports.page import LegendEntry, Page, Section, embed_image, render
from vaekit.reports.sections import describe_protocol, learning_curves_section
from vaekit.runs.recipe import Recipe
from vaekit.runs.run_folder import RunFolder

MAX_IMAGES = 10
"""The maximum number of images that are reconstructed by each model."""
STRIP = Look(size=200)
"""How the images of a model are drawn, in one row."""


def comparison(runs: Sequence[RunFolder], channels: Channels | None = None) -> Page:
    """Returns the page of several runs; those that differ only by the seed are a group.

    Arguments:
        runs: The runs.
        channels: The channels that images are shown with; by default those that the recipes name.

    Raises:
        RunError: If there are fewer than two runs, one is named twice, is no run folder, or is not finished.
    """
    if len(runs) < 2:
        raise RunError("a comparison needs at least two runs: vae compare runs/mnist-mlp runs/mnist-conv")
    names = _names([run.folder for run in runs])
    recipes = [run.recipe for run in runs]  # first, so that a folder that is no run is named as such
    metrics = [run.metrics for run in runs]
    named = dict(zip(names, runs, strict=True))
    histories = {name: run.history for name, run in named.items()}
    groups = _groups(names, recipes, metrics)
    entries = _entries(groups, dict(zip(names, zip(recipes, metrics, strict=True), strict=True)), histories)
    columns = columns_of(metrics)
    colors = {name: number for number, group in enumerate(groups) for name in group}
    return render(
        "comparison.html",
        title="Comparison of " + ", ".join(names),
        subtitle="",
        columns=columns,
        rows=rows_of(entries, columns),
        has_groups=any(len(group) > 1 for group in groups),
        remarks=_remarks(names, metrics),
        sections=[
            learning_curves_section(histories, colors, _legend(groups)),
            *_reconstructions(named, channels),
        ],
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The names of the runs: their folders' names, or the paths if two folders have the same name."""
    short = [folder.resolve().name for folder in folders]
    if len(set(short)) == len(short):
        return short
    paths = [str(folder) for folder in folders]
    if len(set(paths)) < len(paths):
        raise RunError(f"{next(path for path in paths if paths.count(path) > 1)}: given twice; name each run once")
    return paths


def _groups(names: Sequence[str], recipes: Sequence[Recipe], metrics: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The runs of each recipe and test set with different seeds, in the order of the first of them."""
    found: dict[str, dict[int, str]] = {}
    for name, recipe, numbers in zip(names, recipes, metrics, strict=True):
        data = recipe.model_dump(exclude={"name": True, "title": True, "expected": True, "training": {"seed", "device"}})
        key = f"{data} {numbers['data']}"
        seeds = found.setdefault(key, {})
        if recipe.training.seed in seeds:  # the same run twice is no second seed
            found[f"{key} {name}"] = {recipe.training.seed: name}
        else:
            seeds[recipe.training.seed] = name
    return [list(seeds.values()) for seeds in found.values()]


def _entries(
    groups: Sequence[Sequence[str]],
    runs: Mapping[str, tuple[Recipe, Mapping[str, Any]]],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Entry]:
    """The rows of the table: of a group, one of all its runs above those of each."""
    entries = []
    for number, group in enumerate(groups):
        if len(group) > 1:
            about = f"mean ± standard deviation over {count(len(group), 'seeds')}"
            entries.append(Entry(_group_name(group, runs), about, [runs[name][1] for name in group], number))
        for name in group:
            recipe, metrics = runs[name]
            seed = f"seed {recipe.training.seed}; " if len(group) > 1 else ""
            about = seed + _about(recipe, metrics, histories[name])
            entries.append(Entry(name, about, [metrics], number, is_member=len(group) > 1))
    return entries


def _group_name(group: Sequence[str], runs: Mapping[str, tuple[Recipe, Mapping[str, Any]]]) -> str:
    """The name of a group: that of its recipe, with the number of seeds."""
    return f"{runs[group[0]][0].name}, {count(len(group), 'seeds')}"


def _about(recipe: Recipe, metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """A line on the data, the model and the training of a run."""
    latents = f"{recipe.model.latent_dim} latents, " if recipe.model.latent_dim else ""
    model = f"{metrics['data']['name']}, {latents}{metrics['parameters']:,} parameters"
    seconds = f", {duration(history[-1]['seconds'])}" if history else ""
    return f"{model}, {metrics['epochs']} epochs{seconds}"


def _legend(groups: Sequence[Sequence[str]]) -> list[LegendEntry]:
    """The color of each group of runs."""
    return [LegendEntry(color(number), ", ".join(group)) for number, group in enumerate(groups)]


def _remarks(names: Sequence[str], metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on the protocol of each run; runs with the same protocol share one."""
    groups: dict[str, list[str]] = {}
    for name, numbers in zip(names, metrics, strict=True):
        groups.setdefault(describe_protocol(numbers), []).append(name)
    return [f"{', '.join(group)}: {protocol[0].lower()}{protocol[1:]}" for protocol, group in groups.items()]


def _reconstructions(runs: Mapping[str, RunFolder], channels: Channels | None) -> list[Section]:
    """The same test images through each model; runs on other images have a section for themselves."""
    groups: dict[tuple[Any, ...], dict[str, Gallery]] = {}
    for name, run in track(runs.items(), "reconstructing", len(runs)):
        gallery = run.gallery if channels is None else run.gallery.showing(channels)
        images = gallery.images
        groups.setdefault((images.name, images.fingerprint, images.binary, images.shape), {})[name] = gallery
    return [_group_section(group, whole=len(groups) == 1) for group in groups.values()]


def _group_section(galleries: Mapping[str, Gallery], *, whole: bool) -> Section:
    """The reconstructions of runs on the same images; ``whole`` if these are all runs."""
    first = next(iter(galleries.values()))
    images, channels = first.images, first.channels
    few = images.spread(min(MAX_IMAGES, columns_for(images.shape[-1])), SHOWN_SEED)
    strips = [
        embed_image(
            grid(few.pixels, len(few), channels=channels, look=STRIP), f"{len(few)} {few.split} images.", "originals"
        )
    ]
    for name, gallery in galleries.items():
        strip = grid(gallery.model.reconstruct(few.pixels, gallery.labels_of(few)), len(few), channels=channels, look=STRIP)
        strips.append(embed_image(strip, f"The same images reconstructed by {name}.", name))
    pixels = f", {images.binary}" if images.binary else ""
    shown = describe_channels(images.shape[0], channels)
    pixels += f", {shown}" if shown else ""
    text = f"{len(few)} random {images.split} images of {images.name}{pixels}, and their reconstructions by each model."
    title = "Reconstructions" if whole else f"Reconstructions by {', '.join(galleries)}"
    return Section(title, text, strips, "rows", wide=True)
