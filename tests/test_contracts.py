"""Contracts: every combination of parts builds, trains, saves and loads, for any image shape and batch size."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bad_input import forge_config
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.terms import StepContext
from vaekit.data import ImageSet
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS, Bernoulli, DiagonalGaussian, Gaussian, StandardNormal
from vaekit.models import VAE, ClassLabel, VAEConfig, build_vae, describe_vae, load_vae, save_vae
from vaekit.networks import DECODERS, ENCODERS, MLPDecoder, MLPEncoder
from vaekit.networks.autoencoder_kl import latent_size
from vaekit.objectives import OBJECTIVES, Objective

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [11, 9], "activation": "silu"},
    "conv": {"channels": [3, 5], "blocks": [1, 1], "hidden": 8},
    "autoencoder-kl": {"block_out_channels": [8] * 4, "norm_num_groups": 1, "mid_block_add_attention": False},
}
SMALL_ENCODERS = SMALL | {"ladder": {"channels": [3, 5], "blocks": [1, 1]}}
SMALL_DECODERS = SMALL | {"ladder": {"channels": [3, 5], "layers": [1, 2], "width": 1}}
SMALL_POSTERIORS: dict[str, dict[str, Any]] = {
    "flow": {"flow_context_dim": 5, "num_transforms": 2, "hidden": [12]},
    "vq": {"codes": 4, "positions": 3},
    "residual-vq": {"codes": 4, "quantizers": 3},
    "fsq": {"levels": [5], "positions": 3},
}
ONE_POINT: dict[str, dict[str, Any]] = {"vq": {"codes": 4}, "fsq": {"levels": [5, 5, 5]}}
"""What differs for features that are maps of one point."""
SMALL_OBJECTIVES: dict[str, dict[str, Any]] = {"adversarial": {"features": 0.0, "width": 4}}
DISCRETE = ("vq", "residual-vq", "fsq")
"""The posteriors that are points on code vectors."""
CODE_PRIORS = ("uniform-codes", "transformer")
"""The priors that are distributions over the indices of codes."""
SMALL_PRIORS: dict[str, dict[str, Any]] = {
    "mixture-of-gaussians": {"num_components": 6},
    "vamp": {"num_components": 6},
    "flow": {"num_transforms": 2, "hidden": [12]},
    "maf": {"num_transforms": 2, "hidden": [12]},
    "mixture": {"num_components": 3},
    "transformer": {"width": 8, "num_blocks": 1, "num_heads": 2},
}
CLASSES = ("cat", "dog", "owl")
REGISTRIES = (ENCODERS, DECODERS, LIKELIHOODS, POSTERIORS, PRIORS)
TRAINED_PRIORS = tuple(name for name in PRIORS if PRIORS[name].has_density)  # type: ignore[attr-defined]
"""The priors that are trained with the model; the others are fitted afterwards (tests/test_fitted_priors.py)."""
CHOICES = (*(tuple(each) for each in REGISTRIES[:-1]), TRAINED_PRIORS, (None, CLASSES), tuple(OBJECTIVES))
LADDER, RESIDUAL = "ladder", "residual"
OTHERS = tuple(tuple(name for name in names if name not in (LADDER, RESIDUAL)) for names in CHOICES)
EXCLUDED: set[tuple[tuple[int, object], tuple[int, object]]] = {
    ((3, "flow"), (4, "vamp")),
    *(((0, other), (1, LADDER)) for other in OTHERS[0]),
    *(((0, other), (3, RESIDUAL)) for other in OTHERS[0]),
    *(((1, LADDER), (3, other)) for other in OTHERS[3]),
    *(((1, other), (3, RESIDUAL)) for other in OTHERS[1]),
    ((1, LADDER), (6, "wake-sleep")),
    ((3, RESIDUAL), (6, "wake-sleep")),
    *(((3, name), (6, "wake-sleep")) for name in DISCRETE),
    *(((4, prior), (6, "wake-sleep")) for prior in CODE_PRIORS),
    *(((3, name), (4, prior)) for name in POSTERIORS for prior in PRIORS if (name in DISCRETE) != (prior in CODE_PRIORS)),
    *(((1, LADDER), (4, prior)) for prior in CODE_PRIORS),
    ((0, "autoencoder-kl"), (4, "transformer")),
}
"""Excluded pairs: the VampPrior needs a Gaussian posterior, a ladder its own encoder and posterior, codes a prior over
codes, wake-sleep one layer and a density q(z|x). One point of maps, as the small autoencoder-kl has, is no sequence."""

Pair = tuple[tuple[int, object], tuple[int, object]]


def pairs(combination: tuple[object, ...]) -> set[Pair]:
    """All pairs of choices of a combination, each choice with its index."""
    return set(itertools.combinations(enumerate(combination), 2))


def covering(combinations: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """A subset of combinations that contains every pair of choices: greedily, the combination with the most new pairs."""
    remaining = set().union(*map(pairs, combinations))
    subset = []
    while remaining:
        subset.append(max(combinations, key=lambda combination: len(pairs(combination) & remaining)))
        remaining -= pairs(subset[-1])
    return subset


COMBINATIONS = covering([each for each in itertools.product(*CHOICES) if not pairs(each) & EXCLUDED])


def make_vae(
    encoder: str = "mlp",
    decoder: str = "mlp",
    likelihood: str = "bernoulli",
    posterior: str | None = None,
    prior: str = "standard-normal",
    classes: Sequence[str] | None = None,
    shape: tuple[int, int, int] = (2, 6, 5),
    encoder_options: dict[str, object] = {},
    prior_options: dict[str, object] = {},
    decoder_options: dict[str, object] = {},
    posterior_options: dict[str, object] = {},
    latent_dim: int = 3,
    **arguments: object,
) -> VAE:
    posterior = posterior or (RESIDUAL if decoder == LADDER else "diagonal-gaussian")
    small_posteriors = SMALL_POSTERIORS | (ONE_POINT if encoder == "autoencoder-kl" else {})
    config = VAEConfig(
        shape=shape,
        latent_dim=None if decoder == LADDER else latent_dim,
        encoder={"name": encoder, **SMALL_ENCODERS[encoder], **encoder_options},
        decoder={"name": decoder, **SMALL_DECODERS[decoder], **decoder_options},
        likelihood={"name": likelihood, **arguments},
        posterior={"name": posterior, **small_posteriors.get(posterior, {}), **posterior_options},
        prior={"name": prior, **SMALL_PRIORS.get(prior, {}), **prior_options},
        condition=None if classes is None else {"name": "class-label", "classes": list(classes)},
    )
    return build_vae(config)


def make_objective(name: str, model: VAE) -> Objective:
    """An objective of two samples for each image, prepared for a model."""
    objective = OBJECTIVES[name](num_samples=2, **SMALL_OBJECTIVES.get(name, {}))
    assert isinstance(objective, Objective)
    objective.prepare(model, ImageSet(torch.zeros(1, *model.shape, dtype=torch.uint8)))
    return objective


def pixels(num: int, shape: tuple[int, int, int] = (2, 6, 5)) -> torch.Tensor:
    return torch.randint(0, 256, (num, *shape), dtype=torch.uint8)


def test_every_pair_of_choices_is_among_the_combinations() -> None:
    covered = set().union(*map(pairs, COMBINATIONS))
    for (i, first), (j, second) in itertools.combinations(enumerate(CHOICES), 2):
        for pair in itertools.product(first, second):
            both = ((i, pair[0]), (j, pair[1]))
            assert (both in covered) != (both in EXCLUDED), both
    assert len(COMBINATIONS) < 2 * max(map(len, CHOICES)) ** 2


@pytest.mark.parametrize(("encoder", "decoder", "likelihood", "posterior", "prior", "classes", "objective"), COMBINATIONS)
def test_every_combination_trains_saves_and_loads(
    encoder: str,
    decoder: str,
    likelihood: str,
    posterior: str,
    prior: str,
    classes: Sequence[str] | None,
    objective: str,
    tmp_path: Path,
) -> None:
    model = make_vae(encoder, decoder, likelihood, posterior, prior, classes)
    labels = None if classes is None else torch.tensor([0, 1, 2, 1])
    x = pixels(4)
    criterion = make_objective(objective, model)
    before = criterion(model(x, labels, criterion.num_samples), StepContext()).value
    lr = 0.001 if decoder == "autoencoder-kl" else 0.01  # its images are clipped: a larger step overshoots
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(20):
        optimizer.zero_grad()
        loss = criterion(model(x, labels, criterion.num_samples), StepContext()).value
        loss.backward()
        optimizer.step()
    assert loss < before
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name

    save_vae(model, tmp_path)
    loaded = load_vae(tmp_path)
    assert describe_vae(loaded) == describe_vae(model)
    for (name, saved), (_, read) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(saved, read), name
    torch.manual_seed(3)
    expected = model.elbo(x, labels)
    torch.manual_seed(3)
    assert torch.equal(loaded.elbo(x, labels), expected)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [pair for pair in itertools.product(ENCODERS, DECODERS) if ((0, pair[0]), (1, pair[1])) not in EXCLUDED],
)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 7), (1, 5, 2), (3, 13, 29), (1, 28, 28), (3, 64, 48)])
def test_any_shape_and_a_batch_of_one(encoder: str, decoder: str, shape: tuple[int, int, int]) -> None:
    points = math.prod(latent_size(shape, 4)) if "autoencoder-kl" in (encoder, decoder) else 1
    model = make_vae(encoder, decoder, shape=shape, latent_dim=3 * points)
    x = pixels(1, shape)
    terms = model(x, num_samples=2)
    assert terms.px.mean.shape == (2, 1, *shape)
    assert terms.log_px[0, 0].item() == pytest.approx(terms.px.log_prob(x.float() / 255)[0, 0].item())
    assert model.sample(3).shape == (3, *shape)
    assert model.sample(3).min() >= 0
    assert model.sample(3).max() <= 1
    assert torch.isfinite(model.log_likelihood(x, num_samples=3)).all()


def test_an_image_does_not_depend_on_the_others_of_its_batch() -> None:
    """Batch normalization would fail here, in training and in evaluation (a known fault of other code)."""
    model, x = make_vae("conv", "conv").train(), pixels(6)
    together = model.encode(x).mean
    torch.testing.assert_close(together[:1], model.encode(x[:1]).mean)
    torch.testing.assert_close(together, model.eval().encode(x).mean)


def test_pixel_scale_and_encoder_input() -> None:
    """A uint8 image and the same image as floats in [0, 1] are equal."""
    model, x = make_vae(), pixels(3)
    torch.testing.assert_close(model.encode(x).mean, model.encode(x.float() / 255).mean)


def test_conditional_model_depends_on_its_labels() -> None:
    model, x = make_vae(classes=["cat", "dog", "owl"]), pixels(2)
    cat, dog = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert not torch.allclose(model.encode(x, cat).mean, model.encode(x, dog).mean)
    z = torch.randn(2, 3)
    assert not torch.allclose(model.decode(z, cat).mean, model.decode(z, dog).mean)
    samples = torch.randn(4, 2, 3)
    torch.testing.assert_close(
        model.decode(samples, torch.tensor([0, 1])).mean[2], model.decode(samples[2], torch.tensor([0, 1])).mean
    )


def test_context_of_a_label_has_unit_mean_square() -> None:
    context = ClassLabel(["cat", "dog", "owl", "cow"])(torch.tensor([2, 0]))
    assert context.tolist() == [[0, 0, 2, 0], [2, 0, 0, 0]]
    assert (context**2).mean(-1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "label"), (torch.tensor([0, 3]), "0 to 2"), (torch.tensor([0]), "1 label for 2 images")],
)
def test_wrong_labels_are_refused(labels: torch.Tensor | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make_vae(classes=["cat", "dog", "owl"]).reconstruct(pixels(2), labels)


def test_a_label_for_an_unconditional_model_is_refused() -> None:
    with pytest.raises(ModelError, match="not conditional"):
        make_vae().sample(1, torch.tensor([0]))


def test_an_image_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(B, 2, 6, 5\).*\(1, 1, 6, 5\)"):
        make_vae().elbo(pixels(1, (1, 6, 5)))


def test_parts_that_do_not_match_are_refused() -> None:
    shape = (1, 4, 4)
    encoder, posterior, prior = MLPEncoder(shape, hidden=[5]), DiagonalGaussian(5, 2), StandardNormal(2)
    with pytest.raises(ModelError, match=r"encoder.*decoder.*shape"):
        VAE(encoder, posterior, prior, MLPDecoder(2, (1, 5, 5)), Bernoulli())
    with pytest.raises(ModelError, match=r"2 maps.*num_maps"):
        VAE(encoder, posterior, prior, MLPDecoder(2, shape), Gaussian("pixel"))
    with pytest.raises(ModelError, match="context_dim"):
        VAE(encoder, posterior, prior, MLPDecoder(2, shape, context_dim=4), Bernoulli())


def test_inference_restores_the_mode_and_leaves_no_gradient() -> None:
    model = make_vae().train()
    out = model.reconstruct(pixels(2))
    assert model.training
    assert not out.requires_grad
    assert not make_vae().eval().sample(2).requires_grad
    assert model.encode(pixels(2)).mean.requires_grad  # outside of inference there is a gradient


def test_reconstruction_is_the_mean_image_at_the_posterior_mean() -> None:
    model, x = make_vae(), pixels(4)
    expected = model.decode(model.encode(x).mean).mean
    torch.testing.assert_close(model.reconstruct(x), expected)
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))


def test_interpolation_decodes_the_line_between_posterior_means() -> None:
    model, x = make_vae(), pixels(2)
    strip = model.interpolate(x[0], x[1], steps=5)
    first, last = model.encode(x).mean
    for index, weight in enumerate((0, 0.25, 0.5, 0.75, 1)):
        torch.testing.assert_close(strip[index], model.decode((first + weight * (last - first)).unsqueeze(0)).mean[0])
    torch.testing.assert_close(strip[[0, -1]], model.reconstruct(x))


def test_temperature_scales_the_prior() -> None:
    model = make_vae()
    torch.testing.assert_close(model.sample(2, temperature=0.0), model.decode(torch.zeros(2, 3)).mean.detach())
    torch.manual_seed(5)
    z = torch.randn(4, 3)
    torch.manual_seed(5)
    torch.testing.assert_close(model.sample(4, temperature=0.5), model.decode(0.5 * z).mean.detach())


def test_networks_in_bfloat16_keep_densities_in_float32() -> None:
    model, x = make_vae("conv", "conv"), pixels(4)
    with torch.autocast("cpu", torch.bfloat16):
        terms = model(x)
    assert terms.log_px.dtype == terms.rate().dtype == terms.log_weights().dtype == torch.float32
    assert abs(terms.log_px.mean() - model(x).log_px.mean()) < 1


def test_a_config_can_only_name_registered_parts(tmp_path: Path) -> None:
    save_vae(make_vae(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder"] = {"name": "os.system", "command": "true"}
    forge_config(tmp_path, config)
    with pytest.raises(ConfigError, match=r"encoder.name.*os.system"):
        load_vae(tmp_path)


def test_a_registered_class_of_the_user_is_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(MLPEncoder):
        pass

    model = VAE(
        Mine((1, 4, 4), hidden=[5]), DiagonalGaussian(5, 2), StandardNormal(2), MLPDecoder(2, (1, 4, 4)), Bernoulli()
    )
    with pytest.raises(ConfigError, match="Mine"):
        save_vae(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.setitem(ENCODERS, "mine", Mine)
    save_vae(model, tmp_path / "a")
    assert isinstance(load_vae(tmp_path / "a").encoder, Mine)
