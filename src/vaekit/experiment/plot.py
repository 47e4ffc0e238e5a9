"""The plot commands as functions: each takes a run and the options of the command of its name, and returns what it plots.

    >>> from vaekit.experiment import plot
    >>> plot.manifold("runs/mnist-2d").save("manifold.png")
    >>> plot.map("runs/mnist-2d", widths=True).savefig("map.svg")
    >>> plot.animate("runs/mnist-conv", through=["1", "9"]).save("one-to-nine.gif")

A run is a :class:`~vaekit.RunFolder`, or the path of a run folder, a model folder or a model on the Hugging Face Hub.
``data`` names the images to use instead of the run's test images, and ``channels`` the channels to show, as 4 or (3, 2, 1),
instead of those that the recipe of the run names. ``look`` says how images are drawn; without a caption it has that of the
run. Images are Pillow images, figures are matplotlib figures, animations are :class:`vaekit.plots.Animation`, and reports
are :class:`vaekit.reports.page.Page`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure
from PIL import Image

from vaekit.core.errors import ConfigError
from vaekit.plots import Animation, Look
from vaekit.plots.channels import Channels
from vaekit.plots.grids import columns_for
from vaekit.plots.look import DEFAULT
from vaekit.presentation.animations import (
    DIGIT_HOLD,
    DIGIT_STEPS,
    HOLD,
    SIZE,
    STEPS,
    SWING_STEPS,
    InterpolationPath,
)
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.latent_planes import PlaneKind
from vaekit.presentation.projection import Method
from vaekit.presentation.training_film import animate_training
from vaekit.presentation.waypoints import split_names
from vaekit.runs.run_folder import RunFolder

Run = RunFolder | str | Path


def sample(
    run: Run,
    num: int = 100,
    labels: Sequence[str] = (),
    temperature: float | Sequence[float] = 1.0,
    seed: int = 0,
    channels: Channels | None = None,
    look: Look | None = None,
    fix_layers: int | Literal["each"] | None = None,
) -> Image.Image:
    """Plots samples from the prior; arguments as of :meth:`vaekit.Gallery.samples`.

    With ``fix_layers`` samples of a ladder whose upper layers are fixed: arguments as of
    :meth:`vaekit.Gallery.layer_samples`, whose ``num`` is that of a row and at most 10.
    """
    folder = open_run(run)
    most = columns_for(folder.model.shape[-1])
    columns = most if folder.model.condition is None and num > most**2 else None
    gallery = Gallery(folder.model, channels=channels or folder.shown_channels, look=_look(folder, look))
    if fix_layers is not None:
        fixed, label = None if fix_layers == "each" else fix_layers, next(iter(labels), None)
        return gallery.layer_samples(fixed, min(num, 10), label, seed)
    return gallery.samples(num, labels, temperature, seed, columns)


def reconstruct(
    run: Run,
    files: Sequence[Path] = (),
    num: int | None = None,
    labels: Sequence[str] = (),
    data: str | None = None,
    channels: Channels | None = None,
    look: Look | None = None,
) -> Image.Image:
    """Plots test images above their reconstructions, or image files beside theirs; see :meth:`Gallery.reconstructions`."""
    if files:
        folder = open_run(run)
        gallery = Gallery(folder.model, None, folder.fitting, channels or folder.shown_channels, _look(folder, look))
        return gallery.reconstructions(files=files, labels=labels)
    return gallery_of(run, data, channels, look).reconstructions(num, labels=labels)


def traverse(
    run: Run,
    num: int = 8,
    steps: int = 11,
    start: str | None = None,
    data: str | None = None,
    channels: Channels | None = None,
    look: Look | None = None,
    layer: int | None = None,
) -> Image.Image:
    """Plots one latent at a time over its range; arguments as of :meth:`vaekit.Gallery.traversals`."""
    return gallery_of(run, data, channels, look).traversals(num, steps, start, layer)


def manifold(
    run: Run,
    steps: int = 20,
    plane: PlaneKind = "active",
    label: str | None = None,
    data: str | None = None,
    channels: Channels | None = None,
    look: Look | None = None,
) -> Image.Image:
    """Plots images decoded on the latent plane; arguments as of :meth:`vaekit.Gallery.manifold`."""
    return gallery_of(run, data, channels, look).manifold(steps, plane, label)


def interpolate(
    run: Run,
    a: str,
    b: str,
    steps: int = 10,
    path: InterpolationPath = "linear",
    labels: Sequence[str] = (),
    data: str | None = None,
    channels: Channels | None = None,
    look: Look | None = None,
) -> Image.Image:
    """Plots an interpolation between two waypoints; arguments as of :meth:`vaekit.Gallery.interpolation`."""
    return gallery_of(run, data, channels, look).interpolation(a, b, steps, path, labels)


def map(run: Run, method: Method = "pca", num: int | None = None, widths: bool = False, data: str | None = None) -> Figure:
    """Plots the posterior means, colored by class; arguments as of :meth:`vaekit.Gallery.latent_map`."""
    return gallery_of(run, data).latent_map(method, num, widths)


def rates(run: Run, data: str | None = None) -> Figure:
    """Plots the KL of each latent, and which latents are active."""
    return gallery_of(run, data).rates()


def errors(run: Run, num: int = 6, data: str | None = None, channels: Channels | None = None) -> Figure:
    """Plots the error of reconstructions in each pixel, and the errors of the first ``num`` images."""
    return gallery_of(run, data, channels).errors(num)


def curves(run: Run) -> Figure:
    """Plots the learning curves of a run.

    Raises:
        RunError: If no epoch is finished.
    """
    return open_run(run).curves()


def animate(
    run: Run,
    through: str | Sequence[str] | None = None,
    *,
    training: bool = False,
    traverse: bool = False,
    digits: int = 40,
    steps: int | None = None,
    hold: int | None = None,
    size: int = SIZE,
    num: int = 9,
    path: InterpolationPath = "linear",
    start: str | None = None,
    labels: Sequence[str] = (),
    data: str | None = None,
    channels: Channels | None = None,
    look: Look | None = None,
) -> Animation:
    """Animates waypoints, the digits of pi, traversals, or the training of a run; exactly one of these is chosen.

    Arguments:
        run: The run.
        through: The waypoints (see :mod:`vaekit.presentation.waypoints`), in a list or separated by commas; or ``pi``.
        training: Whether to show the images of the training, from before its first step.
        traverse: Whether to animate traversals.
        digits: The number of digits of pi.
        steps: The number of frames between two waypoints (30 by default), digits of pi (15), or ends of
            a traversal (45).
        hold: The duration of a waypoint in milliseconds; 700 by default, and 300 for pi.
        size: The least size of an image, in pixels.
        num: The maximum number of latents that are traversed.
        path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.
        start: The waypoint that gives the values of the other latents of a traversal; by default, of 32 test images,
            that which changes most.
        labels: The classes of the image files in ``through``, if the model is class-conditional.
        data: The images to use instead of the run's test images.
        channels: The channels to show; those of the training are the recipe's.
        look: How images are drawn; by default as the run's are.

    Raises:
        ConfigError: If none or several are chosen, labels are given without image files, or channels with the training.
    """
    if sum((through is not None, training, traverse)) != 1:
        raise ConfigError("choose what to animate: one of --through 1,9, --through pi, --training, --traverse")
    if labels and (through is None or through == "pi"):
        raise ConfigError("--label is the class of the image files in --through")
    if training and channels is not None:
        raise ConfigError("--training shows images of the run as they are; its recipe says with which data.shown_channels")
    if training:
        folder = open_run(run)
        return animate_training(folder.folder, replace(look or DEFAULT, caption=folder.look_at(None).caption), size)
    gallery = gallery_of(run, data, channels, look)
    if through is None:
        return gallery.traversal_animation(num, steps=steps or SWING_STEPS, size=size, start=start)
    if through == "pi":
        return gallery.pi_animation(digits, steps=steps or DIGIT_STEPS, hold=hold or DIGIT_HOLD, size=size, path=path)
    names = split_names(gallery, through) if isinstance(through, str) else through
    return gallery.animation(names, steps=steps or STEPS, hold=hold or HOLD, size=size, path=path, labels=labels)


def open_run(run: Run) -> RunFolder:
    """Returns a run."""
    return run if isinstance(run, RunFolder) else RunFolder(run)


def gallery_of(run: Run, data: str | None, channels: Channels | None = None, look: Look | None = None) -> Gallery:
    """Returns the gallery of a run's model and its test images, or other images."""
    folder = open_run(run)
    if data is None:
        gallery = folder.gallery
    else:
        gallery = Gallery(folder.model, folder.images(data), folder.fitting, folder.shown_channels, folder.look)
    gallery = gallery if channels is None else gallery.showing(channels)
    return gallery if look is None else gallery.looking(**vars(_look(folder, look)))


def _look(folder: RunFolder, look: Look | None) -> Look:
    """A look with the caption of the run, if it has none."""
    return folder.look if look is None else replace(look, caption=look.caption or folder.look.caption)
