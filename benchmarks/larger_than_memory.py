"""A data set that is larger than memory, and a run over it that is killed and goes on.

Run it as ``python -m benchmarks.larger_than_memory --folder /path/on/a/disk``. It writes a folder of JPEG files that decode
to 20 GB (407,000 images at 3x128x128, a few hundred distinct ones), decodes them into a cache of its own in the same folder,
and trains a small multilayer perceptron for one epoch. The run is killed twice by SIGKILL, at random steps, and started
again by the same command. Then a subset is trained twice, killed and not killed, and the weights are compared bit by bit.

Printed are sizes, times, images per second, the peak resident memory of the processes, and the steps that each kill lost,
which are those after the last checkpoint. The processes are limited in address space, so that reading the whole set into
memory fails. The folder needs about 1.2 times the stated size and is left as it is; remove it, or pass ``--remove``.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

from vaekit.core.files import write_text
from vaekit.runs.run_folder import RunFolder

DISTINCT = 400
"""The number of distinct images; the others are links to them."""
PER_FOLDER = 10_000
"""The number of images in a folder."""
SUBSET_GB = 0.05
"""The size of the subset on which a killed run is compared with one that is not, at most a fifth of the whole."""
BATCH_SIZE = 128
"""The number of images per step."""
COUNTER = """
import os
from torch.optim.optimizer import register_optimizer_step_post_hook

def count(*step):
    global steps
    steps += 1
    os.pwrite(file, steps.to_bytes(8, "little"), 0)

steps, file = 0, os.open(os.environ["STEPS_FILE"], os.O_RDWR | os.O_CREAT)
os.pwrite(file, steps.to_bytes(8, "little"), 0)
register_optimizer_step_post_hook(count)
"""
"""A plugin that writes the number of steps of its process to a file after each of them."""
DECODE = "import sys; from vaekit import load_images; load_images(sys.argv[1], 'all', size=int(sys.argv[2]), channels=3)"
"""Decodes the images in a folder to a side."""


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit code, its seconds, its peak resident memory in GB, and the steps that it made."""

    code: int
    seconds: float
    peak_gb: float
    steps: int


class Bench:
    """The processes of a benchmark, which share a folder, a limit of memory and the time between checkpoints."""

    def __init__(self, folder: Path, side: int, limit_gb: float, minutes: float) -> None:
        self.folder, self.side, self.limit, self.minutes = folder, side, int(limit_gb * 2**30), minutes
        self.steps_file = folder / "steps"
        write_text(folder / "count_steps.py", COUNTER)

    def decode(self, images: Path) -> Outcome:
        """Decodes a folder of images into the cache."""
        return self._run([sys.executable, "-c", DECODE, str(images), str(self.side)], lambda steps: False)

    def train(self, images: Path, run: Path, kill_at: int | None = None) -> Outcome:
        """Trains one epoch, or goes on with it; the process is killed when it has made ``kill_at`` steps."""
        recipe = run.with_suffix(".yaml")
        write_text(recipe, yaml.safe_dump(make_recipe(images, self.side, self.minutes)))
        command = [sys.executable, "-m", "vaekit", "train", str(recipe), "--out", str(run)]
        command += ["--plugin", str(self.folder / "count_steps.py")]
        return self._run(command, lambda steps: kill_at is not None and steps >= kill_at)

    def _run(self, command: Sequence[str], is_due: Callable[[int], bool]) -> Outcome:
        """Runs a process to its end, or kills it when it is due by the number of its steps."""
        self.steps_file.unlink(missing_ok=True)
        environment = os.environ | {"VAEKIT_CACHE": str(self.folder / "cache"), "STEPS_FILE": str(self.steps_file)}
        environment |= {"VAEKIT_CACHE_GB": "10000"}
        begin, peak = time.monotonic(), 0
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, preexec_fn=self._limit_memory)
            while process.poll() is None:
                peak = max(peak, resident_bytes(process.pid))
                if is_due(self._steps()):
                    process.kill()
                time.sleep(0.01)
        return Outcome(process.returncode, time.monotonic() - begin, peak / 1e9, self._steps())

    def _limit_memory(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (self.limit, self.limit))

    def _steps(self) -> int:
        return int.from_bytes(self.steps_file.read_bytes(), "little") if self.steps_file.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.larger_than_memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="a new folder, on a disk with enough space")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="the size of the decoded images (%(default)s)")
    parser.add_argument("--side", type=int, default=128, help="their height and width (%(default)s)")
    parser.add_argument("--kills", type=int, default=2, help="how often the run is killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the random kills (%(default)s)")
    parser.add_argument("--limit-gb", type=float, default=8.0, help="the address space of a process (%(default)s)")
    parser.add_argument("--checkpoint-minutes", type=float, default=2.0, help="the time between checkpoints (%(default)s)")
    parser.add_argument("--remove", action="store_true", help="remove the folder at the end")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    bench = Bench(options.folder.resolve(), options.side, options.limit_gb, options.checkpoint_minutes)
    large(bench, options.gigabytes, options.kills, random.Random(options.seed))
    compare(bench, min(SUBSET_GB, options.gigabytes / 5), options.kills, random.Random(options.seed))
    if options.remove:
        shutil.rmtree(options.folder)


