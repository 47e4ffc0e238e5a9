"""What codes are good for: perfect codes, random codes, and neighbors counted by hand."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from tests.test_aggregate import linear_gaussian, lookup
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.evaluation.latents.downstream import clustering, linear_probe, nearest_neighbors, usefulness
from vaekit.models import VAE

CLASSES, NUM = 4, 400
WHAT = ("linear probe", "k-NN", "ARI", "NMI")


def labeled(first: int, num: int = NUM) -> ImageSet:
    """Images whose pixels say which they are, and nothing of their class."""
    index = torch.arange(first, first + num)
    store = torch.stack([index // 256, index % 256], 1).byte().reshape(num, 1, 1, 2)
    return ImageSet(store, index % CLASSES, tuple("abcd"))


def model_of(codes: torch.Tensor) -> VAE:
    """A model whose posterior means are these, with shape (M, D), by image."""
    return lookup(lambda i: Independent(Normal(codes[i % len(codes)], 1.0), 1), codes.shape[1])


def test_perfect_codes() -> None:
    found = usefulness(model_of(3 * torch.eye(CLASSES)), labeled(0), labeled(NUM))
    for what in ("linear probe", "k-NN"):
        assert found[what]["posterior means"] == {
            "value": 1.0,
            "standard_error": 0.0,
            "unit": "share of images",
            "num_images": NUM,
            "space": "posterior means",
        }
    for what in ("ARI", "NMI"):
        assert found[what]["posterior means"]["value"] == pytest.approx(1)
        assert found[what]["posterior means"]["standard_error"] == pytest.approx(0, abs=1e-9)
    for what in WHAT:  # pixels know nothing of the class but the neighbor's
        assert set(found[what]) == {"posterior means", "pixels", "PCA"}
        assert found[what]["pixels"]["value"] < 0.5
    assert found["commonest class"]["value"] == 1 / CLASSES
    assert json.loads(json.dumps(found)) == found


def test_random_codes() -> None:
    """With so many latents that a probe of its own training images would be right."""
    found = usefulness(model_of(torch.randn(2 * NUM, 150)), labeled(0), labeled(NUM))
    error = math.sqrt(1 / CLASSES * (1 - 1 / CLASSES) / NUM)
    for what in ("linear probe", "k-NN"):
        estimate = found[what]["posterior means"]
        assert abs(estimate["value"] - 1 / CLASSES) < 4 * error
        assert estimate["standard_error"] == pytest.approx(error, rel=0.1)
    assert abs(found["ARI"]["posterior means"]["value"]) < 0.02
    assert abs(found["NMI"]["posterior means"]["value"]) < 0.04


def test_codes_that_are_all_the_same_give_chance_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = usefulness(model_of(torch.zeros(1, 3)), labeled(0), labeled(NUM))
    assert found["linear probe"]["posterior means"]["value"] == pytest.approx(1 / CLASSES)
    assert found["ARI"]["posterior means"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["NMI"]["posterior means"]["value"] == pytest.approx(0, abs=1e-9)


def test_a_probe_that_has_not_converged_does_not_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.evaluation.latents.downstream.STEPS", 1)
    x, y = np.random.default_rng(0).normal(size=(300, 20)), np.arange(300) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert linear_probe(x, y, x, y).value > 1 / 3


def test_probe_is_linear_and_does_not_depend_on_units() -> None:
    """A class between two others on a line is no half-line's; a class by the side of a plane is, in any units."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 3))
    side = (x @ [1.0, -2.0, 0.5] > 0.3).astype(int)
    assert linear_probe(x[:1000], side[:1000], x[1000:], side[1000:]).value > 0.98
    units = np.array([1e4, 1e-4, 1.0])
    assert linear_probe(units * x[:1000], side[:1000], units * x[1000:], side[1000:]).value > 0.98
    between = (np.abs(x[:, 0]) < 0.6745).astype(int)
    assert linear_probe(x[:1000], between[:1000], x[1000:], between[1000:]).value < 0.6


