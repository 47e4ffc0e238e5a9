"""Pages about runs: one HTML file that needs nothing else, neither a network nor a script.

A page is data, put together here, and a template in ``pages/`` that lays it out. Images travel inside as data; charts are
SVG whose ink follows the reader's light or dark page.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from vaekit import __version__
from vaekit.core.errors import RunError
from vaekit.core.progress import track
from vaekit.plots import curve, grid, to_svg
from vaekit.plots.curves import QUANTITIES, SPLIT
from vaekit.plots.grids import columns_for
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.metric_text import HIGHER_IS_BETTER, MEANINGS, duration, unit_of, value_of
from vaekit.runs.run_folder import METRICS, RECIPE, SPLITS, RunFolder

WIDEST = 1_800
"""Wider images are scaled down for a page."""
PLANE_PIXELS = 2_000_000
"""How many pixels the manifold of a page decodes, about."""
TRAVERSED, TRAVERSE_STEPS = 8, 11
"""How many latents a page traverses, and in how many steps."""
COMPARED = 10
"""How many test images a comparison shows."""


@dataclass(frozen=True)
class Shown:
    """An image of a page.

    Arguments:
        source: The image as a ``data:`` address.
        size: Its width and height in pixels of the page.
        alt: What it shows, for those who do not see it.
        caption: What stands with it.
        kind: ``image`` stands on its own paper, ``chart`` on the page's.
    """

    source: str
    size: tuple[int, int]
    alt: str
    caption: str = ""
    kind: str = "image"


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Arguments:
        title: Its heading.
        text: What to see in it.
        shown: Its images.
        layout: ``single``, ``charts`` side by side where there is room, or ``rows`` of strips.
        moving: An animation that starts only when it is asked for.
    """

    title: str
    text: str
    shown: Sequence[Shown]
    layout: str = "single"
    moving: Shown | None = None

    @property
    def anchor(self) -> str:
        """Its name in addresses."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Cell:
    """A number of a table: its text, and whether none is better."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of a comparison."""

    name: str
    about: str
    cells: Mapping[str, Cell] = field(default_factory=dict)


def write_report(run: RunFolder, gallery: Gallery, path: Path) -> None:
    """Writes a page about a run.

    Arguments:
        run: The run.
        gallery: Its model, and the images to show.
        path: Where to write.
    """
    makers: list[Callable[[], Section]] = [
        lambda: _curves({run.folder.name: run.history}),
        lambda: _reconstructions(gallery),
        lambda: _samples(gallery),
        lambda: _traversals(gallery),
        lambda: _manifold(gallery),
        lambda: _latents(gallery),
        lambda: _errors(gallery),
    ]
    sections = [make() for make in track(makers, "writing the page")]
    page = _render(
        "report.html",
        title=run.folder.resolve().name,
        subtitle=run.recipe.title,
        facts=_facts(run, gallery),
        numbers=_numbers(run.metrics) if (run.folder / METRICS).exists() else [],
        meaning=_meaning(run.metrics) if (run.folder / METRICS).exists() else "",
        sections=sections,
        recipe=(run.folder / RECIPE).read_text(),
        environment=run.environment,
    )
    path.write_text(page)


