"""``vae --help``, ``vae --version`` and ``vae recipes``."""

import re
import shlex

import pytest
import typer

import vaekit
from tests.commands import done, one_line, start, vae
from vaekit.cli import app, split_plugins
from vaekit.runs.recipe import load_recipe, recipe_names

COMMANDS = (
    *(
        "train",
        "recipes",
        "prior",
        "data",
        "runs",
        "clean",
        "sample",
        "reconstruct",
        "traverse",
        "manifold",
        "interpolate",
        "map",
        "animate",
    ),
    *("curves", "rates", "errors", "evaluate", "score", "embed", "reproduce", "report", "compare"),
)


def test_recipes_are_listed_with_title_needs_and_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    out = done("recipes")
    rows = {line.split()[0]: line for line in out.splitlines() if line[:1].strip() and line.split()[0] in recipe_names()}
    assert sorted(rows) == recipe_names()
    for name, row in rows.items():
        recipe = load_recipe(name)
        assert recipe.title in row
        assert recipe.needs in out
        assert recipe.reference in out


def test_recipes_are_not_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = done("recipes")
    assert "…" not in out
    for name in recipe_names():
        recipe = load_recipe(name)
        for word in f"{recipe.title} {recipe.needs} {recipe.reference}".split():
            assert word in out


def test_version_is_that_of_the_package() -> None:
    assert done("--version") == f"vaekit {vaekit.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_with_valid_options(command: str) -> None:
    out = done(command, "--help")
    examples = [line.strip() for line in out.splitlines() if line.strip().startswith("vae ")]
    assert "Example" in out
    assert examples
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for example in examples:
        (_, name, *args), _ = split_plugins(shlex.split(example))
        assert name == command
        commands[name].make_context(name, args)  # raises for an unknown option


def test_help_lists_every_command() -> None:
    out = done("--help")
    assert re.findall(r"^│ (\w+) ", out, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    process = start(*args, PYTHONPROFILEIMPORTTIME="1")
    _, imports = process.communicate(timeout=60)
    assert process.returncode == 0
    imported = {line.rsplit("|", 1)[1].strip() for line in imports.splitlines() if line.startswith("import time:")}
    assert "vaekit.cli" in imported
    assert not imported & {"torch", "numpy", "datasets", "matplotlib", "PIL", "sklearn", "huggingface_hub"}


@pytest.mark.parametrize("option", ["--fit", "--on-spike"])
def test_a_choice_that_does_not_exist_is_a_plain_line(option: str) -> None:
    line = one_line(vae("train", option, "jump"), option, "'jump' is not one of")
    assert "Value error" not in line
