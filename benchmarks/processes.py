"""Training speed of several processes on the CPU, one thread each, relative to one process with one thread.

Run it as ``python -m benchmarks.processes mnist-conv``. Each number of processes trains one epoch, in a separate start by
``torchrun``. On a machine with other work, or with fewer cores than processes, the numbers say nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from vaekit import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="mnist-conv")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            speeds = {num: speed(options.recipe, num, Path(folder) / f"{turn}-{num}") for num in options.processes}
            first = speeds[options.processes[0]]
            print(
                ", ".join(f"{num}: {value:,.0f} images/s ({value / first:.2f})" for num, value in speeds.items()), flush=True
            )


def speed(recipe: str, num: int, out: Path) -> float:
    """Images per second of the first epoch with ``num`` processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(num), "--master_port", "29555"]
    options = ["--epochs", "1", "--device", "cpu", "--set", "evaluation.num_samples=0", "--set", "evaluation.max_images=100"]
    command = [*launcher, "-m", "vaekit", "train", recipe, *options, "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(RunFolder(out).history[0]["images_per_second"])


if __name__ == "__main__":
    main()
