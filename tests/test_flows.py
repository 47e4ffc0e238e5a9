"""Laws of flows: densities integrate to 1, equal the change of variables and fit samples."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Laplace, Normal, kl_divergence

from tests.oracles import integral_of_density
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.terms import LatentTerms
from vaekit.data import ImageSet
from vaekit.distributions import FlowPosterior, FlowPrior, StandardNormal, flows, reparameterize
from vaekit.distributions.flows import FlowDistribution
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.networks import ConvEncoder


def random_prior(latents: int, context: int = 0) -> FlowPrior:
    """A flow prior with random parameters, far from a Gaussian."""
    prior = FlowPrior(latents, context)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.15)
    return prior


def random_posterior(latents: int, features: int = 4) -> FlowPosterior:
    """A flow posterior with random parameters, far from a Gaussian."""
    posterior = FlowPosterior(features, latents, flow_context_dim=5)
    for parameter in posterior.flow.parameters():
        nn.init.normal_(parameter, std=0.15)
    return posterior


@pytest.mark.parametrize("latents", [1, 2, 5])
@pytest.mark.parametrize("context_dim", [0, 3])
def test_a_flow_prior_is_the_standard_normal_at_initialization(latents: int, context_dim: int) -> None:
    context = torch.randn(6, context_dim) if context_dim else None
    pz, plain = FlowPrior(latents, context_dim)(6, context), StandardNormal(latents)(6)
    z = 2 * torch.randn(4, 6, latents)
    torch.testing.assert_close(pz.log_prob(z), plain.log_prob(z), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(pz.from_noise(z), z, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(pz.mean, plain.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(pz.stddev, plain.stddev, atol=1e-4, rtol=0)


def test_a_flow_posterior_is_its_gaussian_at_initialization() -> None:
    posterior, features = FlowPosterior(4, 3), torch.randn(6, 4)
    qz, plain = posterior(features), posterior.gaussian(features)
    z = plain.sample((5,))
    torch.testing.assert_close(qz.log_prob(z), plain.log_prob(z), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(qz.mean, plain.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(qz.stddev, plain.stddev, atol=1e-5, rtol=1e-4)
    noise = torch.randn(5, 6, 3)
    torch.testing.assert_close(reparameterize(qz, noise), reparameterize(plain, noise), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("kind", ["prior", "conditional prior", "posterior"])
def test_a_flow_integrates_to_one(latents: int, kind: str) -> None:
    steps = 20_001 if latents == 1 else 501
    if kind == "prior":
        density = random_prior(latents)(1)
    elif kind == "conditional prior":
        density = random_prior(latents, 3)(1, torch.randn(1, 3))
    else:
        density = random_posterior(latents)(torch.randn(1, 4))
    z = 2 * torch.randn(100, 1, latents)
    gaussian = Independent(Normal(density.loc, density.scale), 1)
    assert (density.log_prob(z) - gaussian.log_prob(z)).abs().max() > 0.1  # no longer the Gaussian of the initialization
    assert integral_of_density(density, latents, steps=steps) == pytest.approx(1, abs=5e-4)


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_density_of_a_flow_is_the_change_of_variables(latents: int) -> None:
    """log q(z) = log N(noise) - log |det dz / dnoise|, with the Jacobian by automatic differentiation."""
    flow, context = random_posterior(latents).flow.double(), torch.randn(4, 5).double()
    qz = FlowDistribution(4, torch.randn(4, latents).double(), torch.rand(4, latents).double() + 0.5, flow, context, 64)
    noise = torch.randn(4, latents).double()
    z = qz.from_noise(noise)
    jacobians = torch.autograd.functional.jacobian(qz.from_noise, noise)  # (B, D, B, D)
    log_dets = torch.stack([torch.linalg.slogdet(jacobians[b, :, b]).logabsdet for b in range(4)])
    torch.testing.assert_close(qz.log_prob(z), Normal(0.0, 1.0).log_prob(noise).sum(-1) - log_dets)
    assert log_dets.abs().max() > 0.1


def test_a_flow_of_several_latents_couples_them() -> None:
    qz = random_posterior(3)(torch.randn(1, 4))
    jacobian = torch.autograd.functional.jacobian(qz.from_noise, torch.randn(1, 3))[0, :, 0]
    assert (jacobian.abs() > 1e-4).all()


def test_samples_of_a_flow_fit_its_density() -> None:
    """The fraction of samples below a point is the integral of the density up to it."""
    pz, num = random_prior(1)(1), 40_000
    z = pz.rsample(torch.Size([num]))[:, 0, 0].detach().double()
    line = torch.linspace(-12, 12, 20_001)
    with torch.no_grad():
        density = pz.log_prob(line.reshape(-1, 1, 1))[:, 0].double().exp()
    cumulative = (density * 24 / 20_000).cumsum(0).clamp(0, 1)
    for index in range(4_000, 16_001, 1_000):
        expected = float(cumulative[index])
        fraction = float((z <= line[index]).double().mean())
        assert abs(fraction - expected) < 5 * (expected * (1 - expected) / num) ** 0.5 + 1e-3
    mean = float((density * line).sum() / density.sum())
    stddev = float(((density * (line - mean) ** 2).sum() / density.sum()).sqrt())
    assert pz.mean.item() == pytest.approx(mean, abs=0.01 * stddev)
    assert pz.stddev.item() == pytest.approx(stddev, rel=0.01)


def test_moments_of_a_flow_are_those_of_fixed_noise_for_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior, features = random_posterior(3), torch.randn(6, 4)
    qz = posterior(features)
    noise = flows._fixed_noise(64, 3)
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close((noise**2).mean(0), torch.ones(3))
    quantiles = Normal(0.0, 1.0).icdf((torch.arange(64) + 0.5) / 64)
    torch.testing.assert_close(noise.sort(0).values, quantiles.unsqueeze(1).expand(-1, 3), atol=0.06, rtol=0)
    assert (torch.corrcoef(noise.T) - torch.eye(3)).abs().max() < 0.5
    z = qz.from_noise(noise.unsqueeze(1).expand(-1, 6, -1))
    torch.testing.assert_close(qz.mean, z.mean(0))
    torch.testing.assert_close(qz.stddev, z.std(0, correction=0))
    torch.testing.assert_close(posterior(features[:1]).mean, qz.mean[:1])
    state = torch.get_rng_state()
    mean = qz.mean
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(flows, "CHUNK_SIZE", 13)
    torch.testing.assert_close(qz.mean, mean)


def test_every_weight_of_a_flow_posterior_has_a_gradient() -> None:
    posterior = random_posterior(3)
    qz, pz = posterior(torch.randn(6, 4)), StandardNormal(3)(6)
    LatentTerms(qz.rsample(torch.Size([4])), qz, pz).rate().sum().backward()
    for name, parameter in posterior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_rate_of_a_flow_is_one_number_and_the_closed_form_at_initialization() -> None:
    posterior, features, pz = FlowPosterior(4, 3), torch.randn(5, 4), StandardNormal(3)(5)
    qz = posterior(features)
    closed = kl_divergence(posterior.gaussian(features), pz)
    terms = LatentTerms(qz.rsample(torch.Size([5_000])), qz, pz)
    ratios = -terms.log_ratio().double()
    assert terms.rate().shape == (5, 1)
    assert ((terms.rate()[:, 0] - closed).abs() / (ratios.std(0) / 5_000**0.5)).max() < 5


def test_a_flow_prior_depends_on_its_context() -> None:
    prior = random_prior(2, 3)
    context, z = torch.eye(3)[:2], torch.randn(2, 2)
    assert not torch.allclose(prior(2, context).log_prob(z), prior(2, context.flip(0)).log_prob(z))
    torch.testing.assert_close(prior(2, context).log_prob(z).flip(0), prior(2, context.flip(0)).log_prob(z.flip(0)))
    assert not torch.allclose(*prior(2, context).mean)


def test_flows_are_float32_under_autocast() -> None:
    """In bfloat16 the two directions would not be inverses."""
    posterior, prior, features = random_posterior(3), random_prior(3), torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        qz, pz = posterior(features.bfloat16()), prior(6)
        noise = torch.randn(5, 6, 3)
        z = qz.from_noise(noise)
        log_qz, mean, log_pz = qz.log_prob(z), qz.mean, pz.log_prob(z)
    assert z.dtype == log_qz.dtype == mean.dtype == log_pz.dtype == torch.float32
    torch.testing.assert_close(qz.from_noise(noise), z)
    torch.testing.assert_close(qz.log_prob(z), log_qz)
    torch.testing.assert_close(qz.mean, mean)
    torch.testing.assert_close(pz.log_prob(z), log_pz)


def test_a_flow_posterior_accepts_feature_maps() -> None:
    encoder = ConvEncoder((1, 8, 8), channels=[4, 4], blocks=[0, 0], hidden=None)
    posterior = FlowPosterior(encoder.num_features, 32)
    features = encoder(torch.rand(3, 1, 8, 8))
    torch.testing.assert_close(posterior(features).mean, posterior.gaussian(features).mean, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"latent_dim 33.*multiple of 16"):
        FlowPosterior(encoder.num_features, 33)


def test_reparameterization_is_a_function_of_the_noise_of_each_image() -> None:
    qz = Independent(Normal(torch.randn(5, 3), torch.rand(5, 3) + 0.1), 1)
    noise = torch.randn(4, 5, 3)
    torch.testing.assert_close(reparameterize(qz, noise), qz.base_dist.loc + qz.base_dist.scale * noise)
    posterior, features = random_posterior(3), torch.randn(5, 4)
    z = reparameterize(posterior(features), noise)
    torch.testing.assert_close(reparameterize(posterior(features[2:3]), noise[:, 2:3]), z[:, 2:3])
    torch.manual_seed(4)
    samples = posterior(features).rsample(torch.Size([4]))
    torch.manual_seed(4)
    torch.testing.assert_close(samples, reparameterize(posterior(features), torch.randn(4, 5, 3)))
    with pytest.raises(ModelError, match=r"Independent.*from_noise"):
        reparameterize(Independent(Laplace(torch.zeros(5, 3), 1.0), 1), noise)


def test_encodings_of_a_model_with_flows() -> None:
    model, x = make_vae(posterior="flow", prior="flow"), pixels(5)
    images = ImageSet(x, None)
    codes = encode_images(model, images)
    with torch.no_grad():
        torch.testing.assert_close(codes.means, model.encode(x).mean)
        torch.testing.assert_close(codes.stddevs, model.encode(x).stddev)
    assert codes.rates.shape == (1,)
    torch.testing.assert_close(codes.prior_mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(codes.prior_stddev, torch.ones(3), atol=1e-4, rtol=0)
