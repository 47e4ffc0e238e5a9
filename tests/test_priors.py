"""Laws of mixtures, the VampPrior and flows: densities integrate to 1, samples fit them, each is what its formula says."""

import json
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Laplace, MixtureSameFamily, Normal, kl_divergence

from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.terms import LatentTerms
from vaekit.data import ImageSet
from vaekit.distributions import (
    DiagonalGaussian,
    Encode,
    FlowPosterior,
    FlowPrior,
    GaussianMixture,
    MixtureOfGaussians,
    StandardNormal,
    VampPrior,
    flows,
    reparameterize,
)
from vaekit.distributions.flows import FlowDistribution
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.models import describe_vae
from vaekit.networks import ConvEncoder, MLPDecoder, MLPEncoder

SHAPE = (1, 4, 3)


def mixture(num: int = 7, components: int = 5, latents: int = 3, dtype: torch.dtype = torch.float32) -> GaussianMixture:
    """A mixture of uneven weights, means and widths."""
    means, stddevs = 2 * torch.randn(components, latents), torch.rand(components, latents) + 0.2
    log_weights = torch.randn(components).log_softmax(0)
    return GaussianMixture(num, means.to(dtype), stddevs.to(dtype), log_weights.to(dtype))


def reference(mixture: GaussianMixture) -> MixtureSameFamily:
    """The same by torch, in float64."""
    components = Independent(Normal(mixture.means.double(), mixture.stddevs.double()), 1)
    return MixtureSameFamily(Categorical(logits=mixture.log_weights.double()), components)


def bent(latents: int, context: int = 0) -> FlowPrior:
    """A flow prior that is far from a Gaussian."""
    prior = FlowPrior(latents, context)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.15)
    return prior


def bent_posterior(latents: int, features: int = 4) -> FlowPosterior:
    """A flow posterior that is far from a Gaussian."""
    posterior = FlowPosterior(features, latents, summary=5)
    for parameter in posterior.flow.parameters():
        nn.init.normal_(parameter, std=0.15)
    return posterior


def mass(density: Distribution, latents: int, reach: float = 12.0, steps: int = 1201) -> float:
    """The integral of a distribution's density over a box, by the trapezoidal rule; of its first batch entry."""
    line = torch.linspace(-reach, reach, steps)
    grid = torch.cartesian_prod(*[line] * latents).reshape(-1, 1, latents)
    with torch.no_grad():
        logs = torch.cat([density.log_prob(part)[:, 0] for part in grid.split(100_000)])
    return float(logs.double().exp().sum() * (2 * reach / (steps - 1)) ** latents)


# Mixtures.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixture_is_torchs(dtype: torch.dtype) -> None:
    ours = mixture(dtype=dtype)
    theirs = reference(ours)
    z = 3 * torch.randn(4, 2, 7, 3, dtype=dtype)
    assert ours.log_prob(z).dtype == dtype
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z.double()).to(dtype))
    torch.testing.assert_close(ours.mean, theirs.mean.expand(7, 3).to(dtype), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.variance, theirs.variance.expand(7, 3).to(dtype), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.stddev, theirs.variance.sqrt().expand(7, 3).to(dtype), atol=1e-5, rtol=1e-5)
    assert ours.log_prob(torch.zeros(3, dtype=dtype)).shape == (7,)


def test_narrow_components_far_from_zero_are_exact_in_float32() -> None:
    """Where the two matrix products are numbers of 1e6 whose difference is of order 1."""
    means = 5 * torch.randn(400, 40).sign()
    narrow = GaussianMixture(6, means, torch.full((400, 40), 0.02), torch.full((400,), -math.log(400)))
    z = (means[:6] + 0.02 * torch.randn(50, 6, 40)).requires_grad_()
    expected = reference(narrow).log_prob(z.double())
    torch.testing.assert_close(narrow.log_prob(z), expected.float())
    (ours,) = torch.autograd.grad(narrow.log_prob(z).sum(), z)
    (theirs,) = torch.autograd.grad(expected.sum(), z)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, theirs)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(narrow.log_prob(z), expected.float())


def test_far_away_there_is_still_a_gradient() -> None:
    ours = mixture()
    for parameter in (ours.means, ours.stddevs, ours.log_weights):
        parameter.requires_grad_()
    z = (1000 * torch.ones(7, 3)).requires_grad_()
    ours.log_prob(z).sum().backward()
    for tensor in (z, ours.means, ours.stddevs, ours.log_weights):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_mixture_takes_components_and_not_their_distances() -> None:
    """What is kept for the gradient: of the order of C numbers for each z, not C x D."""
    components, latents, num = 100, 64, 50
    ours = mixture(num, components, latents)
    z = torch.randn(num, latents, requires_grad=True)
    largest = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ours.log_prob(z).sum().backward()
    assert largest <= max(components * num, components * latents)


