"""Runs of two processes, of which one or both are killed or stopped, and which go on with two or with one.

``launched/SIGKILL/one/2/830``: SIGKILL to one of the two processes, 830 ms after the first epoch; then two go on. A run that
goes on with two is, bit for bit, the uninterrupted run of two; one that goes on with one has its numbers up to rounding.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import psutil

from tests.faults.outcome import contents, differences, epochs
from tests.faults.preparation import Preparation
from tests.faults.trainings import training
from tests.faults.verdict import EQUAL, Verdict

COMMAND = training("binarized", epochs=150)
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
TARGETS = ("one", "both")
LATEST = 4000
"""The latest kill, in milliseconds after the first epoch; the whole run takes a few seconds."""
TOLERANCE = 1e-3
"""The largest relative difference of a number of the history, by rounding in 150 epochs."""


class Launched:
    """The suite of several processes.

    Arguments:
        preparation: Prepared folders.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.folder = preparation.scratch / "launched"
        self.folder.mkdir()
        launch(2, COMMAND, self.folder).wait()
        self.whole = contents(self.folder / "run")
        self.history = _numbers(self.folder / "run")

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of about ``num`` cases, at random instants."""
        generator = random.Random(seed)
        kinds = list(product(SIGNALS, TARGETS, (2, 1)))
        return [f"launched/{'/'.join(map(str, kinds[at % len(kinds)]))}/{generator.randrange(LATEST)}" for at in range(num)]

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in a folder."""
        _, number, target, processes, at = name.split("/")
        (folder / "logs").mkdir()
        launcher = launch(2, COMMAND, folder)
        while not (folder / "run" / "metrics.jsonl").exists() and launcher.poll() is None:
            time.sleep(0.01)
        time.sleep(int(at) / 1000)
        workers = psutil.Process(launcher.pid).children() if launcher.poll() is None else []
        for worker in workers[-1:] if target == "one" else workers:
            worker.send_signal(signal.Signals[number])
        launcher.wait(timeout=120)
        ended = launch(int(processes), COMMAND, folder)
        if ended.wait(timeout=120) != 0:
            log = (folder / "log.txt").read_text(errors="replace").splitlines()
            said = [line for line in log if line.startswith("vae:")]
            return Verdict(name, "unresumable", f"exit code {ended.returncode}: {said[-1:]}", "resume")
        return self._compare(name, folder / "run", int(processes))

    def _compare(self, name: str, run: Path, processes: int) -> Verdict:
        if epochs(run) != [int(record["epoch"]) for record in self.history]:
            return Verdict(name, "doubled", str(epochs(run)), "metrics.jsonl")
        lines = differences(self.whole, contents(run)) if processes == 2 else _far(self.history, _numbers(run))
        return Verdict(name, "lost", "; ".join(lines), lines[0].split(":")[0]) if lines else Verdict(name, EQUAL)


def launch(processes: int, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Starts a command in so many processes, in a folder."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    start = [sys.executable, *(launcher if processes > 1 else []), "-m", "vaekit", *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(start, cwd=folder, stdout=log, stderr=log, env=environment)


def _numbers(run: Path) -> list[dict[str, float]]:
    """The numbers of each epoch that rounding may change."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {"epoch": record["epoch"], "grad_norm": record["grad_norm"], **record["train"], **record["valid"]}
        for record in records
    ]


def _far(expected: Sequence[dict[str, float]], found: Sequence[dict[str, float]]) -> list[str]:
    pairs = ((a["epoch"], key, a[key], b[key]) for a, b in zip(expected, found, strict=True) for key in a)
    return [
        f"{key}: {x} and {y} in epoch {epoch}"
        for epoch, key, x, y in pairs
        if not math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=1e-4)
    ]
