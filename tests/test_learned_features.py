"""Learned features: the accuracy of the classifier, the cache, and the images that features are learned from."""

from pathlib import Path

import pytest
import torch

from tests.test_contracts import pixels
from vaekit.core.errors import DataError
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet, hold_out, load_images
from vaekit.evaluation.samples import feature_classifier, learned_features
from vaekit.evaluation.samples.feature_classifier import random_shift
from vaekit.evaluation.samples.fidelity import compare
from vaekit.evaluation.samples.learned_features import LearnedFeatures
from vaekit.evaluation.samples.learned_features import learned_features as learn


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that only this test uses."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training, enough to classify dark and bright images."""
    monkeypatch.setattr(feature_classifier, "MIN_STEPS", 60)
    monkeypatch.setattr(feature_classifier, "MAX_STEPS", 60)


@pytest.fixture(scope="module")
def digits() -> LearnedFeatures:
    return learn(load_images("digits", "train"))


def dark_and_bright(num: int = 60, shape: tuple[int, int, int] = (1, 8, 8)) -> ImageSet:
    labels = torch.arange(num) % 2
    return ImageSet(pixels(num, shape) // 3 + 160 * labels.byte()[:, None, None, None], labels, name="shades")


def test_features_classify_test_images(digits: LearnedFeatures) -> None:
    test = load_images("digits", "test")
    assert test.labels is not None
    features = digits(to_unit_interval(test.pixels))
    assert features.shape == (len(test), digits.dim)
    accuracy = (digits.classifier.classes(features).argmax(1) == test.labels).double().mean().item()
    assert accuracy > 0.95
    assert digits.info.accuracy == pytest.approx(accuracy, abs=0.04)
    for part in (f"{digits.info.accuracy:.2%}", "digits", digits.info.weights, f"{digits.info.num_train:,} images"):
        assert part in digits.description


def test_accuracy_is_measured_on_the_held_out_images(empty_cache: Path, few_steps: None) -> None:
    """Random labels, which the network can memorize for the training images only."""
    images = ImageSet(pixels(400, (1, 4, 4)), torch.randint(0, 3, (400,)))
    features = learn(images, seed=3)
    rest, held_out = hold_out(images, 0.1, seed=3, splits=("rest", "held out"))

    def accuracy(part: ImageSet) -> float:
        predictions = features.classifier.classes(features(to_unit_interval(part.pixels))).argmax(1)
        return (predictions == part.labels).double().mean().item()

    assert features.info.accuracy == accuracy(held_out) < 0.7 < accuracy(rest)
    assert (features.info.num_train, features.info.num_held) == (360, 40)


def test_metrics_of_test_images_a_part_of_the_classes_and_noise(digits: LearnedFeatures) -> None:
    train, test = (load_images("digits", split) for split in ("train", "test"))
    assert test.labels is not None
    real = digits(to_unit_interval(train.first(300).pixels))
    all_classes = compare(real, digits(to_unit_interval(test.first(300).pixels))).by_name()
    half_of_classes = compare(
        real, digits(to_unit_interval(test.take((test.labels < 5).nonzero().flatten()).pixels))
    ).by_name()
    noise = compare(real, digits(torch.rand(300, *test.shape))).by_name()
    for name in ("FD", "KD"):
        assert all_classes[name].value < half_of_classes[name].value < noise[name].value
    for name in ("recall", "coverage"):
        assert all_classes[name].value > half_of_classes[name].value + 0.2 > noise[name].value


# The cache


def test_cached_features_are_not_learned_again(empty_cache: Path, few_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    images, pixels = dark_and_bright(), torch.rand(9, 1, 8, 8)
    first = learn(images)
    monkeypatch.setattr(learned_features, "_learn", None)
    cached = learn(images)
    assert torch.equal(first(pixels), cached(pixels))
    assert (first.description, first.info) == (cached.description, cached.info)
    assert [path.name.startswith("cnn-") for path in (empty_cache / "features").iterdir()] == [True]


def test_cache_key_depends_on_images_labels_and_seed(empty_cache: Path, few_steps: None) -> None:
    images = dark_and_bright()
    assert images.labels is not None
    variants = [
        images,
        images.first(40),
        ImageSet(images.pixels.flip(3), images.labels),
        ImageSet(images.pixels, 1 - images.labels),
        ImageSet(images.pixels.reshape(-1, 1, 4, 16), images.labels),
    ]
    weights = {learn(variant).info.weights for variant in variants} | {learn(images, seed=1).info.weights}
    assert len(weights) == 6
    assert len(list((empty_cache / "features").iterdir())) == 6


def test_learning_depends_on_the_seed_and_not_on_the_global_generator(empty_cache: Path, few_steps: None) -> None:
    images = dark_and_bright()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = learn(images)
    assert torch.equal(torch.rand(2), expected)
    next((empty_cache / "features").iterdir()).unlink()
    assert learn(images).info == first.info


@pytest.mark.parametrize("damage", ["cut", "weights", "metadata", "empty"])
def test_damaged_features_are_learned_again(
    damage: str, empty_cache: Path, few_steps: None, capsys: pytest.CaptureFixture[str]
) -> None:
    images = dark_and_bright()
    first = learn(images)
    path = next((empty_cache / "features").iterdir())
    written = path.read_bytes()
    damaged = {
        "cut": written[:-100],
        "weights": written[:-100] + bytes(255 - byte for byte in written[-100:]),
        "metadata": written.replace(b"num_classes", b"num_glasses"),
        "empty": b"",
    }
    assert damaged[damage] != written
    path.write_bytes(damaged[damage])
    again = learn(images)
    assert "damaged" in capsys.readouterr().err
    assert again.info == first.info
    assert path.read_bytes() == written
    learn(images)
    assert capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, few_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"features: .*VAEKIT_CACHE"):
        learn(dark_and_bright())


# Images


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 9), (2, 40, 3), (1, 33, 20)])
@pytest.mark.parametrize("num", [20, 143])  # 129 of 143 are trained on: a batch of 128, and a batch of one image
def test_images_of_any_shape(shape: tuple[int, int, int], num: int, empty_cache: Path, few_steps: None) -> None:
    assert learn(dark_and_bright(num, shape)).info.accuracy == 1


def test_images_are_shifted_by_at_most_a_pixel() -> None:
    x = pixels(200, (2, 28, 14))
    shifted = random_shift(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x.float(), (1, 1, 1, 1), mode="replicate").byte()
    matches = [
        [torch.equal(image, p[:, i : i + 28, j : j + 14]) for i in range(3) for j in range(3)]
        for image, p in zip(shifted, padded, strict=True)
    ]
    counts = torch.tensor(matches).sum(0).reshape(3, 3)
    assert counts.sum() == 200
    assert (counts[:, 1] > 40).all()
    assert counts[:, [0, 2]].sum() == 0  # 1/28 of 14 columns rounds to no pixel


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(DataError, match="no labels"):
        learn(ImageSet(pixels(30)))
    with pytest.raises(DataError, match="only one class"):
        learn(ImageSet(pixels(30), torch.ones(30, dtype=torch.long)))
    with pytest.raises(DataError, match=r"20 images.*19"):
        learn(dark_and_bright(19))


def test_images_of_another_shape_are_refused(digits: LearnedFeatures) -> None:
    with pytest.raises(DataError, match=r"\(1, 8, 8\), got \(1, 28, 28\)"):
        digits(torch.zeros(2, 1, 28, 28))
