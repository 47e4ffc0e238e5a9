"""The gallery by number: which latents its images are decoded at, where they stand, and what its charts plot.

Most tests look at a linear model, whose posterior means, widths and images are known in closed form.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw
from scipy.stats import norm
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

import vaekit
from tests.commands import near
from tests.oracles import Flatten, LinearDecoder, LinearNormal
from vaekit.core.errors import DataError, ModelError
from vaekit.core.units import to_gray_levels
from vaekit.data import ImageSet
from vaekit.distributions import Bernoulli, DiagonalGaussian, Encode, Prior, StandardNormal
from vaekit.evaluation.latents.encodings import Encodings, encode_images
from vaekit.evaluation.samples.pixel_errors import pixel_errors
from vaekit.models import VAE, ClassLabel
from vaekit.networks import MLPDecoder, MLPEncoder, Shape
from vaekit.plots import grid
from vaekit.plots.style import ACCENT
from vaekit.presentation.gallery import NEAREST, Gallery
from vaekit.runs.run_folder import RunFolder

CLASSES = ("sock", "boot", "shirt")
GRAY: Shape = (1, 6, 5)
Words = list[tuple[str, float, float]]


class AnyNormal(Prior):
    """A Gaussian prior of any mean and width."""

    def __init__(self, mean: Tensor, stddev: Tensor) -> None:
        super().__init__()
        self.mean, self.stddev = mean, stddev

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        return Independent(Normal(self.mean.expand(num, -1), self.stddev.expand(num, -1)), 1)


class TwoHills(Prior):
    """A mixture of two Gaussians, whose KL has no parts."""

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        means = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 2.0, 0.5]])
        hills = Independent(Normal(means.expand(num, -1, -1), torch.ones(num, 2, 3)), 1)
        return MixtureSameFamily(Categorical(torch.ones(num, 2)), hills)


def spreads(latent_dim: int) -> Tensor:
    """How far the posterior mean of each latent moves, about; not in order, and from the fourth on less and less."""
    return torch.tensor([0.7, 2.0, 1.2, *(0.5 / d for d in range(1, latent_dim))])[:latent_dim]


def logvars(latent_dim: int) -> Tensor:
    """The log-variance of each latent's posterior."""
    return torch.tensor([-1.0, -2.0, -1.5, *[-0.2] * latent_dim])[:latent_dim]


def linear_vae(latent_dim: int = 3, shape: Shape = GRAY, prior: Prior | None = None) -> VAE:
    """A VAE of linear maps: z is A x + a, and x is W z + 1/2."""
    size = shape[0] * shape[1] * shape[2]
    draw = torch.Generator().manual_seed(2)
    posterior = DiagonalGaussian(size, latent_dim)
    with torch.no_grad():
        scale = spreads(latent_dim).unsqueeze(1) * (12 / size) ** 0.5
        posterior.mu.weight.copy_(scale * torch.randn(latent_dim, size, generator=draw))
        posterior.mu.bias.copy_(0.3 - posterior.mu.weight.sum(1) / 2)
        posterior.logvar.weight.zero_()
        posterior.logvar.bias.copy_(logvars(latent_dim))
    weight = 0.12 * torch.randn(size, latent_dim, generator=draw) * (3 / max(3, latent_dim)) ** 0.5
    decoder = LinearDecoder(shape, weight, torch.full((size,), 0.5))
    return VAE(Flatten(shape), posterior, prior or StandardNormal(latent_dim), decoder, LinearNormal(0.1))


def noise(
    num: int = 90, shape: Shape = GRAY, labels: Tensor | None = None, classes: Sequence[str] = (), split: str = "test"
) -> ImageSet:
    """Images of noise."""
    draw = torch.Generator().manual_seed(3)
    store = torch.randint(0, 256, (num, *shape), dtype=torch.uint8, generator=draw)
    return ImageSet(store, labels, tuple(classes), "noise", split)


def garments(num: int = 90, shape: Shape = GRAY) -> ImageSet:
    """Images of noise in three classes."""
    return noise(num, shape, torch.arange(num) % 3, CLASSES)


def means_of(gallery: Gallery) -> Tensor:
    """The posterior means by hand."""
    posterior = gallery.model.posterior
    with torch.no_grad():
        return gallery.images.pixels.flatten(1) / 255 @ posterior.mu.weight.T + posterior.mu.bias


def by_rate(gallery: Gallery, mean: Tensor, stddev: Tensor) -> list[int]:
    """The latents from the highest KL down, under a Gaussian prior, by hand."""
    variance = logvars(len(mean)).exp()
    rates = (stddev / variance.sqrt()).log() + (variance + (means_of(gallery) - mean) ** 2) / (2 * stddev**2) - 0.5
    return rates.mean(0).argsort(descending=True).tolist()


def decoded(model: VAE, z: Tensor) -> Tensor:
    """The images of latents by hand, a matrix product for each."""
    with torch.no_grad():
        flat = torch.stack([model.decoder.weight @ point + model.decoder.bias for point in z.flatten(0, -2)])
    return flat.reshape(*z.shape[:-1], *model.shape)