def test_neighbors_are_the_five_nearest() -> None:
    x, y = torch.randn(300, 4), torch.randint(2, (300,))
    nearest = torch.cdist(x[200:], x[:200]).argsort(1)[:, :5]
    votes = (y[:200][nearest].float().mean(1) > 0.5).long()
    expected = (votes == y[200:]).double().mean().item()
    found = nearest_neighbors(x[:200].numpy(), y[:200].numpy(), x[200:].numpy(), y[200:].numpy())
    assert found.value == pytest.approx(expected)
    assert found.num_images == 100


def test_clusters_are_scored_over_seeds() -> None:
    """Four heaps on a line by two labels: of two clusters each is one label's, or half of both."""
    x = np.array([0.0, 0.1, 10.0, 10.1])[:, None].repeat(25, 0)
    found = clustering(x, np.repeat([0, 0, 1, 1], 25), 2)
    assert (found["ARI"].value, found["ARI"].standard_error) == (1, 0)
    crossed = clustering(x, np.repeat([0, 1, 0, 1], 25), 2)
    assert crossed["NMI"].value == pytest.approx(0, abs=1e-9)
    noisy = clustering(np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 5, 5)
    assert 0 < noisy["ARI"].standard_error < 0.05  # type: ignore[operator]


def test_as_many_components_as_pixels_are_the_pixels() -> None:
    """A rotation changes no distance."""
    model, images = linear_gaussian([1.0] * 12, 400)
    images = replace(images, labels=(images.pixels[:, 0, 0, 0] > 127).long())
    found = usefulness(model, images.take(torch.arange(200)), images.take(torch.arange(200, 400)))
    assert found["settings"]["components"] == 12
    assert found["k-NN"]["PCA"] == found["k-NN"]["pixels"] | {"space": "PCA"}


def test_components_are_as_many_as_latents_and_learned_from_training_images() -> None:
    """All training images vary along the first pixel, all test images by the second, which the component drops."""
    level = torch.arange(100)
    still = torch.full_like(level, 9)
    train = ImageSet(torch.stack([level, still], 1).byte().reshape(-1, 1, 1, 2), (level > 50).long())
    test = ImageSet(torch.stack([still, level], 1).byte().reshape(-1, 1, 1, 2), (level > 50).long())
    found = usefulness(model_of(torch.randn(300, 1)), train, test)
    assert found["settings"]["components"] == 1
    assert found["k-NN"]["PCA"]["value"] == found["commonest class"]["value"] == 0.51


def test_no_more_images_than_asked_for_and_the_seed_says_which() -> None:
    codes = torch.randn(2 * NUM, 5)
    found = usefulness(model_of(codes), labeled(0), labeled(NUM, 300), max_images=120)
    assert found["settings"]["train_images"] == found["settings"]["test_images"] == 120
    assert found["k-NN"]["pixels"]["num_images"] == 120
    again = usefulness(model_of(codes), labeled(0), labeled(NUM, 300), max_images=120)
    assert again == found
    other = usefulness(model_of(codes), labeled(0), labeled(NUM, 300), max_images=120, seed=1)
    assert other["k-NN"] != found["k-NN"]


def test_few_images_have_few_neighbors() -> None:
    found = usefulness(model_of(torch.randn(9, 5)), labeled(0, 3), labeled(3, 4))
    assert found["settings"]["neighbors"] == 3
    assert found["settings"]["clusters"] == 4


def test_images_without_classes_are_refused() -> None:
    model, unlabeled = model_of(torch.randn(9, 5)), ImageSet(labeled(0).store, split="test")
    with pytest.raises(DataError, match="the test split has no labels"):
        usefulness(model, labeled(0), unlabeled)
    with pytest.raises(DataError, match="no labels"):
        usefulness(model, unlabeled, labeled(0))
    one = ImageSet(labeled(0).store, torch.ones(NUM, dtype=torch.long))
    with pytest.raises(DataError, match="of one class"):
        usefulness(model, one, labeled(0))


def test_conditional_models_are_said_to_be_told() -> None:
    images = ImageSet(pixels(30, (2, 6, 5)), torch.arange(30) % 3, ("a", "b", "c"))
    assert usefulness(make_vae(classes=["a", "b", "c"]), images, images)["settings"]["told_labels"]
    assert not usefulness(make_vae(), images, images)["settings"]["told_labels"]
