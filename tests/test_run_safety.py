"""A run folder: one writer, nothing lost by a kill, and the same command goes on."""

import errno
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file

from tests.bad_input import truncate
from tests.commands import (
    QUICK,
    Refuse,
    contents,
    done,
    newest_checkpoint,
    newest_state,
    one_line,
    start,
    vae,
    weights_equal,
    without_time,
)
from vaekit.core.errors import RunError
from vaekit.core.tensor_files import read_header
from vaekit.experiment.train import run as train
from vaekit.runs.lock import locked
from vaekit.runs.recipe import load_recipe
from vaekit.runs.replacement import BEGINNING, MOVING, NEW, REPLACED, recover
from vaekit.runs.run_folder import RunFolder
from vaekit.training import Callback, Trainer

pytestmark = pytest.mark.usefixtures("no_report")

SHORT = ("--epochs", 3, "--batch-size", 400, "--set", "evaluation.num_samples=0")


class Killed(BaseException):
    """Ends a process as SIGKILL would: nothing is saved."""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


# One writer


def test_a_folder_that_another_process_writes_is_refused(run_copy: Path, refuse: Refuse) -> None:
    with locked(run_copy):
        refuse("train", "--resume", run_copy, "--epochs", 5, says=("copy: ", "another process"))
        refuse("train", "--out", run_copy, "--force", *QUICK, says=("copy: ", "another process"))


def test_of_processes_that_start_together_one_trains(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    processes = [start("train", *SHORT, "--seed", seed, "--out", folder) for seed in (0, 1, 2)]
    errors = {process.returncode: process.communicate()[1] for process in processes if process.wait() or True}
    assert sorted(process.returncode for process in processes) == [0, 2, 2]
    assert errors[2].startswith(f"vae: {folder}: ")
    assert errors[2].count("\n") == 1
    assert [record["epoch"] for record in RunFolder(folder).history] == [1, 2, 3]


def test_a_folder_that_was_replaced_is_left_alone(tmp_path: Path) -> None:
    """Somebody removes a run while it trains and puts another in its place."""
    out = tmp_path / "run"

    class Replace(Callback):
        def on_step(self, trainer: Trainer, logs: dict[str, Any]) -> None:
            if trainer.progress.step == 6:
                shutil.rmtree(out)
                out.mkdir()
                (out / "mine.txt").write_text("mine")

    with pytest.raises(RunError, match="removed, moved or replaced"):
        train(load_recipe("digits", {"epochs": 2}), out, callbacks=[Replace()], console=Console(quiet=True))
    assert contents(out) == {"mine.txt": b"mine"}


# The same command goes on


def test_the_same_command_goes_on(tmp_path: Path) -> None:
    class Kill(Callback):
        def on_step(self, trainer: Trainer, logs: dict[str, Any]) -> None:
            if trainer.progress.step == 30:
                raise Killed

    recipe, quiet = load_recipe("digits", {"epochs": 3, "evaluation.num_samples": 0}), Console(quiet=True)
    whole = train(recipe, tmp_path / "whole", console=quiet)
    with pytest.raises(Killed):
        train(recipe, tmp_path / "run", callbacks=[Kill()], console=quiet)
    again = train(recipe, tmp_path / "run", console=quiet)
    assert [without_time(r) for r in again.history] == [without_time(r) for r in whole.history]
    assert weights_equal(again.folder, whole.folder)


def test_the_same_command_after_the_end_does_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done("train", *QUICK, "--out", folder)
    before = contents(folder)
    assert "finished after 1 epoch;" in done("train", *QUICK, "--out", folder)
    assert "finished after 1 epoch;" in done("train", "--resume", folder)
    assert contents(folder) == before


def test_a_run_of_another_recipe_is_refused(run_copy: Path, refuse: Refuse) -> None:
    refuse("train", "digits", "--out", run_copy, "--epochs", 3, "--latent-dim", 3, says=("copy: ", "--force", "--out"))


def test_a_start_that_was_killed_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with patch("vaekit.experiment.run_writer.install", side_effect=Killed), pytest.raises(Killed):
        vae("train", *QUICK, "--out", folder)
    assert names(folder) == {BEGINNING}
    done("train", *QUICK, "--out", folder)
    assert {"recipe.yaml", "metrics.json", "report.html"} < names(folder)
    assert not names(folder) & {BEGINNING, NEW, MOVING, REPLACED}


def test_a_run_that_was_killed_before_its_first_step_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with patch("vaekit.training.trainer.Trainer.fit", side_effect=Killed), pytest.raises(Killed):
        vae("train", *QUICK, "--out", folder)
    assert newest_state(folder)["progress"]["step"] == 0
    shutil.copytree(folder, tmp_path / "other")
    done("train", *QUICK, "--out", folder)
    done("train", "--resume", tmp_path / "other")
    assert weights_equal(folder, tmp_path / "other")


# Kills at each move of a replacement


@pytest.mark.parametrize("kill_at", range(20))
def test_a_replacement_that_was_killed_is_completed(kill_at: int, run_copy: Path) -> None:
    """Before each rename in turn: the folder holds the old run or the new one, and a new attempt ends it."""
    renames = iter(range(10**6))
    rename = Path.rename

    def killing(path: Path, target: Path) -> Path:
        if next(renames) == kill_at:
            raise Killed
        return rename(path, target)

    with patch.object(Path, "rename", killing):
        try:
            vae("train", *QUICK, "--out", run_copy, "--force")
        except Killed:
            pass
        else:
            assert kill_at > 10
    recover(run_copy)
    num_epochs = RunFolder(run_copy).recipe.training.epochs
    assert num_epochs in (1, 3)
    done("train", "--resume", run_copy)
    assert len(RunFolder(run_copy).history) == RunFolder(run_copy).metrics["epochs"] == num_epochs
    assert not names(run_copy) & {BEGINNING, NEW, MOVING, REPLACED}


@pytest.mark.parametrize("out", ["run", "link", "."])
def test_a_diverging_replacement_keeps_the_run_that_was_there(
    out: str, run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_copy.rename(tmp_path / "run")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder if out == "." else tmp_path)
    before = contents(folder)
    diverging = ("--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e30", "--set", "scheduler.name=constant")
    one_line(vae("train", *diverging, "--out", out, "--force"), "not finite", "the run that was there before")
    assert contents(folder) == before


def test_the_replaced_run_goes_when_the_new_one_has_a_model(run_copy: Path) -> None:
    done("train", *QUICK, "--out", run_copy, "--force", "--seed", 1)
    assert RunFolder(run_copy).recipe.training.seed == 1
    assert REPLACED not in names(run_copy)


# Damage


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    done("train", *SHORT, "--set", "training.seed=1", "--out", tmp_path / "whole")
    folder = tmp_path / "run"
    shutil.copytree(tmp_path / "whole", folder)
    newest = newest_checkpoint(folder)
    truncate(newest, 0.7)
    (folder / "metrics.json").unlink()
    outcome = vae("train", "--resume", folder)
    assert outcome.code == 0
    [line] = outcome.err.splitlines()
    assert f"{newest.name}: damaged" in line
    assert "the one before, of step 4" in line
    assert weights_equal(folder, tmp_path / "whole")
    assert [r["epoch"] for r in RunFolder(folder).history] == [1, 2, 3]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "metrics.jsonl", "metrics.json", "report.html"])
