"""Runs that begin with the weights of another, and runs that go on with another learning rate."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from tests.commands import QUICK, Refuse, done, newest_state, one_line, vae, weights_equal
from vaekit.core.errors import ConfigError, RunError
from vaekit.experiment.train import resume
from vaekit.models import save_vae
from vaekit.runs.identity import identity
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training import Callback, Trainer

pytestmark = pytest.mark.usefixtures("no_report")
NEXT = ("--epochs", 2, "--batch-size", 400, "--set", "evaluation.num_samples=0")


class Stopped(Exception):
    """Ends training."""


class Stop(Callback):
    """Stops training at a step, as an error of the user would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        if trainer.progress.step == self.step:
            raise Stopped


class Beginning(Callback):
    """Keeps the weights before the first step, and of the average."""

    def on_train_begin(self, trainer: Trainer) -> None:
        self.weights = {key: value.clone() for key, value in trainer.step.model.state_dict().items()}
        self.averaged = {key: value.clone() for key, value in trainer.averaged_model.state_dict().items()}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixty color images of 12 x 10 pixels, in files."""
    (tmp_path / "mine").mkdir()
    noise = np.random.default_rng(0)
    for number in range(60):
        pixels = noise.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "mine" / f"{number:02}.png")
    return tmp_path / "mine"


def test_the_first_step_starts_from_the_old_weights(trained: Path, images: Path, tmp_path: Path) -> None:
    old, seen = RunFolder(trained).model.state_dict(), Beginning()
    run = vaekit.train(start=trained, data=str(images), out=tmp_path / "run", epochs=1, callbacks=[seen])
    for weights in (seen.weights, seen.averaged):
        assert weights.keys() == old.keys()
        assert all(weights[key].equal(old[key]) for key in old)
    assert not weights_equal(trained, tmp_path / "run")
    assert run.recipe.initial is not None
    assert run.recipe.initial.run == str(trained)
    assert run.images().shape == (1, 8, 8)  # fitted to the model


def test_the_command_begins_with_the_weights_and_the_recipe_of_the_run(
    trained: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done("train", "--from", trained, "--data", images, *QUICK)
    run = RunFolder(tmp_path / "runs/digits-mine")
    old = RunFolder(trained).recipe
    assert run.recipe.model == old.model
    assert run.recipe.objective["beta"] == {"name": "constant", "value": 1.0}  # where the schedule of the run ends
    assert (run.recipe.data.size, run.recipe.data.channels) == ((8, 8), 1)
    assert run.recipe.data.levels == old.data.levels
    assert "from the weights of digits" in run.recipe.title
    first = tmp_path / "runs/digits-mine/recipe.yaml"
    done("train", first, "--out", "again")
    assert weights_equal(run.folder, tmp_path / "again")
    assert "finished after 1 epoch" in done("train", "--from", trained, "--data", images, *QUICK)


@pytest.mark.parametrize("conditional", [False, True])
def test_a_fine_tuned_run_resumes_exactly_without_the_old_one(
    conditional: bool, trained: Path, trained_conditional: Path, tmp_path: Path
) -> None:
    start = shutil.copytree(trained_conditional if conditional else trained, tmp_path / "old")
    changes = {"epochs": 2, "batch_size": 400, "seed": 3}
    whole = vaekit.train(start=start, out=tmp_path / "whole", **changes)
    with pytest.raises(Stopped):
        vaekit.train(start=start, out=tmp_path / "run", callbacks=[Stop(6)], **changes)
    if not conditional:  # of a conditional run, the order of classes is needed until a model is written
        shutil.rmtree(start)
    done("train", "--resume", tmp_path / "run")
    assert weights_equal(whole.folder, tmp_path / "run")


def test_the_recipe_stands_for_these_weights_and_no_others(trained: Path, tmp_path: Path) -> None:
    start = shutil.copytree(trained, tmp_path / "old")
    done("train", "--from", start, *QUICK, "--out", tmp_path / "run")
    model = vaekit.load(start)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    save_vae(model, start, belongs_to=RunFolder(start).environment["run"])
    recipe = tmp_path / "run/recipe.yaml"
    one_line(vae("train", recipe, "--out", tmp_path / "other"), "old", "other weights than the recipe names")
    one_line(vae("train", "--from", start, *QUICK, "--out", tmp_path / "run"), "another recipe", "initial.weights")
    plain, tuned = load_recipe("digits"), load_recipe(recipe)
    assert identity(plain, {}) != identity(plain.model_copy(update={"initial": tuned.initial}), {})


def test_other_models_and_shapes_are_refused(trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    refuse("train", "--from", trained, "--size", 12, says=("digits", "1x8x8 and 1x12x12", "--size"))
    refuse("train", "--from", trained, "--latent-dim", 3, says=("another model", "latent_dim: 8 there, 3 here"))
    refuse("train", "mnist-mlp", "--from", trained, "--data", "digits", says=("another model", "there"))
    refuse("train", "--from", "nowhere/at/all", says=("nowhere/at/all: no such run",))
    refuse("train", "--from", trained, "--resume", trained, says=("--resume", "takes no --from"))
    save_vae(RunFolder(trained).model, tmp_path / "model")
    refuse("train", "--from", "model", says=("model: a model folder without a recipe; name one",))
    refuse("train", "--from", trained, "--conditional", says=("another model", "condition"))
    with pytest.raises(ConfigError, match="without start"):
        vaekit.train(RunFolder(trained).model, "digits", start=trained)
    with pytest.raises(ConfigError, match="nothing to train"):
        vaekit.train()


def test_a_model_folder_is_a_beginning_for_its_recipe(trained: Path, tmp_path: Path) -> None:
    save_vae(RunFolder(trained).model, tmp_path / "model")
    seen = Beginning()
    vaekit.train("digits", start=tmp_path / "model", out=tmp_path / "run", epochs=1, callbacks=[seen])
    assert all(value.equal(seen.weights[key]) for key, value in RunFolder(trained).model.state_dict().items())


# The learning rate.


@pytest.mark.parametrize("scheduler", ["constant", "cosine", "plateau"])
def test_a_resumed_run_with_another_learning_rate_is_the_run_of_its_recipe(scheduler: str, tmp_path: Path) -> None:
    """Stopped at step 6 of 8, given a learning rate, and stopped again at step 7."""
    changes = {"epochs": 2, "batch_size": 400, "evaluation.num_samples": 0, "scheduler.name": scheduler}
    with pytest.raises(Stopped):
        vaekit.train("digits", out=tmp_path / "run", callbacks=[Stop(6)], **changes)
    assert newest_state(tmp_path / "run")["progress"]["step"] == 6
    with pytest.raises(Stopped):
        resume(tmp_path / "run", {"lr": 1e-5}, callbacks=[Stop(7)])
    lr = newest_state(tmp_path / "run")["step"]["optimizers"]["model"]["param_groups"][0]["lr"]
    assert 0 < lr <= 1e-5
    done("train", "--resume", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.recipe.training.lr_changes == ((6, 1e-5),)
    assert run.recipe.optimizer["lr"] == 0.003
    assert run.history[-1]["lr"] <= 1e-5 < run.history[0]["lr"]
    done("train", tmp_path / "run/recipe.yaml", "--out", tmp_path / "again")
    assert weights_equal(tmp_path / "run", tmp_path / "again")
    done("train", "digits", *NEXT, "--set", f"scheduler.name={scheduler}", "--out", tmp_path / "plain")
    assert not weights_equal(tmp_path / "run", tmp_path / "plain")


def test_a_finished_run_gets_more_epochs_with_another_learning_rate(tmp_path: Path) -> None:
    done("train", "digits", *QUICK, "--out", tmp_path / "run")
    done("train", "--resume", tmp_path / "run", "--epochs", 2, "--lr", 1e-6)
    history = RunFolder(tmp_path / "run").history
    assert [len(history), history[1]["lr"] < 1.1e-6 < history[0]["lr"]] == [2, True]
    assert RunFolder(tmp_path / "run").recipe.training.lr_changes == ((4, 1e-6),)


def test_wrong_learning_rates_are_refused(tmp_path: Path) -> None:
    done("train", "digits", *QUICK, "--out", tmp_path / "run")
    for lr in (0, -1, "nan", "inf"):
        line = one_line(vae("train", "--resume", tmp_path / "run", "--epochs", 2, "--lr", lr), "lr")
        assert "greater than 0" in line or "finite" in line
    one_line(vae("train", "--resume", tmp_path / "run", "--batch-size", 7), "batch_size", "optimizer.lr")
    with pytest.raises(RunError):
        resume(tmp_path / "nowhere", {"lr": 1e-3})
