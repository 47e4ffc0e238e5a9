"""The aggregate posterior and collapse: closed forms, and integrals by another way, for every part of the rate."""

import itertools
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.integrate import quad, simpson
from scipy.stats import laplace, norm
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from tests.oracles import Flatten, LinearDecoder, LinearNormal
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError, DataError
from vaekit.data import ImageSet
from vaekit.distributions import DiagonalGaussian, Posterior, Prior, StandardNormal
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.latents import aggregate_posterior as aggregate
from vaekit.evaluation.latents import collapse
from vaekit.evaluation.latents.aggregate_posterior import (
    Aggregate,
    OtherPosteriors,
    aggregate_terms,
    draw,
    log_densities,
    log_weights,
)
from vaekit.evaluation.latents.collapse import collapse_report, partners, verdict
from vaekit.models import VAE, ClassLabel
from vaekit.networks import Decoder


class Lookup(Posterior):
    """The posterior that an image's number stands for."""

    def __init__(self, make: Callable[[Tensor], Distribution]) -> None:
        super().__init__()
        self.make = make

    def forward(self, features: Tensor) -> Distribution:
        return self.make((features * 255).round().long() @ torch.tensor([256, 1]))


class Fixed(Prior):
    """A prior that is what a function says."""

    def __init__(self, make: Callable[[int, Tensor | None], Distribution]) -> None:
        super().__init__()
        self.make = make

    def forward(self, num: int, context: Tensor | None = None, encode: object = None) -> Distribution:
        return self.make(num, context)


