"""Downstream tasks: latents that determine the class, random latents, and neighbors by an exhaustive search."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from sklearn.metrics import normalized_mutual_info_score
from torch.distributions import Independent, Normal

from tests.posterior_models import indexed_images, linear_gaussian, model_with_posterior
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate, mean_over_images
from vaekit.evaluation.latents import downstream
from vaekit.evaluation.latents.downstream import clustering, downstream_scores, linear_probe, nearest_neighbors
from vaekit.models import VAE

NUM_CLASSES, NUM = 4, 400


def labeled(first: int, num: int = NUM) -> ImageSet:
    """Images whose pixels encode their index, and not their class."""
    return indexed_images(num, NUM_CLASSES, first)


def model_of(means: torch.Tensor) -> VAE:
    """A model whose posterior means are these, with shape (M, D), by the index of the image modulo M."""
    return model_with_posterior(lambda i: Independent(Normal(means[i % len(means)], 1.0), 1), means.shape[1])


def test_latents_that_determine_the_class() -> None:
    scores = downstream_scores(model_of(3 * torch.eye(NUM_CLASSES)), labeled(0), labeled(NUM))
    perfect = Estimate(1.0, 0.0, "share of images", NUM, space="posterior means")
    assert scores.posterior_means.linear_probe == scores.posterior_means.k_nn == perfect
    for clusters in (scores.posterior_means.ari, scores.posterior_means.ami):
        assert clusters is not None
        assert clusters.value == pytest.approx(1)
        assert clusters.standard_error == pytest.approx(0, abs=1e-9)
    for score in scores.pixels.by_name().values():  # neighboring pixels are of neighboring images, of other classes
        assert score is not None
        assert score.value < 0.5
    assert scores.majority_class.value == 1 / NUM_CLASSES


def test_json_of_the_scores() -> None:
    scores = downstream_scores(model_of(3 * torch.eye(NUM_CLASSES)), labeled(0), labeled(NUM))
    data = scores.to_data()
    assert json.loads(json.dumps(data)) == data
    assert list(data) == ["linear probe", "k-NN", "ARI", "AMI", "commonest class", "settings"]
    for task in ("linear probe", "k-NN", "ARI", "AMI"):
        assert list(data[task]) == ["posterior means", "pixels", "PCA"]
    assert data["linear probe"]["posterior means"] == {
        "value": 1.0,
        "standard_error": 0.0,
        "unit": "share of images",
        "num_images": NUM,
        "space": "posterior means",
    }
    assert scores.pca.ami is not None
    assert data["AMI"]["PCA"] == scores.pca.ami.to_data()
    assert data["settings"] == {
        "train_images": NUM,
        "test_images": NUM,
        "components": 2,
        "neighbors": 5,
        "clusters": NUM_CLASSES,
        "clustering_seeds": 5,
        "told_labels": False,
    }


def test_random_latents() -> None:
    """There are enough latents for a probe to fit its training images."""
    scores = downstream_scores(model_of(torch.randn(2 * NUM, 150)), labeled(0), labeled(NUM)).posterior_means
    error = math.sqrt(1 / NUM_CLASSES * (1 - 1 / NUM_CLASSES) / NUM)
    for accuracy in (scores.linear_probe, scores.k_nn):
        assert abs(accuracy.value - 1 / NUM_CLASSES) < 4 * error
        assert accuracy.standard_error == pytest.approx(error, rel=0.1)
    for clusters in (scores.ari, scores.ami):
        assert clusters is not None
        assert abs(clusters.value) < 0.02


def test_equal_latents_give_chance_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = downstream_scores(model_of(torch.zeros(1, 3)), labeled(0), labeled(NUM)).posterior_means
    assert scores.linear_probe.value == pytest.approx(1 / NUM_CLASSES)
    for clusters in (scores.ari, scores.ami):
        assert clusters is not None
        assert clusters.value == pytest.approx(0, abs=1e-9)


def test_a_probe_that_has_not_converged_does_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "MAX_STEPS", 1)
    x, y = np.random.default_rng(0).normal(size=(300, 20)), np.arange(300) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert linear_probe(x, y, x, y).value > 1 / 3


def test_probe_is_linear_and_independent_of_scale() -> None:
    """A probe predicts on which side of a plane a point lies, and not whether a coordinate is between two values."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 3))
    side = (x @ [1.0, -2.0, 0.5] > 0.3).astype(int)
    assert linear_probe(x[:1000], side[:1000], x[1000:], side[1000:]).value > 0.98
    scales = np.array([1e4, 1e-4, 1.0])
    assert linear_probe(scales * x[:1000], side[:1000], scales * x[1000:], side[1000:]).value > 0.98
    between = (np.abs(x[:, 0]) < 0.6745).astype(int)
    assert linear_probe(x[:1000], between[:1000], x[1000:], between[1000:]).value < 0.6


