"""Chains and annealing: invariant densities, unbiased weights, and brackets of log p(x) by both directions."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from tests.oracles import LinearGaussian, linear_gaussian
from vaekit.core.errors import ConfigError
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.distributions import sample_from_noise
from vaekit.distributions.gaussian_mixtures import GaussianMixture, MixtureOfGaussians
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.evaluation.likelihood import annealed_chains, annealing
from vaekit.evaluation.likelihood.amortization import NUM_STEPS, _refine, amortization_gap
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood, annealed_of_each, bracket
from vaekit.evaluation.likelihood.bounds import elbo_of_each, log_likelihood_of_each
from vaekit.evaluation.likelihood.posterior_sampling import _initial_points, _sample, _warm_up, posterior_log_likelihood
from vaekit.evaluation.noise import Noise
from vaekit.mcmc.hmc import State, Trajectory, transition
from vaekit.models import VAE

CPU = torch.device("cpu")


def oracle_with_images(num: int = 60, off: float = 0.5, scale: float = 0.4) -> tuple[LinearGaussian, ImageSet]:
    """A linear-Gaussian model and images of 8 bits near its own, with log p(x) in closed form."""
    oracle = linear_gaussian(num=num, off=off, scale=scale)
    levels = ((oracle.x - oracle.x.min()) / (oracle.x.max() - oracle.x.min()) * 255).round().byte()
    oracle.x.copy_(levels.float() / 255)
    return oracle, ImageSet(levels)


# Hamiltonian Monte Carlo.


def two_parts(z: Tensor) -> tuple[Tensor, Tensor]:
    """A broad Gaussian, and a tilted narrow one: with weights (0.25, 0.5) a Gaussian that is known."""
    tilted = -0.5 * (2 * (z[..., 0] - 1) ** 2 + 3 * (z[..., 1] + z[..., 0]) ** 2)
    return -0.5 * z.square().sum(-1), tilted


def test_transitions_leave_the_density_invariant() -> None:
    precision = 0.25 * torch.eye(2) + 0.5 * torch.tensor([[2.0 + 3.0, 3.0], [3.0, 3.0]])
    mean = torch.linalg.solve(precision, 0.5 * torch.tensor([2.0, 0.0]))
    exact = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    generator = torch.Generator().manual_seed(0)
    state = State.at(exact.sample(torch.Size([20_000])), two_parts)
    start, weights = state.z.clone(), torch.tensor([0.25, 0.5])
    trajectory = Trajectory(0.8, 3, torch.tensor([0.7, 1.3]))
    accepted = []
    for _ in range(5):
        noise, uniform = torch.randn(20_000, 2, generator=generator), torch.rand(20_000, generator=generator)
        state, probability = transition(state, weights, two_parts, trajectory, noise, uniform)
        accepted.append(probability.mean())
    assert 0.3 < torch.stack(accepted).mean() < 0.97  # rejections matter for the test to mean anything
    assert (state.z - start).abs().mean() > 0.5
    error = state.z.std(0) / math.sqrt(len(state.z))
    assert ((state.z.mean(0) - mean).abs() / error).max() < 5
    covariance = torch.linalg.inv(precision)
    assert (torch.cov(state.z.T) - covariance).abs().max() < 5 * covariance.max() * math.sqrt(2 / len(state.z))
    torch.testing.assert_close(state.values, torch.stack(two_parts(state.z)))
    torch.testing.assert_close(state.gradients[0], -state.z)


def test_diverging_trajectory_is_rejected() -> None:
    state = State.at(torch.ones(3, 2), lambda z: [-z.pow(4).sum(-1)])
    moved, probability = transition(
        state,
        torch.ones(1),
        lambda z: [-z.pow(4).sum(-1)],
        Trajectory(1e6, 5, torch.ones(())),
        torch.ones(3, 2),
        torch.zeros(3),
    )
    assert probability.tolist() == [0.0, 0.0, 0.0]
    assert torch.equal(moved.z, state.z)


# Annealed importance sampling.


@pytest.mark.parametrize("start", ["prior", "posterior"])
@pytest.mark.parametrize("distributions", [4, 40])
def test_weights_are_unbiased_in_both_directions_for_any_path(start: str, distributions: int) -> None:
    oracle = linear_gaussian(num=1, scale=0.8, off=0.3)
    model: VAE = oracle.model
    settings = Annealing(num_chains=8, num_distributions=distributions, start=start, num_leapfrog_steps=3)  # type: ignore[arg-type]
    num = 600
    with model.inference():
        z, x = model.sample_joint(num)
        truth = LinearGaussian(model, x, oracle.weight, oracle.bias, 0.8).log_evidence()
        path = annealed_chains.path_of(model, x, None, settings)
        steps = annealed_chains.adapted_step_sizes(
            [(annealed_chains.path_of(model, x[:20], None, settings), Noise(1, range(20), 3, CPU))], settings
        )
        forward = annealed_chains.forward_weights(path, settings, steps, Noise(2, range(num), 3, CPU)) - truth
        backward = (
            annealed_chains.backward_weights(path, settings, steps, z.expand(8, -1, -1), Noise(3, range(num), 3, CPU))
            - truth
        )
    for ratio in (forward.exp().mean(0), (-backward).exp().mean(0)):
        assert abs(ratio.mean() - 1) < 5 * ratio.std() / math.sqrt(num)
    assert forward.mean() < 0 < backward.mean()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"num_chains": 0}, "num_chains.*at least 1"),
        ({"num_distributions": 0}, "num_distributions.*at least 1"),
        ({"acceptance": 1.0}, "acceptance.*between"),
        ({"start": "postrior"}, "start.*posterior"),
    ],
)
def test_invalid_settings_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Annealing(**wrong)


def test_step_sizes_are_adapted_with_separate_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle, images = oracle_with_images(off=0.5)
    seen: list[list[int]] = []
    original = annealing._noise
    monkeypatch.setattr(annealing, "_noise", lambda m, s, places: seen.append([*places]) or original(m, s, places))
    annealed_of_each(oracle.model, images, Annealing(2, 3))
    bracket(oracle.model, 30, Annealing(2, 3))
    assert seen[0] == seen[1] == [*range(-20, 0)]
    assert all(min(places) >= 0 for places in seen[2:])


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_annealing_reaches_the_evidence_where_importance_sampling_does_not(start: str) -> None:
    oracle, images = oracle_with_images(off=1.2)
    evidence = oracle.log_evidence()
    values = annealed_of_each(oracle.model, images, Annealing(8, 150, start, num_leapfrog_steps=5))  # type: ignore[arg-type]
    error = (values - evidence).std() / math.sqrt(len(images))
    assert abs((values - evidence).mean()) < 5 * error
    assert error < 0.06
    few = log_likelihood_of_each(oracle.model, images, num_samples=8)
    assert (values - few).mean() > 0.3


def test_bracket_contains_the_evidence_and_narrows() -> None:
    oracle = linear_gaussian(num=1, off=0.8)
    short, long = (bracket(oracle.model, 60, Annealing(8, num, "prior", num_leapfrog_steps=5)) for num in (10, 400))
    for found in (short, long):
        assert found.gap.value == pytest.approx(found.upper.value - found.lower.value, abs=1e-4)
        assert found.gap.num_images == 60
        assert found.gap.num_samples == 8
    assert short.gap.value > 1
    assert abs(long.gap.value) < 0.15
    assert long.gap.steps == 400
    with fixed_seed(0):
        _, x = oracle.model.sample_joint(60)  # the same images
    truth = LinearGaussian(oracle.model, x, oracle.weight, oracle.bias, oracle.scale).log_evidence().mean().item()
    for found in (short, long):
        assert found.lower.value - 0.05 < truth < found.upper.value + 0.05  # both bounds hold in expectation only
    assert short.lower.value < long.lower.value + 3 * long.gap.value
    assert short.upper.value > long.upper.value
    assert short.lower.space == "images drawn by the model"


def test_annealed_estimate_states_its_counts() -> None:
    oracle, images = oracle_with_images(num=12)
    estimate = annealed_log_likelihood(oracle.model, images, Annealing(4, 20, num_leapfrog_steps=2), seed=3)
    assert (estimate.num_images, estimate.num_samples, estimate.steps) == (12, 4, 20)
    assert estimate.space == "density of pixels in [0, 1]"
    assert estimate.unit == "nats per image"
    betas = Annealing(4, 20).betas
    assert betas[0] == 0
    assert betas[-1] == 1
    assert bool((betas.diff() > 0).all())
    assert betas[10].item() == pytest.approx(0.5)
    assert betas[1] < 1 / 20  # slow at the ends


# The estimator of Appendix D, and the amortization gap.


def test_posterior_samples_give_the_evidence_without_an_encoder() -> None:
    oracle, images = oracle_with_images(num=150, off=3.0)  # a useless encoder
    evidence = oracle.log_evidence().mean().item()
    estimate = posterior_log_likelihood(oracle.model, images, num_samples=100)
    assert estimate.value == pytest.approx(evidence, abs=0.03)
    assert (estimate.num_samples, estimate.num_images) == (100, 150)
    assert elbo_of_each(oracle.model, images)[0].mean() > -evidence + 5


def exact_posterior(oracle: LinearGaussian) -> tuple[Tensor, Tensor]:
    """Mean, with shape (N, D), and standard deviation, with shape (D), of p(z|x), which is diagonal here."""
    variance = 1 / (1 + oracle.weight.square().sum(0) / oracle.scale**2)
    return (oracle.x.flatten(1) - oracle.bias) @ oracle.weight * variance / oracle.scale**2, variance.sqrt()


def test_chains_of_appendix_d_sample_the_posterior() -> None:
    """Scores of means and variances over 40 images and 3 latents, from 200 chains each, against the closed form."""
    oracle, _ = oracle_with_images(num=40, off=2.0)
    mean, stddev = exact_posterior(oracle)
    num = 200
    with oracle.model.inference():
        noise, joint = Noise(0, range(40), 3, CPU), oracle.model.log_joint(oracle.x)
        begun = State.at(_initial_points(oracle.model, oracle.x, num, noise), lambda z: (sum(joint(z)),))
        state, step = _warm_up(begun, torch.full((1, 40, 1), 0.3), lambda z: (sum(joint(z)),), noise)
        z = _sample(state, step, lambda z: (sum(joint(z)),), noise).z
    scores = (z.mean(0) - mean) / stddev * math.sqrt(num)
    assert abs(scores.square().mean() - 1) < 5 * math.sqrt(2 / scores.numel())
    assert abs(scores.mean()) < 5 / math.sqrt(scores.numel())
    ratios = z.var(0) / stddev.square()
    assert abs(ratios.mean() - 1) < 5 * math.sqrt(2 / (num * ratios.numel()))


def test_refined_posterior_is_the_exact_one() -> None:
    oracle, _ = oracle_with_images(num=20, off=0.8)
    mean, stddev = exact_posterior(oracle)
    with oracle.model.inference():
        qz, pz = oracle.model.encode(oracle.x), oracle.model.prior_of(20)
        found = _refine(oracle.model, oracle.x, None, qz, pz, NUM_STEPS, Noise(0, range(20), 3, CPU))
    assert ((qz.mean - mean) / stddev).abs().mean() > 0.5
    assert ((found.mean - mean) / stddev).abs().mean() < 0.05
    assert (found.stddev / stddev).log().abs().mean() < 0.05


def test_too_few_posterior_samples_are_refused() -> None:
    """With L = 4 for 3 latents the estimate is 63 nats too high."""
    oracle, images = oracle_with_images(num=4)
    with pytest.raises(ConfigError, match=r"num_samples.*15"):
        posterior_log_likelihood(oracle.model, images, num_samples=14)


def test_amortization_gap_is_the_loss_of_a_wrong_encoder() -> None:
    oracle, images = oracle_with_images(num=40, off=0.5)
    qz = oracle.model.encode(oracle.x)
    loss = oracle.log_evidence() - oracle.elbo(qz.mean, qz.stddev[0], oracle.weight)  # the exact posterior is diagonal
    gap = amortization_gap(oracle.model, images, num_samples=3000)
    assert gap.value == pytest.approx(loss.mean().item(), abs=0.05)
    assert gap.value > 0.2
    right, pixels = oracle_with_images(num=40, off=0.0)
    none = amortization_gap(right.model, pixels, num_samples=300)
    assert abs(none.value) < 0.02


# Independence of the batch size, and noise.


def test_noise_depends_only_on_the_image() -> None:
    whole, part = Noise(5, range(10), 3, CPU), Noise(5, [7, 2], 3, CPU)
    sampled = whole.normal(120)
    own = torch.cat([part.normal(num) for num in (1, 70, 49)])
    assert torch.equal(own, sampled[:, [7, 2]])
    assert not torch.equal(sampled[:, 0], sampled[:, 1])
    assert not torch.equal(Noise(6, range(10), 3, CPU).normal(1), sampled[:1])
    many = Noise(0, range(2000), 4, CPU).normal(50)
    assert abs(many.mean()) < 5 / math.sqrt(many.numel())
    assert abs(many.var() - 1) < 5 * math.sqrt(2 / many.numel())
    assert (torch.corrcoef(many[0, :5])[0, 1:]).abs().max() < 1
    normal, uniform = whole.transition(6)
    assert normal.shape == (6, 10, 3)
    assert 0 <= uniform.min() < uniform.max() < 1


@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize("batch", [2, 7])
def test_estimates_do_not_depend_on_the_batch_size(batch: int, prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle, images = oracle_with_images(num=21)
    settings = Annealing(3, 30, num_leapfrog_steps=2, acceptance=0.9)

    def numbers() -> list[Tensor]:
        distortion, rate = elbo_of_each(oracle.model, images, num_samples=3)
        iw = log_likelihood_of_each(oracle.model, images, num_samples=60)
        both = bracket(oracle.model, 21, settings)
        means = [both.lower.value, both.upper.value, posterior_log_likelihood(oracle.model, images, num_samples=20).value]
        from_prior = annealed_of_each(oracle.model, images, replace(settings, start="prior"))
        own = encode_images(oracle.model, images).rates
        return [
            distortion,
            rate,
            iw,
            annealed_of_each(oracle.model, images, settings),
            from_prior,
            torch.tensor(means),
            own,
        ]

    if prior == "mixture":
        oracle.model.prior = MixtureOfGaussians(3, num_components=4)
    expected = numbers()
    monkeypatch.setattr(VAE, "chunk_size", batch * 3)
    for value, other in zip(expected, numbers(), strict=True):
        torch.testing.assert_close(value, other, atol=5e-4, rtol=0)


def test_estimates_leave_the_global_generator_alone() -> None:
    oracle, images = oracle_with_images(num=4)
    state = torch.random.get_rng_state()
    elbo_of_each(oracle.model, images)
    log_likelihood_of_each(oracle.model, images, num_samples=3)
    annealed_of_each(oracle.model, images, Annealing(2, 3, num_leapfrog_steps=1))
    bracket(oracle.model, 3, Annealing(2, 3, num_leapfrog_steps=1))
    posterior_log_likelihood(oracle.model, images, num_samples=15)
    amortization_gap(oracle.model, images, num_samples=5, num_steps=2)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_mixture_prior_is_annealed_to_its_evidence() -> None:
    """One latent and two modes: log p(x) by numerical integration."""
    oracle = linear_gaussian(num=8, latent_dim=1, off=0.4)
    prior = MixtureOfGaussians(1, num_components=2)
    with torch.no_grad():
        prior.means.copy_(torch.tensor([[-2.0], [1.5]]))
        prior.logvars.fill_(-1.0)
    oracle.model.prior = prior
    z = torch.linspace(-12, 12, 20_001).reshape(-1, 1, 1)
    with torch.no_grad():
        log_pz = prior(1).log_prob(z)
        means = z * oracle.weight.T + oracle.bias
        log_px = Independent(Normal(means, oracle.scale), 1).log_prob(oracle.x.flatten(1))
    evidence = (log_pz + log_px).logsumexp(0) + math.log(24 / 20_000)
    with oracle.model.inference():
        settings = Annealing(64, 100, "prior", num_leapfrog_steps=5)
        path = annealed_chains.path_of(oracle.model, oracle.x, None, settings)
        noise = Noise(0, range(8), 1, CPU)
        steps = annealed_chains.adapted_step_sizes([(path, Noise(1, range(8), 1, CPU))], settings)
        ratios = (annealed_chains.forward_weights(path, settings, steps, noise) - evidence).exp()
    error = ratios.std() / math.sqrt(ratios.numel())
    assert abs(ratios.mean() - 1) < 5 * error
    assert error < 0.1


def with_mixture(oracle: LinearGaussian) -> LinearGaussian:
    """The same model with a prior of three Gaussians apart."""
    prior = MixtureOfGaussians(2, num_components=3)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
        prior.means.copy_(torch.tensor([[-1.5, 0.5], [1.0, 1.0], [0.5, -2.0]]))
        prior.logvars.copy_(torch.tensor([[-1.0, 0.0], [-0.5, -1.5], [-2.0, -0.5]]))
    oracle.model.prior = prior
    return oracle


def mixture_evidence(oracle: LinearGaussian, x: Tensor) -> Tensor:
    """log p(x) in nats under that prior: a mixture of Gaussians again."""
    prior, weight = oracle.model.prior, oracle.weight
    assert isinstance(prior, MixtureOfGaussians)
    parts = []
    for log_weight, mean, logvar in zip(prior.logits.log_softmax(0), prior.means, prior.logvars, strict=True):
        covariance = weight @ logvar.exp().diag() @ weight.T + oracle.scale**2 * torch.eye(len(weight))
        parts.append(log_weight + MultivariateNormal(weight @ mean + oracle.bias, covariance).log_prob(x.flatten(1)))
    return torch.stack(parts).logsumexp(0).detach()


def test_every_estimate_reaches_the_evidence_of_a_mixture() -> None:
    """Importance sampling, annealing from both starts and Appendix D, each within its own errors; the bracket holds it."""
    oracle = with_mixture(linear_gaussian(num=1, latent_dim=2, scale=0.6, off=0.4))
    with fixed_seed(3):
        _, x = oracle.model.sample_joint(60)
    low, high = x.min(), x.max()
    levels = ((x - low) / (high - low) * 255).round().byte()
    images, truth = ImageSet(levels), mixture_evidence(oracle, levels.float() / 255)
    model = oracle.model
    found = {
        "importance": log_likelihood_of_each(model, images, num_samples=4000),
        "from the posterior": annealed_of_each(model, images, Annealing(16, 100, num_leapfrog_steps=4)),
        "from the prior": annealed_of_each(model, images, Annealing(16, 200, "prior", num_leapfrog_steps=4)),
    }
    for name, values in found.items():
        gaps = values - truth
        assert gaps.std() < 0.2, name
        assert abs(gaps.mean()) < 5 * gaps.std() / math.sqrt(len(gaps)) + 0.005, name
    chains = posterior_log_likelihood(model, images, num_samples=200)
    assert chains.value == pytest.approx(truth.mean().item(), abs=0.05)
    both = bracket(model, 60, Annealing(16, 100, "prior", num_leapfrog_steps=4))
    with fixed_seed(0):
        _, x = model.sample_joint(60)
    exact = mixture_evidence(oracle, x).mean().item()
    error = both.gap.standard_error or 0.0
    assert both.lower.value - 5 * error < exact < both.upper.value + 5 * error
    assert abs(both.gap.value) < 0.2


def test_mixture_samples_from_noise_have_its_distribution() -> None:
    means, stddevs = torch.tensor([[-3.0, 0.0], [2.0, 1.0]]), torch.tensor([[0.5, 1.0], [1.0, 0.2]])
    mixture = GaussianMixture(4, means, stddevs, torch.tensor([0.3, 0.7]).log())
    noise = Noise(0, range(4), 2, CPU).normal(5000)
    z = sample_from_noise(mixture, noise)
    assert z.shape == (5000, 4, 2)
    share = (z[..., 0] < -1).float().mean().item()
    assert abs(share - 0.3) < 5 * math.sqrt(0.21 / 20_000) + 0.002
    assert (z.mean((0, 1)) - mixture.mean[0]).abs().max() < 5 * 2.5 / math.sqrt(20_000)
    assert (z.flatten(0, 1).var(0) - mixture.variance[0]).abs().max() < 0.2
    assert torch.equal(
        sample_from_noise(GaussianMixture(1, means, stddevs, mixture.log_weights), noise[7:9, 2:3]), z[7:9, 2:3]
    )