def numbered(num: int, classes: int = 2) -> ImageSet:
    """N images of two pixels that say which image it is; labels go round."""
    index = torch.arange(num)
    store = torch.stack([index // 256, index % 256], 1).byte().reshape(num, 1, 1, 2)
    return ImageSet(store, index % classes)


def lookup(make: Callable[[Tensor], Distribution], dim: int, prior: Prior | None = None) -> VAE:
    shape = (1, 1, 2)
    decoder = LinearDecoder(shape, torch.zeros(2, dim), torch.zeros(2))
    return VAE(Flatten(shape), Lookup(make), prior or StandardNormal(dim), decoder, LinearNormal(1.0))


def gaussians(means: Tensor, stddevs: Tensor, prior: Prior | None = None) -> VAE:
    """The model whose posteriors are these, with shape (C, D), in turn."""
    num = len(means)
    return lookup(lambda i: Independent(Normal(means[i % num], stddevs[i % num]), 1), means.shape[1], prior)


def linear_gaussian(slopes: Sequence[float], num: int, seed: int = 0) -> tuple[VAE, ImageSet]:
    """A linear-Gaussian model with its exact posterior and N images of it; slopes are columns' lengths over the noise."""
    scale, dim, random = 0.08, len(slopes), torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(12, dim, generator=torch.Generator().manual_seed(1)))
    weight, bias = basis * scale * torch.tensor(slopes), torch.full((12,), 0.5)
    noise = torch.randn(num, 12, generator=random)
    x = bias + torch.randn(num, dim, generator=random) @ weight.T + scale * noise
    images = ImageSet((x.clamp(0, 1) * 255).round().byte().reshape(num, 1, 3, 4))
    variance = 1 / (1 + torch.tensor(slopes) ** 2)
    posterior = DiagonalGaussian(12, dim)
    with torch.no_grad():
        posterior.mu.weight.copy_(variance.unsqueeze(1) * weight.T / scale**2)
        posterior.mu.bias.copy_(-posterior.mu.weight @ bias)
        posterior.logvar.weight.zero_()
        posterior.logvar.bias.copy_(variance.log())
    decoder = LinearDecoder((1, 3, 4), weight, bias)
    return VAE(Flatten((1, 3, 4)), posterior, StandardNormal(dim), decoder, LinearNormal(scale)), images


def information(slopes: Sequence[float]) -> float:
    """I(x; z) of the linear-Gaussian model."""
    return 0.5 * sum(math.log1p(slope**2) for slope in slopes)


def assert_near(estimate: Estimate | None, expected: float, slack: float = 0.0) -> None:
    assert estimate is not None
    assert estimate.standard_error is not None
    assert abs(estimate.value - expected) < 4 * estimate.standard_error + slack


def assert_adds_up(found: Aggregate) -> None:
    assert found.aggregate_kl is not None
    assert found.total_correlation is not None
    assert found.dimension_wise_kl is not None
    assert found.rate.value == pytest.approx(found.mutual_information.value + found.aggregate_kl.value, rel=1e-12)
    parts = found.total_correlation.value + found.dimension_wise_kl.value
    assert found.aggregate_kl.value == pytest.approx(parts, rel=1e-12, abs=1e-9)


# The exact aggregate


@pytest.mark.parametrize("estimator", ["exact", "stratified", "weighted"])
@pytest.mark.parametrize("batch_size", [2, 8, 21, 50])
def test_codes_that_do_not_overlap_say_log_n(estimator: aggregate.Estimator, batch_size: int) -> None:
    num, dim = 21, 2
    means = 1000 * torch.arange(float(num)).unsqueeze(1).expand(num, dim)
    model = gaussians(means, torch.tensor([0.3, 2.0]).expand(num, dim))
    found = aggregate_terms(model, numbered(num), num_samples=3, estimator=estimator, batch_size=batch_size)
    sizes = (
        [num]
        if num // batch_size < 2
        else [num * (i + 1) // b - num * i // b for b in [num // batch_size] for i in range(b)]
    )
    extra = sum(size * math.log(size) for size in sizes) / num if estimator == "weighted" else 0
    assert found.mutual_information.value == pytest.approx(math.log(num) + extra, abs=1e-6)
    assert found.saturated
    assert found.log_num_images == pytest.approx(math.log(num))
    assert_adds_up(found)
    assert found.total_correlation is not None  # the second latent says what the first says
    assert found.total_correlation.value == pytest.approx((dim - 1) * (math.log(num) + extra), abs=1e-6)


@pytest.mark.parametrize("estimator", ["exact", "stratified", "weighted"])
def test_codes_that_are_all_the_same_say_nothing(estimator: aggregate.Estimator) -> None:
    mean, stddev, num = torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[0.4, 1.0, 2.0]]), 300
    model = gaussians(mean, stddev)
    found = aggregate_terms(model, numbered(num), num_samples=10, estimator=estimator, batch_size=64)
    rates = 0.5 * (mean**2 + stddev**2 - 1 - 2 * stddev.log())
    off = math.log(num) if estimator == "weighted" else 0  # N equal terms of a batch of M make q / N, whatever M
    assert found.mutual_information.value == pytest.approx(off, abs=1e-9)
    assert found.total_correlation is not None
    assert found.total_correlation.value == pytest.approx(2 * off, abs=1e-9)
    assert_near(found.aggregate_kl, rates.sum().item() - off)
    assert_near(found.dimension_wise_kl, rates.sum().item() - 3 * off)
    assert found.rates == pytest.approx(rates.flatten().tolist(), abs=1e-6)
    assert_adds_up(found)
    assert found.saturated == (estimator == "weighted")


def test_two_points_in_one_dimension_by_quadrature() -> None:
    means, stddevs = (-1.0, 1.5), (0.5, 0.9)

    def q(z: float) -> float:
        return float(np.mean(norm.pdf(z, means, stddevs)))

    def part(k: int) -> float:
        return float(
            quad(lambda z: norm.pdf(z, means[k], stddevs[k]) * np.log(norm.pdf(z, means[k], stddevs[k]) / q(z)), -9, 9)[0]
        )

    model = gaussians(torch.tensor(means).unsqueeze(1), torch.tensor(stddevs).unsqueeze(1))
    found = aggregate_terms(model, numbered(1000), num_samples=20)
    assert_near(found.mutual_information, (part(0) + part(1)) / 2)
    divergence = quad(lambda z: q(z) * np.log(q(z) / norm.pdf(z)), -9, 9)[0]
    assert_near(found.aggregate_kl, divergence)
    assert_near(found.dimension_wise_kl, divergence)
    assert found.mutual_information.standard_error is not None
    assert found.mutual_information.standard_error < 0.01
    assert found.total_correlation is not None
    assert found.total_correlation.value == pytest.approx(0, abs=1e-9)  # of one latent
    assert_adds_up(found)


