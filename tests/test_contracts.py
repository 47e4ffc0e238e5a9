"""Contracts: every combination of parts builds, learns, saves and loads; any shape, any batch."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from vaekit.core.errors import ConfigError, ModelError
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS, Bernoulli, DiagonalGaussian, Gaussian, StandardNormal
from vaekit.models import VAE, ClassLabel, VAEConfig, build_vae, describe_vae, load_vae, save_vae
from vaekit.networks import DECODERS, ENCODERS, ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from vaekit.networks.conv import Attention, ResidualBlock, pyramid
from vaekit.objectives import OBJECTIVES

SMALL = {"mlp": {"hidden": [11, 9], "activation": "silu"}, "conv": {"channels": [3, 5], "blocks": [1, 1], "hidden": 8}}
SMALL_POSTERIORS = {"flow": {"summary": 5, "num_transforms": 2, "hidden": [12]}}
SMALL_PRIORS = {
    "mixture-of-gaussians": {"num_components": 6},
    "vamp": {"num_components": 6},
    "flow": {"num_transforms": 2, "hidden": [12]},
}
CLASSES = ("cat", "dog", "owl")
TABLES = (ENCODERS, DECODERS, LIKELIHOODS, POSTERIORS, PRIORS)
AXES = (*map(tuple, TABLES), (None, CLASSES), tuple(OBJECTIVES))
REFUSED = {((3, "flow"), (4, "vamp"))}
"""What does not go together: a VampPrior is made of Gaussians."""

Pair = tuple[tuple[int, object], tuple[int, object]]


def pairs(combination: tuple[object, ...]) -> set[Pair]:
    """The choices of a combination, two by two, each with its axis."""
    return set(itertools.combinations(enumerate(combination), 2))


def thin(everything: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Combinations among which every pair of choices occurs: one after the other, the one with the most new pairs."""
    left = set().union(*map(pairs, everything))
    chosen = []
    while left:
        chosen.append(max(everything, key=lambda combination: len(pairs(combination) & left)))
        left -= pairs(chosen[-1])
    return chosen


COMBINATIONS = thin([each for each in itertools.product(*AXES) if not pairs(each) & REFUSED])


def make_vae(
    encoder: str = "mlp",
    decoder: str = "mlp",
    likelihood: str = "bernoulli",
    posterior: str = "diagonal-gaussian",
    prior: str = "standard-normal",
    classes: Sequence[str] | None = None,
    shape: tuple[int, int, int] = (2, 6, 5),
    encoder_options: dict[str, object] = {},
    prior_options: dict[str, object] = {},
    **arguments: object,
) -> VAE:
    config = VAEConfig(
        shape=shape,
        latent_dim=3,
        encoder={"name": encoder, **SMALL[encoder], **encoder_options},
        decoder={"name": decoder, **SMALL[decoder]},
        likelihood={"name": likelihood, **arguments},
        posterior={"name": posterior, **SMALL_POSTERIORS.get(posterior, {})},
        prior={"name": prior, **SMALL_PRIORS.get(prior, {}), **prior_options},
        condition=None if classes is None else {"name": "class-label", "classes": list(classes)},
    )
    return build_vae(config)


def pixels(num: int, shape: tuple[int, int, int] = (2, 6, 5)) -> torch.Tensor:
    return torch.randint(0, 256, (num, *shape), dtype=torch.uint8)


def test_every_pair_of_choices_is_among_the_combinations() -> None:
    covered = set().union(*map(pairs, COMBINATIONS))
    for (i, first), (j, second) in itertools.combinations(enumerate(AXES), 2):
        for pair in itertools.product(first, second):
            both = ((i, pair[0]), (j, pair[1]))
            assert (both in covered) != (both in REFUSED), both
    assert len(COMBINATIONS) < 2 * max(map(len, AXES)) ** 2


