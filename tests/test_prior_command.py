"""``vae prior`` and ``vaekit.fit_prior``: a run with the encoder and decoder of another, and a prior fitted afterwards."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import vaekit
from tests.commands import QUICK, Refuse, contents, done, one_line, vae
from tests.test_contracts import make_vae
from tests.test_fitted_priors import sizes
from vaekit.core.errors import ConfigError, NoDensityError, RunError
from vaekit.core.rng import fixed_seed
from vaekit.core.signals import StopSignal
from vaekit.data import ImageSet
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples.memorization import Memorization, memorization, nearest_images
from vaekit.experiment.fit_prior import splits_of
from vaekit.experiment.prior_fit import fit_to_model, require_fittable
from vaekit.models import VAE, load_vae, save_vae
from vaekit.runs.run_folder import RunFolder
from vaekit.runs.run_list import summarize

SMALL = {"mixture": ("num_components=5", "max_samples=2000"), "two-stage": ("hidden=[16]",), "flow-matching": ("width=16",)}


def fit(run: Path, name: str, out: Path, *options: object) -> str:
    """Runs ``vae prior`` with a small prior."""
    changes = [word for change in SMALL.get(name, ()) for word in ("--set", change)]
    steps = () if name in ("gaussian", "mixture") else ("--steps", 30)
    return done("prior", run, "--name", name, "-o", out, "--no-report", *steps, *changes, *options)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots no learning curves, which take longer than a fit."""
    monkeypatch.setattr("vaekit.experiment.fit_prior.write_curves", lambda folder: None)


@pytest.fixture(scope="module")
def mixture(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with a fitted mixture, and what was printed."""
    out = tmp_path_factory.mktemp("priors") / "mixture"
    return out, fit(trained, "mixture", out)


@pytest.fixture(scope="module")
def sampler(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run whose prior can only be sampled, and what was printed."""
    out = tmp_path_factory.mktemp("priors") / "sampler"
    return out, fit(trained, "flow-matching", out)


def test_encoder_and_decoder_are_those_of_the_run(trained: Path, mixture: tuple[Path, str]) -> None:
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, mixture[0]))
    assert {key for key in after if not key.startswith("prior.")} == set(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_the_recipe_says_which_prior_and_to_which_run(trained: Path, mixture: tuple[Path, str]) -> None:
    recipe = RunFolder(mixture[0]).recipe
    assert recipe.model.prior == {"name": "mixture", "num_components": 5, "max_samples": 2000, "min_variance": 1e-4}
    assert recipe.prior_fit is not None
    assert recipe.prior_fit.run == str(trained)
    assert recipe.name == "digits-mixture"
    assert summarize(mixture[0]).state == "finished"


def test_the_elbo_changes_by_the_gain_that_is_printed(trained: Path, mixture: tuple[Path, str]) -> None:
    valid = splits_of(RunFolder(trained)).valid
    before, after = (bound_values(RunFolder(folder).model, valid) for folder in (trained, mixture[0]))
    gain = json.loads((mixture[0] / "metrics.json").read_text())["prior_fit"]["gain"]
    assert gain["value"] > 0
    assert after["distortion"] == before["distortion"]
    with torch.no_grad():
        qz = RunFolder(trained).model.encode(valid.gather(torch.arange(len(valid))))
        z = qz.mean + qz.stddev * torch.randn(qz.mean.shape, generator=torch.Generator().manual_seed(0))
        new, old = (RunFolder(folder).model.prior_of(len(valid)).log_prob(z) for folder in (mixture[0], trained))
    assert gain["value"] == pytest.approx(float((new - old).mean()), abs=1e-3)
    assert after["elbo"] - before["elbo"] == pytest.approx(gain["value"], abs=5 * gain["standard_error"])
    assert f"{gain['value']:+.2f}" in mixture[1]


def test_the_metrics_are_bounds_with_the_new_prior(mixture: tuple[Path, str]) -> None:
    run = RunFolder(mixture[0])
    test = run.images()
    assert run.metrics["elbo"]["value"] == pytest.approx(bound_values(run.model, test)["elbo"], abs=1e-4)
    assert run.metrics["log_likelihood"]["value"] > run.metrics["elbo"]["value"]
    assert run.metrics["meaning"].startswith("log-density")


def test_every_command_takes_the_new_run(mixture: tuple[Path, str], sampler: tuple[Path, str], tmp_path: Path) -> None:
    for number, folder in enumerate((mixture[0], sampler[0])):
        for command in ("sample", "manifold", "rates"):
            path = tmp_path / f"{command}-{number}.png"
            done(command, folder, "-o", path)
            with Image.open(path) as image:
                assert image.size[0] > 100
        done("report", folder, "-o", tmp_path / "report.html")
    done("compare", mixture[0], sampler[0], "-o", tmp_path / "comparison.html")
    assert "sampler only" in (tmp_path / "comparison.html").read_text()
    assert "sampler only" in (tmp_path / "report.html").read_text()


def test_a_model_that_can_only_be_sampled_says_so(sampler: tuple[Path, str], digits: ImageSet) -> None:
    folder, printed = sampler
    assert "sampler only: the prior flow-matching has no density" in printed
    metrics = RunFolder(folder).metrics
    assert "elbo" not in metrics
    assert {"distortion", "psnr", "ssim", "active_units"} <= metrics.keys()
    assert re.search(r"sampler .*\n", done("runs", folder))
    model = RunFolder(folder).model
    for refused in (model.elbo, model.log_likelihood):
        with pytest.raises(NoDensityError, match="flow-matching"):
            refused(digits.pixels[:2])
    one_line(vae("score", folder, "--by", "log_px"), "sampler only", "--by latent")
    config = type(BRIEF)(num_samples=5, num_annealed=3, num_refined=2, num_aggregated=50, num_compared=0, num_probed=0)
    evaluation = evaluate_model(model, digits, train=digits, config=config)
    assert "elbo" not in evaluation.metrics
    assert evaluation.meaning.startswith("sampler only")
    assert evaluation.latents is None


def test_images_can_be_scored_without_a_density(sampler: tuple[Path, str], tmp_path: Path) -> None:
    done("score", sampler[0], "--by", "latent", "-o", tmp_path / "scores.csv")
    header, first = (tmp_path / "scores.csv").read_text().splitlines()[:2]
    assert header == "rank,name,data,row,split,label,class,reconstruction,latent"
    assert float(first.split(",")[-1]) < -3


def test_the_same_command_gives_the_same_weights(trained: Path, sampler: tuple[Path, str], tmp_path: Path) -> None:
    fit(trained, "flow-matching", tmp_path / "again")
    first, again = (load_file(folder / "model.safetensors") for folder in (sampler[0], tmp_path / "again"))
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "flow", "maf", "two-stage", "flow-matching"])
def test_conditional_models_have_a_prior_of_each_class(trained_conditional: Path, digits: ImageSet, name: str) -> None:
    before = RunFolder(trained_conditional).model
    changes = {"steps": 10 if require_fittable(name).steps else 0}
    fitted = fit_to_model(before, name, digits, digits, arguments=sizes(name), changes=changes)
    assert (fitted.gain is None) == (name in ("two-stage", "flow-matching"))
    model = fitted.model
    labels = torch.tensor([0, 1]).repeat_interleave(400)
    with fixed_seed(0), torch.no_grad():
        z = model.prior_of(800, labels).sample()
    spread = z.var(0).sqrt()
    assert bool(z.isfinite().all())
    if name in ("gaussian", "mixture"):  # the others are not fitted in a few steps
        assert ((z[:400].mean(0) - z[400:].mean(0)).abs() / spread).max() > 0.5
    assert model.sample(2, torch.tensor([3, 4])).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("hidden", [None, 8])