@pytest.mark.parametrize("latents", [1, 2])
def test_mixture_integrates_to_one(latents: int) -> None:
    assert mass(mixture(1, 5, latents), latents) == pytest.approx(1, abs=1e-4)


def test_samples_of_a_mixture_fit_it() -> None:
    ours = mixture(2, 4, 3)
    num = 40_000
    z = ours.sample((num // 2,)).double()
    assert z.shape == (num // 2, 2, 3)
    z = z.flatten(0, 1)
    theirs = reference(ours)
    assert ((z.mean(0) - theirs.mean).abs() / (theirs.stddev / num**0.5)).max() < 5
    # The whole covariance, against that of the formula: sum of weights times (means means' + variances) less mean mean'.
    weights, means = ours.log_weights.double().exp(), ours.means.double()
    covariance = torch.einsum("c,ci,cj->ij", weights, means, means) - torch.outer(theirs.mean, theirs.mean)
    covariance += torch.diag(weights @ ours.stddevs.double() ** 2)
    products = torch.einsum("ni,nj->nij", z - theirs.mean, z - theirs.mean)
    assert ((products.mean(0) - covariance).abs() / (products.std(0) / num**0.5)).max() < 5
    # The density itself: E[-log p(z)] by its own samples and by those of torch.
    logs, others = -ours.log_prob(z.float().unsqueeze(1))[:, 0].double(), -theirs.log_prob(theirs.sample((num,)))
    error = (logs.var() / num + others.var() / num) ** 0.5
    assert (logs.mean() - others.mean()).abs() / error < 5


def test_a_new_mixture_is_a_lumpy_standard_normal() -> None:
    pz = MixtureOfGaussians(8, num_components=4000)(1)
    assert pz.means.std() > 0.5
    torch.testing.assert_close(pz.mean, torch.zeros(1, 8), atol=0.06, rtol=0)
    torch.testing.assert_close(pz.stddev, torch.ones(1, 8), atol=0.05, rtol=0)


def test_learned_weights_means_and_variances_are_the_mixtures() -> None:
    prior = MixtureOfGaussians(2, num_components=3)
    nn.init.normal_(prior.logits)
    nn.init.normal_(prior.logvars)
    components = Independent(Normal(prior.means, torch.exp(0.5 * prior.logvars)), 1)
    z = torch.randn(9, 4, 2)
    expected = MixtureSameFamily(Categorical(logits=prior.logits), components).log_prob(z)
    torch.testing.assert_close(prior(4).log_prob(z), expected)


def test_rate_to_one_component_is_the_closed_form() -> None:
    """By Monte Carlo, in one column, within five standard errors of the KL of two Gaussians."""
    qz = DiagonalGaussian(7, 3)(torch.randn(5, 7))
    pz = GaussianMixture(5, torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[1.5, 0.7, 1.0]]), torch.zeros(1))
    closed = kl_divergence(qz.base_dist, Normal(pz.means[0], pz.stddevs[0])).sum(-1)
    terms = LatentTerms(qz.rsample(torch.Size([20_000])), qz, pz)
    ratios = -terms.log_ratio().double()
    assert terms.rate().shape == (5, 1)
    torch.testing.assert_close(terms.rate()[:, 0], ratios.mean(0).float())
    assert ((terms.rate()[:, 0] - closed).abs() / (ratios.std(0) / 20_000**0.5)).max() < 5


# The VampPrior.


def vamp(context_dim: int = 0, **options: object) -> tuple[VampPrior, Encode, nn.Module]:
    encoder = MLPEncoder(SHAPE, context_dim, hidden=[9])
    posterior = DiagonalGaussian(9, 2)
    prior = VampPrior(2, SHAPE, context_dim, **{"num_components": 6, "mean": 0.5, "spread": 0.4} | options)
    return prior, lambda x, context: posterior(encoder(x, context)), nn.ModuleList([encoder, posterior])


@pytest.mark.parametrize("context_dim", [0, 3])
def test_vamp_is_the_mean_of_its_posteriors(context_dim: int) -> None:
    prior, encode, _ = vamp(context_dim)
    images = prior.pseudo_inputs.clamp(0, 1)
    assert (images != prior.pseudo_inputs).any()
    contexts = prior.contexts if context_dim else None
    each = [encode(images[c : c + 1], None if contexts is None else contexts[c : c + 1]) for c in range(6)]
    z = torch.randn(4, 5, 2)
    expected = torch.stack([q.log_prob(z) for q in each]).exp().mean(0).log()
    context = torch.randn(5, context_dim) if context_dim else None
    torch.testing.assert_close(prior(5, context, encode).log_prob(z), expected)


def test_vamp_of_one_image_is_its_posterior() -> None:
    prior, encode, _ = vamp(num_components=1)
    pz, q = prior(5, None, encode), encode(prior.pseudo_inputs.clamp(0, 1), None)
    z = torch.randn(4, 5, 2)
    torch.testing.assert_close(pz.log_prob(z), q.log_prob(z))
    torch.testing.assert_close(pz.mean, q.mean.expand(5, 2))
    torch.testing.assert_close(pz.stddev, q.stddev.expand(5, 2))


def test_vamps_gradient_is_that_of_its_formula() -> None:
    """It reaches the encoder as well as the pseudo-inputs and their contexts."""
    prior, encode, network = vamp(3)
    z = torch.randn(4, 5, 2)
    parameters = [*prior.parameters(), *network.parameters()]
    ours = torch.autograd.grad(prior(5, None, encode).log_prob(z).sum(), parameters)
    q = encode(prior.pseudo_inputs.clamp(0, 1), prior.contexts)
    formula = (q.log_prob(z.unsqueeze(-2)).logsumexp(-1) - math.log(6)).sum()
    for a, b in zip(ours, torch.autograd.grad(formula, parameters), strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b)


def test_pseudo_inputs_begin_as_they_are_told() -> None:
    prior = VampPrior(2, (1, 28, 28), num_components=50)
    assert prior.pseudo_inputs.mean().item() == pytest.approx(0.05, abs=0.001)
    assert prior.pseudo_inputs.std().item() == pytest.approx(0.01, abs=0.001)


def test_a_model_hands_its_vamp_prior_its_own_posterior() -> None:
    model, x = make_vae(prior="vamp"), pixels(3)
    q = model.encode(model.prior.pseudo_inputs.clamp(0, 1))
    z = torch.randn(2, 3, 3)
    pz = model.latent_terms(x).pz
    torch.testing.assert_close(pz.log_prob(z), q.log_prob(z.unsqueeze(-2)).logsumexp(-1) - math.log(len(q.mean)))


def test_vamp_without_an_encoder_or_with_another_posterior_is_refused() -> None:
    prior, _, _ = vamp()
    with pytest.raises(ModelError, match="call it with encode"):
        prior(5)
    with pytest.raises(ModelError, match="diagonal Gaussian, got FlowDistribution; choose the posterior diagonal-gaussian"):
        make_vae(posterior="flow", prior="vamp")(pixels(2))
    with pytest.raises(ConfigError, match=r"model.prior.mean: input should be less than or equal to 1, got 2"):
        make_vae(prior="vamp", prior_options={"mean": 2})


# Flows.


@pytest.mark.parametrize("latents", [1, 2, 5])
@pytest.mark.parametrize("context_dim", [0, 3])
def test_a_flow_begins_as_the_gaussian(latents: int, context_dim: int) -> None:
    context = torch.randn(6, context_dim) if context_dim else None
    pz, plain = FlowPrior(latents, context_dim)(6, context), StandardNormal(latents)(6)
    z = 2 * torch.randn(4, 6, latents)
    torch.testing.assert_close(pz.log_prob(z), plain.log_prob(z), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(pz.from_noise(z), z, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(pz.mean, plain.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(pz.stddev, plain.stddev, atol=1e-4, rtol=0)


def test_a_flow_posterior_begins_as_its_gaussian() -> None:
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
        density = bent(latents)(1)
    elif kind == "conditional prior":
        density = bent(latents, 3)(1, torch.randn(1, 3))
    else:
        density = bent_posterior(latents)(torch.randn(1, 4))
    z = 2 * torch.randn(100, 1, latents)
    gaussian = Independent(Normal(density.loc, density.scale), 1)
    assert (density.log_prob(z) - gaussian.log_prob(z)).abs().max() > 0.1  # far from what it begins as
    assert mass(density, latents, steps=steps) == pytest.approx(1, abs=5e-4)


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_a_flows_density_is_the_change_of_variables(latents: int) -> None:
    """log q(z) = log N(noise) - log |det dz / dnoise|, with the Jacobian by automatic differentiation."""
    flow, context = bent_posterior(latents).flow.double(), torch.randn(4, 5).double()
    qz = FlowDistribution(4, torch.randn(4, latents).double(), torch.rand(4, latents).double() + 0.5, flow, context, 64)
    noise = torch.randn(4, latents).double()
    z = qz.from_noise(noise)
    jacobians = torch.autograd.functional.jacobian(qz.from_noise, noise)  # (B, D, B, D)
    log_dets = torch.stack([torch.linalg.slogdet(jacobians[b, :, b]).logabsdet for b in range(4)])
    torch.testing.assert_close(qz.log_prob(z), Normal(0.0, 1.0).log_prob(noise).sum(-1) - log_dets)
    assert log_dets.abs().max() > 0.1


def test_a_flow_of_several_latents_couples_them() -> None:
    qz = bent_posterior(3)(torch.randn(1, 4))
    jacobian = torch.autograd.functional.jacobian(qz.from_noise, torch.randn(1, 3))[0, :, 0]
    assert (jacobian.abs() > 1e-4).all()


def test_samples_of_a_flow_fit_its_density() -> None:
    """The share of samples below a point is the integral of the density up to it."""
    pz, num = bent(1)(1), 40_000
    z = pz.rsample(torch.Size([num]))[:, 0, 0].detach().double()
    line = torch.linspace(-12, 12, 20_001)
    with torch.no_grad():
        density = pz.log_prob(line.reshape(-1, 1, 1))[:, 0].double().exp()
    below = (density * 24 / 20_000).cumsum(0).clamp(0, 1)
    for index in range(4_000, 16_001, 1_000):
        expected = float(below[index])
        share = float((z <= line[index]).double().mean())
        assert abs(share - expected) < 5 * (expected * (1 - expected) / num) ** 0.5 + 1e-3
    mean = float((density * line).sum() / density.sum())
    stddev = float(((density * (line - mean) ** 2).sum() / density.sum()).sqrt())
    assert pz.mean.item() == pytest.approx(mean, abs=0.01 * stddev)
    assert pz.stddev.item() == pytest.approx(stddev, rel=0.01)


def test_moments_of_a_flow_are_those_of_fixed_draws_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior, features = bent_posterior(3), torch.randn(6, 4)
    qz = posterior(features)
    noise = flows._fixed_noise(64, 3)
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close((noise**2).mean(0), torch.ones(3))
    evenly = Normal(0.0, 1.0).icdf((torch.arange(64) + 0.5) / 64)
    torch.testing.assert_close(noise.sort(0).values, evenly.unsqueeze(1).expand(-1, 3), atol=0.06, rtol=0)
    assert (torch.corrcoef(noise.T) - torch.eye(3)).abs().max() < 0.5
    z = qz.from_noise(noise.unsqueeze(1).expand(-1, 6, -1))
    torch.testing.assert_close(qz.mean, z.mean(0))
    torch.testing.assert_close(qz.stddev, z.std(0, correction=0))
    torch.testing.assert_close(posterior(features[:1]).mean, qz.mean[:1])
    state = torch.get_rng_state()
    mean = qz.mean
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(flows, "CHUNK", 13)
    torch.testing.assert_close(qz.mean, mean)


def test_every_weight_of_a_flow_posterior_feels_the_bound() -> None:
    posterior = bent_posterior(3)
    qz, pz = posterior(torch.randn(6, 4)), StandardNormal(3)(6)
    LatentTerms(qz.rsample(torch.Size([4])), qz, pz).rate().sum().backward()
    for name, parameter in posterior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_rate_of_a_flow_is_one_number_and_the_closed_form_at_first() -> None:
    posterior, features, pz = FlowPosterior(4, 3), torch.randn(5, 4), StandardNormal(3)(5)
    qz = posterior(features)
    closed = kl_divergence(posterior.gaussian(features), pz)
    terms = LatentTerms(qz.rsample(torch.Size([5_000])), qz, pz)
    ratios = -terms.log_ratio().double()
    assert terms.rate().shape == (5, 1)
    assert ((terms.rate()[:, 0] - closed).abs() / (ratios.std(0) / 5_000**0.5)).max() < 5


def test_a_flow_prior_listens_to_its_context() -> None:
    prior = bent(2, 3)
    context, z = torch.eye(3)[:2], torch.randn(2, 2)
    assert not torch.allclose(prior(2, context).log_prob(z), prior(2, context.flip(0)).log_prob(z))
    torch.testing.assert_close(prior(2, context).log_prob(z).flip(0), prior(2, context.flip(0)).log_prob(z.flip(0)))
    assert not torch.allclose(*prior(2, context).mean)


def test_flows_are_float32_under_autocast() -> None:
    """There and back is the same way only if no coupling is computed in less."""
    posterior, prior, features = bent_posterior(3), bent(3), torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        qz, pz = posterior(features.bfloat16()), prior(6)
        noise = torch.randn(5, 6, 3)
        z = qz.from_noise(noise)
        inside, mean, above = qz.log_prob(z), qz.mean, pz.log_prob(z)
    assert z.dtype == inside.dtype == mean.dtype == above.dtype == torch.float32
    torch.testing.assert_close(qz.from_noise(noise), z)
    torch.testing.assert_close(qz.log_prob(z), inside)
    torch.testing.assert_close(qz.mean, mean)
    torch.testing.assert_close(pz.log_prob(z), above)


def test_a_flow_posterior_reads_latents_that_keep_their_place() -> None:
    encoder = ConvEncoder((1, 8, 8), channels=[4, 4], blocks=[0, 0], hidden=None)
    posterior = FlowPosterior(encoder.num_features, 32)
    features = encoder(torch.rand(3, 1, 8, 8))
    torch.testing.assert_close(posterior(features).mean, posterior.gaussian(features).mean, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"latent_dim 33.*multiple of 16"):
        FlowPosterior(encoder.num_features, 33)


# What a model does with them.


def test_noise_becomes_samples() -> None:
    qz = Independent(Normal(torch.randn(5, 3), torch.rand(5, 3) + 0.1), 1)
    noise = torch.randn(4, 5, 3)
    torch.testing.assert_close(reparameterize(qz, noise), qz.base_dist.loc + qz.base_dist.scale * noise)
    posterior, features = bent_posterior(3), torch.randn(5, 4)
    z = reparameterize(posterior(features), noise)
    torch.testing.assert_close(reparameterize(posterior(features[2:3]), noise[:, 2:3]), z[:, 2:3])
    torch.manual_seed(4)
    drawn = posterior(features).rsample(torch.Size([4]))
    torch.manual_seed(4)
    torch.testing.assert_close(drawn, reparameterize(posterior(features), torch.randn(4, 5, 3)))
    with pytest.raises(ModelError, match="Independent cannot be sampled from given noise"):
        reparameterize(Independent(Laplace(torch.zeros(5, 3), 1.0), 1), noise)


@pytest.mark.parametrize("prior", ["mixture-of-gaussians", "vamp", "flow"])
def test_temperature_scales_the_distance_from_the_priors_mean(prior: str) -> None:
    model = make_vae(prior=prior)
    for parameter in model.prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        pz = model._prior(4, None)
        torch.manual_seed(5)
        z = pz.sample()
        expected = model.decode(pz.mean + 0.5 * (z - pz.mean)).mean
        torch.manual_seed(5)
        torch.testing.assert_close(model.sample(4, temperature=0.5), expected)
        assert pz.mean.abs().max() > 0.01
        torch.testing.assert_close(model.sample(4, temperature=0.0), model.decode(pz.mean).mean)


def test_codes_of_a_model_of_flows() -> None:
    model, x = make_vae(posterior="flow", prior="flow"), pixels(5)
    images = ImageSet(x, None)
    codes = encode_images(model, images)
    with torch.no_grad():
        torch.testing.assert_close(codes.means, model.encode(x).mean)
        torch.testing.assert_close(codes.stddevs, model.encode(x).stddev)
    assert codes.rates.shape == (1,)
    torch.testing.assert_close(codes.prior_mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(codes.prior_stddev, torch.ones(3), atol=1e-4, rtol=0)


# Gates.


def test_a_gated_layer_is_its_formula() -> None:
    encoder = MLPEncoder(SHAPE, hidden=[7, 5], activation="gated")
    x = torch.rand(3, *SHAPE)
    h = x.flatten(1)
    for layer in (encoder.layers[0], encoder.layers[2]):
        (weight, gate), (bias, other) = layer.weight.chunk(2), layer.bias.chunk(2)
        h = (h @ weight.T + bias) * torch.sigmoid(h @ gate.T + other)
    torch.testing.assert_close(encoder(x), h)
    assert encoder.num_features == h.shape[1] == 5
    decoder = MLPDecoder(2, SHAPE, hidden=[6], activation="gated")
    assert decoder.layers[0].out_features == 12
    assert decoder(torch.randn(3, 2)).shape == (3, *SHAPE)


def test_gates_are_saved_and_convolutions_have_none() -> None:
    model = make_vae(encoder_options={"activation": "gated"})
    assert describe_vae(model).encoder["activation"] == "gated"
    assert json.loads(describe_vae(model).model_dump_json())["decoder"]["activation"] == "silu"
    with pytest.raises(ConfigError, match=r"model.encoder.activation: input should be 'relu', .* got 'gated'"):
        make_vae("conv", encoder_options={"activation": "gated"})