def conditional(shape: Shape = GRAY) -> Gallery:
    """A conditional model of two latents."""
    encoder = MLPEncoder(shape, 3, hidden=[8])
    decoder = MLPDecoder(2, shape, 1, 3, hidden=[8], activation="tanh")
    with torch.no_grad():
        decoder.output.weight.mul_(5)
    parts = DiagonalGaussian(8, 2), StandardNormal(2, 3), decoder, Bernoulli(), ClassLabel(list(CLASSES))
    return Gallery(VAE(encoder, *parts), garments(shape=shape))


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Words:
    """The words that are drawn on images, with their places."""
    found: Words = []

    def recorded(draw: Callable[..., None]) -> Callable[..., None]:
        def record(pen: Any, place: tuple[float, float], text: str, *args: Any, **options: Any) -> None:
            found.append((text, *place))
            before = len(found)
            draw(pen, place, text, *args, **options)
            del found[before:]  # lines of the same words

        return record

    for name in ("text", "multiline_text"):
        monkeypatch.setattr(ImageDraw.ImageDraw, name, recorded(getattr(ImageDraw.ImageDraw, name)))
    return found


def placed(image: Image.Image, images: Tensor, columns: int) -> tuple[int, int, int, int]:
    """Asserts that a sheet holds a grid at its right edge and words around it, and returns the grid's box."""
    sheet, part = np.array(image), np.asarray(grid(images, columns))
    height, width = part.shape[:2]
    left = sheet.shape[1] - width
    [top] = [y for y in range(len(sheet) - height + 1) if np.array_equal(sheet[y : y + height, left:], part)]
    sheet[top : top + height, left:] = 255
    assert sheet.min() < 100 < 250 < np.median(sheet)
    return left, top, left + width, top + height


def said(figure: Figure) -> str:
    """All words of a figure."""
    found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    return "\n".join(filter(None, found))


# Encodings


def test_codes_are_the_posteriors_of_all_images_in_order() -> None:
    gallery = Gallery(linear_vae(), noise(1203))
    codes = encode_images(gallery.model, gallery.images)
    means, stddevs = means_of(gallery), logvars(3).mul(0.5).exp()
    torch.testing.assert_close(codes.means, means)
    torch.testing.assert_close(codes.stddevs, stddevs.expand(1203, 3))
    rates = 0.5 * (means**2 + stddevs**2 - 1 - 2 * stddevs.log()).double().mean(0)
    torch.testing.assert_close(codes.rates.double(), rates, rtol=1e-5, atol=0)
    assert codes.order.tolist() == rates.argsort(descending=True).tolist() == [1, 2, 0]
    np.testing.assert_allclose(codes.variances, np.var(means.double().numpy(), 0, ddof=1), rtol=1e-5)
    assert (codes.prior_mean.tolist(), codes.prior_stddev.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_active_latents_are_those_whose_mean_moves() -> None:
    means = torch.randn(4000, 4) * torch.tensor([0.09, 0.11, 0.0, 3.0]) + torch.tensor([9.0, -4.0, 5.0, 0.0])
    codes = Encodings(means, torch.ones(4000, 4), torch.ones(4), torch.zeros(4), torch.ones(4))
    assert codes.active.tolist() == [False, True, False, True]
    np.testing.assert_allclose(codes.variances, means.double().numpy().var(0, ddof=1))


def test_codes_of_a_single_image_have_no_spread() -> None:
    codes = encode_images(linear_vae(), noise(1))
    assert codes.variances.tolist() == [0, 0, 0]
    assert codes.active.tolist() == [False, False, False]
    directions, stddevs, shares = codes.principal(2)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2))
    assert (stddevs.tolist(), shares.tolist()) == ([0, 0], [0, 0])
    assert (codes.quantiles(0.01, 0.99)[0] == codes.quantiles(0.01, 0.99)[1]).all()


def test_quantiles_are_the_aggregate_posteriors() -> None:
    num, mean, spread, width = 50_000, torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]), torch.tensor([2.0, 0.1])
    means = mean + spread * torch.randn(num, 2, generator=torch.Generator().manual_seed(9))
    codes = Encodings(means, width.expand(num, 2), torch.ones(2), torch.zeros(2), torch.ones(2))
    stddev = (spread**2 + width**2).sqrt()
    for share, found in zip((0.01, 0.9), codes.quantiles(0.01, 0.9), strict=True):
        error = (share * (1 - share) / num) ** 0.5 / norm.pdf(norm.ppf(share))
        assert ((found - mean) / stddev - norm.ppf(share)).abs().max() < 4 * error
    assert torch.equal(codes.quantiles(0.01, 0.99), codes.quantiles(0.01, 0.99))