def write_comparison(runs: Sequence[RunFolder], path: Path) -> None:
    """Writes a page about several runs.

    Raises:
        RunError: If there are fewer than two runs, or one has not come to its end.
    """
    if len(runs) < 2:
        raise RunError("a comparison takes two runs at least: vae compare runs/mnist-mlp runs/mnist-conv")
    names = _names([run.folder for run in runs])
    metrics = [run.metrics for run in runs]
    histories = {name: run.history for name, run in zip(names, runs, strict=True)}
    sections = [_curves(histories), *_same_images(dict(zip(names, runs, strict=True)))]
    page = _render(
        "comparison.html",
        title="Comparison of " + ", ".join(names),
        subtitle="",
        columns={key: MEANINGS[key] for key in MEANINGS if any(key in numbers for numbers in metrics)},
        rows=_rows(names, runs, metrics),
        remarks=_remarks(names, metrics),
        sections=sections,
    )
    path.write_text(page)


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("vaekit", "reports/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)


# What a page says.


def _facts(run: RunFolder, gallery: Gallery) -> list[tuple[str, str]]:
    """What was trained on what, and for how long."""
    environment, history, recipe = run.environment, run.history, run.recipe
    shape = "×".join(str(side) for side in gallery.model.shape)
    counts = environment.get("images", {})
    learned = ", ".join(f"{counts[key]:,} {word}" for key, word in (SPLITS | {"test": "test"}).items() if key in counts)
    facts = [
        ("images", f"{recipe.data.name}, {shape} pixels" + (f": {learned}" if learned else "")),
        ("model", f"{gallery.model.latent_dim} latents, {environment.get('parameters', 0):,} parameters"),
    ]
    if history:
        last = history[-1]
        best = max(history, key=lambda record: record["valid"]["elbo"])
        facts += [
            (
                "training",
                f"{last['epoch']} epochs, {last['step']:,} steps, {duration(last['seconds'])}; best epoch {best['epoch']}",
            ),
        ]
    device = f"{environment.get('device', '?')}, {environment.get('threads', '?')} threads"
    facts += [("machine", device), ("seed", str(recipe.training.seed))]
    if "started" in environment:
        facts += [("started", str(environment["started"]).replace("T", " ").replace("+00:00", " UTC"))]
    return facts


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Name, value with standard error, unit and meaning of each final number."""
    return [
        (name, _typeset(value_of(key, metrics[key])), unit_of(key, metrics[key]), meaning)
        for key, (name, meaning) in MEANINGS.items()
        if key in metrics
    ]


def _typeset(number: str) -> str:
    """A number with a true minus sign."""
    return number.replace("-", "−")


def _meaning(metrics: Mapping[str, Any]) -> str:
    data = metrics["data"]
    return (
        f"Of {data['num_images']:,} {data['split']} images of {data['name']}, {data['pixels']}: {metrics['meaning']}. "
        "± is the standard error over images."
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """What runs are called: by their folder, by its whole path where two are called the same."""
    short = [folder.resolve().name for folder in folders]
    if len(set(short)) == len(short):
        return short
    whole = [str(folder) for folder in folders]
    if len(set(whole)) < len(whole):
        raise RunError(f"{next(name for name in whole if whole.count(name) > 1)}: given twice; name each run once")
    return whole


def _rows(names: Sequence[str], runs: Sequence[RunFolder], metrics: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A line for each run; the best of each number is marked among those that can be compared."""
    rows = []
    for name, run, numbers in zip(names, runs, metrics, strict=True):
        cells = {}
        for key in MEANINGS:
            if key in numbers:
                rivals = [other for other in metrics if key in other and _protocol(key, other) == _protocol(key, numbers)]
                best = len(rivals) > 1 and key in HIGHER_IS_BETTER and _unbeaten(numbers[key], [o[key] for o in rivals])
                cells[key] = Cell(_typeset(value_of(key, numbers[key])), best)
        about = f"{numbers['data']['name']}, {run.recipe.model.latent_dim} latents, {numbers['parameters']:,} parameters, "
        rows.append(Row(name, f"{about}{numbers['epochs']} epochs, {duration(run.history[-1]['seconds'])}", cells))
    return rows


def _protocol(key: str, metrics: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two numbers must share to be compared: images, what the number means, and how it was sampled."""
    data = metrics["data"]
    common = (data["fingerprint"], data["split"], data["pixels"], data["num_images"], tuple(data["shape"]))
    if key in ("psnr", "ssim", "active_units"):
        return common
    return (*common, metrics["meaning"], metrics[key].get("num_samples"), metrics[key].get("num_images"))


def _unbeaten(number: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no rival is better by more than two standard errors of the difference."""
    return all(
        rival["value"] - number["value"]
        <= 2 * math.hypot(rival.get("standard_error", 0.0), number.get("standard_error", 0.0))
        for rival in rivals
    )


def _remarks(names: Sequence[str], metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the numbers of each run are of, runs alike together."""
    groups: dict[str, list[str]] = {}
    for name, numbers in zip(names, metrics, strict=True):
        groups.setdefault(_meaning(numbers).removesuffix(" ± is the standard error over images."), []).append(name)
    return [f"{', '.join(group)}: {meaning[0].lower()}{meaning[1:]}" for meaning, group in groups.items()]


# What a page shows.


def _curves(histories: Mapping[str, Sequence[dict[str, Any]]]) -> Section:
    several = len(histories) > 1
    ends = {name: history[-1] for name, history in histories.items() if history}
    shown = []
    for quantity, (title, unit) in QUANTITIES.items():
        measured = "valid" if quantity in SPLIT else "train"
        last = [
            f"{name + ': ' if several else ''}{value:.4g}"
            for name, record in ends.items()
            if (value := record.get(quantity, record[measured].get(quantity))) is not None
        ]
        alt = f"Line chart of {title} ({unit}) against epochs; at the end {', '.join(last) or 'nothing'}."
        shown.append(_chart(curve(histories, quantity), alt))
    text = (
        "Training and validation part where a model learns its images by heart. Distortion and rate pull apart."
        if not several
        else "Validation where it is measured, training otherwise."
    )
    return Section("Learning curves", text, shown, "charts")


def _reconstructions(gallery: Gallery) -> Section:
    columns = columns_for(gallery.model.shape[-1])
    num = min(4 * columns, len(gallery.images))
    image = gallery.reconstructions(num)
    alt = f"{num} {gallery.images.split} images, each above its reconstruction."
    text = f"Images of the {gallery.images.split} split, each above what its latents keep of it."
    return Section("Reconstructions", text, [_image(image, alt)])


def _samples(gallery: Gallery) -> Section:
    columns = columns_for(gallery.model.shape[-1])
    num = columns * min(columns, 6)
    text = "Images that do not exist: latents drawn from the prior, decoded."
    image = _image(gallery.samples(num, columns=columns), f"{num} images drawn from the prior.")
    return Section("Samples", text, [image], moving=_journey(gallery))


def _journey(gallery: Gallery) -> Shown:
    """A small film through the classes, or through a few images where there are no classes."""
    images = gallery.images
    if images.labels is None:
        stops = [f"@{index}" for index in range(min(6, len(images)))]
    else:
        stops = [images.class_names[label] for label in images.labels.unique().tolist()][:10]
    if len(stops) < 2:
        stops = ["@0", f"@{len(images) - 1}"]
    film = gallery.film(stops, moves=8, size=max(224, max(images.shape[1:])))
    file = io.BytesIO()
    film.write(file, ".webp")
    return Shown(
        _data("image/webp", file.getvalue()), film.frames[0].size, f"An animation through {', '.join(stops)} and back.", ""
    )


def _traversals(gallery: Gallery) -> Section:
    found = gallery.traverse(TRAVERSED, torch.linspace(0, 1, TRAVERSE_STEPS))
    heads = [head.replace("\n", ", from ").replace("…", "to") for head in found.heads]
    shown = [
        _image(grid(row, TRAVERSE_STEPS), f"One latent in {TRAVERSE_STEPS} steps: {head}.", head)
        for row, head in zip(found.images, heads, strict=True)
    ]
    return Section("Traversals", _sentence(found.title), shown, "rows")


def _manifold(gallery: Gallery) -> Section:
    steps = max(5, min(20, math.isqrt(PLANE_PIXELS // math.prod(gallery.model.shape))))
    plane = gallery.plane(steps)
    image = grid(plane.images.flip(0).flatten(0, 1), steps)
    rows = len(plane.upward)
    alt = f"{rows} rows of {steps} images decoded from a plane through the latents."
    return Section("Manifold", _sentence(plane.title), [_image(image, alt)])


def _latents(gallery: Gallery) -> Section:
    codes = gallery.encodings
    active = int(codes.active.sum())
    charts = [
        _chart(gallery.latent_map(), f"Scatter plot of where {len(codes.means):,} test images lie in the latent space."),
        _chart(gallery.rates(), f"Bar chart of the KL of each latent; {active} of {len(codes.active)} latents are active."),
    ]
    text = (
        "On the map each point is an image's posterior mean; images that the model takes for alike lie together. "
        "The bars say how many nats each latent carries; one below the line was left unused."
    )
    return Section("Latent space", text, charts, "charts")


def _errors(gallery: Gallery) -> Section:
    chart = _chart(gallery.errors(), "Heat map of the error of each pixel, and six images with their errors.")
    return Section("Errors", "Where in an image reconstructions are wrong.", [chart], "charts")


def _same_images(runs: Mapping[str, RunFolder]) -> list[Section]:
    """The same test images through each model; runs that saw other images stand in a section of their own."""
    groups: dict[tuple[Any, ...], list[tuple[str, Gallery]]] = {}
    for name, run in track(runs.items(), "reconstructing", len(runs)):
        gallery = run.gallery
        images = gallery.images
        groups.setdefault((images.name, images.fingerprint, images.binary, images.shape), []).append((name, gallery))
    sections = []
    for group in groups.values():
        images = group[0][1].images
        few = images.first(min(COMPARED, columns_for(images.shape[-1])))
        shown = [_image(grid(few.pixels, len(few)), f"{len(few)} {few.split} images.", "the images themselves")]
        for name, gallery in group:
            labels = few.labels if gallery.model.condition is not None else None
            strip = grid(gallery.model.reconstruct(few.pixels, labels), len(few))
            shown.append(_image(strip, f"The same images reconstructed by {name}.", name))
        pixels = f", {images.binary}" if images.binary else ""
        text = f"The first {len(few)} {images.split} images of {images.name}{pixels}, and what each model makes of them."
        title = "Reconstructions" if len(groups) == 1 else f"Reconstructions by {', '.join(name for name, _ in group)}"
        sections.append(Section(title, text, shown, "rows"))
    return sections


def _image(image: Image.Image, alt: str, caption: str = "") -> Shown:
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if image.mode == "L":
        image.save(file, "PNG", optimize=True)
        kind = "image/png"
    else:
        image.save(file, "WEBP", quality=90)
        kind = "image/webp"
    return Shown(_data(kind, file.getvalue()), image.size, alt, caption)


def _chart(figure: Figure, alt: str) -> Shown:
    width, height = (round(100 * side) for side in figure.get_size_inches())
    return Shown(_data("image/svg+xml", to_svg(figure).encode()), (width, height), alt, kind="chart")


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