@pytest.mark.parametrize("name", ["flow-matching", "gaussian"])
def test_latents_may_be_maps_or_vectors_of_gray_and_color_images(
    channels: int, hidden: int | None, name: str, tmp_path: Path
) -> None:
    with fixed_seed(0):
        pixels = torch.randint(0, 256, (60, channels, 8, 8), dtype=torch.uint8)
        model = conv_vae(channels, hidden)
    data = ImageSet(pixels)
    fitted = fit_to_model(
        model,
        name,
        data,
        data,
        arguments=sizes(name),
        changes={"steps": 20 if name == "flow-matching" else 0, "batch_size": 16},
    )
    assert getattr(fitted.model.prior, "maps", None) == ((2, 2, 2) if hidden is None and name == "flow-matching" else None)
    save_vae(fitted.model, tmp_path)
    again = load_vae(tmp_path)
    with fixed_seed(1):
        mine = fitted.model.sample(5)
    with fixed_seed(1):
        assert torch.equal(again.sample(5), mine)
    assert mine.shape == (5, channels, 8, 8)


def conv_vae(channels: int, hidden: int | None) -> VAE:
    """A small convolutional model, with spatial latents if there is no hidden layer."""
    from vaekit.models import VAEConfig, build_vae

    network = {"name": "conv", "channels": [4, 8], "blocks": [0, 0], "hidden": hidden, "min_resolution": 2}
    parts: dict[str, Any] = {"encoder": network, "decoder": network, "likelihood": {"name": "bernoulli"}}
    parts |= {"posterior": {"name": "diagonal-gaussian"}, "prior": {"name": "standard-normal"}}
    return build_vae(VAEConfig(shape=(channels, 8, 8), latent_dim=8, **parts))


