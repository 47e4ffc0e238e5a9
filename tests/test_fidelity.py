"""Fidelity: which images are compared, and how the results are named."""

import json

import pytest
import torch
from torch import Tensor

from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import DataError
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.samples import pairs
from vaekit.evaluation.samples.features import INCEPTION, FeatureExtractor, metric_name
from vaekit.evaluation.samples.fidelity import compare, fidelity
from vaekit.models import VAE


class Pixels(FeatureExtractor):
    """The pixels as features."""

    name, description = "pixels", "the pixels themselves"

    def __init__(self, dim: int = 60) -> None:
        self.dim = dim

    def __call__(self, images: Tensor) -> Tensor:
        assert images.min() >= 0
        assert images.max() <= 1
        return images.flatten(1)


# Two sets of features


def test_comparison_is_independent_of_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(60, 5), torch.randn(70, 5) + 0.3
    expected = compare(a, b).by_name()
    monkeypatch.setattr(pairs, "MAX_PAIRS", 500)
    chunked = compare(a, b).by_name()
    for name, metric in expected.items():
        assert chunked[name].value == pytest.approx(metric.value, rel=1e-9)
        assert chunked[name].standard_error == pytest.approx(metric.standard_error, rel=1e-6)


def test_equal_and_disjoint_sets() -> None:
    a = torch.randn(80, 4)
    equal, disjoint = compare(a, a), compare(a, a + 100)
    for name in ("precision", "recall", "coverage"):
        assert (equal.by_name()[name].value, disjoint.by_name()[name].value) == (1, 0)
    assert equal.density.value == pytest.approx(6 / 5)  # a ball contains its center and 5 neighbors
    assert disjoint.density.value == 0


# Images of a model


def test_json_of_the_comparisons() -> None:
    model, images, train = make_vae(), ImageSet(pixels(40), name="a", split="test"), ImageSet(pixels(60), name="a")
    result = fidelity(model, images, train, Pixels(), num=1000)
    data = result.to_data()
    assert json.loads(json.dumps(data)) == data
    assert data["columns"] == [f"{name}-pixels" for name in ("FD", "KD", "precision", "recall", "density", "coverage")]
    assert data["extractor"] == {"name": "pixels", "description": "the pixels themselves", "dim": 60}
    assert data["reference"] == {"name": "a", "split": "train", "pixels": "gray levels"}
    assert data["images"] == {"name": "a", "split": "test", "pixels": "gray levels"}
    assert list(data["rows"]) == ["test against train", "reconstructions", "samples", "noise"]
    assert (data["num_images"], data["few"]) == (40, True)
    for row in data["rows"].values():
        assert list(row) == data["columns"]
        assert {metric["num_images"] for metric in row.values()} == {40}
        assert {metric["space"] for metric in row.values()} == {"pixels features"}
    assert data["rows"]["noise"]["KD-pixels"] == result.rows["noise"].kernel_distance.to_data()


def test_rows_compare_the_images_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all images in use, a row is the comparison of all training images with the set of its name."""
    model, images, train = make_vae(), ImageSet(pixels(50)), ImageSet(pixels(50))
    monkeypatch.setattr(model, "decode_mean", lambda z, labels: torch.full((len(z), 2, 6, 5), 1.5))
    rows = fidelity(model, images, train, Pixels(), num=50).rows
    real = to_unit_interval(train.pixels).flatten(1)
    compared = {
        "test against train": to_unit_interval(images.pixels),
        "reconstructions": model.reconstruct(images.pixels),
        "samples": torch.ones(50, 2, 6, 5),  # images are clipped to [0, 1]
    }
    for name, fake in compared.items():
        for metric, expected in compare(real, fake.flatten(1)).by_name().items():
            assert rows[name].by_name()[metric].value == pytest.approx(expected.value, rel=1e-4, abs=1e-6)
    uniform = compare(real, torch.rand(50, 60)).frechet_distance.value
    assert rows["noise"].frechet_distance.value == pytest.approx(uniform, rel=0.2)


def test_images_are_chosen_at_random() -> None:
    """The first images of a split that is sorted are not representative."""
    levels = torch.arange(200).clamp(max=199).byte()[:, None, None, None].expand(-1, 2, 6, 5).contiguous()
    images = ImageSet(levels)
    means: list[float] = []

    class MeanRecorder(Pixels):
        def __call__(self, pixels: Tensor) -> Tensor:
            means.append(pixels.mean().item() * 255)
            return super().__call__(pixels) + 1e-3 * torch.randn(len(pixels), self.dim)

    fidelity(make_vae(), images, images, MeanRecorder(), num=50)
    reference, test = means[:2]
    assert reference == pytest.approx(99.5, abs=25)
    assert test == pytest.approx(99.5, abs=25)


def test_conditional_samples_have_the_labels_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_vae(classes=["a", "b", "c"])
    images = ImageSet(pixels(30), torch.arange(30) % 3, ("a", "b", "c"))
    used: list[int] = []
    decode_mean = model.decode_mean

    def recorded(z: Tensor, labels: Tensor) -> Tensor:
        used.extend(labels.tolist())
        return decode_mean(z, labels)

    monkeypatch.setattr(model, "decode_mean", recorded)
    fidelity(model, images, ImageSet(pixels(30)), Pixels(), num=30)
    assert used == images.sample(30, seed=0).labels.tolist()  # type: ignore[union-attr]


def test_result_depends_on_the_seed_and_not_on_the_global_generator() -> None:
    model, images, train = make_vae(), ImageSet(pixels(20)), ImageSet(pixels(30))
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = fidelity(model, images, train, Pixels(), num=15)
    assert torch.equal(torch.rand(2), expected)
    assert fidelity(model, images, train, Pixels(), num=15) == first
    assert fidelity(model, images, train, Pixels(), num=15, seed=1) != first


@pytest.mark.parametrize("chunk_size", [1, 7])
def test_fidelity_is_independent_of_the_batch_size(chunk_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, train = make_vae(), ImageSet(pixels(20)), ImageSet(pixels(30))
    expected = fidelity(model, images, train, Pixels(), num=20).rows
    monkeypatch.setattr(VAE, "chunk_size", chunk_size)
    rows = fidelity(model, images, train, Pixels(), num=20).rows
    for name, row in expected.items():
        for metric, estimate in row.by_name().items():
            assert rows[name].by_name()[metric].value == pytest.approx(estimate.value, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("num", "test", "train"), [(5, 30, 30), (100, 5, 30), (100, 30, 5)])
def test_too_few_images_are_refused(num: int, test: int, train: int) -> None:
    with pytest.raises(DataError, match="5 images are too few"):
        fidelity(make_vae(), ImageSet(pixels(test)), ImageSet(pixels(train)), Pixels(), num=num)


def test_only_the_network_of_the_paper_gives_an_fid() -> None:
    extractor = Pixels()
    assert metric_name(extractor, "FD") == "FD-pixels"
    assert metric_name(extractor, "KD") == "KD-pixels"
    for name in ("inception", "inception-v3", INCEPTION.upper()):
        extractor.name = name
        assert metric_name(extractor, "FD") == f"FD-{name}"
    extractor.name = INCEPTION
    assert [metric_name(extractor, metric) for metric in ("FD", "KD", "recall")] == ["FID", "KID", f"recall-{INCEPTION}"]