@pytest.mark.parametrize("dim", [2, 5, 64])
def test_principal_components_are_those_of_sklearn(dim: int) -> None:
    means = torch.randn(200, dim) @ torch.randn(dim, dim) + torch.randn(dim)
    codes = Encodings(means, torch.ones(200, dim), torch.ones(dim), torch.zeros(dim), torch.ones(dim))
    directions, stddevs, shares = (value.numpy() for value in codes.principal(2))
    pca = PCA(2).fit(means.double().numpy())
    for found, expected in zip(directions, pca.components_, strict=True):
        assert found[np.abs(found).argmax()] > 0
        sign = np.sign(expected[np.abs(expected).argmax()])
        np.testing.assert_allclose(found, sign * expected, atol=1e-4)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(stddevs, np.sqrt(pca.explained_variance_ * 199 / 200), rtol=1e-5)


def test_prior_whose_kl_has_no_parts_is_ordered_by_variance() -> None:
    gallery = Gallery(linear_vae(prior=TwoHills()), noise(2000))
    codes = gallery.encodings
    assert codes.rates.shape == (1,)
    means, stddevs = codes.means.double(), codes.stddevs.double()
    z = means + stddevs * torch.randn(40, *means.shape, dtype=torch.float64)
    hills = Independent(Normal(torch.tensor([[-1.0, 0.0, 0.5], [1.0, 2.0, 0.5]], dtype=torch.float64), 1.0), 1)
    log_pz = (hills.log_prob(z.unsqueeze(-2)) - np.log(2)).logsumexp(-1)
    log_qz = Independent(Normal(means, stddevs), 1).log_prob(z)
    assert float(codes.rates) == pytest.approx(float((log_qz - log_pz).mean()), abs=0.15)
    torch.testing.assert_close(codes.prior_mean, torch.tensor([0.0, 1.0, 0.5]))
    torch.testing.assert_close(codes.prior_stddev, torch.tensor([2.0, 2.0, 1.0]).sqrt())
    assert codes.order.tolist() == codes.variances.argsort(descending=True).tolist() == [1, 2, 0]
    assert [head.split("\n")[0] for head in gallery.traverse(9, torch.tensor([0.0, 1.0])).heads] == ["z1", "z2", "z0"]
    chart = gallery.rates()
    assert len(chart.axes[0].patches) == 0
    assert f"{float(codes.rates):.2f} nats in all" in said(chart)


# The manifold


@pytest.mark.parametrize("shape", [GRAY, (3, 4, 7)])
@pytest.mark.parametrize(("dim", "steps"), [(1, 7), (2, 6), (3, 5), (64, 4), (2, 1)])
def test_manifold_decodes_latents_evenly_spaced_in_probability(dim: int, steps: int, shape: Shape) -> None:
    mean, stddev = torch.linspace(-0.5, 0.8, dim), torch.linspace(0.5, 1.5, dim)
    gallery = Gallery(linear_vae(dim, shape, AnyNormal(mean, stddev)), noise(300, shape))
    found = gallery.plane(steps)
    scores = torch.from_numpy(norm.ppf((np.arange(steps) + 0.5) / steps)).float()
    first, *second = range(dim) if dim <= 2 else by_rate(gallery, mean, stddev)[:2]
    assert found.images.shape == (steps if second else 1, steps, *shape)
    for row in range(len(found.upward)):
        for column in range(steps):
            z = mean.clone()
            z[first] += stddev[first] * scores[column]
            for latent in second:
                z[latent] += stddev[latent] * scores[row]
            torch.testing.assert_close(found.images[row, column], decoded(gallery.model, z[None])[0])
            assert found.across[column] == pytest.approx(float(z[first]), abs=1e-5)
            assert found.upward[row] == pytest.approx(float(z[second[0]]) if second else 0, abs=1e-5)
    if steps > 1:
        step = (found.images[:, 1:] - found.images[:, :-1]).abs().amax((-3, -2, -1))
        assert step.min() > 0.01


def test_manifold_of_principal_components_lies_around_the_mean_of_means() -> None:
    gallery = Gallery(linear_vae(5), noise(400))
    means = means_of(gallery).double().numpy()
    pca = PCA(2).fit(means)
    signs = np.sign(pca.components_[np.arange(2), np.abs(pca.components_).argmax(1)])
    axes = (signs * np.sqrt(pca.explained_variance_ * 399 / 400))[:, None] * pca.components_
    scores = norm.ppf((np.arange(6) + 0.5) / 6)
    found = gallery.plane(6, "principal")
    for row, column in [(0, 0), (0, 5), (5, 0), (3, 4)]:
        z = torch.from_numpy(means.mean(0) + scores[column] * axes[0] + scores[row] * axes[1]).float()
        torch.testing.assert_close(found.images[row, column], decoded(gallery.model, z[None])[0], atol=1e-4, rtol=1e-4)
    shares = pca.explained_variance_ratio_
    assert f"{shares[0]:.0%} of their variance across and {shares[1]:.0%} upwards" in found.title
    assert "principal components of the posterior means of 400 test images of noise" in found.title
    assert (found.images - gallery.plane(6).images).abs().max() > 0.05


def test_title_of_a_manifold_says_which_plane_it_is() -> None:
    titles = {dim: Gallery(linear_vae(dim), noise(300)).plane(20).title for dim in (1, 2, 3, 64)}
    for dim, title in titles.items():
        assert "at quantiles 0.025 to 0.975 of a Gaussian" in title
        assert ("two most active" in title) == (dim > 2)
        assert ("z1 across, z2 upwards" if dim > 2 else "z0 across") in title
        assert ("upwards" in title) == (dim > 1)
    assert "z0 across, z1 upwards" in titles[2]
    assert "1 other at the prior's mean" in titles[3]
    assert "62 others at the prior's mean" in titles[64]


