"""Images of 2 to 16 channels: what is drawn of them, pixel by pixel, and what models and metrics make of them."""

import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.animation_frames import find
from tests.channel_grids import HEIGHT, WIDTH, lines_of, smooth
from tests.commands import tiles as color_tiles
from tests.linear_gallery import garments, linear_vae, text_of
from tests.sheets import lines_on, middles
from tests.test_contracts import make_vae
from vaekit.core.errors import ConfigError, DataError
from vaekit.core.rng import generator
from vaekit.core.units import to_gray_levels
from vaekit.data import Augmentation, ImageSet, augmenter, binarize
from vaekit.distributions import LIKELIHOODS
from vaekit.distributions.logistic_mixture import LogisticMixture
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.likelihood.scores import code_lengths
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples.reconstruction import psnr, ssim
from vaekit.experiment.prepare import load_splits
from vaekit.objectives.perceptual import dissimilarity
from vaekit.plots import error_plot, grid, reconstruction_pairs, side_by_side, traversals
from vaekit.plots.channel_choice import Channels, check_channels, parse_channels
from vaekit.plots.channels import describe_channels, num_tiles, tiles
from vaekit.plots.contact_sheet import contact_sheet
from vaekit.plots.frames import captioned, enlarge
from vaekit.plots.grid_text import text_size
from vaekit.plots.grids import number_for
from vaekit.plots.look import Look, odd
from vaekit.plots.planes import manifold, plane
from vaekit.plots.style import DARK
from vaekit.plots.tile_lines import GAPS, MIN_TILE, breaks, geometry, paper
from vaekit.presentation.gallery import Gallery
from vaekit.runs.recipe import load_recipe

NUMBERS = [2, 4, 5, 16]
"""Numbers of channels that are neither gray nor color."""


# Which channels are drawn


@pytest.mark.parametrize("num", NUMBERS)
def test_images_of_other_channels_are_a_gray_tile_for_each(num: int) -> None:
    x = smooth(3, num)
    assert torch.equal(tiles(x), x[:, :, None])
    assert torch.equal(tiles(x.double() / 255), x[:, :, None])
    assert num_tiles(num) == num
    assert describe_channels(num, None) == f"each of {num} channels as gray"


@pytest.mark.parametrize("num", [1, 3])
def test_gray_and_color_images_are_one_tile(num: int) -> None:
    x = smooth(3, num)
    assert torch.equal(tiles(x), x[:, None])
    assert num_tiles(num) == 1
    assert describe_channels(num, None) == ""


@pytest.mark.parametrize(("channels", "rows"), [((3, 2, 1), [2, 1, 0]), ((5, 5, 2), [4, 4, 1]), (4, [3]), (1, [0])])
def test_chosen_channels_are_numbered_from_one(channels: Channels, rows: list[int]) -> None:
    x = smooth(3, 5)
    assert torch.equal(tiles(x, channels), x[:, None, rows])
    assert num_tiles(5, channels) == 1


def test_channels_of_color_images_can_be_chosen() -> None:
    x = smooth(2, 3)
    assert torch.equal(tiles(x, (3, 2, 1))[:, 0], x.flip(1))
    assert torch.equal(tiles(x, 2)[:, 0], x[:, 1:2])


@pytest.mark.parametrize("channels", [6, 0, (3, 2, 6), (0, 1, 2)])
def test_channels_that_images_lack_are_refused(channels: Channels) -> None:
    with pytest.raises(ConfigError, match="5 channels, numbered from 1"):
        tiles(smooth(1, 5), channels)
    with pytest.raises(ConfigError, match=r"^--channels .* 5 channels"):
        check_channels(channels, 5, "--channels")


def test_channels_are_written_as_one_number_or_three() -> None:
    assert parse_channels("4", "--channels") == 4
    assert parse_channels("3,2,1", "--channels") == parse_channels("3, 2, 1", "--channels") == (3, 2, 1)
    for text in ("3,2", "1,2,3,4", "", "a", "-1", "1,,2", "0", "3;2;1", "1.5"):
        with pytest.raises(ConfigError, match=r"--channels .*one channel, as 4, or three"):
            parse_channels(text, "--channels")
    assert describe_channels(5, (3, 2, 1)) == "channels 3, 2, 1 as red, green and blue"
    assert describe_channels(5, 4) == "channel 4 as gray"


# Grids


