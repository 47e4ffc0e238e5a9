"""Runs that cannot be resumed, and training that diverges."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.bad_input import Make, edit_json, truncate
from tests.commands import Refuse, newest_checkpoint, newest_state, one_line, vae
from vaekit.core.terms import Loss, StepContext, Terms
from vaekit.models import load_vae
from vaekit.objectives import ELBO, OBJECTIVES
from vaekit.runs.run_folder import RunFolder
from vaekit.training import write_state


def on_checkpoints(change: Make) -> Make:
    """Returns the function that changes all checkpoints of a run."""
    return lambda run: [change(path) for path in (run / "checkpoints").iterdir()]


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


BAD_RUNS: dict[str, tuple[Make, list[str], tuple[str, ...]]] = {
    "batch size": (lambda run: None, ["--batch-size", "7", "--epochs", "5"], ("training.batch_size", "training.epochs")),
    "learning rate below 0": (lambda run: None, ["--lr", "-0.1", "--epochs", "5"], ("optimizer.lr",)),
    "seed": (lambda run: None, ["--seed", "5"], ("training.seed", "training.epochs")),
    "other latent_dim": (lambda run: None, ["--latent-dim", "3"], ("model.latent_dim", "training.epochs")),
    "nonsense": (lambda run: None, ["--set", "training.epoch=5"], ("training.epoch", "'epochs'")),
    "no recipe": (lambda run: (run / "recipe.yaml").unlink(), ["--epochs", "4"], ("copy: ", "recipe.yaml")),
    "no checkpoint": (on_checkpoints(Path.unlink), ["--epochs", "4"], ("copy: ", "checkpoints", "vae clean", "--from")),
    "no checkpoint of an unfinished run": (
        lambda run: [(run / "metrics.json").unlink(), *on_checkpoints(Path.unlink)(run)],
        ["--epochs", "4"],
        ("checkpoints: ", "--force"),
    ),
    "truncated checkpoints": (on_checkpoints(partial(truncate, keep=0.5)), ["--epochs", "4"], ("step-000000063", "damaged")),
    "checkpoints without their end": (
        on_checkpoints(partial(truncate, keep=0.9999)),
        ["--epochs", "4"],
        ("step-000000063.safetensors: ", "damaged"),
    ),
    "empty checkpoints": (on_checkpoints(partial(truncate, keep=0)), ["--epochs", "4"], ("step-000000063", "damaged")),
    "model as checkpoint": (
        lambda run: [shutil.copy(run / "model.safetensors", path) for path in (run / "checkpoints").iterdir()],
        ["--epochs", "4"],
        ("step-000000063.safetensors: ", "damaged"),
    ),
    "checkpoint of other values": (
        lambda run: write_state(newest_checkpoint(run), {"a": 1}, RunFolder(run).environment["run"]),
        ["--epochs", "4"],
        ("checkpoint",),
    ),
    "checkpoint of another run": (
        lambda run: write_state(newest_checkpoint(run), newest_state(run), "0123456789abcdef"),
        ["--epochs", "4"],
        ("step-000000063.safetensors: ", "another run"),
    ),
    "recipe that was edited": (
        lambda run: replace_text(run / "recipe.yaml", "seed: 0", "seed: 1"),
        ["--epochs", "4"],
        ("copy/recipe.yaml: ", "began"),
    ),
    "recipe that is not YAML": (lambda run: (run / "recipe.yaml").write_text("["), ["--epochs", "4"], ("copy/recipe.yaml",)),
    "recipe of bytes": (
        lambda run: (run / "recipe.yaml").write_bytes(b"\xff\xfe"),
        ["--epochs", "4"],
        ("copy/recipe.yaml",),
    ),
    "no environment, and a recipe that was edited": (
        lambda run: [
            (run / "environment.json").unlink(),
            replace_text(run / "recipe.yaml", "batch_size: 64", "batch_size: 32"),
        ],
        ["--epochs", "4"],
        ("copy/environment.json", "missing", "recipe and images"),
    ),
    "neither environment nor checkpoints": (
        lambda run: [(run / "environment.json").unlink(), shutil.rmtree(run / "checkpoints")],
        ["--epochs", "4"],
        ("copy/environment.json", "missing"),
    ),
    "truncated environment": (
        lambda run: truncate(run / "environment.json", 0.5),
        ["--epochs", "4"],
        ("copy/environment.json",),
    ),
    "environment of another run": (
        lambda run: edit_json(run / "environment.json", data={"train": "0", "test": "0", "name": "digits"}),
        ["--epochs", "4"],
        ("copy/recipe.yaml: ", "environment.json"),
    ),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_run_that_cannot_be_resumed(case: str, run_copy: Path, refuse: Refuse) -> None:
    damage, options, says = BAD_RUNS[case]
    damage(run_copy)
    refuse("train", "--resume", run_copy, *options, says=says)


@pytest.mark.parametrize(
    ("args", "option"), [(["mnist-mlp"], "recipe"), (["--out", "elsewhere"], "--out"), (["--force"], "--force")]
)
def test_resume_with_options_that_do_not_apply(args: list[str], option: str, run_copy: Path, refuse: Refuse) -> None:
    refuse("train", *args, "--resume", run_copy, "--epochs", "4", says=("--resume", option))


# Divergence

DIVERGING = ("--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e30", "--set", "scheduler.name=constant")


def test_divergence_reports_the_step_and_leaves_nothing(refuse: Refuse) -> None:
    refuse("train", *DIVERGING, "--out", "run", says=("not finite", "step 2 (epoch 1)", "--lr", "training.clip_norm"))


def test_divergence_at_the_last_step_is_reported(refuse: Refuse) -> None:
    refuse("train", *DIVERGING, "--batch-size", 2000, "--epochs", 1, "--out", "run", says=("not finite", "epoch 1", "--lr"))


class FiniteForOneEpoch(ELBO):
    """The ELBO for one epoch, and NaN afterwards."""

    def __call__(self, terms: Terms, context: StepContext) -> Loss:
        loss = super().__call__(terms, context)
        return loss if context.epoch < 1 else Loss(loss.value * torch.nan, loss.logs)


def test_divergence_keeps_the_last_finite_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "finite-for-one-epoch", FiniteForOneEpoch)
    run = tmp_path / "run"
    outcome = vae("train", "--set", "objective.name=finite-for-one-epoch", "--set", "evaluation.num_samples=0", "--out", run)
    one_line(outcome, "step 22 (epoch 2)", str(run), "last good epoch")
    assert [record["epoch"] for record in RunFolder(run).history] == [1]
    assert all(bool(value.isfinite().all()) for value in load_vae(run).state_dict().values())
    assert not (run / "metrics.json").exists()
    assert [path.name for path in run.rglob(".*")] == [".lock"]


REMEDIES = {None: "damaged", 1: "train it again", 99: "update vaekit"}


@pytest.mark.parametrize("version", REMEDIES)
@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("environment.json", ["sample"]),
        ("environment.json", ["evaluate", "--quick"]),
        ("environment.json", ["train", "--resume"]),
        ("config.json", ["sample"]),
        ("config.json", ["evaluate", "--quick"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_folder_of_another_format_version(
    file: str, version: int | None, command: list[str], run_copy: Path, refuse: Refuse
) -> None:
    data = json.loads((run_copy / file).read_text())
    data.pop("format")
    (run_copy / file).write_text(json.dumps(data if version is None else data | {"format": version}))
    refuse(*command, run_copy, says=("copy: ", "format", REMEDIES[version]))