@pytest.mark.parametrize(("encoder", "decoder", "likelihood", "posterior", "prior", "classes", "objective"), COMBINATIONS)
def test_every_combination_learns_saves_and_loads(
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
    asked = OBJECTIVES[objective](num_samples=2)
    before = asked(model(x, labels, asked.num_samples), 0.0).value
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        loss = asked(model(x, labels, asked.num_samples), 0.0).value
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


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 7), (1, 5, 2), (3, 13, 29), (1, 28, 28), (3, 64, 48)])
def test_any_shape_and_a_batch_of_one(encoder: str, decoder: str, shape: tuple[int, int, int]) -> None:
    model = make_vae(encoder, decoder, shape=shape)
    x = pixels(1, shape)
    terms = model(x, num_samples=2)
    assert terms.px.mean.shape == (2, 1, *shape)
    assert terms.log_px[0, 0].item() == pytest.approx(terms.px.log_prob(x.float() / 255)[0, 0].item())
    assert model.sample(3).shape == (3, *shape)
    assert model.sample(3).min() >= 0
    assert model.sample(3).max() <= 1
    assert torch.isfinite(model.log_likelihood(x, num_samples=3)).all()


@pytest.mark.parametrize("side", [(8, 8), (9, 33), (100, 60), (257, 64)])
@pytest.mark.parametrize("hidden", [16, None])
def test_depth_follows_the_size_and_latents_may_keep_their_place(side: tuple[int, int], hidden: int | None) -> None:
    shape = (3, *side)
    arguments = {
        "channels": [4, 6],
        "blocks": [0, 1],
        "hidden": hidden,
        "min_resolution": 8,
        "attention": 8,
        "checkpoint": True,
    }
    encoder = ConvEncoder(shape, **arguments)
    height, width = pyramid(shape, len(encoder.levels.ends))[-1]
    assert max(height, width) <= 8 < max(2 * height, 2 * width) + 8 * (max(side) <= 8)
    latent_dim = 2 * height * width
    decoder = ConvDecoder(latent_dim, shape, **arguments)
    posterior = DiagonalGaussian(encoder.num_features, latent_dim)
    model = VAE(encoder, posterior, StandardNormal(latent_dim), decoder, Gaussian())
    x = pixels(2, shape)
    terms = model(x)
    assert terms.latents[0].z.shape == (1, 2, latent_dim)
    (-terms.log_weights()).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert model.sample(1).shape == (1, *shape)


def test_latents_that_keep_their_place_see_only_what_is_near_it() -> None:
    shape, arguments = (1, 64, 64), {"channels": [4, 8, 8], "blocks": [0, 0, 0], "hidden": None, "norm": "none"}
    encoder, decoder = ConvEncoder(shape, **arguments), ConvDecoder(3 * 256, shape, **arguments)
    posterior = DiagonalGaussian(encoder.num_features, 3 * 256)
    x = torch.rand(1, *shape)
    changed = x.clone()
    changed[..., :8, :8] = 0
    moved = (posterior(encoder(changed)).mean - posterior(encoder(x)).mean).reshape(3, 16, 16).abs().sum(0)
    assert moved[0, 0] > 0
    assert moved[4:].sum() + moved[:, 4:].sum() == 0
    z = torch.randn(1, 3, 16, 16)
    other = z.clone()
    other[..., 15, 15] += 1
    drawn = (decoder(other.flatten(1)) - decoder(z.flatten(1))).abs()[0, 0]
    assert drawn[-1, -1] > 0
    assert drawn[:40].sum() + drawn[:, :40].sum() == 0


def test_latents_that_do_not_fit_their_maps_are_refused() -> None:
    encoder = ConvEncoder((1, 16, 16), channels=[4, 4], blocks=[0, 0], hidden=None)
    assert encoder.num_features == (4, 8, 8)
    with pytest.raises(ConfigError, match=r"latent_dim 65.*maps of 8x8.*multiple of 64"):
        DiagonalGaussian(encoder.num_features, 65)
    with pytest.raises(ConfigError, match=r"latent_dim 65.*maps of 8x8.*multiple of 64"):
        ConvDecoder(65, (1, 16, 16), channels=[4, 4], blocks=[0, 0], hidden=None)


def test_context_joins_networks_whose_latents_keep_their_place() -> None:
    shape, arguments = (1, 8, 8), {"channels": [4, 4], "blocks": [0, 0], "hidden": None}
    encoder, decoder = ConvEncoder(shape, 3, **arguments), ConvDecoder(16, shape, context_dim=3, **arguments)
    x, z, context = torch.rand(2, *shape), torch.randn(2, 16), torch.eye(3)[:2]
    assert not torch.allclose(encoder(x, context), encoder(x, context.flip(0)))
    assert not torch.allclose(decoder(z, context), decoder(z, context.flip(0)))


