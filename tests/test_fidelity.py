"""Fidelity: every measure against a closed form or a count by hand, whatever the chunk; features that are learned once."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.linalg
import torch
from torch import Tensor

from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import DataError
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet, hold_out, load_images
from vaekit.evaluation.samples import features
from vaekit.evaluation.samples import fidelity as module
from vaekit.evaluation.samples.features import INCEPTION, FeatureExtractor, LearnedFeatures, column, learned_features
from vaekit.evaluation.samples.fidelity import (
    compare,
    density_coverage,
    fidelity,
    frechet_distance,
    kernel_distance,
    precision_recall,
    squared_radii,
)
from vaekit.models import VAE


class Pixels(FeatureExtractor):
    """Images as they are."""

    name, description = "pixels", "the pixels themselves"

    def __init__(self, dim: int = 60) -> None:
        self.dim = dim

    def __call__(self, images: Tensor) -> Tensor:
        assert images.min() >= 0
        assert images.max() <= 1
        return images.flatten(1)


def points_of(mean: Tensor, root: Tensor, num: int = 50) -> Tensor:
    """Points whose sample mean and covariance are exactly ``mean`` and ``root.T @ root``."""
    noise = torch.randn(num, len(root), dtype=torch.float64)
    white = torch.linalg.qr(noise - noise.mean(0)).Q * math.sqrt(num - 1)
    return mean + white @ root


def draws(num: int, seed: int, root: Tensor, shift: float) -> Tensor:
    return torch.randn(num, len(root), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) @ root + shift


# The Fréchet distance.


def test_frechet_distance_of_two_gaussians() -> None:
    """Points with exactly the moments of two Gaussians: the published formula, by matrix square roots of scipy."""
    root_a, root_b = torch.randn(5, 5).double(), torch.randn(5, 5).double()
    mean_a, mean_b = torch.randn(5).double(), torch.randn(5).double()
    cov_a, cov_b = root_a.T @ root_a, root_b.T @ root_b
    cross = scipy.linalg.sqrtm((cov_a @ cov_b).numpy()).real.trace()
    expected = float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace()) - 2 * cross
    a, b = points_of(mean_a, root_a), points_of(mean_b, root_b, 70)
    assert frechet_distance(a, b)[0] == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2.0, 3.0], [2.0, 2.0, 0.5]), ([1.0, 0.0, 3.0], [2.0, 1.0, 0.0]), ([0.0, 0.0, 0.0], [1.0, 1e-6, 0.0])]
)
def test_frechet_distance_of_independent_features_that_may_be_dead(a: list[float], b: list[float]) -> None:
    """Diagonal covariances: the squared differences of means and of standard deviations, all of them."""
    x, y = torch.tensor(a).double(), torch.tensor(b).double()
    value, error = frechet_distance(points_of(torch.zeros(3).double(), x.diag()), points_of(x - 1, y.diag()))
    assert value == pytest.approx(float((x - 1).square().sum() + (x - y).square().sum()), rel=1e-9)
    assert math.isfinite(error)


def test_frechet_distance_of_equal_and_of_moved_points() -> None:
    a = torch.randn(40, 7) @ torch.randn(7, 7)
    assert frechet_distance(a, a)[0] == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a.flip(0) + 2)[0] == pytest.approx(7 * 4, rel=1e-6)
    assert frechet_distance(3 * a, 3 * a.flip(0) + 6)[0] == pytest.approx(9 * 7 * 4, rel=1e-6)


def test_frechet_distance_of_fewer_points_than_features() -> None:
    a, b = torch.randn(6, 20).double(), torch.randn(9, 20).double()
    value, _ = frechet_distance(a, b)
    values = torch.linalg.eigvals(torch.cov(a.T) @ torch.cov(b.T)).real.clamp(min=0)
    expected = (a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum() - 2 * values.sqrt().sum()
    assert value == pytest.approx(expected.item(), rel=1e-5)


def test_frechet_distance_of_many_draws() -> None:
    root = torch.tensor([[1.0, 0.5], [0.0, 2.0]]).double()
    value, error = frechet_distance(draws(20_000, 0, root, 0.0), draws(20_000, 1, 2 * root, 1.0))
    expected = 2 + (root.T @ root).trace().item()  # of N(0, S) and N(1, 4S): 2 for the means, tr (2 - 1)^2 S for the rest
    assert value == pytest.approx(expected, abs=3 * error)
    assert error < 0.02 * expected


# The kernel distance.


def kernel(x: Tensor, y: Tensor) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def test_kernel_distance_is_its_sum_over_pairs() -> None:
    a, b = torch.randn(6, 4).double(), torch.randn(9, 4).double()
    aa = [kernel(a[i], a[j]) for i in range(6) for j in range(6) if i != j]
    bb = [kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j]
    ab = [kernel(x, y) for x in a for y in b]
    expected = sum(aa) / len(aa) + sum(bb) / len(bb) - 2 * sum(ab) / len(ab)
    assert kernel_distance(a, b)[0] == pytest.approx(expected, rel=1e-12)
    assert kernel_distance(b, a) == pytest.approx(kernel_distance(a, b), rel=1e-9)


def moments(mean: float, scale: float) -> Tensor:
    return torch.tensor([1, mean, mean**2 + scale**2, mean**3 + 3 * mean * scale**2])


def test_kernel_distance_of_two_gaussians() -> None:
    """In one dimension (xy + 1)^3 compares three moments: the squares of their differences, weighed 3, 3, 1."""
    a, b = draws(4_000, 0, torch.eye(1).double(), 0.2), draws(4_000, 1, 1.3 * torch.eye(1).double(), 0.5)
    expected = float((torch.tensor([1, 3, 3, 1]) * (moments(0.2, 1) - moments(0.5, 1.3)).square()).sum())
    value, error = kernel_distance(a, b)
    assert value == pytest.approx(expected, abs=3 * error)
    assert error < 0.2 * expected


def test_kernel_distance_has_no_bias() -> None:
    """Sets of a handful of points: the mean of many of them is the distance of the distributions."""
    root = torch.eye(1).double()
    for scale, shift in ((1.0, 0.0), (1.5, 0.5)):
        values = [
            kernel_distance(draws(8, 2 * i, root, 0.0), draws(8, 2 * i + 1, scale * root, shift))[0] for i in range(1500)
        ]
        expected = (torch.tensor([1, 3, 3, 1]) * (moments(0, 1) - moments(shift, scale)).square()).sum()
        found = torch.tensor(values)
        assert found.mean().item() == pytest.approx(expected.item(), abs=3 * found.std().item() / 1500**0.5)


@pytest.mark.parametrize(
    ("distance", "scale", "shift", "least", "most"),
    [
        (frechet_distance, 0.5, 0.7, 0.88, 1.12),
        (kernel_distance, 0.5, 0.7, 0.88, 1.12),
        (frechet_distance, 1.0, 0.0, 0.9, 1.7),  # equal distributions: too large rather than too small
        (kernel_distance, 1.0, 0.0, 0.9, 1.7),
    ],
)
def test_standard_errors_are_how_much_distances_vary(
    distance: Callable[[Tensor, Tensor], tuple[float, float]], scale: float, shift: float, least: float, most: float
) -> None:
    """The spread of the distances of 400 pairs of sets, and the standard error that each of them states."""
    root = torch.randn(4, 4).double()
    other = root if scale == 1 else scale * torch.randn(4, 4).double()
    found = torch.tensor(
        [distance(draws(150, 2 * i, root, 0.0), draws(250, 2 * i + 1, other, shift)) for i in range(400)],
        dtype=torch.float64,
    )
    assert least < (found[:, 1].square().mean().sqrt() / found[:, 0].std()).item() < most


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_standard_error_of_the_kernel_distance_is_its_formula(shift: float) -> None:
    """Hoeffding's terms from whole matrices, each centered in both arguments."""
    a, b = draws(150, 0, torch.eye(3).double() / 2, 0.0), draws(250, 1, torch.eye(3).double() / 2, shift)

    def between(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([((x * one).sum(1) / 3 + 1) ** 3 for one in y], 1)

    def others(k: Tensor) -> Tensor:
        return k[~torch.eye(len(k), dtype=torch.bool)].reshape(len(k), -1)

    def spread(k: Tensor) -> float:
        return ((k - k.mean(1, keepdim=True) - k.mean(0) + k.mean()) ** 2).mean().item()

    aa, bb, ab = between(a, a), between(b, b), between(a, b)
    zeta_aa, zeta_bb, zeta_ab = spread(aa), spread(bb), spread(ab)
    last = 2 * zeta_aa / 150**2 + 2 * zeta_bb / 250**2 + 4 * zeta_ab / (150 * 250)
    var_a = (others(aa).mean(1) - ab.mean(1)).var().item() - zeta_aa / 150 - zeta_ab / 250
    var_b = (others(bb).mean(1) - ab.mean(0)).var().item() - zeta_bb / 250 - zeta_ab / 150
    expected = max(0.0, 4 * var_a / 150 + 4 * var_b / 250) + last
    assert kernel_distance(a, b)[1] ** 2 == pytest.approx(expected, rel=0.04)
    assert shift or last > 0.1 * expected


# Precision, recall, density, coverage.


def by_hand(real: Tensor, fake: Tensor, k: int) -> dict[str, list[float]]:
    """The definitions, point by point, for points of whole numbers, whose distances are exact."""

    def radius(points: list[Tensor], i: int) -> float:
        return sorted(float((points[i] - p).square().sum()) for j, p in enumerate(points) if j != i)[k - 1]

    r, f = list(real), list(fake)
    real_radii, fake_radii = [radius(r, i) for i in range(len(r))], [radius(f, i) for i in range(len(f))]
    within = [[float((x - y).square().sum()) <= s for y, s in zip(r, real_radii, strict=True)] for x in f]
    back = [[float((x - y).square().sum()) <= s for y, s in zip(f, fake_radii, strict=True)] for x in r]
    return {
        "precision": [float(any(row)) for row in within],
        "recall": [float(any(row)) for row in back],
        "density": [sum(row) / k for row in within],
        "coverage": [float(any(column)) for column in zip(*within, strict=True)],
    }


@pytest.mark.parametrize("chunk", [1, 7 * 23, 2**22])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_balls_are_counted_as_defined(k: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points on a coarse grid, far from the origin: ties and doubles, and points on the rim, whatever is rounded."""
    monkeypatch.setattr(module, "CHUNK_NUMBERS", chunk)
    real, fake = torch.randint(0, 5, (23, 3)).double(), torch.randint(2, 9, (31, 3)).double()
    expected = by_hand(real, fake, k)
    real, fake = real / 3 + 100, fake / 3 + 100
    precision, recall = precision_recall(real, fake, k)
    density, coverage = density_coverage(real, fake, k)
    assert precision.tolist() == expected["precision"]
    assert recall.tolist() == expected["recall"]
    assert density.tolist() == expected["density"]
    assert coverage.tolist() == expected["coverage"]
    assert 0 < precision.mean() < 1
    assert 0 < coverage.mean() < 1


def test_distances_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(60, 5), torch.randn(70, 5) + 0.3
    expected = compare(a, b)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 500)
    found = compare(a, b)
    for name, number in expected.items():
        assert found[name].value == pytest.approx(number.value, rel=1e-9)
        assert found[name].standard_error == pytest.approx(number.standard_error, rel=1e-6)


def test_equal_and_disjoint_sets() -> None:
    a = torch.randn(80, 4)
    same, far = compare(a, a), compare(a, a + 100)
    for name in ("precision", "recall", "coverage"):
        assert (same[name].value, far[name].value) == (1, 0)
    assert same["density"].value == pytest.approx(6 / 5)  # a ball holds 5 others and its own center
    assert far["density"].value == 0


def test_a_lost_mode_is_seen_in_recall_and_coverage_alone() -> None:
    real = torch.cat([torch.randn(300, 2), torch.randn(100, 2) + 50])
    one = torch.randn(400, 2)
    precision, recall = (x.mean().item() for x in precision_recall(real, one))
    density, coverage = (x.mean().item() for x in density_coverage(real, one))
    assert precision > 0.9
    assert density > 0.8
    assert 0.6 < recall <= 0.75
    assert 0.6 < coverage <= 0.75


def test_density_counts_all_balls_that_overlap() -> None:
    """Six unit vectors and the origin, which is the nearest of each: a point there lies in all seven balls."""
    real = torch.cat([torch.eye(6), torch.zeros(1, 6)])
    density, coverage = density_coverage(real, torch.zeros(2, 6), k=1)
    assert density.tolist() == [7, 7]
    assert coverage.tolist() == [1] * 7
    density, coverage = density_coverage(real, torch.eye(6)[:1] * 1.5, k=1)
    assert density.tolist() == [1]
    assert coverage.tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_equal_distributions_have_a_density_of_one_and_the_published_coverage() -> None:
    """Naeem et al., 2020: whatever the distribution, 1 and 1 - (M - 1) ... (M - k) / ((M + N - 1) ... (M + N - k))."""
    m, n, k = 60, 40, 5
    found = torch.tensor(
        [
            [x.mean().item() for x in density_coverage(torch.randn(m, 3).exp(), torch.randn(n, 3).exp(), k)]
            for _ in range(400)
        ]
    )
    missed = math.prod((m - i) / (m + n - i) for i in range(1, k + 1))
    expected = torch.tensor([k / (m - 1) * m / k, 1 - missed])  # a ball holds a new point with probability k / M or so
    error = found.std(0) / 400**0.5
    assert ((found.mean(0) - expected).abs() < 3 * error + torch.tensor([0.03, 0.0])).all()


def test_more_images_than_neighbors_are_needed() -> None:
    with pytest.raises(DataError, match="more than 5"):
        squared_radii(torch.randn(5, 2), 5)


# The table.


def test_the_table_says_what_it_compares() -> None:
    model, images, train = make_vae(), ImageSet(pixels(40), name="a", split="test"), ImageSet(pixels(60), name="a")
    table = fidelity(model, images, train, Pixels(), num=1000)
    assert json.loads(json.dumps(table)) == table
    assert table["columns"] == [f"{name}-pixels" for name in ("FD", "KD", "precision", "recall", "density", "coverage")]
    assert table["extractor"] == {"name": "pixels", "description": "the pixels themselves", "dim": 60}
    assert list(table["rows"]) == ["test against train", "reconstructions", "samples", "noise"]
    assert table["num_images"] == 40
    for row in table["rows"].values():
        assert list(row) == table["columns"]
        assert {number["num_images"] for number in row.values()} == {40}


def test_rows_are_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """All images are taken: then a row is the comparison of all training images with what its name says."""
    model, images, train = make_vae(), ImageSet(pixels(50)), ImageSet(pixels(50))
    monkeypatch.setattr(model, "images", lambda z, labels: torch.full((len(z), 2, 6, 5), 1.5))
    table = fidelity(model, images, train, Pixels(), num=50)
    real = to_unit_interval(train.pixels).flatten(1)
    expected = {
        "test against train": to_unit_interval(images.pixels),
        "reconstructions": model.reconstruct(images.pixels),
        "samples": torch.ones(50, 2, 6, 5),  # images are clipped to what a screen shows
    }
    for name, shown_images in expected.items():
        for measure, number in compare(real, shown_images.flatten(1)).items():
            assert table["rows"][name][f"{measure}-pixels"]["value"] == pytest.approx(number.value, rel=1e-4, abs=1e-6)
    uniform = compare(real, torch.rand(50, 60))["FD"].value
    assert table["rows"]["noise"]["FD-pixels"]["value"] == pytest.approx(uniform, rel=0.2)


def test_images_are_a_random_choice() -> None:
    """A split that is sorted by class: the first of them are no sample of it."""
    levels = torch.arange(200).clamp(max=199).byte()[:, None, None, None].expand(-1, 2, 6, 5).contiguous()
    images = ImageSet(levels)
    means: list[float] = []

    class Watch(Pixels):
        def __call__(self, pixels: Tensor) -> Tensor:
            means.append(pixels.mean().item() * 255)
            return super().__call__(pixels) + 1e-3 * torch.randn(len(pixels), self.dim)

    fidelity(make_vae(), images, images, Watch(), num=50)
    reference, test = means[:2]
    assert reference == pytest.approx(99.5, abs=25)
    assert test == pytest.approx(99.5, abs=25)


def test_conditional_samples_have_the_classes_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_vae(classes=["a", "b", "c"])
    images = ImageSet(pixels(30), torch.arange(30) % 3, ("a", "b", "c"))
    given: list[int] = []
    shown_images = model.images

    def watched(z: Tensor, labels: Tensor) -> Tensor:
        given.extend(labels.tolist())
        return shown_images(z, labels)

    monkeypatch.setattr(model, "images", watched)
    fidelity(model, images, ImageSet(pixels(30)), Pixels(), num=30)
    assert given == images.sample(30, seed=0).labels.tolist()  # type: ignore[union-attr]


def test_what_is_drawn_depends_on_the_seed_alone_and_leaves_the_generators_alone() -> None:
    model, images, train = make_vae(), ImageSet(pixels(20)), ImageSet(pixels(30))
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = fidelity(model, images, train, Pixels(), num=15)
    assert torch.equal(torch.rand(2), expected)
    assert (
        fidelity(model, images, train, Pixels(), num=15) == first != fidelity(model, images, train, Pixels(), num=15, seed=1)
    )


@pytest.mark.parametrize("batch", [1, 7])
def test_fidelity_does_not_depend_on_the_batch(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, train = make_vae(), ImageSet(pixels(20)), ImageSet(pixels(30))
    expected = fidelity(model, images, train, Pixels(), num=20)["rows"]
    monkeypatch.setattr(VAE, "chunk_size", batch)
    found = fidelity(model, images, train, Pixels(), num=20)["rows"]
    for name, row in expected.items():
        for head, number in row.items():
            assert found[name][head]["value"] == pytest.approx(number["value"], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("num", "test", "train"), [(5, 30, 30), (100, 5, 30), (100, 30, 5)])
def test_too_few_images_are_refused(num: int, test: int, train: int) -> None:
    with pytest.raises(DataError, match="5 images are too few"):
        fidelity(make_vae(), ImageSet(pixels(test)), ImageSet(pixels(train)), Pixels(), num=num)


def test_only_the_network_of_the_paper_gives_an_fid() -> None:
    extractor = Pixels()
    assert column(extractor, "FD") == "FD-pixels"
    assert column(extractor, "KD") == "KD-pixels"
    for name in ("inception", "inception-v3", INCEPTION.upper()):
        extractor.name = name
        assert column(extractor, "FD") == f"FD-{name}"
    extractor.name = INCEPTION
    assert [column(extractor, measure) for measure in ("FD", "KD", "recall")] == ["FID", "KID", f"recall-{INCEPTION}"]


# Features that are learned here.


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps are enough to tell dark from bright."""
    monkeypatch.setattr(features, "MIN_STEPS", 60)
    monkeypatch.setattr(features, "MAX_STEPS", 60)


@pytest.fixture(scope="module")
def digits() -> LearnedFeatures:
    return learned_features(load_images("digits", "train"))


def dark_and_bright(num: int = 60, shape: tuple[int, int, int] = (1, 8, 8)) -> ImageSet:
    labels = torch.arange(num) % 2
    return ImageSet(pixels(num, shape) // 3 + 160 * labels.byte()[:, None, None, None], labels, name="shades")


def test_learned_features_name_digits_they_have_not_seen(digits: LearnedFeatures) -> None:
    test = load_images("digits", "test")
    assert test.labels is not None
    found = digits(to_unit_interval(test.pixels))
    assert found.shape == (len(test), digits.dim)
    right = (digits.classifier.classes(found).argmax(1) == test.labels).double().mean().item()
    assert right > 0.95
    assert digits.facts.accuracy == pytest.approx(right, abs=0.04)
    for part in (f"{digits.facts.accuracy:.2%}", "digits", digits.facts.weights, f"{digits.facts.num_train:,} images"):
        assert part in digits.description


def test_the_stated_accuracy_is_that_of_the_held_out_images(own_cache: Path, quick: None) -> None:
    """Labels that say nothing of their images: known by heart where the network was trained, and guessed elsewhere."""
    images = ImageSet(pixels(400, (1, 4, 4)), torch.randint(0, 3, (400,)))
    found = learned_features(images, seed=3)
    rest, held = hold_out(images, 0.1, seed=3, splits=("rest", "held out"))

    def accuracy(part: ImageSet) -> float:
        named = found.classifier.classes(found(to_unit_interval(part.pixels))).argmax(1)
        return (named == part.labels).double().mean().item()

    assert found.facts.accuracy == accuracy(held) < 0.7 < accuracy(rest)
    assert (found.facts.num_train, found.facts.num_held) == (360, 40)


def test_real_digits_are_nearer_than_noise_and_a_lost_class_is_missed(digits: LearnedFeatures) -> None:
    train, test = (load_images("digits", split) for split in ("train", "test"))
    assert test.labels is not None
    real = digits(to_unit_interval(train.first(300).pixels))
    floor = compare(real, digits(to_unit_interval(test.first(300).pixels)))
    some = compare(real, digits(to_unit_interval(test.take((test.labels < 5).nonzero().flatten()).pixels)))
    noise = compare(real, digits(torch.rand(300, *test.shape)))
    for name in ("FD", "KD"):
        assert floor[name].value < some[name].value < noise[name].value
    for name in ("recall", "coverage"):
        assert floor[name].value > some[name].value + 0.2 > noise[name].value


def test_features_are_learned_once(own_cache: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    images, pixels = dark_and_bright(), torch.rand(9, 1, 8, 8)
    first = learned_features(images)
    monkeypatch.setattr(features, "_learn", None)
    again = learned_features(images)
    assert torch.equal(first(pixels), again(pixels))
    assert (first.description, first.facts) == (again.description, again.facts)
    assert [path.name.startswith("cnn-") for path in (own_cache / "features").iterdir()] == [True]


def test_other_images_labels_or_seeds_are_learned_anew(own_cache: Path, quick: None) -> None:
    images = dark_and_bright()
    assert images.labels is not None
    others = [
        images,
        images.first(40),
        ImageSet(images.pixels.flip(3), images.labels),
        ImageSet(images.pixels, 1 - images.labels),
        ImageSet(images.pixels.reshape(-1, 1, 4, 16), images.labels),
    ]
    weights = {learned_features(other).facts.weights for other in others} | {learned_features(images, seed=1).facts.weights}
    assert len(weights) == 6
    assert len(list((own_cache / "features").iterdir())) == 6


def test_learning_is_repeated_by_its_seed_and_leaves_the_generators_alone(own_cache: Path, quick: None) -> None:
    images = dark_and_bright()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = learned_features(images)
    assert torch.equal(torch.rand(2), expected)
    next((own_cache / "features").iterdir()).unlink()
    assert learned_features(images).facts == first.facts


@pytest.mark.parametrize("damage", ["cut", "weights", "facts", "empty"])
def test_damaged_features_are_learned_anew(
    damage: str, own_cache: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    images = dark_and_bright()
    first = learned_features(images)
    path = next((own_cache / "features").iterdir())
    whole = path.read_bytes()
    changed = {
        "cut": whole[:-100],
        "weights": whole[:-100] + bytes(255 - byte for byte in whole[-100:]),
        "facts": whole.replace(b"num_classes", b"num_glasses"),
        "empty": b"",
    }
    assert changed[damage] != whole
    path.write_bytes(changed[damage])
    again = learned_features(images)
    assert "damaged" in capsys.readouterr().err
    assert again.facts == first.facts
    assert path.read_bytes() == whole
    learned_features(images)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 9), (2, 40, 3), (1, 33, 20)])
@pytest.mark.parametrize("num", [20, 143])  # of 143, 129 are trained on: a batch of 128, and one image that is left
def test_images_of_any_shape_can_be_learned(shape: tuple[int, int, int], num: int, own_cache: Path, quick: None) -> None:
    assert learned_features(dark_and_bright(num, shape)).facts.accuracy == 1


def test_images_move_by_a_pixel_at_most_each_on_its_own() -> None:
    x = pixels(200, (2, 28, 14))
    moved = features._moved(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(
        x.float(), (0, 0, 1, 1), mode="replicate"
    ).byte()  # 14 columns are too few to move by one
    padded = torch.nn.functional.pad(padded.float(), (1, 1, 0, 0), mode="replicate").byte()
    where = [
        [torch.equal(m, p[:, i : i + 28, j : j + 14]) for i in range(3) for j in range(3)]
        for m, p in zip(moved, padded, strict=True)
    ]
    counts = torch.tensor(where).sum(0).reshape(3, 3)
    assert counts.sum() == 200
    assert (counts[:, 1] > 40).all()
    assert counts[:, [0, 2]].sum() == 0


def test_features_cannot_be_learned_without_classes() -> None:
    with pytest.raises(DataError, match="no labels"):
        learned_features(ImageSet(pixels(30)))
    with pytest.raises(DataError, match="only one"):
        learned_features(ImageSet(pixels(30), torch.ones(30, dtype=torch.long)))
    with pytest.raises(DataError, match="20 images or more, and there are 19"):
        learned_features(dark_and_bright(19))


def test_images_of_another_shape_are_refused(digits: LearnedFeatures) -> None:
    with pytest.raises(DataError, match=r"\(1, 8, 8\), got \(1, 28, 28\)"):
        digits(torch.zeros(2, 1, 28, 28))


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set VAEKIT_CACHE"):
        learned_features(dark_and_bright())
