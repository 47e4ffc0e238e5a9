"""Laws and oracles of priors that are fitted to the latents of a trained model."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from tests.test_contracts import CODE_PRIORS
from vaekit.core.errors import ConfigError, NoDensityError
from vaekit.core.rng import fixed_seed, generator
from vaekit.distributions import PRIORS, Prior
from vaekit.distributions.flow_matching import FlowMatchingPrior
from vaekit.distributions.full_mixtures import FullMixture, GaussianPrior, MixturePrior
from vaekit.distributions.latent_set import FitSchedule, LatentSet
from vaekit.distributions.two_stage import TwoStagePrior
from vaekit.training.prior_fitting import fit, log_densities, require_schedule

NUM = 20_000
SAMPLERS = ("two-stage", "flow-matching")
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]])
LOC = torch.tensor([2.0, -1.0])


def gaussian_latents(num: int = 4000, width: float = 0.3) -> LatentSet:
    """Posteriors whose aggregate is a Gaussian of mean LOC and covariance COVARIANCE, but for the choice of the means."""
    between = COVARIANCE - width**2 * torch.eye(2)
    means = LOC + torch.randn(num, 2, generator=generator(7)) @ torch.linalg.cholesky(between).T
    return LatentSet(means, torch.full((num, 2), width))


def close_to(samples: Tensor, mean: Tensor, covariance: Tensor, slack: float = 0.0) -> None:
    """Asserts that samples have a mean and a covariance, within five standard errors and some slack."""
    num, variances = len(samples), covariance.diagonal()
    assert bool(((samples.mean(0) - mean).abs() < 5 * (variances / num).sqrt() + slack).all())
    products = variances.outer(variances) + covariance**2  # the variance of a product of two Gaussians
    assert bool(((samples.T.cov() - covariance).abs() < 5 * (products / num).sqrt() + 2 * slack).all())


def at_any(prior: Prior, num: int, context: Tensor | None) -> Distribution:
    """p(z) of a prior without classes."""
    pz: Distribution = prior(num)
    return pz


def test_moments_of_the_aggregate_posterior() -> None:
    latents = LatentSet(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[1.0, 2.0], [2.0, 0.0]]))
    torch.testing.assert_close(latents.mean, torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(latents.covariance, torch.tensor([[1 + 2.5, 2.0], [2.0, 4 + 2.0]], dtype=torch.float64))
    z, _ = latents.sample(torch.arange(2).repeat(NUM), generator(0))
    torch.testing.assert_close(z.mean(0), latents.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(z.T.cov().double(), latents.covariance, atol=0.15, rtol=0)


def test_the_gaussian_is_the_closed_form_and_no_gaussian_is_better() -> None:
    latents = gaussian_latents()
    prior = GaussianPrior(2)
    prior.start(latents, 0)
    exact = MultivariateNormal(latents.mean.double(), latents.covariance)
    z = torch.randn(5, 3, 2) * 2
    torch.testing.assert_close(prior(3).log_prob(z).double(), exact.log_prob(z.double()), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prior(3).mean[0], latents.mean)
    torch.testing.assert_close(prior(3).variance[0].double(), latents.covariance.diagonal(), atol=1e-4, rtol=1e-4)
    with fixed_seed(1):
        close_to(prior(NUM).sample(), latents.mean, latents.covariance.float())
        close_to(prior(NUM).from_noise(torch.randn(NUM, 2)), latents.mean, latents.covariance.float())
    best = log_densities(partial(at_any, prior), latents).mean()
    for scale in (0.9, 1.1):
        other = GaussianPrior(2)
        other.set_group(0, torch.ones(1), latents.mean[None], scale * latents.covariance[None])
        assert log_densities(partial(at_any, other), latents).mean() < best


def test_a_conditional_gaussian_has_a_mean_and_a_covariance_for_each_class() -> None:
    labels = torch.arange(600) % 3
    means = torch.randn(600, 2, generator=generator(1)) * (1 + labels[:, None]) + 4 * labels[:, None]
    context = torch.eye(3)[labels] * 3**0.5
    prior = GaussianPrior(2, 3)
    prior.start(LatentSet(means, torch.full((600, 2), 0.1), context), 0)
    for label in range(3):
        own = means[labels == label]
        torch.testing.assert_close(prior(1, context[label : label + 1]).mean[0], own.mean(0))
        expected = own.var(0, correction=0) + 0.01
        torch.testing.assert_close(prior(1, context[label : label + 1]).variance[0], expected, rtol=1e-3, atol=1e-3)
    z = torch.randn(4, 3, 2)
    mixed = prior(3, context[:3]).log_prob(z)
    for label in range(3):
        alone = prior(1, context[label : label + 1]).log_prob(z[:, label : label + 1])
        torch.testing.assert_close(mixed[:, label : label + 1], alone)


def two_clusters() -> LatentSet:
    labels = torch.arange(3000) % 2
    means = torch.randn(3000, 2, generator=generator(3)) * torch.tensor([0.5, 1.0]) + 4.0 * labels[:, None]
    return LatentSet(means, torch.full((3000, 2), 0.2))


def test_the_mixture_is_that_of_scikit_learn_and_integrates_to_one() -> None:
    prior = MixturePrior(2, num_components=3, max_samples=3000)
    prior.start(two_clusters(), 5)
    found = prior(1)
    theirs = SklearnMixture(3)
    theirs.weights_ = found.log_weights[0].exp().detach().double().numpy()
    theirs.means_ = found.means[0].detach().double().numpy()
    covariances = found.factors[0] @ found.factors[0].mT
    theirs.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(covariances.detach().double().numpy())).swapaxes(1, 2)
    grid = torch.cartesian_prod(torch.linspace(-6, 10, 300), torch.linspace(-6, 10, 300))
    mine = found.log_prob(grid.unsqueeze(1)).squeeze(1).double().detach()
    torch.testing.assert_close(mine, torch.from_numpy(theirs.score_samples(grid.numpy())), atol=1e-4, rtol=1e-4)
    assert float(mine.exp().sum() * (16 / 299) ** 2) == pytest.approx(1, abs=1e-3)


def test_the_mixture_is_fitted_to_its_data() -> None:
    latents = two_clusters()
    gaussian, mixture = GaussianPrior(2), MixturePrior(2, num_components=2, max_samples=3000)
    for prior in (gaussian, mixture):
        prior.start(latents, 0)
    means = mixture(1).means[0][mixture(1).means[0, :, 0].argsort()]
    torch.testing.assert_close(means, torch.tensor([[0.0, 0.0], [4.0, 4.0]]), atol=0.15, rtol=0)
    gain = log_densities(lambda num, context: mixture(num), latents) - log_densities(
        lambda num, context: gaussian(num), latents
    )
    assert gain.mean() > 0.5
    with fixed_seed(0):
        for samples in (mixture(NUM).sample(), mixture(NUM).from_noise(torch.randn(NUM, 2))):
            torch.testing.assert_close(samples.mean(0), mixture(1).mean[0], atol=0.1, rtol=0)
            torch.testing.assert_close(samples.var(0), mixture(1).variance[0], atol=0.15, rtol=0)


def test_a_masked_autoregressive_flow_integrates_to_one_and_is_inverted_by_its_samples() -> None:
    prior = PRIORS["maf"](latent_dim=2, num_transforms=3, hidden=[16])
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    grid = torch.cartesian_prod(torch.linspace(-12, 12, 500), torch.linspace(-12, 12, 500))
    mass = prior(1).log_prob(grid.unsqueeze(1)).detach().exp().sum() * (24 / 499) ** 2
    assert float(mass) == pytest.approx(1, abs=0.01)
    noise = torch.randn(50, 2)
    z = prior(50).from_noise(noise)
    back = prior.flow(None)((z - prior.loc) / prior.log_scale.exp())  # type: ignore[operator]
    torch.testing.assert_close(back, noise, atol=1e-3, rtol=1e-3)


def linear_two_stage(gamma: float = 0.5) -> tuple[TwoStagePrior, Tensor, Tensor]:
    """A second VAE with a linear decoder and its exact posterior, and the mean and the covariance of its samples."""
    prior, weights = TwoStagePrior(2), torch.tensor([1.5, 0.5])
    prior.loc.copy_(LOC)
    prior.scale.copy_(torch.tensor([2.0, 0.5]))
    precision = 1 + weights**2 / gamma**2
    encoder, decoder = nn.Linear(2, 4), nn.Linear(2, 2)
    with torch.no_grad():
        prior.log_gamma.fill_(math.log(gamma))
        decoder.weight.copy_(weights.diag())
        decoder.bias.zero_()
        encoder.weight.copy_(torch.cat([(weights / gamma**2 / precision).diag(), torch.zeros(2, 2)]))
        encoder.bias.copy_(torch.cat([torch.zeros(2), -precision.log()]))
    prior.encoder, prior.decoder = encoder, decoder  # type: ignore[assignment]
    return prior, LOC, (prior.scale**2 * (weights**2 + gamma**2)).diag()


def test_the_samples_of_two_stages_have_the_law_of_a_linear_decoder_with_its_noise() -> None:
    prior, mean, covariance = linear_two_stage()
    with fixed_seed(0):
        close_to(prior(NUM).sample(), mean, covariance)
        close_to(prior(NUM).from_noise(torch.randn(NUM, 2)), mean, covariance)


def test_the_loss_of_two_stages_is_the_negative_log_density_where_its_posterior_is_exact() -> None:
    prior, mean, covariance = linear_two_stage()
    z = torch.tensor([3.0, -1.2])
    losses = prior.fit_loss(z.expand(NUM, 2)).detach()
    exact = -MultivariateNormal(mean, covariance).log_prob(z)
    assert float(losses.mean()) == pytest.approx(float(exact), abs=5 * float(losses.std()) / NUM**0.5)


class ExactVelocity(nn.Module):
    """The conditional expectation of the velocity for latents that are a Gaussian with independent entries."""

    def __init__(self, mean: Tensor, stddev: Tensor) -> None:
        super().__init__()
        self.mean, self.stddev = mean, stddev

    def forward(self, y: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        t = t.unsqueeze(1)
        slope = (t * self.stddev**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * self.stddev**2)
        return self.mean + slope * (y - t * self.mean)


def test_the_differential_equation_moves_noise_to_a_known_gaussian() -> None:
    prior, stddev = FlowMatchingPrior(2, num_steps=32, width=8, num_blocks=1), torch.tensor([0.3, 2.0])
    prior.velocity = ExactVelocity(LOC, stddev)
    with fixed_seed(0):
        close_to(prior(NUM).sample(), LOC, (stddev**2).diag(), slack=0.01)
        noise = torch.randn(NUM, 2)
    torch.testing.assert_close(prior(NUM).from_noise(noise), LOC + stddev * noise, atol=0.02, rtol=0.02)


def test_flow_matching_learns_a_known_gaussian() -> None:
    latents, prior = gaussian_latents(), FlowMatchingPrior(2, width=32, num_blocks=1)
    fit(prior, latents, latents, FitSchedule(800, 256, 5e-3, 0.99), "flow-matching", 0)
    with fixed_seed(0), torch.no_grad():
        close_to(prior(NUM).sample(), latents.mean, latents.covariance.float(), slack=0.06)


def test_flow_matching_learns_two_clusters() -> None:
    signs = torch.arange(2000) % 2 * 2.0 - 1
    latents = LatentSet(torch.stack([2 * signs, torch.zeros(2000)], 1), torch.full((2000, 2), 0.3))
    prior = FlowMatchingPrior(2, width=32, num_blocks=1)
    fit(prior, latents, latents, FitSchedule(800, 256, 5e-3, 0.99), "flow-matching", 0)
    with fixed_seed(0), torch.no_grad():
        z = prior(NUM).sample()
    assert float((z[:, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(z[:, 0].abs().mean()) == pytest.approx(2, abs=0.1)
    assert float(z[:, 0].abs().std()) == pytest.approx(0.3, abs=0.15)


def test_guidance_is_a_line_between_velocities_without_and_with_the_context() -> None:
    context, y, t = torch.eye(3), torch.randn(3, 4), torch.tensor(0.3)
    prior = FlowMatchingPrior(4, 3, width=16, num_blocks=1, guidance=2.5)
    nn.init.normal_(prior.velocity.last.weight)  # type: ignore[union-attr, arg-type]
    without, given = prior.velocity(y, t.expand(3), None), prior.velocity(y, t.expand(3), context)
    assert (without - given).abs().max() > 0.01
    torch.testing.assert_close(prior._guided(y, t, context), without + 2.5 * (given - without))
    prior.guidance = 1.0
    torch.testing.assert_close(prior._guided(y, t, context), given)


@pytest.mark.parametrize("maps", [(2, 4, 4), (1, 3, 5), (4, 1, 1)])
def test_a_unet_reads_maps_of_any_size(maps: tuple[int, int, int]) -> None:
    prior = FlowMatchingPrior(math.prod(maps), 3, maps=maps, width=8, num_blocks=1)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.2)
    z, context = torch.randn(5, math.prod(maps)), torch.eye(3)[torch.arange(5) % 3]
    loss = prior.fit_loss(z, context).mean()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in prior.parameters())
    assert all(float(p.grad.abs().max()) > 0 for name, p in prior.named_parameters() if "weight" in name)  # type: ignore[union-attr]
    velocity = prior.velocity(z, torch.rand(5), context)
    alone = prior.velocity(z[2:3], torch.full((1,), 0.5), context[2:3])
    assert velocity.shape == z.shape
    torch.testing.assert_close(alone, prior.velocity(z, torch.full((5,), 0.5), context)[2:3], atol=1e-4, rtol=1e-4)


def test_maps_of_another_number_of_latents_are_refused() -> None:
    with pytest.raises(ConfigError, match="maps"):
        FlowMatchingPrior(10, maps=(2, 2, 2))


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_can_only_be_sampled_refuses_a_density(name: str) -> None:
    prior = PRIORS[name](latent_dim=3)
    assert not prior.has_density
    with pytest.raises(NoDensityError, match=f"{name}.*no density"):
        prior(2).log_prob(torch.zeros(2, 3))
    assert prior(2).sample(torch.Size([4])).shape == (4, 2, 3)
    noise = torch.randn(4, 2, 3)
    torch.testing.assert_close(prior(2).from_noise(noise)[1:2], prior(2).from_noise(noise[1:2]))


def sizes(name: str) -> dict[str, Any]:
    """Arguments that make a prior small."""
    small: dict[str, dict[str, Any]] = {
        "mixture": {"num_components": 2, "max_samples": 500},
        "flow": {"num_transforms": 2, "hidden": [12]},
        "maf": {"num_transforms": 2, "hidden": [12]},
        "two-stage": {"hidden": [16]},
        "flow-matching": {"width": 16, "num_blocks": 1},
        "mixture-of-gaussians": {"num_components": 5},
    }
    return small.get(name, {})


FITTED = [name for name in PRIORS if name not in ("standard-normal", "vamp", *CODE_PRIORS)]
"""The priors of real latents; one of codes is in tests/test_discrete_runs.py."""


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("name", FITTED)
def test_a_fit_depends_on_the_seed_alone_and_lowers_the_loss(name: str, conditional: bool) -> None:
    context = torch.eye(3)[torch.arange(300) % 3] * 3**0.5
    plain = gaussian_latents(300)
    latents = LatentSet(plain.means, plain.stddevs, context if conditional else None)

    def fitted(seed: int) -> Prior:
        with fixed_seed(1):
            prior = PRIORS[name](latent_dim=2, context_dim=3 * conditional, **sizes(name))
        steps = 40 if require_schedule(name, type(prior)).steps else 0
        torch.rand(seed + 1)  # the global generator does not matter
        record = fit(prior, latents, latents, FitSchedule(steps, 64, 1e-2, 0.9), name, seed)
        assert not steps or record.losses[-1][1] < record.losses[0][1]
        assert not prior.training
        return prior

    first, again, other = fitted(0), fitted(0), fitted(1)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    if name != "gaussian":  # which has a closed form
        assert any(not torch.equal(value, other.state_dict()[key]) for key, value in first.state_dict().items())
    pz: Distribution = first(3, context[:3] if conditional else None)
    assert bool(pz.sample(torch.Size([5])).isfinite().all())


def test_a_full_mixture_takes_gradients() -> None:
    prior = MixturePrior(2, num_components=3)
    loss = prior.fit_loss(torch.randn(8, 2)).mean()
    loss.backward()
    assert isinstance(prior(2), FullMixture)
    assert all(float(p.grad.abs().sum()) > 0 for p in prior.parameters() if p.grad is not None)


def test_priors_with_nothing_to_fit_are_refused() -> None:
    for name in ("standard-normal", "vamp", "uniform-codes"):
        with pytest.raises(ConfigError, match=f"{name}.*cannot be fitted"):
            require_schedule(name, PRIORS[name])  # type: ignore[arg-type]
