"""Hostile files that are not files: links, pipes, devices, holes and folders, in runs and as sources."""

import os
import shutil
from functools import partial
from pathlib import Path

from tests.faults.fuzz_input import Material
from tests.faults.fuzz_tables import READING
from tests.faults.outcome import NEWEST, run_file
from tests.faults.trainings import training
from tests.faults.zoo_case import Hostile, Make

# Links


def _out_link(material: Material, work: Path) -> Hostile:
    (work / "run").symlink_to("../outside")
    return Hostile(training("plain", epochs=1), None)


def _forced_link(material: Material, work: Path) -> Hostile:
    material.copy(work, "run")
    shutil.rmtree(work / "run" / "images")
    (work / "run" / "images").symlink_to("../../outside")
    return Hostile(training("images", "--force", epochs=1), None)


def _linked_file(name: str, args: tuple[str, ...], material: Material, work: Path) -> Hostile:
    material.copy(work, "run", "half")
    for run in ("run", "half"):
        path = run_file(work / run, name)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            path.symlink_to(work.parent / "outside" / "precious")
    return Hostile(args, None)


def _linked_folder(material: Material, work: Path) -> Hostile:
    material.copy(work, "half")
    shutil.rmtree(work / "half" / "images", ignore_errors=True)
    (work / "half" / "images").symlink_to("../../outside")
    return Hostile(("train", "--resume", "half"), None)


LINKS: dict[str, Make] = {
    "out": _out_link,
    "force": _forced_link,
    "images": _linked_folder,
    "history": partial(_linked_file, "metrics.jsonl", ("train", "--resume", "half")),
    "recipe": partial(_linked_file, "recipe.yaml", ("train", "--resume", "half")),
    "report": partial(_linked_file, "report.html", ("report", "run")),
    "evaluation": partial(_linked_file, "evaluation.json", ("evaluate", "run", *READING["evaluate"])),
    "curves": partial(_linked_file, "images/curves.png", ("curves", "run")),
    "weights": partial(_linked_file, "model.safetensors", ("sample", "run")),
}


# Files that are no files, or never end


def _endless(name: str, target: str, args: tuple[str, ...], material: Material, work: Path) -> Hostile:
    material.copy(work, "run", "half", "other")
    for run in ("run", "half"):
        path = run_file(work / run, name)
        path.unlink(missing_ok=True)
        _put(path, target)
    return Hostile(args, None if args[0] == "train" and "checkpoints" in name else True)


def _endless_source(name: str, target: str, args: tuple[str, ...], material: Material, work: Path) -> Hostile:
    _put(work / name, target)
    return Hostile(args)


def _put(path: Path, target: str) -> None:
    """A pipe, a folder, a file with a hole of 20 GB, or a link to a device."""
    if target == "pipe":
        os.mkfifo(path)
    elif target == "folder":
        path.mkdir()
    elif target == "hole":
        with path.open("wb") as file:
            file.truncate(20 << 30)
    else:
        path.symlink_to(target)


RUN_FILES = {
    "config.json": ("sample", "run"),
    "model.safetensors": ("sample", "run"),
    "recipe.yaml": ("report", "run"),
    "metrics.jsonl": ("curves", "run"),
    "metrics.json": ("compare", "run", "other"),
    "environment.json": ("report", "run"),
    NEWEST: ("train", "--resume", "half"),
}
SOURCES = {"mine.yaml": ("train", "mine.yaml", "--dry-run"), "a.npy": ("data", "a.npy"), "a.zip": ("data", "a.zip")}
"""Files that are replaced, each with a command that reads it."""


def _special() -> dict[str, Make]:
    made: dict[str, Make] = {}
    for target in ("pipe", "folder", "hole", "/dev/zero", "/dev/full", "loop"):
        label = target.strip("/").replace("/", "-")
        for file, args in RUN_FILES.items():
            to = Path(file).name if target == "loop" else target
            made[f"{file.replace('/', '-')}-{label}"] = partial(_endless, file, to, args)
        for file, args in SOURCES.items():
            made[f"{file}-{label}"] = partial(_endless_source, file, file if target == "loop" else target, args)
    return made


SPECIAL = _special()