@pytest.mark.parametrize("num", NUMBERS)
def test_grid_stacks_the_channels_of_each_image(num: int) -> None:
    x = smooth(7, num)
    blank = paper(DARK, 1).expand(2, num, HEIGHT, WIDTH)
    expected = torch.cat([x, blank]).unflatten(0, (3, 3)).transpose(1, 2).flatten(0, 1)
    image = grid(x, 3)
    assert image.mode == "L"
    assert torch.equal(lines_of(image, 3 * num, 3, (num,)), expected)


def test_number_of_each_channel_stands_beside_its_line() -> None:
    x = smooth(4, 5)
    sheet = np.asarray(grid(x, 2))
    where = geometry(10, 2, (HEIGHT, WIDTH), breaks(10, 5), least=MIN_TILE)
    text = sheet[:, : sheet.shape[1] - where.width - text_size(where.width)]
    bright = (text > 128).any(1)
    starts = np.flatnonzero(bright[1:] & ~bright[:-1])
    assert len(starts) == 2 * 5
    assert np.asarray(grid(x, 2, row_labels=["ab", "cd"])).shape[1] > sheet.shape[1]


@pytest.mark.parametrize("num", NUMBERS)
def test_each_channel_stands_above_its_reconstruction(num: int) -> None:
    x, y = smooth(6, num), 255 - smooth(6, num)
    image = reconstruction_pairs(x, y, 3)
    lines = lines_of(image, 4 * num, 3, (2, 2 * num)).unflatten(0, (2, num, 2))
    assert torch.equal(lines[:, :, 0], x.unflatten(0, (2, 3)).transpose(1, 2))
    assert torch.equal(lines[:, :, 1], y.unflatten(0, (2, 3)).transpose(1, 2))