def large(bench: Bench, gigabytes: float, kills: int, chance: random.Random) -> None:
    """Decodes a large set and trains on it, killed and started again; prints the figures."""
    num = int(gigabytes * 1e9 / (3 * bench.side**2))
    images = write_images(bench.folder / "images", num, bench.side)
    decoded = bench.decode(images)
    check(decoded.code == 0, bench)
    size = sum(file.stat().st_size for file in (bench.folder / "cache").rglob("*.npy"))
    memory = psutil.virtual_memory().total / 1e9
    print(f"images           {num:,} at 3x{bench.side}x{bench.side}, {size / 1e9:.2f} GB decoded; memory {memory:.1f} GB")
    print(f"decoding         {decoded.seconds:,.0f} s, {num / decoded.seconds:,.0f} images/s, peak {decoded.peak_gb:.2f} GB")
    outcomes, lost = train_killed(bench, images, bench.folder / "run", kills, chance)
    record = RunFolder(bench.folder / "run").history[0]
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"training         one epoch, {record['images_seen']:,} images in {record['step']:,} steps, killed {kills} times")
    print(f"speed            {record['images_per_second']:,.0f} images/s; {seconds:,.0f} s with starts and evaluation")
    peak = max(outcome.peak_gb for outcome in outcomes)
    print(f"peak memory      {peak:.2f} GB resident, address space limited to {bench.limit / 1e9:.1f} GB")
    for number, steps in enumerate(lost, 1):
        print(f"kill {number}           {steps:,} steps lost")


def compare(bench: Bench, gigabytes: float, kills: int, chance: random.Random) -> None:
    """Trains on a subset, killed and not killed, and prints whether the weights are equal."""
    images = write_images(bench.folder / "subset", int(gigabytes * 1e9 / (3 * bench.side**2)), bench.side)
    train_killed(bench, images, bench.folder / "subset-killed", kills, chance)
    check(bench.train(images, bench.folder / "subset-whole").code == 0, bench)
    weights = [(bench.folder / name / "model.safetensors").read_bytes() for name in ("subset-killed", "subset-whole")]
    equal = "equal" if weights[0] == weights[1] else "DIFFERENT"
    print(f"bit for bit      {equal} to a run that was not killed, on a subset of {gigabytes:g} GB")


def train_killed(
    bench: Bench, images: Path, run: Path, kills: int, chance: random.Random
) -> tuple[list[Outcome], list[int]]:
    """Trains one epoch that is killed at random steps, and returns the processes and the steps that each kill lost."""
    total = num_steps(images)
    targets = sorted(chance.uniform(0.05, 0.9) * total for _ in range(kills))
    outcomes, lost = [], []
    for target in targets:
        begin = last_checkpoint(run)
        outcome = bench.train(images, run, max(1, int(target) - begin))
        check(outcome.code == -9, bench)
        outcomes.append(outcome)
        lost.append(begin + outcome.steps - last_checkpoint(run))
    outcomes.append(bench.train(images, run))
    check(outcomes[-1].code == 0, bench)
    return outcomes, lost


def num_steps(images: Path) -> int:
    """About the number of steps in an epoch, without the images for testing and validation."""
    num = sum(1 for _ in images.rglob("*.jpg"))
    return max(2, int(0.9 * (num - min(num // 5, 10_000))) // BATCH_SIZE)


def last_checkpoint(run: Path) -> int:
    """The step of the newest checkpoint of a run; 0 if there is none."""
    steps = [int(file.stem.rpartition("-")[2]) for file in (run / "checkpoints").glob("step-*.safetensors")]
    return max(steps, default=0)


def resident_bytes(process: int) -> int:
    """The resident memory of a process; 0 if it has ended."""
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0


def check(holds: bool, bench: Bench) -> None:
    """Ends the benchmark with the last lines of its processes if one has not ended as it should."""
    if not holds:
        sys.exit("\n".join((bench.folder / "log.txt").read_text(errors="replace").splitlines()[-20:]))


def make_recipe(images: Path, side: int, minutes: float) -> dict[str, dict[str, object]]:
    """A recipe whose steps cost little beside reading their images."""
    return {
        "data": {"name": str(images), "size": side, "channels": 3},
        "model": {
            "latent_dim": 64,
            "encoder": {"name": "mlp", "hidden": [16]},
            "decoder": {"name": "mlp", "hidden": [16]},
            "likelihood": {"name": "gaussian", "scale": "learned"},
        },
        "training": {"epochs": 1, "batch_size": BATCH_SIZE, "checkpoint_minutes": minutes, "device": "cpu"},
        "evaluation": {"num_samples": 0},
    }


def write_images(folder: Path, num: int, side: int) -> Path:
    """Writes images of smooth noise as JPEG files; most are links to a few distinct ones."""
    noise, distinct = np.random.default_rng(0), list[Path]()
    for number in range(num):
        path = folder / f"{number // PER_FOLDER:03}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number >= DISTINCT:
            os.link(distinct[number % DISTINCT], path)
            continue
        coarse = Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
        distinct.append(path)
    return folder


if __name__ == "__main__":
    main()
