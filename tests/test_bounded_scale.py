"""The bound of scales: unchanged in the usual range to the last bit, finite and with a slope everywhere."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError
from vaekit.core.terms import StepContext
from vaekit.distributions import (
    LIKELIHOODS,
    Bernoulli,
    ContinuousBernoulli,
    DiagonalGaussian,
    Gaussian,
    Likelihood,
    LogisticMixture,
    MixtureOfGaussians,
)
from vaekit.distributions.bounded_scale import LIMIT, STDDEV_RANGE, bounded_logvar, scale_of, soft_clip, stddev_of
from vaekit.distributions.flows import FlowPosterior, FlowPrior
from vaekit.objectives import ELBO
from vaekit.objectives.perceptual import dissimilarity

EXTREMES = (-math.inf, -1e30, -1e4, -100.0, 100.0, 1e4, 1e30, math.inf)
SHAPE = (1, 3, 4)


def gradient_of(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The gradient of the sum of a function's values."""
    point = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(point).sum(), point)
    return gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_usual_log_variances_and_their_gradients_are_unchanged_to_the_last_bit(dtype: torch.dtype) -> None:
    logvar = torch.cat([torch.linspace(-30, 30, 10_001), torch.randn(10_000)]).to(dtype)
    assert torch.equal(bounded_logvar(logvar), logvar)
    assert torch.equal(stddev_of(logvar), torch.exp(0.5 * logvar))
    assert torch.equal(scale_of(logvar / 4), torch.exp(logvar / 4))
    assert torch.equal(gradient_of(stddev_of, logvar), gradient_of(lambda a: torch.exp(0.5 * a), logvar))


def test_the_bound_is_the_documented_function_and_smooth() -> None:
    a = torch.linspace(-1e3, 1e3, 100_001, dtype=torch.float64)
    room = 2 / math.pi * 10
    expected = [x if abs(x) <= 30 else math.copysign(30 + room * math.atan((abs(x) - 30) / room), x) for x in a.tolist()]
    torch.testing.assert_close(bounded_logvar(a), torch.tensor(expected, dtype=torch.float64))
    slope = gradient_of(bounded_logvar, a)
    assert (slope > 0).all()
    assert slope.diff().abs().max() < 2.1e-3  # the slope is continuous: at most 0.102 times the spacing of 0.02
    assert torch.autograd.gradcheck(
        bounded_logvar, torch.tensor([-200.0, -31.0, 0.5, 35.0], dtype=torch.float64).requires_grad_()
    )


def test_extreme_log_variances_are_within_the_bound_and_keep_a_slope() -> None:
    a = torch.tensor(EXTREMES)
    assert (bounded_logvar(a).abs() <= LIMIT).all()
    assert (stddev_of(a) >= STDDEV_RANGE[0] * (1 - 1e-6)).all()
    assert (stddev_of(a) <= STDDEV_RANGE[1] * (1 + 1e-5)).all()
    slope = gradient_of(bounded_logvar, torch.tensor([-1e4, 1e4]))
    torch.testing.assert_close(slope, torch.full((2,), 4.1e-7), rtol=0.05, atol=0)
    assert bounded_logvar(torch.tensor(math.nan)).isnan()  # what is not a number is never hidden


@pytest.mark.parametrize("value", [-1e4, 1e4])
@pytest.mark.parametrize("features", [torch.float32, torch.bfloat16], ids=str)
def test_a_posterior_with_an_extreme_log_variance_has_a_finite_density_and_a_gradient(
    value: float, features: torch.dtype
) -> None:
    posterior = DiagonalGaussian(2, 3)
    torch.nn.init.constant_(posterior.logvar.bias, value)
    with torch.autocast("cpu", features, enabled=features != torch.float32):
        qz = posterior(torch.zeros(4, 2))
        z = qz.rsample((2,))
        log_qz = qz.log_prob(z.detach())
    assert qz.stddev.dtype == log_qz.dtype == torch.float32
    assert z.isfinite().all()
    assert log_qz.isfinite().all()
    assert (torch.linalg.vector_norm(z - qz.mean) > 0).item()
    qz.entropy().sum().backward()
    gradient = posterior.logvar.bias.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert (gradient > 0).all()


@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_the_mixture_and_the_flows_with_an_extreme_scale_have_a_finite_density_and_a_gradient(value: float) -> None:
    mixture, flow, posterior = MixtureOfGaussians(3, num_components=4), FlowPrior(3, num_transforms=2), FlowPosterior(2, 3)
    for scale in (mixture.logvars, flow.log_scale, posterior.gaussian.logvar.bias):
        torch.nn.init.constant_(scale, value)
    z = torch.randn(5, 6, 3)
    for distribution, scale in (
        (mixture(6), mixture.logvars),
        (flow(6), flow.log_scale),
        (posterior(torch.zeros(6, 2)), posterior.gaussian.logvar.bias),
    ):
        log_density = distribution.log_prob(z)
        assert log_density.isfinite().all()
        assert distribution.sample().isfinite().all()
        (gradient,) = torch.autograd.grad(log_density.mean(), scale)
        assert gradient.isfinite().all()
        assert (gradient != 0).all()


