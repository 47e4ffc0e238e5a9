"""Laws of likelihoods: they sum or integrate to one over their support, and their samples fit their densities."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.core.config import build
from vaekit.core.errors import ModelError
from vaekit.core.units import bits_per_dim, to_gray_levels, to_unit_interval
from vaekit.distributions import (
    LIKELIHOODS,
    Bernoulli,
    ContinuousBernoulli,
    Gaussian,
    Laplace,
    Likelihood,
    LogisticMixture,
)

SPECS = [
    {"name": "bernoulli"},
    {"name": "continuous-bernoulli"},
    {"name": "gaussian", "scale": "learned"},
    {"name": "gaussian", "scale": "pixel"},
    {"name": "gaussian", "scale": 0.1},
    {"name": "laplace", "scale": "learned"},
    {"name": "laplace", "scale": 0.1},
]


def one_pixel(likelihood: Likelihood, *parameters: float) -> Tensor:
    """The output of a decoder for one image with one pixel."""
    return torch.tensor(parameters).reshape(1, likelihood.num_maps(1), 1, 1)


@pytest.mark.parametrize("logit", [-80.0, -3.0, 0.0, 0.4, 80.0])
def test_bernoulli_sums_to_one(logit: float) -> None:
    px = Bernoulli()(torch.full((1, 1, 2, 2), logit))
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).reshape(16, 1, 1, 2, 2)
    assert px.log_prob(images).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_bernoulli_equals_torch_and_cross_entropy() -> None:
    logits, x = 5 * torch.randn(6, 2, 3, 4), torch.rand(6, 2, 3, 4)
    px = Bernoulli()(logits)
    reference = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(px.log_prob(x), reference)
    torch.testing.assert_close(px.mean, logits.sigmoid())
    torch.testing.assert_close(px.variance, torch.distributions.Bernoulli(logits=logits).variance)


@pytest.mark.parametrize("logit", [-30.0, -2.0, -0.01, 0.0, 1e-3, 3.0, 30.0])
def test_continuous_bernoulli_integrates_to_one(logit: float) -> None:
    px = ContinuousBernoulli()(one_pixel(ContinuousBernoulli(), logit))
    x = torch.linspace(0, 1, 20_001).reshape(-1, 1, 1, 1, 1)
    density = px.log_prob(x).exp().flatten()
    assert torch.trapezoid(density, x.flatten()).item() == pytest.approx(1, abs=2e-3)
    mean = torch.trapezoid(density * x.flatten(), x.flatten())
    assert px.mean.item() == pytest.approx(mean.item(), abs=2e-3)


@pytest.mark.parametrize("spec", [s for s in SPECS if s["name"] == "gaussian"])
def test_gaussian_integrates_to_one(spec: dict[str, object]) -> None:
    likelihood = build(LIKELIHOODS, spec, place="likelihood")
    px = likelihood(one_pixel(likelihood, *[0.3, -1.0][: likelihood.num_maps(1)]))
    x = torch.linspace(-8, 9, 40_001).reshape(-1, 1, 1, 1, 1)
    assert torch.trapezoid(px.log_prob(x).exp().flatten(), x.flatten()).item() == pytest.approx(1, abs=1e-4)
    assert px.mean.item() == pytest.approx(1 / (1 + math.exp(-0.3)), abs=1e-6)


@pytest.mark.parametrize("spec", [s for s in SPECS if s["name"] == "laplace"])
def test_laplace_integrates_to_one(spec: dict[str, object]) -> None:
    likelihood = build(LIKELIHOODS, spec, place="likelihood")
    px = likelihood(one_pixel(likelihood, 0.3))
    x = torch.linspace(-8, 10, 40_001).reshape(-1, 1, 1, 1, 1)
    assert torch.trapezoid(px.log_prob(x).exp().flatten(), x.flatten()).item() == pytest.approx(1, abs=1e-4)
    assert px.mean.item() == pytest.approx(1 / (1 + math.exp(-0.3)), abs=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_samples_fit_the_density(spec: dict[str, object]) -> None:
    likelihood = build(LIKELIHOODS, spec, place="likelihood")
    px = likelihood(torch.randn(1, likelihood.num_maps(1), 1, 1))
    samples = px.sample(torch.Size([40_000])).flatten().double()
    assert abs(samples.mean() - px.mean.item()) < 5 * samples.std() / 200
    squares = (samples - px.mean.item()) ** 2
    assert abs(squares.mean() - px.variance.item()) < 5 * squares.std() / 200


@pytest.mark.parametrize("spec", SPECS)
def test_log_prob_sums_over_pixels_and_keeps_batch_axes(spec: dict[str, object]) -> None:
    likelihood = build(LIKELIHOODS, spec, place="likelihood")
    parameters = torch.randn(2, 3, likelihood.num_maps(3), 4, 5)
    px = likelihood(parameters)
    x = torch.rand(3, 3, 4, 5)
    log_px = px.log_prob(x)
    assert px.batch_shape == (2, 3)
    assert px.event_shape == (3, 4, 5)
    separate = torch.stack([likelihood(parameters[1, b]).log_prob(x[b]) for b in range(3)])
    torch.testing.assert_close(log_px[1], separate)


@pytest.mark.parametrize("spec", SPECS)
def test_density_is_bounded_on_its_support(spec: dict[str, object]) -> None:
    """The density of a constant pixel is finite (a known fault of other code)."""
    likelihood = build(LIKELIHOODS, spec, place="likelihood")
    parameters = one_pixel(likelihood, *[0.0, -1e4][: likelihood.num_maps(1)])
    log_px = likelihood(parameters).log_prob(torch.full((1, 1, 1), 0.5))
    assert torch.isfinite(log_px).all()
    assert log_px.item() < math.log(255)


@pytest.mark.parametrize("spec", SPECS)
def test_extreme_parameters_stay_finite_with_finite_gradients(spec: dict[str, object]) -> None:
    likelihood = build(LIKELIHOODS, spec, place="likelihood")
    parameters = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4]).repeat(likelihood.num_maps(1))
    parameters = parameters.reshape(1, likelihood.num_maps(1), 1, 5).requires_grad_()
    for value in (0.0, 1.0):
        log_px = likelihood(parameters).log_prob(torch.full((1, 1, 5), value)).sum()
        (gradient,) = torch.autograd.grad(log_px, parameters)
        assert torch.isfinite(log_px)
        assert torch.isfinite(gradient).all()


def test_learned_scale_is_the_root_mean_squared_error_and_maximizes_the_likelihood() -> None:
    x, parameters = torch.rand(50, 1, 4, 4), torch.zeros(2, 50, 1, 4, 4)
    likelihood = Gaussian("learned")
    likelihood.observe(parameters, x)
    mse = ((x - 0.5) ** 2).mean().item()
    px = likelihood(parameters)
    torch.testing.assert_close(px.stddev, torch.full_like(parameters, math.sqrt(mse)))
    best = px.log_prob(x).mean().item()
    assert best == pytest.approx(-16 / 2 * math.log(2 * math.pi * math.e * mse), rel=1e-5)
    for off in (0.9, 1.1):
        assert Gaussian(off * math.sqrt(mse))(parameters).log_prob(x).mean().item() < best


def test_the_learned_scale_of_laplace_is_the_mean_absolute_error_and_maximizes_the_likelihood() -> None:
    x, parameters = torch.rand(50, 1, 4, 4), torch.zeros(2, 50, 1, 4, 4)
    likelihood = Laplace("learned")
    likelihood.observe(parameters, x)
    mae = (x - 0.5).abs().mean().item()
    best = likelihood(parameters).log_prob(x).mean().item()
    assert best == pytest.approx(-16 * (1 + math.log(2 * mae)), rel=1e-5)
    for off in (0.9, 1.1):
        assert Laplace(off * mae)(parameters).log_prob(x).mean().item() < best
    for error in [0.4] * 20 + [0.1] * 300:
        likelihood.observe(parameters[:1], torch.full((50, 1, 4, 4), 0.5 - error))
    assert likelihood.mae.item() == pytest.approx(0.1, rel=0.01)


def test_learned_scale_is_that_of_the_last_images() -> None:
    likelihood, parameters = Gaussian("learned"), torch.zeros(1, 100, 1, 4, 4)
    for error in [0.4] * 20 + [0.1] * 300:
        likelihood.observe(parameters, torch.full((100, 1, 4, 4), 0.5 + error))
    assert likelihood(parameters).stddev.unique().item() == pytest.approx(0.1, rel=1e-3)


def test_gradient_with_a_learned_scale_is_that_of_the_profile_likelihood() -> None:
    """The profile likelihood is half the number of pixels times the log of the mean squared error (Rybkin et al., 2021)."""
    likelihood, x = Gaussian("learned"), torch.rand(8, 1, 4, 4)
    parameters = torch.randn(1, 8, 1, 4, 4, requires_grad=True)
    likelihood.observe(parameters, x)
    (gradient,) = torch.autograd.grad(-likelihood(parameters).log_prob(x).mean(), parameters)
    profile = 16 / 2 * torch.log(((parameters.sigmoid() - x) ** 2).mean())
    torch.testing.assert_close(gradient, torch.autograd.grad(profile, parameters)[0])


def test_plain_squared_error_is_a_gaussian_with_a_variance_of_one_half() -> None:
    x, parameters = torch.rand(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    log_px = Gaussian(math.sqrt(0.5))(parameters).log_prob(x)
    squares = ((parameters.sigmoid() - x) ** 2).sum((1, 2, 3))
    torch.testing.assert_close(log_px, -squares - 48 / 2 * math.log(math.pi))


def test_pixels_are_scaled_to_the_unit_interval_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    x = to_unit_interval(levels)
    assert (x[0].item(), x[-1].item()) == (0.0, 1.0)
    assert torch.equal(to_gray_levels(x), levels)
    assert Bernoulli().target(levels).tolist() == x.tolist()
    assert to_gray_levels(torch.tensor([-0.5, 1.5])).tolist() == [0, 255]


def test_bits_per_dim_of_uniform_gray_levels_is_eight() -> None:
    assert bits_per_dim(784 * math.log(1 / 256), 784) == pytest.approx(8)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_encoder_input_is_on_the_unit_interval(name: str) -> None:
    """It keeps all gray levels, also if the target has fewer bits."""
    likelihood = LIKELIHOODS[name]()
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(likelihood.encoder_input(levels), levels / 255)
    assert torch.equal(likelihood.encoder_input(levels / 255), levels / 255)
    assert torch.equal(LogisticMixture(bits=2).encoder_input(levels), levels / 255)
    assert likelihood.event_dim == len(likelihood(torch.zeros(1, likelihood.num_maps(1), 2, 2)).event_shape) == 3


def test_a_likelihood_without_a_measure_is_refused() -> None:
    class Unspecified(Likelihood):
        support = "real line"

        def forward(self, parameters: Tensor) -> Distribution:
            raise NotImplementedError

    with pytest.raises(ModelError, match=r"Unspecified.*measure"):
        Unspecified()
