"""Training: a resumed run equals an uninterrupted one, the best model is kept, and errors name the step."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tests.bad_input import noise
from tests.commands import newest_checkpoint, newest_state
from tests.test_contracts import make_vae
from vaekit.core.errors import Diverged, Interrupted, RunError
from vaekit.core.terms import StepContext
from vaekit.data import Batches, ImageSet, sample_binary
from vaekit.evaluation.likelihood.bounds import elbo_terms
from vaekit.experiment.prepare import load_splits
from vaekit.experiment.train import resume, run, train
from vaekit.models import build_vae, describe_vae, load_vae
from vaekit.objectives import ELBO
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training import (
    OPTIMIZERS,
    SCHEDULERS,
    Callback,
    GradientStep,
    StepSetup,
    Trainer,
    TrainingConfig,
    make_accelerator,
    read_state,
    write_state,
)
from vaekit.training.step import BatchLoss

SETTINGS: dict[str, Any] = {
    "evaluation.num_samples": 0,
    "data.binarize": "dynamic",
    "model.likelihood.name": "bernoulli",
    "training.ema": 0.9,
    "training.clip_norm": 5.0,
    "training.images_every": 2,
    "data.size": 6,
}
OPTIMIZERS_AND_SCHEDULERS = [
    {"optimizer.name": "adamw", "model.encoder": {"name": "conv"}, "model.decoder": {"name": "conv", "blocks": [1, 0, 1]}},
    {"optimizer.name": "adam", "scheduler.name": "cosine", "scheduler.warmup": 1},
    {"optimizer.name": "adamax", "scheduler.name": "plateau", "scheduler.patience": 0},
    {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "scheduler.name": "constant"},
    {"data.augment": {"flip": 0.5, "rotate": 10.0, "jitter": 0.1}},
]


QUIET = Console(quiet=True)
pytestmark = pytest.mark.usefixtures("no_report")


class Recorder(Callback):
    """Keeps what the trainer reports, and calls a function after each step."""

    def __init__(self, on_step: Callable[[Trainer, dict[str, torch.Tensor]], None] | None = None) -> None:
        self.after_step = on_step
        self.records: list[dict[str, Any]] = []
        self.best: list[dict[str, torch.Tensor]] = []
        self.calls: list[str] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        self.calls.append("begin")

    def on_step(self, trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        self.calls.append("step")
        if self.after_step is not None:
            self.after_step(trainer, logs)

    def on_best(self, trainer: Trainer) -> None:
        self.calls.append("best")
        self.best.append({key: value.clone() for key, value in trainer.averaged_model.state_dict().items()})

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.calls.append("epoch")
        self.records.append(record)

    def on_checkpoint(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self.calls.append("checkpoint")

    def on_train_end(self, trainer: Trainer) -> None:
        self.calls.append("end")


class StopAt(Callback):
    """Asks the process to stop after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        if trainer.progress.step == self.step:
            signal.raise_signal(signal.SIGTERM)


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}