@pytest.mark.parametrize("shape", [GRAY, (3, 20, 9)])
@pytest.mark.parametrize(("dim", "steps"), [(1, 4), (2, 5), (3, 20)])
def test_manifold_stands_as_axes_are_drawn(dim: int, steps: int, shape: Shape, words: Words) -> None:
    gallery = Gallery(linear_vae(dim, shape), noise(300, shape))
    plane, image = gallery.plane(steps), gallery.manifold(steps)
    rows = to_gray_levels(plane.images).flip(0)
    left, top, right, bottom = placed(image, rows.flatten(0, 1), steps)
    assert image.mode == ("L" if shape[0] == 1 else "RGB")
    # The corner at the bottom left is where both coordinates are smallest.
    z = gallery.encodings.prior_mean.clone()
    z[gallery.encodings.order[:2] if dim > 2 else slice(None)] = float(norm.ppf(0.5 / steps))
    near(rows[-1, 0], to_gray_levels(decoded(gallery.model, z[None])[0]))
    # Numbers stand below the middle of their columns and left of the middle of their rows; not all where they are many.
    title = " ".join(word for word, _, y in words if y < top)
    assert title == plane.title
    feet, heads = ({} for _ in range(2))
    for word, x, y in words:
        if y >= bottom:
            feet[(x - left) / (right - left) * steps - 0.5] = word
        elif y > top:
            assert x < left
            heads[(y - top) / (bottom - top) * len(rows) - 0.5] = word
    for found, values in ((feet, plane.across), (heads, plane.upward.flip(0))):
        for place, word in found.items():
            assert place == pytest.approx(round(place), abs=0.1)
            assert word == f"{values[round(place)]:.2f}"
        assert min(found, default=0) < 0.1
    assert len(feet) == steps or steps == 20
    assert len(heads) == (0 if dim == 1 else steps)


def test_manifold_of_a_conditional_model_is_of_the_class_that_was_asked_for() -> None:
    gallery = conditional()
    for label, row in ((None, 0), ("boot", 1), ("2", 2)):
        found = gallery.plane(3, label=label).images
        with torch.no_grad():
            middle = gallery.model.decode(torch.zeros(1, 2), torch.tensor([row])).mean[0]
        torch.testing.assert_close(found[1, 1], middle)
    with pytest.raises(DataError, match="hat: no such class"):
        gallery.plane(3, label="hat")
    with pytest.raises(ModelError, match="not conditional"):
        Gallery(linear_vae(), noise()).plane(3, label="boot")


# Traversals


@pytest.mark.parametrize("dim", [1, 2, 3, 64])
def test_traversal_goes_through_the_range_of_each_latent(dim: int) -> None:
    gallery = Gallery(linear_vae(dim), noise(3000))
    found = gallery.traverse(4, torch.linspace(0, 1, 5), "@7")
    means, codes = means_of(gallery), gallery.encodings
    rates = codes.rates.numpy()
    assert found.latents == np.argsort(-rates, kind="stable")[:4].tolist()
    assert len(found.images) == min(4, dim)
    center, width = means.mean(0), (means.var(0) + codes.stddevs[0] ** 2).sqrt()
    for row, (latent, head) in enumerate(zip(found.latents, found.heads, strict=True)):
        low, high = codes.quantiles(0.01, 0.99)[:, latent].tolist()
        for end, share in ((low, 0.01), (high, 0.99)):
            assert end == pytest.approx(
                float(center[latent] + norm.ppf(share) * width[latent]), abs=0.3 * float(width[latent])
            )
        for column in range(5):
            z = means[7].clone()
            z[latent] = low + (high - low) * column / 4
            torch.testing.assert_close(found.images[row, column], decoded(gallery.model, z[None])[0], atol=1e-4, rtol=1e-4)
        assert head == f"z{latent} · {rates[latent]:.2f} nats\n{low:+.1f} … {high:+.1f}"
    assert ("4 of 64 latents in turn" if dim == 64 else "each latent in turn") in found.title
    for part in (
        "the others as in test image 7",
        "1st to the 99th percentile",
        "by mean KL over 3,000 test images of noise",
    ):
        assert part in found.title


@pytest.mark.parametrize("shape", [GRAY, (3, 4, 7)])
def test_traversals_stand_in_rows_with_their_heads(shape: Shape, words: Words) -> None:
    gallery = Gallery(linear_vae(5, shape), noise(200, shape))
    found, image = gallery.traverse(3, torch.linspace(0, 1, 6), "@0"), gallery.traversals(3, 6)
    left, top, _, bottom = placed(image, found.images.flatten(0, 1), 6)
    heads = [(word, x, (y - top) / (bottom - top) * 3 - 0.5) for word, x, y in words if y > top]
    assert [word for word, _, _ in heads] == found.heads
    for row, (_, x, place) in enumerate(heads):
        assert x < left
        assert place == pytest.approx(row, abs=0.1)
    assert " ".join(word for word, _, y in words if y < top) == found.title


