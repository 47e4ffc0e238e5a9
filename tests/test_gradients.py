"""Gradients of the objectives that are more than the derivative of their loss, against closed forms and one another."""

import math
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from tests.oracles import LinearGaussian, linear_gaussian
from vaekit.core.errors import Interrupted, ModelError
from vaekit.core.rng import generator
from vaekit.core.terms import StepContext, Terms
from vaekit.data import Batch
from vaekit.experiment.train import resume, run
from vaekit.models import Model
from vaekit.objectives import ELBO, IWAE, WakeSleep
from vaekit.runs.recipe import load_recipe
from vaekit.training import OPTIMIZERS, SCHEDULERS, Callback, MonteCarloEM, StepSetup, Trainer, make_accelerator

NUM_ROUNDS = 120
VARIANTS = ("reparameterized", "doubly-reparameterized", "sticking-the-landing")


def gradients(oracle: LinearGaussian, objective: IWAE | WakeSleep, watched: list[nn.Parameter]) -> list[Tensor]:
    loss = objective(oracle.model(oracle.x, num_samples=objective.num_samples), StepContext()).value
    return list(torch.autograd.grad(loss, watched))


def draws(oracle: LinearGaussian, objective: IWAE | WakeSleep, watched: list[nn.Parameter], num: int) -> list[Tensor]:
    """Gradients of so many draws, each with shape (num, *)."""
    found = [gradients(oracle, objective, watched) for _ in range(num)]
    return [torch.stack(parts).double() for parts in zip(*found, strict=True)]


def encoder_of(oracle: LinearGaussian) -> list[nn.Parameter]:
    posterior = oracle.model.posterior
    return [posterior.mu.weight, posterior.mu.bias, posterior.logvar.bias]


# The importance-weighted bound.


@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_decoder_gradient_are_the_same_for_every_variant(variant: str) -> None:
    oracle = linear_gaussian(num=5, off=0.4)
    decoder = [oracle.model.decoder.weight, oracle.model.decoder.bias]
    found = []
    for gradient in ("reparameterized", variant):
        torch.manual_seed(0)
        objective = IWAE(6, gradient)  # type: ignore[arg-type]
        loss = objective(oracle.model(oracle.x, num_samples=6), StepContext())
        found.append([loss.value, loss.logs["iw_elbo"], *torch.autograd.grad(loss.value, decoder)])
    torch.testing.assert_close(*found)


def test_doubly_reparameterized_gradient_has_the_same_mean_and_less_noise() -> None:
    oracle = linear_gaussian(num=4, off=0.5)
    watched = encoder_of(oracle)
    plain = draws(oracle, IWAE(20), watched, 800)
    doubly = draws(oracle, IWAE(20, "doubly-reparameterized"), watched, 800)
    for a, b in zip(plain, doubly, strict=True):
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() / error).max() < 5
        assert b.mean(0).abs().max() > 10 * error.max()  # there is something to agree on
        assert b.var(0).sum() < 0.7 * a.var(0).sum()


def test_sticking_the_landing_is_unbiased_for_one_sample_and_silent_at_the_optimum() -> None:
    oracle = linear_gaussian(num=4, off=0.5)
    watched = encoder_of(oracle)
    plain = draws(oracle, IWAE(1), watched, 1500)
    sticking = draws(oracle, IWAE(1, "sticking-the-landing"), watched, 1500)
    for a, b in zip(plain, sticking, strict=True):
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() / error).max() < 5
    optimum = linear_gaussian(num=4, off=0.0)
    silent = gradients(optimum, IWAE(3, "sticking-the-landing"), encoder_of(optimum))
    assert max(float(g.abs().max()) for g in silent) < 1e-3
    assert max(float(g.abs().max()) for g in gradients(optimum, IWAE(3), encoder_of(optimum))) > 0.05


def test_doubly_reparameterized_gradient_is_of_one_layer() -> None:
    terms = linear_gaussian(num=2).model(torch.rand(2, 1, 3, 4), num_samples=2)
    two = Terms(terms.log_px, terms.latents * 2, terms.px, terms.x, terms.sleep_terms)
    with pytest.raises(ModelError, match="one stochastic layer"):
        IWAE(2, "doubly-reparameterized")(two, 0.0)


# Wake-sleep.


def test_wake_moves_the_decoder_and_sleep_the_encoder() -> None:
    oracle = linear_gaussian(num=6, off=0.5)
    model = oracle.model
    torch.manual_seed(1)
    terms = model(oracle.x, num_samples=3)
    state = torch.random.get_rng_state()
    loss = WakeSleep(3)(terms, 0.0)
    decoder, encoder = [model.decoder.weight, model.decoder.bias], encoder_of(oracle)
    found = torch.autograd.grad(loss.value, decoder + encoder)

    z = terms.latents[0].z.detach()
    log_pz, log_px = model.log_joint(oracle.x)(z)
    wake = -(log_pz + log_px).mean()
    torch.random.set_rng_state(state)
    (samples,) = terms.sleep_terms()
    sleep = -samples.qz.log_prob(samples.z).mean()
    assert not samples.z.requires_grad
    expected = [*torch.autograd.grad(wake, decoder), *torch.autograd.grad(sleep, encoder)]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert loss.logs["wake"].item() == pytest.approx(wake.item(), rel=1e-5)
    assert loss.logs["sleep"].item() == pytest.approx(sleep.item(), rel=1e-5)


