"""Posterior collapse: closed forms of a linear-Gaussian model, and models that ignore z."""

import json
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from tests.oracles import Flatten, LinearNormal
from tests.posterior_models import (
    GivenPosterior,
    indexed_images,
    information,
    linear_gaussian,
    model_with_gaussians,
    model_with_posterior,
)
from vaekit.core.errors import DataError
from vaekit.core.rounding import with_error
from vaekit.distributions import StandardNormal
from vaekit.evaluation.estimate import Estimate
from vaekit.evaluation.latents import collapse
from vaekit.evaluation.latents.aggregate_posterior import decompose_rate
from vaekit.evaluation.latents.collapse import collapse_report, derangement, verdict
from vaekit.evaluation.latents.encodings import LatentCount
from vaekit.models import VAE, ClassLabel
from vaekit.networks import Decoder


def test_estimates_of_a_linear_gaussian_model_equal_their_closed_forms() -> None:
    slopes = (0.0, 1.5, 0.0, 3.0, 0.8)
    model, images = linear_gaussian(slopes, 1500)
    report = collapse_report(model, images)
    assert "no collapse: 2 of 5 latents unused; rate" in report.verdict
    assert report.active_units == LatentCount(3, 5, 0.01, 1500)
    assert report.used_latents == LatentCount(3, 5, 0.01, 1500)
    expected = {
        "rate": information(slopes),
        "distortion": 6 * (1 + math.log(2 * math.pi * 0.08**2)),
        "shuffling_cost": sum(slope**2 for slope in slopes),
    }
    expected["shuffled_distortion"] = expected["distortion"] + expected["shuffling_cost"]
    for name, value in expected.items():
        estimate = getattr(report, name)
        assert abs(estimate.value - value) < 4 * estimate.standard_error + 0.01, name
    assert report.psnr.value > report.shuffled_psnr.value + 2
    assert report.mutual_information.value < report.log_num_images == math.log(1500)


def test_json_of_a_report() -> None:
    model, images = linear_gaussian((1.5, 3.0), 100)
    report = collapse_report(model, images)
    data = report.to_data()
    assert json.loads(json.dumps(data)) == data
    assert data["active_units"] == data["used_latents"] == {"value": 2, "of": 2, "threshold": 0.01, "num_images": 100}
    assert data["verdict"] == report.verdict
    assert data["shuffling_cost"] == report.shuffling_cost.to_data()
    assert list(data) == [
        "verdict",
        "active_units",
        "used_latents",
        "mutual_information",
        "log_num_images",
        "rate",
        "distortion",
        "shuffled_distortion",
        "shuffling_cost",
        "psnr",
        "shuffled_psnr",
    ]


def test_verdict_if_all_latents_are_used() -> None:
    model, images = linear_gaussian((1.5, 3.0), 300)
    report = collapse_report(model, images)
    assert report.verdict.startswith(f"no collapse: all 2 latents used; rate {report.rate.value:.2f} nats")
    cost = report.shuffling_cost
    assert f"raises the distortion by {with_error(cost.value, cost.standard_error, 2)} nats" in report.verdict


def test_a_decoder_that_ignores_z_has_collapsed() -> None:
    """Although the posteriors differ from the prior."""
    model, images = linear_gaussian((1.5, 3.0), 300)
    with torch.no_grad():
        model.decoder.weight.zero_()
    report = collapse_report(model, images)
    assert report.verdict.startswith("collapsed: the decoder ignores z; shuffling z raises the distortion by 0.00 ± 0 nats")
    assert "2 of 2 latents used" in report.verdict
    assert report.shuffling_cost.value == 0
    assert report.psnr == report.shuffled_psnr


def test_posteriors_that_equal_the_prior_have_collapsed() -> None:
    model, images = linear_gaussian((0.0, 0.0, 0.0), 300)
    report = collapse_report(model, images)
    assert report.verdict.startswith("collapsed")
    assert "0 of 3 latents used, rate 0.00 nats" in report.verdict
    assert report.used_latents is not None
    assert report.active_units.value == report.used_latents.value == 0
    assert report.mutual_information.value == pytest.approx(0, abs=1e-6)