def test_traversal_of_a_conditional_model_stays_in_its_class() -> None:
    gallery = conditional()
    stop, found = gallery.stops(["boot"]), gallery.traverse(2, torch.tensor([0.0, 1.0]), "boot")
    low = gallery.encodings.quantiles(0.01, 0.99)[0]
    z = stop.z[0].clone()
    z[found.latents[0]] = low[found.latents[0]]
    with torch.no_grad():
        expected = gallery.model.decode(z[None], torch.tensor([1])).mean[0]
    torch.testing.assert_close(found.images[0, 0], expected)
    assert stop.labels is not None
    assert (stop.labels.tolist(), stop.captions) == ([1], ["boot"])


# Stops


def test_stop_of_a_class_is_the_posterior_mean_nearest_its_center_and_another_each_time() -> None:
    gallery = Gallery(linear_vae(), garments())
    means = means_of(gallery)
    boots = torch.arange(1, 90, 3)
    distances = (means[boots] - means[boots].mean(0)).norm(dim=1)
    nearest = boots[distances.argsort()][:NEAREST]
    stops = gallery.stops(["boot"] * (NEAREST + 2) + ["1"])
    torch.testing.assert_close(stops.z[: NEAREST + 2], means[torch.cat([nearest, nearest[:2]])])
    torch.testing.assert_close(stops.z[-1], means[nearest[0]])
    assert len(torch.unique(stops.z, dim=0)) == NEAREST
    assert set(stops.captions) == {"boot"}
    assert stops.labels is None


def test_stops_are_classes_test_images_and_files(tmp_path: Path) -> None:
    gallery = Gallery(linear_vae(), garments())
    means = means_of(gallery)
    Image.fromarray(gallery.images.pixels[5, 0].numpy()).save(tmp_path / "five.png")
    Image.fromarray(gallery.images.pixels[6, 0].numpy()).save(tmp_path / "six.pgm")
    stops = gallery.stops(["@3", str(tmp_path / "five.png"), "@89", str(tmp_path / "six.pgm")])
    torch.testing.assert_close(stops.z, means[[3, 5, 89, 6]])
    assert stops.captions == ["test image 3", "five", "test image 89", "six"]


