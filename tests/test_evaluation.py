"""Evaluation: every metric against a closed form or an independent computation, for any batch size."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.oracles import linear_gaussian
from tests.test_contracts import make_vae, pixels
from vaekit.data import ImageSet, binarize
from vaekit.evaluation.cost import estimate_seconds, limit_seconds, num_decodings, seconds_per_decoding
from vaekit.evaluation.estimate import mean_by_difference, mean_over_images
from vaekit.evaluation.evaluation_config import BRIEF, EvaluationConfig
from vaekit.evaluation.latents.collapse import collapse_report
from vaekit.evaluation.latents.encodings import active_units
from vaekit.evaluation.likelihood.annealing import Annealing, annealed_of_each
from vaekit.evaluation.likelihood.bounds import (
    CROSS_ENTROPY,
    elbo_of_each,
    elbo_terms,
    log_likelihood,
    log_likelihood_of_each,
    meaning,
)
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples.reconstruction import ms_ssim, psnr, reconstruction_quality, ssim
from vaekit.models import VAE
from vaekit.runs.run_folder import RunFolder


def image_set(num: int = 60, shape: tuple[int, int, int] = (2, 6, 5)) -> ImageSet:
    return ImageSet(pixels(num, shape))


def test_mean_and_standard_error() -> None:
    estimate = mean_over_images(torch.tensor([1.0, 2.0, 3.0, 6.0]), "nats per image", 7)
    assert estimate.value == 3.0
    assert estimate.standard_error == pytest.approx(math.sqrt(14 / 3) / 2)
    assert estimate.to_data() == {
        "value": 3.0,
        "standard_error": estimate.standard_error,
        "unit": "nats per image",
        "num_images": 4,
        "num_samples": 7,
    }


def test_likelihoods_of_a_model_with_a_closed_form() -> None:
    """Images of a linear-Gaussian model: the bound lies below the evidence, and importance sampling reaches it."""
    oracle = linear_gaussian(num=50, off=0.2)
    levels = ((oracle.x - oracle.x.min()) / (oracle.x.max() - oracle.x.min()) * 255).round().byte()
    images = ImageSet(levels)
    oracle.x.copy_(levels.float() / 255)
    evidence = oracle.log_evidence().mean().item()
    elbo = elbo_terms(oracle.model, images, num_samples=500)["elbo"]
    estimate = log_likelihood(oracle.model, images, num_samples=3000)
    assert elbo.value < estimate.value < evidence + 0.02
    assert estimate.value == pytest.approx(evidence, abs=0.03)
    qz = oracle.model.encode(oracle.x)
    closed = oracle.elbo(qz.mean, qz.stddev[0], oracle.weight).mean().item()
    assert elbo.value == pytest.approx(closed, abs=0.05)
    assert (estimate.num_images, estimate.num_samples) == (50, 3000)


@pytest.mark.parametrize("batch", [1, 7, 60, 1000])
def test_metrics_without_samples_do_not_depend_on_the_batch_size(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = make_vae(), image_set()
    expected = (active_units(model, images), reconstruction_quality(model, images))
    monkeypatch.setattr(VAE, "chunk_size", batch)
    found = (active_units(model, images), reconstruction_quality(model, images))
    assert found[0] == expected[0]
    assert found[1].ms_ssim is None
    for key in ("psnr", "ssim"):
        assert getattr(found[1], key).value == pytest.approx(getattr(expected[1], key).value, rel=1e-5)
        assert getattr(found[1], key).num_images == 60


def test_samples_depend_only_on_the_seed_and_do_not_use_the_global_generators() -> None:
    model, images = make_vae(), image_set()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = elbo_terms(model, images)
    assert torch.equal(torch.rand(2), expected)
    assert elbo_terms(model, images) == first != elbo_terms(model, images, seed=1)


def test_training_mode_is_restored() -> None:
    model, images = make_vae().train(), image_set()
    evaluate_model(model, images, config=replace(BRIEF, num_samples=2, max_images=None)).to_data()
    assert model.training


def test_elbo_of_a_set_is_the_mean_of_its_images() -> None:
    model, images = make_vae(), image_set()
    terms = elbo_terms(model, images, num_samples=2000)
    one = model.elbo(images.pixels, num_samples=2000)
    assert terms["elbo"].value == pytest.approx(one.mean().item(), abs=0.02)
    assert terms["elbo"].standard_error == pytest.approx(one.std().item() / 60**0.5, rel=0.05)
    assert terms["elbo"].value == pytest.approx(-(terms["distortion"].value + terms["rate"].value))


def test_active_units_are_those_whose_mean_varies() -> None:
    model, images = make_vae(), image_set()
    with torch.no_grad():
        model.posterior.mu.weight[1:] = 0
        model.posterior.mu.weight[0] *= 50
    data = {"value": 1, "of": 3, "unit": "latents", "threshold": 0.01, "num_images": 60}
    assert active_units(model, images).to_data() == data


def test_collapsed_model_has_no_active_units() -> None:
    model, images = make_vae(), image_set()
    with torch.no_grad():
        for parameter in model.posterior.parameters():
            parameter.zero_()
    assert active_units(model, images).value == 0
    assert elbo_terms(model, images)["rate"].value == 0


def test_psnr_is_its_formula() -> None:
    a, b = torch.rand(5, 3, 9, 7), torch.rand(5, 3, 9, 7)
    expected = -10 * ((a - b) ** 2).mean((1, 2, 3)).log10()
    torch.testing.assert_close(psnr(a, b), expected)
    assert psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.1)).item() == pytest.approx(20, abs=1e-4)
    assert psnr(a, a).tolist() == [100.0] * len(a)  # a number that JSON can hold


@pytest.mark.parametrize("side", [2, 3, 4, 8, 11, 12, 28])
def test_ssim_is_one_for_equal_images_and_falls_with_noise(side: int) -> None:
    x = torch.linspace(0, 1, side).outer(torch.linspace(0, 1, side)).expand(4, 1, side, side).contiguous()
    torch.testing.assert_close(ssim(x, x), torch.ones(4))
    values = [ssim((x + noise * torch.randn_like(x)).clamp(0, 1), x).mean().item() for noise in (0.01, 0.05, 0.3)]
    assert 1 > values[0] > values[1] > values[2]


def test_ssim_is_the_published_formula() -> None:
    """A Gaussian window of 11 pixels and sigma 1.5 around each pixel, over mirrored borders, and the mean of all."""
    a, b = torch.rand(1, 1, 9, 12, dtype=torch.float64), torch.rand(1, 1, 9, 12, dtype=torch.float64)
    side = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(side**2) / (2 * 1.5**2))
    weight = (window.outer(window) / window.sum() ** 2).flatten()

    def windows(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.unfold(torch.nn.functional.pad(x, (5, 5, 5, 5), mode="reflect"), 11)[0].T

    wa, wb = windows(a), windows(b)
    mean_a, mean_b = wa @ weight, wb @ weight
    var_a, var_b = wa**2 @ weight - mean_a**2, wb**2 @ weight - mean_b**2
    covariance = (wa * wb) @ weight - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    local = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    local /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    assert ssim(a, b).item() == pytest.approx(local.mean().item(), rel=1e-6)


def test_ms_ssim_is_the_published_formula() -> None:
    """Contrast and structure at four scales where the window fits, and all of SSIM at the fifth, over mirrored borders."""
    a = torch.rand(1, 1, 180, 176, dtype=torch.float64)
    b = (a + 0.3 * torch.rand_like(a)) / 1.3
    side = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(side**2) / (2 * 1.5**2))
    weight = (window.outer(window) / window.sum() ** 2).flatten()
    c1, c2 = 0.01**2, 0.03**2

    def parts(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wa, wb = (torch.nn.functional.unfold(x, 11)[0].T for x in (a, b))
        mean_a, mean_b = wa @ weight, wb @ weight
        var_a, var_b = wa**2 @ weight - mean_a**2, wb**2 @ weight - mean_b**2
        covariance = (wa * wb) @ weight - mean_a * mean_b
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        return luminance, (2 * covariance + c2) / (var_a + var_b + c2)

    expected, x, y = 1.0, a, b
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363):
        expected *= parts(x, y)[1].mean().item() ** exponent
        x, y = (z.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)) for z in (x, y))
    luminance, rest = parts(*(torch.nn.functional.pad(z, (5, 5, 5, 5), mode="reflect") for z in (x, y)))
    expected *= (luminance * rest).mean().item() ** 0.1333
    assert ms_ssim(a, b).item() == pytest.approx(expected, rel=1e-6)
    assert expected < 0.99
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(1, dtype=torch.float64))
    assert ms_ssim(a, 1 - a).item() == 0


@pytest.mark.parametrize(("height", "width"), [(175, 180), (176, 176)])
def test_ms_ssim_is_for_images_that_are_large_enough(height: int, width: int) -> None:
    model, images = make_vae(shape=(1, height, width)), image_set(3, (1, height, width))
    quality = reconstruction_quality(model, images)
    assert (quality.ms_ssim is not None) == (height == 176) == ("ms_ssim" in quality.to_data())
    if height == 176:
        x = images.pixels.float() / 255
        expected = torch.stack([ms_ssim(model.reconstruct(one[None]), one[None])[0] for one in x]).mean().item()
        data = quality.to_data()
        assert data["ms_ssim"]["value"] == pytest.approx(expected, rel=1e-5)
        assert data["ms_ssim"]["unit"] == data["ssim"]["unit"] == "1 is equal"


def test_bernoulli_of_gray_pixels_is_a_cross_entropy() -> None:
    gray, model = image_set(), make_vae(likelihood="bernoulli")
    assert CROSS_ENTROPY in meaning(model, gray)
    assert (
        CROSS_ENTROPY
        in evaluate_model(model, gray, config=replace(BRIEF, num_samples=0, max_images=None)).to_data()["meaning"]
    )
    binary = evaluate_model(model, binarize(gray, seed=0), config=replace(BRIEF, num_samples=0, max_images=None)).to_data()
    assert CROSS_ENTROPY not in binary["meaning"]
    assert binary["data"]["pixels"] == "binarized once with seed 0"
    assert "density" in meaning(make_vae(likelihood="gaussian"), gray)


def test_evaluation_states_its_counts() -> None:
    numbers = evaluate_model(make_vae(), image_set(), config=replace(BRIEF, num_samples=13, max_images=20)).to_data()
    assert numbers["log_likelihood"]["num_images"] == 20
    assert numbers["log_likelihood"]["num_samples"] == 13
    assert numbers["elbo"]["num_images"] == numbers["data"]["num_images"] == 60
    assert (
        "log_likelihood"
        not in evaluate_model(make_vae(), image_set(), config=replace(BRIEF, num_samples=0, max_images=None)).to_data()
    )


def test_conditional_models_receive_the_labels() -> None:
    model = make_vae(classes=["a", "b", "c"])
    images = ImageSet(pixels(9), torch.arange(9) % 3, ("a", "b", "c"))
    expected = model.elbo(images.pixels, images.labels, num_samples=3000).mean().item()
    assert elbo_terms(model, images, num_samples=3000)["elbo"].value == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 9), (1, 1, 9), (3, 3, 3)])
def test_tiny_images_can_be_evaluated(shape: tuple[int, int, int]) -> None:
    numbers = evaluate_model(
        make_vae(shape=shape), image_set(5, shape), config=replace(BRIEF, num_samples=2, max_images=None)
    ).to_data()
    assert ("ssim" in numbers) == (min(shape[1:]) >= 2)
    assert math.isfinite(numbers["psnr"]["value"])


@pytest.mark.parametrize(
    ("likelihood", "arguments"), [("logistic-mixture", {"bits": 5}), ("gaussian", {}), ("bernoulli", {})]
)
def test_bits_per_dimension_exist_only_for_gray_levels(likelihood: str, arguments: dict[str, int]) -> None:
    model, images = make_vae(likelihood=likelihood, **arguments), image_set()
    numbers = evaluate_model(model, images, config=replace(BRIEF, num_samples=3, max_images=None)).to_data()
    for bits, nats in (("bits_per_dim", "elbo"), ("bits_per_dim_iw", "log_likelihood")):
        assert (bits in numbers) == (likelihood == "logistic-mixture")
        if bits not in numbers:
            continue
        scale = math.prod(images.shape) * math.log(2)
        assert numbers[bits]["value"] == pytest.approx(-numbers[nats]["value"] / scale)
        assert numbers[bits]["standard_error"] == pytest.approx(numbers[nats]["standard_error"] / scale)
        assert numbers[bits]["unit"] == "bits per dimension"
        assert numbers["meaning"] == "log-probability of images of 32 gray levels"


TINY = EvaluationConfig(
    20,
    30,
    Annealing(2, 5, num_leapfrog_steps=2),
    num_annealed=4,
    num_refined=5,
    num_aggregated=100,
    num_compared=60,
    num_probed=100,
)


def test_more_images_for_annealing_than_for_importance_sampling() -> None:
    model, images = make_vae(), image_set(12)
    numbers = evaluate_model(
        model, images, config=replace(TINY, max_images=3, num_annealed=7, num_refined=0, num_aggregated=0), seed=3
    ).to_data()
    annealed = annealed_of_each(model, images.sample(7, seed=3), TINY.annealing, seed=3)
    iw = log_likelihood_of_each(model, images.sample(3, seed=3), num_samples=20, seed=3)
    assert numbers["annealed"]["value"] == pytest.approx(annealed.mean().item(), rel=1e-5)
    assert (numbers["annealed"]["num_images"], numbers["annealed"]["num_annealed"]) == (7, 7)
    assert numbers["annealed_gap"]["value"] == pytest.approx((annealed[:3] - iw).mean().item(), abs=1e-3)
    assert numbers["annealed_gap"]["num_images"] == 3


def test_full_evaluation_equals_the_single_estimators(trained: Path) -> None:
    run = RunFolder(trained)
    model, test, train = run.model, run.images(), run.images(split="train")
    numbers = evaluate_model(model, test, train=train, config=TINY, seed=3).to_data()
    assert "left_out" not in numbers
    assert json.loads(json.dumps(numbers)) == numbers
    some = test.sample(30, seed=3)
    values = log_likelihood_of_each(model, some, num_samples=20, seed=3)
    distortion, rate = (values[test.sampled_positions(30, 3)] for values in elbo_of_each(model, test, seed=3))
    assert numbers["log_likelihood"]["value"] == pytest.approx(values.mean().item(), rel=1e-5)
    assert numbers["iw_gap"]["value"] == pytest.approx((values + distortion + rate).mean().item(), abs=1e-4)
    annealed = annealed_of_each(model, test.sample(4, seed=3), TINY.annealing, seed=3)
    expected = values.mean() + (annealed - values[:4]).mean()  # over the thirty, and not over the four that were annealed
    assert numbers["annealed"]["value"] == pytest.approx(expected.item(), rel=1e-5)
    assert numbers["annealed_gap"]["value"] == pytest.approx((annealed - values[:4]).mean().item(), abs=1e-3)
    both = numbers["bracket"]
    assert numbers["bracket_gap"]["value"] == pytest.approx(both["upper"]["value"] - both["lower"]["value"], abs=1e-3)
    assert numbers["amortization_gap"]["num_images"] == 5
    parts = numbers["latents"]
    halves = parts["mutual_information"]["value"] + parts["aggregate_kl"]["value"]
    assert parts["rate"]["value"] == pytest.approx(halves, rel=1e-5)
    assert numbers["collapse"] == collapse_report(model, test.sample(100, seed=3), seed=3).to_data()
    assert numbers["fidelity"]["columns"][0] == "FD-cnn"
    assert set(numbers["usefulness"]["k-NN"]) == {"posterior means", "pixels", "PCA"}
    assert numbers["log_likelihood"]["space"] == "density of pixels in [0, 1]"


def test_difference_estimator_is_unbiased_and_states_its_error() -> None:
    random = torch.Generator().manual_seed(0)

    def sampled(num: int, of: int) -> tuple[float, float, float]:
        inexpensive = 5 * torch.randn(of, generator=random)
        expensive = inexpensive + 1 + 0.2 * inexpensive + torch.randn(of, generator=random)
        value, error = mean_by_difference(inexpensive, expensive[:num])
        assert error is not None
        return value, error, float(expensive[:num].mean())

    found = torch.tensor([sampled(20, 200) for _ in range(3000)])
    assert abs(found[:, 0].mean() - 1) < 5 * found[:, 0].std() / math.sqrt(3000)
    assert found[:, 1].square().mean().sqrt() == pytest.approx(found[:, 0].std().item(), rel=0.07)
    assert found[:, 0].std() < found[:, 2].std() / 2  # of twenty images alone
    inexpensive, expensive = torch.randn(2, 50, generator=random)
    all_of_them = mean_over_images(expensive, "nats")
    assert mean_by_difference(inexpensive, expensive) == pytest.approx((all_of_them.value, all_of_them.standard_error))
    assert mean_by_difference(inexpensive, expensive[:1])[1] is None


def test_random_subsets_of_a_sorted_set_have_all_classes() -> None:
    labels = torch.arange(4).repeat_interleave(100)
    images = ImageSet(torch.zeros(400, 1, 2, 2, dtype=torch.uint8), labels)
    some, more = images.sample(40, seed=1), images.sample(80, seed=1)
    assert some.labels is not None
    assert more.labels is not None
    assert min(torch.bincount(some.labels, minlength=4)) > 3
    assert torch.equal(more.labels[:40], some.labels)
    assert len(images.sample(1000, seed=1)) == 400


NOTHING = EvaluationConfig(
    0,
    0,
    Annealing(3, 40, num_leapfrog_steps=4),
    num_annealed=0,
    num_refined=0,
    num_aggregated=0,
    num_compared=0,
    num_probed=0,
)


@pytest.mark.parametrize(
    ("part", "config"),
    [
        ("importance samples", replace(NOTHING, num_samples=70, max_images=12)),
        ("importance samples", replace(NOTHING, num_samples=70, max_images=None)),
        ("annealing", replace(NOTHING, num_annealed=30)),
        ("annealing", replace(NOTHING, num_annealed=200)),
        ("refinement", replace(NOTHING, num_refined=3)),
    ],
)
def test_cost_counts_the_decoded_images(part: str, config: EvaluationConfig) -> None:
    model, images = make_vae(), image_set(40)
    decoded = {False: 0, True: 0}

    def count(module: Any, args: Any, output: Tensor) -> None:
        decoded[output.requires_grad] += len(output)

    model.decoder.register_forward_hook(count)
    evaluate_model(model, images, config=NOTHING).to_data()
    before = decoded[False]
    evaluate_model(model, images, config=config).to_data()
    counted = num_decodings(config, 40)
    assert {name for name, num in counted.items() if num} == {part}
    assert decoded[False] - 2 * before + 2 * decoded[True] == pytest.approx(counted[part], rel=0.06)
    assert estimate_seconds(config, 40, 0.25) == {part: counted[part] / 4}


def test_config_is_limited_to_the_time_of_each_part() -> None:
    config = EvaluationConfig(100, None, Annealing(2, 10, num_leapfrog_steps=5), num_annealed=100, num_refined=50)
    assert limit_seconds(config, 1000, 1e-6, 20.0) == config
    short = limit_seconds(config, 1000, 1e-3, 20.0)
    assert (short.max_images, short.num_annealed, short.num_refined) == (200, 20, 6)
    assert all(19 < wait <= 20 for wait in estimate_seconds(short, 1000, 1e-3).values())
    none = limit_seconds(config, 1000, 1.0, 20.0)
    assert (none.max_images, none.num_annealed, none.num_refined) == (0, 0, 0)
    assert none.num_samples == 100
    assert 0 < seconds_per_decoding(make_vae(), image_set(3)) < 1


def test_single_image_leaves_out_only_the_latents() -> None:
    numbers = evaluate_model(make_vae(), image_set(1), config=TINY).to_data()
    assert "aggregate posterior" in numbers["left_out"]["latents"]
    assert numbers["log_likelihood"]["num_images"] == numbers["annealed"]["num_images"] == 1


def test_parts_that_are_not_possible_are_left_out_with_a_reason() -> None:
    model, images = make_vae(posterior="flow"), image_set(40)
    numbers = evaluate_model(model, images, train=images, config=TINY).to_data()
    assert set(numbers["left_out"]) == {"amortization_gap", "fidelity", "usefulness"}
    assert "diagonal Gaussian" in numbers["left_out"]["amortization_gap"]
    assert "labels" in numbers["left_out"]["fidelity"]
    assert "labels" in numbers["left_out"]["usefulness"]
    assert math.isfinite(numbers["annealed"]["value"])
    alone = evaluate_model(make_vae(), images, config=TINY).to_data()
    assert "no training images" in alone["left_out"]["fidelity"]
    assert not {"annealed", "latents", "fidelity"} & set(
        evaluate_model(model, images, config=replace(BRIEF, num_samples=2, max_images=5)).to_data()
    )
