"""Spikes of the gradient: which norms are spikes, and exact skips, stops, rollbacks and resumes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.commands import newest_checkpoint
from tests.test_contracts import make_vae
from tests.test_divergence import SHAPE, images, make_trainer, table
from tests.test_training import QUIET, StopAt, without_time
from vaekit.core.errors import ConfigError, Diverged, Interrupted
from vaekit.core.terms import StepContext
from vaekit.data import Batch
from vaekit.experiment.train import resume, run
from vaekit.runs.recipe import load_recipe
from vaekit.training import SCHEDULERS, Callback, GradientStep, MonteCarloEM, Trainer, spikes
from vaekit.training.spikes import SpikeDetector

HUGE = 1e8
SMALL = {"data.size": 4, "model.encoder.hidden": [8], "model.decoder.hidden": [8], "evaluation.num_samples": 0}


class Spiky(GradientStep):
    """A step whose loss, and so its gradient, is multiplied at some steps."""

    factors: dict[int, float] = {}
    num_updates = 0

    def update(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        self.num_updates += 1
        logs: dict[str, Tensor] = self._loss(batch.x, self.labels(batch), context)
        norm = self.descend(logs["loss"] * self.factors.get(self.num_updates, 1.0))
        return logs | {"loss": logs["loss"].detach(), "grad_norm": norm}


class Watch(Callback):
    """Keeps the weights after each step, the logs and the records."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.logs: list[dict[str, Tensor]] = []
        self.records: list[dict[str, Any]] = []

    def on_step(self, trainer: Trainer, logs: dict[str, Tensor]) -> None:
        self.weights.append({key: value.clone() for key, value in trainer.step.model.state_dict().items()})
        self.logs.append(logs)

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short window, so that a test of some ten steps has spikes."""
    monkeypatch.setattr(spikes, "WINDOW", 8)
    monkeypatch.setattr(spikes, "WARM_UP", 4)
    monkeypatch.setattr(spikes, "COPY_EVERY", 5)


def spiky(factors: dict[int, float], on_spike: str | None, **settings: Any) -> tuple[Trainer, Watch]:
    """A trainer of 3 epochs of 6 steps of 8 images, whose gradient is multiplied at steps counted from 1."""
    model = make_vae(shape=SHAPE, likelihood="gaussian")
    trainer = make_trainer(model, step=Spiky, **({"batch_size": 8, "on_spike": on_spike} | settings))
    trainer.step.factors = factors  # type: ignore[attr-defined]
    watch = Watch()
    trainer.callbacks.append(watch)
    return trainer, watch


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, b[key]) for key, value in a.items())


# Detection


def test_a_spike_is_a_norm_above_ten_times_the_median_of_the_last_two_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (spikes.FACTOR, spikes.WINDOW, spikes.WARM_UP) == (10, 200, 100)
    detector = SpikeDetector()
    for index in range(99):
        detector.check(torch.tensor(1e6 if index == 50 else 1.0), "model")
    detector.check(torch.tensor(1e6), "model")  # the hundredth norm: too few are known
    detector.check(torch.tensor(9.99), "model")
    with pytest.raises(Diverged, match=r"the gradient norm of 10\.1 is 10\.1 times its running median"):
        detector.check(torch.tensor(10.1), "model")
    detector.check(torch.tensor(1e6), "other")  # each optimizer has its own median


def test_norms_that_have_changed_for_good_are_normal_again() -> None:
    detector = SpikeDetector()
    for _ in range(8):
        detector.check(torch.tensor(1.0), "model")
    found = []
    for _ in range(8):
        try:
            detector.check(torch.tensor(100.0), "model")
            found.append(False)
        except Diverged:
            found.append(True)
    assert found == [True] * 4 + [False] * 4  # the median of 4 of each is 50.5


# Off


def test_without_the_option_nothing_is_looked_for_and_nothing_is_logged() -> None:
    trainer, watch = spiky({9: HUGE}, None)
    trainer.fit()
    assert trainer.guard is trainer.step.spikes is None
    assert "spikes" not in watch.records[0]
    assert trainer.state_dict()["spikes"] is None


@pytest.mark.parametrize("on_spike", ["stop", "skip", "rollback"])
def test_a_run_without_spikes_is_the_same_with_the_option(on_spike: str) -> None:
    torch.manual_seed(3)
    without, watch_without = spiky({}, None)
    without.fit()
    torch.manual_seed(3)
    guarded, watch = spiky({}, on_spike)
    guarded.fit()
    assert equal(watch.weights[-1], watch_without.weights[-1])
    assert [without_time(record) for record in watch.records] == [
        without_time(record) | {"spikes": 0} for record in watch_without.records
    ]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.on_spike"):
        load_recipe("digits", {"training.on_spike": "ignore"})


# Stop


def test_stop_ends_the_run_and_names_the_step_and_the_norm() -> None:
    trainer, watch = spiky({9: HUGE}, "stop")
    with pytest.raises(
        Diverged, match=r"gradient norm of .*e\+.* times its running median at step 9 \(epoch 2\), images .*--lr"
    ):
        trainer.fit()
    assert len(watch.logs) == 8
    assert equal(watch.weights[-1], trainer.step.model.state_dict()) or trainer.step.model.likelihood.num_seen == 72


# Skip


@pytest.mark.parametrize("factor", [HUGE, math.nan, math.inf])
def test_skip_leaves_everything_as_it_was_and_counts_the_step(factor: float) -> None:
    trainer, watch = spiky({9: factor}, "skip", ema=0.9)
    trainer.fit()
    assert equal(watch.weights[8], watch.weights[7])
    assert not equal(watch.weights[9], watch.weights[8])
    assert trainer.progress.step == 18
    assert trainer.progress.images_seen == 144
    assert [record["spikes"] for record in watch.records] == [0, 1, 0]
    assert all(value.isnan() for value in watch.logs[8].values())
    assert watch.logs[8].keys() == watch.logs[7].keys()
    assert trainer.ema is not None
    assert int(trainer.ema.n_averaged) == 17
    assert all(state["step"] == 17 for state in trainer.step.optimizers["model"].state_dict()["state"].values())


def test_the_means_of_an_epoch_are_over_its_updates() -> None:
    trainer, watch = spiky({9: math.nan}, "skip")
    trainer.fit()
    updates = [log["loss"].item() for index, log in enumerate(watch.logs[6:12]) if index != 2]
    assert watch.records[1]["train"]["loss"] == pytest.approx(sum(updates) / 5, rel=1e-6)
    json.dumps(watch.records, allow_nan=False)


def test_a_skip_equals_a_run_without_that_batch() -> None:
    """By hand: the same updates from the same batches and noise, with the spike left out."""
    torch.manual_seed(3)
    skipping, watch = spiky({9: HUGE}, "skip")
    skipping.fit()
    torch.manual_seed(3)
    other, _ = spiky({}, None)
    other.step.train()
    for epoch in range(3):
        for index, batch in enumerate(other.batches):
            number = 6 * epoch + index
            if number == 8:
                torch.randn(1, len(batch), 3)  # the noise of the skipped step
                continue
            other.step.update(batch, StepContext(number / 6))
    assert equal(watch.weights[-1], other.step.model.state_dict())


def test_a_running_statistic_of_a_failed_step_is_undone() -> None:
    """The learned scale follows the errors of each batch: one that is not a number would stay so for ever."""
    values = torch.rand(48, *SHAPE)
    values[17] = math.nan
    trainer = make_trainer(make_vae(shape=SHAPE, likelihood="gaussian"), table(values), batch_size=8, on_spike="skip")
    watch = Watch()
    trainer.callbacks.append(watch)
    trainer.fit()
    assert [record["spikes"] for record in watch.records] == [1, 1, 1]
    assert all(value.isfinite().all() for value in watch.weights[-1].values())
    assert math.isfinite(watch.records[-1]["train"]["loss"])


def test_skips_without_an_update_between_end_the_run() -> None:
    trainer, _ = spiky(dict.fromkeys(range(8, 99), math.nan), "skip", epochs=9)
    with pytest.raises(Diverged, match=r"not finite at step 18 \(epoch 3\)"):
        trainer.fit()
    assert trainer.progress.step == 17


def test_an_epoch_without_an_update_ends_the_run() -> None:
    trainer, _ = spiky(dict.fromkeys(range(7, 13), math.nan), "skip")
    with pytest.raises(Diverged, match=r"no update in epoch 2.*--lr"):
        trainer.fit()


# Rollback


@pytest.mark.parametrize("factor", [HUGE, math.nan])
def test_rollback_returns_weights_optimizer_and_average_to_the_copy(factor: float) -> None:
    trainer, watch = spiky({9: factor}, "rollback", ema=0.9)
    trainer.fit()
    assert equal(watch.weights[8], watch.weights[4])  # the copy was made after 5 steps
    assert not equal(watch.weights[8], watch.weights[7])
    assert trainer.progress.step == 18
    assert [record["spikes"] for record in watch.records] == [0, 1, 0]
    assert trainer.ema is not None
    assert int(trainer.ema.n_averaged) == 18 - 4
    assert all(state["step"] == 14 for state in trainer.step.optimizers["model"].state_dict()["state"].values())


def test_the_learning_rate_does_not_go_back() -> None:
    trainer, _ = spiky({9: HUGE}, "rollback")
    trainer.scheduler = SCHEDULERS["plateau"](trainer.step.optimizers["model"], 3)

    class Lower(Callback):
        def on_step(self, trainer: Trainer, logs: dict[str, Tensor]) -> None:
            if trainer.progress.step == 7:
                trainer.step.optimizers["model"].param_groups[0]["lr"] = 1e-5

    trainer.callbacks.append(Lower())
    trainer.fit()
    assert trainer.lr == 1e-5


def test_the_copy_is_not_changed_by_the_training_that_follows() -> None:
    trainer, watch = spiky({8: HUGE, 10: math.nan}, "rollback")
    trainer.fit()
    for index in (7, 9):
        assert equal(watch.weights[index], watch.weights[4])
    assert not equal(watch.weights[8], watch.weights[4])
    assert all(state["step"] == 5 + 8 for state in trainer.step.optimizers["model"].state_dict()["state"].values())


def test_returns_to_one_copy_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "COPY_EVERY", 1000)
    trainer, _ = spiky(dict.fromkeys(range(7, 99, 2), math.nan), "rollback", epochs=9)
    with pytest.raises(Diverged, match=r"not finite at step 27 "):
        trainer.fit()


def test_monte_carlo_em_can_skip_and_roll_back() -> None:
    for on_spike in ("skip", "rollback"):
        model = make_vae(shape=SHAPE)
        trainer = make_trainer(model, images(), step=MonteCarloEM, on_spike=on_spike, batch_size=8)
        scale = [1.0]
        model.decoder.output.weight.register_hook(lambda gradient, scale=scale: gradient * scale[0])

        class Poison(Callback):
            def on_step(self, trainer: Trainer, logs: dict[str, Tensor]) -> None:
                scale[0] = math.nan if trainer.progress.step == 7 else 1.0  # noqa: B023

        watch = Watch()
        trainer.callbacks += [Poison(), watch]
        trainer.fit()
        assert [record["spikes"] for record in watch.records] == [0, 1, 0]
        assert all(value.isfinite().all() for value in watch.weights[-1].values())


# Resume


@pytest.mark.parametrize("on_spike", ["skip", "rollback"])
@pytest.mark.parametrize("stop_at", [17, 24])
def test_a_resumed_run_with_spikes_equals_an_uninterrupted_one(
    on_spike: str, stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spikes, "FACTOR", 1.02)
    settings = {"training.ema": 0.9, "training.on_spike": on_spike, "training.batch_size": 128}
    recipe = load_recipe("digits", SMALL | settings | {"epochs": 3})
    whole = run(recipe, tmp_path / "whole", console=QUIET)
    assert sum(record["spikes"] > 0 for record in whole.history) > 1
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", callbacks=[StopAt(stop_at)], console=QUIET)
    stopped = resume(tmp_path / "parts", {}, QUIET)
    assert [without_time(record) for record in stopped.history] == [without_time(record) for record in whole.history]
    for find in (lambda folder: folder / "model.safetensors", newest_checkpoint):
        mine, theirs = load_file(find(stopped.folder)), load_file(find(whole.folder))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
