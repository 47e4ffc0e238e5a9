"""The gallery: the latents that its images decode, the layout of its images, and the values that its figures plot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageDraw
from scipy.stats import norm
from sklearn.decomposition import PCA

import vaekit
from tests.commands import near
from tests.linear_gallery import (
    GRAY,
    AnyNormal,
    by_rate,
    cloud,
    conditional,
    decoded,
    garments,
    linear_vae,
    means_of,
    noise,
    placed,
    text_of,
)
from tests.sheets import lines_on
from vaekit.core.errors import DataError, ModelError
from vaekit.core.rng import generator
from vaekit.core.units import to_gray_levels
from vaekit.evaluation.samples.pixel_errors import pixel_errors
from vaekit.networks import Shape
from vaekit.plots import Look, grid
from vaekit.plots.grid_text import text_size
from vaekit.plots.tile_lines import geometry
from vaekit.presentation.gallery import Gallery
from vaekit.presentation.latent_planes import visible_change
from vaekit.runs.run_folder import RunFolder

Words = list[tuple[str, float, float]]


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
    for row in range(len(found.vertical)):
        for column in range(steps):
            z = mean.clone()
            z[first] += stddev[first] * scores[column]
            for latent in second:
                z[latent] += stddev[latent] * scores[row]
            torch.testing.assert_close(found.images[row, column], decoded(gallery.model, z[None])[0])
            assert found.horizontal[column] == pytest.approx(float(z[first]), abs=1e-5)
            assert found.vertical[row] == pytest.approx(float(z[second[0]]) if second else 0, abs=1e-5)
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
    where = geometry(len(rows), steps, shape[1:], look=Look(size=1400))  # with gaps, since the images fill their frame
    height, width = where.height, where.width
    right, top = image.width - text_size(width), text_size(width)
    left, bottom = right - width, top + height
    assert image.mode == ("L" if shape[0] == 1 else "RGB")
    assert torch.equal(lines_on(image, len(rows), steps, shape, look=Look(size=1400)), rows)
    # The corner at the bottom left is where both coordinates are smallest.
    z = gallery.encodings.prior_mean.clone()
    z[gallery.encodings.order[:2] if dim > 2 else slice(None)] = float(norm.ppf(0.5 / steps))
    near(rows[-1, 0], to_gray_levels(decoded(gallery.model, z[None])[0]))
    # Numbers stand where their value lies between the columns and rows.
    title = [word for word, _, y in words if y > bottom + 1.2 * text_size(width)]
    assert " ".join(title) == plane.title
    across = width - where.gap
    feet = [(word, (x - left) / across * steps - 0.5) for word, x, y in words if bottom < y < bottom + text_size(width)]
    inner, foot = height - where.gap, bottom - where.gap
    heads = [(word, (foot - y) / inner * len(rows) - 0.5) for word, x, y in words if x < left and top < y < bottom]
    for numbers, values in ((feet, plane.horizontal), (heads, plane.vertical)):
        assert len(numbers) >= 3 or (dim == 1 and numbers is heads)
        for word, place in numbers:
            if 0 <= place <= len(values) - 1:
                expected = np.interp(place, range(len(values)), values)
                assert float(word.replace("−", "-")) == pytest.approx(expected, abs=0.02)
    if steps == 20:
        assert [word for word, _ in feet] == [word for word, _ in heads[::-1]] == ["−2", "0", "2"] or [
            word for word, _ in heads
        ] == ["−2", "0", "2"]


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
    low, high = codes.quantiles(0.01, 0.99)
    change = []
    for latent in range(dim):
        ends = means[7].repeat(2, 1)
        ends[0, latent], ends[1, latent] = low[latent], high[latent]
        change.append(float(decoded(gallery.model, ends).diff(dim=0).square().mean()))
    assert found.latents == np.argsort(-np.array(change), kind="stable")[:4].tolist()
    own = [float((means[7, latent] - low[latent]) / (high[latent] - low[latent])) for latent in found.latents]
    assert found.own == pytest.approx([min(max(place, 0), 1) for place in own], abs=1e-5)
    assert len(found.images) == min(4, dim)
    center, width = means.mean(0), (means.var(0) + codes.stddevs[0] ** 2).sqrt()
    for row, (latent, head) in enumerate(zip(found.latents, found.row_labels, strict=True)):
        low, high = codes.quantiles(0.01, 0.99)[:, latent].tolist()
        for end, share in ((low, 0.01), (high, 0.99)):
            assert end == pytest.approx(
                float(center[latent] + norm.ppf(share) * width[latent]), abs=0.3 * float(width[latent])
            )
        for column in range(5):
            z = means[7].clone()
            z[latent] = low + (high - low) * column / 4
            torch.testing.assert_close(found.images[row, column], decoded(gallery.model, z[None])[0], atol=1e-4, rtol=1e-4)
        limits = f"{low:+.1f} … {high:+.1f}".replace("-", "−")
        assert head == f"z{latent} · {rates[latent]:.2f} nats\n{limits}"
    assert ("4 of 64 latents in turn" if dim == 64 else "each latent in turn") in found.title
    for part in (
        "the others as in test image 7",
        "1st to the 99th percentile",
        "the aggregate posterior of 3,000 test images of noise",
        "ordered by how much the image changes",
    ):
        assert part in found.title


def test_traversal_begins_with_the_image_that_changes_most() -> None:
    gallery = conditional()  # a linear decoder would change alike from every image
    low, high = gallery.encodings.quantiles(0.01, 0.99)
    changes = {}
    for position in gallery.images.shown_positions(0)[:32].tolist():
        x, label = gallery.images.pixels[position, None], gallery.images.labels[position, None]
        z = gallery.model.encode(x, label).mean.detach()
        ends = [torch.where(torch.arange(2) == latent, end, z) for latent in range(2) for end in (low, high)]
        images = gallery.model.decode_mean(torch.cat(ends).float(), label.repeat(4))
        changes[position] = float((images[0::2] - images[1::2]).square().sum())
    first, second = sorted(changes, key=lambda position: -changes[position])[:2]
    assert changes[first] > 1.0001 * changes[second]
    found, named = (gallery.traverse(2, torch.linspace(0, 1, 3), start) for start in (None, f"@{first}"))
    assert f"in test image {first}, whose own value is at the ▲" in found.title
    torch.testing.assert_close(found.images, named.images)
    assert found.title == named.title


def test_visible_change_of_a_plane_is_its_variety_over_that_of_reconstructions() -> None:
    gallery = Gallery(linear_vae(3), noise(40))
    reconstructions = gallery.model.reconstruct(gallery.images.pixels)
    whole = reconstructions.double().var(0, correction=0).mean().sqrt()
    half = (reconstructions - reconstructions.mean(0)) / 2
    assert visible_change(gallery, half[None]) == pytest.approx(0.5, rel=1e-5)
    assert visible_change(gallery, torch.ones(2, 3, *GRAY)) == 0
    plane = gallery.plane(6).images
    expected = plane.flatten(0, 1).double().var(0, correction=0).mean().sqrt() / whole
    assert visible_change(gallery, plane) == pytest.approx(float(expected))


@pytest.mark.parametrize("shape", [GRAY, (3, 4, 7)])
def test_traversals_stand_in_rows_with_their_heads(shape: Shape, words: Words) -> None:
    gallery = Gallery(linear_vae(5, shape), noise(200, shape))
    found, image = gallery.traverse(3, torch.linspace(0, 1, 6)), gallery.traversals(3, 6)
    left, top, _, bottom = placed(image, to_gray_levels(found.images.flatten(0, 1)), 6, marked=True)
    heads = [(word, x, (y - top) / (bottom - top) * 3 - 0.5) for word, x, y in words if y < bottom]
    assert [word for word, _, _ in heads] == found.row_labels
    for row, (_, x, place) in enumerate(heads):
        assert x < left
        assert place == pytest.approx(row, abs=0.1)
    assert " ".join(word for word, _, y in words if y > bottom) == found.title


def test_traversal_of_a_conditional_model_stays_in_its_class() -> None:
    gallery = conditional()
    waypoint, found = gallery.waypoints(["boot"]), gallery.traverse(2, torch.tensor([0.0, 1.0]), "boot")
    low = gallery.encodings.quantiles(0.01, 0.99)[0]
    z = waypoint.z[0].clone()
    z[found.latents[0]] = low[found.latents[0]]
    with torch.no_grad():
        expected = gallery.model.decode(z[None], torch.tensor([1])).mean[0]
    torch.testing.assert_close(found.images[0, 0], expected)
    assert waypoint.labels is not None
    assert (waypoint.labels.tolist(), waypoint.captions) == ([1], ["boot"])


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


def test_interpolation_strip_is_titled_and_goes_from_waypoint_to_stop(words: Words) -> None:
    gallery = Gallery(linear_vae(), garments())
    image = gallery.interpolation("sock", "@8", 5, "spherical")
    waypoints = gallery.waypoints(["sock", "@8"])
    a, b = waypoints.z.double()
    angle = torch.acos(a @ b / a.norm() / b.norm())
    weights = torch.linspace(0, 1, 5, dtype=torch.float64).unsqueeze(1)
    arc = (((1 - weights) * angle).sin() * a + (weights * angle).sin() * b) / angle.sin()
    expected = gallery.model.decode_mean(arc.float())
    placed(image, to_gray_levels(expected), 5)
    assert " ".join(word for word, _, _ in words) == "sock → test image 8, spherical in the latents"


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
    words = text_of(chart)
    for part in (
        f"{sum(active)} of 12 latents active",
        f"rate {float(codes.rates.sum()):.2f} nats in all; 500 images",
        "rate (KL), nats",
        "active above the dashed line, 0.01",
        "variance of the posterior mean",
        "latent, from the highest KL down",
    ):
        assert part in words


@pytest.mark.parametrize("dim", [1, 2, 64, 65, 130])
def test_rate_chart_of_any_number_of_latents(dim: int) -> None:
    chart = Gallery(linear_vae(dim), noise(40)).rates()
    assert len(chart.axes[0].patches) == min(dim, 64)
    assert ("the first 64 shown" in text_of(chart)) == (dim > 64)
    ticks = [int(text.get_text()) for text in chart.axes[1].get_xticklabels()]
    assert len(ticks) == len(set(ticks)) <= 16
    assert f"of {dim} latent{'s' if dim > 1 else ''} active" in text_of(chart)


@pytest.mark.parametrize("shape", [GRAY, (3, 4, 7)])
def test_errors_are_the_root_mean_square_over_images_and_channels(shape: Shape) -> None:
    gallery = Gallery(linear_vae(shape=shape), noise(1100, shape))
    x = gallery.images.pixels.double() / 255
    error = 255 * (decoded(gallery.model, means_of(gallery)).double().clamp(0, 1) - x)
    expected = error.square().mean((0, 1)).sqrt()
    torch.testing.assert_close(pixel_errors(gallery.model, gallery.images), expected, rtol=1e-4, atol=0)
    chart = gallery.errors(4, max_images=1050)
    heat, _, *panels = chart.findobj(match=lambda artist: type(artist).__name__ == "Axes")
    shown = torch.randperm(1100, generator=generator(0))[:1050]
    expected = error[shown].square().mean((0, 1)).sqrt()
    np.testing.assert_allclose(heat.images[0].get_array(), expected, rtol=1e-4)
    assert heat.images[0].get_clim() == (0, pytest.approx(float(expected.max()), rel=1e-4))
    assert "root mean squared error of each pixel, 1,050 images" in text_of(chart)
    assert (heat.get_xticks().tolist(), heat.get_yticks().tolist()) == ([], [])
    assert "gray levels of 255" in text_of(chart)
    assert "from 0 (dark) to 255 gray levels (bright)" in text_of(chart)
    assert len(panels) == 12
    originals, models, wrong = (panels[start : start + 4] for start in (0, 4, 8))
    few = gallery.images.pixels[shown[:4]]
    below = to_gray_levels(gallery.model.reconstruct(few))
    for index, above in enumerate(few):
        for cell, pixels in ((originals[index], above), (models[index], below[index])):
            np.testing.assert_array_equal(cell.images[0].get_array(), pixels.expand(3, -1, -1).permute(1, 2, 0))
        difference = (above.float() - below[index].float()).square().mean(0).sqrt()
        np.testing.assert_allclose(wrong[index].images[0].get_array(), difference, atol=1e-4)
        assert wrong[index].images[0].get_clim() == (0, 255)


def test_errors_of_a_conditional_model_use_the_labels() -> None:
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