def test_joint_training_of_what_can_only_be_sampled_is_refused(refuse: Refuse) -> None:
    for name in ("two-stage", "flow-matching"):
        refuse("train", "digits", *QUICK, "--set", f"model.prior.name={name}", says=("no density", f"--name {name}"))


def test_the_recipe_of_a_fitted_prior_is_not_trained(mixture: tuple[Path, str], refuse: Refuse) -> None:
    refuse("train", mixture[0] / "recipe.yaml", says=("prior was fitted", "vae prior"))


def test_a_run_is_trained_on_from_a_fitted_prior(mixture: tuple[Path, str], tmp_path: Path) -> None:
    done("train", "--from", mixture[0], *QUICK, "--no-report", "--out", tmp_path / "more")
    recipe = RunFolder(tmp_path / "more").recipe
    assert recipe.prior_fit is None
    assert recipe.model.prior["name"] == "mixture"


def test_wrong_requests_are_one_line(trained: Path, mixture: tuple[Path, str], tmp_path: Path) -> None:
    one_line(vae("prior", trained, "--name", "mixtur", "-o", tmp_path / "x"), "did you mean 'mixture'")
    one_line(vae("prior", trained, "--name", "vamp", "-o", tmp_path / "x"), "cannot be fitted")
    one_line(vae("prior", trained, "--name", "flow", "-o", trained), "stays as it is")
    one_line(vae("prior", trained, "--name", "flow", "-o", mixture[0]), "--force")
    one_line(vae("prior", trained, "--name", "mixture", "--set", "components=3", "-o", tmp_path / "x"), "num_components")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    one_line(vae("prior", trained, "--name", "flow", "-o", tmp_path / "other"), "no run folder")
    model = tmp_path / "model"
    RunFolder(trained).model.save(model)
    one_line(vae("prior", model, "--name", "flow"), "model folder")
    assert not (tmp_path / "x").exists()


STOPPED_IN = ("prior_fit.fit", "fit_prior.save_vae", "fit_prior.neighbor_plot")


@pytest.mark.parametrize("place", STOPPED_IN)
def test_an_interruption_leaves_no_half_written_run(
    trained: Path, mixture: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    old = shutil.copytree(mixture[0], tmp_path / "old")
    before = contents(old)

    def stop(*args: Any, **options: Any) -> None:
        raise StopSignal(2)

    monkeypatch.setattr(f"vaekit.experiment.{place}", stop)
    assert vae("prior", trained, "--name", "gaussian", "-o", tmp_path / "new", "--no-report").code == 130
    assert vae("prior", trained, "--name", "gaussian", "-o", old, "--no-report", "--force").code == 130
    assert not (tmp_path / "new").exists()
    assert contents(old) == before


def test_python_returns_the_run(trained: Path, tmp_path: Path) -> None:
    run = vaekit.fit_prior(trained, "gaussian", out=tmp_path / "g", report=False)
    assert run.model.sample(3).shape == (3, 1, 8, 8)
    assert (tmp_path / "g" / "images" / "memorization.png").is_file()
    with pytest.raises(RunError, match="force"):
        vaekit.fit_prior(trained, "gaussian", out=tmp_path / "g")
    with pytest.raises(ConfigError, match="known"):
        require_fittable("nothing")


class Copies(VAE):
    """A model whose samples are training images."""

    source: Tensor

    def sample(self, num: int, labels: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        return self.source[:num]


def test_copies_are_found_and_new_images_are_not_called_so(digits: ImageSet, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = digits.take(torch.arange(0, 300)), digits.take(torch.arange(300, 359))
    model = make_vae(shape=(1, 8, 8))
    model.__class__ = Copies
    model.source = train.pixels[20:] / 255
    found = memorization(model, train, test)
    assert float(found.samples.max()) < 1e-4
    assert torch.equal(found.nearest, torch.arange(20, 20 + len(test)))
    assert found.share.value == 1
    assert "copies" in found.verdict
    model.source = test.pixels / 255
    honest = memorization(model, train, test)
    torch.testing.assert_close(honest.medians["samples"], honest.medians["test"])


def test_the_share_is_that_of_samples_nearer_than_95_percent() -> None:
    distances = torch.linspace(0, 1, 1001)
    found = Memorization(distances, distances, distances, torch.empty(0), torch.empty(0), 9)
    assert found.share.value == pytest.approx(0.05, abs=0.002)
    assert "no sign of copies" in found.verdict
    assert found.to_data()["median_distances"]["samples"] == pytest.approx(0.5)


def test_nearest_images_are_exact(digits: ImageSet) -> None:
    images = torch.rand(7, 1, 8, 8)
    distances, positions = nearest_images(images, digits)
    every = (images.flatten(1)[:, None] - digits.pixels.flatten(1)[None] / 255).square().mean(2).sqrt()
    torch.testing.assert_close(distances, every.min(1).values)
    assert torch.equal(positions, every.argmin(1))