def test_the_rate_between_the_extremes_is_finite() -> None:
    """The ratio of the two variances is the largest number of the KL divergence."""
    wide, narrow = DiagonalGaussian(1, 2), DiagonalGaussian(1, 2)
    torch.nn.init.constant_(wide.logvar.bias, 1e30)
    torch.nn.init.constant_(narrow.logvar.bias, -1e30)
    features = torch.zeros(3, 1)
    rate = torch.distributions.kl_divergence(wide(features), narrow(features))
    assert rate.isfinite().all()


LOG_SCALES: dict[str, tuple[Callable[[], Likelihood], list[int]]] = {
    "gaussian": (lambda: Gaussian("pixel", floor=0.0), [1]),
    "logistic-8": (lambda: LogisticMixture(2), [2, 5]),
    "logistic-1": (lambda: LogisticMixture(2, bits=1), [2, 5]),
}
"""Likelihoods whose decoder computes log-scales, and the maps that are log-scales."""


@pytest.mark.parametrize("name", LOG_SCALES)
@pytest.mark.parametrize("value", [-1e4, -200.0, 200.0, 1e4])
def test_the_log_scales_of_pixels_never_get_stuck(name: str, value: float) -> None:
    make, indices = LOG_SCALES[name]
    likelihood = make()
    maps = torch.full((3, likelihood.num_maps(1), 3, 4), 0.3)
    maps[:, indices] = value
    x = torch.randint(0, 2, (3, *SHAPE)).float()
    gradient = gradient_of(lambda a: likelihood(a).log_prob(x), maps)[:, indices]
    assert likelihood(maps).log_prob(x).isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient != 0).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_extreme_parameters_give_finite_log_probabilities_means_and_gradients(name: str, value: float) -> None:
    likelihood = LIKELIHOODS[name]()
    maps = torch.full((3, likelihood.num_maps(1), 12, 12), value)
    x = torch.randint(0, 2, (3, 1, 12, 12)).float()
    assert likelihood(maps).log_prob(x).isfinite().all()
    assert likelihood(maps).mean.isfinite().all()
    assert likelihood(maps).sample().isfinite().all()
    assert gradient_of(lambda a: likelihood(a).log_prob(x), maps).isfinite().all()
    assert gradient_of(lambda a: dissimilarity(likelihood(a).mean.unsqueeze(0), x), maps).isfinite().all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_likelihood_of_usual_maps_is_unchanged_to_the_last_bit(name: str) -> None:
    """Against the formulas without a bound."""
    raw = torch.linspace(-10, 10, 501)
    if name == "logistic-mixture":
        log_range = math.log(0.35 * 255 / 0.1)
        assert torch.equal(soft_clip(raw / log_range, 7.0, 8.0), raw / log_range)
    if name == "gaussian":
        maps = torch.stack([raw, raw.flip(0)]).reshape(1, 2, 1, -1)
        stddev = Gaussian("pixel")(maps).stddev.flatten()
        assert torch.equal(stddev, ((1 / 255) ** 2 + raw.flip(0).clamp(-40, 20).exp()).sqrt())
    if name == "continuous-bernoulli":
        large = raw[raw.abs() > 0.2]
        assert torch.equal(
            ContinuousBernoulli()(large.reshape(1, 1, -1)).mean.flatten(), -1 / torch.expm1(-large) - 1 / large
        )
    if name == "bernoulli":
        assert torch.equal(Bernoulli()(raw.reshape(1, 1, -1)).mean.flatten(), raw.sigmoid())


def test_a_learned_scale_without_a_floor_is_never_zero() -> None:
    likelihood = Gaussian("learned", floor=0.0)
    maps, black = torch.full((2, *SHAPE), -1e4), torch.zeros(2, *SHAPE)
    likelihood.observe(maps, black)
    assert likelihood.mse == 0
    assert likelihood(maps).log_prob(black).isfinite().all()


@pytest.mark.parametrize(("option", "value"), [("scale", 1e-30), ("scale", 1e30), ("floor", 1e30), ("scale", math.inf)])
def test_a_scale_whose_density_would_overflow_is_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"likelihood.{option}"):
        make_vae(likelihood="gaussian", **{option: value})


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_model_whose_every_log_variance_is_extreme_has_a_finite_loss_and_gradient(
    likelihood: str, precision: torch.dtype
) -> None:
    model = make_vae(likelihood=likelihood, prior="mixture-of-gaussians")
    torch.nn.init.constant_(model.posterior.logvar.bias, -1e4)
    torch.nn.init.constant_(model.prior.logvars, 1e4)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        terms = model(pixels(4))
    assert terms.log_px.dtype == terms.rate().dtype == torch.float32
    loss = ELBO()(terms, StepContext()).value
    loss.backward()
    for gradient in (model.posterior.logvar.bias.grad, model.prior.logvars.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert (gradient != 0).any()