def test_correlated_latents_by_integration_over_the_plane() -> None:
    means = np.array([[1.2, 1.0], [-1.0, -1.3], [0.6, -0.4]])
    stddevs = np.array([[0.5, 0.6], [0.7, 0.4], [0.3, 0.9]])
    axis = np.linspace(-8, 8, 801)
    one, two = (norm.pdf(axis[:, None], means[:, d], stddevs[:, d]) for d in (0, 1))  # (Z, C)
    each = one.T[:, :, None] * two.T[:, None, :]
    q, q1, q2 = each.mean(0), one.mean(1), two.mean(1)
    p = norm.pdf(axis)

    def integral(values: np.ndarray) -> float:
        return float(simpson(simpson(values, x=axis), x=axis))

    def log(values: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(values, 1e-300))

    total_correlation = integral(q * (log(q) - log(q1[:, None] * q2)))
    dimension_wise = sum(float(simpson(m * (log(m) - log(p)), x=axis)) for m in (q1, q2))
    mutual = float(np.mean([integral(part * (log(part) - log(q))) for part in each]))
    assert total_correlation > 0.2
    model = gaussians(torch.tensor(means).float(), torch.tensor(stddevs).float())
    found = aggregate_terms(model, numbered(900), num_samples=30)
    assert_near(found.total_correlation, total_correlation)
    assert_near(found.dimension_wise_kl, dimension_wise)
    assert_near(found.aggregate_kl, total_correlation + dimension_wise)
    assert_near(found.mutual_information, mutual)
    assert found.total_correlation is not None
    assert found.total_correlation.standard_error is not None
    assert found.total_correlation.standard_error < 0.02
    assert_adds_up(found)


SLOPES = (0.3, 0.7, 1.0)


def test_information_of_a_linear_gaussian_model() -> None:
    model, images = linear_gaussian(SLOPES, 3000)
    found = aggregate_terms(model, images, num_samples=3)
    closed = information(SLOPES)
    bias = math.expm1(2 * closed) / (2 * 3000)  # 1 + chi^2 is exp(2 I) for Gaussians
    assert_near(found.mutual_information, closed, 5 * bias)
    assert_near(found.rate, closed)
    assert_near(found.aggregate_kl, 0, 5 * bias)
    assert_near(found.total_correlation, 0, 5 * bias)
    assert sum(found.rates) == pytest.approx(closed, abs=0.05)
    assert not found.saturated
    assert_adds_up(found)


def test_few_images_are_off_by_as_much_as_is_said() -> None:
    num, sets = 50, 160
    model, images = linear_gaussian(SLOPES, num * sets)
    parts = [aggregate_terms(model, images.take(torch.arange(num) + num * i), num_samples=4, seed=i) for i in range(sets)]
    bias = math.expm1(2 * information(SLOPES)) / (2 * num)
    for name, expected in (("mutual_information", information(SLOPES) - bias), ("aggregate_kl", bias)):
        values = np.array([getattr(part, name).value for part in parts])
        assert abs(values.mean() - expected) < 4 * values.std() / sets**0.5 + 0.2 * bias
    assert bias > 0.02


def test_rate_is_the_mean_of_the_closed_form_and_shared_by_estimators() -> None:
    means, stddevs = torch.randn(40, 3), torch.rand(40, 3) + 0.2
    model, images = gaussians(means, stddevs), numbered(40)
    exact = aggregate_terms(model, images, num_samples=200)
    closed = 0.5 * (means**2 + stddevs**2 - 1 - 2 * stddevs.log())
    assert exact.rates == pytest.approx(closed.mean(0).tolist(), abs=1e-5)
    assert exact.rate.value == pytest.approx(closed.sum(1).mean().item(), abs=0.05)
    weighted = aggregate_terms(model, images, num_samples=200, estimator="weighted", batch_size=40)
    assert weighted.rate == exact.rate
    log_n = math.log(40)  # a batch of all images says q(z) / N
    assert weighted.mutual_information.value == pytest.approx(exact.mutual_information.value + log_n, abs=1e-9)
    assert weighted.total_correlation is not None
    assert exact.total_correlation is not None
    assert weighted.total_correlation.value == pytest.approx(exact.total_correlation.value + 2 * log_n, abs=1e-9)
    stratified = aggregate_terms(model, images, num_samples=200, estimator="stratified", batch_size=20)
    assert stratified.mutual_information.value == pytest.approx(exact.mutual_information.value, abs=0.2)
    assert stratified.mutual_information.value != exact.mutual_information.value


