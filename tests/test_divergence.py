"""The message about a failed update names the step, the images, the terms, and the right one of several causes."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from tests.test_contracts import CLASSES, make_vae
from vaekit.core.errors import Diverged
from vaekit.core.terms import StepContext
from vaekit.data import Batches, Dataset, ImageSet, TensorSet
from vaekit.distributions import LIKELIHOODS, PRIORS, Gaussian
from vaekit.distributions.pixels import NormalPixels
from vaekit.models import Model
from vaekit.objectives import ELBO, IWAE, Objective, WakeSleep
from vaekit.training import (
    OPTIMIZERS,
    SCHEDULERS,
    GradientStep,
    MonteCarloEM,
    Step,
    StepSetup,
    Trainer,
    TrainingConfig,
    make_accelerator,
)
from vaekit.training.divergence import explain

SHAPE = (1, 4, 4)


def images(num: int = 48) -> ImageSet:
    return ImageSet(torch.randint(0, 256, (num, *SHAPE), dtype=torch.uint8), name="noise")


def make_trainer(
    model: Model | None = None,
    data: Dataset | None = None,
    objective: Objective | None = None,
    optimizer: str = "adam",
    lr: float = 1e-3,
    step: type[Step] = GradientStep,
    **settings: Any,
) -> Trainer:
    model, data = model or make_vae(shape=SHAPE), data or images()
    config = TrainingConfig(**({"batch_size": 16, "device": "cpu", "epochs": 3} | settings))
    mover = OPTIMIZERS[optimizer](list(model.parameters()), lr)
    accelerator = make_accelerator("cpu", config.precision)
    setup = StepSetup(model, objective or ELBO(), mover, accelerator, len(data), config.clip_norm)
    batches = Batches(data, config.batch_size, seed=0)
    valid = {"elbo": -1.0, "rate": 1.0, "distortion": 0.0}
    return Trainer(step(setup), batches, SCHEDULERS["constant"](mover, config.epochs), config, lambda model: valid)


def message_of(trainer: Trainer) -> str:
    """The message with which a run ends."""
    with pytest.raises(Diverged) as raised:
        trainer.fit()
    line = str(raised.value)
    assert "\n" not in line
    assert len(line) < 600
    return line


def fill(tensor: Tensor, value: float) -> None:
    torch.nn.init.constant_(tensor, value)


def table(values: Tensor, **arguments: Any) -> TensorSet:
    return TensorSet(values, name="table", **arguments)


# Causes


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rows_that_are_not_finite_are_named(value: float) -> None:
    values = torch.rand(48, *SHAPE)
    values[[3, 30], 0, 0, 0] = value
    order = torch.arange(47, -1, -1)
    line = message_of(make_trainer(data=table(values).take(order), batch_size=48))
    assert "the loss is not finite at step 1 (epoch 1)" in line
    assert "rows 30, 3;" in line or "rows 3, 30;" in line  # rows of the source, not positions in the split
    assert "values of the data that are not finite" in line
    assert "remove" in line


def test_data_of_a_wrong_scale_are_the_cause() -> None:
    model = make_vae(shape=SHAPE, likelihood="gaussian", scale=1.0)
    line = message_of(make_trainer(model, table(torch.full((48, *SHAPE), 1e20))))
    assert "the loss is not finite at step 1" in line
    assert "likely cause: values of the data of up to 1e+20; scale the data" in line


@pytest.mark.parametrize("beta", [1e30, 3e38])
def test_a_kl_weight_that_is_too_large_is_the_cause(beta: float) -> None:
    line = message_of(make_trainer(objective=ELBO(beta=beta)))
    assert "step 1 (epoch 1)" in line
    assert f"likely cause: the KL weight of {beta:.3g}; lower it (--beta)" in line
    assert "learning rate" not in line


def test_a_setting_of_the_objective_that_is_too_large_is_the_cause() -> None:
    line = message_of(make_trainer(objective=ELBO(perceptual=1e38)))
    assert "likely cause: objective.perceptual of 1e+38; lower it (--set objective.perceptual=...)" in line


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 1e6), ("sgd", 1e20), ("adamw", 1e30)])
def test_a_learning_rate_that_is_too_large_is_the_cause(optimizer: str, lr: float) -> None:
    line = message_of(make_trainer(optimizer=optimizer, lr=lr, epochs=50))
    assert "likely cause: weights of " in line
    assert f"a learning rate of {lr:.3g}; lower the learning rate (--lr) or clip the gradient" in line
    assert "encoder" in line


def test_weights_that_are_not_finite_are_the_cause_and_their_part_is_named() -> None:
    model = make_vae(shape=SHAPE, prior="mixture-of-gaussians")
    fill(model.prior.logvars, math.nan)
    line = message_of(make_trainer(model))
    assert "not finite: rate, gradient of " in line  # and not log p(x|z)
    assert "gradient of prior" in line
    assert "gradient of decoder" not in line
    assert "likely cause: weights of prior as large as nan" in line


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_log_variances_at_their_bound_are_the_cause(value: float) -> None:
    """With a large feature the gradient of a rate of 1e17 nats overflows."""
    model = make_vae(shape=SHAPE, likelihood="gaussian", scale="pixel", floor=0.0)
    fill(model.decoder.output.bias[16:], value)
    fill(model.decoder.output.weight, 0.0)
    trainer = make_trainer(model, table(1e3 * torch.rand(48, *SHAPE) if value < 0 else torch.rand(48, *SHAPE)))
    batch = next(iter(trainer.batches))
    line = explain("the loss is not finite", "at step 1", trainer.step, batch, StepContext(), trainer.batches.dataset)
    assert "likely cause: log-variances of p(x|z) at their bound; lower the learning rate" in line


def test_bfloat16_is_the_cause_where_float32_is_finite() -> None:
    model = make_vae(shape=SHAPE)

    class Overflow(torch.nn.Module):
        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return x * math.inf if x.dtype == torch.bfloat16 else x

    output = model.decoder.output
    model.decoder.output = torch.nn.Sequential(output, Overflow())
    line = message_of(make_trainer(model, precision="bfloat16"))
    assert "not finite: log p(x|z)" in line
    assert "likely cause: networks in bfloat16" in line
    assert "--precision float32" in line


def test_a_gradient_alone_names_its_part_and_the_images_of_the_batch() -> None:
    model = make_vae(shape=SHAPE)
    model.posterior.mu.weight.register_hook(lambda gradient: gradient * math.inf)
    names = tuple(f"cat/{index}.png" for index in range(48))
    line = message_of(make_trainer(model, replace(images(), names=names)))
    assert line.startswith("the gradient is not finite at step 1 (epoch 1), images 'cat/")
    assert "and 13 more; not finite: gradient of posterior; likely cause: an update that was too large" in line
    assert line.endswith("lower the learning rate (--lr) or clip the gradient (--set training.clip_norm=1)")


# Terms and images


def test_only_the_images_whose_terms_are_not_finite_are_named() -> None:
    model = make_vae(shape=SHAPE)

    class NaNForWhite(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x.flatten(1).mean(1, keepdim=True) == 1, math.nan, x.flatten(1))

    model.encoder.hidden_layers = torch.nn.Identity()
    data = images()
    data.store[7] = 255
    layer = next(m for m in model.encoder.modules() if isinstance(m, torch.nn.Linear))
    layer.register_forward_pre_hook(lambda module, inputs: (NaNForWhite()(inputs[0]),))
    line = message_of(make_trainer(model, data, batch_size=48))
    assert "image 7; not finite: z, rate, log p(x|z), " in line


@pytest.mark.parametrize("objective", [ELBO(), IWAE(num_samples=2), WakeSleep()])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_objective_and_likelihood_ends_with_the_message(objective: Objective, likelihood: str) -> None:
    """Sampling a distribution with parameters that are not numbers must not be another error."""
    model = make_vae(shape=SHAPE, likelihood=likelihood, prior="mixture-of-gaussians")
    fill(model.decoder.output.weight, math.nan)
    fill(model.prior.logits, math.nan)
    line = message_of(make_trainer(model, objective=objective))
    assert "the loss is not finite at step 1" in line
    assert "log p(x|z)" in line
    assert "likely cause: weights of prior as large as nan" in line


def test_monte_carlo_em_ends_with_the_message() -> None:
    model = make_vae(shape=SHAPE)
    fill(model.decoder.output.weight, math.nan)
    line = message_of(make_trainer(model, step=MonteCarloEM))
    assert "the loss is not finite at step 1" in line
    assert "gradient of decoder" in line
    assert "weights of decoder" in line


def test_a_conditional_model_is_given_its_labels() -> None:
    model = make_vae(shape=SHAPE, classes=CLASSES)
    fill(model.decoder.output.weight, math.nan)
    line = message_of(make_trainer(model, replace(images(), labels=torch.arange(48) % 3)))
    assert "not finite: log p(x|z), " in line


def test_a_model_that_raises_on_numbers_that_are_not_finite_still_ends_with_the_message() -> None:
    model = make_vae(shape=SHAPE)
    trainer = make_trainer(model)
    batch = next(iter(trainer.batches))

    def refuse(*_: Any) -> None:
        raise ValueError("expected finite numbers")

    model.decoder.register_forward_pre_hook(refuse)
    line = explain("the loss is not finite", "at step 3", trainer.step, batch, StepContext(), trainer.batches.dataset)
    assert line.startswith("the loss is not finite at step 3, images ")
    assert "likely cause: an update that was too large" in line


def test_the_diagnosis_changes_neither_weights_nor_random_numbers() -> None:
    model = make_vae(shape=SHAPE, likelihood="gaussian")
    trainer = make_trainer(model)
    trainer.step.train()
    batch = next(iter(trainer.batches))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    explain("the loss is not finite", "at step 1", trainer.step, batch, StepContext(), trainer.batches.dataset)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert isinstance(model.likelihood, Gaussian)


def test_long_names_and_control_characters_are_bounded() -> None:
    names = tuple(f"{'x' * 5000}\x1b[31m\n{index}" for index in range(48))
    model = make_vae(shape=SHAPE)
    fill(model.decoder.output.weight, math.nan)
    line = message_of(make_trainer(model, replace(images(), names=names)))
    assert "\x1b" not in line
    assert line.count("x" * 20) == 3


# Samples


def test_samples_of_normal_pixels_are_those_of_torch() -> None:
    mean, stddev = torch.rand(3, *SHAPE), torch.rand(3, *SHAPE)
    samples = []
    for kind in (Normal, NormalPixels):
        torch.manual_seed(1)
        samples.append(kind(mean, stddev).sample((7,)))
    assert torch.equal(*samples)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_samples_of_parameters_that_are_not_numbers_are_not_numbers(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    maps = torch.randn(2, likelihood.num_maps(1), 3, 3)
    maps[0] = math.nan
    samples = likelihood(maps).sample((4,))
    assert samples[:, 0].isnan().all()
    assert samples[:, 1].isfinite().all()


def test_samples_of_a_mixture_whose_weights_are_not_numbers_are_not_numbers() -> None:
    prior = PRIORS["mixture-of-gaussians"](latent_dim=3)
    assert prior(5).sample().isfinite().all()
    fill(prior.logits, math.nan)
    assert prior(5).sample().isnan().all()
