"""``vae train --resume``: a run that was stopped continues as if it had not been."""

import re
import signal
import time
from pathlib import Path
from unittest.mock import patch

from tests.commands import QUICK, done, newest_state, start, vae, weights_equal, without_time
from vaekit.runs.run_folder import RunFolder


def test_dry_run_of_a_resume_trains_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done("train", *QUICK, "--out", folder)
    weights = (folder / "model.safetensors").read_bytes()
    done("train", "--resume", folder, "--epochs", 3, "--dry-run")
    assert len(RunFolder(folder).history) == RunFolder(folder).recipe.training.epochs == 1
    assert (folder / "model.safetensors").read_bytes() == weights


def test_interrupted_training_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    options = ("--epochs", 8, "--batch-size", 32, "--set", "evaluation.num_samples=0")
    folder = tmp_path / "run"
    process = start("train", *options, "--out", folder)
    deadline = time.monotonic() + 60
    while not (folder / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    [line] = err.splitlines()
    assert f"vae train --resume {folder}" in line
    stopped = re.match(r"stopped (?:in|after) epoch \d+, after step (\d+);", line)
    assert stopped is not None
    step, progress = int(stopped[1]), newest_state(folder)["progress"]
    assert progress["step"] == step
    assert len(RunFolder(folder).history) == (epoch := progress["epoch"]) < 8
    assert not (folder / "metrics.json").exists()

    out = done("train", "--resume", folder)
    assert f"resumed after {epoch} epochs, step {step:,}" in out
    done("train", *options, "--out", tmp_path / "whole")
    assert weights_equal(folder, tmp_path / "whole")
    assert [without_time(r) for r in RunFolder(folder).history] == [
        without_time(r) for r in RunFolder(tmp_path / "whole").history
    ]
    assert without_time(RunFolder(folder).metrics) == without_time(RunFolder(tmp_path / "whole").metrics)


def test_interrupted_evaluation_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with patch("vaekit.experiment.finish.evaluate_model", side_effect=KeyboardInterrupt):
        outcome = vae("train", *QUICK, "--out", folder)
    assert outcome.code == 130
    assert f"vae train --resume {folder}" in outcome.err
    done("train", "--resume", folder)
    assert RunFolder(folder).metrics["epochs"] == len(RunFolder(folder).history) == 1
