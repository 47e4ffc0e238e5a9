"""Laws of the discretized logistic mixture: masses sum to one, equal the definition, fit samples and have closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vaekit.core.config import build
from vaekit.core.errors import ConfigError
from vaekit.core.units import bits_per_dim, to_unit_interval
from vaekit.distributions.likelihoods import Bernoulli
from vaekit.distributions.logistic_mixture import INITIAL_SCALE, MIN_SCALE, LogisticMixture, LogisticMixturePixels

EXTREMES = torch.tensor([-1e4, -100.0, -7.0, 0.0, 7.0, 100.0, 1e4])


def every_image(bits: int, channels: int) -> Tensor:
    """All images with one pixel, with shape (L^C, 1, C, 1, 1). The last channel changes fastest."""
    levels = torch.arange(2**bits) / (2**bits - 1)
    return torch.cartesian_prod(*[levels] * channels).reshape(-1, 1, channels, 1, 1)


def extreme_maps(num: int, likelihood: LogisticMixture, channels: int) -> Tensor:
    """Maps of one pixel whose values are extreme or zero."""
    return EXTREMES[torch.randint(len(EXTREMES), (num, likelihood.num_maps(channels), 1, 1))]


def one_component(mean: float, scale: float, levels: int = 256, dtype: torch.dtype = torch.float32) -> LogisticMixturePixels:
    """One gray pixel with one component."""
    means = torch.full((1, 1, 1, 1), mean, dtype=dtype)
    log_scales = torch.full_like(means, scale).log()
    return LogisticMixturePixels(means.new_zeros(1, 1, 1), means, log_scales, means.new_zeros(1, 0, 1, 1), levels)


def color_pixel(means: Tensor, scales: Tensor, coefficients: Tensor, logits: Tensor, levels: int) -> LogisticMixturePixels:
    """One color pixel with K components; means, scales and coefficients have shape (K, 3), logits (K)."""
    return LogisticMixturePixels(
        logits[:, None, None], means[..., None, None], scales.log()[..., None, None], coefficients[..., None, None], levels
    )


def cdf(edge: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The logistic distribution function. If exp overflows the result is 0, which is correct."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-(edge - mean) / scale)))


def component_mass(mean: np.ndarray, scale: np.ndarray, levels: int) -> np.ndarray:
    """The mass of each level by its definition, in float64; the last axis are the levels."""
    x = np.linspace(-1, 1, levels)
    upper = cdf(x + 1 / (levels - 1), mean[..., None], scale[..., None])
    lower = cdf(x - 1 / (levels - 1), mean[..., None], scale[..., None])
    upper[..., -1], lower[..., 0] = 1, 0
    return np.asarray(upper - lower)


def reference_mass(maps: Tensor, likelihood: LogisticMixture, channels: int) -> np.ndarray:
    """The mass of every image with one pixel, with shape (*, L, ..., L), for maps of shape (*, num_maps)."""
    levels, components = 2**likelihood.bits, likelihood.num_components
    per = maps.double().numpy().reshape(*maps.shape[:-1], components, -1)
    weights = np.exp(per[..., 0] - per[..., 0].max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    means, raw_scales = per[..., 1 : 1 + channels], per[..., 1 + channels : 1 + 2 * channels]
    log_range = math.log(0.35 / (0.1 / (levels - 1)))
    scales = 0.35 * np.exp(log_range * np.tanh(raw_scales / log_range))
    if channels == 1:
        return np.asarray((weights[..., None] * component_mass(means[..., 0], scales[..., 0], levels)).sum(-2))
    alpha, beta, gamma = np.moveaxis(np.tanh(per[..., 1 + 2 * channels :]), -1, 0)
    total = np.zeros((*maps.shape[:-1], levels, levels, levels))
    x = np.linspace(-1, 1, levels)
    for r, g in itertools.product(range(levels), repeat=2):
        red = component_mass(means[..., 0], scales[..., 0], levels)[..., r]
        green = component_mass(means[..., 1] + alpha * x[r], scales[..., 1], levels)[..., g]
        blue = component_mass(means[..., 2] + beta * x[r] + gamma * x[g], scales[..., 2], levels)
        total[..., r, g, :] = ((weights * red * green)[..., None] * blue).sum(-2)
    return total


def assert_samples_fit(counts: np.ndarray, mass: np.ndarray) -> None:
    """Each cell is within 5 standard errors, and Pearson's chi-square statistic within 5 of its own."""
    num = counts.sum()
    expected = num * mass
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected * (1 - mass)) + 1).all()
    frequent = expected > 10
    chi_square = ((counts - expected)[frequent] ** 2 / expected[frequent]).sum()
    assert chi_square < frequent.sum() + 5 * math.sqrt(2 * frequent.sum())


