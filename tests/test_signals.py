"""Signals: training saves its state and says how to go on, other commands stop with a line; exit codes are documented."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.console import Console

from tests.commands import done, newest_state, vae, weights_equal
from vaekit.core import signals
from vaekit.core.errors import Interrupted
from vaekit.core.signals import SIGNALS, StopRequests, StopSignal, stop_requests, stopped_at_once
from vaekit.experiment.place import write_errors
from vaekit.experiment.train import run as train
from vaekit.models import Model
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder
from vaekit.training import Callback, Trainer

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 400, "evaluation.num_samples": 0}
QUIET = Console(quiet=True)
NUMBERS = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@NUMBERS
def test_the_first_signal_is_a_request_and_the_second_stops_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requests() as stop:
        signal.raise_signal(number)
        assert stop.number == number
        with pytest.raises(StopSignal, match=number.name) as error:
            signal.raise_signal(number)
        assert error.value.exit_code == 128 + number
    assert signal.getsignal(number) == before


@NUMBERS
def test_what_can_be_repeated_is_stopped_by_the_first_signal(number: signal.Signals) -> None:
    with stop_requests() as stop, pytest.raises(StopSignal), stop.at_once():
        signal.raise_signal(number)
    with stopped_at_once(), pytest.raises(StopSignal):
        signal.raise_signal(number)
    requests = StopRequests()
    requests.receive(number)
    with pytest.raises(StopSignal), requests.at_once():
        raise AssertionError  # a request from before: the work does not begin


class SendsInFinalizer:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def turn_into_a_value_error() -> None:
    """Does what extensions do."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except StopSignal:
        raise ValueError("no shape") from None


def swallow() -> None:
    SendsInFinalizer()
    time.sleep(10)


def meet_in_the_hook() -> None:
    """A second signal comes while the hook of swallowed exceptions sends the first again."""

    def send_both(number: int) -> None:
        with patch("vaekit.core.signals._send_again", send_again):
            signal.raise_signal(signal.SIGHUP)
        send_again(number)

    send_again = signals._send_again
    with patch("vaekit.core.signals._send_again", send_both):
        SendsInFinalizer()
    time.sleep(10)


@pytest.mark.parametrize("meet", [turn_into_a_value_error, swallow, meet_in_the_hook])
def test_a_signal_is_not_lost_in_code_that_turns_or_swallows_exceptions(meet: Callable[[], None]) -> None:
    with suppress(StopSignal), stopped_at_once():  # of two signals, the other may come late
        with pytest.raises(StopSignal), stopped_at_once():
            meet()
        time.sleep(4 * signals.REPEAT_SECONDS)
    with pytest.raises(ValueError, match="mine"), stopped_at_once():
        raise ValueError("mine")


