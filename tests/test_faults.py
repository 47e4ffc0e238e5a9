"""A quick version of the suite of faults; the whole is ``python -m tests.faults``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.operations import available
from tests.faults.outcome import contents, differences
from tests.faults.verdict import controls

SUITES = ("kills", "disk", "writers", "fuzz", "zoo")


@pytest.mark.skipif(not available(), reason="file operations are watched on Linux, with a C compiler")
def test_nothing_is_lost_or_executed(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.faults", *SUITES, "--cases", "14", "-o", figures]
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(figures.read_text())["verdicts"]
    assert {name.split("/")[0] for name in counts} == set(SUITES)


def test_a_difference_of_two_runs_is_found(run_copy: Path, trained: Path) -> None:
    assert differences(contents(trained), contents(run_copy)) == []
    history = run_copy / "metrics.jsonl"
    history.write_text(history.read_text().replace('"epoch": 2', '"epoch": 3'))
    (run_copy / "report.html").unlink()
    weights = bytearray((run_copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (run_copy / "model.safetensors").write_bytes(weights)
    (run_copy / ".model-partial-7.safetensors").write_bytes(b"")
    found = differences(contents(trained), contents(run_copy))
    assert [line.split(":")[0] for line in found] == [
        ".model-partial-7.safetensors",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
    ]


def test_controls_are_found() -> None:
    assert controls("plain é 日本 🙂\n\t") == []
    assert controls("\x1b[31m \x07 \x9b \r \u202e \u2028 \x7f") == ["\x07", "\r", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e"]