# Laws


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
@pytest.mark.parametrize("size", [0.0, 1.0, 5.0, 30.0, 1000.0])
def test_gray_masses_sum_to_one(bits: int, size: float) -> None:
    likelihood = LogisticMixture(num_components=3, bits=bits)
    px = likelihood(size * torch.randn(200, likelihood.num_maps(1), 1, 1))
    total = px.log_prob(every_image(bits, 1)).double().exp().sum(0)
    assert (total - 1).abs().max().item() < 1e-5


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_gray_masses_sum_to_one_at_extreme_parameters(bits: int) -> None:
    likelihood = LogisticMixture(num_components=2, bits=bits)
    log_px = likelihood(extreme_maps(1000, likelihood, 1)).log_prob(every_image(bits, 1))
    assert torch.isfinite(log_px).all()
    assert (log_px.double().exp().sum(0) - 1).abs().max().item() < 1e-5


@pytest.mark.parametrize("mean", [0.0, 0.3, 1 / 255, 1.0, -1.2, 1e4])
@pytest.mark.parametrize("scale", [1e-10, 1e-3, 0.004, 0.1, 3.0, 1e3, 1e10])
def test_masses_sum_to_one_for_scales_beyond_those_of_the_likelihood(mean: float, scale: float) -> None:
    log_px = one_component(mean, scale).log_prob(every_image(8, 1))
    assert torch.isfinite(log_px).all()
    assert log_px.double().exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [1.0, 5.0, None])
def test_color_masses_sum_to_one(size: float | None) -> None:
    likelihood = LogisticMixture(num_components=3, bits=3)
    num_maps = likelihood.num_maps(3)
    maps = extreme_maps(100, likelihood, 3) if size is None else size * torch.randn(100, num_maps, 1, 1)
    total = likelihood(maps).log_prob(every_image(3, 3)).double().exp().sum(0)
    assert (total - 1).abs().max().item() < 1e-5


