"""``vae --help``, ``vae --version`` and ``vae recipes``."""

import re
import shlex
from itertools import pairwise

import pytest
import typer

import vaekit
from tests.commands import done, one_line, start, vae
from vaekit.cli import app, split_plugins
from vaekit.cli.help_text import MAX_WIDTH
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
    *("curves", "rates", "errors", "evaluate", "score", "embed", "reproduce", "report", "compare", "export"),
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


def filled(lines: list[str], width: int) -> bool:
    """Whether no line of a paragraph could have taken the first word of the next one."""
    return all(len(f"{a} {b.split()[0]}") > width for a, b in pairwise(lines))


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_of_help_is_broken(command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = done(command, "--help")
    assert max(map(len, out.splitlines())) <= columns
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    for parameter in known.params:
        said = [*(parameter.help or "").split(), *parameter.opts, *filter(None, [parameter.metavar])]
        said = said if parameter.param_type_name == "option" else said[:-2]
        assert set(said) <= set(out.replace(",", " ").split()) | set(out.split()), parameter.name
    text = out.partition("\n\n")[2].partition("Example")[0]
    for paragraph in text.strip().split("\n\n"):
        assert filled(paragraph.splitlines(), min(columns, MAX_WIDTH))
    prose = known.help.partition("[bold]")[0]
    assert text.split() == prose.split()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", "[fp32, bf16, float32 or bfloat16]"),
        ("score", "[log_px, elbo, ratio, waic, typicality, reconstruction or latent]"),
        ("train", "--fit crop|pad|stretch"),
        ("animate", "[20 to 60,000]"),
        ("animate", "[at least 2; default: 40]"),
        ("sample", "-o, --output PATH"),
        ("sample", "--seed N The random seed. [at least 0; default: 0]"),
    ],
)
def test_choices_ranges_and_defaults_are_said(command: str, says: str) -> None:
    assert says in " ".join(done(command, "--help").split())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train", "--out", "--dry-run"], "--out: a value is missing before --dry-run"),
        (["sample", "run", "-o", "--pixelated"], "--output: a value is missing before --pixelated"),
        (["animate", "run", "--label", "--traverse"], "--label: a value is missing before --traverse"),
        (["train", "--plugin", "--dry-run"], "--plugin: name a Python file"),
    ],
)
def test_an_option_is_no_value_of_another(args: list[str], says: str) -> None:
    one_line(vae(*args), says)


def test_help_lists_every_command() -> None:
    out = done("--help")
    assert re.findall(r"^  ([a-z]+) ", out, re.MULTILINE) == list(COMMANDS)


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


@pytest.mark.parametrize(
    ("args", "near"), [(("manifold", "x", "--setps", "3"), "--steps"), (("sample", "x", "--lable", "3"), "--label")]
)
def test_a_mistyped_option_has_the_nearest_first(args: tuple[str, ...], near: str) -> None:
    outcome = vae(*args)
    assert outcome.code == 2
    assert f"(did you mean '{near}'" in outcome.err
