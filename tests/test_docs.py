"""The documentation: links lead somewhere, commands have valid options, names exist, and the code of extending.md runs."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

import vaekit
from tests.commands import QUICK, start, strict_json
from vaekit.cli import app, split_plugins

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
MAX_WORDS = 800
"""The largest number of words of the README outside code blocks."""


def code_blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every ``vae`` command of the pages, with its page; in the text, those with arguments."""
    for page in (page for page in PAGES if page.name != "CHANGELOG.md"):
        inline = re.findall(r"`(vae [a-z]+ [^`]*)`", prose(page))
        lines = [line for block in code_blocks(page, "bash") for line in block.splitlines()]
        for text in [*inline, *lines]:
            for command in text.split("&&"):
                words = shlex.split(command, comments=True)
                if words[:1] == ["vae"]:
                    yield page.name, words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), target


def test_commands_have_valid_options() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = list(commands())
    assert len(found) > 50
    for page, words in found:
        (name, *args), _ = split_plugins(words)
        assert name in known, (page, words)
        known[name].make_context(name, args)  # raises for an unknown option


def test_public_names_in_python_code_exist() -> None:
    code = "\n".join(block for page in PAGES for block in code_blocks(page, "python"))
    names = set(re.findall(r"\bvaekit\.([A-Za-z_]+)\(", code))
    assert len(names) > 8
    assert names <= set(vaekit.__all__)
    methods = set(re.findall(r"\bvae\.([a-z_]+)\(", code))
    assert {"sample", "encode", "decode", "log_likelihood"} <= methods
    assert all(hasattr(vaekit.VAE, name) for name in methods)


def test_registered_parts_are_listed() -> None:
    from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
    from vaekit.networks import ENCODERS
    from vaekit.objectives import OBJECTIVES
    from vaekit.training import OPTIMIZERS, SCHEDULERS, STEPS

    page = (ROOT / "docs" / "python.md").read_text()
    for registry in (ENCODERS, POSTERIORS, PRIORS, LIKELIHOODS, OBJECTIVES, STEPS, OPTIMIZERS, SCHEDULERS):
        [row] = [line for line in page.splitlines() if line.startswith("|") and f"`vaekit.{home(registry.title)}`" in line]
        own = {name for name, part in registry.items() if part.__module__.startswith("vaekit.")}
        assert set(re.findall(r"`([^`]+)`", row.split("|")[3])) == own


def home(title: str) -> str:
    """The module and name of a registry."""
    packages = {"networks": ("ENCODERS",), "objectives": ("OBJECTIVES",), "training": ("STEPS", "OPTIMIZERS", "SCHEDULERS")}
    return f"{next((name for name, titles in packages.items() if title in titles), 'distributions')}.{title}"


def write_parts(folder: Path) -> Path:
    """The examples of the page on extending, as the file of parts that they are; the first block is cut short."""
    path = folder / "my_parts.py"
    path.write_text("\n\n".join(code_blocks(ROOT / "docs" / "extending.md", "python")[1:]))
    return path


CONDITIONAL_PLUGIN = """
import my_parts, torch, vaekit

train = vaekit.train
vaekit.train = lambda *args, **settings: train(*args, **settings, **{options})
{text}
run = train("digits", out="runs/conditional", conditional=True, callbacks=[my_parts.PrintRate()], **{options},
    **{{"model.encoder.name": "patch-mean", "model.encoder.patch": 2}})
x, labels = vaekit.load_images("digits", "test").pixels[:3].repeat(2, 1, 1, 1), torch.tensor([0, 0, 0, 1, 1, 1])
zero, one = vaekit.load(run.folder).encode(x, labels).mean.chunk(2)
print("prior", vaekit.RunFolder("runs/laplace").recipe.model.prior)
print("differs", bool(((zero - one).abs().amax(1) > 1e-3).all()))
print("table", my_parts.table.shape)
"""


def test_python_examples_of_the_page_on_extending_run(tmp_path: Path) -> None:
    """Its classes are also used in a class-conditional model, whose posterior depends on the class."""
    write_parts(tmp_path)
    [text] = [block for block in code_blocks(ROOT / "docs" / "extending.md", "text") if "my_parts" in block]
    options = {"epochs": 1, "report": False, "console": None}
    program = CONDITIONAL_PLUGIN.format(text=text, options=repr(options))
    process = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "prior {'name': 'laplace', 'scale': 0.7}" in process.stdout
    assert "differs True" in process.stdout
    assert "table (20,)" in process.stdout
    assert re.search(r"^1 \d+\.\d+$", process.stdout, re.MULTILINE)  # what the callback prints


def test_parts_of_the_page_on_extending_train_as_a_plugin(tmp_path: Path) -> None:
    write_parts(tmp_path)
    parts = {
        "model.prior": {"name": "laplace", "scale": 0.7},
        "model.posterior": {"name": "fixed-width", "stddev": 0.3},
        "model.likelihood": {"name": "laplace-pixels", "scale": 0.2},
        "model.encoder": {"name": "patch-mean", "patch": 2, "features": 32},
        "objective": {"name": "target-rate", "target": 5.0, "num_samples": 2},
        "step": {"name": "warm-start", "epochs": 0.5},
    }
    changes = [word for place, part in parts.items() for word in ("--set", f"{place}={json.dumps(part)}")]
    process = start("train", "digits", *QUICK, "--plugin", tmp_path / "my_parts.py", *changes, "--out", tmp_path / "run")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    model = recipe["model"]
    written = {place: (model if "." in place else recipe)[place.split(".")[-1]] for place in parts}
    assert written == parts
    assert strict_json(tmp_path / "run" / "config.json")["encoder"] == parts["model.encoder"]
    assert strict_json(tmp_path / "run" / "metrics.json")["parameters"] > 10_000


def test_readme_is_short() -> None:
    assert len(prose(ROOT / "README.md").split()) < MAX_WORDS