@pytest.mark.parametrize(("bits", "channels"), [(1, 1), (3, 1), (8, 1), (1, 3), (3, 3)])
def test_log_prob_equals_the_definition(bits: int, channels: int) -> None:
    likelihood = LogisticMixture(num_components=4, bits=bits)
    maps = 1.5 * torch.randn(20, likelihood.num_maps(channels), 1, 1)
    mass = reference_mass(maps[..., 0, 0], likelihood, channels).reshape(20, -1).T
    likely = mass > 1e-9  # below it the definition loses digits
    assert likely.mean() > 0.4
    exact = likelihood(maps.double()).log_prob(every_image(bits, channels).double()).numpy()
    np.testing.assert_allclose(exact[likely], np.log(mass[likely]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.exp(exact), mass, rtol=0, atol=1e-12)
    log_px = likelihood(maps).log_prob(every_image(bits, channels)).numpy()
    np.testing.assert_allclose(log_px, exact, rtol=1e-5, atol=2e-4)


def test_float32_is_accurate_far_from_the_mean_and_for_all_scales() -> None:
    """The log-mass equals that of float64, also if the definition underflows or cancels."""
    images = every_image(8, 1)
    for mean, scale in itertools.product([-300.0, -0.9, 0.0, 0.5, 40.0], [4e-4, 0.01, 1.0, 500.0, 1e6]):
        log_px = one_component(mean, scale).log_prob(images)
        exact = one_component(mean, scale, dtype=torch.float64).log_prob(images.double())
        torch.testing.assert_close(log_px.double(), exact, rtol=2e-5, atol=5e-5)


def test_gray_samples_follow_the_mass_at_every_pixel() -> None:
    likelihood, num = LogisticMixture(num_components=2, bits=3), 20_000
    maps = torch.randn(2, likelihood.num_maps(1), 2, 3)
    samples = likelihood(maps).sample(torch.Size([num]))
    assert samples.shape == (num, 2, 1, 2, 3)
    levels = (samples * 7).numpy()
    assert np.abs(levels - levels.round()).max() < 1e-6
    mass = reference_mass(maps.movedim(1, -1), likelihood, 1)
    for where in itertools.product(range(2), range(2), range(3)):
        b, h, w = where
        assert_samples_fit(np.bincount(levels[:, b, 0, h, w].round().astype(int), minlength=8), mass[where])


def test_color_samples_follow_the_joint_mass() -> None:
    """Green and blue depend on the rounded and clipped red, not on the logistic sample."""
    likelihood, num = LogisticMixture(num_components=2, bits=2), 200_000
    for _ in range(3):
        maps = torch.randn(likelihood.num_maps(3), 1, 1)
        samples = (likelihood(maps).sample((num,)) * 3).round().long().flatten(1)
        cells = (samples * torch.tensor([16, 4, 1])).sum(1)
        assert_samples_fit(np.bincount(cells, minlength=64), reference_mass(maps[:, 0, 0], likelihood, 3).flatten())


def test_samples_are_gray_levels_in_the_support() -> None:
    likelihood = LogisticMixture(num_components=5)
    px = likelihood(3 * torch.randn(4, likelihood.num_maps(3), 6, 5))
    samples = px.sample((2, 3))
    assert samples.shape == (2, 3, 4, 3, 6, 5)
    assert torch.equal(likelihood.target((samples * 255).round().byte()), samples)
    assert (samples.min().item(), samples.max().item()) == (0.0, 1.0)
    assert px.log_prob(samples).shape == (2, 3, 4)
    assert px.log_prob(samples).mean() > px.log_prob(1 - samples).mean() + 100


# Gradients


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [1, 8])
def test_gradients_are_finite_at_extreme_parameters(channels: int, bits: int) -> None:
    likelihood = LogisticMixture(num_components=2, bits=bits)
    maps = extreme_maps(2000, likelihood, channels).requires_grad_()
    for value in (0.0, 100 / 255, 1.0):
        log_px = likelihood(maps).log_prob(torch.full((channels, 1, 1), value))
        (gradient,) = torch.autograd.grad(log_px.sum(), maps)
        assert torch.isfinite(log_px).all()
        assert torch.isfinite(gradient).all()
    (gradient,) = torch.autograd.grad(likelihood(maps).mean.sum(), maps)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("level", [0, 40, 255])
def test_gradient_of_a_distant_component_points_to_the_pixel(level: int) -> None:
    """The log-mass decreases by 1 / s per unit of distance, at every distance."""
    for mean in (-30.0, 30.0):
        px = one_component(mean, 0.5)
        px.means.requires_grad_()
        log_px = px.log_prob(torch.full((1, 1, 1), level / 255))
        (gradient,) = torch.autograd.grad(log_px, px.means)
        toward = 0.0 if (level, mean) in ((0, -30.0), (255, 30.0)) else -math.copysign(2, mean)
        assert gradient.item() == pytest.approx(toward, abs=1e-5)


# Closed forms


def test_one_bit_is_a_bernoulli() -> None:
    means, log_scales = torch.randn(5, 1, 1, 4, 4), torch.randn(5, 1, 1, 4, 4)
    px = LogisticMixturePixels(torch.zeros(5, 1, 4, 4), means, log_scales, torch.zeros(5, 1, 0, 4, 4), levels=2)
    x = torch.rand(5, 1, 4, 4).round()
    torch.testing.assert_close(px.log_prob(x), Bernoulli()((means / log_scales.exp()).squeeze(1)).log_prob(x))


