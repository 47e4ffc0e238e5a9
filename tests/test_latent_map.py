"""Latent maps: projections, histograms, widths and colors of classes."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from sklearn.decomposition import PCA
from torch import Tensor

from tests.linear_gallery import (
    CLASSES,
    bars_of,
    cloud,
    garments,
    linear_vae,
    logvars,
    means_of,
    noise,
)
from vaekit.core.errors import ModelError
from vaekit.core.rng import generator
from vaekit.data import ImageSet
from vaekit.plots.style import ACCENT, COLORS
from vaekit.presentation.gallery import Gallery


def test_map_of_two_latents_plots_the_posterior_means_by_class() -> None:
    gallery = Gallery(linear_vae(2), garments(60))
    figure, means = gallery.latent_map(), means_of(gallery)
    axes = figure.axes[0]
    points, [part] = cloud(figure)
    inks = [to_hex(ink) for ink in part.get_facecolor()]
    for label in range(3):
        found = points[[ink == COLORS[label] for ink in inks]]
        np.testing.assert_allclose(sorted(map(tuple, found)), sorted(map(tuple, means[label::3].tolist())), atol=1e-5)
    assert figure.legends == []
    names = {text.get_text(): to_hex(text.get_bbox_patch().get_facecolor()) for text in axes.texts if text.get_bbox_patch()}
    assert names == dict(zip(CLASSES, COLORS, strict=False))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z0", "z1")
    assert title_of(figure) == "posterior means\n60 test images of noise"


@pytest.mark.parametrize("dim", [3, 64])
def test_map_of_more_latents_plots_principal_components(dim: int) -> None:
    gallery = Gallery(linear_vae(dim), noise(200))
    figure = gallery.latent_map(num=50)
    points, [part] = cloud(figure)
    pca = PCA(2).fit(means_of(gallery).double().numpy())
    shown = torch.randperm(200, generator=generator(0))[:50].sort().values
    expected = pca.transform(means_of(gallery).double().numpy())[shown]
    points = points[np.lexsort(points.T)]
    signs = np.sign(pca.components_[np.arange(2), np.abs(pca.components_).argmax(1)])
    expected = signs * expected
    np.testing.assert_allclose(points, expected[np.lexsort(expected.T)], atol=1e-3)
    assert same_color(part.get_facecolor()[0, :3], ACCENT)
    assert not figure.legends
    assert not [text for text in figure.axes[0].texts if text.get_bbox_patch()]
    first, second = pca.explained_variance_ratio_
    assert figure.axes[0].get_xlabel() == f"principal component 1, {first:.0%} of the variance"
    assert figure.axes[0].get_ylabel() == f"principal component 2, {second:.0%} of the variance"
    assert title_of(figure) == f"posterior means of {dim} latents, by PCA\n50 test images of noise"


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


def title_of(figure: Figure) -> str:
    """The lines above a map."""
    axes = figure.axes[0]
    rest = [text.get_text() for text in axes.texts if text.get_bbox_patch() is None]
    return "\n".join([axes.get_title(loc="left"), *reversed(rest)])


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
    assert "with one standard deviation" in title_of(figure)
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
    with pytest.raises(ModelError, match=r"widths.*linear"):
        Gallery(linear_vae(dim), noise()).latent_map(method, widths=True)


def test_tsne_keeps_neighbors_together() -> None:
    images = noise(40)
    twins = ImageSet(torch.cat([images.pixels // 8 + 192, images.pixels // 8]), name="twins", split="test")
    figure = Gallery(linear_vae(6), twins).latent_map("tsne")
    points, _ = cloud(figure)
    points = points[np.random.default_rng(0).permutation(80).argsort()]  # in the order of the images
    a, b = points[:40], points[40:]
    between, within = np.linalg.norm(a.mean(0) - b.mean(0)), max(a.std(0).max(), b.std(0).max())
    assert between > 2 * within
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("t-SNE 1, no unit", "t-SNE 2, no unit")
    assert "by t-SNE\n80 test images of twins" in title_of(figure)


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
    with pytest.raises(ModelError, match=r"UMAP.*umap-learn"):
        gallery.latent_map("umap")
    own = SimpleNamespace(UMAP=lambda random_state: SimpleNamespace(fit_transform=lambda means: means[:, 1:] + random_state))
    monkeypatch.setitem(sys.modules, "umap", own)
    figure = gallery.latent_map("umap")
    order = np.random.default_rng(0).permutation(10)
    np.testing.assert_allclose(cloud(figure)[0], means_of(gallery)[:, 1:][order], atol=1e-5)
    assert figure.axes[0].get_xlabel() == "UMAP 1, no unit"


def test_more_than_ten_classes_differ_by_marker_too() -> None:
    gallery = Gallery(linear_vae(2), noise(240, labels=torch.arange(240) % 24))
    figure = gallery.latent_map()
    points, [part] = cloud(figure)
    paths = [path.vertices.tobytes() for path in part.get_paths()]
    looks = set(zip(map(tuple, part.get_facecolor()), paths, strict=True))
    assert (len(points), len(looks), len(set(paths))) == (240, 24, 3)
    assert len({color for color, _ in looks}) == 10
    names = [text.get_text() for text in figure.axes[0].texts if text.get_bbox_patch()]
    assert names == [str(label) for label in range(24)]


@pytest.mark.parametrize("labels", [torch.arange(246) % 41, torch.arange(246)], ids=["41 classes", "index targets"])
def test_too_many_classes_are_plotted_as_one(labels: Tensor) -> None:
    gallery = Gallery(linear_vae(2), noise(246, labels=labels))
    figure = gallery.latent_map()
    points, parts = cloud(figure)
    assert not figure.legends
    assert not [text for text in figure.axes[0].texts if text.get_bbox_patch()]
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(means_of(gallery), axis=0), atol=1e-5)
    assert len({(tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes()) for part in parts}) == 1
    one = Gallery(linear_vae(1), noise(246, labels=labels)).latent_map()
    [histogram] = one.axes[0].patches
    assert bars_of(histogram)[1].sum() == 246


def test_a_map_names_its_run_and_says_what_its_contours_hold() -> None:
    gallery = Gallery(linear_vae(2), noise(400)).looking(caption="a run · digits · epoch 3")
    lines = title_of(gallery.latent_map()).split("\n")
    assert lines[:2] == ["posterior means", "a run · digits · epoch 3"]
    assert lines[2].startswith("400 test images of noise; contours hold 80% and 40% of ")
    assert "contours" not in title_of(gallery.latent_map(widths=True))
