"""The whole path of images of 2, 4, 5 and 16 channels by the command line: train, measure and plot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.channel_grids import HEIGHT, WIDTH, lines_of, smooth
from tests.commands import done, one_line, strict_json, tiles, vae
from tests.plot_outputs import pixels, played
from vaekit.core.units import to_gray_levels
from vaekit.plots.grids import number_for
from vaekit.presentation.gallery import SHOWN_SEED, Gallery
from vaekit.runs.run_folder import RunFolder

TINY = {
    "model.latent_dim": 2,
    "model.encoder": "{name: mlp, hidden: [8]}",
    "model.decoder": "{name: mlp, hidden: [8]}",
    "training.images_every": 1,
    "training.batch_size": 20,
    "evaluation.num_samples": 2,
}


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes no curves, which take longer than everything else."""
    monkeypatch.setattr("vaekit.experiment.finish.write_curves", lambda folder: None)
    monkeypatch.setattr("vaekit.experiment.run_writer.write_curves", lambda folder: None)


def trained(folder: Path, channels: int, *more: object, name: str = "run") -> Path:
    """A run of two epochs on smooth images in two classes."""
    images, labels = smooth(60, channels).numpy(), np.arange(60) % 2
    np.savez(folder / "x.npz", images=images, labels=labels)
    changes = [word for place, value in TINY.items() for word in ("--set", f"{place}={value}")]
    data = ("--data", folder / "x.npz", "--channels", channels, "--set", "data.size=null")
    outcome = vae("train", "digits", *data, "--epochs", 2, *changes, "--out", folder / name, *more)
    assert outcome.code == 0, outcome
    return folder / name


