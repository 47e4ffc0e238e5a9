"""What a message says of how to go on: commands on lines of their own that a shell reads, and advice for what was typed."""

import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from tests.commands import QUICK, done, one_line, vae
from vaekit.core.command_text import anew_command, from_command, resume_command
from vaekit.core.progress import print_command, print_line
from vaekit.runs.run_list import find_runs


@pytest.mark.parametrize("path", ["runs/digits", "my runs/it's", "-x", "a;b$(c)"])
def test_commands_are_read_by_a_shell_as_they_are_meant(path: str) -> None:
    run = Path(path)
    assert shlex.split(resume_command(run, "--epochs", 9)) == ["vae", "train", "--resume", path, "--epochs", "9"]
    assert shlex.split(from_command(run)) == ["vae", "train", "--from", path]
    assert shlex.split(anew_command(run)) == ["vae", "train", f"{path}/recipe.yaml", "--out", path, "--force"]


def test_a_command_is_never_broken() -> None:
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=True, color_system=None)
    command = resume_command(Path("runs/a-run-of-a-long-name"), "--epochs", 100)
    print_line("it was still rising: more epochs may help:", console)
    print_command(command, console)
    *_, last = file.getvalue().splitlines()
    assert last == f"  {command}"
    assert len(last) > 40


def test_a_run_that_still_rises_says_the_command_alone_on_its_line(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    lines = done("train", "digits", *QUICK, "--out", run, "--no-report").splitlines()
    place = lines.index(f"  {resume_command(run, '--epochs', 2)}")
    assert lines[place - 1].endswith("more epochs may help:")
    assert "ended after its one epoch" in lines


def test_a_finished_run_speaks_of_what_was_typed(tmp_path: Path) -> None:
    args = ("train", "digits", *QUICK, "--out", tmp_path / "run", "--no-report")
    done(*args)
    again = done(*args)
    assert "--force trains anew" in again
    assert "--resume" not in again
    resumed = done("train", "--resume", tmp_path / "run", "--no-report")
    assert resumed.splitlines()[-1] == f"  {anew_command(tmp_path / 'run')}"
    assert "--force" not in resumed.splitlines()[0]
    command = shlex.split(resumed.splitlines()[-1])[1:]
    assert "to train on" in done(*command, "--no-report")  # the command that is said does what it says


def test_a_run_that_stopped_early_says_which_option_goes_on(tmp_path: Path) -> None:
    patience = ("--set", "training.patience=1", "--lr", 0.2, "--epochs", 30)
    args = ("train", "digits", *QUICK[2:], *patience, "--out", tmp_path / "run", "--no-report")
    first, again = done(*args), done(*args)
    why = next(line for line in first.splitlines() if line.startswith("stopped early after epoch "))
    assert "of 30: no better validation ELBO since epoch" in why
    assert f"finished, {why}; --set training.patience=2 goes on; --force trains anew" in again


def test_a_run_without_checkpoints_advises_a_command_that_works(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done("train", "digits", *QUICK, "--out", run, "--no-report")
    for checkpoint in (run / "checkpoints").glob("*"):
        checkpoint.write_bytes(b"damaged")
    line = one_line(vae("train", "--resume", run), "train anew: ")
    command = shlex.split(line.partition("train anew: ")[2])
    assert "to train on" in done(*command[1:], "--no-report")
    assert find_runs([tmp_path]) == [run]
