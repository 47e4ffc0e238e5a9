"""Images decoded on lines and planes of the latent space: traversals of single latents, and the latent manifold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vaekit.core.safe_text import MAX_NAME, printable
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.latents.encodings import Encodings
from vaekit.plots.grids import MARK
from vaekit.plots.style import count, typeset
from vaekit.presentation.model_view import SHOWN_SEED, ModelView
from vaekit.presentation.waypoints import ImageWaypoint, WaypointName, parse_waypoints

LOW, HIGH = 0.01, 0.99
"""The quantiles of the aggregate posterior between which a latent is traversed."""

MAX_CANDIDATES = 64
"""The maximum number of latents, those of the highest mean KL, whose visible change is computed."""

NUM_STARTS, NUM_COMPARED = 32, 8
"""The numbers of images among which that of a traversal is chosen, and of latents by which, those of the highest mean KL."""

NUM_VARIED = 200
"""The number of reconstructions whose variety is compared with that of a plane."""

PlaneKind = Literal["active", "principal"]


@dataclass(frozen=True)
class Traversal:
    """Images in which one latent at a time changes.

    Arguments:
        images: Images with shape (R, S, C, H, W), one latent in a row.
        latents: The R latents, by number.
        row_labels: The name, the mean KL and the range of each latent.
        title: A description of the images.
        own: The place of each latent's own value in its range, from 0 to 1; beyond the ends, that of the end.
    """

    images: Tensor
    latents: list[int]
    row_labels: list[str]
    title: str
    own: list[float]


@dataclass(frozen=True)
class Plane:
    """Images on a plane through the latent space, or on a line if there is one latent.

    Arguments:
        images: Images with shape (R, S, C, H, W); ``images[r, s]`` is decoded at ``vertical[r]`` and ``horizontal[s]``.
        horizontal: The coordinates along the first direction, with shape (S).
        vertical: The coordinates along the second direction, with shape (R).
        title: A description of the plane.
    """

    images: Tensor
    horizontal: Tensor
    vertical: Tensor
    title: str


@dataclass(frozen=True)
class Directions:
    """A latent plane: the point ``origin`` of shape (D), and one or two directions of shape (D) with their coordinates.

    Arguments:
        origin: The point at which both coordinates are 0.
        directions: Unit vectors, with shape (1 or 2, D).
        coordinates: The coordinates at which images are decoded, with shape (1 or 2, S).
        title: A description of the plane.
    """

    origin: Tensor
    directions: Tensor
    coordinates: Tensor
    title: str


def traverse(
    view: ModelView, num: int, weights: Tensor, start: WaypointName | None = None, layer: int | None = None
) -> Traversal:
    """Decodes one latent at a time at values of its range, from the latent that changes the image most down.

    The change is the root mean squared difference of the images at both ends of the range.

    Of a layer only its active latents are shown, unless none is.

    Arguments:
        view: The model, and the images whose aggregate posterior gives the range of each latent.
        num: R, the maximum number of latents.
        weights: Positions between the 1st (0) and the 99th percentile (1) of the aggregate posterior, with shape (S).
        start: The waypoint that gives the values of all other latents; by default that of :func:`start_of_most_change`.
        layer: The stochastic layer whose latents are changed, from 1 at the top; None for all layers.

    Raises:
        ModelError: If there is no such layer.
    """
    encodings, latent_dim = view.encodings, view.model.latent_dim
    waypoint = parse_waypoints(view, [start_of_most_change(view) if start is None else start])
    within = view.latents_of(layer)
    order = encodings.order if layer is None else _order_in_layer(encodings, within)
    candidates = order[: max(num, MAX_CANDIDATES)].tolist()
    ends = encodings.quantiles(LOW, HIGH)
    first, last = view.model.traverse(waypoint.z[0], candidates, ends[:, candidates].T, waypoint.labels).unbind(1)
    change = require_finite((last - first).square().flatten(1).mean(1), "the decoded images")
    latents = [candidates[place] for place in change.argsort(descending=True, stable=True)[:num].tolist()]
    low, high = ends[:, latents]
    own = ((waypoint.z[0, latents] - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).tolist()
    values = low.unsqueeze(1) + (high - low).unsqueeze(1) * weights
    images = require_finite(view.model.traverse(waypoint.z[0], latents, values, waypoint.labels), "the decoded images")
    row_labels = [
        f"{view.describe_latent(d)}\n{typeset(f'{a:+.1f} … {b:+.1f}')}" for d, a, b in zip(latents, low, high, strict=True)
    ]
    which = f"{len(latents)} of {len(within)} latents" if len(latents) < latent_dim else "each latent"
    which += "" if layer is None else f" of layer {layer}"
    which += " in turn" if not view.model.layer_names else " in turn, with the layers below following"
    others = printable(waypoint.captions[0], MAX_NAME)
    title = (
        f"{which}, the others as in {others}, whose own value is at the {MARK}; from the 1st to the 99th percentile "
        f"of the aggregate posterior of {view.describe_images()}; ordered by how much the image changes"
    )
    return Traversal(images, latents, row_labels, title, own)


def _order_in_layer(encodings: Encodings, latents: Sequence[int]) -> Tensor:
    """The active latents of a layer in descending order of their rate; all if none is active."""
    order = encodings.order[torch.isin(encodings.order, torch.tensor(latents))]
    active = order[encodings.active[order]]
    return active if len(active) else order


def start_of_most_change(view: ModelView) -> ImageWaypoint:
    """Returns the image whose traversal changes most, so that a blank one is not chosen while there are others.

    It is one of :data:`NUM_STARTS` random images. The change is that of :func:`traverse`, summed over at most
    :data:`NUM_COMPARED` latents.
    """
    positions = view.images.shown_positions(SHOWN_SEED)[:NUM_STARTS].tolist()
    latents = view.encodings.order[:NUM_COMPARED].tolist()
    ends = view.encodings.quantiles(LOW, HIGH)[:, latents].T
    changes = []
    for position in positions:
        waypoint = parse_waypoints(view, [ImageWaypoint(position)])
        first, last = view.model.traverse(waypoint.z[0], latents, ends, waypoint.labels).unbind(1)
        changes.append(float(require_finite((last - first).square().sum(), "the decoded images")))
    return ImageWaypoint(positions[changes.index(max(changes))])


def visible_change(view: ModelView, images: Tensor) -> float:
    """Returns how much of the variety of a set the images of a plane show.

    It is the standard deviation of a pixel over the images of the plane, divided by that over reconstructions of the set,
    both as the root of the mean square over pixels.

    Arguments:
        view: The model and the set.
        images: Images of shape (R, S, C, H, W).
    """
    few = view.images.spread(NUM_VARIED, SHOWN_SEED)
    reconstructions = view.model.reconstruct(few.pixels, view.labels_of(few))
    shown, whole = (part.double().flatten(0, -4).var(0, correction=0).mean().sqrt() for part in (images, reconstructions))
    return float(shown / whole) if whole else 0.0


def latent_plane(view: ModelView, steps: int, kind: PlaneKind = "active", label: str | None = None) -> Plane:
    """Decodes a grid of latents, evenly spaced in probability through the inverse Gaussian CDF.

    References:
        | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), figure 4, https://arxiv.org/abs/1312.6114

    Arguments:
        view: The model, and the images that the plane is chosen by.
        steps: S, the number of images along each direction.
        kind: If there are more than two latents, the two most ``active`` with all others at the prior's mean, or the two
            ``principal`` components of the posterior means around their mean.
        label: The class, if the model is class-conditional; the first by default.
    """
    latent_dim = view.model.latent_dim
    quantiles = (torch.arange(steps) + 0.5) / steps
    scores = torch.special.ndtri(quantiles)
    spacing = f"at quantiles {quantiles[0]:.3g} to {quantiles[-1]:.3g} of a Gaussian"
    choose = _principal_directions if latent_dim > 2 and kind == "principal" else _latent_directions
    plane = choose(view, scores, spacing)
    title = plane.title
    horizontal = plane.coordinates[0]
    vertical = plane.coordinates[1] if latent_dim > 1 else torch.zeros(1)
    z = (plane.origin + horizontal.unsqueeze(1) * plane.directions[0]).expand(len(vertical), steps, latent_dim)
    if latent_dim > 1:
        z = z + vertical.reshape(-1, 1, 1) * plane.directions[1]
    labels = view.labels([] if label is None else [label], 1)
    if view.model.condition is not None and labels is not None:
        title += f"; class {printable(view.model.condition.classes[int(labels[0])], MAX_NAME)}"
    images = view.model.decode_mean(z.flatten(0, 1), None if labels is None else labels.expand(len(vertical) * steps))
    require_finite(images, "the decoded images")
    return Plane(images.unflatten(0, (len(vertical), steps)), horizontal, vertical, title)


def _principal_directions(view: ModelView, scores: Tensor, spacing: str) -> Directions:
    """The plane of the first two principal components of the posterior means."""
    encodings = view.encodings
    directions, stddevs, shares = encodings.principal(2)
    title = (
        f"the first two principal components of the posterior means of {view.describe_images()}, {shares[0]:.0%} of their "
        f"variance across and {shares[1]:.0%} upwards, {spacing}"
    )
    return Directions(encodings.means.mean(0), directions, stddevs.unsqueeze(1) * scores, title)


def _latent_directions(view: ModelView, scores: Tensor, spacing: str) -> Directions:
    """The plane of all latents if there are at most two, else of the two most active ones."""
    encodings, dim = view.encodings, view.model.latent_dim
    chosen = list(range(dim)) if dim <= 2 else encodings.order[:2].tolist()
    directions = torch.eye(dim)[chosen]
    coordinates = encodings.prior_mean[chosen].unsqueeze(1) + encodings.prior_stddev[chosen].unsqueeze(1) * scores
    origin = encodings.prior_mean * (1 - directions.sum(0))
    axes = f"z{chosen[0]} across" + (f", z{chosen[1]} upwards" if dim > 1 else "") + f", {spacing}"
    if dim > 2:
        rest = f"the {count(dim - 2, 'others')} at the prior's mean"
        title = f"the two most active latents by mean KL over {view.describe_images()}, {axes}; {rest}"
    else:
        title = f"the whole latent {'plane' if dim > 1 else 'line'}, {axes}"
    return Directions(origin, directions, coordinates, title)
