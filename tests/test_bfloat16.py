"""Networks in bfloat16: every recipe and every part trains as in float32, and log-probabilities stay float32."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.test_contracts import COMBINATIONS, TRAINED_PRIORS, make_objective, make_vae, pixels
from vaekit.core.rng import fixed_seed
from vaekit.core.terms import StepContext
from vaekit.data import ImageSet, load_images
from vaekit.distributions import LIKELIHOODS, POSTERIORS
from vaekit.experiment.prepare import prepare
from vaekit.models import VAE, LadderVAE
from vaekit.networks.autoencoder_kl import AutoencoderKLDecoder
from vaekit.objectives import OBJECTIVES
from vaekit.runs.recipe import Recipe, load_recipe, recipe_names
from vaekit.training import STEPS as STEP_CLASSES
from vaekit.training import Callback, Trainer

NUM_IMAGES, SIZE = 160, 12
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [24]},
    "conv": {"channels": [4, 6], "blocks": [0, 1]},
    "ladder": {"channels": [4, 6]},
    "autoencoder-kl": {"block_out_channels": [4, 8], "norm_num_groups": 4},
}
"""What makes the networks of a recipe small; its other settings stay as they are."""

CODES: dict[str, Any] = {"latent_dim": 12, "model.prior": {"name": "uniform-codes"}}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {"objective.features": 0} if name == "tokenizer" else {}) for name in recipe_names()},
    "conditional": ("digits", {"model.conditional": True}),
    "iwae": ("digits", {"objective": {"name": "iwae", "num_samples": 3}}),
    "doubly reparameterized": (
        "digits",
        {"objective": {"name": "iwae", "gradient": "doubly-reparameterized", "num_samples": 3}},
    ),
    "wake-sleep": ("digits", {"objective": {"name": "wake-sleep"}}),
    "perceptual": ("images", {"objective": {"name": "elbo", "perceptual": 10.0}}),
    "monte-carlo-em": ("digits", {"step": {"name": "monte-carlo-em"}}),
    "bernoulli": ("digits", {"model.likelihood": {"name": "bernoulli"}, "data.binarize": "dynamic"}),
    "continuous-bernoulli": ("digits", {"model.likelihood": {"name": "continuous-bernoulli"}}),
    "gaussian per pixel": ("digits", {"model.likelihood": {"name": "gaussian", "scale": "pixel"}}),
    "logistic-mixture": ("digits", {"model.likelihood": {"name": "logistic-mixture"}}),
    "mixture-of-gaussians": ("digits", {"model.prior": {"name": "mixture-of-gaussians", "num_components": 5}}),
    "vamp": ("digits", {"model.prior": {"name": "vamp", "num_components": 5}}),
    "flow prior": ("digits", {"model.prior": {"name": "flow", "num_transforms": 2, "hidden": [8]}}),
    "maf prior": ("digits", {"model.prior": {"name": "maf", "num_transforms": 2, "hidden": [8]}}),
    "gaussian prior": ("digits", {"model.prior": {"name": "gaussian"}}),
    "mixture prior": ("digits", {"model.prior": {"name": "mixture", "num_components": 3}}),
    "flow posterior": ("digits", {"model.posterior": {"name": "flow", "num_transforms": 2, "hidden": [8]}}),
    "conditional flows": (
        "digits",
        {"model.conditional": True, "model.prior": {"name": "flow", "hidden": [8]}, "model.posterior": {"name": "flow"}},
    ),
    "residual-vq": ("digits", {**CODES, "model.posterior": {"name": "residual-vq", "codes": 8, "positions": 2}}),
    "fsq": (
        "digits",
        {
            **CODES,
            "model.posterior": {"name": "fsq", "positions": 4},
            "model.prior": {"name": "transformer", "width": 8, "num_heads": 2},
        },
    ),
    "attention": (
        "images",
        {
            "model.encoder": {"name": "conv", "attention": 8, "checkpoint": True},
            "model.decoder": {"name": "conv", "attention": 8, "checkpoint": True},
        },
    ),
}
"""Each recipe of the package, and each kind of part at least once."""


class Losses(Callback):
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_step(self, trainer: Trainer, logs: dict[str, Tensor]) -> None:
        assert all(value.dtype in (torch.float32, torch.float64) for value in logs.values())
        self.values.append(float(logs["loss"]))


@cache
def stand_in(channels: int) -> ImageSet:
    """Digits in the place of the images of a recipe."""
    return load_images("digits", "train", size=SIZE, channels=channels).first(NUM_IMAGES)


def small_recipe(name: str, precision: str) -> Recipe:
    """A variant with small networks and few steps, of which the schedules see as many epochs as before."""
    base, changes = VARIANTS[name]
    recipe = load_recipe(base, changes)
    settings: dict[str, Any] = {"precision": precision, "epochs": 3, "batch_size": 16, "device": "cpu"}
    for place in ("encoder", "decoder"):
        spec = getattr(recipe.model, place)
        settings |= {f"model.{place}.{key}": value for key, value in SMALL[spec["name"]].items()}
        if spec["name"] == "ladder":
            settings[f"model.{place}.{'blocks' if place == 'encoder' else 'layers'}"] = [0, 2]
        if spec["name"] == "autoencoder-kl":
            settings |= {"model.encoder.latent_channels": 2, "model.latent_dim": 72}
        elif spec.get("hidden", 0) is None:
            settings |= {f"model.{place}.min_resolution": 6, "model.latent_dim": 36}
        elif spec["name"] == "conv":
            settings |= {f"model.{place}.hidden": 24}
    return load_recipe(base, changes | settings)


def train(recipe: Recipe) -> tuple[list[float], Trainer]:
    """The loss of each step, and the trainer after the last."""
    losses = Losses()
    data = stand_in(recipe.data.channels or 1)
    with fixed_seed(0):
        trainer = prepare(recipe, images=data, test=data, callbacks=[losses]).trainer
        trainer.fit()
    return losses.values, trainer


def test_every_kind_of_part_is_in_a_variant() -> None:
    recipes = [load_recipe(base, changes) for base, changes in VARIANTS.values()]
    assert {recipe.model.likelihood["name"] for recipe in recipes} == set(LIKELIHOODS)
    assert {recipe.model.prior["name"] for recipe in recipes} == set(TRAINED_PRIORS)
    assert {recipe.model.posterior["name"] for recipe in recipes} == set(POSTERIORS)
    assert {recipe.objective["name"] for recipe in recipes} == set(OBJECTIVES)
    assert {recipe.step["name"] for recipe in recipes} == set(STEP_CLASSES)
    assert set(recipe_names()) < set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recipe_trains_in_bfloat16_as_in_float32(name: str) -> None:
    found, expected = (train(small_recipe(name, precision)) for precision in ("bfloat16", "float32"))
    mine, theirs = torch.tensor(found[0]), torch.tensor(expected[0])
    assert mine.isfinite().all()
    assert mine[-10:].mean().item() == pytest.approx(theirs[-10:].mean().item(), rel=0.005)  # at most 0.0002 was seen
    assert theirs[-10:].mean() < theirs[0]
    assert not torch.equal(mine, theirs)  # bfloat16 was used
    assert all(p.dtype == torch.float32 for p in found[1].step.model.parameters())


def networks(model: VAE) -> tuple[nn.Module, nn.Module]:
    """The networks of a model, or their parts whose outputs are in the precision of networks."""
    if isinstance(model, LadderVAE):  # which calls other methods than forward
        return model.encoder.input, model.decoder.output
    decoder = model.decoder.conv_out if isinstance(model.decoder, AutoencoderKLDecoder) else model.decoder
    return model.encoder, decoder


@pytest.mark.parametrize(("encoder", "decoder", "likelihood", "posterior", "prior", "classes", "objective"), COMBINATIONS)
def test_networks_are_bfloat16_and_every_term_is_float32(
    encoder: str, decoder: str, likelihood: str, posterior: str, prior: str, classes: Any, objective: str
) -> None:
    model = make_vae(encoder, decoder, likelihood, posterior, prior, classes)
    seen: list[torch.dtype] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(output.dtype)

    for part in networks(model):
        part.register_forward_hook(note)
    labels = None if classes is None else torch.tensor([0, 1, 2, 1])
    criterion = make_objective(objective, model)
    with torch.autocast("cpu", torch.bfloat16):
        terms = model(pixels(4), labels, 2)
        loss = criterion(terms, StepContext())
        log_ratios = [latent.log_ratio() for latent in terms.latents]
        samples, mean = terms.px.sample(), terms.px.mean
    assert set(seen) == {torch.bfloat16}
    for value in (terms.log_px, terms.rate(), terms.elbo(), loss.value, *loss.logs.values(), *log_ratios, samples, mean):
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    loss.value.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
