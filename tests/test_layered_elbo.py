"""The ELBO of several layers: free bits and KL balancing of each, by numbers and by gradients."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vaekit.core.terms import LatentTerms, StepContext, Terms
from vaekit.objectives import ELBO, LayeredELBO
from vaekit.objectives.layered_elbo import balance_factors


def terms_of(means: Tensor, log_px: Tensor | None = None) -> Terms:
    """Terms whose layers are Gaussians of these means, with shape (L), under N(0, 1): their rates are mean^2 / 2."""
    ones = torch.ones(1, 2, 1)
    pz = Independent(Normal(0 * ones, 1.0), 1)
    latents = tuple(LatentTerms(0 * ones, Independent(Normal(mean * ones, 1.0), 1), pz) for mean in means)
    log_px = torch.full((1, 2), -80.0) if log_px is None else log_px
    return Terms(log_px, latents, pz, torch.zeros(2, 1))


def loss_and_gradient(
    objective: LayeredELBO, means: list[float], epoch: float = 0.0
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    values = torch.tensor(means, requires_grad=True)
    loss = objective(terms_of(values), StepContext(epoch))
    (gradient,) = torch.autograd.grad(loss.value, values, allow_unused=True)
    return loss.value.detach(), gradient, loss.logs


def test_without_free_bits_and_balancing_the_loss_is_the_bound() -> None:
    loss, gradient, logs = loss_and_gradient(LayeredELBO(), [1.0, 2.0, 0.1])
    assert float(loss) == pytest.approx(80 + 0.5 + 2 + 0.005)
    torch.testing.assert_close(gradient, torch.tensor([1.0, 2.0, 0.1]))
    assert float(logs["elbo"]) == pytest.approx(-82.505)
    assert [float(logs[f"rate_{layer}"]) for layer in (1, 2, 3)] == pytest.approx([0.5, 2.0, 0.005])
    assert float(ELBO()(terms_of(torch.tensor([1.0, 2.0, 0.1])), StepContext()).value) == pytest.approx(float(loss))


def test_a_layer_below_its_free_bits_costs_them_and_gets_no_gradient() -> None:
    loss, gradient, logs = loss_and_gradient(LayeredELBO(free_bits=0.4), [1.0, 2.0, 0.1])
    assert float(loss) == pytest.approx(80 + 0.5 + 2 + 0.4)
    torch.testing.assert_close(gradient, torch.tensor([1.0, 2.0, 0.0]))
    assert float(logs["rate"]) == pytest.approx(2.505)


def test_free_bits_follow_their_schedule() -> None:
    objective = LayeredELBO(free_bits={"name": "linear", "epochs": 10, "start": 1.0, "end": 0.0})
    assert float(loss_and_gradient(objective, [0.0, 0.0])[0]) == pytest.approx(82)
    assert float(loss_and_gradient(objective, [0.0, 0.0], epoch=5)[0]) == pytest.approx(81)
    loss, gradient, _ = loss_and_gradient(objective, [0.0, 1.0], epoch=10)
    assert float(loss) == pytest.approx(80.5)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 1.0]))


def test_balancing_weights_layers_by_their_share_without_a_gradient_through_the_weight() -> None:
    torch.testing.assert_close(balance_factors(torch.tensor([1.0, 3.0]), 1.0), torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(balance_factors(torch.tensor([1.0, 3.0]), 0.5), torch.tensor([0.75, 1.25]))
    assert torch.equal(balance_factors(torch.tensor([1.0, 3.0]), 0.0), torch.ones(2))
    assert torch.equal(balance_factors(torch.zeros(2), 0.0), torch.ones(2))
    loss, gradient, logs = loss_and_gradient(LayeredELBO(balance=1.0), [2.0, 4.0])  # rates 2 and 8, factors 0.4 and 1.6
    assert float(loss) == pytest.approx(80 + 0.4 * 2 + 1.6 * 8)
    torch.testing.assert_close(gradient, torch.tensor([0.4 * 2, 1.6 * 4]))
    assert float(logs["elbo"]) == pytest.approx(-90)


def test_a_sampled_rate_below_zero_stays_in_the_bound() -> None:
    """A rate that is a mean over samples may be negative; the loss is the negative bound all the same, with its gradient."""
    terms = terms_of(torch.tensor([1.0]))
    shift = torch.tensor(0.5, requires_grad=True)
    weights = torch.tensor([0.5, 0.5])
    mixture = MixtureSameFamily(Categorical(weights), Independent(Normal(shift + torch.zeros(2, 1), torch.ones(2, 1)), 1))
    latent = LatentTerms(torch.zeros(1, 2, 1), Independent(Normal(torch.full((2, 1), 3.0), 1.0), 1), mixture.expand([2]))
    loss = LayeredELBO()(replace(terms, latents=(latent,)), StepContext())
    assert float(loss.logs["rate"]) == pytest.approx(-4.375)
    assert float(loss.value.detach()) == pytest.approx(80 - 4.375)
    (gradient,) = torch.autograd.grad(loss.value, shift)
    assert float(gradient) == pytest.approx(0.5)
