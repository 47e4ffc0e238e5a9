"""Laws of mixtures of Gaussians and of the VampPrior: densities equal their formulas, integrate to 1 and fit samples."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from tests.oracles import integral_of_density
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.terms import LatentTerms
from vaekit.distributions import DiagonalGaussian, Encode, GaussianMixture, MixtureOfGaussians, VampPrior
from vaekit.networks import MLPEncoder

SHAPE = (1, 4, 3)


def mixture(num: int = 7, components: int = 5, latents: int = 3, dtype: torch.dtype = torch.float32) -> GaussianMixture:
    """A mixture with different weights, means and standard deviations."""
    means, stddevs = 2 * torch.randn(components, latents), torch.rand(components, latents) + 0.2
    log_weights = torch.randn(components).log_softmax(0)
    return GaussianMixture(num, means.to(dtype), stddevs.to(dtype), log_weights.to(dtype))


def reference(mixture: GaussianMixture) -> MixtureSameFamily:
    """The same mixture in torch, in float64."""
    components = Independent(Normal(mixture.means.double(), mixture.stddevs.double()), 1)
    return MixtureSameFamily(Categorical(logits=mixture.log_weights.double()), components)


# Mixtures.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixture_equals_that_of_torch(dtype: torch.dtype) -> None:
    ours = mixture(dtype=dtype)
    expected = reference(ours)
    z = 3 * torch.randn(4, 2, 7, 3, dtype=dtype)
    assert ours.log_prob(z).dtype == dtype
    torch.testing.assert_close(ours.log_prob(z), expected.log_prob(z.double()).to(dtype))
    torch.testing.assert_close(ours.mean, expected.mean.expand(7, 3).to(dtype), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.variance, expected.variance.expand(7, 3).to(dtype), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.stddev, expected.variance.sqrt().expand(7, 3).to(dtype), atol=1e-5, rtol=1e-5)
    assert ours.log_prob(torch.zeros(3, dtype=dtype)).shape == (7,)


def test_narrow_components_far_from_zero_are_exact_in_float32() -> None:
    """The two matrix products are about 1e6 and their difference is of order 1."""
    means = 5 * torch.randn(400, 40).sign()
    narrow = GaussianMixture(6, means, torch.full((400, 40), 0.02), torch.full((400,), -math.log(400)))
    z = (means[:6] + 0.02 * torch.randn(50, 6, 40)).requires_grad_()
    expected = reference(narrow).log_prob(z.double())
    torch.testing.assert_close(narrow.log_prob(z), expected.float())
    (gradient,) = torch.autograd.grad(narrow.log_prob(z).sum(), z)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), z)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient, expected_gradient)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(narrow.log_prob(z), expected.float())


def test_gradient_is_finite_and_not_zero_far_from_all_components() -> None:
    ours = mixture()
    for parameter in (ours.means, ours.stddevs, ours.log_weights):
        parameter.requires_grad_()
    z = (1000 * torch.ones(7, 3)).requires_grad_()
    ours.log_prob(z).sum().backward()
    for tensor in (z, ours.means, ours.stddevs, ours.log_weights):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_density_of_a_mixture_keeps_no_differences_for_the_gradient() -> None:
    """The largest tensor kept for the gradient has C numbers per sample, not C x D."""
    components, latents, num = 100, 64, 50
    ours = mixture(num, components, latents)
    z = torch.randn(num, latents, requires_grad=True)
    largest = 0

    def record(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        ours.log_prob(z).sum().backward()
    assert largest <= max(components * num, components * latents)


@pytest.mark.parametrize("latents", [1, 2])
def test_mixture_integrates_to_one(latents: int) -> None:
    assert integral_of_density(mixture(1, 5, latents), latents) == pytest.approx(1, abs=1e-4)


def test_samples_of_a_mixture_fit_it() -> None:
    ours = mixture(2, 4, 3)
    num = 40_000
    z = ours.sample((num // 2,)).double()
    assert z.shape == (num // 2, 2, 3)
    z = z.flatten(0, 1)
    expected = reference(ours)
    assert ((z.mean(0) - expected.mean).abs() / (expected.stddev / num**0.5)).max() < 5
    # The covariance is the sum of weights times (means means' + variances), minus mean mean'.
    weights, means = ours.log_weights.double().exp(), ours.means.double()
    covariance = torch.einsum("c,ci,cj->ij", weights, means, means) - torch.outer(expected.mean, expected.mean)
    covariance += torch.diag(weights @ ours.stddevs.double() ** 2)
    products = torch.einsum("ni,nj->nij", z - expected.mean, z - expected.mean)
    assert ((products.mean(0) - covariance).abs() / (products.std(0) / num**0.5)).max() < 5
    # The density: E[-log p(z)] by these samples and by those of torch.
    costs, others = -ours.log_prob(z.float().unsqueeze(1))[:, 0].double(), -expected.log_prob(expected.sample((num,)))
    error = (costs.var() / num + others.var() / num) ** 0.5
    assert (costs.mean() - others.mean()).abs() / error < 5


def test_a_new_mixture_has_the_moments_of_a_standard_normal() -> None:
    pz = MixtureOfGaussians(8, num_components=4000)(1)
    assert pz.means.std() > 0.5
    torch.testing.assert_close(pz.mean, torch.zeros(1, 8), atol=0.06, rtol=0)
    torch.testing.assert_close(pz.stddev, torch.ones(1, 8), atol=0.05, rtol=0)


def test_parameters_of_the_prior_are_those_of_its_mixture() -> None:
    prior = MixtureOfGaussians(2, num_components=3)
    nn.init.normal_(prior.logits)
    nn.init.normal_(prior.logvars)
    components = Independent(Normal(prior.means, torch.exp(0.5 * prior.logvars)), 1)
    z = torch.randn(9, 4, 2)
    expected = MixtureSameFamily(Categorical(logits=prior.logits), components).log_prob(z)
    torch.testing.assert_close(prior(4).log_prob(z), expected)


def test_rate_to_one_component_is_the_closed_form() -> None:
    """The rate is a Monte Carlo estimate, one number per image, within five standard errors of the KL of two Gaussians."""
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
    prior = VampPrior(2, SHAPE, context_dim, **{"num_components": 6, "init_mean": 0.5, "init_stddev": 0.4} | options)
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


def test_gradient_of_the_vamp_prior_is_that_of_its_formula() -> None:
    """It reaches the encoder, the pseudo-inputs and their contexts."""
    prior, encode, network = vamp(3)
    z = torch.randn(4, 5, 2)
    parameters = [*prior.parameters(), *network.parameters()]
    gradients = torch.autograd.grad(prior(5, None, encode).log_prob(z).sum(), parameters)
    q = encode(prior.pseudo_inputs.clamp(0, 1), prior.contexts)
    formula = (q.log_prob(z.unsqueeze(-2)).logsumexp(-1) - math.log(6)).sum()
    for a, b in zip(gradients, torch.autograd.grad(formula, parameters), strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b)


def test_pseudo_inputs_have_the_given_mean_and_stddev_at_initialization() -> None:
    prior = VampPrior(2, (1, 28, 28), num_components=50)
    assert prior.pseudo_inputs.mean().item() == pytest.approx(0.05, abs=0.001)
    assert prior.pseudo_inputs.std().item() == pytest.approx(0.01, abs=0.001)


def test_a_model_gives_its_posterior_to_the_vamp_prior() -> None:
    model, x = make_vae(prior="vamp"), pixels(3)
    q = model.encode(model.prior.pseudo_inputs.clamp(0, 1))
    z = torch.randn(2, 3, 3)
    pz = model.latent_terms(x).pz
    torch.testing.assert_close(pz.log_prob(z), q.log_prob(z.unsqueeze(-2)).logsumexp(-1) - math.log(len(q.mean)))


def test_vamp_without_an_encoder_or_with_another_posterior_is_refused() -> None:
    prior, _, _ = vamp()
    with pytest.raises(ModelError, match=r"vamp.*encode"):
        prior(5)
    with pytest.raises(ModelError, match=r"vamp.*FlowDistribution"):
        make_vae(posterior="flow", prior="vamp")(pixels(2))
    with pytest.raises(ConfigError, match=r"model.prior.init_mean.*2"):
        make_vae(prior="vamp", prior_options={"init_mean": 2})


# Models with these priors.


@pytest.mark.parametrize("prior", ["mixture-of-gaussians", "vamp", "flow"])
def test_temperature_scales_the_distance_from_the_mean_of_the_prior(prior: str) -> None:
    model = make_vae(prior=prior)
    for parameter in model.prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        pz = model.pz(4)
        torch.manual_seed(5)
        z = pz.sample()
        expected = model.decode(pz.mean + 0.5 * (z - pz.mean)).mean
        torch.manual_seed(5)
        torch.testing.assert_close(model.sample(4, temperature=0.5), expected)
        assert pz.mean.abs().max() > 0.01
        torch.testing.assert_close(model.sample(4, temperature=0.0), model.decode(pz.mean).mean)