def test_what_is_lost_of_a_run_is_restored_by_resuming(name: str, run_copy: Path) -> None:
    before = contents(run_copy)
    (run_copy / name).unlink()
    done("train", "--resume", run_copy)
    after = contents(run_copy)
    assert after.pop("report.html")
    assert {key: value for key, value in before.items() if key != "report.html"} == after


def test_a_torn_last_line_of_the_history_is_left_out(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = run_copy / "metrics.jsonl"
    history.write_bytes(history.read_bytes()[:-20])
    assert [record["epoch"] for record in RunFolder(run_copy).history] == [1, 2]
    assert "metrics.jsonl: the last line is cut short" in capsys.readouterr().err
    assert vae("train", "--resume", run_copy, "--epochs", 4).code == 0
    assert [record["epoch"] for record in RunFolder(run_copy).history] == [1, 2, 3, 4]


READERS: dict[str, Callable[[Path], object]] = {
    "metrics.jsonl": lambda folder: RunFolder(folder).history,
    "metrics.json": lambda folder: RunFolder(folder).metrics,
    "environment.json": lambda folder: RunFolder(folder).environment["format"],
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", "{", "[" * 100_000, "\ud800", '{"elbo": NaN}'])
def test_damaged_json_is_named_with_a_remedy(name: str, text: str, run_copy: Path) -> None:
    (run_copy / name).write_bytes((text + "\n").encode(errors="surrogatepass"))
    with pytest.raises(RunError, match=r"copy.*(train into|--resume|train anew)") as error:
        READERS[name](run_copy)
    assert f"copy/{name}: " in str(error.value) or "format" in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "metrics.json", "metrics.jsonl"])
def test_a_pipe_in_place_of_a_file_is_refused(name: str, run_copy: Path, refuse: Refuse) -> None:
    (run_copy / name).unlink()
    os.mkfifo(run_copy / name)
    one_line(vae("report", run_copy), name, "regular file")


def test_a_run_writes_only_into_its_own_folder(run_copy: Path, tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "mine").mkdir()
    shutil.rmtree(run_copy / "images")
    (run_copy / "images").symlink_to(tmp_path / "mine")
    refuse("train", "--resume", run_copy, "--epochs", 4, says=("copy/images: ", "link"))


def test_a_folder_that_is_no_run_is_not_touched(tmp_path: Path, refuse: Refuse) -> None:
    """Whatever the names in it: nothing is moved or removed, and no lock is left."""
    for name in (".new/a.png", ".restored/b.png", ".beginning/c.png", "sub/.partial-note.txt", "d.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    refuse("train", "--out", "photos", *QUICK, says=("photos: ", "no run folder"))
    refuse("train", "--out", "photos", "--force", *QUICK, says=("photos: ", "no run folder"))
    refuse("train", "--resume", "photos", says=("photos: ", "recipe.yaml"))
    assert not (tmp_path / "photos" / ".lock").exists()


@pytest.mark.parametrize("damage", [{"elbo": {}}, {"elbo": {"value": "many"}}, {"psnr": {"of": 1}}])
def test_metrics_that_are_no_estimates_are_refused(damage: dict[str, Any], run_copy: Path) -> None:
    path = run_copy / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    one_line(vae("report", run_copy), "metrics.json", "damaged")


@pytest.mark.parametrize("counts", [1, {"train": "many"}])
def test_an_environment_without_counts_is_refused(counts: object, run_copy: Path) -> None:
    path = run_copy / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": counts}))
    one_line(vae("report", run_copy), "environment.json", "damaged")


# Files


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        done("train", *QUICK, "--out", tmp_path / name)
    for file in ("model.safetensors", "config.json", "recipe.yaml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        done("train", *QUICK, "--out", tmp_path / "run")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert modes == {0o640}


def test_temporary_files_of_killed_processes_are_removed(run_copy: Path) -> None:
    dead = run_copy / "images" / ".vaekit-partial-999999999-samples.png"
    alive = run_copy / f".vaekit-partial-{os.getppid()}-recipe.yaml"
    for path in (dead, alive):
        path.write_text("half")
    done("train", "--resume", run_copy)
    assert (dead.exists(), alive.exists()) == (False, True)


# The disk


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("fails_at", [0, 3, 6, 9, 12])
def test_a_full_disk_ends_a_run_with_one_line_and_loses_nothing(code: int, fails_at: int, tmp_path: Path) -> None:
    folder, writes, fsync = tmp_path / "run", iter(range(10**6)), os.fsync

    def failing(descriptor: int) -> None:
        if next(writes) >= fails_at:
            raise OSError(code, os.strerror(code), str(folder / "file"))
        fsync(descriptor)

    with patch("os.fsync", failing):
        line = one_line(vae("train", *SHORT, "--out", folder), str(folder), os.strerror(code))
    assert "vae train" in line
    done("train", *SHORT, "--out", folder)
    done("train", *SHORT, "--out", tmp_path / "whole")
    assert weights_equal(folder, tmp_path / "whole")


def test_a_folder_that_is_removed_ends_a_run_with_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    class Remove(Callback):
        def on_step(self, trainer: Trainer, logs: dict[str, Any]) -> None:
            if trainer.progress.step == 6:
                shutil.rmtree(folder)

    with pytest.raises(RunError, match="removed"):
        train(load_recipe("digits", {"epochs": 2}), folder, callbacks=[Remove()], console=Console(quiet=True))
    assert not folder.exists()


def test_a_closed_output_saves_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("train", "--epochs", 30, "--set", "evaluation.num_samples=0", "--out", folder)
    assert process.stdout is not None
    for _ in range(5):  # the plan, and the header of the epochs
        process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 128 + signal.SIGPIPE
    assert process.stderr is not None
    with process.stderr:
        [line] = process.stderr.read().splitlines()
    assert line == f"stopped, because the output was closed; go on with: vae train --resume {folder}"
    assert newest_state(folder)["progress"]["step"] > 0


def test_a_checkpoint_whose_checksum_was_removed_is_damaged(run_copy: Path, refuse: Refuse) -> None:
    for path in (run_copy / "checkpoints").iterdir():
        metadata = read_header(path).metadata
        save_file(load_file(path), path, metadata=metadata)
    refuse("train", "--resume", run_copy, "--epochs", 4, says=("step-000000063.safetensors: ", "checksum"))
    assert "--force" in vae("train", "--resume", run_copy, "--epochs", 4).err


def test_a_disk_that_is_full_from_the_start_begins_no_run(tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch("os.fsync", full):
        line = one_line(vae("train", *QUICK, "--out", tmp_path / "run"), "no run was begun", "--out")
    assert "--resume" not in line


def test_a_disk_that_is_full_when_a_run_is_to_be_replaced_keeps_it(run_copy: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = (run_copy / "model.safetensors").read_bytes()
    with patch("os.fsync", full):
        line = one_line(vae("train", *QUICK, "--force", "--out", run_copy), "no run was begun, and what was there stays")
    assert "--resume" not in line
    assert (run_copy / "model.safetensors").read_bytes() == before
    assert RunFolder(run_copy).history


@pytest.mark.parametrize(("name", "text"), [("environment.json", "{}"), ("config.json", '{"epoch": NaN}')])
def test_files_without_a_format_version_are_called_damaged(name: str, text: str, run_copy: Path, refuse: Refuse) -> None:
    (run_copy / name).write_text(text)
    refuse("sample", run_copy, says=(str(run_copy), "damaged", "copy them again"))


def test_a_lock_that_is_a_link_is_named(run_copy: Path, refuse: Refuse) -> None:
    (run_copy / ".lock").unlink(missing_ok=True)
    (run_copy / ".lock").symlink_to(".lock")
    refuse("train", "--resume", run_copy, "--epochs", 9, says=(f"{run_copy / '.lock'}: cannot be written", "remove it"))
