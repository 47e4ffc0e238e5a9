"""Oracle: on the linear-Gaussian model every bound and gradient is known in closed form."""

from itertools import pairwise

import pytest
import torch

from tests.oracles import linear_gaussian
from vaekit.core.terms import StepContext
from vaekit.models import VAE
from vaekit.objectives import ELBO, IWAE


def test_exact_posterior_makes_every_weight_the_evidence() -> None:
    oracle = linear_gaussian()
    evidence = oracle.log_evidence()
    terms = oracle.model(oracle.x, num_samples=5)
    torch.testing.assert_close(terms.log_weights(), evidence.expand(5, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(oracle.model.log_likelihood(oracle.x, num_samples=1), evidence, atol=1e-4, rtol=0)


def test_exact_posterior_makes_the_elbo_the_evidence() -> None:
    oracle = linear_gaussian()
    draws = torch.stack([oracle.model.elbo(oracle.x, num_samples=50).mean() for _ in range(40)]).double()
    error = draws.std() / len(draws) ** 0.5
    assert abs(draws.mean() - oracle.log_evidence().mean()) < 5 * error
    assert error < 0.05


def test_bounds_are_ordered_and_rise_with_k() -> None:
    oracle = linear_gaussian(off=0.3)
    evidence = oracle.log_evidence().mean()
    bounds, errors = [], []
    for k in (1, 10, 100, 1000):
        draws = torch.stack([oracle.model.log_likelihood(oracle.x, num_samples=k).mean() for _ in range(20)]).double()
        bounds.append(draws.mean())
        errors.append(draws.std() / len(draws) ** 0.5)
    elbo = oracle.elbo(*_posterior(oracle), oracle.weight).mean()
    assert abs(bounds[0] - elbo) < 5 * errors[0]  # IW-1 is the ELBO
    assert all(low < high for low, high in pairwise(bounds))
    assert bounds[-1] < evidence + 5 * errors[-1]
    assert evidence - bounds[-1] < 0.02 < evidence - elbo


@pytest.mark.parametrize("off", [0.0, 0.5])
def test_elbo_equals_its_closed_form(off: float) -> None:
    oracle = linear_gaussian(off=off)
    draws = torch.stack([oracle.model.elbo(oracle.x, num_samples=50) for _ in range(40)]).double()
    closed = oracle.elbo(*_posterior(oracle), oracle.weight)
    errors = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - closed).abs() / errors).max() < 5


def test_gradient_of_the_elbo_equals_the_closed_form() -> None:
    oracle = linear_gaussian(off=0.5)
    model, posterior, decoder = oracle.model, oracle.model.posterior, oracle.model.decoder
    watched = [posterior.mu.weight, posterior.logvar.bias, decoder.weight]
    mean, stddev = _posterior(oracle)
    exact = torch.autograd.grad(-oracle.elbo(mean, stddev, decoder.weight).mean(), watched)
    objective = ELBO(num_samples=200)
    draws = []
    for _ in range(40):
        loss = objective(model(oracle.x, num_samples=200), StepContext()).value
        draws.append(torch.autograd.grad(loss, watched))
    for gradients, closed in zip(zip(*draws, strict=True), exact, strict=True):
        stacked = torch.stack(gradients).double()
        errors = stacked.std(0) / len(draws) ** 0.5
        assert ((stacked.mean(0) - closed).abs() / errors).max() < 5
        assert errors.max() < 0.05 * closed.abs().max()


def test_iwae_loss_is_the_log_of_the_mean_weight() -> None:
    oracle = linear_gaussian(off=0.5)
    terms = oracle.model(oracle.x, num_samples=7)
    loss = IWAE(7)(terms, 0.0)
    expected = terms.log_weights().double().exp().mean(0).log().mean()
    assert loss.value.item() == pytest.approx(-expected.item(), abs=1e-4)
    assert loss.logs["iw_elbo"].item() == pytest.approx(expected.item(), abs=1e-4)


def test_iwae_of_one_sample_is_the_elbo() -> None:
    oracle = linear_gaussian(off=0.5)
    draws = torch.stack([IWAE(1)(oracle.model(oracle.x), 0.0).value.detach() for _ in range(500)]).double()
    closed = -oracle.elbo(*_posterior(oracle), oracle.weight).mean()
    assert abs(draws.mean() - closed) < 5 * draws.std() / len(draws) ** 0.5


def test_iwae_gradient_is_weighted_by_the_normalized_weights() -> None:
    oracle = linear_gaussian(num=1, off=0.5)
    terms = oracle.model(oracle.x, num_samples=9)
    (gradient,) = torch.autograd.grad(IWAE(9)(terms, 0.0).value, terms.log_px)
    torch.testing.assert_close(-gradient[:, 0], terms.log_weights()[:, 0].softmax(0))


@pytest.mark.parametrize("k", [1, 7, 4099, 10_000])
def test_importance_sampling_uses_exactly_k_samples(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = linear_gaussian(num=3)
    sampled: list[int] = []
    parameters_of = VAE._parameters_of

    def counting(self: VAE, z: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        sampled.append(z.shape[0])
        return parameters_of(self, z, context)

    monkeypatch.setattr(VAE, "_parameters_of", counting)
    monkeypatch.setattr(VAE, "chunk_size", 3 * 1000)
    estimate = oracle.model.log_likelihood(oracle.x, num_samples=k)
    assert sum(sampled) == k
    assert max(sampled) <= 1000  # memory does not grow with k
    torch.testing.assert_close(estimate, oracle.log_evidence(), atol=1e-3, rtol=0)


def _posterior(oracle: object) -> tuple[torch.Tensor, torch.Tensor]:
    qz = oracle.model.encode(oracle.x)  # type: ignore[attr-defined]
    return qz.mean, qz.stddev[0]


def test_between_chunks_of_weights_gradients_and_mode_are_the_callers() -> None:
    oracle = linear_gaussian(num=3)
    oracle.model.train()
    weights = oracle.model.log_weights(oracle.x, num_samples=10)
    next(weights)
    assert torch.is_grad_enabled()
    assert oracle.model.training