@pytest.mark.parametrize("channels", [2, 4, 5, 16])
def test_every_command_shows_all_channels(channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("vaekit.evaluation.samples.feature_classifier.MIN_STEPS", 10)
    monkeypatch.setattr("vaekit.evaluation.samples.feature_classifier.EPOCHS", 1)
    run = trained(tmp_path, channels)
    folder = RunFolder(run)
    assert folder.model.shape == (channels, HEIGHT, WIDTH)
    _previews(run, folder, channels)
    _measured(run, channels)
    _plotted(run, folder.gallery, channels)
    _animated(run)
    _chosen(run, folder.gallery, channels)


def _previews(run: Path, folder: RunFolder, channels: int) -> None:
    """The images that training writes."""
    few = folder.images().sample(number_for(HEIGHT, WIDTH, channels), SHOWN_SEED).pixels
    columns = min(10, len(few))
    rows = -(-len(few) // columns)
    lines = lines_of(run / "images" / "reconstructions.png", 2 * rows * channels, columns, (2, 2 * channels))
    pairs = lines.unflatten(0, (rows, channels, 2)).permute(2, 0, 3, 1, 4, 5).flatten(1, 2)
    assert torch.equal(pairs[0, : len(few)], few)
    decoded = to_gray_levels(folder.model.reconstruct(few))
    assert (pairs[1, : len(few)].int() - decoded.int()).abs().max() <= 1
    assert {"step-000000000.webp", "step-000000001.webp"} <= {path.name for path in (run / "images" / "film").iterdir()}
    page = (run / "report.html").read_text()
    assert f"each of {channels} channels as gray" in page
    assert f"{channels}×{HEIGHT}×{WIDTH} pixels" in page


def _measured(run: Path, channels: int) -> None:
    """The evaluation, the scores and the latents."""
    options = ("--num-samples", 3, "--num-annealed", 2, "--num-chains", 2, "--num-distributions", 3, "--num-refined", 2)
    assert vae("evaluate", run, *options).code == 0
    metrics = strict_json(run / "evaluation.json")
    assert metrics["data"]["shape"] == [channels, HEIGHT, WIDTH]
    assert {"elbo", "psnr", "ssim", "annealed", "fidelity", "usefulness"} <= metrics.keys()
    line = one_line(vae("evaluate", run, "--features", "inception"))
    assert f"Inception takes images of 1 or 3 channels, got {channels}" in line
    done("score", run, "-n", 3)
    assert pixels(run / "scores.png").ndim == 2
    done("embed", run, "--split", "test", "-o", run / "latents.npz")
    assert np.load(run / "latents.npz")["means"].shape == (12, 2)


def _plotted(run: Path, gallery: Gallery, channels: int) -> None:
    """The plots of single images and figures."""
    done("sample", run, "-n", 6, "--seed", 3, "-o", run / "six.png")
    torch.manual_seed(3)
    samples: Tensor = to_gray_levels(gallery.model.sample(6))
    lines = lines_of(run / "six.png", 2 * channels, 3, (channels,))
    assert torch.equal(lines.unflatten(0, (2, channels)), samples.unflatten(0, (2, 3)).transpose(1, 2))
    images = {"reconstruct": gallery.reconstructions(), "traverse": gallery.traversals(), "manifold": gallery.manifold(4)}
    for command, image in images.items():
        done(command, run, *(("--steps", 4) if command == "manifold" else ()), "-o", run / f"{command}.png")
        np.testing.assert_array_equal(pixels(run / f"{command}.png"), pixels(image))
    done("interpolate", run, "@0", "1", "--steps", 4, "-o", run / "interpolation.png")
    lines = lines_of(run / "interpolation.png", channels, 4, (channels,))
    start = to_gray_levels(gallery.model.reconstruct(gallery.images.pixels[:1]))[0]
    assert (lines[:, 0].int() - start.int()).abs().max() <= 1
    for command in ("map", "errors"):
        done(command, run)


def _animated(run: Path) -> None:
    """The animations, as GIF and as WebP."""
    for name, options in {"through": ("--through", "0,1", "--steps", 1), "training": ("--training",)}.items():
        for suffix in (".gif", ".webp"):
            path = run / f"{name}{suffix}"
            done("animate", run, *options, "-o", path)
            assert len({frame.shape for frame in played(path)[0]}) == 1
    done("animate", run, "--traverse", "--steps", 1, "-n", 2, "-o", run / "traverse.gif")


def _chosen(run: Path, gallery: Gallery, channels: int) -> None:
    """Three channels as red, green and blue, and one as gray."""
    samples = to_gray_levels(gallery.model.sample(6))
    done("sample", run, "-n", 6, "--channels", "2,1,2", "-o", run / "color.png")
    torch.manual_seed(0)
    samples = to_gray_levels(gallery.model.sample(6))
    found = tiles(run / "color.png", 6, 3, (3, HEIGHT, WIDTH))
    assert torch.equal(found, samples[:, [1, 0, 1]])
    done("sample", run, "-n", 6, "--channels", channels, "-o", run / "gray.png")
    assert torch.equal(tiles(run / "gray.png", 6, 3, (1, HEIGHT, WIDTH)), samples[:, -1:])
    line = one_line(vae("sample", run, "--channels", "1,2,17"))
    assert "numbered from 1" in line
    assert "--channels 1,2: give one channel" in one_line(vae("errors", run, "--channels", "1,2"))


def test_channels_of_the_recipe_are_shown_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    run = trained(tmp_path, 5, "--set", "data.shown_channels=3,2,1")
    assert RunFolder(run).recipe.data.shown_channels == (3, 2, 1)
    assert "channels 3, 2, 1 as red, green and blue" in (run / "report.html").read_text()
    few = RunFolder(run).images().sample(number_for(HEIGHT, WIDTH), SHOWN_SEED).pixels
    shown = tiles(run / "images" / "reconstructions.png", 40, 10, (3, HEIGHT, WIDTH), pairs=True)
    assert torch.equal(shown[:10], few[:10, [2, 1, 0]])
    for command, name in {"score": "scores.png", "traverse": "images/traverse.png"}.items():
        done(command, run)
        assert pixels(run / name).shape[2] == 3
    done("traverse", run, "--channels", 5)
    assert pixels(run / "images" / "traverse-channels-5.png").ndim == 2
    done("report", run, "--channels", "4", "-o", tmp_path / "gray.html")
    assert "channel 4 as gray" in (tmp_path / "gray.html").read_text()


def test_resumed_run_may_show_other_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_report: None) -> None:
    """The frames of the animated training have one size nevertheless."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    run = trained(tmp_path, 5)
    assert vae("train", "--resume", run, "--epochs", 3, "--set", "data.shown_channels=[5, 3, 1]").code == 0
    done("animate", run, "--training", "-o", tmp_path / "t.webp")
    frames, _ = played(tmp_path / "t.webp")
    assert len(frames) > 3
    assert len({frame.shape for frame in frames}) == 1
    line = one_line(vae("animate", run, "--training", "--channels", 1))
    assert "data.shown_channels" in line


def test_comparison_shows_the_channels_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_report: None
) -> None:
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    runs = [trained(tmp_path, 5, "--seed", seed, name=f"run-{seed}") for seed in (0, 1)]
    assert vae("compare", *runs, "-o", tmp_path / "all.html").code == 0
    assert "each of 5 channels as gray" in (tmp_path / "all.html").read_text()
    assert vae("compare", *runs, "--channels", "3,2,1", "-o", tmp_path / "rgb.html").code == 0
    assert "channels 3, 2, 1 as red, green and blue" in (tmp_path / "rgb.html").read_text()