# Estimators


@pytest.mark.parametrize("size", [2, 3, 5])
def test_stratified_sampling_is_unbiased_for_the_aggregate(size: int) -> None:
    """All batches of an image with others, in every order: their mean is q(z) to the last digit."""
    num = 5
    density = torch.rand(num, dtype=torch.float64)
    weights = log_weights("stratified", num, size).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(size, dtype=torch.float64))
    for row in range(size):
        batches = [list(batch) for batch in itertools.permutations(range(num), size) if batch[row] == 0]
        said = torch.stack([weights[row] @ density[batch] for batch in batches])
        assert said.mean().item() == pytest.approx(density.mean().item(), rel=1e-12)


@pytest.mark.parametrize("estimator", ["exact", "stratified", "weighted"])
@pytest.mark.parametrize("chunk", [1, 17, 10**6])
def test_densities_are_what_their_definition_says(
    estimator: aggregate.Estimator, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out with loops, for batches of 5 and 6 images; however many numbers are held at a time."""
    monkeypatch.setattr(aggregate, "CHUNK_NUMBERS", chunk)
    num, dim = 11, 3
    means, stddevs = torch.randn(num, dim), torch.rand(num, dim) + 0.3
    draws = draw(gaussians(means, stddevs), numbered(num), 2, seed=3)
    log_qzx, log_qz, log_marginals = log_densities(draws, estimator, num if estimator == "exact" else 4)
    for s, n in itertools.product(range(2), range(num)):
        batch = list(range(num)) if estimator == "exact" else list(range(5) if n < 5 else range(5, 11))
        size = len(batch)
        latents = norm.pdf(draws.z[s, n].numpy(), means.numpy(), stddevs.numpy())  # (N, D)
        after = batch[(batch.index(n) + 1) % size]
        weight = dict.fromkeys(batch, 1 / num if estimator == "exact" else 1 / (num * size))
        if estimator == "stratified":
            weight = dict.fromkeys(batch, 1 / (size - 1)) | {n: 1 / num, after: (num - size + 1) / (num * (size - 1))}
        joint = sum(w * latents[m].prod() for m, w in weight.items())
        marginals = sum(w * latents[m] for m, w in weight.items())
        assert log_qzx[s, n].item() == pytest.approx(math.log(latents[n].prod()), abs=1e-5)
        assert log_qz[s, n].item() == pytest.approx(math.log(joint), abs=1e-5)
        assert log_marginals[s, n].item() == pytest.approx(float(np.log(marginals).sum()), abs=1e-5)


def test_narrow_posteriors_far_out_keep_their_digits() -> None:
    """Two pairs of codes: of each pair one is the other, so that I is log N / 2 to the last digit."""
    means = torch.tensor([[5.0, -4.0], [5.0, -4.0], [5.01, 3.0], [5.01, 3.0]])
    found = aggregate_terms(gaussians(means, torch.full((4, 2), 1e-4)), numbered(4), num_samples=50)
    assert found.mutual_information.value == pytest.approx(math.log(2), abs=1e-6)


def test_the_seed_alone_decides_and_generators_are_left_alone() -> None:
    model, images = make_vae().train(), ImageSet(pixels(60, (2, 6, 5)))
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = aggregate_terms(model, images)
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert aggregate_terms(model, images) == first
    assert aggregate_terms(model, images, seed=1).mutual_information != first.mutual_information


# Other distributions


def test_joint_posteriors_have_information_but_no_parts_for_each_latent() -> None:
    """A Gaussian of a diagonal covariance, once told as such and once as a joint distribution."""
    means, factor = torch.randn(30, 3), nn.Parameter(torch.rand(30, 3) + 0.3)
    joint = lookup(lambda i: MultivariateNormal(means[i % 30], scale_tril=torch.diag_embed(factor[i % 30])), 3)
    found = aggregate_terms(joint, numbered(70), num_samples=2)
    expected = aggregate_terms(gaussians(means, factor.detach()), numbered(70), num_samples=2)
    assert found.mutual_information.value == pytest.approx(expected.mutual_information.value, abs=1e-5)
    assert found.aggregate_kl is not None
    assert expected.aggregate_kl is not None
    assert found.aggregate_kl.value == pytest.approx(expected.aggregate_kl.value, abs=1e-5)
    assert found.total_correlation is None
    assert found.dimension_wise_kl is None
    assert len(found.rates) == 1
    assert set(found.to_data()) == {
        "rate",
        "mutual_information",
        "aggregate_kl",
        "rates",
        "estimator",
        "log_num_images",
        "saturated",
    }


def test_factorized_posteriors_need_not_be_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VAE, "chunk_size", 70)  # several parts
    monkeypatch.setattr(aggregate, "CHUNK_NUMBERS", 9000)
    means, scale = torch.tensor([[1.0, 0.5], [-1.0, 0.5]]), 0.6
    model = lookup(lambda i: Independent(Laplace(means[i % 2], scale), 1), 2)
    found = aggregate_terms(model, numbered(400), num_samples=20)

    def q(z: float) -> float:
        return float(laplace.pdf(z, [1, -1], scale).mean())

    first = quad(lambda z: q(z) * np.log(q(z) / norm.pdf(z)), -15, 15, points=[-1, 1])[0]
    second = quad(
        lambda z: laplace.pdf(z, 0.5, scale) * (laplace.logpdf(z, 0.5, scale) - norm.logpdf(z)), -15, 15, points=[0.5]
    )[0]
    entropy = -quad(lambda z: q(z) * np.log(q(z)), -15, 15, points=[-1, 1])[0]
    assert_near(found.mutual_information, entropy - laplace.entropy(scale=scale))
    assert_near(found.dimension_wise_kl, first + second)
    assert found.total_correlation is not None
    assert found.total_correlation.value == pytest.approx(0, abs=1e-6)  # the second latent is always the same
    assert_adds_up(found)


def test_parts_of_other_posteriors_are_found_by_place() -> None:
    means, z = torch.randn(10, 2), torch.randn(4, 2)
    whole = Independent(Normal(means, 0.5), 1)
    posteriors = OtherPosteriors([Independent(Normal(part, 0.5), 1) for part in means.split([3, 1, 6])])
    for start, stop in ((0, 10), (2, 4), (4, 10), (3, 4), (0, 3), (1, 9)):
        expected = whole.log_prob(z.unsqueeze(1)).double()
        torch.testing.assert_close(posteriors.joint(z, slice(start, stop)), expected[:, start:stop])
        for d, found in enumerate(posteriors.marginals(z, slice(start, stop))):
            expected = Normal(means[:, d], 0.5).log_prob(z[:, d : d + 1]).double()
            torch.testing.assert_close(found, expected[:, start:stop])


def test_a_prior_that_is_the_aggregate_leaves_nothing() -> None:
    means, stddevs = torch.randn(5, 2), torch.rand(5, 2) + 0.3

    def mixture(num: int, context: Tensor | None) -> Distribution:
        parts = Independent(Normal(means.expand(num, 5, 2), stddevs.expand(num, 5, 2)), 1)
        return MixtureSameFamily(Categorical(torch.ones(num, 5)), parts)

    found = aggregate_terms(gaussians(means, stddevs, Fixed(mixture)), numbered(100), num_samples=3)
    assert found.aggregate_kl is not None
    assert found.aggregate_kl.value == pytest.approx(0, abs=1e-6)
    assert found.aggregate_kl.standard_error == pytest.approx(0, abs=1e-6)
    assert found.rate.value == pytest.approx(found.mutual_information.value, abs=1e-6)
    assert found.total_correlation is None
    assert found.dimension_wise_kl is None


def test_a_prior_that_listens_to_the_label_has_no_aggregate() -> None:
    images = ImageSet(pixels(30, (2, 6, 5)), torch.arange(30).sort().values // 10, ("a", "b", "c"))
    model = make_vae(classes=["a", "b", "c"])
    deaf = aggregate_terms(model, images)
    assert_adds_up(deaf)
    model.prior = Fixed(lambda num, context: Independent(Normal(context, 1.0), 1))
    found = aggregate_terms(model, images)
    assert found.mutual_information == deaf.mutual_information
    assert found.aggregate_kl is None
    assert found.total_correlation is None
    assert found.dimension_wise_kl is None
    assert found.rate.value > deaf.rate.value + 0.5


def test_what_cannot_be_asked_is_said() -> None:
    model = gaussians(torch.zeros(2, 2), torch.ones(2, 2))
    with pytest.raises(DataError, match="one image"):
        aggregate_terms(model, numbered(1))
    with pytest.raises(ConfigError, match="did you mean 'stratified'"):
        aggregate_terms(model, numbered(4), estimator="stratifed")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_samples"):
        aggregate_terms(model, numbered(4), num_samples=0)
    with pytest.raises(ConfigError, match="batch_size"):
        aggregate_terms(model, numbered(4), estimator="weighted", batch_size=1)
    with pytest.raises(DataError, match="one image"):
        collapse_report(model, numbered(1))


def test_parts_can_be_written_as_json() -> None:
    data = aggregate_terms(gaussians(torch.randn(9, 2), torch.ones(9, 2)), numbered(9)).to_data()
    assert json.loads(json.dumps(data)) == data
    assert data["mutual_information"]["unit"] == "nats per image"
    assert data["mutual_information"]["num_images"] == 9
    assert data["log_num_images"] == math.log(9)


# Collapse


def test_figures_of_a_linear_gaussian_model_are_its_closed_forms() -> None:
    slopes = (0.0, 1.5, 0.0, 3.0, 0.8)
    model, images = linear_gaussian(slopes, 1500)
    report = collapse_report(model, images)
    assert "no collapse: 2 of 5 latents unused; z carries" in report["verdict"]
    assert report["active_units"] == {"value": 3, "of": 5, "threshold": 0.01, "num_images": 1500}
    assert report["used_latents"] == {"value": 3, "of": 5, "threshold": 0.01, "num_images": 1500}
    closed = {
        "rate": information(slopes),
        "distortion": 6 * (1 + math.log(2 * math.pi * 0.08**2)),
        "shuffling_cost": sum(slope**2 for slope in slopes),
    }
    closed["shuffled_distortion"] = closed["distortion"] + closed["shuffling_cost"]
    for name, expected in closed.items():
        assert abs(report[name]["value"] - expected) < 4 * report[name]["standard_error"] + 0.01, name
    assert report["psnr"]["value"] > report["shuffled_psnr"]["value"] + 2
    assert report["mutual_information"]["value"] < report["log_num_images"]
    assert json.loads(json.dumps(report)) == report


def test_all_latents_in_use() -> None:
    model, images = linear_gaussian((1.5, 3.0), 300)
    report = collapse_report(model, images)
    assert report["verdict"].startswith("no collapse: all 2 latents in use; z carries ")
    assert f"costs {report['shuffling_cost']['value']:.2f} ± " in report["verdict"]
    assert f"carries {report['rate']['value']:.2f} nats" in report["verdict"]


def test_a_decoder_that_ignores_z_has_collapsed_whatever_the_encoder_says() -> None:
    model, images = linear_gaussian((1.5, 3.0), 300)
    with torch.no_grad():
        model.decoder.weight.zero_()
    report = collapse_report(model, images)
    assert report["verdict"].startswith("collapsed: the decoder ignores z; another image's z costs 0.00 ± 0.00 nats")
    assert "2 of 2 latents in use" in report["verdict"]
    assert report["shuffling_cost"]["value"] == 0
    assert report["psnr"] == report["shuffled_psnr"]


def test_posteriors_that_are_the_prior_have_collapsed() -> None:
    model, images = linear_gaussian((0.0, 0.0, 0.0), 300)
    report = collapse_report(model, images)
    assert report["verdict"].startswith("collapsed")
    assert "0 of 3 latents in use, z carries 0.00 nats" in report["verdict"]
    assert report["active_units"]["value"] == report["used_latents"]["value"] == 0
    assert report["mutual_information"]["value"] == pytest.approx(0, abs=1e-6)


class Drawn(Decoder):
    """The image of a class, whatever z."""

    def __init__(self) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_maps, self.context_dim = (1, 1, 2), 2, 1, 2
        self.images = nn.Parameter(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        assert context is not None
        return (context @ self.images).unflatten(-1, self.shape)


def test_z_is_shuffled_and_the_label_stays() -> None:
    encoder = Flatten((1, 1, 2))
    encoder.context_dim = 2
    posterior = Lookup(lambda i: Independent(Normal(torch.stack([i % 7, i % 3], 1).float(), 1.0), 1))
    model = VAE(encoder, posterior, StandardNormal(2), Drawn(), LinearNormal(0.1), ClassLabel(["a", "b"]))
    report = collapse_report(model, numbered(20))
    assert report["shuffling_cost"]["value"] == 0
    assert report["verdict"].startswith("collapsed")


def test_each_image_meets_the_z_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = linear_gaussian((1.5, 3.0), 30)
    monkeypatch.setattr(VAE, "chunk_size", 7)  # five batches
    z, x = torch.randn(30, 2), images.pixels / 255
    px = model.decode(z)
    torch.testing.assert_close(collapse._distortion(model, images, z).float(), -px.log_prob(x))
    error = (px.mean.clamp(0, 1) - x).square().mean((1, 2, 3))
    torch.testing.assert_close(collapse._psnr(model, images, z), -10 * error.log10())


def test_a_latent_may_be_used_by_its_kl_and_not_be_active() -> None:
    means = torch.randn(30, 2) * torch.tensor([1.0, 0.0])
    report = collapse_report(gaussians(means, torch.full((30, 2), 0.5)), numbered(30))
    assert report["used_latents"]["value"] == 2
    assert report["active_units"]["value"] == 1


def test_aggregate_that_is_known_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = linear_gaussian((1.5, 3.0), 100)
    known = aggregate_terms(model, images)
    expected = collapse_report(model, images)
    monkeypatch.setattr("vaekit.evaluation.latents.collapse.aggregate_terms", None)
    assert collapse_report(model, images, aggregate=known) == expected


def test_joint_posteriors_are_counted_by_their_means() -> None:
    means = torch.randn(30, 3) * torch.tensor([1.0, 0.0, 1.0])
    model = lookup(lambda i: MultivariateNormal(means[i % 30], torch.eye(3)), 3)
    report = collapse_report(model, numbered(30))
    assert "used_latents" not in report
    assert "2 of 3 latents in use" in report["verdict"]


@pytest.mark.parametrize("num", [2, 3, 10, 101])
def test_partners_are_others_and_each_serves_once(num: int) -> None:
    places = partners(num, seed=num)
    assert sorted(places.tolist()) == list(range(num))
    assert (places != torch.arange(num)).all()


def test_words_by_their_thresholds() -> None:
    rate = Estimate(2.0, 0.1, "nats per image", 10)

    def words(used: int, cost: float, error: float = 0.01) -> str:
        return verdict(used, 4, rate, Estimate(cost, error, "nats per image", 10)).split(";")[0]

    assert words(4, 0.07) == words(0, -0.07) == "collapsed: the decoder ignores z"
    assert words(4, 0.13) == "no collapse: all 4 latents in use"
    assert words(3, 0.13) == "no collapse: 1 of 4 latents unused"
    for cost, error in ((0.09, 0.01), (0.11, 0.01), (0.0, 0.06), (20.0, 11.0), (-5.0, 0.1)):
        assert words(4, cost, error).startswith(f"unclear: another image's z costs {cost:.2f} ± {error:.2f} nats")
