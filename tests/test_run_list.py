"""``vae runs`` and ``vae clean``: what is listed, what is removed, and what never is."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.commands import QUICK, Refuse, contents, done, one_line, vae
from vaekit.core.errors import RunError
from vaekit.runs.lock import LOCK
from vaekit.runs.run_list import find_runs, remove_checkpoints, summarize
from vaekit.runs.run_records import RunRecords

ENVIRONMENT, HISTORY = "environment.json", "metrics.jsonl"


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three runs, of which one is finished, one has stopped after an epoch, and one is damaged."""
    monkeypatch.chdir(tmp_path)
    for name in ("done", "deep/stopped", "broken"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    stopped = tmp_path / "runs/deep/stopped"
    (stopped / "metrics.json").unlink()
    (stopped / HISTORY).write_text("".join((stopped / HISTORY).read_text().splitlines(keepends=True)[:1]))
    environment = json.loads((stopped / ENVIRONMENT).read_text())
    (stopped / ENVIRONMENT).write_text(json.dumps(environment | {"started": "2001-02-03T04:05:06+00:00"}))
    (tmp_path / "runs/broken" / HISTORY).write_text("no record\n")
    (tmp_path / "runs/model").mkdir()
    shutil.copy(trained / "config.json", tmp_path / "runs/model")
    return tmp_path / "runs"


def test_the_list_says_what_each_run_is(runs: Path) -> None:
    heading, *lines = done("runs").splitlines()
    assert heading.split() == ["run", "data", "epochs", "state", "ELBO", "size", "started"]
    elbo = RunRecords(runs / "done").metrics["elbo"]["value"]
    cells = {line.split()[0]: line.split() for line in lines[:3]}
    assert [line.split()[0] for line in lines[:3]] == ["runs/done", "runs/deep/stopped", "runs/broken"]  # the newest first
    assert cells["runs/done"][1:4] == ["digits", "3/3", "finished"]
    assert float(cells["runs/done"][4]) == pytest.approx(elbo, abs=0.1)
    assert cells["runs/deep/stopped"][1:4] == ["digits", "1/3", "stopped"]
    assert cells["runs/deep/stopped"][5] == "v"
    assert cells["runs/deep/stopped"][-1] == "2001-02-03"
    assert cells["runs/broken"][1] == "damaged"
    assert lines[3] == "v: the best of the validation images so far"
    assert lines[4].startswith("runs/broken: damaged: ")
    assert "metrics.jsonl" in lines[4]
    assert all(len(line) <= 80 for line in [heading, *lines[:3]])
    assert len(lines) == 5


def test_the_list_needs_no_torch(runs: Path) -> None:
    code = "import sys; from vaekit.__main__ import main\ntry:\n main()\nfinally:\n print('torch' in sys.modules)"
    code = "import sys, vaekit.cli.run_commands as c; c.runs(None); c.clean(None, False); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ).stdout
    assert out.splitlines()[-1] == "False"
    assert "finished" in out


def test_a_folder_without_runs(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.chdir(tmp_path)
    assert done("runs") == "no runs in runs; vae train begins one\n"
    assert done("runs", "empty") == "no runs in empty; vae train begins one\n"
    refuse("runs", "nowhere", says=("nowhere: no such folder",))
    refuse("clean", "nowhere", says=("nowhere: no such folder",))


def test_clean_removes_the_checkpoints_of_finished_runs_alone(runs: Path) -> None:
    before = contents(runs)
    size = summarize(runs / "done").checkpoint_size
    assert size == sum(len(data) for name, data in before.items() if name.startswith("done/checkpoints/"))
    out = done("clean")
    assert "nothing was removed, --yes removes them" in out
    assert contents(runs) == before
    out = done("clean", "--yes")
    assert out.splitlines()[-1] == f"freed {size / 1e6:.1f} MB"
    assert "runs/deep/stopped: stopped, so its checkpoints stay" in out
    after = contents(runs)
    assert after == {name: data for name, data in before.items() if not name.startswith("done/checkpoints")}
    assert done("clean", "--yes").splitlines()[-1] == "no finished run has checkpoints"


def test_a_question_without_an_answer_removes_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(io.StringIO):  # the end of the input, as Ctrl-D on a terminal
        def isatty(self) -> bool:
            return True

    before = contents(runs)
    monkeypatch.setattr("vaekit.cli.run_commands.is_terminal", lambda: True)
    monkeypatch.setattr(sys, "stdin", Ended())
    outcome = vae("clean")
    assert (outcome.code, outcome.err) == (130, "vae: stopped\n")
    assert contents(runs) == before


def test_a_cleaned_run_is_still_a_run(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    done("clean", run, "--yes")
    before = contents(run)
    assert "finished, and its checkpoints were removed" in done("train", "--resume", run)
    assert contents(run) == before
    one_line(vae("train", "--resume", run, "--epochs", 9), "cannot go on with more epochs", "--from")
    done("sample", run, "-n", 4, "-o", tmp_path / "x.png")
    assert summarize(run).state == "finished"


def test_what_is_not_finished_is_never_cleaned(runs: Path) -> None:
    for name in ("deep/stopped", "broken"):
        before = contents(runs / name)
        with pytest.raises((RunError,)):
            remove_checkpoints(runs / name)
        assert contents(runs / name) == before
    with FileLock(runs / "done" / LOCK):
        assert summarize(runs / "done").state == "running"
        before = contents(runs / "done")
        with pytest.raises(RunError, match="another process"):
            remove_checkpoints(runs / "done")
        assert contents(runs / "done") == before
    history = (runs / "done" / HISTORY).read_text()
    (runs / "done" / HISTORY).write_text(history + history.splitlines(keepends=True)[-1].replace('"epoch": 3', '"epoch": 4'))
    assert summarize(runs / "done").state == "stopped"  # the metrics are of fewer epochs


def test_a_run_that_another_replaces_is_not_cleaned(runs: Path) -> None:
    (runs / "done/.vaekit-replaced").mkdir()
    assert summarize(runs / "done").state == "stopped"


def test_linked_checkpoints_stay(runs: Path, tmp_path: Path) -> None:
    shutil.move(runs / "done/checkpoints", tmp_path / "elsewhere")
    (runs / "done/checkpoints").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    assert done("clean", "runs/done", "--yes") == "no finished run has checkpoints\n"
    with pytest.raises(RunError, match="a link"):
        remove_checkpoints(runs / "done")
    assert contents(tmp_path / "elsewhere") == before


def test_a_run_that_stopped_early_by_patience_is_finished(tmp_path: Path, no_report: None) -> None:
    done("train", *QUICK[2:], "--epochs", 50, "--lr", 1e-12, "--set", "training.patience=1", "--out", tmp_path / "run")
    found = summarize(tmp_path / "run")
    assert found.state == "finished"
    assert found.epochs < found.max_epochs == 50


def test_runs_are_found_two_levels_deep(runs: Path) -> None:
    assert find_runs([runs]) == [runs / "broken", runs / "deep/stopped", runs / "done"]
    assert find_runs([runs / "done", runs]) == [runs / "done", runs / "broken", runs / "deep/stopped"]


def test_a_conditional_run_is_marked(trained_conditional: Path) -> None:
    lines = done("runs", trained_conditional).splitlines()
    assert " c  " in lines[1]
    assert lines[2:] == ["c: a bound of log p(x | class), not comparable with the others"]
