"""``vae export --format diffusers``: the library computes what vaekit does, and the numbers of its configuration."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import vaekit
from tests.commands import Refuse, contents, done, one_line, strict_json, vae
from tests.test_autoencoder_kl import make_kl
from tests.test_contracts import make_vae
from vaekit.core.errors import DataError, ModelError
from vaekit.distributions import LIKELIHOODS, Gaussian, Laplace
from vaekit.evaluation.latents.channel_moments import channel_moments
from vaekit.export.diffusers_format import (
    CONFIG,
    WEIGHTS,
    LatentScale,
    library_config,
    library_weights,
    padded_size,
    require_exportable,
    write_folder,
)
from vaekit.models import VAE
from vaekit.networks.autoencoder_kl import padded

SCALE = LatentScale(0.25, 2.0, [0.5, 0.0], [1.5, 2.5])
NETWORK = "name: autoencoder-kl, block_out_channels: [8, 16], norm_num_groups: 4"
TRAIN = (
    *("train", "digits", "--epochs", 1, "--batch-size", 200, "--no-report", "--set", "model.latent_dim=32"),
    *("--set", f"model.encoder={{{NETWORK}, latent_channels: 2}}", "--set", f"model.decoder={{{NETWORK}}}"),
    *("--set", "evaluation.num_samples=10", "--set", "evaluation.max_images=20"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of digits with networks autoencoder-kl, in two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "kl"
    done(*TRAIN, "--out", folder)
    return folder


def opened(folder: Path) -> Any:
    """What the library makes of a folder."""
    diffusers = pytest.importorskip("diffusers")
    return diffusers.AutoencoderKL.from_pretrained(folder).eval()


def exported(model: VAE, folder: Path) -> Any:
    """A model, written and opened by the library."""
    write_folder(folder, library_weights(model), library_config(model, SCALE), "a card")
    return opened(folder)


@torch.no_grad()
def require_equal(model: VAE, library: nn.Module, x: Tensor) -> None:
    """Asserts that posteriors and images are equal to 1e-5, for images of shape (B, C, H, W) as uint8."""
    num_levels = len(library.config.block_out_channels)  # type: ignore[union-attr]
    theirs = library.encode(padded(2 * (x.float() / 255) - 1, num_levels)).latent_dist  # type: ignore[operator]
    qz = model.encode(x)
    torch.testing.assert_close(theirs.mean.flatten(1), qz.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs.logvar.flatten(1), 2 * qz.stddev.log(), rtol=1e-5, atol=1e-5)
    z = qz.sample()
    image = library.decode(z.unflatten(1, theirs.mean.shape[1:])).sample  # type: ignore[operator]
    image = image[..., : x.shape[2], : x.shape[3]]
    torch.testing.assert_close((image / 2 + 0.5).clamp(0, 1), model.decode_mean(z), rtol=0, atol=1e-5)
    assert model.decode_mean(z).std() > 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"channels": (8, 8, 16), "layers": 2, "attention": False, "groups": 8},
        {"shape": (1, 13, 22), "channels": (4, 8, 8)},
        {"shape": (4, 8, 8), "channels": (8,), "latent_channels": 3},
        {"features": 5},
        {"likelihood": {"name": "gaussian", "scale": "pixel"}},
        {"likelihood": {"name": "bernoulli"}},
    ],
)
def test_the_library_computes_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    model = make_kl(**settings)
    require_exportable(model)
    library = exported(model, tmp_path)
    require_equal(model, library, torch.randint(0, 256, (5, *model.shape), dtype=torch.uint8))
    own = sum(value.numel() for part in (model.encoder, model.posterior, model.decoder) for value in part.parameters())
    if not {"features", "likelihood"} & set(settings):  # which have other last layers
        assert sum(value.numel() for value in library.parameters()) == own


def test_the_library_computes_the_same_of_real_images(data_folder: Path, tmp_path: Path) -> None:
    x = vaekit.load_images("pokemon", "test", size=(32, 32), channels=3, fit="pad").pixels[:8]
    model = make_kl((3, 32, 32), (8, 16, 16))
    require_equal(model, exported(model, tmp_path), x)


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_another_pixel_range_would_be_found(shift: float, tmp_path: Path) -> None:
    """What encodes images on the unit interval, or with a bias, is not equal."""
    model, x = make_kl(), torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    library = exported(model, tmp_path)
    library.encoder.conv_in.bias.data += shift
    with pytest.raises(AssertionError, match="not close"):
        require_equal(model, library, x)


def test_log_variances_agree_up_to_the_clip_of_the_library(tmp_path: Path) -> None:
    """From -30 to 20 they are equal; above, the library stays at 20, and below -30 vaekit is bounded smoothly."""
    model = make_kl((1, 8, 8), (4, 8))
    weight, bias = model.posterior.logvar.weight, model.posterior.logvar.bias  # type: ignore[union-attr]
    x = torch.zeros(1, 1, 8, 8)
    for value, theirs, ours in ((-29.9, -29.9, -29.9), (19.9, 19.9, 19.9), (25, 20, 25), (-33, -30, -32.8)):
        nn.init.zeros_(weight)  # type: ignore[arg-type]
        nn.init.constant_(bias, value)  # type: ignore[arg-type]
        logvar = exported(model, tmp_path).encode(2 * x - 1).latent_dist.logvar
        assert logvar.unique().item() == pytest.approx(theirs)
        assert 2 * model.encode(x).stddev.log().max().item() == pytest.approx(ours, abs=0.02)


def test_the_configuration_is_what_the_library_writes(tmp_path: Path) -> None:
    library = exported(make_kl(), tmp_path / "ours")
    library.save_pretrained(tmp_path / "theirs")
    ours, theirs = (strict_json(tmp_path / name / CONFIG) for name in ("ours", "theirs"))
    for config in (ours, theirs):
        config.pop("_diffusers_version")
    theirs.pop("_name_or_path")
    assert ours == theirs
    assert list(ours) == sorted(ours)
    weights = [load_file(tmp_path / name / WEIGHTS) for name in ("ours", "theirs")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_scaling_factors() -> None:
    config = library_config(make_kl(), SCALE)
    assert (config["scaling_factor"], config["shift_factor"]) == (0.5, 0.25)
    assert (config["latents_mean"], config["latents_std"]) == ([0.5, 0.0], [1.5, 2.5])
    assert (config["sample_size"], config["latent_channels"], config["in_channels"]) == (16, 2, 3)
    wide = make_kl((1, 13, 22), (4, 8, 8))
    assert padded_size(wide) == (16, 24)
    assert library_config(wide, SCALE)["sample_size"] == [16, 24]


def test_moments_of_channels_are_those_of_samples(digits: vaekit.ImageSet) -> None:
    model = make_kl((1, 8, 8), (4, 8), latent_channels=3)
    moments = channel_moments(model, digits, 3)
    z = torch.cat([model.encode(digits.pixels).sample() for _ in range(40)]).detach().double().unflatten(1, (3, 16))
    error = 5 * z.std() / (z[:, 0].numel() ** 0.5)  # five standard errors and more: points of an image are not independent
    torch.testing.assert_close(moments.means, z.mean((0, 2)), rtol=0, atol=error.item())
    torch.testing.assert_close(moments.stddevs, z.transpose(0, 1).flatten(1).std(1), rtol=0.01, atol=0)
    assert moments.mean == pytest.approx(z.mean().item(), abs=error.item())
    assert moments.stddev == pytest.approx(z.std().item(), rel=0.01)
    logvars = 2 * model.encode(digits.pixels).stddev.log()
    assert moments.logvar_range == pytest.approx((logvars.min().item(), logvars.max().item()), abs=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make_kl(likelihood={"name": "continuous-bernoulli"}), r"likelihood: continuous-bernoulli.*laplace or gaussian"),
        (make_kl(posterior="flow"), r"posterior: flow.*diagonal-gaussian"),
        (make_kl(classes=("cat", "dog")), r"class-conditional.*without --conditional"),
    ],
)
def test_models_that_the_library_cannot_hold_are_refused(model: VAE, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        require_exportable(model)


def test_networks_that_differ_are_refused() -> None:
    model, other = make_kl(attention=True), make_kl(attention=False)
    model.decoder = other.decoder
    with pytest.raises(ModelError, match=r"encoder.mid_block_add_attention: True.*decoder False"):
        require_exportable(model)


def test_the_image_of_a_laplace_likelihood(tmp_path: Path) -> None:
    model = make_kl()
    model.likelihood = Laplace(0.1)
    require_exportable(model)
    z = torch.randn(4, model.latent_dim)
    image = exported(model, tmp_path).decode(z.unflatten(1, (2, 8, 8))).sample
    torch.testing.assert_close((image / 2 + 0.5).clamp(0, 1), model.decode(z).mean, rtol=0, atol=1e-5)


def test_a_likelihood_of_linear_means_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Linear(Gaussian):
        def forward(self, parameters: Tensor) -> Distribution:
            return Independent(Normal((parameters + 1) / 2, 0.1), 3)

    monkeypatch.setitem(LIKELIHOODS, "linear", Linear)
    model = make_kl()
    model.likelihood = Linear(0.1)
    with pytest.raises(ModelError, match="likelihood: linear"):
        require_exportable(model)


def test_a_likelihood_that_scales_pixels_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Centered(Gaussian):
        def encoder_input(self, x: Tensor) -> Tensor:
            return super().encoder_input(x) - 0.5

    monkeypatch.setitem(LIKELIHOODS, "centered", Centered)
    model = make_kl()
    model.likelihood = Centered(0.1)
    with pytest.raises(ModelError, match="likelihood: centered"):
        require_exportable(model)


def test_the_command_writes_a_folder_that_the_library_opens(run: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    lines = done("export", run, "--format", "diffusers").splitlines()
    assert lines[-1] == str(run / "diffusers")
    assert lines[0] == "AutoencoderKL of diffusers: images of 1x8x8, latents of 2x4x4"
    config = strict_json(run / "diffusers" / CONFIG)
    assert lines[1].startswith(f"scaling_factor {config['scaling_factor']:.4g}, shift_factor")
    assert f"{len(vaekit.load_images('digits', 'train')):,} images of digits" in " ".join(lines[1:-1])
    card = (run / "diffusers" / "README.md").read_text()
    assert f"| `scaling_factor` | {config['scaling_factor']:.6g} |" in card
    assert "{" not in card.replace("{name", "")
    assert "latents (B, 2, 4, 4)" in card
    model = vaekit.load(run)
    moments = channel_moments(model, vaekit.RunFolder(run).images(split="train"), 2)
    assert config["scaling_factor"] == 1 / moments.stddev
    assert config["latents_mean"] == moments.means.tolist()
    before = contents(run / "diffusers")
    done("export", run, "--format", "diffusers")  # again, over the one before
    assert contents(run / "diffusers") == before
    assert vaekit.export_model(run, "diffusers", out=tmp_path / "deep" / "vae").config == config
    require_equal(model, opened(tmp_path / "deep" / "vae"), digits.pixels[:50])


def test_a_model_folder_needs_images(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vaekit.load(run).save("model")
    one_line(vae("export", "model", "--format", "diffusers"), "model folder", "--data")
    lines = done("export", "model", "--format", "diffusers", "--data", "digits").splitlines()
    assert lines[-1] == "model-diffusers"
    assert "1,797 images" in " ".join(lines)
    opened(tmp_path / "model-diffusers")


def test_a_prior_of_spatial_latents_is_left_out(run: Path, tmp_path: Path) -> None:
    fitted = tmp_path / "fitted"
    prior = ("--name", "flow-matching", "--steps", 20, "--set", "width=16", "--set", "num_blocks=1")
    done("prior", run, *prior, "--no-report", "--out", fitted)
    assert "the prior flow-matching is left out" in " ".join(done("export", fitted, "--format", "diffusers").splitlines())
    done("export", run, "--format", "diffusers", "-o", tmp_path / "before")
    before, after = load_file(tmp_path / "before" / WEIGHTS), load_file(fitted / "diffusers" / WEIGHTS)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    spec = json.loads((fitted / "config.json").read_text())["prior"]
    assert (spec["name"], spec["maps"]) == ("flow-matching", [2, 4, 4])
    assert vaekit.load(fitted).sample(3).isfinite().all()


def test_more_samples_tighten_the_bound(run: Path, digits: vaekit.ImageSet) -> None:
    model = vaekit.load(run)
    with torch.no_grad():
        elbo, bound = (model.log_likelihood(digits.pixels[:40], num_samples=num).mean() for num in (1, 50))
    assert bound > elbo + 0.5


def test_what_cannot_be_exported_is_one_line(run: Path, refuse: Refuse, tmp_path: Path) -> None:
    make_vae().save(tmp_path / "mlp")
    refuse("export", "mlp", "--format", "diffusers", says=("model.encoder: mlp", "autoencoder-kl"))
    refuse("export", run, "--format", "onnx", says=("--format", "diffusers"))
    assert "\\t" not in refuse("export", run, says=("--format", "diffusers"))
    refuse("export", run, "--format", "diffusers", "-o", "mlp", says=("a model of vaekit", "-o"))
    (tmp_path / "file").write_text("mine")
    refuse("export", run, "--format", "diffusers", "-o", "file", says=("file",))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CONFIG).write_text("{}")
    refuse("export", run, "--format", "diffusers", "-o", "other", says=("other/config.json", "not written by an export"))
    with pytest.raises(DataError, match="format"):
        vaekit.export_model(run, "onnx")  # type: ignore[arg-type]


def test_an_export_is_no_model_of_vaekit(run: Path, tmp_path: Path, refuse: Refuse) -> None:
    shutil.copytree(run, tmp_path / "copy")
    done("export", tmp_path / "copy", "--format", "diffusers", "-o", tmp_path / "vae")
    refuse("sample", "vae", says=("a model of diffusers",))