@pytest.mark.parametrize("scale", [0.0004, 0.003, 0.1])
def test_mass_of_the_level_on_which_a_component_is_centered(scale: float) -> None:
    log_px = one_component(2 * 100 / 255 - 1, scale).log_prob(torch.full((1, 1, 1), 100 / 255))
    assert log_px.exp().item() == pytest.approx(math.tanh(1 / 255 / (2 * scale)), rel=1e-5)


@pytest.mark.parametrize(("bits", "scale"), [(8, 50.0), (8, 2000.0), (3, 500.0)])
def test_bits_per_dim_of_a_very_broad_component(bits: int, scale: float) -> None:
    """The density is 1 / (4 s) in the range and a bin is 2 / (L - 1) wide. The first and last level share the rest."""
    px, last = one_component(0.0, scale, 2**bits), 2**bits - 1
    log_px = px.log_prob(every_image(bits, 1)).flatten()
    for level in (1, last // 2, last - 1):
        assert bits_per_dim(log_px[level].item(), 1) == pytest.approx(math.log2(2 * scale * last), abs=1e-3)
    assert log_px[[0, last]].exp().tolist() == pytest.approx([0.5 - (last - 1) / (4 * scale * last)] * 2, abs=1e-4)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_a_narrow_component_on_each_level_is_uniform(bits: int) -> None:
    levels = 2**bits
    means = torch.linspace(-1, 1, levels).reshape(levels, 1, 1, 1)
    log_scales = torch.full_like(means, math.log(MIN_SCALE / (levels - 1)))
    px = LogisticMixturePixels(torch.zeros(levels, 1, 1), means, log_scales, torch.zeros(levels, 0, 1, 1), levels)
    for log_px in px.log_prob(every_image(bits, 1)):
        assert bits_per_dim(log_px.item(), 1) == pytest.approx(bits, abs=1e-3)


def test_zero_maps_are_the_logistic_nearest_to_uniform() -> None:
    likelihood, images = LogisticMixture(), every_image(8, 1)
    start = -likelihood(torch.zeros(30, 1, 1)).log_prob(images).mean().item()
    assert bits_per_dim(-start, 1) == pytest.approx(8.276, abs=1e-3)
    for factor in (0.93, 1.07):
        assert -one_component(0.0, factor * INITIAL_SCALE).log_prob(images).mean().item() > start
    color = likelihood(torch.zeros(100, 1, 1))
    x = torch.tensor([0.1, 0.8, 1.0])
    gray = one_component(0.0, INITIAL_SCALE).log_prob(x.reshape(3, 1, 1, 1)).sum()
    torch.testing.assert_close(color.log_prob(x.reshape(3, 1, 1)), gray)
    torch.testing.assert_close(color.mean, torch.full((3, 1, 1), 0.5))


@pytest.mark.parametrize("channels", [1, 3])
def test_identical_components_equal_one_component(channels: int) -> None:
    one, seven = LogisticMixture(num_components=1), LogisticMixture(num_components=7)
    maps = torch.randn(3, one.num_maps(channels), 4, 4)
    copies = maps.repeat(1, 7, 1, 1).unflatten(1, (7, -1))
    copies[:, :, 0] = 5 * torch.randn(3, 7, 4, 4)  # the weights do not matter
    copies = copies.flatten(1, 2)
    x = one.target(torch.randint(256, (3, channels, 4, 4)))
    torch.testing.assert_close(seven(copies).log_prob(x), one(maps).log_prob(x))
    torch.testing.assert_close(seven(copies).mean, one(maps).mean)


def test_components_are_shared_by_the_channels_of_a_pixel() -> None:
    """A mixture of black and white: each has probability 1/2, and other colors have almost none."""
    means = torch.tensor([-3.0, 3.0])[:, None].expand(2, 3)
    px = color_pixel(means, torch.full((2, 3), 0.1), torch.zeros(2, 3), torch.zeros(2), 256)
    log_px = px.log_prob(torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 0, 1]]).reshape(3, 3, 1, 1))
    assert log_px[:2].tolist() == pytest.approx([-math.log(2)] * 2, abs=1e-6)
    assert log_px[2].item() < -10
    assert len(px.sample((500,)).flatten(1).unique(dim=0)) == 2


