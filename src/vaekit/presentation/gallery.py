"""The gallery: every plot and animation of a model, each a method.

    >>> gallery = vaekit.RunFolder("runs/mnist-conv").gallery
    >>> gallery.manifold().save("manifold.png")
    >>> gallery.animation(["1", "9"]).save("one-to-nine.gif")

Images are Pillow images, figures are matplotlib figures, animations are :class:`vaekit.plots.Animation`; each has a method
that saves it. Waypoints are named as described in :mod:`vaekit.presentation.waypoints`.
"""

import math
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from vaekit.core.arguments import Count, NumOrZero, Seed, checked
from vaekit.core.errors import ModelError
from vaekit.core.memory import FLOAT_BYTES, require_memory
from vaekit.core.rng import fixed_seed
from vaekit.core.safe_text import MAX_NAME, printable
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.latents.encodings import THRESHOLD
from vaekit.evaluation.latents.layer_rates import layer_rates
from vaekit.evaluation.samples.pixel_errors import pixel_errors
from vaekit.models.generation import Temperatures
from vaekit.models.inputs import require_values
from vaekit.plots import (
    Animation,
    error_plot,
    grid,
    latent_map,
    layer_rate_plot,
    manifold,
    rate_plot,
    reconstruction_pairs,
    side_by_side,
    traversals,
)
from vaekit.plots.channel_choice import Channels, check_channels
from vaekit.plots.grids import columns_of_classes, number_for
from vaekit.plots.look import changed_look
from vaekit.plots.style import count
from vaekit.presentation.animations import (
    DIGIT_HOLD,
    HOLD,
    SIZE,
    STEPS,
    SWING_STEPS,
    InterpolationPath,
    animate_pi,
    animate_traversals,
    animate_waypoints,
)
from vaekit.presentation.fixed_layers import samples_of_layers
from vaekit.presentation.latent_planes import Plane, PlaneKind, Traversal, latent_plane, traverse
from vaekit.presentation.model_view import SHOWN_SEED as SHOWN_SEED
from vaekit.presentation.model_view import ModelView
from vaekit.presentation.projection import Method, project
from vaekit.presentation.waypoints import WaypointName, Waypoints, parse_waypoints

MAP_IMAGES = {"pca": 10_000, "tsne": 2_000, "umap": 10_000}
"""The default maximum number of images on a latent map; t-SNE takes a minute for more."""
MAX_TITLE_NAME = 40
"""The number of characters to which the name of a data set is cut in the title of a map."""
MAX_WIDTHS = 300
"""The default maximum number of posteriors whose widths are plotted on a map; more would overlap."""


