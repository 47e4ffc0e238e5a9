"""The page of one run: samples, three numbers and a verdict, then images and figures.

Settings, versions and the recipe are folded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from vaekit.core.progress import track
from vaekit.core.safe_text import listing
from vaekit.plots import grid
from vaekit.plots.channels import describe_channels
from vaekit.plots.curves import kept
from vaekit.plots.grids import columns_for, number_for
from vaekit.plots.planes import plane
from vaekit.plots.style import typeset
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.latent_planes import visible_change
from vaekit.presentation.metric_text import duration, unit_of, value_of
from vaekit.presentation.waypoints import ClassWaypoint, ImageWaypoint, Place
from vaekit.reports.page import Page, PageImage, Section, embed_animation, embed_figure, embed_image, render
from vaekit.reports.sections import describe_protocol, learning_curves_section, names_of
from vaekit.reports.verdict import headlines, verdict
from vaekit.runs.run_folder import METRICS, RECIPE, SPLITS, RunFolder

PLANE_PIXELS = 2_000_000
"""The approximate number of pixels of the manifold."""
MIN_CHANGE = 0.5
"""The part of the variety of reconstructions, see :func:`visible_change`, from which on a plane of many latents is shown: it
is 0.6 of models of digits with 20 latents, and 0.2 to 0.4 of models of photographs with 64."""
NUM_TRAVERSED, TRAVERSE_STEPS = 8, 11
"""The number of latents that are traversed, and of images of each."""
IMAGE_SIZE = 600
"""The least length of the shorter side of an image, in pixels, which is shown on a part of the page."""


def run_report(run: RunFolder, gallery: Gallery) -> Page:
    """Returns the page of a run.

    Arguments:
        run: The run.
        gallery: The model of the run, and the images to show.

    Raises:
        RunError: If the folder is no run folder.
    """
    gallery = gallery.looking(size=IMAGE_SIZE, caption="")  # the page says what a caption would
    sections: list[Callable[[], Section | None]] = [
        lambda: _samples(gallery),
        lambda: _reconstructions(gallery),
        lambda: _manifold(gallery),
        lambda: _latent_space(gallery),
        lambda: _layers(gallery),
        lambda: _traversals(gallery),
        lambda: _curves(run),
        lambda: _rates(gallery),
        lambda: _errors(gallery),
    ]
    samples, *made = [section for make in track(sections, "writing the report") if (section := make()) is not None]
    metrics = run.metrics if (run.folder / METRICS).exists() else {}
    active = gallery.encodings.active
    return render(
        "report.html",
        title=run.folder.resolve().name,
        subtitle=run.recipe.title,
        samples=samples,
        headlines=headlines(metrics, run.history),
        verdict=verdict(metrics, [] if run.recipe.prior_fit else run.history, int(active.sum()), len(active)),
        facts=_facts(run, gallery),
        metrics=_metric_rows(metrics),
        protocol=f"{describe_protocol(metrics)} ± is the standard error over images." if metrics else "",
        sections=filled(made),
        recipe=(run.folder / RECIPE).read_text(encoding="utf-8").splitlines(),
        environment=run.environment,
    )


def _curves(run: RunFolder) -> Section:
    """The learning curves, which are those of another run if the prior was fitted afterwards."""
    section = learning_curves_section({run.folder.name: run.history})
    if run.recipe.prior_fit is None:
        return section
    return replace(section, text=f"These are of the model with the prior that it was trained with. {section.text}")


def filled(sections: Sequence[Section]) -> list[Section]:
    """Returns sections, the last of an odd number between wide ones as wide as the page, so that no half of it is empty."""
    found, num_narrow = list(sections), 0
    for place, section in enumerate(sections):
        num_narrow = 0 if section.wide else num_narrow + 1
        is_last = place + 1 == len(sections) or sections[place + 1].wide
        if is_last and num_narrow % 2 and len(section.images) > 1:
            found[place] = replace(section, layout="figures", wide=True)
    return found


def _facts(run: RunFolder, gallery: Gallery) -> list[tuple[str, str]]:
    """The data, the model, the training and the machine, each with its name."""
    environment, history, recipe = run.environment, run.history, run.recipe
    shape = "×".join(str(side) for side in gallery.model.shape)
    counts = environment.get("images", {})
    splits = ", ".join(f"{counts[key]:,} {word}" for key, word in (SPLITS | {"test": "test"}).items() if key in counts)
    facts = [
        ("images", f"{recipe.data.name}, {shape} pixels" + (f": {splits}" if splits else "")),
        *_shown_channels(gallery),
        ("model", f"{gallery.model.latent_dim} latents, {environment.get('parameters', 0):,} parameters"),
    ]
    if history:
        last = history[-1]
        best = kept(history) or last
        length = f"{last['epoch']} epochs, {last['step']:,} steps, {duration(last['seconds'])}"
        facts += [("training", f"{length}; best epoch {best['epoch']}")]
    device = f"{environment.get('device', '?')}, {environment.get('threads', '?')} threads"
    facts += [("machine", device), ("seed", str(recipe.training.seed))]
    if "started" in environment:
        facts += [("started", str(environment["started"]).replace("T", " ").replace("+00:00", " UTC"))]
    return facts


def _shown_channels(gallery: Gallery) -> list[tuple[str, str]]:
    """The channels that images are shown with, unless all of gray or color images are."""
    shown = describe_channels(gallery.model.shape[0], gallery.channels)
    return [("shown", shown)] if shown else []


def _metric_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The name, the value with its standard error, the unit and the meaning of each final metric."""
    return [
        (name, typeset(value_of(key, metrics[key])), unit_of(key, metrics[key]), meaning)
        for key, (name, meaning) in names_of(metrics).items()
        if key in metrics
    ]


