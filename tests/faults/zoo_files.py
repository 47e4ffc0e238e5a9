"""The hostile files: each function writes one into a folder, beside runs, and returns the command that meets it."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.fuzz_input import Material
from tests.faults.fuzz_tables import READING
from tests.faults.outcome import NEWEST, run_file
from tests.faults.zoo_case import Hostile, Make
from tests.faults.zoo_links import LINKS, SPECIAL

CANARY = "canary-of-the-zoo"
"""The file that appears if a hostile file was executed."""
TOUCH = f"touch {CANARY}"
SCRIPT = "<script>alert(1)</script>"
PYTHON = f"!!python/object/apply:os.system ['{TOUCH}']"
NAMES = {
    "markup": SCRIPT.replace("/", "\u2215"),
    "script": "<img src=x onerror=alert(1)>",
    "escape": "\x1b[31mred",
    "title": "\x1b]0;owned\x07",
    "bell": "\x07bell",
    "control-1": "\x9b31mred",
    "newline": "a\nvae: all is well",
    "carriage-return": "a\rvae: all is well",
    "right-to-left": "a\u202egnp.exe",
    "rich": "[red]x[/red] [/] [bold",
    "math": r"$\frac{1$",
    "dollars": "$50_$100",
    "at": "@alice",
    "file": "cat.png",
    "formula": "=HYPERLINK(1)",
    "plus": "+1+1",
    "percent": "%s%n{0}{x.__class__}",
    "long": "x" * 200,
    "not-utf-8": "a\udcff\udcfe",
    "quotes": "\"'><b>",
    "number": "7",
    "comma": "a,b;c",
    "space": " ",
    "dash": "--force",
}


class Trap:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (TOUCH,)


def hostile_cases() -> dict[str, Make]:
    """All cases by name."""
    made: dict[str, Make] = {}
    for name in (
        "model.safetensors",
        NEWEST,
        "config.json",
        "environment.json",
        "metrics.json",
        "metrics.jsonl",
    ):
        made[f"pickle/{name.replace('/', '-')}"] = partial(_pickled_file, name)
    for suffix in (".npy", ".npz", ".pt", ".pkl", ".bin", ".safetensors", ".zip", ".parquet", ".png", ".yaml", ".json"):
        made[f"pickle/data{suffix}"] = partial(_pickled_source, suffix)
    made |= {f"yaml/{name}": make for name, make in YAML.items()}
    made |= {f"config/{name}": partial(_config, change) for name, change in CONFIGS.items()}
    made |= {f"link/{name}": make for name, make in LINKS.items()}
    made |= {f"special/{name}": make for name, make in SPECIAL.items()}
    for name, text in NAMES.items():
        for kind, make in {
            "class": _class_name,
            "run": _run_name,
            "title": _title,
            "file": _file_name,
            "report": _report_of_class,
        }.items():
            made[f"name-{kind}/{name}"] = partial(make, text)
    return made


# Code


def _pickled_file(name: str, material: Material, work: Path) -> Hostile:
    material.copy(work, "run", "half")
    for run in ("run", "half"):
        run_file(work / run, name).write_bytes(pickle.dumps(Trap()))
    reading = {
        "model.safetensors": "sample",
        "config.json": "sample",
        "metrics.json": "report",
        "metrics.jsonl": "curves",
        "environment.json": "report",
    }
    command = reading.get(name)
    return Hostile(
        ("train", "--resume", "half") if command is None else (command, "run", *READING[command]),
        None if command is None else True,
    )


def _pickled_source(suffix: str, material: Material, work: Path) -> Hostile:
    path = work / f"data{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    if suffix == ".npy":
        np.save(path, np.array([Trap()], object), allow_pickle=True)
    if suffix == ".npz":
        np.savez(path, images=np.array([Trap()], object))
    if suffix == ".yaml":
        return Hostile(("train", path.name, "--dry-run"))
    return Hostile(("train", "--data", path.name, "--dry-run"))


def _yaml_recipe(text: str, material: Material, work: Path) -> Hostile:
    (work / "mine.yaml").write_text(text)
    return Hostile(("train", "mine.yaml", "--dry-run"))


def _yaml_of_run(material: Material, work: Path) -> Hostile:
    material.copy(work, "half")
    (work / "half" / "recipe.yaml").write_text(f"name: {PYTHON}\n")
    return Hostile(("train", "--resume", "half"))


YAML: dict[str, Make] = {
    "recipe": partial(_yaml_recipe, f"name: {PYTHON}\n"),
    "recipe-new": partial(_yaml_recipe, "name: !!python/object/new:os.system ['touch " + CANARY + "']\n"),
    "recipe-name": partial(_yaml_recipe, "name: !!python/name:os.system\n"),
    "recipe-module": partial(_yaml_recipe, "name: !!python/module:os\n"),
    "recipe-plugin": partial(_yaml_recipe, "plugin: evil.py\nplugins: [evil.py]\n"),
    "set": lambda material, work: Hostile(("train", "digits", "--dry-run", "--set", f"title={PYTHON}")),
    "run": _yaml_of_run,
}


def _config(change: Callable[[dict[str, Any]], None], material: Material, work: Path) -> Hostile:
    material.copy(work, "run")
    (work / "evil.py").write_text(f"import os\nos.system('{TOUCH}')\n")
    path = work / "run" / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return Hostile(("sample", "run"))


def _name(part: str, name: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config[part].update(name=name)


CONFIGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "os-system": _name("prior", "os.system"),
    "builtin": _name("encoder", "builtins.eval"),
    "class": _name("encoder", "__class__"),
    "module": _name("decoder", "evil"),
    "path": _name("decoder", "./evil.py"),
    "list": _name("decoder", ["evil"]),
    "plugin": lambda config: config.update(plugin="evil.py"),
    "target": lambda config: config.update(_target_="os.system", args=[TOUCH]),
    "activation": lambda config: config["encoder"].update(activation="__import__('os').system"),
    "huge": lambda config: config["encoder"].update(hidden=[30_000, 30_000]),
    "huger": lambda config: config["encoder"].update(hidden=[10**9]),
    "deep": lambda config: config["encoder"].update(hidden=[1] * 100_000),
    "latents": lambda config: config.update(latent_dim=10**12),
    "shape": lambda config: config.update(shape=[1, 10**6, 10**6]),
    "format": lambda config: config.update(format=10**400),
}


# Names


def _picture(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(level).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(noise).save(path, "PNG")


def _pictures(text: str, work: Path) -> None:
    for level in range(12):
        _picture(work / "pictures" / ("plain" if level % 2 else text) / f"{level}.png", level)


SMALL = (
    *(
        "--data",
        "pictures",
        "--epochs",
        "1",
        "--latent-dim",
        "2",
        "--set",
        "evaluation.num_samples=0",
        "--conditional",
        "--out",
        "run",
    ),
    *("--set", "model.encoder={name: mlp, hidden: [8]}", "--set", "model.decoder={name: mlp, hidden: [8]}"),
)


def _class_name(text: str, material: Material, work: Path) -> Hostile:
    """A training on classes of any names, with its report."""
    _pictures(text, work)
    return Hostile(("train", *SMALL), refused=False, drawn=True)


def _report_of_class(text: str, material: Material, work: Path) -> Hostile:
    """A table of images whose classes and files have any names."""
    material.copy(work, "run")
    _pictures(text, work)
    return Hostile(("embed", "run", "pictures", "-o", "latents.csv"), refused=False)


def _file_name(text: str, material: Material, work: Path) -> Hostile:
    """A table of images whose files have any names."""
    material.copy(work, "run")
    for level in range(3):
        _picture(work / "pictures" / f"{text}{level}.png", level)
    return Hostile(("score", "run", "pictures", "--num-samples", "2", "-o", "scores.csv"), refused=False, drawn=True)


def _run_name(text: str, material: Material, work: Path) -> Hostile:
    """A run folder of any name."""
    material.copy(work, "other")
    shutil.copytree(material.folder / "run", work / f"x{text}")
    return Hostile(("compare", f"x{text}", "other", "-o", "page.html"), refused=False, drawn=True)


def _title(text: str, material: Material, work: Path) -> Hostile:
    """A run whose recipe has any title and name."""
    material.copy(work, "run")
    path = work / "run" / "recipe.yaml"
    printable = json.dumps(text.encode("utf-8", "replace").decode())
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("title:", "name:"))]
    path.write_text("\n".join([f"title: {printable}", f"name: {printable}", *lines]) + "\n")
    return Hostile(("report", "run", "-o", "page.html"), refused=None, drawn=True)