def test_computing_maps_again_changes_nothing_but_memory() -> None:
    shape, arguments = (3, 33, 20), {"channels": [4, 6, 6], "blocks": [1, 1, 1], "hidden": 12, "attention": 9}
    kept, again = (ConvEncoder(shape, checkpoint=checkpoint, **arguments) for checkpoint in (False, True))
    again.load_state_dict(kept.state_dict())
    x = torch.rand(2, *shape)
    saved: list[int] = []
    for network in (kept, again):
        num = 0

        def note(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal num
            num += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = network(x).square().sum()
        saved.append(num)
        loss.backward()
    assert saved[1] < saved[0] / 3
    for (name, a), (_, b) in zip(kept.named_parameters(), again.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_attention_mixes_all_points_and_begins_as_nothing() -> None:
    attention = Attention(128)
    x = torch.randn(2, 128, 5, 3)
    torch.testing.assert_close(attention(x), x + attention.correction.bias.reshape(1, -1, 1, 1))
    torch.nn.init.normal_(attention.correction.weight)
    assert attention.num_heads == 2
    changed = x.clone()
    changed[..., 0, 0] += 1
    assert ((attention(changed) - attention(x)).abs().sum(1)[:, 4, 2] > 0).all()
    heads = attention.ask(attention.normalized(x)).flatten(2).reshape(2, 3, 2, 64, 15)
    query, key, value = heads.unbind(1)
    weights = (query.transpose(-1, -2) @ key / 8).softmax(-1)  # (B, heads, points, points)
    answer = (value @ weights.transpose(-1, -2)).reshape(2, 128, 5, 3)
    torch.testing.assert_close(attention(x), x + attention.correction(answer))


def test_norm_none_has_no_normalization() -> None:
    model = ConvEncoder((1, 8, 8), channels=[4, 4], blocks=[1, 1], norm="none", attention=8)
    assert not [module for module in model.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert [module for module in ConvEncoder((1, 8, 8)).modules() if isinstance(module, torch.nn.GroupNorm)]


def test_pyramid_halves_and_rounds_up() -> None:
    assert pyramid((1, 28, 28), 3) == [(28, 28), (14, 14), (7, 7)]
    assert pyramid((3, 5, 200), 5) == [(5, 200), (3, 100), (2, 50), (1, 25), (1, 13)]
    with pytest.raises(ConfigError, match="3 and 2 levels"):
        ConvEncoder((1, 8, 8), channels=[1, 2, 3], blocks=[1, 1])


def test_a_image_does_not_depend_on_the_others_of_its_batch() -> None:
    """Batch normalization would fail here, in training and in evaluation (a fault of the field's code)."""
    model, x = make_vae("conv", "conv").train(), pixels(6)
    together = model.encode(x).mean
    torch.testing.assert_close(together[:1], model.encode(x[:1]).mean)
    torch.testing.assert_close(together, model.eval().encode(x).mean)


def test_pixel_scale_and_encoder_input() -> None:
    """uint8 and its float on the unit interval are the same image."""
    model, x = make_vae(), pixels(3)
    torch.testing.assert_close(model.encode(x).mean, model.encode(x.float() / 255).mean)


def test_conditional_model_listens_to_its_label() -> None:
    model, x = make_vae(classes=["cat", "dog", "owl"]), pixels(2)
    cat, dog = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert not torch.allclose(model.encode(x, cat).mean, model.encode(x, dog).mean)
    z = torch.randn(2, 3)
    assert not torch.allclose(model.decode(z, cat).mean, model.decode(z, dog).mean)
    many = torch.randn(4, 2, 3)
    torch.testing.assert_close(
        model.decode(many, torch.tensor([0, 1])).mean[2], model.decode(many[2], torch.tensor([0, 1])).mean
    )


def test_a_label_is_as_long_as_a_latent() -> None:
    context = ClassLabel(["cat", "dog", "owl", "cow"])(torch.tensor([2, 0]))
    assert context.tolist() == [[0, 0, 2, 0], [2, 0, 0, 0]]
    assert (context**2).mean(-1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "give it the label"), (torch.tensor([0, 3]), "from 0 to 2"), (torch.tensor([0]), "1 labels for 2 images")],
)
def test_wrong_labels_are_refused(labels: torch.Tensor | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make_vae(classes=["cat", "dog", "owl"]).reconstruct(pixels(2), labels)


def test_a_label_for_an_unconditional_model_is_refused() -> None:
    with pytest.raises(ModelError, match="not conditional"):
        make_vae().sample(1, torch.tensor([0]))


def test_a_image_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match=r"reads images of shape \(2, 6, 5\), got \(1, 6, 5\)"):
        make_vae().elbo(pixels(1, (1, 6, 5)))


def test_parts_that_do_not_fit_are_refused() -> None:
    shape = (1, 4, 4)
    encoder, posterior, prior = MLPEncoder(shape, hidden=[5]), DiagonalGaussian(5, 2), StandardNormal(2)
    with pytest.raises(ModelError, match="one shape"):
        VAE(encoder, posterior, prior, MLPDecoder(2, (1, 5, 5)), Bernoulli())
    with pytest.raises(ModelError, match="reads 2 maps of parameters and the decoder draws 1"):
        VAE(encoder, posterior, prior, MLPDecoder(2, shape), Gaussian("pixel"))
    with pytest.raises(ModelError, match="context_dim"):
        VAE(encoder, posterior, prior, MLPDecoder(2, shape, context_dim=4), Bernoulli())


def test_callers_lists_are_left_alone() -> None:
    channels, hidden = [3, 5, 7], [9, 8]
    ConvEncoder((1, 8, 8), channels=channels), ConvDecoder(2, (1, 8, 8), channels=channels)
    MLPEncoder((1, 8, 8), hidden=hidden), MLPDecoder(2, (1, 8, 8), hidden=hidden)
    assert (channels, hidden) == ([3, 5, 7], [9, 8])


def test_inference_restores_the_mode_and_leaves_no_gradient() -> None:
    model = make_vae().train()
    out = model.reconstruct(pixels(2))
    assert model.training
    assert not out.requires_grad
    assert not make_vae().eval().sample(2).requires_grad
    assert model.encode(pixels(2)).mean.requires_grad  # what the model says keeps its gradient


def test_reconstruction_is_the_mean_of_the_mean() -> None:
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


def test_a_config_names_only_what_stands_in_tables(tmp_path: Path) -> None:
    save_vae(make_vae(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder"] = {"name": "os.system", "command": "true"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"encoder.name: unknown name 'os.system'"):
        load_vae(tmp_path)


def test_a_part_of_ones_own_goes_into_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(MLPEncoder):
        pass

    model = VAE(
        Mine((1, 4, 4), hidden=[5]), DiagonalGaussian(5, 2), StandardNormal(2), MLPDecoder(2, (1, 4, 4)), Bernoulli()
    )
    with pytest.raises(ConfigError, match="Mine stands in no table"):
        save_vae(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.setitem(ENCODERS, "mine", Mine)
    save_vae(model, tmp_path / "a")
    assert isinstance(load_vae(tmp_path / "a").encoder, Mine)


@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 8), 3), ((3, 28, 20), 3), ((1, 96, 33), 5), ((3, 130, 7), 6)])
def test_pyramid_goes_on_until_the_image_is_small(shape: tuple[int, int, int], levels: int) -> None:
    options = {"channels": [4, 8, 8], "blocks": [0, 0, 1], "hidden": 16, "min_resolution": 8}
    encoder, decoder = ConvEncoder(shape, **options), ConvDecoder(2, shape, **options)
    sizes = pyramid(shape, levels)
    assert max(sizes[-1]) <= 8
    assert levels == 3 or max(sizes[-2]) > 8
    assert encoder.collect.in_features == 8 * sizes[-1][0] * sizes[-1][1]
    blocks = [sum(isinstance(layer, ResidualBlock) for layer in part.levels) for part in (encoder, decoder)]
    assert blocks == [levels - 2] * 2
    x = torch.rand(2, *shape)
    z = encoder(x)[:, :2]
    drawn = decoder(z)
    assert drawn.shape == (2, *shape)
    drawn.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.collect.parameters())
