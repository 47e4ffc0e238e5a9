"""Objectives: their losses, what they log, and that both have the same units."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch.distributions import Independent, Normal

import vaekit
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.schedules import Linear
from vaekit.core.terms import LatentTerms, Loss, StepContext, Terms
from vaekit.experiment.prepare import build_model, load_splits, make_trainer
from vaekit.objectives import ELBO, IWAE, OBJECTIVES, Objective, WakeSleep
from vaekit.objectives.perceptual import dissimilarity
from vaekit.runs.recipe import load_recipe


def make_terms(num_samples: int = 3) -> Terms:
    qz = Independent(Normal(torch.tensor([[0.0, 2.0], [0.1, 1.0]]), torch.tensor([[1.0, 0.5], [0.9, 0.5]])), 1)
    pz = Independent(Normal(torch.zeros(2, 2), torch.ones(2, 2)), 1)
    log_px = torch.tensor([[-10.0, -20.0]]).repeat(num_samples, 1) + torch.randn(num_samples, 2)
    return Terms(log_px, (LatentTerms(qz.rsample(torch.Size([num_samples])), qz, pz),), qz, torch.zeros(2, 2))


def test_elbo_is_minus_distortion_minus_rate() -> None:
    terms = make_terms()
    loss = ELBO()(terms, StepContext())
    assert loss.value.item() == pytest.approx(-loss.logs["elbo"].item())
    assert loss.logs["elbo"].item() == pytest.approx(-(loss.logs["distortion"] + loss.logs["rate"]).item())
    assert loss.logs["distortion"].item() == pytest.approx(-terms.log_px.mean().item(), rel=1e-6)
    assert loss.logs["rate"].item() == pytest.approx(terms.latents[0].rate().sum(-1).mean().item())


def test_beta_weights_the_loss_but_not_the_logs() -> None:
    terms = make_terms()
    plain, weighted = ELBO()(terms, StepContext()), ELBO(beta=4.0)(terms, StepContext())
    assert weighted.value.item() == pytest.approx((plain.logs["distortion"] + 4 * plain.logs["rate"]).item())
    for key in ("elbo", "rate", "distortion"):
        assert weighted.logs[key].item() == plain.logs[key].item()
    assert weighted.logs["beta"].item() == 4


def test_beta_follows_its_schedule() -> None:
    terms, objective = make_terms(), ELBO(beta=Linear(epochs=10))
    for epoch, beta in ((0.0, 0.0), (5.0, 0.5), (10.0, 1.0), (12.0, 1.0)):
        loss = objective(terms, StepContext(epoch))
        assert loss.logs["beta"].item() == pytest.approx(beta)
        assert loss.value.item() == pytest.approx((loss.logs["distortion"] + beta * loss.logs["rate"]).item())


def test_free_bits_are_a_floor_of_the_batch_mean_with_no_gradient_below() -> None:
    mu = torch.tensor([[0.1, 2.0], [0.2, 1.0]], requires_grad=True)
    qz = Independent(Normal(mu, torch.ones(2, 2)), 1)
    pz = Independent(Normal(torch.zeros(2, 2), torch.ones(2, 2)), 1)
    terms = Terms(torch.zeros(1, 2), (LatentTerms(qz.rsample(torch.Size([1])), qz, pz),), qz, torch.zeros(2, 2))
    loss = ELBO(free_bits=0.5)(terms, StepContext())
    assert loss.value.item() == pytest.approx(0.5 + (2.0**2 + 1.0**2) / 4)
    (gradient,) = torch.autograd.grad(loss.value, mu)
    assert gradient[:, 0].tolist() == [0, 0]
    assert gradient[:, 1].tolist() == [1.0, 0.5]
    assert loss.logs["rate"].item() == pytest.approx((0.1**2 + 2**2 + 0.2**2 + 1**2) / 4)


def test_capacity_penalizes_the_distance_of_the_rate_from_both_sides() -> None:
    terms = make_terms()
    rate = terms.rate().mean().item()
    for capacity in (rate - 1, rate + 1):
        loss = ELBO(beta=10.0, capacity=capacity)(terms, StepContext())
        assert loss.value.item() == pytest.approx(loss.logs["distortion"].item() + 10, rel=1e-4)


@pytest.mark.parametrize("objective", [ELBO, IWAE, WakeSleep])
def test_penalties_are_weighted_by_the_objective_and_logged_unweighted(objective: type[Objective]) -> None:
    base = make_terms()
    base = replace(base, sleep_terms=lambda: base.latents)
    terms = replace(base, penalties={"commitment": torch.tensor([1.0, 3.0]), "spectral": torch.tensor([5.0, 5.0])})
    plain = objective()(base, StepContext())
    one = objective()(terms, StepContext())
    assert one.value.item() == pytest.approx(plain.value.item() + 2 + 5, rel=1e-5)
    weighted = objective(penalties={"commitment": 0.25, "spectral": Linear(epochs=10)})(terms, StepContext(5.0))
    assert weighted.value.item() == pytest.approx(plain.value.item() + 0.25 * 2 + 0.5 * 5, rel=1e-5)
    assert weighted.logs["commitment"].item() == 2
    assert weighted.logs["elbo"].item() == pytest.approx(plain.logs["elbo"].item())


def test_the_elbo_of_terms_is_per_image() -> None:
    terms = make_terms()
    torch.testing.assert_close(terms.elbo(), terms.log_px.mean(0) - terms.latents[0].rate().sum(-1))


def test_wake_sleep_needs_samples_of_the_model() -> None:
    with pytest.raises(ModelError, match="sleep_terms"):
        WakeSleep()(make_terms(), StepContext())


def test_free_bits_and_capacity_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose one"):
        ELBO(free_bits=0.1, capacity=3.0)


def test_logs_carry_no_gradient() -> None:
    for objective in (ELBO(), IWAE(3)):
        loss = objective(make_terms(), StepContext())
        assert not any(value.requires_grad for value in loss.logs.values())


def test_iwae_lies_between_the_mean_and_the_best_weight() -> None:
    terms = make_terms(5)
    weights = terms.log_weights()
    bound = -IWAE(5)(terms, StepContext()).value
    assert weights.mean() < bound < weights.max(0).values.mean()


def test_two_layers_add_up() -> None:
    terms = make_terms()
    two = Terms(terms.log_px, terms.latents * 2, terms.px, terms.x)
    torch.testing.assert_close(two.rate(), 2 * terms.rate())
    torch.testing.assert_close(two.log_weights(), terms.log_px + 2 * terms.latents[0].log_ratio())
    loss = ELBO()(two, StepContext())
    assert loss.value.item() == pytest.approx((terms.distortion() + 2 * terms.rate()).mean().item())


def test_dissimilarity_is_nothing_for_equal_images_and_higher_for_worse_ones() -> None:
    x = torch.rand(4, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
    blurred = torch.nn.functional.avg_pool2d(smooth, 5, 1, 2)
    values = dissimilarity(torch.stack([smooth, 0.9 * smooth, blurred, 1 - smooth]), smooth)
    assert values.shape == (4, 4)
    torch.testing.assert_close(values[0], torch.zeros(4), atol=1e-5, rtol=0)
    assert (values[:-1].diff(dim=0) > 0).all()
    assert (values[3] > 1).all()


def test_dissimilarity_of_flat_images_is_that_of_their_brightness() -> None:
    """Without structure SSIM is its first factor, (2 a b + c) / (a^2 + b^2 + c) with c = 0.01^2, at every scale."""
    x, y = torch.full((1, 1, 48, 48), 0.8), torch.full((1, 1, 1, 48, 48), 0.4)
    expected = 1 - (2 * 0.8 * 0.4 + 1e-4) / (0.8**2 + 0.4**2 + 1e-4)
    assert dissimilarity(y, x).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (12, 11), (64, 20)])
def test_dissimilarity_takes_any_size_and_has_a_gradient(size: tuple[int, int]) -> None:
    y = torch.rand(2, 3, 1, *size, requires_grad=True)
    loss = dissimilarity(y, torch.rand(3, 1, *size)).mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()
    assert y.grad.abs().sum() > 0


def test_perceptual_term_is_added_to_the_loss_and_not_to_the_bound() -> None:
    x, y = torch.rand(2, 1, 16, 16), torch.rand(1, 2, 1, 16, 16)
    base = make_terms(1)
    terms = Terms(base.log_px, base.latents, Independent(Normal(y, 1.0), 3), x)
    plain, more = ELBO()(terms, StepContext()), ELBO(perceptual=30.0)(terms, StepContext())
    unlike = dissimilarity(y, x).mean().item()
    assert more.value.item() == pytest.approx(plain.value.item() + 30 * unlike, rel=1e-5)
    assert more.logs["dissimilarity"].item() == pytest.approx(unlike)
    assert more.logs["elbo"].item() == plain.logs["elbo"].item()
    assert "dissimilarity" not in plain.logs


def test_an_objective_sees_the_epoch_the_step_and_the_number_of_images(digits: vaekit.ImageSet) -> None:
    """270 of 300 images are trained on in batches of 100: 3 steps an epoch."""
    seen: list[StepContext] = []

    class Watching(ELBO):
        def forward(self, terms: Terms, context: StepContext) -> Loss:
            seen.append(context)
            return super().forward(terms, context)

    recipe = load_recipe("digits", {"epochs": 2, "batch_size": 100, "evaluation.num_samples": 0})
    splits = load_splits(recipe.data, 0, digits.first(300), digits.first(10))
    model = build_model(recipe, splits.train)
    with patch.dict(OBJECTIVES, {"elbo": Watching}):
        trainer = make_trainer(
            recipe, model, splits.train, None, lambda model: {"elbo": 0.0, "rate": 0.0, "distortion": 0.0}
        )
        trainer.fit()
    assert [(context.step, context.num_images) for context in seen] == [(step, 270) for step in range(6)]
    assert [context.epoch for context in seen] == [step / 3 for step in range(6)]
