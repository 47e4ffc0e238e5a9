"""Encodings: posteriors, active latents, quantiles and principal components of a linear model."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.decomposition import PCA
from torch.distributions import Independent, Normal

from tests.linear_gallery import TwoHills, linear_vae, logvars, means_of, noise, text_of
from vaekit.evaluation.latents.encodings import Encodings, encode_images
from vaekit.presentation.gallery import Gallery


def test_codes_are_the_posteriors_of_all_images_in_order() -> None:
    gallery = Gallery(linear_vae(), noise(1203))
    codes = encode_images(gallery.model, gallery.images)
    means, stddevs = means_of(gallery), logvars(3).mul(0.5).exp()
    torch.testing.assert_close(codes.means, means)
    torch.testing.assert_close(codes.stddevs, stddevs.expand(1203, 3))
    rates = 0.5 * (means**2 + stddevs**2 - 1 - 2 * stddevs.log()).double().mean(0)
    torch.testing.assert_close(codes.rates.double(), rates, rtol=1e-5, atol=0)
    assert codes.order.tolist() == rates.argsort(descending=True).tolist() == [1, 2, 0]
    np.testing.assert_allclose(codes.variances, np.var(means.double().numpy(), 0, ddof=1), rtol=1e-5)
    assert (codes.prior_mean.tolist(), codes.prior_stddev.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_active_latents_are_those_whose_mean_moves() -> None:
    means = torch.randn(4000, 4) * torch.tensor([0.09, 0.11, 0.0, 3.0]) + torch.tensor([9.0, -4.0, 5.0, 0.0])
    codes = Encodings(means, torch.ones(4000, 4), torch.ones(4), torch.zeros(4), torch.ones(4))
    assert codes.active.tolist() == [False, True, False, True]
    np.testing.assert_allclose(codes.variances, means.double().numpy().var(0, ddof=1))


def test_codes_of_a_single_image_have_no_spread() -> None:
    codes = encode_images(linear_vae(), noise(1))
    assert codes.variances.tolist() == [0, 0, 0]
    assert codes.active.tolist() == [False, False, False]
    directions, stddevs, shares = codes.principal(2)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2))
    assert (stddevs.tolist(), shares.tolist()) == ([0, 0], [0, 0])
    assert (codes.quantiles(0.01, 0.99)[0] == codes.quantiles(0.01, 0.99)[1]).all()


def test_quantiles_are_the_aggregate_posteriors() -> None:
    num, mean, spread, width = 50_000, torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]), torch.tensor([2.0, 0.1])
    means = mean + spread * torch.randn(num, 2, generator=torch.Generator().manual_seed(9))
    codes = Encodings(means, width.expand(num, 2), torch.ones(2), torch.zeros(2), torch.ones(2))
    stddev = (spread**2 + width**2).sqrt()
    for share, found in zip((0.01, 0.9), codes.quantiles(0.01, 0.9), strict=True):
        error = (share * (1 - share) / num) ** 0.5 / norm.pdf(norm.ppf(share))
        assert ((found - mean) / stddev - norm.ppf(share)).abs().max() < 4 * error
    assert torch.equal(codes.quantiles(0.01, 0.99), codes.quantiles(0.01, 0.99))


@pytest.mark.parametrize("dim", [2, 5, 64])
def test_principal_components_are_those_of_sklearn(dim: int) -> None:
    means = torch.randn(200, dim) @ torch.randn(dim, dim) + torch.randn(dim)
    codes = Encodings(means, torch.ones(200, dim), torch.ones(dim), torch.zeros(dim), torch.ones(dim))
    directions, stddevs, shares = (value.numpy() for value in codes.principal(2))
    pca = PCA(2).fit(means.double().numpy())
    for found, expected in zip(directions, pca.components_, strict=True):
        assert found[np.abs(found).argmax()] > 0
        sign = np.sign(expected[np.abs(expected).argmax()])
        np.testing.assert_allclose(found, sign * expected, atol=1e-4)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(stddevs, np.sqrt(pca.explained_variance_ * 199 / 200), rtol=1e-5)


def test_prior_whose_kl_has_no_parts_is_ordered_by_variance() -> None:
    gallery = Gallery(linear_vae(prior=TwoHills()), noise(2000))
    codes = gallery.encodings
    assert codes.rates.shape == (1,)
    means, stddevs = codes.means.double(), codes.stddevs.double()
    z = means + stddevs * torch.randn(40, *means.shape, dtype=torch.float64)
    hills = Independent(Normal(torch.tensor([[-1.0, 0.0, 0.5], [1.0, 2.0, 0.5]], dtype=torch.float64), 1.0), 1)
    log_pz = (hills.log_prob(z.unsqueeze(-2)) - np.log(2)).logsumexp(-1)
    log_qz = Independent(Normal(means, stddevs), 1).log_prob(z)
    assert float(codes.rates) == pytest.approx(float((log_qz - log_pz).mean()), abs=0.15)
    torch.testing.assert_close(codes.prior_mean, torch.tensor([0.0, 1.0, 0.5]))
    torch.testing.assert_close(codes.prior_stddev, torch.tensor([2.0, 2.0, 1.0]).sqrt())
    assert codes.order.tolist() == codes.variances.argsort(descending=True).tolist() == [1, 2, 0]
    assert [head.split("\n")[0] for head in gallery.traverse(9, torch.tensor([0.0, 1.0])).row_labels] == ["z1", "z2", "z0"]
    chart = gallery.rates()
    assert len(chart.axes[0].patches) == 0
    assert f"{float(codes.rates):.2f} nats in all" in text_of(chart)
