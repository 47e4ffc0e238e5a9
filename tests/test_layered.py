"""Laws of the joint distribution of several layers: linear-Gaussian layers are one multivariate normal distribution."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Laplace, MultivariateNormal, Normal, kl_divergence

from tests.oracles import Flatten, LinearDecoder, LinearNormal, layered_gaussian
from vaekit.core.errors import ModelError
from vaekit.core.terms import LatentTerms
from vaekit.distributions import (
    Encode,
    GaussianMixture,
    LayeredDistribution,
    Posterior,
    Prior,
    reparameterize,
    sample_from_noise,
)
from vaekit.models import VAE

SIZES = [(2, 3), (2, 3, 1)]
Conditional = Callable[[Tensor], Distribution]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("sample_shape", [(), (7,), (2, 7)])
def test_log_prob_is_that_of_the_joint_gaussian(sizes: Sequence[int], sample_shape: tuple[int, ...]) -> None:
    layered, joint = layered_gaussian(sizes, batch_size=5)
    z = 2 * torch.randn(*sample_shape, 5, sum(sizes), dtype=torch.float64)
    assert (layered.batch_shape, layered.event_shape) == (joint.batch_shape, joint.event_shape)
    torch.testing.assert_close(layered.log_prob(z), joint.log_prob(z), rtol=1e-12, atol=1e-12)


def test_log_prob_broadcasts_over_the_batch() -> None:
    layered, joint = layered_gaussian((2, 3), batch_size=5)
    for shape in [(5,), (4, 1, 5)]:
        z = torch.randn(*shape, dtype=torch.float64)
        torch.testing.assert_close(layered.log_prob(z), joint.log_prob(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["sample", "rsample", "from_noise"])
@pytest.mark.parametrize("sizes", SIZES)
def test_samples_have_the_mean_and_covariance_of_the_joint_gaussian(sizes: Sequence[int], method: str) -> None:
    layered, joint = layered_gaussian(sizes, batch_size=2)
    num, dim = 40_000, sum(sizes)
    if method == "from_noise":
        z = layered.from_noise(torch.randn(num, 2, dim, dtype=torch.float64))
    else:
        z = getattr(layered, method)(torch.Size([num]))
    assert z.shape == (num, 2, dim)
    assert ((z.mean(0) - joint.mean).abs() / (joint.stddev / num**0.5)).max() < 5
    products = torch.einsum("kbi,kbj->kbij", z - joint.mean, z - joint.mean)
    deviations = (products.mean(0) - joint.covariance_matrix).abs() / (products.std(0) / num**0.5)
    assert deviations.max() < 5


@pytest.mark.parametrize("sizes", SIZES)
def test_from_noise_is_the_linear_map_of_the_noise(sizes: Sequence[int]) -> None:
    """So noise, and not the batch or the random state, determines the samples, and the pathwise gradient is exact."""
    layered, joint = layered_gaussian(sizes, batch_size=5)
    noise = torch.randn(4, 5, sum(sizes), dtype=torch.float64, requires_grad=True)
    z = reparameterize(layered, noise)
    expected = joint.loc + noise @ joint.scale_tril.mT[0]
    torch.testing.assert_close(z, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(z)
    (gradient,) = torch.autograd.grad((weights * z).sum(), noise)
    torch.testing.assert_close(gradient, weights @ joint.scale_tril[0], rtol=1e-12, atol=1e-12)


def test_mean_is_exact_for_linear_layers_and_variance_is_conditional() -> None:
    layered, joint = layered_gaussian((2, 3, 1), batch_size=5)
    torch.testing.assert_close(layered.mean, joint.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layered.stddev, joint.scale_tril[0].diag().expand(5, 6), rtol=1e-12, atol=1e-12)


def test_layers_are_given_the_latents_above() -> None:
    layered, joint = layered_gaussian((2, 3, 1), batch_size=5)
    z = joint.sample(torch.Size([4]))
    layers, parts = layered.layers(z), layered.split(z)
    assert [tuple(part.shape) for part in parts] == [(4, 5, 2), (4, 5, 3), (4, 5, 1)]
    assert torch.equal(torch.cat(parts, -1), z)
    assert [tuple(layer.batch_shape) for layer in layers] == [(5,), (4, 5), (4, 5)]
    # p(z_3 | z_1, z_2) by the closed form: the difference of two joint log-densities
    above = MultivariateNormal(joint.mean[:, :5], joint.covariance_matrix[0, :5, :5])
    torch.testing.assert_close(layers[2].log_prob(parts[2]), joint.log_prob(z) - above.log_prob(z[..., :5]))


def test_rates_of_the_layers_sum_to_the_rate_of_the_joint_gaussians() -> None:
    """The sum of E_q[KL(q_l || p_l)] is KL(q || p), within five standard errors; the top layer's is exact."""
    (qz, joint_qz), (pz, joint_pz) = (layered_gaussian((2, 3), batch_size=4, seed=seed) for seed in (1, 2))
    z = qz.rsample(torch.Size([20_000]))
    terms = [LatentTerms(*each) for each in zip(qz.split(z), qz.layers(z), pz.layers(z), strict=True)]
    total = sum(term.rate().sum(-1) for term in terms)
    second = kl_divergence(qz.layers(z)[1], pz.layers(z)[1])
    errors = second.std(0) / 20_000**0.5
    assert ((total - kl_divergence(joint_qz, joint_pz)).abs() / errors).max() < 5
    top = MultivariateNormal(joint_qz.mean[:, :2], joint_qz.covariance_matrix[:, :2, :2])
    other = MultivariateNormal(joint_pz.mean[:, :2], joint_pz.covariance_matrix[:, :2, :2])
    torch.testing.assert_close(terms[0].rate().sum(-1), kl_divergence(top, other))
    whole = LatentTerms(z, qz, pz)
    torch.testing.assert_close(whole.rate().squeeze(-1), -whole.log_ratio().mean(0))
    torch.testing.assert_close(whole.log_ratio(), sum(term.log_ratio() for term in terms))


