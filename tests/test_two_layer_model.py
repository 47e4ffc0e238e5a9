"""Oracle: every estimator on a linear-Gaussian model with two stochastic layers, whose log p(x) and rates are known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from tests.oracles import TwoLayerGaussian
from vaekit.core.terms import LatentTerms
from vaekit.data import TensorSet
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.latents.encodings import active_units, encode_images
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood, annealed_of_each, bracket
from vaekit.evaluation.likelihood.bounds import elbo_of_each, elbo_terms, log_likelihood, log_likelihood_of_each
from vaekit.evaluation.likelihood.scores import scores
from vaekit.evaluation.model_evaluation import evaluate_model


def model_and_data(off: float = 0.0, num: int = 40) -> tuple[TwoLayerGaussian, TensorSet, Tensor]:
    model = TwoLayerGaussian(off)
    data = model.data(num)
    return model, data, data.values


def repeat(model: TwoLayerGaussian, x: Tensor, num: int = 40) -> list[tuple[Tensor, ...]]:
    """ELBO, rates of layer 1 and rates of layer 2, of independent estimates."""
    with torch.no_grad():
        return [(terms.elbo(), *terms.rates()) for terms in (model(x, num_samples=200) for _ in range(num))]


def assert_near(estimates: list[Tensor], expected: Tensor) -> None:
    values = torch.stack(estimates)
    errors = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - expected).abs() / errors).max() < 5
    assert errors.max() < 0.1


def test_exact_posterior_makes_every_weight_the_evidence() -> None:
    model, data, x = model_and_data()
    evidence = model.log_evidence(x)
    with torch.no_grad():
        terms = model(x, num_samples=5)
    assert len(terms.latents) == 2
    torch.testing.assert_close(terms.log_weights(), evidence.expand(5, -1), atol=1e-9, rtol=0)
    torch.testing.assert_close(log_likelihood_of_each(model, data, num_samples=7), evidence, atol=1e-9, rtol=0)
    found = scores(model, data, num_samples=3)
    torch.testing.assert_close(found.elbo, evidence, atol=1e-9, rtol=0)
    assert found.standard_error.max() < 1e-9
    assert found.complexity is None
    assert_near([estimate[0] for estimate in repeat(model, x)], evidence)


@pytest.mark.parametrize("off", [0.0, 0.4])
def test_elbo_and_rates_of_both_layers_equal_their_closed_forms(off: float) -> None:
    model, data, x = model_and_data(off)
    estimates = repeat(model, x)
    first, second = model.layer_rates(x)
    torch.testing.assert_close(estimates[0][1], first, atol=1e-12, rtol=0)  # no samples in it
    assert_near([estimate[2] for estimate in estimates], second)
    closed = model.log_evidence(x) - model.divergence(x)
    assert_near([estimate[0] for estimate in estimates], closed)
    distortion, rate = elbo_of_each(model, data, num_samples=400)
    assert rate.mean().item() == pytest.approx((first.sum(-1) + second.sum(-1)).mean().item(), abs=0.05)
    assert -(distortion + rate).mean().item() == pytest.approx(closed.mean().item(), abs=0.05)
    assert elbo_terms(model, data, num_samples=2)["elbo"].space == "density of values"


def test_importance_sampling_rises_to_the_evidence() -> None:
    model, data, x = model_and_data(0.2)
    evidence = model.log_evidence(x).mean().item()
    bounds = [log_likelihood(model, data, num_samples=k).value for k in (1, 10, 100, 5000)]
    assert bounds == sorted(bounds)
    assert evidence - model.divergence(x).mean().item() < bounds[1] < evidence - 0.02
    assert bounds[-1] == pytest.approx(evidence, abs=0.02)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_annealing_reaches_the_evidence(start: str) -> None:
    model, data, x = model_and_data(0.8)
    annealing = Annealing(16, 150, start, num_leapfrog_steps=5)  # type: ignore[arg-type]
    gaps = annealed_of_each(model, data, annealing) - model.log_evidence(x)
    error = gaps.std() / math.sqrt(len(gaps))
    assert error < 0.05
    assert abs(gaps.mean()) < 5 * error + 0.005
    assert log_likelihood(model, data, num_samples=8).value < model.log_evidence(x).mean() - 0.1
    assert annealed_log_likelihood(model, data.first(3), replace(annealing, num_distributions=5)).num_images == 3
    both = bracket(model, 20, annealing)
    assert abs(both.gap.value) < 0.15


def test_latents_of_both_layers_are_one_vector() -> None:
    model, data, x = model_and_data(num=300)
    codes = encode_images(model, data)
    mean, variance, slope, intercept, below = model.posterior(x)
    torch.testing.assert_close(codes.means, torch.cat([mean, slope * mean + intercept], -1))
    torch.testing.assert_close(codes.stddevs[0], torch.cat([variance, below]).sqrt())
    assert codes.rates.shape == (4,)
    torch.testing.assert_close(codes.rates[:2], model.layer_rates(x)[0].mean(0))
    error = 5 * model.layer_rates(x)[1].std(0) / math.sqrt(len(x))  # one sample of z_1 per image
    assert ((codes.rates[2:] - model.layer_rates(x)[1].mean(0)).abs() < error).all()
    assert (active_units(model, data).value, active_units(model, data).of) == (4, 4)


def test_evaluation_of_vectors_leaves_out_what_needs_images() -> None:
    model, data, x = model_and_data(num=60)
    config = replace(BRIEF, num_samples=4, num_annealed=3, annealing=Annealing(2, 4), num_aggregated=50, num_compared=20)
    evaluation = evaluate_model(model, data, train=data, config=replace(config, num_probed=10, num_refined=2))
    assert set(evaluation.left_out) == {"amortization_gap", "collapse", "reconstruction", "fidelity", "usefulness"}
    assert all("images" in evaluation.left_out[part] for part in ("collapse", "reconstruction", "fidelity", "usefulness"))
    assert evaluation.metrics["log_likelihood"].value == pytest.approx(model.log_evidence(x).mean().item())
    assert evaluation.latents is not None
    numbers = evaluation.to_data()
    assert numbers["data"]["pixels"] == "float64"
    assert numbers["data"]["shape"] == [5]
    assert numbers["meaning"] == "log-density of values, support: real line; it may be positive"


@pytest.mark.parametrize("sampled", ["prior", "posterior", "both"])
def test_rate_is_averaged_over_samples_of_the_layers_above(sampled: str) -> None:
    means = torch.randn(7, 3, 2, dtype=torch.float64)  # K, B, D
    of_samples = Normal(means, 0.5)
    of_images = Normal(means[0] + 1, 0.8)
    q = of_images if sampled == "prior" else of_samples
    p = of_images if sampled == "posterior" else Normal(means - 1, 1.3)
    terms = LatentTerms(torch.zeros(7, 3, 2), Independent(q, 1), Independent(p, 1))
    expected = torch.stack([kl_divergence(_sample(q, k), _sample(p, k)) for k in range(7)]).mean(0)
    assert terms.rate().shape == (3, 2)
    torch.testing.assert_close(terms.rate(), expected)


def _sample(distribution: Normal, k: int) -> Normal:
    """The distribution of sample k, if it depends on the samples of the layers above."""
    loc, scale = distribution.loc, distribution.scale
    return Normal(loc[k], scale[k]) if loc.dim() == 3 else distribution