# Means


@pytest.mark.parametrize("scale", [0.004, 0.02, 0.1])
def test_mean_is_that_of_the_mass_for_interior_components(scale: float) -> None:
    likelihood, num = LogisticMixture(num_components=3), 50
    means = torch.empty(num, 3, 1, 1, 1).uniform_(-0.4, 0.4)
    logits, coefficients = torch.randn(num, 3, 1, 1), torch.zeros(num, 3, 0, 1, 1)
    px = LogisticMixturePixels(logits, means, torch.full_like(means, math.log(scale)), coefficients)
    images = every_image(likelihood.bits, 1)
    mean = (px.log_prob(images).double().exp() * images.double().reshape(-1, 1)).sum(0)
    assert (px.mean.flatten() - mean).abs().max().item() < 1e-3 / 255


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_mean_is_that_of_the_mass_for_clipped_components(bits: int) -> None:
    last = 2**bits - 1
    images = every_image(bits, 1)
    for center, halves in itertools.product([-50.0, -1.3, -1.0, -0.2, 0.0, 0.97, 1.1, 40.0], [0.1, 1.0, 30.0, 300.0, 1e6]):
        px = one_component(center, halves / last, 2**bits)
        mean = (px.log_prob(images).double().exp() * images.double().reshape(-1, 1)).sum()
        assert px.mean.item() == pytest.approx(mean.item(), abs=(0.5 if halves < 1 else 0.025) / last)


@pytest.mark.parametrize(("center", "scale"), [(0.5, 1e5), (-1e5, 1e5), (2e3, 3e3), (1e4, 1e3), (-0.3, 0.4), (0.7, 0.2)])
def test_mean_is_accurate_for_large_scales(center: float, scale: float) -> None:
    """Another form of the mean of a clipped logistic variable, accurate if no tanh rounds to 1."""
    expected = 2 * scale * math.atanh(math.tanh(center / (2 * scale)) * math.tanh(1 / (2 * scale)))
    assert one_component(center, scale).mean.item() == pytest.approx((expected + 1) / 2, abs=2e-6)


def test_mean_is_accurate_far_from_the_range() -> None:
    assert one_component(-1e4, 0.1).mean.item() == pytest.approx(0, abs=1e-6)
    assert one_component(1e4, 0.1).mean.item() == pytest.approx(1, abs=1e-6)
    assert one_component(0.2, 4e-4).mean.item() == pytest.approx(0.6, abs=1e-6)


def test_color_mean_is_that_of_the_mass_if_nothing_is_clipped() -> None:
    means, coefficients = torch.empty(4, 3).uniform_(-0.25, 0.25), torch.empty(4, 3).uniform_(-0.9, 0.9)
    px = color_pixel(means, torch.full((4, 3), 0.04), coefficients, torch.randn(4), 16)
    images = every_image(4, 3).squeeze(1)
    mean = (px.log_prob(images).double().exp()[:, None, None, None] * images).sum(0)
    assert (px.mean - mean).abs().max().item() < 0.01 / 15


def test_color_mean_uses_the_clipped_means_of_previous_channels() -> None:
    means, coefficients = torch.tensor([[3.0, -0.7, -0.5]]), torch.tensor([[0.5, 0.25, -0.75]])
    px = color_pixel(means, torch.full((1, 3), 0.001), coefficients, torch.zeros(1), 256)
    green = -0.7 + 0.5 * 1
    blue = -0.5 + 0.25 * 1 - 0.75 * green
    assert px.mean.flatten().tolist() == pytest.approx([1, (green + 1) / 2, (blue + 1) / 2], abs=1e-5)
    likelihood = LogisticMixture(num_components=2)
    wild = likelihood(extreme_maps(500, likelihood, 3)).mean
    assert 0 <= wild.min().item() < 1e-6
    assert 1 - 1e-6 < wild.max().item() <= 1


