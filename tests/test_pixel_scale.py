"""Floating-point pixels from 0 to 255 are refused, where those from 0 to 1 are meant."""

import math
from pathlib import Path

import pytest
import torch

import vaekit
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ModelError
from vaekit.models import VAE
from vaekit.training import Trainer


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
    """Training trusts its batches; a loop of one's own that calls the model is refused as any other call."""
    model, x = make_vae(likelihood="gaussian"), torch.full_like(pixels(3), 1, dtype=torch.float32)
    with model.trusting_input():
        assert model(value * x).log_px.shape == (1, 3)
    for method in (model, model.encode):
        with pytest.raises(ModelError, match="divide by 255"):
            method(value * x)


def test_whole_numbers_beyond_gray_levels_and_nan_are_refused() -> None:
    model, x = make_vae(), pixels(2).long()
    for wrong, says in ((x - 256, "0 to 255, got -"), (x + 256, "0 to 255, got "), (x / 0.0 * 0.0, "nan")):
        with pytest.raises(ModelError, match=says):
            model(wrong)


def test_the_steps_of_training_do_not_read_the_values_of_their_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accelerator would wait for them at each step."""
    read: list[str] = []

    class Watch(vaekit.Callback):
        def on_train_begin(self, trainer: Trainer) -> None:
            monkeypatch.setattr(VAE, "refuse_wrong_scale", lambda model, x: read.append("training"))

        def on_epoch(self, trainer: Trainer, record: object) -> None:
            monkeypatch.undo()

    images = vaekit.TensorSet(torch.rand(120, 1, 8, 8), name="noise")
    model, options = make_vae(likelihood="gaussian", shape=(1, 8, 8)), {"report": False, "training.ema": None}
    vaekit.train(model, images, out=tmp_path / "run", callbacks=[Watch()], epochs=1, **options)
    assert read == []
    with pytest.raises(ModelError, match="divide by 255"):
        model(255 * images.values)