class Gallery(ModelView):
    """The plots and animations of a model and a set of images.

    Arguments:
        model: The model.
        images: The images, as the model saw them in training; usually the test split. Samples need none.
        fitting: How image files are fitted to the model's shape.
        channels: The channels that plots show, as in :class:`~vaekit.presentation.model_view.ModelView`.
        look: How images are drawn.
    """

    @checked(ModelError)
    def showing(self, channels: Channels | None) -> Self:
        """Returns the gallery with other channels shown, as ``showing(4)`` or ``showing((3, 2, 1))``.

        Raises:
            ConfigError: If the images do not have the channels.
        """
        check_channels(channels, self.model.shape[0])
        other = copy(self)  # with the posteriors that are known
        other.channels = channels
        return other

    def looking(self, **changes: Any) -> Self:
        """Returns the gallery with another look, as ``looking(pixelated=True)``: :func:`~vaekit.plots.look.changed_look`."""
        other = copy(self)
        other.look = changed_look(self.look, changes)
        return other

    @checked(ModelError)
    def samples(
        self,
        num: Count = 100,
        labels: Sequence[str] = (),
        temperature: Temperatures = 1.0,
        seed: Seed = 0,
        columns: Count | None = None,
    ) -> Image.Image:
        """Plots samples from the prior.

        Arguments:
            num: The number of images.
            labels: The classes, in turn, if the model is class-conditional; by default all.
            temperature: Scales the distance of latents from the prior's mean; one for each layer of a ladder, too.
            seed: The random seed.
            columns: The number of images in a row; by default that of a square. If the model is class-conditional, it is a
                multiple of the number of classes, if that is small, and each class stands above its column.

        Raises:
            ModelError: If the images do not fit into the memory.
        """
        require_memory(num * math.prod(self.model.shape) * FLOAT_BYTES, f"{num:,} images")
        with fixed_seed(seed):
            images = require_finite(self.model.sample(num, self.labels(labels, num), temperature), "the samples")
        columns, heads = columns_of_classes(num, self._classes(labels), images.shape[-1], columns)
        return grid(images, columns, heads=heads, **self._drawn)

    @checked(ModelError)
    def layer_samples(
        self, fixed: Count | None = None, num: Count = 8, label: str | None = None, seed: Seed = 0
    ) -> Image.Image:
        """Plots samples with upper layers fixed; see :func:`vaekit.presentation.fixed_layers.samples_of_layers`."""
        with fixed_seed(seed):
            images, row_labels, title = samples_of_layers(self, fixed, num, label)
        return grid(images, num, row_labels=row_labels, title=title, **self._drawn)

    def _classes(self, names: Sequence[str]) -> list[str]:
        """The named classes, or all if none is named; none if the model is not class-conditional."""
        condition = self.model.condition
        if condition is None:
            return []
        return [condition.classes[condition.index(name)] for name in names or condition.classes]

    @checked(ModelError)
    def reconstructions(
        self, num: Count | None = None, files: Sequence[str | Path] = (), labels: Sequence[str] = ()
    ) -> Image.Image:
        """Plots images of the set above their reconstructions, or image files beside theirs.

        Arguments:
            num: The number of images of the set, chosen at random, always the same; four rows of pairs by default, and two
                of large images.
            files: Image files to reconstruct instead.
            labels: The classes, if the model is class-conditional: one for all or one for each; by default those of the
                images.
        """
        if files:
            originals, known = self.read_files(files), None
        else:
            _, height, width = self.model.shape
            shown = self.images.spread(num or number_for(height, width, self.num_tiles), SHOWN_SEED)
            originals, known = shown.pixels, self.labels_of(shown)
        if labels or known is None:
            known = self.file_labels(labels, len(originals))
        reconstructions = require_finite(self.model.reconstruct(originals, known), "the reconstructions")
        if files:
            return side_by_side(originals, reconstructions, [Path(path).stem for path in files], **self._drawn)
        return reconstruction_pairs(originals, reconstructions, **self._drawn)

    @property
    def _drawn(self) -> dict[str, Any]:
        """The options of all functions that draw images."""
        return {"channels": self.channels, "look": self.look}

    @checked(ModelError)
    def traversals(
        self, num: Count = 8, steps: Count = 11, start: WaypointName | None = None, layer: Count | None = None
    ) -> Image.Image:
        """Plots traversals, one latent in a row; arguments as of :meth:`traverse`."""
        traversal = self.traverse(num, torch.linspace(0, 1, steps), start, layer)
        marks = [place * (steps - 1) for place in traversal.own]
        return traversals(traversal.images, traversal.row_labels, traversal.title, marks, **self._drawn)

    @checked(ModelError)
    def traverse(
        self, num: Count, weights: Tensor, start: WaypointName | None = None, layer: Count | None = None
    ) -> Traversal:
        """Decodes one latent at a time; see :func:`vaekit.presentation.latent_planes.traverse`."""
        require_values(weights, (None,), "weights")
        return traverse(self, num, weights, start, layer)

    @checked(ModelError)
    def manifold(self, steps: Count = 20, plane: PlaneKind = "active", label: str | None = None) -> Image.Image:
        """Plots the latent plane; arguments as of :meth:`plane`."""
        shown = self.plane(steps, plane, label)
        return manifold(shown.images, shown.horizontal, shown.vertical, shown.title, **self._drawn)

    @checked(ModelError)
    def plane(self, steps: Count, plane: PlaneKind = "active", label: str | None = None) -> Plane:
        """Decodes a grid of latents; see :func:`vaekit.presentation.latent_planes.latent_plane`."""
        return latent_plane(self, steps, plane, label)

    @checked(ModelError)
    def interpolation(
        self,
        a: WaypointName,
        b: WaypointName,
        steps: Count = 10,
        path: InterpolationPath = "linear",
        labels: Sequence[str] = (),
    ) -> Image.Image:
        """Plots an interpolation between two waypoints, with both ends.

        Arguments:
            a: The first waypoint.
            b: The last waypoint.
            steps: The number of images.
            path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.
            labels: The classes of image files, if the model is class-conditional: one for all, or one for each.
        """
        waypoints = self.waypoints([a, b], labels)
        ends = [printable(caption, MAX_NAME) for caption in waypoints.captions]
        images = self.model.decode_path(waypoints.z, torch.linspace(0, 1, steps), waypoints.labels, path)
        require_finite(images, "the decoded images")
        title = f"{ends[0]} → {ends[1]}, {path} in the latents"
        return grid(images, steps, title=title, **self._drawn)

    @checked(ModelError)
    def waypoints(self, names: Sequence[WaypointName], labels: Sequence[str] = ()) -> Waypoints:
        """Returns the waypoints of names; see :func:`vaekit.presentation.waypoints.parse_waypoints`."""
        return parse_waypoints(self, names, labels)

    @checked(ModelError)
    def latent_map(self, method: Method = "pca", num: Count | None = None, widths: bool = False) -> Figure:
        """Plots the posterior means on a plane, colored by class if there are labels, with the look's caption.

        Arguments:
            method: The projection of more than two latents: ``pca``, ``tsne``, or ``umap`` if it is installed.
            num: The number of images, chosen at random, always the same.
            widths: Whether to plot the posteriors as ellipses of one standard deviation.

        Raises:
            ModelError: If ``widths`` is set and the projection is not a linear map to a plane, or UMAP is not installed.
        """
        dim = self.model.latent_dim
        if widths and (dim == 1 or (dim > 2 and method != "pca")):
            raise ModelError("widths need a plane that is linear in the latents: use two latents, or --method pca")
        default = MAX_WIDTHS if widths else MAP_IMAGES[method if dim > 2 else "pca"]
        num = min(num or default, len(self.images))
        rows = self.images.shown_positions(SHOWN_SEED)[:num].sort().values
        projection = project(self.encodings, rows, method)
        labels = None if self.images.labels is None else self.images.labels[rows]
        kind = f"{projection.title}, with one standard deviation" if widths else projection.title
        which = f"{count(num, f'{self.images.split} images')} of {printable(self.images.name, MAX_TITLE_NAME)}"
        return latent_map(
            projection.points,
            labels,
            self.images.class_names,
            axis_names=projection.axis_names,
            title="\n".join(line for line in (kind, printable(self.look.caption), which) if line),
            covariances=projection.covariances if widths else None,
        )

    def rates(self) -> Figure:
        """Plots the KL of each latent, and which latents are active; of a ladder the KL of each layer."""
        if names := self.model.layer_names:
            return layer_rate_plot(layer_rates(self.model, self.images), names, self.model.layer_sizes, len(self.images))
        return rate_plot(self.encodings.rates, self.encodings.variances, THRESHOLD, len(self.encodings.means))

    @checked(ModelError)
    def errors(self, num: Count = 6, max_images: Count = 2_000) -> Figure:
        """Plots the error of each pixel over at most ``max_images`` random images, and the errors of ``num`` of them."""
        images, few = self.images.sample(max_images, SHOWN_SEED), self.images.spread(num, SHOWN_SEED)
        reconstructions = self.model.reconstruct(few.pixels, self.labels_of(few))
        errors = pixel_errors(self.model, images)
        return error_plot(errors, few.pixels, reconstructions, len(images), channels=self.channels)

    @checked(ModelError)
    def animation(
        self,
        waypoints: Sequence[WaypointName],
        *,
        steps: NumOrZero = STEPS,
        hold: NumOrZero = HOLD,
        size: Count = SIZE,
        path: InterpolationPath = "linear",
        labels: Sequence[str] = (),
    ) -> Animation:
        """Animates a closed path through waypoints; see :func:`vaekit.presentation.animations.animate_waypoints`."""
        return animate_waypoints(self, waypoints, steps=steps, hold=hold, size=size, path=path, labels=labels)

    @checked(ModelError)
    def pi_animation(
        self,
        digits: Count = 40,
        *,
        steps: NumOrZero = STEPS,
        hold: NumOrZero = DIGIT_HOLD,
        size: Count = SIZE,
        path: InterpolationPath = "linear",
    ) -> Animation:
        """Animates a path through the digits of pi; see :func:`vaekit.presentation.animations.animate_pi`."""
        return animate_pi(self, digits, steps=steps, hold=hold, size=size, path=path)

    @checked(ModelError)
    def traversal_animation(
        self, num: Count = 9, *, steps: Count = SWING_STEPS, size: Count = SIZE, start: WaypointName | None = None
    ) -> Animation:
        """Animates traversals; see :func:`vaekit.presentation.animations.animate_traversals`."""
        return animate_traversals(self, num, steps=steps, size=size, start=start)