# Shapes, pixels and configuration


@pytest.mark.parametrize("channels", [1, 3])
def test_log_prob_sums_over_pixels_and_keeps_batch_axes(channels: int) -> None:
    likelihood = LogisticMixture(num_components=3)
    maps = torch.randn(2, 3, likelihood.num_maps(channels), 4, 5)
    px, x = likelihood(maps), likelihood.target(torch.randint(256, (3, channels, 4, 5), dtype=torch.uint8))
    log_px = px.log_prob(x)
    assert px.batch_shape == log_px.shape == (2, 3)
    assert px.event_shape == (channels, 4, 5)
    assert px.mean.shape == (2, 3, channels, 4, 5)
    for k, b in itertools.product(range(2), range(3)):
        pixels = [
            likelihood(maps[k, b, :, h : h + 1, w : w + 1]).log_prob(x[b, :, h : h + 1, w : w + 1])
            for h, w in itertools.product(range(4), range(5))
        ]
        torch.testing.assert_close(log_px[k, b], torch.stack(pixels).sum())
    torch.testing.assert_close(px.mean[1, 2, :, 3, 4], likelihood(maps[1, 2, :, 3:, 4:]).mean.flatten())


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_target_keeps_the_highest_bits(bits: int) -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    target = LogisticMixture(bits=bits).target(levels)
    assert target.shape == levels.shape
    expected = [(level // 2 ** (8 - bits)) / (2**bits - 1) for level in range(256)]
    assert target.flatten().tolist() == pytest.approx(expected, abs=1e-7)
    assert torch.equal(LogisticMixture(bits=bits).target(to_unit_interval(levels)), target)
    if bits == 8:
        assert torch.equal(target, to_unit_interval(levels))


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_scales_are_bounded_and_have_the_initial_scale_for_zero_maps(bits: int) -> None:
    maps = torch.tensor([[0.0, 0.0, raw] for raw in (-1e4, -0.01, 0.0, 0.01, 1e4)])[..., None, None]
    log_scales = LogisticMixture(1, bits)(maps).log_scales.flatten().tolist()
    floor, start = math.log(0.1 / (2**bits - 1)), math.log(0.35)
    assert log_scales == pytest.approx([floor, start - 0.01, start, start + 0.01, 2 * start - floor], abs=1e-5)


@pytest.mark.parametrize("components", [1, 10])
def test_number_of_maps_determines_the_number_of_channels(components: int) -> None:
    likelihood = LogisticMixture(num_components=components)
    assert (likelihood.num_maps(1), likelihood.num_maps(3)) == (3 * components, 10 * components)
    for channels in (1, 2, 3, 4):
        assert likelihood(torch.zeros(2, likelihood.num_maps(channels), 4, 5)).event_shape == (channels, 4, 5)
    with pytest.raises(ConfigError, match=f"{3 * components} maps.*got {3 * components + 1}"):
        likelihood(torch.zeros(3 * components + 1, 4, 5))


def test_a_recipe_sets_its_arguments_and_wrong_ones_are_refused() -> None:
    registry = {"logistic-mixture": LogisticMixture}
    likelihood = build(registry, {"name": "logistic-mixture", "num_components": 4, "bits": 5}, place="likelihood")
    assert (likelihood.num_components, likelihood.bits, likelihood.levels) == (4, 5, 32)
    assert (likelihood.measure, likelihood.support) == ("mass", "gray levels")
    for wrong in ({"bits": 0}, {"bits": 9}, {"num_components": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            build(registry, {"name": "logistic-mixture", **wrong}, place="likelihood")
