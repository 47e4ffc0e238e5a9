"""Start-up time and peak memory of the command line: whole processes, medians over several runs.

Run it as ``python -m benchmarks.start``. Times are wall times from before the process starts. ``first step`` is the time to
the end of the first optimizer step of ``vae train mnist-mlp``. ``one epoch`` is the peak resident memory of a run of one
epoch, including its final evaluation and figures. One uncounted run of each fills the caches, among them vaekit's cache of
decoded images. Without a network, set ``VAEKIT_DATA`` to a folder that contains ``mnist/``.
"""

# Only the standard library is imported here: Linux counts the memory of this process, before it executes the command, toward
# the peak memory of the command.
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
from vaekit.__main__ import main

def stop(*step):
    print(time.monotonic() - start, flush=True)
    os._exit(0)

start = float(sys.argv.pop())
register_optimizer_step_post_hook(stop)
main()
"""
"""Runs the command until its first optimizer step. The last argument is the start time."""


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.start", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement, at most 3 of one epoch (%(default)s)")
    runs: int = parser.parse_args().runs
    print(f"{'':<24}{'median':>9}  {'min - max':^15}  target")
    report("vae --help", lambda: measure_seconds(["--help"]), 0.5, "s", runs)
    report("vae train --help", lambda: measure_seconds(["train", "--help"]), 0.5, "s", runs)
    report("mnist-mlp, first step", measure_first_step, 6, "s", runs)
    report("mnist-mlp, one epoch", measure_peak_memory, 1000, "MB", min(runs, 3))  # the slowest, with the least variance


def report(name: str, measure: Callable[[], float], target: float, unit: str, runs: int) -> None:
    """Measures once to warm up and then several times, and prints a line; the target is the maximum of the median."""
    measure()
    values = [measure() for _ in range(runs)]
    decimals = 2 if unit == "s" else 0
    low, middle, high = (f"{value:.{decimals}f}" for value in (min(values), median(values), max(values)))
    met = "yes" if median(values) <= target else "NO"
    print(f"{name:<24}{middle:>6} {unit:<2}  {f'{low} - {high}':^15}  <= {target:g} {unit} {met}", flush=True)


def measure_seconds(arguments: list[str]) -> float:
    """Returns the time that the command takes, in seconds."""
    start = time.monotonic()
    subprocess.run([*VAE, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def measure_first_step() -> float:
    """Returns the seconds from the start of the process to the end of its first step, by the system's monotonic clock."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "mnist-mlp", "--out", str(Path(folder) / "run"), str(time.monotonic())]
        process = subprocess.run(
            [sys.executable, "-c", FIRST_STEP, *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
    return float(process.stdout.splitlines()[-1])


def measure_peak_memory() -> float:
    """Returns the peak resident memory of a run of one epoch, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", "mnist-mlp", "--epochs", "1", "--out", str(Path(folder) / "run")]
        process = subprocess.Popen([*VAE, *arguments], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, "the run failed"
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6  # bytes on macOS, kibibytes on Linux


if __name__ == "__main__":
    main()
