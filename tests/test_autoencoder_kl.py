"""The networks autoencoder-kl: sizes, padding, context, the clipped image and its gradient, training and loading."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.test_contracts import pixels
from vaekit.core.errors import ConfigError
from vaekit.core.terms import StepContext
from vaekit.models import VAE, VAEConfig, build_vae, describe_vae, load_vae, save_vae
from vaekit.networks import AutoencoderKLDecoder, AutoencoderKLEncoder
from vaekit.networks.autoencoder_kl import EPSILON, image_logits, latent_size, padded
from vaekit.networks.autoencoder_kl_layers import SelfAttention
from vaekit.objectives import ELBO

LIKELIHOOD = {"name": "gaussian", "scale": 0.1}


def make_kl(
    shape: tuple[int, int, int] = (3, 16, 16),
    channels: tuple[int, ...] = (8, 16),
    latent_channels: int = 2,
    *,
    layers: int = 1,
    groups: int = 4,
    attention: bool = True,
    features: int | None = None,
    likelihood: dict[str, object] = LIKELIHOOD,
    posterior: str = "diagonal-gaussian",
    classes: tuple[str, ...] = (),
    random_weights: bool = True,
) -> VAE:
    """A model with networks autoencoder-kl; its weights are random, so that no block is the identity."""
    network = {
        "name": "autoencoder-kl",
        "block_out_channels": list(channels),
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "mid_block_add_attention": attention,
    }
    config = VAEConfig(
        shape=shape,
        latent_dim=latent_channels * math.prod(latent_size(shape, len(channels))),
        encoder=network | {"latent_channels": features or latent_channels},
        decoder=network,
        likelihood=likelihood,
        posterior={"name": posterior},
        prior={"name": "standard-normal"},
        condition={"name": "class-label", "classes": list(classes)} if classes else None,
    )
    model = build_vae(config)
    if random_weights:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize(
    ("shape", "levels", "size"),
    [((3, 128, 128), 4, (16, 16)), ((1, 28, 28), 4, (4, 4)), ((1, 28, 20), 3, (7, 5)), ((2, 5, 1), 2, (3, 1))],
)
def test_sides_of_latents(shape: tuple[int, int, int], levels: int, size: tuple[int, int]) -> None:
    assert latent_size(shape, levels) == size
    encoder = AutoencoderKLEncoder(shape, latent_channels=3, block_out_channels=[4] * levels, norm_num_groups=2)
    assert encoder.num_features == (6, *size)
    assert encoder(torch.rand(2, *shape)).shape == (2, 6, *size)
    decoder = AutoencoderKLDecoder(3 * size[0] * size[1], shape, block_out_channels=[4] * levels, norm_num_groups=2)
    assert decoder(torch.randn(2, 3 * size[0] * size[1])).shape == (2, *shape)


def test_an_image_is_padded_by_its_last_row_and_column() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert padded(x, 1) is x
    assert padded(x, 3)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    model, image = make_kl((1, 5, 7)), torch.rand(2, 1, 5, 7)
    larger = make_kl((1, 6, 8))
    larger.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.encode(image).mean, larger.encode(padded(image, 2)).mean)
    z = model.encode(image).mean
    torch.testing.assert_close(model.decode_mean(z), larger.decode_mean(z)[..., :5, :7])


def test_each_block_begins_as_its_shortcut() -> None:
    """The second convolution of a residual block and the output of attention are zero, the other weights are not."""
    model = make_kl(random_weights=False)
    zero = {name for name, value in model.named_parameters() if name.endswith("weight") and not value.any()}
    assert zero == {name for name, _ in model.named_parameters() if name.endswith((".conv2.weight", "to_out.0.weight"))}
    assert len(zero) == 12
    x = torch.randn(2, 8, 4, 4)
    attention = SelfAttention(8, 4)
    torch.testing.assert_close(attention(x), x + attention.to_out[0].bias[:, None, None])


def test_the_mean_is_the_image_clipped_to_the_unit_interval() -> None:
    y = torch.linspace(-3, 3, 1001)
    expected = ((y + 1) / 2).clamp(0, 1)
    assert (image_logits(y).sigmoid() - expected).abs().max() < EPSILON + 1e-7
    inside = y.abs() < 0.999
    torch.testing.assert_close(image_logits(y).sigmoid()[inside], expected[inside], rtol=0, atol=2e-7)
    assert image_logits(y.bfloat16()).dtype == torch.float32
    assert image_logits(y.double()).dtype == torch.float64


def test_a_gradient_passes_unless_it_leads_out_of_the_unit_interval() -> None:
    def gradient(value: float, target: float) -> float:
        y = torch.tensor([value], requires_grad=True)
        (image_logits(y).sigmoid() - target).square().sum().backward()
        assert y.grad is not None
        return y.grad.item()

    assert gradient(0.5, 0.25) == pytest.approx(0.75 - 0.25, rel=1e-5)  # 2 (mean - target) / 2
    assert gradient(2.0, 0.25) == pytest.approx(1 - 0.25, rel=0.05)
    assert gradient(-2.0, 0.25) == pytest.approx(-0.25, rel=0.05)
    assert gradient(2.0, 1.5) == 0
    assert gradient(-2.0, -0.5) == 0


def test_maps_of_other_likelihoods() -> None:
    """With a deviation per pixel its log-variance is linear in the last layer; a mixture has no map that is an image."""
    model = make_kl(likelihood={"name": "gaussian", "scale": "pixel"})
    z = torch.randn(4, model.latent_dim)
    maps = model.decoder.maps(z)  # type: ignore[operator]
    torch.testing.assert_close(model.decode_mean(z), ((maps[:, :3] + 1) / 2).clamp(EPSILON, 1 - EPSILON), rtol=0, atol=1e-6)
    stddev = (1 / 255**2 + maps[:, 3:].exp()).sqrt()
    torch.testing.assert_close(model.decode(z).stddev, stddev)
    mixture = AutoencoderKLDecoder(8, (3, 8, 8), 10, block_out_channels=[8, 16, 16], norm_num_groups=4)
    torch.testing.assert_close(mixture(z[:, :8]), mixture.maps(z[:, :8]))


def test_both_networks_depend_on_the_class() -> None:
    model, x = make_kl(classes=("cat", "dog")), pixels(2, (3, 16, 16))
    cat, dog = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert not torch.allclose(model.encode(x, cat).mean, model.encode(x, dog).mean)
    z = torch.randn(2, model.latent_dim)
    assert not torch.allclose(model.decode_mean(z, cat), model.decode_mean(z, dog))


@pytest.mark.parametrize("likelihood", ["gaussian", "continuous-bernoulli", "bernoulli"])
def test_training_lowers_the_loss_and_a_saved_model_is_equal(likelihood: str, tmp_path: Path) -> None:
    model, x = make_kl(random_weights=False, likelihood={"name": likelihood}).train(), smooth(8)
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(30):
        loss = ELBO()(model(x), StepContext()).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 20
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    save_vae(model, tmp_path)
    loaded = load_vae(tmp_path)
    assert describe_vae(loaded) == describe_vae(model)
    assert torch.equal(loaded.encode(x).mean, model.eval().encode(x).mean)
    assert torch.equal(loaded.decode_mean(loaded.encode(x).mean), model.decode_mean(model.encode(x).mean))


def smooth(num: int) -> Tensor:
    """Images of 3x16x16 with one color each, as uint8."""
    return torch.randint(0, 256, (num, 3, 1, 1), dtype=torch.uint8).expand(num, 3, 16, 16).contiguous()


def test_bfloat16_networks_give_float32_densities() -> None:
    model, x = make_kl(random_weights=False), pixels(2, (3, 16, 16))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        terms = model(x)
    assert terms.log_px.dtype == torch.float32
    torch.testing.assert_close(terms.px.mean, model.decode_mean(terms.latents[0].z[0])[None], rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (7,)}, r"need images \(C, H, W\)"),
        ({"block_out_channels": [8, 12], "norm_num_groups": 8}, "norm_num_groups 8 does not divide 12"),
        ({"latent_dim": 65}, r"latent_dim 65.*multiple of 64"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    settings = {"latent_dim": 64, "shape": (1, 16, 16), "block_out_channels": [8, 16], "norm_num_groups": 8}
    with pytest.raises(ConfigError, match=message):
        AutoencoderKLDecoder(**(settings | arguments))  # type: ignore[arg-type]