def test_latent_plane_is_whole_for_each_channel() -> None:
    images = smooth(12, 5).unflatten(0, (3, 4))
    images[..., [0, -1], :] = images[..., [0, -1]] = 0  # with plain borders, it has no gaps
    expected = images.flip(0).permute(2, 0, 1, 3, 4).flatten(0, 1)
    sheet = np.asarray(plane(images))
    factor = Look().factor(15 * HEIGHT, 4 * WIDTH, 1400)
    height = 3 * HEIGHT * factor
    left = sheet.shape[1] - text_size(4 * WIDTH * factor) - 4 * WIDTH * factor
    tops = [text_size(4 * WIDTH * factor) + channel * (height + WIDTH * factor // GAPS) for channel in range(5)]
    found = [middles(sheet[top : top + height, left : left + 4 * WIDTH * factor], factor) for top in tops]
    rows = torch.from_numpy(np.stack(found)).unflatten(2, (4, WIDTH)).unflatten(1, (3, HEIGHT)).transpose(2, 3).flatten(0, 1)
    assert torch.equal(rows, expected)
    whole = manifold(images, torch.arange(4.0), torch.arange(3.0), "a plane")
    assert len(find(whole, Image.fromarray(sheet[tops[0] : tops[0] + height, left : left + 4 * WIDTH * factor]))) == 1


def test_traversals_and_files_stack_their_channels() -> None:
    images = smooth(6, 4).unflatten(0, (2, 3))
    lines = lines_of(traversals(images, ["z0", "z1"], "a title"), 8, 3, (4,)).unflatten(0, (2, 4))
    assert torch.equal(lines, images.transpose(1, 2))
    x = smooth(2, 4)
    found = lines_on(
        side_by_side(x, 255 - x, ["a", "b"]), 8, 2, (1, HEIGHT, WIDTH), breaks(8, 4), heads=True, least=MIN_TILE
    )
    pair = torch.stack([x, 255 - x], 1).transpose(1, 2).flatten(0, 1)
    assert torch.equal(found[:, :, 0], pair)


@pytest.mark.parametrize("num", [2, 5, 16])
def test_three_chosen_channels_are_drawn_like_a_color_image(num: int) -> None:
    x, chosen = smooth(6, num), (2, 1, 2)
    color = x[:, [1, 0, 1]]
    pairs = [
        (grid(x, 3, channels=chosen), grid(color, 3)),
        (grid(x, 3, title="t", row_labels=["a", "b"], channels=chosen), grid(color, 3, title="t", row_labels=["a", "b"])),
        (reconstruction_pairs(x, x.flip(0), channels=chosen), reconstruction_pairs(color, color.flip(0))),
        (contact_sheet(x, ["1"] * 6, "t", channels=chosen), contact_sheet(color, ["1"] * 6, "t")),
        (plane(x.unflatten(0, (2, 3)), "t", channels=chosen), plane(color.unflatten(0, (2, 3)), "t")),
        (grid(x, 3, channels=2), grid(x[:, 1:2], 3)),
        *zip(enlarge(x, 40, chosen), enlarge(color, 40), strict=True),
    ]
    for image, expected in pairs:
        assert image.mode == expected.mode
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_grids_of_channels_are_no_higher_than_needed() -> None:
    assert grid(smooth(40, 16), 10).height < 1.8 * 64 * MIN_TILE
    assert number_for(32, 32) == number_for(32, 32, 1) == 40
    assert [number_for(8, 8, num) for num in (2, 5, 16)] == [40, 40, 10]
    assert number_for(256, 256, 16) == 7  # one row of pairs


# Images one by one


@pytest.mark.parametrize(("num", "across"), [(2, 2), (5, 5), (16, 8)])
def test_enlarged_image_is_a_row_of_captioned_channels(num: int, across: int) -> None:
    x = smooth(2, num)
    side = max(MIN_TILE, math.ceil(280 / across))
    factor = odd(side / WIDTH)
    squares = Look(pixelated=True)
    for image, pixels in zip(enlarge(x, 280, look=squares), x, strict=True):
        parts = [Image.fromarray(channel.numpy().repeat(factor, 0).repeat(factor, 1)) for channel in pixels]
        places = [find(image, part) for part in parts]
        tile_width, tile_height = WIDTH * factor, captioned(parts[0], "1").height
        expected = [((c // across) * (tile_height + 4), c % across * (tile_width + 4)) for c in range(num)]
        assert all(place in found for place, found in zip(expected, places, strict=True))
        sheet = np.asarray(image)
        for top, left in expected:
            below = sheet[top + HEIGHT * factor : top + tile_height, left : left + tile_width]
            assert below.max() > 150 > 30 > np.median(below)  # the number of the channel


def test_contact_sheet_shows_every_channel_of_every_image() -> None:
    x = smooth(3, 5)
    sheet = contact_sheet(x, ["-1.0", "-2.0", "-3.0"], "most unusual first")
    for image in enlarge(x, 132):
        assert len(find(sheet, image)) == 1


def test_animation_frames_show_the_channels_of_the_decoded_images() -> None:
    gallery = Gallery(linear_vae(shape=(5, 6, 4)), garments(shape=(5, 6, 4)))
    animation = gallery.animation(["sock", "@4"], steps=1, size=60)
    waypoints = gallery.waypoints(["sock", "@4"])
    decoded = gallery.model.decode_path(waypoints.z, torch.tensor([0.0, 0.5, 1.0, 1.5]))
    for frame, image in zip(animation.frames, enlarge(decoded, 60), strict=True):
        assert len(find(frame, image)) == 1
    color = gallery.showing((5, 1, 2)).animation(["sock", "@4"], steps=1, size=60)
    assert {frame.mode for frame in color.frames} == {"RGB"}
    (expected,) = enlarge(decoded[1:2, [4, 0, 1]], 60)
    assert len(find(color.frames[1], expected)) == 1


# Charts


def test_error_chart_has_a_row_of_channels_for_each_image() -> None:
    x = smooth(2, 5)
    y = (x.int() - 30).clamp(0, 255).byte()
    chart = error_plot(torch.rand(HEIGHT, WIDTH), x, y, 7)
    assert "each pixel\nover 5 channels, 7 images" in text_of(chart)
    cells = [axes for axes in chart.findobj(match=lambda a: type(a).__name__ == "Axes") if axes.images][1:]
    assert [cell.get_ylabel() for cell in cells] == ["original", "model", "error"] * 2
    assert [label.get_text() for label in cells[0].get_xticklabels()] == ["1", "2", "3", "4", "5"]
    rows = torch.stack([x.float(), y.float(), (x.float() - y.float()).abs()], 1).flatten(0, 1)
    for cell, row in zip(cells, rows, strict=True):
        drawn = np.ma.filled(cell.images[0].get_array(), np.nan)
        for channel in range(5):
            np.testing.assert_array_equal(drawn[:, channel * (WIDTH + 1) :][:, :WIDTH], row[channel])
        assert np.isnan(drawn[:, WIDTH :: WIDTH + 1]).all()
        assert cell.images[0].get_clim() == (0, 255)


def test_error_chart_of_chosen_channels_is_over_all_of_them() -> None:
    x = smooth(2, 5)
    y = (x.int() - 30).clamp(0, 255).byte()
    chart = error_plot(torch.rand(HEIGHT, WIDTH), x, y, 7, channels=(3, 2, 1))
    cells = [axes for axes in chart.findobj(match=lambda a: type(a).__name__ == "Axes") if axes.images][1:]
    np.testing.assert_array_equal(cells[0].images[0].get_array(), x[0, [2, 1, 0]].permute(1, 2, 0))
    expected = (x.float() - y.float()).square().mean(1).sqrt()
    np.testing.assert_allclose(cells[4].images[0].get_array(), expected[0], rtol=1e-6)
    assert "channels 3, 2, 1 as red, green and blue" in text_of(chart)


# The gallery


@pytest.mark.parametrize("num", NUMBERS)
def test_gallery_draws_what_the_model_decodes(num: int) -> None:
    gallery = Gallery(linear_vae(shape=(num, 6, 4)), garments(shape=(num, 6, 4)))
    torch.manual_seed(0)
    samples = to_gray_levels(gallery.model.sample(6))
    lines = lines_of(gallery.samples(6, columns=3), 2 * num, 3, (num,), (6, 4))
    assert torch.equal(lines.unflatten(0, (2, num)), samples.unflatten(0, (2, 3)).transpose(1, 2))
    shown = gallery.showing((2, 1, 2)).samples(6, columns=3)
    assert np.array_equal(np.asarray(shown), np.asarray(grid(samples[:, [1, 0, 1]], 3)))
    for image in (gallery.interpolation("sock", "boot"), gallery.traversals(3, 4), gallery.manifold(3)):
        assert image.mode == "L"
    assert gallery.traversal_animation(2, steps=1).frames[0].mode == "L"
    assert gallery.showing(1).errors(2).axes


def test_gallery_with_other_channels_keeps_the_posteriors() -> None:
    gallery = Gallery(linear_vae(shape=(5, 6, 4)), garments(shape=(5, 6, 4)))
    encodings = gallery.encodings
    other = gallery.showing(4)
    assert (other.channels, gallery.channels) == (4, None)
    assert other.encodings is encodings
    for channels in (6, (1, 2, 9)):
        with pytest.raises(ConfigError, match="5 channels"):
            gallery.showing(channels)
        with pytest.raises(ConfigError, match="5 channels"):
            Gallery(gallery.model, channels=channels)


# Models and data


@pytest.mark.parametrize("num", NUMBERS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_every_likelihood_and_network_takes_any_number_of_channels(num: int, likelihood: str, network: str) -> None:
    options = {"num_components": 2} if likelihood == "logistic-mixture" else {}
    model = make_vae(network, network, likelihood, shape=(num, 8, 12), **options)
    x = torch.randint(0, 2, (3, num, 8, 12), dtype=torch.uint8) * 255
    loss = -model(x).elbo().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.sample(2).shape == (2, num, 8, 12)


@pytest.mark.parametrize("num", [2, 4])
def test_masses_of_the_logistic_mixture_sum_to_one_for_any_number_of_channels(num: int) -> None:
    likelihood = LogisticMixture(num_components=3, bits=2)
    parameters = 2 * torch.randn(1, likelihood.num_maps(num), 1, 1)
    images = torch.tensor(list(itertools.product(range(4), repeat=num))).reshape(-1, 1, num, 1, 1) / 3
    mass = likelihood(parameters).log_prob(images).double().exp().sum()
    assert mass.item() == pytest.approx(1, abs=1e-5)


def test_brightness_and_contrast_change_all_channels_by_the_same_factor() -> None:
    x = torch.full((40, 5, 6, 6), 100, dtype=torch.uint8) + torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1) * 5
    changed = augmenter(Augmentation(jitter=0.2), (5, 6, 6))(x, generator(0)).float()
    assert (changed != x).any((1, 2, 3)).float().mean() > 0.9
    steps = changed[:, 1:] - changed[:, :-1]
    assert ((steps > 2) & (steps < 8)).all()  # about 5 times the contrast


@pytest.mark.parametrize("options", [{"flip": 1.0}, {"shift": 0.3}, {"rotate": 30.0, "zoom": 0.2}, {"crop": 0.3}])
def test_augmentation_moves_all_channels_alike(options: dict[str, float]) -> None:
    x = smooth(8, 1).expand(-1, 5, -1, -1).contiguous()
    changed = augmenter(Augmentation(**options), (5, HEIGHT, WIDTH), "black")(x, generator(0))
    assert (changed == changed[:, :1]).all()
    assert not torch.equal(changed, x)


@pytest.mark.parametrize("num", NUMBERS)
def test_hue_of_other_than_color_images_is_refused(num: int) -> None:
    with pytest.raises(DataError, match=rf"data.augment.hue.*{num} channels"):
        augmenter(Augmentation(hue=0.1), (num, 8, 8))


def test_each_channel_is_binarized_by_its_own_levels() -> None:
    levels = torch.tensor([0, 64, 128, 191, 255], dtype=torch.uint8).reshape(1, 5, 1, 1).expand(50, 5, 20, 20)
    binary = binarize(ImageSet(levels.contiguous()), seed=0)
    assert set(binary.pixels.unique().tolist()) == {0, 255}
    means = (binary.pixels / 255).mean((0, 2, 3)).tolist()
    assert means == pytest.approx([0, 64 / 255, 128 / 255, 191 / 255, 1], abs=0.02)


@pytest.mark.parametrize("num", [17, 20])
def test_more_than_sixteen_channels_are_refused(num: int) -> None:
    with pytest.raises(DataError, match=f"1 to 16 channels, got {num}"):
        ImageSet(torch.zeros(4, num, 3, 3, dtype=torch.uint8))


def test_channels_to_show_must_be_there_before_a_run_begins() -> None:
    recipe = load_recipe("digits", {"data.shown_channels": [9, 2, 1]})
    with pytest.raises(ConfigError, match=r"data.shown_channels 9,2,1.*one channel, 1"):
        load_splits(recipe.data, 0)
    for wrong in ([3, 2], "3,2", 0, 17, [0, 1, 2], "a"):
        with pytest.raises(ConfigError, match="shown_channels"):
            load_recipe("digits", {"data.shown_channels": wrong})
    assert load_recipe("digits", {"shown_channels": "3,2,1"}).data.shown_channels == (3, 2, 1)


# Metrics


@pytest.mark.parametrize("num", NUMBERS)
def test_reconstruction_metrics_are_means_over_channels(num: int) -> None:
    x, y = smooth(4, num) / 255, smooth(4, num).flip(0) / 255
    error = (x - y).square().mean((1, 2, 3))
    torch.testing.assert_close(psnr(x, y), (-10 * error.log10()).clamp(max=100), rtol=1e-4, atol=1e-4)
    each = torch.stack([ssim(x[:, c : c + 1], y[:, c : c + 1]) for c in range(num)])
    torch.testing.assert_close(ssim(x, y), each.mean(0), rtol=1e-4, atol=1e-5)
    single = torch.stack([dissimilarity(y[None, :, c : c + 1], x[:, c : c + 1]) for c in range(num)])
    torch.testing.assert_close(dissimilarity(y[None], x), single.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num", NUMBERS)
def test_code_length_is_that_of_the_channels_below_each_other(num: int) -> None:
    x = smooth(2, num)
    for pixels, length in zip(x, code_lengths(x), strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels.flatten(0, 1).numpy()).save(file, "PNG", optimize=True)
        assert length.item() == pytest.approx(file.tell() * 8 * math.log(2))


def test_evaluation_of_five_channels_leaves_nothing_out_but_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are learned from all channels; Inception does not take them, which is said."""
    from vaekit.evaluation.samples import feature_classifier, inception

    monkeypatch.setattr(feature_classifier, "MIN_STEPS", 10)
    monkeypatch.setattr(feature_classifier, "EPOCHS", 1)
    images = ImageSet(smooth(40, 5), torch.arange(40) % 2)
    config = replace(BRIEF, num_samples=2, num_compared=8)
    model = make_vae(shape=(5, HEIGHT, WIDTH))
    evaluation = evaluate_model(model, images, train=images, config=config)
    assert evaluation.fidelity is not None
    assert evaluation.fidelity.extractor.name == "cnn"
    assert "fidelity" not in evaluation.left_out
    assert {"psnr", "ssim"} <= evaluation.metrics.keys()
    refusing = inception.InceptionFeatures.__new__(inception.InceptionFeatures)
    left_out = evaluate_model(model, images, train=images, extractor=refusing, config=config).left_out
    assert "Inception takes images of 1 or 3 channels, got 5" in left_out["fidelity"]


def test_one_gray_channel_reads_back(tmp_path: object) -> None:
    """The helper of other tests reads a grid of one chosen channel, too."""
    x: Tensor = smooth(4, 5)
    file = io.BytesIO()
    grid(x, 2, channels=3).save(file, "PNG")
    file.seek(0)
    assert torch.equal(color_tiles(file, 4, 2, (1, HEIGHT, WIDTH)), x[:, 2:3])  # type: ignore[arg-type]
