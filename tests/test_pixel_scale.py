"""Floating-point pixels from 0 to 255 are refused, where those from 0 to 1 are meant."""

import math

import pytest
import torch

from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ModelError


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic-mixture"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["encode", "reconstruct", "elbo", "log_likelihood"])
def test_floats_from_0_to_255_are_refused(method: str, dtype: torch.dtype, likelihood: str) -> None:
    model = make_vae(likelihood=likelihood).to(torch.float32)
    with pytest.raises(ModelError, match=r"up to 2.*divide by 255"):
        getattr(model, method)(pixels(20).to(dtype))


def test_pixels_of_both_scales_are_the_same() -> None:
    model, x = make_vae(likelihood="gaussian"), pixels(5)
    assert torch.equal(model.encode(x).mean, model.encode(x.float() / 255).mean)
    assert torch.equal(model.encode(x).mean, model.encode(x.long()).mean)


def test_bool_pixels_are_refused() -> None:
    with pytest.raises(ModelError, match="got bool"):
        make_vae().encode(pixels(2) > 100)


def test_images_with_the_noise_of_a_model_are_taken() -> None:
    model = make_vae(likelihood="gaussian", shape=(1, 1, 1))
    torch.manual_seed(0)
    assert model.encode(3 * torch.randn(200, 1, 1, 1).abs().clamp(max=2.6)).mean.shape == (200, 3)
    assert model.encode(20 * torch.randn(200, 1, 1, 1)).mean.shape == (200, 3)


def test_interpolation_refuses_floats_from_0_to_255() -> None:
    with pytest.raises(ModelError, match=r"up to 2.*divide by 255"):
        make_vae().interpolate(*pixels(2).float())


@pytest.mark.parametrize("value", [255.0, 1e20, math.inf])
def test_terms_of_any_numbers_are_computed_so_that_training_can_say_what_is_wrong(value: float) -> None:
    """Training computes terms by calling the model; what is public refuses the same images."""
    model, x = make_vae(likelihood="gaussian"), torch.full_like(pixels(3), 1, dtype=torch.float32)
    assert model(value * x).log_px.shape == (1, 3)
    with pytest.raises(ModelError, match="divide by 255"):
        model.encode(value * x)
