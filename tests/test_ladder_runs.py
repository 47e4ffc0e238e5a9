"""Runs of ladders: exact resume, and every command."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from tests.commands import done, one_line, vae, weights_equal, without_time
from vaekit.core.errors import Interrupted
from vaekit.experiment.train import resume, run
from vaekit.models import LadderVAE
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training import Callback

QUIET = Console(quiet=True)
RECIPE: dict[str, Any] = {
    "latent_dim": None,
    "epochs": 3,
    "model.encoder": {"name": "ladder", "channels": [6, 6, 6], "blocks": [1, 1, 1]},
    "model.posterior": {"name": "residual"},
    "model.prior": {"name": "flow"},
    "model.decoder": {"name": "ladder", "channels": [6, 6, 6], "layers": [0, 1, 2], "width": 2},
    "objective": {
        "name": "layered-elbo",
        "free_bits": {"name": "linear", "epochs": 2, "start": 0.5, "end": 0},
        "balance": 0.5,
    },
    "optimizer": {"name": "adamax", "lr": 0.01},
    "training.ema": 0.9,
    "training.on_spike": "skip",
    "evaluation.num_samples": 0,
}
NUM_LATENTS = 2 * (2 * 4 + 16)


@pytest.fixture(scope="module")
def ladder_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A ladder of two layers at 2x2 and one at 4x4, trained for three epochs."""
    return run(load_recipe("digits", RECIPE), tmp_path_factory.mktemp("ladder") / "run", console=QUIET)


class Stopped(Callback):
    """Interrupts a run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Any, logs: dict[str, torch.Tensor]) -> None:
        if trainer.progress.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [7, 22])
def test_a_stopped_run_is_resumed_bit_for_bit(step: int, ladder_run: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        run(load_recipe("digits", RECIPE), folder, callbacks=[Stopped(step)], console=QUIET)
    resumed = resume(folder, {}, QUIET, report=False)
    assert weights_equal(folder, ladder_run.folder)
    assert [without_time(r) for r in resumed.history] == [without_time(r) for r in ladder_run.history]


def test_the_history_has_the_rate_of_each_layer(ladder_run: RunFolder) -> None:
    last = ladder_run.history[-1]
    layers = [last["train"][f"rate_{number}"] for number in (1, 2, 3)]
    assert sum(layers) == pytest.approx(last["train"]["rate"], rel=1e-5)
    assert min(layers) > 0


def test_commands_accept_a_ladder(ladder_run: RunFolder, tmp_path: Path) -> None:
    path = ladder_run.folder
    for command in ("sample", "reconstruct", "traverse", "manifold", "map", "rates", "errors", "curves"):
        done(command, path, "-o", tmp_path / f"{command}.png")
        with Image.open(tmp_path / f"{command}.png") as image:
            assert min(image.size) > 200
    done("traverse", path, "--layer", 2, "-n", 3, "-o", tmp_path / "layer.png")
    done("sample", path, "--temperature", "0.5,0.8,1", "-o", tmp_path / "cold.png")
    done("sample", path, "--fix-layers", "each", "-o", tmp_path / "fixed.png")
    done("interpolate", path, "1", "7", "-o", tmp_path / "interpolate.png")
    done("animate", path, "--through", "1,7", "--steps", 3, "-o", tmp_path / "path.gif")
    done("report", path, "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "What each layer carries" in page
    assert "Bar plot of the KL of each of 3 layers." in page


def test_latents_of_a_ladder_are_one_vector_outside(ladder_run: RunFolder, tmp_path: Path) -> None:
    model = ladder_run.model
    assert isinstance(model, LadderVAE)
    assert model.latent_dim == NUM_LATENTS
    done("embed", ladder_run.folder, "--split", "test", "-o", tmp_path / "latents.csv")
    with (tmp_path / "latents.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 359
    assert sum(name.startswith("mean_") for name in rows[0]) == NUM_LATENTS
    done("score", ladder_run.folder, "--split", "test", "--num-samples", 3, "--by", "log_px", "-o", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open() as file:
        values = [float(row["log_px"]) for row in csv.DictReader(file)]
    assert values == sorted(values)
    assert len(values) == 359


def test_a_command_says_which_layers_there_are(ladder_run: RunFolder, tmp_path: Path) -> None:
    one_line(vae("traverse", ladder_run.folder, "--layer", 4), "layer 4", "3")
    one_line(vae("sample", ladder_run.folder, "--temperature", "0.5,1"), "3 stochastic layers")
    one_line(vae("sample", ladder_run.folder, "--fix-layers", "9"), "3")
    one_line(vae("sample", ladder_run.folder, "--temperature", "nan"), "--temperature")
