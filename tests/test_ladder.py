"""Laws and oracles of ladders: linear-Gaussian layers in closed form, densities, one pass, any size, saved and loaded."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

import vaekit
from tests.ladders import ladder, ladder_config, linear_ladder
from tests.test_divergence import SHAPE, make_trainer
from tests.test_spikes import Spiky, Watch
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.terms import StepContext
from vaekit.distributions import Bernoulli, PathDistribution
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_of_each, bracket
from vaekit.evaluation.likelihood.bounds import log_likelihood, log_likelihood_of_each
from vaekit.models import LadderVAE, Model, build_vae, check_savable
from vaekit.models.model import layer_terms
from vaekit.objectives import WakeSleep
from vaekit.training import spikes


def images(num: int, shape: tuple[int, ...] = (1, 8, 8), seed: int = 1) -> Tensor:
    return (torch.rand(num, *shape, generator=torch.Generator().manual_seed(seed)) > 0.5).float()


def test_exact_posterior_of_a_linear_ladder_makes_every_weight_the_evidence() -> None:
    model, gaussian = linear_ladder()
    data = gaussian.data(30)
    evidence = gaussian.log_evidence(data.values)
    with torch.no_grad():
        terms = model(data.values, num_samples=5)
    assert len(terms.latents) == 2
    torch.testing.assert_close(terms.log_weights(), evidence.expand(5, -1), atol=2e-5, rtol=0, check_dtype=False)
    found = log_likelihood_of_each(model, data, num_samples=7).double()
    torch.testing.assert_close(found, evidence, atol=2e-5, rtol=0)


def test_elbo_with_analytic_rates_equals_the_closed_form_and_sampled_ratios() -> None:
    model, gaussian = linear_ladder(0.4)
    x = gaussian.data(30).values
    with torch.no_grad():
        estimates = [model(x, num_samples=200) for _ in range(30)]
    closed = gaussian.log_evidence(x) - gaussian.divergence(x)
    for values in ([terms.elbo() for terms in estimates], [terms.log_weights().mean(0) for terms in estimates]):
        stacked = torch.stack(values)
        errors = stacked.std(0) / len(stacked) ** 0.5
        assert ((stacked.mean(0) - closed).abs() / errors).max() < 5
        assert errors.max() < 0.1
    torch.testing.assert_close(estimates[0].rates()[0], gaussian.layer_rates(x)[0], atol=1e-5, rtol=0, check_dtype=False)


def test_importance_sampling_and_annealing_rise_to_the_evidence() -> None:
    model, gaussian = linear_ladder(0.2)
    data = gaussian.data(40)
    evidence = gaussian.log_evidence(data.values)
    bounds = [log_likelihood(model, data, num_samples=k).value for k in (1, 10, 100, 5000)]
    assert bounds == sorted(bounds)
    assert bounds[1] < evidence.mean().item() - 0.02
    assert bounds[-1] == pytest.approx(evidence.mean().item(), abs=0.02)
    model, gaussian = linear_ladder(0.8)
    found, expected = (log_likelihood_of_each(each, data, num_samples=50).double() for each in (model, gaussian))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)  # the same noise, so the same estimate
    annealing = Annealing(16, 100, num_leapfrog_steps=4)
    gaps = annealed_of_each(model, data, annealing) - evidence
    assert abs(gaps.mean()) < 5 * gaps.std() / math.sqrt(len(gaps)) + 0.01
    assert abs(bracket(model, 20, annealing).gap.value) < 0.15


class Step(Distribution):
    """p(x|z) = 1 if z > 0, else 0, for the one x that there is."""

    def __init__(self, z: Tensor) -> None:
        super().__init__(z.shape[:-1], torch.Size([1, 1, 1]), validate_args=False)
        self.z = z

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.where(self.z[..., 0] > 0, 0.0, -math.inf)


class HalfLine(Model):
    """z ~ N(0, 1) and p(x|z) = 1{z > 0}, so p(x) = 1/2; q(z|x) = N(0.674, 1)."""

    shape, latent_dim = (1, 1, 1), 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.likelihood = Bernoulli()
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def qz(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        return Independent(Normal(torch.full((len(x), 1), 0.674), 1.0), 1)

    def pz(self, num: int, context: Tensor | None = None) -> Distribution:
        return Independent(Normal(torch.zeros(num, 1), 1.0), 1)

    def px(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        return Step(z)


def test_analytic_rates_in_an_importance_estimate_exceed_log_p_and_sampled_ratios_do_not() -> None:
    model, x, num = HalfLine(), torch.ones(1, 1, 1, 1), 200_000
    with torch.no_grad():
        terms = model(x, num_samples=num)
    wrong = (terms.log_px - terms.rate()).logsumexp(0) - math.log(num)
    assert float(wrong) == pytest.approx(-0.515, abs=0.005)
    assert float(wrong) > math.log(0.5) + 0.1
    for estimate in (model.log_likelihood(x, num_samples=num), terms.log_weights().logsumexp(0) - math.log(num)):
        assert float(estimate) == pytest.approx(math.log(0.5), abs=0.01)


def test_samples_of_the_prior_have_the_density_that_it_states() -> None:
    """The mean of p(z)^(1/2) q(z)^(1/2) / p(z) over samples of p is symmetric in p and q where both are normalized."""
    model = ladder((1, 2, 2), layers=(1, 1))
    with torch.no_grad():
        pz = model.pz(1)
        z = pz.sample((40_000,))
        other = Independent(Normal(pz.mean, 1.3), 1)
        half = 0.5 * (other.log_prob(z) - pz.log_prob(z))
        samples = other.sample((40_000,))
        back = 0.5 * (pz.log_prob(samples) - other.log_prob(samples))
    first, second = half.exp(), back.exp()
    error = (first.var() / len(first) + second.var() / len(second)).sqrt()
    assert abs(first.mean() - second.mean()) < 5 * error < 0.1


@pytest.mark.parametrize("num_samples", [1, 3])
def test_density_of_own_samples_is_the_sum_over_layers_and_takes_one_pass(num_samples: int) -> None:
    model, x = ladder(), images(4)
    passes: list[int] = []
    descend = model.decoder.descend
    model.decoder.descend = lambda *a: passes.append(1) or descend(*a)  # type: ignore[method-assign, func-returns-value]
    with torch.no_grad():
        model.decoder.register_forward_hook(lambda *_: passes.append(2))
        terms = model(x, num_samples=num_samples)
        assert passes == [1]  # and nothing is decoded apart from it
        qz, pz = model.qz(x), model.pz(len(x))
        z = torch.cat([latent.z for latent in terms.latents], -1)
        torch.testing.assert_close(qz.log_prob(z), sum(latent.qz.log_prob(latent.z) for latent in terms.latents))
        torch.testing.assert_close(pz.log_prob(z), sum(latent.pz.log_prob(latent.z) for latent in terms.latents))
        torch.testing.assert_close(model.px(z).log_prob(terms.x), terms.log_px)
        log_pz, log_px = model.log_joint(x)(z)
    torch.testing.assert_close(log_pz, pz.log_prob(z))
    torch.testing.assert_close(log_px, terms.log_px)
    assert len(layer_terms(z, qz, pz)) == 3


def test_latents_are_split_into_layers_and_joined_again() -> None:
    model = ladder()
    assert model.layer_sizes == (8, 32, 32)
    assert model.latent_dim == 72
    pz = model.pz(2)
    z = torch.randn(3, 2, 72)
    layers = pz.split(z)
    assert [layer.shape[-1] for layer in layers] == [8, 32, 32]
    assert torch.equal(torch.cat(layers, -1), z)
    assert torch.equal(pz.at(z).z, z)


def test_a_changed_vector_or_a_wanted_gradient_is_a_new_pass() -> None:
    model = ladder()
    pz, z = model.pz(2), torch.randn(2, 72)
    with torch.no_grad():
        before = pz.log_prob(z)
        z.mul_(2)
        after = pz.log_prob(z)
    torch.testing.assert_close(after, model.pz(2).log_prob(z.clone()))
    assert (before - after).abs().min() > 1
    assert pz.log_prob(z).requires_grad  # by the weights
    z.requires_grad_()
    (found,) = torch.autograd.grad(pz.log_prob(z).sum(), z)
    (expected,) = torch.autograd.grad(model.pz(2).log_prob(z).sum(), z)  # of a distribution that keeps no pass
    torch.testing.assert_close(found, expected)
    assert found.abs().min() > 0


def test_mean_and_noise_of_the_posterior_agree_with_its_layers() -> None:
    model, x = ladder(), images(5)
    with torch.no_grad():
        qz = model.qz(x)
        assert isinstance(qz, PathDistribution)
        torch.testing.assert_close(qz.from_noise(torch.zeros(1, 5, 72))[0], qz.mean)
        noise = torch.randn(2, 5, 72)
        z = qz.from_noise(noise)
        whitened = torch.cat([(part - q.mean) / q.stddev for part, q in zip(qz.split(z), qz.layers(z), strict=True)], -1)
        torch.testing.assert_close(whitened, noise, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(qz.expand((3, 5)).log_prob(z[:1].expand(3, -1, -1)), qz.log_prob(z[:1]).expand(3, -1))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 33), (1, 5, 9), (3, 1, 7)])
def test_any_size_trains_saves_and_loads(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = build_vae(ladder_config(shape, layers=(1, 1, 2)))
    x = images(3, shape)
    model(x, num_samples=2).elbo().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    check_savable(model, x)
    model.save(tmp_path / "model")
    again = vaekit.load(tmp_path / "model")
    assert isinstance(again, LadderVAE)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert again.sample(2).shape == (2, *shape)
    assert again.reconstruct(x).shape == x.shape


def test_every_layer_begins_with_its_prior() -> None:
    terms = build_vae(ladder_config())(images(3))
    for latent in terms.latents:
        assert latent.rate().abs().max() == 0
        assert torch.equal(latent.pz.mean, torch.zeros_like(latent.pz.mean))
        assert torch.equal(latent.pz.stddev, torch.ones_like(latent.pz.stddev))


def test_log_variances_are_bounded() -> None:
    model = ladder()
    with torch.no_grad():
        for layer in model.decoder.path:
            layer.posterior_out.bias.fill_(1e6)
        terms = model(images(2))
    for latent in terms.latents:
        assert latent.qz.stddev.max() <= math.exp(5) + 1e-3
    assert bool(terms.elbo().isfinite().all())


@pytest.mark.parametrize("prior", ["flow", "mixture-of-gaussians", "vamp"])
def test_any_registered_prior_is_that_of_the_top_layer(prior: str) -> None:
    model = ladder(prior={"name": prior} | ({} if prior == "flow" else {"num_components": 3}))
    assert model.prior.latent_dim == model.top_dim == 8
    assert model.top_qz(images(4)).event_shape == model.top_pz(4).event_shape == (8,)
    terms = model(images(4), num_samples=2)
    assert [rate.shape for rate in terms.rates()] == [(4, 1), (4, 32), (4, 32)]
    terms.elbo().mean().backward()
    assert max(float(p.grad.abs().max()) for p in model.prior.parameters() if p.grad is not None) > 0
    assert model.sample(3).shape == (3, 1, 8, 8)


def test_a_conditional_ladder_uses_the_class() -> None:
    condition = {"name": "class-label", "classes": ["a", "b"]}
    model = ladder(condition=condition)
    z = torch.zeros(2, 72)
    means = model.decode_mean(z, torch.tensor([0, 1]))
    assert (means[0] - means[1]).abs().max() > 0.01
    x, labels = images(1).expand(2, -1, -1, -1), torch.tensor([0, 1])
    elbo = model.elbo(x, labels)
    assert abs(float(elbo[0] - elbo[1])) > 0.01


def test_parts_that_do_not_fit_are_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"set model\.posterior\.name=residual"):
        build_vae(ladder_config(posterior={"name": "diagonal-gaussian"}))
    with pytest.raises(ModelError, match=r"set model\.encoder\.name=ladder"):
        build_vae(ladder_config(encoder={"name": "mlp", "hidden": [8]}))
    with pytest.raises(ModelError, match="channels"):
        build_vae(ladder_config(encoder={"name": "ladder", "channels": [4, 4, 8], "blocks": [1, 1, 1]}))
    with pytest.raises(ConfigError, match=r"layers \[0, 0, 0\]"):
        build_vae(ladder_config(layers=(0, 0, 0)))
    with pytest.raises(ConfigError, match="latent_dim 7"):
        build_vae(ladder_config(latent_dim=7))
    with pytest.raises(ConfigError, match=r"model\.latent_dim: missing"):
        build_vae(ladder_config(decoder={"name": "mlp", "hidden": [8]}))
    with pytest.raises(ModelError, match="wake-sleep is for one stochastic layer"):
        WakeSleep()(ladder()(images(2)), StepContext())
    mlp = {"latent_dim": 4, "decoder": {"name": "mlp", "hidden": [8]}}
    with pytest.raises(ModelError, match=r"set model\.decoder\.name=ladder"):
        build_vae(ladder_config(**mlp)).elbo(images(2))


def test_a_spike_is_skipped_counted_and_leaves_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "WARM_UP", 4)
    model = build_vae(ladder_config(SHAPE, layers=(1, 1)))
    trainer = make_trainer(model, step=Spiky, batch_size=8, on_spike="skip", epochs=2)
    trainer.step.factors = {8: 1e8}  # type: ignore[attr-defined]
    watch = Watch()
    trainer.callbacks.append(watch)
    trainer.fit()
    assert [record["spikes"] for record in watch.records] == [0, 1]
    assert all(torch.equal(value, watch.weights[7][key]) for key, value in watch.weights[6].items())
    assert not torch.equal(watch.weights[8]["decoder.start"], watch.weights[7]["decoder.start"])
