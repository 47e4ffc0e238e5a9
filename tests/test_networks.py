"""Encoders and decoders: levels, spatial latents, attention, gradient checkpointing, gated layers, data of any shape."""

import json

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Laplace

from tests.oracles import documented_class
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError
from vaekit.distributions import DiagonalGaussian, Gaussian, StandardNormal, likelihoods
from vaekit.models import VAE, describe_vae
from vaekit.networks import DECODERS, ENCODERS, ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from vaekit.networks.conv import level_sizes
from vaekit.networks.conv_layers import Attention, ResidualBlock

SHAPE = (1, 4, 3)


@pytest.mark.parametrize("side", [(8, 8), (9, 33), (100, 60), (257, 64)])
@pytest.mark.parametrize("hidden", [16, None])
def test_depth_depends_on_the_size_with_and_without_spatial_latents(side: tuple[int, int], hidden: int | None) -> None:
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
    height, width = level_sizes(shape, len(encoder.levels.ends))[-1]
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


def test_spatial_latents_depend_on_and_change_only_pixels_near_them() -> None:
    shape, arguments = (1, 64, 64), {"channels": [4, 8, 8], "blocks": [0, 0, 0], "hidden": None, "norm": "none"}
    encoder, decoder = ConvEncoder(shape, **arguments), ConvDecoder(3 * 256, shape, **arguments)
    posterior = DiagonalGaussian(encoder.num_features, 3 * 256)
    x = torch.rand(1, *shape)
    changed = x.clone()
    changed[..., :8, :8] = 0
    change = (posterior(encoder(changed)).mean - posterior(encoder(x)).mean).reshape(3, 16, 16).abs().sum(0)
    assert change[0, 0] > 0
    assert change[4:].sum() + change[:, 4:].sum() == 0
    z = torch.randn(1, 3, 16, 16)
    other = z.clone()
    other[..., 15, 15] += 1
    change = (decoder(other.flatten(1)) - decoder(z.flatten(1))).abs()[0, 0]
    assert change[-1, -1] > 0
    assert change[:40].sum() + change[:, :40].sum() == 0


def test_spatial_latents_need_a_multiple_of_the_points_of_the_maps() -> None:
    encoder = ConvEncoder((1, 16, 16), channels=[4, 4], blocks=[0, 0], hidden=None)
    assert encoder.num_features == (4, 8, 8)
    with pytest.raises(ConfigError, match=r"latent_dim 65.*multiple of 64"):
        DiagonalGaussian(encoder.num_features, 65)
    with pytest.raises(ConfigError, match=r"latent_dim 65.*multiple of 64"):
        ConvDecoder(65, (1, 16, 16), channels=[4, 4], blocks=[0, 0], hidden=None)


def test_networks_with_spatial_latents_depend_on_the_context() -> None:
    shape, arguments = (1, 8, 8), {"channels": [4, 4], "blocks": [0, 0], "hidden": None}
    encoder, decoder = ConvEncoder(shape, 3, **arguments), ConvDecoder(16, shape, context_dim=3, **arguments)
    x, z, context = torch.rand(2, *shape), torch.randn(2, 16), torch.eye(3)[:2]
    assert not torch.allclose(encoder(x, context), encoder(x, context.flip(0)))
    assert not torch.allclose(decoder(z, context), decoder(z, context.flip(0)))


def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradient() -> None:
    shape, arguments = (3, 33, 20), {"channels": [4, 6, 6], "blocks": [1, 1, 1], "hidden": 12, "attention": 9}
    plain, checkpointed = (ConvEncoder(shape, checkpoint=checkpoint, **arguments) for checkpoint in (False, True))
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.rand(2, *shape)
    saved: list[int] = []
    for network in (plain, checkpointed):
        num = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal num
            num += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = network(x).square().sum()
        saved.append(num)
        loss.backward()
    assert saved[1] < saved[0] / 3
    for (name, a), (_, b) in zip(plain.named_parameters(), checkpointed.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_attention_mixes_all_points_and_is_the_identity_at_initialization() -> None:
    attention = Attention(128)
    x = torch.randn(2, 128, 5, 3)
    torch.testing.assert_close(attention(x), x + attention.out.bias.reshape(1, -1, 1, 1))
    nn.init.normal_(attention.out.weight)
    assert attention.num_heads == 2
    changed = x.clone()
    changed[..., 0, 0] += 1
    assert ((attention(changed) - attention(x)).abs().sum(1)[:, 4, 2] > 0).all()
    qkv = attention.qkv(attention.norm(x)).flatten(2).reshape(2, 3, 2, 64, 15)
    q, k, v = qkv.unbind(1)
    weights = (q.transpose(-1, -2) @ k / 8).softmax(-1)  # (B, heads, points, points)
    values = (v @ weights.transpose(-1, -2)).reshape(2, 128, 5, 3)
    torch.testing.assert_close(attention(x), x + attention.out(values))


def test_networks_with_norm_none_have_no_normalization() -> None:
    model = ConvEncoder((1, 8, 8), channels=[4, 4], blocks=[1, 1], norm="none", attention=8)
    assert not [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    assert [module for module in ConvEncoder((1, 8, 8)).modules() if isinstance(module, nn.GroupNorm)]


def test_each_level_has_half_the_size_of_the_previous_one() -> None:
    assert level_sizes((1, 28, 28), 3) == [(28, 28), (14, 14), (7, 7)]
    assert level_sizes((3, 5, 200), 5) == [(5, 200), (3, 100), (2, 50), (1, 25), (1, 13)]
    with pytest.raises(ConfigError, match=r"channels.*blocks.*levels"):
        ConvEncoder((1, 8, 8), channels=[1, 2, 3], blocks=[1, 1])


def test_networks_do_not_change_the_lists_of_their_arguments() -> None:
    channels, hidden = [3, 5, 7], [9, 8]
    ConvEncoder((1, 8, 8), channels=channels), ConvDecoder(2, (1, 8, 8), channels=channels)
    MLPEncoder((1, 8, 8), hidden=hidden), MLPDecoder(2, (1, 8, 8), hidden=hidden)
    assert (channels, hidden) == ([3, 5, 7], [9, 8])


@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 8), 3), ((3, 28, 20), 3), ((1, 96, 33), 5), ((3, 130, 7), 6)])
def test_the_last_level_is_repeated_until_the_minimal_resolution(shape: tuple[int, int, int], levels: int) -> None:
    options = {"channels": [4, 8, 8], "blocks": [0, 0, 1], "hidden": 16, "min_resolution": 8}
    encoder, decoder = ConvEncoder(shape, **options), ConvDecoder(2, shape, **options)
    sizes = level_sizes(shape, levels)
    assert max(sizes[-1]) <= 8
    assert levels == 3 or max(sizes[-2]) > 8
    assert encoder.output.in_features == 8 * sizes[-1][0] * sizes[-1][1]
    blocks = [sum(isinstance(layer, ResidualBlock) for layer in part.levels) for part in (encoder, decoder)]
    assert blocks == [levels - 2] * 2
    x = torch.rand(2, *shape)
    z = encoder(x)[:, :2]
    parameters = decoder(z)
    assert parameters.shape == (2, *shape)
    parameters.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.output.parameters())