def test_expand_repeats_the_distribution() -> None:
    layered, joint = layered_gaussian((2, 3), batch_size=1)
    z = torch.randn(4, 6, 5, dtype=torch.float64)
    expanded = layered.expand((6,))
    assert expanded.batch_shape == (6,)
    assert expanded.sample().shape == (6, 5)
    torch.testing.assert_close(expanded.log_prob(z), joint.log_prob(z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(expanded.mean, joint.mean.expand(6, 5), rtol=1e-12, atol=1e-12)


def test_only_rsample_has_a_gradient() -> None:
    loc = torch.zeros(5, 2, requires_grad=True)
    layered = LayeredDistribution(Independent(Normal(loc, 1.0), 1), [shifted(3)], [2, 3])
    assert layered.has_rsample
    assert not layered.sample((4,)).requires_grad
    (gradient,) = torch.autograd.grad(layered.rsample(torch.Size([4])).sum(), loc)
    torch.testing.assert_close(gradient, torch.full((5, 2), 4.0 * (1 + 3)))


def shifted(size: int, family: Callable[..., Distribution] = Normal) -> Conditional:
    """Latents with unit scale around the sum of the latents above."""
    return lambda above: Independent(family(above.sum(-1, keepdim=True).expand(*above.shape[:-1], size), 1.0), 1)


def test_layers_without_a_reparameterization_are_seeded_by_the_noise() -> None:
    layered = LayeredDistribution(Independent(Normal(torch.zeros(5, 2), 1.0), 1), [shifted(3, Laplace)], [2, 3])
    noise = torch.randn(4, 5, 5)
    with pytest.raises(ModelError, match="from_noise"):
        layered.from_noise(noise)
    z = sample_from_noise(layered, noise)
    assert z.shape == (4, 5, 5)
    assert torch.equal(sample_from_noise(layered, noise), z)
    assert not torch.equal(sample_from_noise(layered, noise.flip(0)), z)


def test_the_top_layer_may_be_a_mixture() -> None:
    top = GaussianMixture(5, torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), torch.ones(2, 2), torch.tensor([0.3, 0.7]).log())
    layered = LayeredDistribution(top, [shifted(1)], [2, 1])
    assert not layered.has_rsample
    z = layered.sample((4,))
    expected = top.log_prob(z[..., :2]) + Normal(z[..., :2].sum(-1), 1.0).log_prob(z[..., 2])
    torch.testing.assert_close(layered.log_prob(z), expected)
    noise = torch.randn(4, 5, 3)
    samples = layered.from_noise(noise)
    assert torch.equal(samples[..., :2], top.from_noise(noise[..., :2]))
    torch.testing.assert_close(samples[..., 2], samples[..., :2].sum(-1) + noise[..., 2])


def test_layers_of_wrong_shapes_are_refused() -> None:
    top = Independent(Normal(torch.zeros(5, 2), 1.0), 1)
    with pytest.raises(ModelError, match=r"sizes.*layers"):
        LayeredDistribution(top, [shifted(3)], [2])
    with pytest.raises(ModelError, match=r"layer 1.*event shape \(2,\)"):
        LayeredDistribution(top, [shifted(3)], [4, 3])
    with pytest.raises(ModelError, match=r"layer 2.*event shape \(3,\)"):
        LayeredDistribution(top, [shifted(3)], [2, 4]).sample()
    with pytest.raises(ModelError, match=r"layer 2.*batch shape \(5,\)"):
        LayeredDistribution(top, [lambda above: top], [2, 2]).log_prob(torch.zeros(3, 5, 4))


class LayeredPrior(Prior):
    """p(z_1) = N(0, I), p(z_2 | z_1) = N(A z_1, I / 4)."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        size, above = self.matrix.shape
        top = Independent(Normal(torch.zeros(batch_size, above), 1.0), 1)
        return LayeredDistribution(top, [lambda z: Independent(Normal(z @ self.matrix.T, 0.5), 1)], [above, size])


class LayeredPosterior(Posterior):
    """A joint Gaussian q(z|x) = N(W x + b, S), as q(z_1|x) q(z_2|z_1, x)."""

    def __init__(self, weight: Tensor, bias: Tensor, covariance: Tensor, above: int) -> None:
        super().__init__()
        self.weight, self.bias, self.covariance, self.above = weight, bias, covariance, above

    def forward(self, features: Tensor) -> Distribution:
        mean1, mean2 = (features @ self.weight.T + self.bias).tensor_split([self.above], -1)
        (cov11, cov12), (cov21, cov22) = (
            rows.tensor_split([self.above], -1) for rows in self.covariance.tensor_split([self.above])
        )
        gain = cov21 @ cov11.inverse()
        top = MultivariateNormal(mean1, cov11)
        below = cov22 - gain @ cov12
        size = len(self.bias) - self.above
        return LayeredDistribution(
            top, [lambda z1: MultivariateNormal(mean2 + (z1 - mean1) @ gain.T, below)], [self.above, size]
        )


def test_a_two_layer_model_with_its_exact_posterior_has_constant_log_weights() -> None:
    """A VAE with layered prior and posterior: every log-weight is log p(x), also with given noise."""
    torch.manual_seed(3)
    shape, above, size, scale = (1, 2, 4), 2, 3, 0.6
    matrix, weight, bias = torch.randn(size, above), torch.randn(8, size), torch.randn(8)
    decoder_weight = torch.cat([torch.zeros(8, above), weight], 1)
    factor = torch.cat([torch.eye(above, above + size), torch.cat([matrix, 0.5 * torch.eye(size)], 1)])
    prior_covariance = factor @ factor.T
    covariance = (prior_covariance.inverse() + decoder_weight.T @ decoder_weight / scale**2).inverse()
    gain = covariance @ decoder_weight.T / scale**2
    posterior = LayeredPosterior(gain, -gain @ bias, covariance, above)
    decoder = LinearDecoder(shape, decoder_weight, bias)
    model = VAE(Flatten(shape), posterior, LayeredPrior(matrix), decoder, LinearNormal(scale))
    _, x = model.sample_joint(6)
    evidence_covariance = decoder_weight @ prior_covariance @ decoder_weight.T + scale**2 * torch.eye(8)
    evidence = MultivariateNormal(bias, evidence_covariance).log_prob(x.flatten(1))
    for noise in (None, lambda num: torch.randn(num, 6, above + size)):
        (log_weights,) = model.log_weights(x, num_samples=50, noise=noise)
        torch.testing.assert_close(log_weights, evidence.expand(50, 6), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.elbo(x, num_samples=20), evidence, rtol=1e-4, atol=1e-4)
    assert model.reconstruct(x).shape == (6, *shape)
