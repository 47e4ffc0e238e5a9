"""Helpers of tests: run commands as a user does, and read what they write."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.sheets import lines_on
from vaekit.__main__ import main
from vaekit.core.signals import SIGNALS
from vaekit.core.tensor_files import read_header
from vaekit.plots.tile_lines import breaks
from vaekit.runs.lock import LOCK
from vaekit.runs.run_folder import CHECKPOINTS
from vaekit.training import read_state

Refuse = Callable[..., str]
"""The type of the fixture ``refuse`` of ``conftest``."""
SHAPE = (1, 8, 8)
QUICK = ("--epochs", 1, "--batch-size", 400, "--set", "evaluation.num_samples=0")
"""Options for a training of four steps."""


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def vae(*args: object) -> Outcome:
    """Runs a command in this process; an exception other than SystemExit is raised."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    arguments = patch.object(sys, "argv", ["vae", *map(str, args)])
    no_progress = patch("vaekit.core.progress.FIRST_LINE_SECONDS", 3600.0)  # however slow the machine is
    with kept_handlers(), arguments, no_progress, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Puts back the handlers of signals, which a command ignores at its end."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def done(*args: object) -> str:
    """Runs a command that must succeed and print nothing on stderr, and returns its stdout."""
    outcome = vae(*args)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


def start(*args: object, **environment: str) -> subprocess.Popen[str]:
    """Starts a command as a separate process with one thread."""
    command = [sys.executable, "-m", "vaekit", *map(str, args)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def tiles(
    path: Path,
    num: int,
    columns: int,
    shape: tuple[int, int, int] = SHAPE,
    *,
    pairs: bool = False,
    heads: bool = False,
    marked: bool = False,
) -> Tensor:
    """Returns the ``num`` images of a grid, with shape (num, C, H, W); all pixels between them must be blank.

    Arguments:
        path: The image, or a file.
        num: The number of images.
        columns: The number of images in a row.
        shape: The shape of an image.
        pairs: Whether rows are pairs, with a gap between them.
        heads: Whether there is text above the columns.
        marked: Whether there are marks below rows.
    """
    rows = -(-num // columns)
    wider = breaks(rows, 2) if pairs else []
    return lines_on(path, rows, columns, shape, wider, heads=heads, marked=marked).flatten(0, 1)[:num]


def near(a: Tensor, b: Tensor) -> None:
    """Asserts that two images differ by at most one gray level, as rounding does."""
    assert a.shape == b.shape
    assert (a.int() - b.int()).abs().max() <= 1


def contents(folder: Path) -> dict[str, bytes]:
    """The content of each file below a folder but locks, by relative path; empty for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if path.name != LOCK
    }


def one_line(outcome: Outcome, *says: str) -> str:
    """Asserts that a command failed with one line that contains all these parts, and returns the line."""
    assert outcome.code == 2, outcome
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.endswith("\n")
    line = outcome.err.rstrip("\n")
    assert line.startswith("vae: ")
    for part in says:
        assert part in line
    return line


def weights_equal(a: Path, b: Path) -> bool:
    """Whether two runs have the same weights, bit for bit."""
    first, second = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((folder / CHECKPOINTS).glob("step-*.safetensors"))


def newest_state(folder: Path) -> Any:
    """The state in the newest checkpoint of a run."""
    path = newest_checkpoint(folder)
    return read_state(path, read_header(path).metadata["belongs_to"])


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    """A record of metrics without the values that depend on the clock."""
    return {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}


def strict_json(path: Path) -> Any:
    """Reads JSON, and fails on NaN and Infinity, which the standard does not have."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path.name} holds {constant}, which is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)