def test_an_ignored_signal_stays_ignored() -> None:
    """As SIGHUP is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop, stopped_at_once():
            signal.raise_signal(signal.SIGHUP)
        assert stop.number is None
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True)
def sighup_is_not_ignored() -> Iterator[None]:
    """Whatever the tests run under."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class RaiseAt(Callback):
    """Sends a signal at one of the callbacks of the second epoch."""

    def __init__(self, number: int, at: str) -> None:
        self.number = number
        self.at = at

    def _raise(self, trainer: Trainer, at: str) -> None:
        if at == self.at and trainer.progress.step >= 6:
            self.at = ""
            signal.raise_signal(self.number)

    def on_step(self, trainer: Trainer, logs: dict[str, Any]) -> None:
        self._raise(trainer, "step")

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._raise(trainer, "epoch")

    def on_checkpoint(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self._raise(trainer, "checkpoint")


@NUMBERS
@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("at", ["step", "epoch", "checkpoint"])
def test_training_saves_its_state_and_goes_on(number: signal.Signals, at: str, tmp_path: Path) -> None:
    """In a step, in the writing of the last epoch, and in the last save: none is swallowed."""
    recipe = load_recipe("digits", SETTINGS)
    with pytest.raises(Interrupted, match=f"go on with: vae train --resume {tmp_path}") as stopped:
        train(recipe, tmp_path / "run", callbacks=[RaiseAt(number, at)], console=QUIET)
    assert stopped.value.exit_code == 128 + number
    assert newest_state(tmp_path / "run")["progress"]["step"] == (6 if at == "step" else 8)
    assert not (tmp_path / "run" / "metrics.json").exists()
    train(recipe, tmp_path / "run", console=QUIET)
    whole = train(recipe, tmp_path / "whole", console=QUIET)
    assert weights_equal(tmp_path / "run", tmp_path / "whole")
    assert RunFolder(tmp_path / "run").metrics["elbo"] == whole.metrics["elbo"]


@pytest.mark.usefixtures("no_report")
def test_a_signal_in_the_validation_stops_at_once_and_the_validation_is_repeated(tmp_path: Path) -> None:
    from vaekit.experiment import prepare

    recipe, validations, bound_values = load_recipe("digits", SETTINGS), iter(range(9)), prepare.bound_values

    def interrupted(model: Model, data: Any, **options: Any) -> dict[str, float]:
        if next(validations) == 1:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError
        return bound_values(model, data, **options)

    with patch.object(prepare, "bound_values", interrupted), pytest.raises(Interrupted, match="validation of epoch 2"):
        train(recipe, tmp_path / "run", console=QUIET)
    progress = newest_state(tmp_path / "run")["progress"]
    assert (progress["step"], progress["epoch"]) == (8, 1)
    train(recipe, tmp_path / "run", console=QUIET)
    train(recipe, tmp_path / "whole", console=QUIET)
    assert weights_equal(tmp_path / "run", tmp_path / "whole")
    assert [record["epoch"] for record in RunFolder(tmp_path / "run").history] == [1, 2]


@pytest.mark.parametrize("at", ["evaluate_model", "write_grids", "write_curves", "run_report"])
def test_a_signal_after_the_last_epoch_loses_no_result(at: str, tmp_path: Path) -> None:
    """The end of a run goes on step by step: the metrics are not computed again."""
    folder = tmp_path / "run"
    options = ("--epochs", 1, "--batch-size", 400, "--set", "evaluation.num_samples=0", "--out", folder)
    with patch(f"vaekit.experiment.finish.{at}", side_effect=lambda *args, **more: signal.raise_signal(signal.SIGTERM)):
        outcome = vae("train", *options)
    assert outcome.code == 143
    assert outcome.err == f"stopped after the last epoch; go on with: vae train --resume {folder}\n"
    has_metrics = at != "evaluate_model"
    assert (folder / "metrics.json").exists() == has_metrics
    before = (folder / "metrics.json").read_bytes() if has_metrics else b""
    done("train", *options)
    assert (folder / "report.html").stat().st_size > 10_000
    assert not has_metrics or (folder / "metrics.json").read_bytes() == before
    assert "finished" in done("train", *options)


@NUMBERS
@pytest.mark.parametrize("command", ["evaluate", "score", "sample"])
def test_a_command_that_computes_stops_with_one_line(
    number: signal.Signals, command: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with patch("vaekit.runs.run_folder.load_vae", side_effect=lambda *args: signal.raise_signal(number)):
        outcome = vae(command, trained)
    assert (outcome.code, outcome.err) == (128 + number, f"vae: stopped by {number.name}\n")
    assert list(tmp_path.iterdir()) == []


def test_nohup_keeps_a_run_alive(tmp_path: Path) -> None:
    command = [
        "nohup",
        sys.executable,
        "-m",
        "vaekit",
        "train",
        "--epochs",
        "20",
        "--set",
        "evaluation.num_samples=0",
        "--out",
        str(tmp_path / "run"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        while not (tmp_path / "run" / "metrics.jsonl").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=120) == 0
    assert len(RunFolder(tmp_path / "run").history) == 20


STARTS = """
import os, signal, sys
class SendsWhileImported:
    def find_spec(self, name, path=None, target=None):
        if name == "vaekit.cli.options":
            os.kill(os.getpid(), signal.{number})
sys.meta_path.insert(0, SendsWhileImported())
sys.argv = ["vae", "data", "digits"]
from vaekit.__main__ import main
main()
"""


@NUMBERS
def test_a_signal_while_the_command_line_is_imported_is_one_line(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS.format(number=number.name)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (128 + number, f"vae: stopped by {number.name}\n")


ENDS = """
import atexit, os, signal, sys
atexit.register(lambda: os.kill(os.getpid(), signal.{number}))
sys.argv = ["vae", "recipes"]
from vaekit.__main__ import main
main()
"""


@NUMBERS
def test_a_signal_after_the_last_line_changes_nothing(number: signal.Signals) -> None:
    command = [sys.executable, "-c", ENDS.format(number=number.name)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "mnist-mlp" in ended.stdout


def test_a_signal_at_any_other_place_of_training_says_how_to_go_on(tmp_path: Path) -> None:
    """As of a launcher that ends the others while one handles the loss of a process."""
    go_on = f"stopped by SIGTERM; go on with: vae train --resume {tmp_path}"
    with pytest.raises(Interrupted, match=go_on) as stopped, write_errors(tmp_path):
        raise StopSignal(signal.SIGTERM)
    assert stopped.value.exit_code == 143