def test_a_gated_layer_equals_its_formula() -> None:
    encoder = MLPEncoder(SHAPE, hidden=[7, 5], activation="gated")
    x = torch.rand(3, *SHAPE)
    h = x.flatten(1)
    for layer in (encoder.layers[0], encoder.layers[2]):
        (weight, gate), (bias, other) = layer.weight.chunk(2), layer.bias.chunk(2)
        h = (h @ weight.T + bias) * torch.sigmoid(h @ gate.T + other)
    torch.testing.assert_close(encoder(x), h)
    assert encoder.num_features == h.shape[1] == 5
    decoder = MLPDecoder(2, SHAPE, hidden=[6], activation="gated")
    assert decoder.layers[0].out_features == 12
    assert decoder(torch.randn(3, 2)).shape == (3, *SHAPE)


def test_only_fully_connected_networks_may_be_gated() -> None:
    model = make_vae(encoder_options={"activation": "gated"})
    assert describe_vae(model).encoder["activation"] == "gated"
    assert json.loads(describe_vae(model).model_dump_json())["decoder"]["activation"] == "silu"
    with pytest.raises(ConfigError, match=r"model.encoder.activation.*'gated'"):
        make_vae("conv", encoder_options={"activation": "gated"})


@pytest.mark.parametrize("shape", [(20,), (4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("context_dim", [0, 3])
def test_fully_connected_networks_are_those_of_flat_data(shape: tuple[int, ...], context_dim: int) -> None:
    """The output of a decoder has the shape of the data, whose first axis is replaced by the parameter maps."""
    size = torch.Size(shape).numel()
    encoder, flat_encoder = MLPEncoder(shape, context_dim, hidden=[7, 6]), MLPEncoder((size,), context_dim, hidden=[7, 6])
    decoder, flat_decoder = (
        MLPDecoder(2, s, num_maps=num_maps, context_dim=context_dim, hidden=[7])
        for s, num_maps in [(shape, 2 * shape[0]), ((size,), 2 * size)]
    )
    flat_encoder.load_state_dict(encoder.state_dict())
    flat_decoder.load_state_dict(decoder.state_dict())
    x, z, context = torch.rand(3, *shape), torch.randn(3, 2), torch.randn(3, context_dim) if context_dim else None
    assert torch.equal(encoder(x, context), flat_encoder(x.flatten(1), context))
    parameters = decoder(z, context)
    assert parameters.shape == (3, 2 * shape[0], *shape[1:])
    assert torch.equal(parameters.flatten(1), flat_decoder(z, context))
    assert MLPDecoder(2, shape)(z).shape == (3, *shape)


@pytest.mark.parametrize("shape", [(20,), (4, 5)])
def test_convolutional_networks_need_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"shape.*images"):
        ENCODERS["conv"](shape)
    with pytest.raises(ConfigError, match=r"shape.*images"):
        DECODERS["conv"](2, shape)


def test_a_model_of_vectors_learns_their_scale() -> None:
    """Independent Laplace noise: the best expected log-likelihood is the negative entropy, -D (1 + log 2b).

    The likelihood is the example in the documentation.
    """
    likelihood = documented_class(likelihoods, "LaplaceVector")
    torch.manual_seed(0)
    dim, scale = 20, 3.0
    model = VAE(
        MLPEncoder((dim,), hidden=[8]),
        DiagonalGaussian(8, 2),
        StandardNormal(2),
        MLPDecoder(2, (dim,), num_maps=2 * dim, hidden=[8]),
        likelihood(),
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    noise = Laplace(torch.full((dim,), 10.0), scale)
    for _ in range(500):
        terms = model(noise.sample((256,)))
        loss = -terms.log_weights().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = noise.sample((2000,))
    elbo = model.elbo(x)
    expected = -noise.entropy().sum()
    assert elbo.shape == (2000,)
    assert expected - 1 < elbo.mean() < expected + 5 * elbo.std() / 2000**0.5
    torch.testing.assert_close(model.reconstruct(x).mean(0), noise.mean, atol=1.0, rtol=0)
    assert model.sample(3).shape == (3, dim)