def test_sleep_rests_where_the_encoder_is_the_posterior() -> None:
    right, wrong = linear_gaussian(num=64, off=0.0), linear_gaussian(num=64, off=0.5)
    for oracle, rests in ((right, True), (wrong, False)):
        found = draws(oracle, WakeSleep(), encoder_of(oracle), 400)
        largest = max(float((g.mean(0).abs() / (g.std(0) / math.sqrt(400))).max()) for g in found)
        assert (largest < 5) == rests


# Weight decay.


def test_weight_decay_is_a_normal_prior_of_the_weights() -> None:
    """weight_decay = 1 / (s^2 N) adds the gradient of -log N(weights; 0, s^2 I) / N, as aevb's MAP estimates need."""
    weight = nn.Parameter(torch.randn(3, 2))
    before = weight.detach().clone()
    optimizer = OPTIMIZERS["sgd"]([weight], lr=1.0, weight_decay=1 / (0.7**2 * 50))
    loss = (weight**3).sum()
    log_prior = torch.distributions.Normal(0, 0.7).log_prob(weight).sum()
    (expected,) = torch.autograd.grad(loss - log_prior / 50, [weight], retain_graph=True)
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(before - weight.detach(), expected)


# The schedule of eight stages.


def test_stages_are_those_published_and_a_shorter_run_sees_the_first() -> None:
    weight = nn.Parameter(torch.zeros(1))
    for epochs, num_stages in ((3280, 8), (40, 4)):
        optimizer = OPTIMIZERS["adam"]([weight], lr=1e-3)
        scheduler = SCHEDULERS["stages"](optimizer, epochs)
        for stage in range(num_stages):
            first = (3**stage - 1) // 2
            for epoch in (first, first + 3**stage - 1e-3):
                scheduler.before_step(epoch)
                assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 10 ** (-stage / 7))
        assert first + 3**stage == epochs


# Monte Carlo EM.


def monte_carlo_em(model: Model, num_images: int, lr: float, updates: int = 5) -> MonteCarloEM:
    optimizer = OPTIMIZERS["adagrad"](list(model.parameters()), lr=lr)
    return MonteCarloEM(StepSetup(model, ELBO(), optimizer, make_accelerator("cpu", "float32"), num_images), updates=updates)


def batches_of(x: torch.Tensor, size: int, noise: torch.Generator) -> Iterator[Batch]:
    for rows in torch.randperm(len(x), generator=noise).split(size):
        yield Batch(x[rows], None, rows)


def test_monte_carlo_em_learns_a_decoder_whose_posteriors_its_chains_follow() -> None:
    oracle = linear_gaussian(num=300, scale=0.5)
    model, images, noise = oracle.model, oracle.x, generator(0)
    step = monte_carlo_em(model, 300, lr=0.2, updates=3)
    best = oracle.log_evidence().mean().item()
    with torch.no_grad():
        model.decoder.bias += 1.0
    model.train()
    for _ in range(NUM_ROUNDS):
        for batch in batches_of(images, 100, noise):
            step.update(batch, StepContext())
    now = LinearGaussian(model, images, model.decoder.weight.detach(), model.decoder.bias.detach(), 0.5)
    reached = now.log_evidence().mean().item()
    assert best - 0.3 < reached < best + 1.0  # it may fit 300 images a little better than the model that made them
    weight, bias = now.weight, now.bias
    precision = torch.eye(3) + weight.T @ weight / 0.25
    means = (images.flatten(1) - bias) @ weight @ torch.linalg.inv(precision) / 0.25
    whitened = (step.z - means) @ torch.linalg.cholesky(precision)
    assert whitened.mean().abs() < 5 / math.sqrt(whitened.numel())
    assert whitened.var().item() == pytest.approx(1, abs=0.25)


def test_monte_carlo_em_runs_as_a_step_of_a_recipe_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    changes = {"step": {"name": "monte-carlo-em", "updates": 2}, "epochs": 2, "evaluation.num_samples": 0}
    recipe, quiet = load_recipe("digits", changes), Console(quiet=True)
    whole = run(recipe, tmp_path / "whole", console=quiet)

    class Stop(Callback):
        def on_step(self, trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
            if trainer.progress.step == 30:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", callbacks=[Stop()], console=quiet)
    parts = resume(tmp_path / "parts", {}, quiet)
    for a, b in zip(whole.model.state_dict().values(), parts.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert parts.history[-1]["train"] == whole.history[-1]["train"]
    assert whole.history[1]["train"]["loss"] < whole.history[0]["train"]["loss"]
    assert 0.5 < whole.history[1]["train"]["acceptance"] <= 1