def _reconstructions(gallery: Gallery) -> Section:
    num = min(_number(gallery, 4), len(gallery.images))
    alt = f"{num} {gallery.images.split} images, each above its reconstruction."
    text = f"Images of the {gallery.images.split} split, each above its reconstruction."
    return Section("Reconstructions", text, [embed_image(gallery.reconstructions(num), alt)])


def _samples(gallery: Gallery) -> Section:
    columns = columns_for(gallery.model.shape[-1])
    num = _number(gallery, min(columns, 6))
    image = embed_image(gallery.samples(num, columns=columns), f"{num} samples from the prior.")
    text = f"{num} samples from the prior, decoded."
    return Section("Samples", text, [image], more=[_animation(gallery)], more_title="Animation")


def _number(gallery: Gallery, rows: int) -> int:
    """The number of images in a number of rows, or in fewer rows if each image is several tiles."""
    _, height, width = gallery.model.shape
    num = rows * columns_for(width)
    return num if gallery.num_tiles == 1 else min(num, number_for(height, width, gallery.num_tiles))


def _animation(gallery: Gallery) -> PageImage:
    """A small animation through up to ten classes, or through a few images if there are no labels."""
    images = gallery.images
    if images.labels is None:
        waypoints: list[Place] = [ImageWaypoint(index) for index in _spread(len(images), 6)]
    else:
        classes = images.labels.unique().tolist()
        waypoints = [ClassWaypoint(classes[index]) for index in _spread(len(classes), 10)]
    if len(waypoints) < 2:
        waypoints = [ImageWaypoint(0), ImageWaypoint(len(images) - 1)]
    animation = gallery.animation(waypoints, steps=8, size=max(224, max(images.shape[1:])))
    captions = listing(gallery.waypoints(waypoints).captions)
    return embed_animation(animation, f"An animation through {captions} and back.")


def _spread(num: int, num_chosen: int) -> list[int]:
    """Numbers from 0 to ``num - 1``, evenly spread, ``num_chosen`` of them or all."""
    chosen = min(num_chosen, num)
    return [index * (num - 1) // max(chosen - 1, 1) for index in range(chosen)]


def _layers(gallery: Gallery) -> Section | None:
    """Rows of samples that share some upper layers; of a ladder alone."""
    names = gallery.model.layer_names
    if not names:
        return None
    alt = f"{len(names)} rows of samples; in each row one upper layer more is fixed."
    text = "What each layer carries: samples that share so many upper layers, with the lower ones sampled anew."
    return Section("Layers", text, [embed_image(gallery.layer_samples(num=TRAVERSE_STEPS), alt)], wide=True)


def _traversals(gallery: Gallery) -> Section:
    traversal = gallery.traverse(NUM_TRAVERSED, torch.linspace(0, 1, TRAVERSE_STEPS))
    captions = [label.replace("\n", ", from ").replace("…", "to") for label in traversal.row_labels]
    images = [
        embed_image(
            grid(row, TRAVERSE_STEPS, marks=[own * (TRAVERSE_STEPS - 1)], channels=gallery.channels, look=gallery.look),
            f"One latent in {TRAVERSE_STEPS} steps: {caption}.",
            caption,
        )
        for row, caption, own in zip(traversal.images, captions, traversal.own, strict=True)
    ]
    return Section("Traversals", _sentence(traversal.title), images, "rows")


def _manifold(gallery: Gallery) -> Section | None:
    """The latent plane, unless it is one of many latents on which the images hardly change: below :data:`MIN_CHANGE`."""
    steps = max(5, min(20, math.isqrt(PLANE_PIXELS // math.prod(gallery.model.shape))))
    shown = gallery.plane(steps)
    if gallery.model.latent_dim > 2 and visible_change(gallery, shown.images) < MIN_CHANGE:
        return None
    image = plane(shown.images, channels=gallery.channels, look=gallery.look)
    alt = f"{len(shown.vertical)} rows of {steps} images decoded from a plane through the latent space."
    return Section("Manifold", _sentence(shown.title), [embed_image(image, alt)])


def _latent_space(gallery: Gallery) -> Section:
    num_images = len(gallery.encodings.means)
    figure = embed_figure(gallery.latent_map(), f"Scatter plot of the posterior means of {num_images:,} test images.")
    text = "Each point is the posterior mean of an image; similar images are close to each other."
    return Section("Latent space", text, [figure])


def _rates(gallery: Gallery) -> Section:
    active = gallery.encodings.active
    alt = f"Bar plot of the KL of each latent; {int(active.sum())} of {len(active)} latents are active."
    text = "The KL of each latent, in nats; a latent whose mean hardly varies over images carries no information."
    if names := gallery.model.layer_names:
        alt = f"Bar plot of the KL of each of {len(names)} layers."
        text = "The KL of each layer, in nats, from the top down, with the size of its maps."
    return Section("Rates", text, [embed_figure(gallery.rates(), alt)])


def _errors(gallery: Gallery) -> Section:
    figure = embed_figure(gallery.errors(), "Heat map of the error of each pixel, and six images with their errors.")
    return Section("Errors", "The error of reconstructions in each pixel.", [figure])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