def test_neighbors_are_the_five_nearest() -> None:
    x, y = torch.randn(300, 4), torch.randint(2, (300,))
    nearest = torch.cdist(x[200:], x[:200]).argsort(1)[:, :5]
    votes = (y[:200][nearest].float().mean(1) > 0.5).long()
    expected = (votes == y[200:]).double().mean().item()
    accuracy = nearest_neighbors(x[:200].numpy(), y[:200].numpy(), x[200:].numpy(), y[200:].numpy())
    assert accuracy.value == pytest.approx(expected)
    assert accuracy.num_images == 100


def least_ami(num: int) -> float:
    """The AMI of two clusters and two classes that divide each other evenly, of N images; its definition with I = 0.

    The number of images that a class and a cluster share by chance is hypergeometric.
    """
    shared, half = np.arange(num // 2 + 1), num // 2
    information = 2 * sum(
        np.where(n > 0, n / num * np.log(np.maximum(n, 1) * num / half**2), 0) for n in (shared, half - shared)
    )
    expected = float(hypergeom(num, half, half).pmf(shared) @ information)
    return -expected / (math.log(2) - expected)


def test_chance_level_of_clusters_of_few_images_is_zero() -> None:
    """Over random labels both indices have the mean 0, and the mutual information that is only normalized is at 0.6."""
    random, truth = np.random.default_rng(0), np.arange(12) % 6
    scores = [clustering(random.normal(size=(12, 3)), random.permutation(truth), 6) for _ in range(150)]
    for values in np.array([(ari.value, ami.value) for ari, ami in scores]).T:
        assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5
    clusters = random.integers(6, size=(150, 12))
    assert np.mean([normalized_mutual_info_score(truth, each) for each in clusters]) > 0.55


@pytest.mark.parametrize(
    ("num_classes", "reason"), [(9, "each of the 9 test images has a class of its own"), (1, "one class")]
)
def test_clusters_that_equal_the_classes_by_construction_have_no_index(num_classes: int, reason: str) -> None:
    test = replace(labeled(3, 9), labels=torch.arange(9) % num_classes)
    scores = downstream_scores(model_of(torch.randn(12, 5)), labeled(0, 30), test)
    for representation in (scores.posterior_means, scores.pixels, scores.pca):
        assert (representation.ari, representation.ami) == (None, None)
        assert 0 <= representation.linear_probe.value <= 1
    assert reason in scores.no_clustering
    data = scores.to_data()
    assert json.loads(json.dumps(data)) == data
    assert list(data) == ["linear probe", "k-NN", "without clustering", "commonest class", "settings"]
    assert data["without clustering"] == scores.no_clustering


def test_shares_that_are_all_equal_have_an_error_of_zero() -> None:
    """Not one of rounding, as a standard deviation around a rounded mean has."""
    shares = [np.full(num, value) for num in range(2, 40) for value in (0.1, 0.2, 1 / 3, 0.7)]
    assert any(share.std() > 0 for share in shares)
    assert all(mean_over_images(torch.from_numpy(share), "").standard_error == 0 for share in shares)


def test_clusters_are_scored_over_seeds() -> None:
    """Four points on a line with two labels: two clusters agree with the labels or are independent of them."""
    x = np.array([0.0, 0.1, 10.0, 10.1])[:, None].repeat(25, 0)
    ari, _ = clustering(x, np.repeat([0, 0, 1, 1], 25), 2)
    assert (ari.value, ari.standard_error) == (1, 0)
    ari, ami = clustering(x, np.repeat([0, 1, 0, 1], 25), 2)
    assert (ari.value, ami.value) == pytest.approx((-1 / 98, least_ami(100)), abs=1e-9)
    ari, _ = clustering(np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 5, 5)
    assert 0 < ari.standard_error < 0.05  # type: ignore[operator]


def test_all_components_have_the_neighbors_of_the_pixels() -> None:
    """A rotation changes no distance."""
    model, images = linear_gaussian([1.0] * 12, 400)
    images = replace(images, labels=(images.pixels[:, 0, 0, 0] > 127).long())
    scores = downstream_scores(model, images.take(torch.arange(200)), images.take(torch.arange(200, 400)))
    assert scores.settings.components == 12
    assert scores.pca.k_nn == replace(scores.pixels.k_nn, space="PCA")


def test_components_are_fitted_to_training_images() -> None:
    """Training images vary in the first pixel, test images in the second, which the only component ignores."""
    level = torch.arange(100)
    constant = torch.full_like(level, 9)
    train = ImageSet(torch.stack([level, constant], 1).byte().reshape(-1, 1, 1, 2), (level > 50).long())
    test = ImageSet(torch.stack([constant, level], 1).byte().reshape(-1, 1, 1, 2), (level > 50).long())
    scores = downstream_scores(model_of(torch.randn(300, 1)), train, test)
    assert scores.settings.components == 1
    assert scores.pca.k_nn.value == scores.majority_class.value == 0.51


def test_max_images_are_chosen_by_the_seed() -> None:
    model, train, test = model_of(torch.randn(2 * NUM, 5)), labeled(0), labeled(NUM, 300)
    scores = downstream_scores(model, train, test, max_images=120)
    assert scores.settings.train_images == scores.settings.test_images == 120
    assert scores.pixels.k_nn.num_images == 120
    assert downstream_scores(model, train, test, max_images=120) == scores
    other = downstream_scores(model, train, test, max_images=120, seed=1)
    assert other.posterior_means.k_nn != scores.posterior_means.k_nn


def test_neighbors_are_at_most_the_training_images() -> None:
    settings = downstream_scores(model_of(torch.randn(9, 5)), labeled(0, 3), labeled(3, 4)).settings
    assert settings.neighbors == 3
    assert settings.clusters == 4


def test_images_without_classes_are_refused() -> None:
    model, unlabeled = model_of(torch.randn(9, 5)), ImageSet(labeled(0).store, split="test")
    with pytest.raises(DataError, match=r"test split.*labels"):
        downstream_scores(model, labeled(0), unlabeled)
    with pytest.raises(DataError, match="labels"):
        downstream_scores(model, unlabeled, labeled(0))
    one = ImageSet(labeled(0).store, torch.ones(NUM, dtype=torch.long))
    with pytest.raises(DataError, match=r"train split.*one class"):
        downstream_scores(model, one, labeled(0))


def test_settings_record_whether_the_encoder_receives_labels() -> None:
    images = ImageSet(pixels(30, (2, 6, 5)), torch.arange(30) % 3, ("a", "b", "c"))
    assert downstream_scores(make_vae(classes=["a", "b", "c"]), images, images).settings.told_labels
    assert not downstream_scores(make_vae(), images, images).settings.told_labels


def test_any_seed_of_64_bits_is_a_seed() -> None:
    x, labels, seed = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2, 2**63 - 1
    assert downstream.principal_components(x, x, 2, seed)[0].shape == (30, 2)
    assert 0 <= linear_probe(x, labels, x, labels, seed).value <= 1
    assert clustering(x, labels, 2, seed)[0].value <= 1
