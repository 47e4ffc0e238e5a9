"""The gallery: everything that can be seen of a model, one method an image.

    >>> gallery = vaekit.Run("runs/mnist-conv").gallery
    >>> gallery.manifold().save("manifold.png")
    >>> gallery.film(["1", "9"]).save("one-to-nine.gif")

Stills of images are Pillow images, charts are matplotlib figures, moving images are films; each has a method to save it.

A **stop** of an interpolation or animation is named by a string: ``7`` or ``Sandal`` is a class, of which the posterior
means nearest their center are taken; ``@12`` is test image 12; anything that ends like a file of an image is one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import mpmath
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from vaekit.core.errors import DataError, ModelError, RunError, class_index
from vaekit.core.progress import track, working
from vaekit.core.rng import fixed_seed
from vaekit.data import Fitting, ImageSet, fit, open_image
from vaekit.evaluation.latents.encodings import THRESHOLD, Encodings, encode_images
from vaekit.evaluation.samples.pixel_errors import pixel_errors
from vaekit.models import VAE
from vaekit.plots import (
    Film,
    error_chart,
    grid,
    latent_map,
    manifold,
    rate_chart,
    reconstruction_pairs,
    side_by_side,
    traversals,
)
from vaekit.plots.animation import captioned, enlarge, mosaic, stop_film, swing, timeline
from vaekit.plots.grids import as_uint8, number_for
from vaekit.plots.style import count

NEAREST = 10
"""How many posterior means stand for a class: one after the other, so that a class that is met again looks different."""
LOW, HIGH = 0.01, 0.99
"""The quantiles of the aggregate posterior between which a latent is traversed."""
MAX_DIGITS = 10_000
"""How many digits of pi a film shows at most; it lasts for hours."""
MAP_IMAGES = {"pca": 10_000, "tsne": 2_000, "umap": 10_000}
"""How many images a latent map shows at most, where nobody says; t-SNE takes a minute for more."""
WIDTH_IMAGES = 300
"""How many posteriors' widths can be told apart on a map."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
MOVES, SWING = 8, 16
"""How many frames lie between two stops, and between the two ends of a traversal."""
FRAME, HOLD, DIGIT_HOLD, LAST = 70, 700, 350, 2_000
"""How long a frame, a stop, a digit of pi and the end of training are shown, in milliseconds."""
CHUNK = 64
"""How many frames are decoded between two steps of a bar."""

Method = Literal["pca", "tsne", "umap"]
Way = Literal["linear", "spherical"]


@dataclass(frozen=True)
class Waypoints:
    """Places that an interpolation or animation passes.

    Arguments:
        z: Their latents, with shape (T, D).
        labels: Their classes, with shape (T), where the model is conditional.
        captions: What they are called.
    """

    z: Tensor
    labels: Tensor | None
    captions: list[str]


@dataclass(frozen=True)
class Traversal:
    """One latent at a time, all others staying.

    Arguments:
        images: With shape (R, S, C, H, W), a row a latent.
        latents: R latents, by number.
        heads: The name, mean KL and range of each.
        title: What is shown.
    """

    images: Tensor
    latents: list[int]
    heads: list[str]
    title: str


@dataclass(frozen=True)
class Plane:
    """A plane through the latent space, or a line where there is one latent.

    Arguments:
        images: With shape (R, S, C, H, W); ``images[r, s]`` is decoded at ``upward[r]`` and ``across[s]``.
        across: Coordinates along the first direction, with shape (S).
        upward: Coordinates along the second, with shape (R).
        title: Which plane it is.
    """

    images: Tensor
    across: Tensor
    upward: Tensor
    title: str


