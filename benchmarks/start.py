"""How soon the command answers, how soon it trains, and how much memory it takes: whole processes, medians of several.

Run it as ``python -m benchmarks.start``. Times are wall time from before the process starts. ``first step`` ends with the
first step of the optimizer of ``vae train mnist-mlp``; ``one epoch`` is the most resident memory that a run of one epoch
takes, its final evaluation and images included. A run of each that is not counted comes first and fills the caches, among
them vaekit's of decoded images; point ``VAEKIT_DATA`` at a folder that holds ``mnist/`` where there is no network.
"""

# Nothing but the standard library here: Linux counts what a process held before it became the command, which is what this
# one holds, into the peak of its memory.
import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

VAE = [sys.executable, "-m", "vaekit"]

FIRST_STEP = """
import os, sys, time
from torch.optim.optimizer import register_optimizer_step_post_hook
from vaekit.cli import main

def stop(*step):
    print(time.monotonic() - started, flush=True)
    os._exit(0)

started = float(sys.argv.pop())
register_optimizer_step_post_hook(stop)
main()
"""
"""The command, with its last argument taken off as the time at which the clock was started, up to the first step."""


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.start", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="how many runs of each, of one epoch 3 at most (%(default)s)")
    runs: int = parser.parse_args().runs
    print(f"{'':<24}{'median':>9}  {'min - max':^15}  bar")
    report("vae --help", lambda: seconds(["--help"]), 0.5, "s", runs)
    report("vae train --help", lambda: seconds(["train", "--help"]), 0.5, "s", runs)
    report("mnist-mlp, first step", first_step, 6, "s", runs)
    report("mnist-mlp, one epoch", peak_memory, 1000, "MB", min(runs, 3))  # takes longest and varies least


def report(what: str, measure: Callable[[], float], bar: float, unit: str, runs: int) -> None:
    """Measures something, once to warm up and then so many times, and prints its line; no more than the bar is good."""
    measure()
    values = [measure() for _ in range(runs)]
    digits = 2 if unit == "s" else 0
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    met = "yes" if median(values) <= bar else "NO"
    print(f"{what:<24}{middle:>6} {unit:<2}  {f'{low} - {high}':^15}  <= {bar:g} {unit} {met}", flush=True)


def seconds(arguments: list[str]) -> float:
    """Returns how long the command runs."""
    started = time.monotonic()
    subprocess.run([*VAE, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def first_step() -> float:
    """Returns the seconds from the start of the process to the end of its first step, by the clock that all share."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "mnist-mlp", "--out", str(Path(folder) / "run"), str(time.monotonic())]
        done = subprocess.run([sys.executable, "-c", FIRST_STEP, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def peak_memory() -> float:
    """Returns the most resident memory that a run of one epoch takes, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "mnist-mlp", "--epochs", "1", "--out", str(Path(folder) / "run")]
        process = subprocess.Popen([*VAE, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, "the run failed"
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6  # macOS counts bytes, Linux kibibytes


if __name__ == "__main__":
    main()
