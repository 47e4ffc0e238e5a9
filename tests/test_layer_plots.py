"""What is shown of single layers of a ladder: their rates, temperatures, samples with fixed layers, traversals."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.commands import done, vae
from tests.ladders import ladder, ladder_config
from vaekit.cli.layer_options import read_fixed_layers, read_temperatures
from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.evaluation.latents.layer_rates import layer_rates
from vaekit.models import build_vae
from vaekit.models.layer_samples import following_layers, tempered_sample, with_new_lower_layers
from vaekit.presentation.fixed_layers import samples_of_layers
from vaekit.presentation.gallery import Gallery


def pixels(num: int = 6) -> Tensor:
    return (torch.rand(num, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).to(torch.uint8) * 255


def image_set(num: int = 6) -> ImageSet:
    return ImageSet(pixels(num), name="dots", split="test")


def gallery() -> Gallery:
    return Gallery(ladder(), image_set())


def test_rates_of_layers_are_sums_of_rates_of_latents() -> None:
    model, images = ladder(), image_set()
    rates = layer_rates(model, images)
    latents = encode_images(model, images).rates.double()
    expected = torch.stack([part.sum() for part in latents.split((8, 32, 32))])
    torch.testing.assert_close(rates, expected)
    assert rates.min() > 0.01


def test_rate_plot_of_a_ladder_has_a_bar_for_each_layer_and_sums_for_each_resolution() -> None:
    shown = gallery()
    figure = shown.rates()
    (axes,) = figure.axes
    rates = layer_rates(shown.model, image_set())
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(rates.tolist())  # type: ignore[attr-defined]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["1 · 2x2 · 8 latents", "2 · 4x4 · 32 latents", "3 · 4x4 · 32 latents"]
    assert axes.get_title(loc="left") == f"{float(rates.sum()):.2f} nats in 3 layers, 6 images"
    title = " ".join(text.get_text() for text in axes.texts)
    assert f"{float(rates[0]):.2f} at 2x2" in title
    assert f"{float(rates[1:].sum()):.2f} at 4x4" in title


def test_temperatures_scale_each_layer_around_its_mean_given_the_layers_above() -> None:
    pz = ladder().pz(2000)
    with fixed_seed(0):
        z = tempered_sample(pz, [0.0, 1.0, 0.5])
    with torch.no_grad():
        whitened = [(part - p.mean) / p.stddev for part, p in zip(pz.split(z), pz.layers(z), strict=True)]
    assert [float(part.std()) for part in whitened] == pytest.approx([0, 1, 0.5], abs=0.02)
    with fixed_seed(0):
        assert torch.equal(tempered_sample(pz, 0.0)[0], tempered_sample(pz, [0.0, 0.0, 0.0])[0])
    with pytest.raises(ModelError, match="2 temperatures: the model has 3 stochastic layers"):
        tempered_sample(pz, [1.0, 1.0])


def test_one_layer_takes_one_temperature() -> None:
    mlp = {"encoder": {"name": "mlp", "hidden": [8]}, "decoder": {"name": "mlp", "hidden": [8]}}
    model = build_vae(ladder_config(latent_dim=3, posterior={"name": "diagonal-gaussian"}, **mlp))
    assert model.sample(2, temperature=[0.5]).shape == (2, 1, 8, 8)
    with pytest.raises(ModelError, match="2 temperatures: the model has 1 stochastic layer"):
        model.sample(2, temperature=[1.0, 0.5])
    with pytest.raises(ModelError, match="train a ladder"):
        samples_of_layers(Gallery(model, image_set()), 1, 3)
    with pytest.raises(ModelError, match="train a ladder"):
        with_new_lower_layers(model.pz(2), torch.zeros(2, 3), 1)


def test_fixed_layers_stay_and_lower_ones_are_sampled_from_their_prior() -> None:
    pz = ladder().pz(3000)
    z = pz.sample()[:1].expand(3000, -1)
    with torch.no_grad():
        again = with_new_lower_layers(pz, z, 1)
        assert torch.equal(again[:, :8], z[:, :8])
        whitened = (again[:, 8:40] - pz.layers(again)[1].mean) / pz.layers(again)[1].stddev
    assert abs(float(whitened.mean())) < 0.02
    assert float(whitened.std()) == pytest.approx(1, abs=0.02)
    with pytest.raises(ModelError, match="3 fixed layers"):
        with_new_lower_layers(pz, z, 3)


def test_rows_of_one_sample_begin_with_it_and_change_less_the_more_is_fixed() -> None:
    shown = gallery()
    with fixed_seed(3):
        images, labels, _ = samples_of_layers(shown, None, 40)
    rows = images.unflatten(0, (3, 40))
    for row in rows[1:]:
        assert torch.equal(row[0], rows[0, 0])
    changes = (rows[:, 1:] - rows[:, :1]).square().mean((1, 2, 3, 4))
    assert changes[0] > changes[2] > 0
    assert labels == ["0 fixed\nfree: 1 at 2x2, 2 at 4x4", "1 fixed\nfree: 2 at 4x4", "2 fixed\nfree: 1 at 4x4"]
    with fixed_seed(3):
        images, labels, title = samples_of_layers(shown, 2, 4)
    assert images.shape == (32, 1, 8, 8)
    assert labels == []
    assert "2 of 3 layers" in title
    with pytest.raises(ModelError, match="choose 1 to 2, or each"):
        samples_of_layers(shown, 3, 4)


def test_traversals_of_a_layer_change_its_latents_alone() -> None:
    shown = gallery()
    traversal = shown.traverse(5, torch.linspace(0, 1, 3), layer=2)
    assert len(traversal.latents) == 5
    assert all(8 <= latent < 40 for latent in traversal.latents)
    assert traversal.row_labels[0].startswith(f"z{traversal.latents[0]} · layer 2, 4x4 · ")
    assert traversal.title.startswith("5 of 32 latents of layer 2 in turn")
    with pytest.raises(ModelError, match="layer 4: the model has 3"):
        shown.traverse(5, torch.linspace(0, 1, 3), layer=4)


@pytest.mark.parametrize(("text", "expected"), [("1", 1.0), ("0.7,1", (0.7, 1.0))])
def test_temperatures_are_read(text: str, expected: Any) -> None:
    assert read_temperatures(text) == expected


def test_wrong_layer_options_are_refused() -> None:
    assert [read_fixed_layers(text) for text in (None, "each", "3")] == [None, "each", 3]
    for text in ("a", "", "-1", "0.5,,1", "nan", "inf"):
        with pytest.raises(ConfigError, match="--temperature"):
            read_temperatures(text)
    for text in ("all", "", "-1", "1.5"):
        with pytest.raises(ConfigError, match="--fix-layers"):
            read_fixed_layers(text)


def test_commands_refuse_layers_that_a_model_does_not_have(tmp_path: Any) -> None:
    ladder().save(tmp_path / "model")
    for options in (["--fix-layers", "7"], ["--temperature", "1,2"]):
        result = vae("sample", str(tmp_path / "model"), *options)
        assert result.code == 2
        assert len(result.err.strip().splitlines()) == 1
    out = tmp_path / "each.png"
    assert str(out) in done("sample", str(tmp_path / "model"), "--fix-layers", "each", "-n", "4", "-o", str(out))
    assert out.stat().st_size > 1000


def test_lower_layers_follow_a_changed_latent_at_their_distance_from_the_prior() -> None:
    model = ladder()
    z = torch.randn(model.latent_dim)
    latent, values = 1, torch.tensor([[float(z[1]), 2.0, -2.0]])
    moved = following_layers(model.prior_of, z, points_of(z, latent, values), [latent])[0]
    torch.testing.assert_close(moved[0], z)  # what is not changed stays
    before, after = model.prior_of(3).layers(z.expand(3, -1)), model.prior_of(3).layers(moved)
    sizes = model.layer_sizes
    for old, new, own, other in zip(before[1:], after[1:], z.split(sizes)[1:], moved.split(sizes, -1)[1:], strict=True):
        torch.testing.assert_close((other - new.mean) / new.stddev, ((own - old.mean) / old.stddev), atol=1e-4, rtol=1e-4)
    assert (moved[1] - z)[sizes[0] :].abs().max() > 0.01
    assert (moved[1] - z).abs()[: sizes[0]].nonzero().flatten().tolist() == [latent]


def test_a_changed_latent_of_the_lowest_layer_moves_no_other() -> None:
    model = ladder()
    z, latent = torch.randn(model.latent_dim), model.latent_dim - 1
    points = points_of(z, latent, torch.tensor([[0.5, 3.0]]))
    torch.testing.assert_close(following_layers(model.prior_of, z, points, [latent]), points)
    images = model.traverse(z, [latent], torch.tensor([[0.5, 3.0]]))
    torch.testing.assert_close(images[0], model.decode_mean(points[0]))


def points_of(z: Tensor, latent: int, values: Tensor) -> Tensor:
    """Copies of latents in which one has other values, with shape (1, S, D)."""
    points = z.repeat(*values.shape, 1)
    points[:, :, latent] = values
    return points


def test_a_latent_is_active_by_its_mean_relative_to_the_layers_above() -> None:
    """Below a top layer that varies, posteriors that are their priors vary with it, and carry nothing."""
    model = ladder()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("decoder.path.0.posterior_out"):
                weight.mul_(5)
            elif ".posterior_out" in name:
                weight.zero_()
            elif ".prior_out.weight" in name:
                weight.mul_(20)
    codes, top = encode_images(model, image_set(50)), model.layer_sizes[0]
    assert codes.active[:top].any()
    assert not codes.active[top:].any()
    assert (codes.means[:, top:].var(0) > 0.01).any()
    assert codes.rates[top:].abs().max() < 1e-6
