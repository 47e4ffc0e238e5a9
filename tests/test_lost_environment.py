"""A run whose ``environment.json`` is lost goes on bit for bit, if recipe, images and checkpoints belong together."""

import shutil
from pathlib import Path

import pytest

from tests.commands import Refuse, done, newest_state, vae, weights_equal, without_time
from vaekit.runs.run_folder import RunFolder

RESUME = ("--epochs", "4", "--no-report", "--set", "training.patience=9")


def test_a_run_without_its_environment_goes_on_bit_for_bit(trained: Path, run_copy: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(trained, tmp_path / "whole")
    before = RunFolder(whole).environment
    (run_copy / "environment.json").unlink()
    done("train", "--resume", whole, *RESUME)
    outcome = vae("train", "--resume", run_copy, *RESUME)
    assert outcome.code == 0
    [line] = [line for line in outcome.err.splitlines() if "environment.json" in line]
    assert "missing" in line
    assert weights_equal(run_copy, whole)
    assert without_time(RunFolder(run_copy).metrics) == without_time(RunFolder(whole).metrics)
    assert newest_state(run_copy)["progress"]["epoch"] == 4
    after = RunFolder(run_copy).environment
    assert {key: after[key] for key in ("format", "run", "data", "images", "parameters")} == {
        key: before[key] for key in ("format", "run", "data", "images", "parameters")
    }
    assert "started" not in after  # which nothing tells any more


def test_after_that_the_run_is_like_any_other(run_copy: Path) -> None:
    (run_copy / "environment.json").unlink()
    assert "is written anew" in vae("train", "--resume", run_copy).err
    assert "environment.json" not in vae("train", "--resume", run_copy).err
    done("report", run_copy)
    done("runs", run_copy.parent)


def test_labels_of_a_conditional_run_are_proven_by_nothing_else(
    trained_conditional: Path, tmp_path: Path, refuse: Refuse
) -> None:
    run = shutil.copytree(trained_conditional, tmp_path / "copy")
    (run / "environment.json").unlink()
    line = refuse("train", "--resume", run, "--epochs", 4, says=("copy/environment.json", "labels"))
    assert f"--from {run}" in line


def test_checkpoints_of_another_run_prove_nothing(run_copy: Path, refuse: Refuse) -> None:
    (run_copy / "environment.json").unlink()
    recipe = (run_copy / "recipe.yaml").read_text()
    (run_copy / "recipe.yaml").write_text(recipe.replace("seed: 0", "seed: 1"))
    refuse("train", "--resume", run_copy, "--epochs", 4, says=("copy/environment.json", "recipe and images"))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_environment_stays_refused(text: str, run_copy: Path, refuse: Refuse) -> None:
    (run_copy / "environment.json").write_text(text)
    refuse("train", "--resume", run_copy, "--epochs", 4, says=("copy/environment.json",))