@pytest.fixture(scope="module", params=OPTIMIZERS_AND_SCHEDULERS, ids=["adamw", "adam", "adamax", "sgd", "augmented"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of four epochs that was not interrupted."""
    recipe = load_recipe("digits", SETTINGS | request.param | {"epochs": 4})
    return run(recipe, tmp_path_factory.mktemp("whole") / "run", console=QUIET, report=False)


@pytest.mark.parametrize("stop_at", [7, 21, 22, 42], ids=lambda step: f"step {step}")
def test_a_resumed_run_equals_an_uninterrupted_one(whole: RunFolder, stop_at: int, tmp_path: Path) -> None:
    """N epochs = k + (N - k), stopped within an epoch or at its end: weights, average, optimizer, metrics and generators."""
    recipe = whole.recipe
    with pytest.raises(Interrupted, match=f"step {stop_at}.*--resume"):
        run(recipe, tmp_path / "parts", callbacks=[StopAt(stop_at)], console=QUIET)
    assert newest_state(tmp_path / "parts")["progress"]["step"] == stop_at
    torch.manual_seed(12345)  # the state of the generators before resuming must not matter
    stopped = resume(tmp_path / "parts", {}, QUIET)

    assert [without_time(r) for r in stopped.history] == [without_time(r) for r in whole.history]
    assert stopped.metrics["elbo"] == whole.metrics["elbo"]
    assert (stopped.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    for mine, theirs in [(load_file(newest_checkpoint(folder)) for folder in (stopped.folder, whole.folder))]:
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert (stopped.folder / "images" / "samples.png").read_bytes() == (whole.folder / "images" / "samples.png").read_bytes()


def test_more_epochs_go_on_where_the_run_ended(tmp_path: Path) -> None:
    settings = SETTINGS | {"scheduler.name": "constant"}
    whole = run(load_recipe("digits", settings | {"epochs": 3}), tmp_path / "whole")
    short = run(load_recipe("digits", settings | {"epochs": 1}), tmp_path / "short")
    longer = resume(short.folder, {"epochs": 3})
    assert [without_time(r) for r in longer.history] == [without_time(r) for r in whole.history]
    assert longer.recipe.training.epochs == 3


def test_history_after_the_checkpoint_is_written_again(tmp_path: Path) -> None:
    """A line that is newer than the checkpoint is replaced, not repeated."""
    finished = run(load_recipe("digits", SETTINGS | {"epochs": 2}), tmp_path / "run")
    history = finished.history
    with (finished.folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(history[-1] | {"epoch": 3}) + "\n")
    (finished.folder / "metrics.json").unlink()
    assert resume(finished.folder, {}).history == history


def test_seeds_make_runs(tmp_path: Path) -> None:
    recipe = load_recipe("digits", SETTINGS | {"epochs": 1})
    first, second = run(recipe, tmp_path / "a"), run(recipe, tmp_path / "b")
    other = run(load_recipe("digits", SETTINGS | {"epochs": 1, "seed": 1}), tmp_path / "c")
    assert first.metrics["elbo"]["value"] == second.metrics["elbo"]["value"] != other.metrics["elbo"]["value"]


def test_the_callers_generators_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(load_recipe("digits", SETTINGS | {"epochs": 1}), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def make_trainer(optimizer: str = "adam", lr: float = 1e-2, **settings: Any) -> Trainer:
    model = make_vae(shape=(1, 4, 4))
    images = ImageSet((torch.arange(50) % 2 * 255).byte().reshape(50, 1, 1, 1).expand(50, 1, 4, 4).contiguous())
    config = TrainingConfig(**({"batch_size": 16, "device": "cpu"} | settings))
    mover = OPTIMIZERS[optimizer](list(model.parameters()), lr)
    setup = StepSetup(model, ELBO(), mover, make_accelerator("cpu", config.precision), len(images), config.clip_norm)
    batches = Batches(images, config.batch_size, seed=0, transform=sample_binary)
    scheduler = SCHEDULERS["constant"](mover, config.epochs)
    return Trainer(GradientStep(setup), batches, scheduler, config, validating([-1.0] * config.epochs))


def validating(elbos: list[float]) -> Callable[[Any], dict[str, float]]:
    """A validation with given results."""
    values = iter(elbos)
    return lambda model: {"elbo": next(values), "rate": 1.0, "distortion": 0.0}


def fit(trainer: Trainer, on_step: Callable[[Trainer, dict[str, torch.Tensor]], None] | None = None) -> Recorder:
    """Trains, and returns what happened."""
    recorder = Recorder(on_step)
    trainer.callbacks.append(recorder)
    trainer.fit()
    return recorder


def test_patience_ends_training_and_the_best_is_kept() -> None:
    trainer = make_trainer(epochs=20, patience=3)
    trainer.validate = validating([-9.0, -5.0, -7.0, -6.0, -5.0, -1.0])
    found = fit(trainer)
    assert len(found.records) == 5
    assert len(found.best) == 2
    assert (trainer.progress.best_epoch, trainer.progress.best_elbo) == (2, -5.0)
    assert [record["best"] for record in found.records] == [True, True, False, False, False]
    assert any(not torch.equal(found.best[-1][k], v) for k, v in trainer.step.model.state_dict().items())


def test_callbacks_are_called_in_order() -> None:
    trainer = make_trainer(epochs=2)
    trainer.validate = validating([-5.0, -6.0])
    steps = ["step"] * 4
    expected = ["begin", *steps, "best", "epoch", "checkpoint", *steps, "epoch", "checkpoint", "end"]
    assert fit(trainer).calls == expected


def test_the_end_is_called_after_an_error_too() -> None:
    trainer, recorder = make_trainer(epochs=2), Recorder()

    def fail(trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        raise KeyError("mine")

    recorder.after_step = fail
    trainer.callbacks.append(recorder)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit()
    assert recorder.calls == ["begin", "step", "checkpoint", "end"]


def test_callbacks_of_the_user_get_the_logs_of_each_step(tmp_path: Path) -> None:
    """Their presence changes no number of the run."""
    recipe, losses = load_recipe("digits", SETTINGS | {"epochs": 1}), []
    recorder = Recorder(lambda trainer, logs: losses.append(float(logs["loss"])))
    mine = train("digits", out=tmp_path / "mine", console=QUIET, callbacks=[recorder], **(SETTINGS | {"epochs": 1}))
    alone = run(recipe, tmp_path / "alone", console=QUIET)
    assert len(losses) == 21
    assert [without_time(r) for r in recorder.records] == [without_time(r) for r in alone.history]
    assert [without_time(r) for r in mine.history] == [without_time(r) for r in alone.history]


def test_the_average_is_the_average() -> None:
    weights: list[torch.Tensor] = []
    average: list[torch.Tensor] = []

    def watch(trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        weights.append(trainer.step.model.posterior.mu.weight.detach().clone())
        average.append(trainer.averaged_model.posterior.mu.weight.detach().clone())

    fit(make_trainer(epochs=3, ema=0.3), watch)
    expected = weights[0]
    for n, (weight, seen) in enumerate(zip(weights, average, strict=True)):
        decay = min(0.3, (1 + n) / (10 + n)) if n else 0.0
        expected = decay * expected + (1 - decay) * weight
        torch.testing.assert_close(seen, expected)
    assert len(weights) == 12


def test_gradients_are_clipped_between_backward_and_step() -> None:
    """With plain SGD the step is the clipped gradient: its length is lr times clip_norm."""
    trainer = make_trainer("sgd", lr=1.0, epochs=1, clip_norm=1e-3)
    parameters = list(trainer.step.model.parameters())
    before = [p.detach().clone() for p in parameters]
    moved: list[float] = []

    def watch(trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        if not moved:
            moved.append(sum(((p - b) ** 2).sum() for p, b in zip(parameters, before, strict=True)).sqrt().item())

    found = fit(trainer, watch)
    assert moved[0] == pytest.approx(1e-3, rel=1e-3)
    assert found.records[0]["grad_norm"] > 0.1  # the norm is logged as it was before clipping


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_the_run_and_names_the_step(where: str) -> None:
    def poison(trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        weight = trainer.step.model.decoder.output.weight
        if trainer.progress.step == 6 and where == "loss":
            with torch.no_grad():
                weight[0, 0] = float("nan")
        if trainer.progress.step == 6 and where == "gradient":
            weight.register_hook(lambda gradient: gradient * float("inf"))

    trainer = make_trainer(epochs=2)
    with pytest.raises(Diverged, match=rf"{where}.*step 7 \(epoch 2\)"):
        fit(trainer, poison)
    assert trainer.progress.step == 6


def test_diverging_leaves_no_half_written_run(tmp_path: Path) -> None:
    recipe = load_recipe("digits", {"optimizer": {"name": "sgd", "lr": 1e20}, "epochs": 2})
    with pytest.raises(Diverged, match="not finite at step"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_and_validation_measure_the_same() -> None:
    """At equal weights training and validation log one objective (a fault of the field's code)."""
    model = make_vae(shape=(1, 4, 4))
    images = ImageSet(torch.randint(0, 2, (400, 1, 4, 4), dtype=torch.uint8) * 255)
    with torch.no_grad():
        logs = [BatchLoss(model, ELBO())(images.pixels, None, StepContext()) for _ in range(50)]
    valid = elbo_terms(model, images, num_samples=50)
    for key in ("elbo", "rate", "distortion"):
        values = torch.stack([log[key] for log in logs]).double()
        assert values.mean().item() == pytest.approx(valid[key].value, abs=5 * values.std().item() / 50**0.5 + 1e-3)


def test_history_is_weighted_by_images_not_batches() -> None:
    """The last, smaller batch has the weight of its images (a fault of the field's code)."""
    seen: list[tuple[float, int]] = []

    def watch(trainer: Trainer, logs: dict[str, torch.Tensor]) -> None:
        seen.append((logs["elbo"].item(), trainer.progress.images_seen - sum(num for _, num in seen)))

    found = fit(make_trainer("sgd", lr=1e-12, epochs=1), watch)
    assert [num for _, num in seen] == [16, 16, 16, 2]
    expected = sum(elbo * num for elbo, num in seen) / 50
    assert found.records[0]["train"]["elbo"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precisions_learn(precision: str) -> None:
    trainer = make_trainer(epochs=30, precision=precision)
    records = fit(trainer).records
    assert records[-1]["train"]["elbo"] > records[0]["train"]["elbo"] + 3
    assert all(p.dtype == torch.float32 for p in trainer.step.model.parameters())


def test_plateau_gets_the_validation_elbo() -> None:
    trainer = make_trainer(epochs=4)
    trainer.scheduler = SCHEDULERS["plateau"](trainer.step.optimizers["model"], 4, factor=0.1, patience=0)
    trainer.validate = validating([-5.0, -6.0, -4.0, -7.0])
    assert [record["lr"] for record in fit(trainer).records] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])


def test_state_goes_through_a_file_as_it_is(tmp_path: Path) -> None:
    state = {
        "a": {0: {"step": torch.tensor(3.0), "x": torch.randn(2, 3)}, 1: {}},
        "b": [1, 2.5, None, "text", True, {"inner": torch.zeros(0, dtype=torch.uint8)}],
        "inf": float("-inf"),
    }
    (tmp_path / "deep").mkdir()
    write_state(tmp_path / "deep" / "state.safetensors", state)
    read = read_state(tmp_path / "deep" / "state.safetensors")
    assert read["b"][:5] == [1, 2.5, None, "text", True]
    assert read["inf"] == float("-inf")
    assert list(read["a"]) == [0, 1]
    assert torch.equal(read["a"][0]["x"], state["a"][0]["x"])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["state.safetensors"]
    (tmp_path / "deep" / "state.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(RunError, match="damaged"):
        read_state(tmp_path / "deep" / "state.safetensors")
    with pytest.raises(RunError, match="nothing to resume"):
        read_state(tmp_path / "nowhere")


def test_a_model_built_in_python_trains_with_an_objective_of_its_own(tmp_path: Path) -> None:
    images = load_splits(load_recipe("digits").data, 0).train
    model = make_vae(shape=(1, 8, 8))
    trained = train(model, images, objective=ELBO(beta=2.0, free_bits=0.1), out=tmp_path / "run", epochs=2)
    assert trained.recipe.objective["beta"]["value"] == 2.0
    assert describe_vae(trained.model) == describe_vae(model)
    assert trained.history[-1]["train"]["beta"] == 2.0
    again = build_vae(describe_vae(load_vae(tmp_path / "run")))
    assert again.state_dict().keys() == model.state_dict().keys()


def test_a_run_of_other_images_is_not_resumed(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", noise(20, 6, 6))
    settings = SETTINGS | {"epochs": 1, "data": str(tmp_path / "set.npy"), "size": 6}
    finished = run(load_recipe("digits", settings), tmp_path / "run")
    np.save(tmp_path / "set.npy", noise(20, 6, 6)[::-1])
    with pytest.raises(RunError, match="not the images that the run began with"):
        resume(finished.folder, {"epochs": 2})


def test_a_run_is_read_back(trained: Path) -> None:
    finished = RunFolder(trained)
    assert len(finished.history) == 3
    assert finished.metrics["elbo"]["num_images"] == len(finished.images()) == 359
    best = max(finished.history, key=lambda record: record["valid"]["elbo"])
    assert finished.metrics["best_epoch"] == best["epoch"]
    record = finished.history[-1]
    assert record["valid"]["elbo"] == pytest.approx(-(record["valid"]["distortion"] + record["valid"]["rate"]))
    assert record["images_seen"] == 3 * 1294
