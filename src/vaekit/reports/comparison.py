"""The page of several runs: their final metrics in one table, their learning curves, and the same images through each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaekit.core.errors import RunError
from vaekit.core.progress import track
from vaekit.plots import grid
from vaekit.plots.channels import Channels, describe_channels
from vaekit.plots.grids import columns_for
from vaekit.presentation.gallery import SHOWN_SEED, Gallery
from vaekit.presentation.metric_text import HIGHER_IS_BETTER, MEANINGS, duration, value_of
from vaekit.reports.page import Page, Section, embed_image, render
from vaekit.reports.sections import describe_protocol, learning_curves_section, typeset
from vaekit.runs.recipe import Recipe
from vaekit.runs.run_folder import RunFolder

MAX_IMAGES = 10
"""The maximum number of images that are reconstructed by each model."""
WITHOUT_LIKELIHOOD = ("psnr", "ssim", "active_units")
"""The metrics that do not depend on the likelihood or on samples of z."""


@dataclass(frozen=True)
class Cell:
    """A number of the table.

    Arguments:
        text: The number with its standard error.
        best: Whether no comparable number is significantly better.
    """

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A run in the table.

    Arguments:
        name: The name of the run.
        about: A line about its data, model and training.
        cells: The numbers, by metric.
    """

    name: str
    about: str
    cells: Mapping[str, Cell] = field(default_factory=dict)


def comparison(runs: Sequence[RunFolder], channels: Channels | None = None) -> Page:
    """Returns the page of several runs.

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
    return render(
        "comparison.html",
        title="Comparison of " + ", ".join(names),
        subtitle="",
        columns={key: MEANINGS[key] for key in MEANINGS if any(key in numbers for numbers in metrics)},
        rows=[_row(*each, metrics) for each in zip(names, runs, recipes, metrics, strict=True)],
        remarks=_remarks(names, metrics),
        sections=[learning_curves_section(histories), *_reconstructions(named, channels)],
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


def _row(name: str, run: RunFolder, recipe: Recipe, metrics: Mapping[str, Any], of_runs: Sequence[Mapping[str, Any]]) -> Row:
    """The row of a run; each metric is marked if it is the best among the comparable ones of all runs."""
    cells = {
        key: Cell(typeset(value_of(key, metrics[key])), _is_best(key, metrics, of_runs))
        for key in MEANINGS
        if key in metrics
    }
    model = f"{metrics['data']['name']}, {recipe.model.latent_dim} latents, {metrics['parameters']:,} parameters"
    history = run.history
    seconds = f", {duration(history[-1]['seconds'])}" if history else ""
    return Row(name, f"{model}, {metrics['epochs']} epochs{seconds}", cells)


def _is_best(key: str, metrics: Mapping[str, Any], of_runs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no comparable run is better by more than two standard errors of the difference."""
    comparable = [other for other in of_runs if key in other and _protocol(key, other) == _protocol(key, metrics)]
    if len(comparable) < 2 or key not in HIGHER_IS_BETTER:
        return False
    number = metrics[key]
    return all(other[key]["value"] - number["value"] <= 2 * _joint_error(other[key], number) for other in comparable)


def _joint_error(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The standard error of the difference of two numbers."""
    return math.hypot(a.get("standard_error", 0.0), b.get("standard_error", 0.0))


def _protocol(key: str, metrics: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two numbers must have in common to be comparable: the images, the likelihood, and the number of samples."""
    data = metrics["data"]
    images = (data["fingerprint"], data["split"], data["pixels"], data["num_images"], tuple(data["shape"]))
    if key in WITHOUT_LIKELIHOOD:
        return images
    return (*images, metrics["meaning"], metrics[key].get("num_samples"), metrics[key].get("num_images"))


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
    strips = [embed_image(grid(few.pixels, len(few), channels=channels), f"{len(few)} {few.split} images.", "originals")]
    for name, gallery in galleries.items():
        strip = grid(gallery.model.reconstruct(few.pixels, gallery.labels_of(few)), len(few), channels=channels)
        strips.append(embed_image(strip, f"The same images reconstructed by {name}.", name))
    pixels = f", {images.binary}" if images.binary else ""
    shown = describe_channels(images.shape[0], channels)
    pixels += f", {shown}" if shown else ""
    text = f"{len(few)} random {images.split} images of {images.name}{pixels}, and their reconstructions by each model."
    title = "Reconstructions" if whole else f"Reconstructions by {', '.join(galleries)}"
    return Section(title, text, strips, "rows")
