"""What the random cases give to commands: recipes, options, damaged files of runs, damaged sources of images."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from tests.faults.fork_server import Command
from tests.faults.fuzz_tables import PLACES, READING, SETTINGS, VALUES
from tests.faults.hostile_changes import changed_bytes, changed_data, changed_yaml
from tests.faults.hostile_tensors import changed_header, changed_numbers
from tests.faults.hostile_values import NAMES, Random, argument
from tests.faults.outcome import NEWEST, run_file
from tests.faults.scenarios import make_scenario, succeed
from tests.faults.trainings import BRIEF, training

TEXTS = ("recipe.yaml", "environment.json", "metrics.jsonl")
"""Files of a run in which a user may change a word that no program can check."""
NUM_SOURCES = 600


@dataclass(frozen=True)
class Input:
    """A command and what is wrong with what it reads.

    Arguments:
        args: The command.
        description: What was changed.
        must_be_noticed: Whether a result without a word is wrong.
        ends_as: The run that, if the command succeeds, must be the one that nothing happened to.
    """

    args: tuple[str, ...]
    description: str
    must_be_noticed: bool = False
    ends_as: str | None = None


class Material:
    """A finished run, one that was stopped, and another, which cases damage copies of."""

    def __init__(self, scratch: Path) -> None:
        stopped = make_scenario("resume", "plain", scratch)
        self.folder, logs = scratch / "runs", scratch / "logs"
        self.folder.mkdir()
        commands = (
            training("images", out="run"),
            training("plain", out="other", epochs=1),
            training("plain", "--seed", "7", out="seed"),
            training("conditional", out="conditional"),
            ("evaluate", "run", *BRIEF),
        )
        for args in commands:
            succeed(Command(args), self.folder, logs)
        shutil.copytree(stopped.folder / "run", self.folder / "half")
        self.whole = stopped.expected
        self.recipes = [path.read_text() for path in sorted(self.folder.glob("*/recipe.yaml"))]

    def copy(self, work: Path, *names: str) -> None:
        """Copies runs into a folder."""
        for name in names:
            shutil.copytree(self.folder / name, work / name)


def recipe_input(material: Material, generator: Random, work: Path) -> Input:
    """A recipe that is damaged as text, or changed as data."""
    source = generator.choice(material.recipes)
    if generator.random() < 0.5:
        changed = changed_yaml(source, generator)
    else:
        changed = yaml.safe_dump(changed_data(yaml.safe_load(source), generator), allow_unicode=True)
    (work / "mine.yaml").write_bytes(changed.encode("utf-8", "surrogatepass"))
    return Input(("train", "mine.yaml", "--dry-run"), "a changed recipe")


def train_input(material: Material, generator: Random, work: Path) -> Input:
    """A training with settings that are valid, most of which nobody would choose."""
    places = generator.sample(list(SETTINGS), generator.randint(1, 3))
    changes = [f"{place}={generator.choice(SETTINGS[place])}" for place in places]
    words = [word for change in changes for word in ("--set", change)]
    return Input((*training("plain", epochs=1), *words), "a training")


def set_input(material: Material, generator: Random, work: Path) -> Input:
    """A change by ``--set``."""
    changes = [f"{generator.choice(PLACES)}={argument(generator)}" for _ in range(generator.choice((1, 1, 1, 2, 3)))]
    words = [word for change in changes for word in ("--set", change)]
    return Input(("train", "digits", *words, "--dry-run"), "a changed recipe")


def options_input(material: Material, generator: Random, work: Path) -> Input:
    """A command with an option of any value."""
    command = generator.choice(list(VALUES))
    option = generator.choice(VALUES[command])
    value = argument(generator)
    runs = ("run", "other", "half", "conditional")
    one = generator.choice(runs)
    material.copy(work, *{one, "other"})
    if command == "train":
        first = training("plain", epochs=1)
        arguments = (*_without(first, option), option, value, *(() if option in ("--out", "--resume") else ("--dry-run",)))
    elif command in ("data", "reproduce"):
        arguments = (command, generator.choice(("digits", *NAMES)).replace("\0", ""), option, value)
    else:
        named = generator.choice((one, one, one, one, argument(generator)))
        arguments = (command, named, *_without(READING[command], option), option, value)
    return Input(tuple(arguments), f"{command} {option}")


def _without(args: tuple[str, ...], option: str) -> tuple[str, ...]:
    """Arguments without an option of one value, as one that is given twice is refused before its value is read."""
    names = {option, {"--num": "-n", "--output": "-o"}.get(option, option)} - {"--set"}
    at = next((at for at, word in enumerate(args) if word in names), len(args))
    return args[:at] + args[at + 2 :]


def files_input(material: Material, generator: Random, work: Path) -> Input:
    """A file of a run that was damaged, changed, removed, or taken from another run."""
    name = generator.choice(("run", "run", "run", "half", "half", "conditional"))
    material.copy(work, name, "other")
    files = [
        path
        for path in (work / name).rglob("*")
        if path.is_file() and path.suffix in (".json", ".jsonl", ".yaml", ".safetensors")
    ]
    path = generator.choice(sorted(files))
    how = _damage(path, material.folder / "seed" / path.relative_to(work / name), generator)
    place = str(path.relative_to(work / name))
    args = _reading_command(name, generator)
    ends_as = name if name == "half" and args[0] == "train" and place not in TEXTS else None
    return Input(args, f"{place} {how}", ends_as=ends_as)


def _damage(path: Path, other: Path, generator: Random) -> str:
    """Damages a file, and returns how."""
    data, kind = path.read_bytes(), generator.random()
    if kind < 0.05:
        path.unlink()
        return "missing"
    if kind < 0.15 and other.is_file():
        path.write_bytes(other.read_bytes())
        return "of another run"
    if kind < 0.5 and path.suffix == ".safetensors":
        path.write_bytes(changed_header(data, generator))
        return "with another header"
    if kind < 0.6 and path.suffix in (".json", ".yaml"):
        changed = changed_data(yaml.safe_load(data) if path.suffix == ".yaml" else json.loads(data), generator)
        path.write_text(json.dumps(changed) if path.suffix == ".json" else yaml.safe_dump(changed))
        return "changed"
    if kind < 0.6 and path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(changed_data(json.loads(line), generator)) + "\n" for line in data.splitlines()))
        return "changed"
    path.write_bytes(changed_bytes(data, generator))
    return "damaged"


def _reading_command(name: str, generator: Random) -> tuple[str, ...]:
    if name == "half":
        again = (*training("plain", out="half"),)
        return generator.choice(
            (("train", "--resume", "half"), ("train", "--resume", "half"), again, ("report", "half"), ("curves", "half"))
        )
    if generator.random() < 0.12:
        longer = ("train", "--resume", name, "--epochs", "4")
        return generator.choice((("train", "--resume", name), longer, ("train", f"{name}/recipe.yaml", "--dry-run")))
    command = generator.choice(list(READING))
    return (command, name, *READING[command])


def numbers_input(material: Material, generator: Random, work: Path) -> Input:
    """Weights or a state whose numbers changed, in a file that is otherwise valid."""
    if generator.random() < 0.5:
        material.copy(work, "run", "other")
        args, path = _reading_command("run", generator), work / "run" / "model.safetensors"
        notices = args[0] not in ("curves", "compare", "train")
    else:
        material.copy(work, "half")
        args, path = ("train", "--resume", "half"), _state(work / "half")
        notices = True
    path.write_bytes(changed_numbers(path.read_bytes(), generator))
    return Input(
        args,
        f"{path.name} with other numbers",
        must_be_noticed=notices,
        ends_as="half" if args[0] == "train" and "half" in args else None,
    )


def _state(run_folder: Path) -> Path:
    return run_file(run_folder, NEWEST)


def source_input(material: Material, generator: Random, work: Path) -> Input:
    """A source of images that was damaged or never was one."""
    number = generator.randrange(NUM_SOURCES)
    name, write = next(islice(_sources(generator.randrange(1000)), number, None))
    source = write(work)
    material.copy(work, "run")
    shown = str(source.relative_to(work)) if source.is_relative_to(work) else str(source)
    commands = (
        ("data", shown),
        ("data", shown),
        ("train", "--data", shown, "--dry-run"),
        ("embed", "run", shown),
        ("reconstruct", "run", "--data", shown),
    )
    return Input(generator.choice(commands), name)


def _sources(seed: int) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    from tests.hostile_data import cases

    return cases(seed)