class LabelDecoder(Decoder):
    """An image for each class, independent of z."""

    def __init__(self) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.num_maps, self.context_dim = (1, 1, 2), 2, 1, 2
        self.images = nn.Parameter(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        assert context is not None
        return (context @ self.images).unflatten(-1, self.shape)


def test_shuffling_keeps_the_labels() -> None:
    encoder = Flatten((1, 1, 2))
    encoder.context_dim = 2
    posterior = GivenPosterior(lambda i: Independent(Normal(torch.stack([i % 7, i % 3], 1).float(), 1.0), 1))
    model = VAE(encoder, posterior, StandardNormal(2), LabelDecoder(), LinearNormal(0.1), ClassLabel(["a", "b"]))
    report = collapse_report(model, indexed_images(20))
    assert report.shuffling_cost.value == 0
    assert report.verdict.startswith("collapsed")


def test_each_image_is_decoded_from_its_z(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = linear_gaussian((1.5, 3.0), 30)
    monkeypatch.setattr(VAE, "chunk_size", 7)  # five batches
    z, x = torch.randn(30, 2), images.pixels / 255
    px = model.decode(z)
    torch.testing.assert_close(collapse._distortion(model, images, z).float(), -px.log_prob(x))
    error = (px.mean.clamp(0, 1) - x).square().mean((1, 2, 3))
    torch.testing.assert_close(collapse._psnr(model, images, z), -10 * error.log10())


def test_a_latent_with_constant_mean_is_used_but_not_active() -> None:
    means = torch.randn(30, 2) * torch.tensor([1.0, 0.0])
    report = collapse_report(model_with_gaussians(means, torch.full((30, 2), 0.5)), indexed_images(30))
    assert report.used_latents is not None
    assert report.used_latents.value == 2
    assert report.active_units.value == 1


def test_a_given_decomposition_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = linear_gaussian((1.5, 3.0), 100)
    decomposition = decompose_rate(model, images)
    expected = collapse_report(model, images)
    monkeypatch.setattr(collapse, "decompose_rate", None)
    assert collapse_report(model, images, decomposition=decomposition) == expected


def test_latents_that_do_not_factorize_are_counted_by_their_means() -> None:
    means = torch.randn(30, 3) * torch.tensor([1.0, 0.0, 1.0])
    model = model_with_posterior(lambda i: MultivariateNormal(means[i % 30], torch.eye(3)), 3)
    report = collapse_report(model, indexed_images(30))
    assert report.used_latents is None
    assert "used_latents" not in report.to_data()
    assert "2 of 3 latents used" in report.verdict


def test_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="one image"):
        collapse_report(model_with_gaussians(torch.zeros(2, 2), torch.ones(2, 2)), indexed_images(1))


@pytest.mark.parametrize("num", [2, 3, 10, 101])
def test_a_derangement_is_a_permutation_without_fixed_points(num: int) -> None:
    permutation = derangement(num, seed=num)
    assert sorted(permutation.tolist()) == list(range(num))
    assert (permutation != torch.arange(num)).all()


def test_verdict_by_threshold() -> None:
    rate = Estimate(2.0, 0.1, "nats per image", 10)

    def words(used: int, cost: float, error: float = 0.01) -> str:
        count = LatentCount(used, 4, 0.01, 10)
        return verdict(count, rate, Estimate(cost, error, "nats per image", 10)).split(";")[0]

    assert words(4, 0.07) == words(0, -0.07) == "collapsed: the decoder ignores z"
    assert words(4, 0.13) == "no collapse: all 4 latents used"
    assert words(3, 0.13) == "no collapse: 1 of 4 latents unused"
    uncertain = {
        (0.09, 0.01): "0.090 ± 0.010",
        (0.11, 0.01): "0.110 ± 0.010",
        (0.0, 0.06): "0.000 ± 0.060",
        (20.0, 11.0): "20 ± 11",
        (-5.0, 0.1): "-5.00 ± 0.10",
    }
    for (cost, error), shown in uncertain.items():
        assert words(4, cost, error).startswith(f"unclear: shuffling z raises the distortion by {shown} nats")