def test_files_take_the_labels_that_were_told_and_the_others_their_own(tmp_path: Path) -> None:
    gallery = conditional()
    for index in (5, 6):
        Image.fromarray(gallery.images.pixels[index, 0].numpy()).save(tmp_path / f"{index}.png")
    names = ["@4", str(tmp_path / "5.png"), "shirt", str(tmp_path / "6.png")]
    for told, labels in ((["boot"], [1, 1, 2, 1]), (["shirt", "sock"], [1, 2, 2, 0])):
        stops = gallery.stops(names, told)
        assert stops.labels is not None
        assert stops.labels.tolist() == labels
        with torch.no_grad():
            means = gallery.model.encode(gallery.images.pixels[4:7], torch.tensor(labels)[[0, 1, 3]]).mean
        torch.testing.assert_close(stops.z[[0, 1, 3]], means)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("hat", DataError, "hat: no such class"),
        ("shoe", DataError, "shoe: no such class"),
        ("@90", DataError, "@90: there are 90 test images, numbered from 0"),
        ("@-1", DataError, "@-1: a test image is named by its number"),
        ("@", DataError, "@: a test image is named by its number"),
        ("nowhere.png", DataError, "nowhere.png: no such image"),
    ],
)
def test_stop_that_is_none(name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Gallery(linear_vae(), garments()).stops(["@0", name])


def test_class_without_images_and_images_without_classes() -> None:
    images = noise(20, labels=torch.arange(20) % 2, classes=CLASSES)
    with pytest.raises(DataError, match="shirt: no test image is of this class"):
        Gallery(linear_vae(), images).stops(["shirt"])
    with pytest.raises(DataError, match=r"1: noise has no classes; name test images by number \(@0\) or by file"):
        Gallery(linear_vae(), noise()).stops(["1"])


@pytest.mark.parametrize("name", ["boot", "Boot", "1"])
def test_file_named_like_a_class_does_not_take_its_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a boot, but no image")
    gallery = Gallery(linear_vae(), garments())
    assert gallery.stops([name]).captions == ["boot"]
    assert float((gallery.stops([name]).z - means_of(gallery)[1::3]).abs().amax(1).min()) < 1e-5


def test_gallery_without_images_draws_samples_and_asks_for_images() -> None:
    gallery = Gallery(linear_vae(), None)
    model = gallery.model
    torch.manual_seed(4)
    expected = to_gray_levels(decoded(model, torch.randn(6, 3)))
    drawn = gallery.samples(6, seed=4, columns=3)
    assert drawn.size == grid(expected, 3).size
    assert np.abs(np.asarray(drawn, int) - np.asarray(grid(expected, 3), int)).max() <= 1
    for draw in (gallery.manifold, gallery.traversals, gallery.latent_map, gallery.rates, gallery.errors):
        with pytest.raises(DataError, match="images"):
            draw()


# Strips


def test_interpolation_strip_is_titled_and_goes_from_stop_to_stop(words: Words) -> None:
    gallery = Gallery(linear_vae(), garments())
    image = gallery.interpolation("sock", "@8", 5, "spherical")
    stops = gallery.stops(["sock", "@8"])
    a, b = stops.z.double()
    angle = torch.acos(a @ b / a.norm() / b.norm())
    weights = torch.linspace(0, 1, 5, dtype=torch.float64).unsqueeze(1)
    arc = (((1 - weights) * angle).sin() * a + (weights * angle).sin() * b) / angle.sin()
    expected = gallery.model.decode_mean(arc.float())
    placed(image, to_gray_levels(expected), 5)
    assert " ".join(word for word, _, _ in words) == "sock → test image 8, spherical in the latents"


# Latent maps


def cloud(figure: Figure) -> tuple[np.ndarray, list[Any]]:
    """All points of a map, and the collections they come in."""
    parts = [part for part in figure.axes[0].collections if type(part).__name__ == "PathCollection"]
    return np.concatenate([part.get_offsets() for part in parts]), parts


def test_map_of_two_latents_plots_the_posterior_means_by_class() -> None:
    gallery = Gallery(linear_vae(2), garments(60))
    figure, means = gallery.latent_map(), means_of(gallery)
    axes = figure.axes[0]
    _, parts = cloud(figure)
    assert [part.get_label() for part in parts] == list(CLASSES)
    for label, part in enumerate(parts):
        np.testing.assert_allclose(part.get_offsets(), means[label::3], atol=1e-5)
    assert not any(same_color(a.get_facecolor(), b.get_facecolor()) for a, b in pairwise(parts))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CLASSES)
    for label, name in enumerate(CLASSES):
        [note] = [text for text in axes.texts if text.get_text() == name]
        np.testing.assert_allclose(note.xy, np.median(means[label::3], axis=0), atol=1e-5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z0", "z1")
    assert figure.get_suptitle() == "posterior means\n60 test images of noise"


@pytest.mark.parametrize("dim", [3, 64])
def test_map_of_more_latents_plots_principal_components(dim: int) -> None:
    gallery = Gallery(linear_vae(dim), noise(200))
    figure = gallery.latent_map(num=50)
    points, [part] = cloud(figure)
    pca = PCA(2).fit(means_of(gallery).double().numpy())
    expected = pca.transform(means_of(gallery).double().numpy())[:50]
    signs = np.sign(pca.components_[np.arange(2), np.abs(pca.components_).argmax(1)])
    np.testing.assert_allclose(points, signs * expected, atol=1e-3)
    assert same_color(part.get_facecolor()[0, :3], ACCENT)
    assert not figure.legends
    assert not figure.axes[0].texts
    first, second = pca.explained_variance_ratio_
    assert figure.axes[0].get_xlabel() == f"principal component 1, {first:.0%} of the variance"
    assert figure.axes[0].get_ylabel() == f"principal component 2, {second:.0%} of the variance"
    assert figure.get_suptitle() == f"posterior means of {dim} latents, by PCA\n50 test images of noise"


def bars_of(patch: Any) -> tuple[np.ndarray, np.ndarray]:
    """The edges and counts of a histogram that is drawn as steps."""
    across, upward = patch.get_xy().T
    return across[::2], upward[1:-1:2]


@pytest.mark.parametrize("labeled", [True, False])
def test_map_of_one_latent_counts_every_image_once(labeled: bool) -> None:
    gallery = Gallery(linear_vae(1), garments(81) if labeled else noise(81))
    axes = gallery.latent_map().axes[0]
    means, bars = means_of(gallery)[:, 0].numpy(), [bars_of(patch) for patch in axes.patches]
    assert [counts.sum() for _, counts in bars] == ([27] * 3 if labeled else [81])
    for label, (edges, counts) in enumerate(bars):
        np.testing.assert_array_equal(counts, np.histogram(means[label::3] if labeled else means, edges)[0])
        assert (edges[0], edges[-1]) == (pytest.approx(means.min(), abs=1e-5), pytest.approx(means.max(), abs=1e-5))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z0", "images")


def covariances_of(figure: Figure) -> np.ndarray:
    """The covariances whose ellipses of one standard deviation a map shows."""
    found = []
    for part in figure.axes[0].collections:
        if type(part).__name__ == "EllipseCollection":
            for width, height, angle in zip(part.get_widths(), part.get_heights(), part.get_angles(), strict=True):
                turn = np.array([[np.cos(a := np.radians(angle)), -np.sin(a)], [np.sin(a), np.cos(a)]])
                found.append(turn @ np.diag([(width / 2) ** 2, (height / 2) ** 2]) @ turn.T)
    return np.array(found)


def test_widths_are_ellipses_of_one_standard_deviation() -> None:
    gallery = Gallery(linear_vae(2), garments(30))
    figure = gallery.latent_map(widths=True)
    stddevs = logvars(2).mul(0.5).exp().numpy()
    np.testing.assert_allclose(covariances_of(figure), np.broadcast_to(np.diag(stddevs**2), (30, 2, 2)), atol=1e-6)
    [ellipses, *_] = [part for part in figure.axes[0].collections if type(part).__name__ == "EllipseCollection"]
    sides = {round(float(side), 4) for side in (ellipses.get_widths()[0], ellipses.get_heights()[0])}
    assert sides == {round(2 * float(stddev), 4) for stddev in stddevs}
    np.testing.assert_allclose(ellipses.get_offsets(), means_of(gallery)[::3], atol=1e-5)
    assert "with one standard deviation" in figure.get_suptitle()
    # In points of the page an ellipse is as wide as its axes on the scale of the map.
    figure.draw_without_rendering()
    box = ellipses.get_paths()[0].get_extents(Affine2D(ellipses.get_transforms()[0]) + ellipses.get_transform())
    scale = figure.axes[0].transData.transform([[0, 0], [1, 1]])
    across, upward = scale[1] - scale[0]
    np.testing.assert_allclose([box.width / across, box.height / upward], 2 * stddevs, rtol=1e-3)


def test_widths_on_principal_components_are_projected() -> None:
    gallery = Gallery(linear_vae(5), noise(40))
    with torch.no_grad():
        gallery.model.posterior.mu.weight.copy_(torch.linalg.qr(torch.randn(5, 5)).Q @ gallery.model.posterior.mu.weight)
    directions = gallery.encodings.principal(2)[0].double().numpy()
    expected = directions @ np.diag(logvars(5).exp().numpy()) @ directions.T
    found = covariances_of(gallery.latent_map(widths=True))
    np.testing.assert_allclose(found, np.broadcast_to(expected, (40, 2, 2)), atol=1e-5)
    assert abs(expected[0, 1]) > 0.01


@pytest.mark.parametrize(("dim", "method"), [(1, "pca"), (3, "tsne"), (3, "umap")])
def test_widths_on_a_map_that_is_not_linear(dim: int, method: Any) -> None:
    with pytest.raises(ModelError, match="widths are drawn on a plane that is linear"):
        Gallery(linear_vae(dim), noise()).latent_map(method, widths=True)


def test_tsne_keeps_neighbors_together() -> None:
    images = noise(40)
    twins = ImageSet(torch.cat([images.pixels // 8 + 192, images.pixels // 8]), name="twins", split="test")
    figure = Gallery(linear_vae(6), twins).latent_map("tsne")
    points, _ = cloud(figure)
    a, b = points[:40], points[40:]
    between, within = np.linalg.norm(a.mean(0) - b.mean(0)), max(a.std(0).max(), b.std(0).max())
    assert between > 2 * within
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("t-SNE 1, no unit", "t-SNE 2, no unit")
    assert "by t-SNE\n80 test images of twins" in figure.get_suptitle()


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("num", [1, 2, 3])
def test_map_of_hardly_any_images_shows_them_all(method: Any, num: int) -> None:
    points, _ = cloud(Gallery(linear_vae(4), noise(num)).latent_map(method))
    assert len(points) == num
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == num


def test_umap_that_is_not_installed_and_one_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(linear_vae(3), noise(10))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ModelError, match=r"UMAP is not installed \(pip install umap-learn\)"):
        gallery.latent_map("umap")
    own = SimpleNamespace(UMAP=lambda random_state: SimpleNamespace(fit_transform=lambda means: means[:, 1:] + random_state))
    monkeypatch.setitem(sys.modules, "umap", own)
    figure = gallery.latent_map("umap")
    np.testing.assert_allclose(cloud(figure)[0], means_of(gallery)[:, 1:], atol=1e-5)
    assert figure.axes[0].get_xlabel() == "UMAP 1, no unit"


def test_more_than_ten_classes_differ_by_marker_too() -> None:
    gallery = Gallery(linear_vae(2), noise(240, labels=torch.arange(240) % 24))
    figure = gallery.latent_map()
    _, parts = cloud(figure)
    looks = {(tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes()) for part in parts}
    assert len(parts) == len(looks) == 24
    assert len({color for color, _ in looks}) == 10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(label) for label in range(24)]


@pytest.mark.parametrize("labels", [torch.arange(246) % 41, torch.arange(246)], ids=["41 classes", "index targets"])
def test_classes_that_are_not_told_apart_are_one_cloud(labels: Tensor) -> None:
    gallery = Gallery(linear_vae(2), noise(246, labels=labels))
    figure = gallery.latent_map()
    points, parts = cloud(figure)
    assert not figure.legends
    assert not figure.axes[0].texts
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(means_of(gallery), axis=0), atol=1e-5)
    assert len({(tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes()) for part in parts}) == 1
    one = Gallery(linear_vae(1), noise(246, labels=labels)).latent_map()
    [histogram] = one.axes[0].patches
    assert bars_of(histogram)[1].sum() == 246


# Charts


def test_rate_chart_plots_the_rates_from_the_highest_down() -> None:
    gallery = Gallery(linear_vae(12), noise(500))
    with torch.no_grad():
        gallery.model.posterior.mu.weight[3:6].mul_(0.001)
    chart, codes = gallery.rates(), gallery.encodings
    above, below = chart.axes
    order = codes.rates.argsort(descending=True)
    active = codes.active[order].tolist()
    assert 0 < sum(active) < 12
    np.testing.assert_allclose([bar.get_height() for bar in above.patches], codes.rates[order])
    *points, line = below.lines
    np.testing.assert_allclose([point.get_ydata()[0] for point in points], codes.variances[order].clamp(min=1e-8))
    assert set(line.get_ydata()) == {0.01}
    assert [point.get_marker() for point in points] == ["o" if is_active else "x" for is_active in active]
    assert [bar.get_hatch() or "" for bar in above.patches] == ["" if is_active else "//" for is_active in active]
    assert [text.get_text() for text in below.get_xticklabels()] == [str(latent) for latent in order.tolist()]
    assert below.get_ylim()[0] < 0.01 < below.get_ylim()[1]
    words = said(chart)
    for part in (
        f"{sum(active)} of 12 latents active; 500 images",
        "KL, nats",
        f"rate of each latent, {float(codes.rates.sum()):.2f} nats in all",
        "active above 0.01",
        "variance of the mean",
        "latent, from the highest KL down",
    ):
        assert part in words


@pytest.mark.parametrize("dim", [1, 2, 64, 65, 130])
def test_rate_chart_of_any_number_of_latents(dim: int) -> None:
    chart = Gallery(linear_vae(dim), noise(40)).rates()
    assert len(chart.axes[0].patches) == min(dim, 64)
    assert ("the first 64 shown" in said(chart)) == (dim > 64)
    ticks = [int(text.get_text()) for text in chart.axes[1].get_xticklabels()]
    assert len(ticks) == len(set(ticks)) <= 16
    assert f"of {dim} latent{'s' if dim > 1 else ''} active" in said(chart)


@pytest.mark.parametrize("shape", [GRAY, (3, 4, 7)])
def test_errors_are_the_root_mean_square_over_images_and_channels(shape: Shape) -> None:
    gallery = Gallery(linear_vae(shape=shape), noise(1100, shape))
    x = gallery.images.pixels.double() / 255
    error = 255 * (decoded(gallery.model, means_of(gallery)).double().clamp(0, 1) - x)
    expected = error.square().mean((0, 1)).sqrt()
    torch.testing.assert_close(pixel_errors(gallery.model, gallery.images), expected, rtol=1e-4, atol=0)
    chart = gallery.errors(4, most=1050)
    heat, _, *panels = chart.findobj(match=lambda artist: type(artist).__name__ == "Axes")
    expected = error[:1050].square().mean((0, 1)).sqrt()
    np.testing.assert_allclose(heat.images[0].get_array(), expected, rtol=1e-4)
    assert heat.images[0].get_clim() == (0, pytest.approx(float(expected.max()), rel=1e-4))
    assert "root mean squared error of each pixel, 1,050 images" in said(chart)
    assert (heat.get_xlabel(), heat.get_ylabel()) == ("pixel column", "pixel row")
    assert "gray levels of 255" in said(chart)
    assert "from 0 (dark) to 255 gray levels (bright)" in said(chart)
    assert len(panels) == 12
    originals, models, wrong = (panels[start : start + 4] for start in (0, 4, 8))
    below = to_gray_levels(gallery.model.reconstruct(gallery.images.pixels[:4]))
    for index in range(4):
        above = gallery.images.pixels[index]
        for cell, pixels in ((originals[index], above), (models[index], below[index])):
            np.testing.assert_array_equal(cell.images[0].get_array(), pixels.expand(3, -1, -1).permute(1, 2, 0))
        difference = (above.float() - below[index].float()).square().mean(0).sqrt()
        np.testing.assert_allclose(wrong[index].images[0].get_array(), difference, atol=1e-4)
        assert wrong[index].images[0].get_clim() == (0, 255)


def test_errors_of_a_conditional_model_are_told_the_classes() -> None:
    gallery = conditional()
    found = pixel_errors(gallery.model, gallery.images)
    assert gallery.images.labels is not None
    with torch.no_grad():
        means = gallery.model.encode(gallery.images.pixels, gallery.images.labels).mean
        drawn = gallery.model.decode(means, gallery.images.labels).mean
    expected = 255 * (drawn - gallery.images.pixels / 255).square().mean((0, 1)).sqrt()
    torch.testing.assert_close(found.float(), expected)
    assert len(gallery.errors(1).findobj(match=lambda artist: type(artist).__name__ == "Axes")) == 5


# A run


def test_gallery_of_a_run_is_of_its_model_and_test_images(trained: Path) -> None:
    gallery = RunFolder(trained).gallery
    digits = vaekit.load_images("digits", "test")
    assert torch.equal(gallery.images.pixels, digits.pixels)
    with gallery.model.inference():
        torch.testing.assert_close(gallery.encodings.means, vaekit.load(trained).encode(digits.pixels).mean)
    assert len(cloud(gallery.latent_map())[0]) == 359