class Gallery:
    """Everything that can be seen of a model and a set of images.

    Arguments:
        model: The model.
        images: The images, as the model saw them in training; usually the test split. Samples alone need none.
        fitting: How image files are brought to the model's size.
    """

    def __init__(self, model: VAE, images: ImageSet | None = None, fitting: Fitting | None = None) -> None:
        self.model = model
        self._images = images
        self.fitting = fitting or Fitting()

    @property
    def images(self) -> ImageSet:
        """The images.

        Raises:
            DataError: If the gallery was given none.
        """
        if self._images is None:
            raise DataError("this needs images: Gallery(model, images)")
        return self._images

    @cached_property
    def encodings(self) -> Encodings:
        """The posteriors of all images."""
        return encode_images(self.model, self.images)

    # Stills.

    def samples(
        self, num: int = 100, labels: Sequence[str] = (), temperature: float = 1.0, seed: int = 0, columns: int | None = None
    ) -> Image.Image:
        """Draws images from the prior; a conditional model's in turn of the classes named by ``labels``, or of all."""
        with fixed_seed(seed):
            images = self.model.sample(num, self.labels(labels, num), temperature)
        return grid(images, columns)

    def reconstructions(self, num: int | None = None, files: Sequence[Path] = (), labels: Sequence[str] = ()) -> Image.Image:
        """Lays images of the set out above their reconstructions, or image files beside theirs.

        Arguments:
            num: How many of the set, from the first on; four rows of pairs by default, and two of large images.
            files: Image files to show instead.
            labels: The classes to tell a conditional model, one for all or one for each; by default the images' own.
        """
        if files:
            shown, own = read_images(self.model, files, self.fitting), None
        else:
            found = self.images.first(num or number_for(*self.model.shape[1:]))
            shown, own = found.pixels, self._own_labels(found)
        if labels or own is None:
            told = torch.tensor(self._told(labels, len(shown)))
            own = None if self.model.condition is None else told
        reconstructions = self.model.reconstruct(shown, own)
        if files:
            return side_by_side(shown, reconstructions, [path.stem for path in files])
        return reconstruction_pairs(shown, reconstructions)

    def traversals(self, num: int = 16, steps: int = 11, start: str = "@0") -> Image.Image:
        """Draws one latent at a time, a row each, as :meth:`traverse` gives them."""
        found = self.traverse(num, torch.linspace(0, 1, steps), start)
        return traversals(found.images, found.heads, found.title)

    def traverse(self, num: int, weights: Tensor, start: str = "@0") -> Traversal:
        """Decodes one latent at a time, from the one of the highest mean KL down.

        Arguments:
            num: R, how many latents at most.
            weights: Where between the 1st (0) and the 99th percentile (1) of the aggregate posterior, with shape (S).
            start: The stop at whose latents all others stay.
        """
        stop = self.stops([start])
        latents = self.encodings.order[:num].tolist()
        low, high = self.encodings.quantiles(LOW, HIGH)[:, latents]
        values = low.unsqueeze(1) + (high - low).unsqueeze(1) * weights
        images = self.model.traverse(stop.z[0], latents, values, stop.labels)
        heads = [f"{self._rate_of(d)}\n{a:+.1f} … {b:+.1f}" for d, a, b in zip(latents, low, high, strict=True)]
        many = (
            f"{len(latents)} of {self.model.latent_dim} latents" if len(latents) < self.model.latent_dim else "each latent"
        )
        title = (
            f"{many} in turn, the others as in {stop.captions[0]}; from the 1st to the 99th percentile of the aggregate "
            f"posterior; ordered by mean KL over {self._count()}"
        )
        return Traversal(images, latents, heads, title)

    def manifold(
        self, steps: int = 20, plane: Literal["active", "principal"] = "active", label: str | None = None
    ) -> Image.Image:
        """Draws the latent plane, as :meth:`plane` gives it."""
        found = self.plane(steps, plane, label)
        return manifold(found.images, found.across, found.upward, found.title)

    def plane(self, steps: int, plane: Literal["active", "principal"] = "active", label: str | None = None) -> Plane:
        """Decodes a grid of latents, evenly spaced in probability through the inverse Gaussian CDF.

        References:
            | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), figure 4, https://arxiv.org/abs/1312.6114

        Arguments:
            steps: S, how many images along each direction.
            plane: With more than two latents, the two most ``active`` with all others at the prior's mean, or the two
                ``principal`` components of the posterior means around their mean.
            label: The class, if the model is conditional; the first by default.
        """
        codes, dim = self.encodings, self.model.latent_dim
        quantiles = (torch.arange(steps) + 0.5) / steps
        scores = torch.special.ndtri(quantiles)
        where = f"at quantiles {quantiles[0]:.3g} to {quantiles[-1]:.3g} of a Gaussian"
        if dim > 2 and plane == "principal":
            directions, stddevs, shares = codes.principal(2)
            origin, coordinates = codes.means.mean(0), stddevs.unsqueeze(1) * scores
            title = (
                f"the first two principal components of the posterior means of {self._count()}, {shares[0]:.0%} of their "
                f"variance across and {shares[1]:.0%} upwards, {where}"
            )
        else:
            chosen = sorted(range(dim)) if dim <= 2 else codes.order[:2].tolist()
            origin, directions = codes.prior_mean, torch.eye(dim)[chosen]
            coordinates = codes.prior_mean[chosen].unsqueeze(1) + codes.prior_stddev[chosen].unsqueeze(1) * scores
            origin = origin * (1 - directions.sum(0))
            title = f"z{chosen[0]} across" + (f", z{chosen[1]} upwards" if dim > 1 else "") + f", {where}"
            if dim > 2:
                rest = f"the {count(dim - 2, 'others')} at the prior's mean"
                title = f"the two most active latents by mean KL over {self._count()}, {title}; {rest}"
            else:
                title = f"the whole latent {'plane' if dim > 1 else 'line'}, {title}"
        across, upward = coordinates[0], coordinates[1] if dim > 1 else torch.zeros(1)
        z = (origin + across.unsqueeze(1) * directions[0]).expand(len(upward), steps, dim)
        if dim > 1:
            z = z + upward.reshape(-1, 1, 1) * directions[1]
        labels = self.labels([] if label is None else [label], 1)
        if self.model.condition is not None and labels is not None:
            title += f"; class {self.model.condition.classes[int(labels[0])]}"
        images = self.model.decode_mean(z.flatten(0, 1), None if labels is None else labels.expand(len(upward) * steps))
        return Plane(images.unflatten(0, (len(upward), steps)), across, upward, title)

    def interpolation(
        self, a: str, b: str, steps: int = 10, path: Way = "linear", labels: Sequence[str] = ()
    ) -> Image.Image:
        """Draws the way from one stop to another, both ends included."""
        stops = self.stops([a, b], labels)
        strip = self.model.decode_path(stops.z, torch.linspace(0, 1, steps), stops.labels, path)
        return grid(strip, steps, title=f"{stops.captions[0]} → {stops.captions[1]}, {path} in the latents")

    # Charts.

    def latent_map(self, method: Method = "pca", num: int | None = None, widths: bool = False) -> Figure:
        """Draws the posterior means on a plane, colored by class where there are classes.

        Arguments:
            method: How more than two latents are brought to a plane: ``pca``, ``tsne``, or ``umap`` where it is installed.
            num: How many images, from the first on.
            widths: Whether to draw the posteriors' widths, as ellipses of one standard deviation.

        Raises:
            ModelError: If widths are asked of a map that is not linear, or UMAP is not installed.
        """
        dim = self.model.latent_dim
        if widths and (dim == 1 or (dim > 2 and method != "pca")):
            raise ModelError("widths are drawn on a plane that is linear in the latents: two latents, or --method pca")
        most = min(num or (WIDTH_IMAGES if widths else MAP_IMAGES[method if dim > 2 else "pca"]), len(self.images))
        means = self.encodings.means[:most]
        covariances = None
        if dim <= 2:
            points, names, how = means, [f"z{d}" for d in range(dim)], "posterior means"
            directions = torch.eye(dim)
        elif method == "pca":
            directions, _, shares = self.encodings.principal(2)
            points = (means - self.encodings.means.mean(0)) @ directions.T
            names = [f"principal component {number + 1}, {share:.0%} of the variance" for number, share in enumerate(shares)]
            how = f"posterior means of {dim} latents, by PCA"
        else:
            points = torch.from_numpy(_embed(means.numpy(), method))
            names = [f"{METHODS[method]} {number}, no unit" for number in (1, 2)]
            how = f"posterior means of {dim} latents, by {METHODS[method]}"
        if widths:
            scaled = self.encodings.stddevs[:most].unsqueeze(1) * directions
            covariances = scaled @ scaled.transpose(1, 2)
            how += ", with one standard deviation"
        labels = None if self.images.labels is None else self.images.labels[:most]
        title = f"{how}\n{count(most, f'{self.images.split} images')} of {self.images.name}"
        return latent_map(points, labels, self.images.class_names, axis_names=names, title=title, covariances=covariances)

    def rates(self) -> Figure:
        """Draws the KL of each latent, and which of them are active."""
        return rate_chart(self.encodings.rates, self.encodings.variances, THRESHOLD, len(self.encodings.means))

    def errors(self, num: int = 6, most: int = 2_000) -> Figure:
        """Draws the error of each pixel over the first ``most`` images, and of the first ``num`` of them."""
        part, few = self.images.first(most), self.images.first(num)
        reconstructions = self.model.reconstruct(few.pixels, self._own_labels(few))
        return error_chart(pixel_errors(self.model, part), few.pixels, reconstructions, len(part))

    # Films.

    def film(
        self,
        through: Sequence[str],
        *,
        moves: int = MOVES,
        hold: int = HOLD,
        size: int = 280,
        path: Way = "linear",
        labels: Sequence[str] = (),
        captions: Sequence[str] = (),
    ) -> Film:
        """Moves from stop to stop and back to the first.

        Arguments:
            through: At least two stops.
            moves: How many frames lie between two stops.
            hold: How long a stop is held, in milliseconds.
            size: How many pixels the longer side of an image fills at least.
            path: ``linear``, or ``spherical`` for the arc that keeps the length of latents.
            labels: The classes of image files, if the model is conditional: one for all, or one for each.
            captions: What the stops are called instead.

        Raises:
            DataError: If there is only one stop, or a stop cannot be found.
        """
        if len(through) < 2:
            raise DataError(f"an animation goes through two stops at least, got {len(through)}: --through 1,9")
        stops = self.stops(through, labels)
        positions, durations = timeline(len(through), moves, hold, FRAME)
        parts = track(positions.split(CHUNK), f"decoding {len(positions):,} frames", -(-len(positions) // CHUNK))
        images = torch.cat([as_uint8(self.model.decode_path(stops.z, part, stops.labels, path)) for part in parts])
        return stop_film(images, positions, durations, list(captions) or stops.captions, size)

    def film_of_pi(
        self, digits: int = 40, *, moves: int = MOVES, hold: int = DIGIT_HOLD, size: int = 280, path: Way = "linear"
    ) -> Film:
        """Walks through the digits of pi; arguments as of :meth:`film`.

        Raises:
            DataError: If there are no ten classes, or a number of digits that nobody could watch.
        """
        if len(self.images.class_names) < 10:
            raise DataError(
                f"{self.images.name}: pi needs the ten classes 0 to 9, and it has {len(self.images.class_names)}"
            )
        numbers = digits_of_pi(digits)
        captions = [f"{numbers[0]}.", *numbers[1:]]
        return self.film(list(numbers), moves=moves, hold=hold, size=size, path=path, captions=captions)

    def film_of_traversals(self, num: int = 9, moves: int = SWING, size: int = 280, start: str = "@0") -> Film:
        """Moves latents through their ranges and back, one in each tile."""
        found = self.traverse(num, swing(moves), start)
        columns = round(len(found.latents) ** 0.5) or 1
        tiles = [enlarge(row, max(size // columns, 150)) for row in found.images]
        frames = [
            mosaic([captioned(tile, self._rate_of(d)) for tile, d in zip(shown, found.latents, strict=True)], columns)
            for shown in zip(*tiles, strict=True)
        ]
        return Film(frames, [FRAME] * len(frames))

    # Stops and labels.

    def stops(self, names: Sequence[str], labels: Sequence[str] = ()) -> Waypoints:
        """Finds the latents of stops.

        Arguments:
            names: What the stops are called; see the head of the module.
            labels: The classes of image files, if the model is conditional: one for all, or one for each.

        Raises:
            DataError: If there is no such class, test image or file.
        """
        files = [name for name in names if self._is_file(name)]
        images = read_images(self.model, [Path(name) for name in files], self.fitting)
        told = iter(zip(images, self._told(labels, len(files)), strict=True))
        found, visits = [], Counter[str]()
        for name in names:
            found.append(self._file(name, *next(told)) if self._is_file(name) else self._stop(name, visits[name]))
            visits[name] += 1
        z, classes, captions = zip(*found, strict=True)
        known = None if self.model.condition is None else torch.tensor(classes)
        return Waypoints(torch.stack(z), known, list(captions))

    def labels(self, names: Sequence[str], num: int) -> Tensor | None:
        """Returns labels for so many images, the classes named in turn or all in turn; None for a model without classes.

        Raises:
            ModelError: If classes are named and the model is not conditional.
            DataError: If there is no such class.
        """
        condition = self.model.condition
        if condition is None:
            if names:
                raise ModelError("the model is not conditional, so it takes no --label; train one with --conditional")
            return None
        chosen = torch.tensor([condition.index(name) for name in names or condition.classes])
        return chosen[torch.arange(num) % len(chosen)]

    def _told(self, names: Sequence[str], num: int) -> list[int]:
        """The classes of so many images of nobody's set; zeros for a model without classes.

        Raises:
            ModelError: If a conditional model is not told them, or another number of them.
        """
        if self.model.condition is not None and num and not names:
            known = ", ".join(self.model.condition.classes)
            raise ModelError(f"the model is conditional: say the class with --label (known: {known})")
        if len(names) > 1 and len(names) != num:
            raise ModelError(f"{len(names)} labels for {count(num, 'images')}; give one for all or one for each")
        labels = self.labels(names, num)
        return [0] * num if labels is None else labels.tolist()

    def _is_file(self, name: str) -> bool:
        """Whether a stop means an image file; a class comes before a file that is called the same."""
        if name.lower().endswith(IMAGE_SUFFIXES):
            return True
        if name.startswith("@") or not Path(name).is_file():
            return False
        try:
            class_index(name, self.images.class_names)
        except DataError:
            return True
        return False

    def _file(self, name: str, x: Tensor, label: int) -> tuple[Tensor, int, str]:
        """The latents, class and caption of an image file."""
        return self._encode(x.unsqueeze(0), label), label, Path(name).stem

    def _stop(self, name: str, visit: int) -> tuple[Tensor, int, str]:
        """The latents, class and caption of a stop that is visited for so many times."""
        if name.startswith("@"):
            index = self._index(name)
            if self.model.condition is not None and self.images.labels is None:
                raise ModelError(f"{name}: the model is conditional, and {self.images.name} has no labels to tell it")
            own = 0 if self.images.labels is None else int(self.images.labels[index])
            return self._encode(self.images.gather(torch.tensor([index])), own), own, f"{self.images.split} image {index}"
        if self.images.labels is None:
            raise DataError(
                f"{name}: {self.images.name} has no classes; name {self.images.split} images by number (@0) or by file"
            )
        index = class_index(name, self.images.class_names)
        nearest = self._nearest(index)
        return self.encodings.means[nearest[visit % len(nearest)]], index, self.images.class_names[index]

    def _nearest(self, label: int) -> Tensor:
        """The images of a class whose posterior means lie nearest their center."""
        assert self.images.labels is not None
        rows = self.images.labels.eq(label).nonzero().squeeze(1)
        if len(rows) == 0:
            raise DataError(f"{self.images.class_names[label]}: no {self.images.split} image is of this class")
        means = self.encodings.means[rows]
        return rows[(means - means.mean(0)).norm(dim=1).argsort(stable=True)[:NEAREST]]

    def _index(self, name: str) -> int:
        number = name.removeprefix("@")
        if not number.isdecimal():
            raise DataError(f"{name}: a test image is named by its number, e.g. @0")
        if int(number) >= len(self.images):
            raise DataError(f"{name}: there are {len(self.images):,} {self.images.split} images, numbered from 0")
        return int(number)

    def _encode(self, x: Tensor, label: int) -> Tensor:
        labels = None if self.model.condition is None else torch.tensor([label])
        with self.model.inference():
            mean: Tensor = self.model.encode(x.to(self.model.device), labels).mean[0].cpu()
        return mean

    def _own_labels(self, images: ImageSet) -> Tensor | None:
        return None if self.model.condition is None else images.labels

    def _rate_of(self, latent: int) -> str:
        """A latent's name and mean KL."""
        rates = self.encodings.rates
        return f"z{latent} · {rates[latent]:.2f} nats" if len(rates) == self.model.latent_dim else f"z{latent}"

    def _count(self) -> str:
        return f"{count(len(self.encodings.means), f'{self.images.split} images')} of {self.images.name}"


METHODS = {"tsne": "t-SNE", "umap": "UMAP"}


def _embed(
    means: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", method: Method
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Brings points of shape (N, D) to a plane, by a map that keeps neighbors together."""
    if len(means) == 1:
        return np.zeros((1, 2), np.float32)
    with working(f"{METHODS[method]} of {len(means):,} images"):
        if method == "umap":
            try:
                from umap import UMAP
            except ImportError:
                raise ModelError("UMAP is not installed (pip install umap-learn); --method tsne and pca are there") from None
            return np.asarray(UMAP(random_state=0).fit_transform(means), np.float32)
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max(1.0, (len(means) - 1) / 3))
        return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(means), np.float32)


def read_images(model: VAE, paths: Sequence[Path], fitting: Fitting) -> Tensor:
    """Reads image files as uint8 of shape (N, C, H, W), fitted to a model's shape.

    Raises:
        DataError: If a file is not there, or no image.
    """
    channels, height, width = model.shape
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such image")
    pixels = np.empty((len(paths), *model.shape), np.uint8)
    for row, path in enumerate(paths):
        pixels[row] = fit(open_image(path, str(path)), (height, width), channels, fitting)
    return torch.from_numpy(pixels)


def digits_of_pi(num: int) -> str:
    """Returns the first digits of pi, ``3141...``.

    Raises:
        DataError: If there would be no way from one to another, or no end of it.
    """
    if not 2 <= num <= MAX_DIGITS:
        raise DataError(f"{num} digits of pi: choose from 2 to {MAX_DIGITS:,}, a film of hours")
    with mpmath.workdps(num + 10):
        return str(mpmath.nstr(mpmath.pi, num + 5)).replace(".", "")[:num]


def film_of_training(folder: Path) -> Film:
    """Shows the same reconstructions and samples as a run learned.

    Raises:
        RunError: If the run kept no images of its epochs.
    """
    images = folder / "images" / "epochs"
    names = (path.stem.removeprefix("samples-") for path in images.glob("samples-*.png"))
    epochs = sorted((name for name in names if name.isdecimal()), key=int)
    if len(epochs) < 2:
        raise RunError(
            f"{images}: holds images of {count(len(epochs), 'epochs')}, and a film needs two; "
            "train with --set training.images_every=1"
        )
    frames = []
    for epoch in track(epochs, "reading images of epochs"):
        parts = [
            captioned(_read(images / f"reconstructions-{epoch}.png"), "validation images above their reconstructions"),
            captioned(_read(images / f"samples-{epoch}.png"), "samples, of the same latents throughout"),
        ]
        frames.append(captioned(mosaic(parts, columns=1), f"epoch {int(epoch)} of {int(epochs[-1])}"))
    return Film(frames, [*[max(80, min(400, 8_000 // len(frames)))] * (len(frames) - 1), LAST])


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.copy()
    except (OSError, SyntaxError) as error:
        raise RunError(f"{path}: cannot be read ({error}); train again, or take it and its like away") from None
