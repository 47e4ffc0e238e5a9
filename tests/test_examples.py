"""The examples run as they are, learn, and are read back; each is a page, and needs no change of the package."""

import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.distributions import Independent, Normal

import vaekit
from tests.commands import QUICK, done, strict_json, vae
from vaekit.core.plugins import load_plugin
from vaekit.core.terms import LatentTerms

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
MAX_LINES = 60


def load_example(name: str) -> ModuleType:
    load_plugin(EXAMPLES / f"{name}.py")
    return sys.modules[f"vaekit_plugin_{name}"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains_and_its_model_is_read_back(name: str, tmp_path: Path) -> None:
    run = load_example(name).main(tmp_path / name, 3)
    first, last = run.history[0], run.history[-1]
    assert last["valid"]["elbo"] > first["valid"]["elbo"]
    assert math.isfinite(run.metrics["log_likelihood"]["value"])
    assert run.metrics["log_likelihood"]["value"] > run.metrics["elbo"]["value"] - 1
    model = vaekit.load(tmp_path / name)
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])
    x = run.model.sample(5)
    assert x.shape == (5, *model.shape)
    assert x.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_page(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < MAX_LINES


def test_the_examples_are_those_that_the_documents_name() -> None:
    assert NAMES == ["adversarial", "beta_tc", "laplace_likelihood", "own_encoder", "tabular", "two_layer_vae"]


def test_total_correlation_of_the_example_is_none_for_independent_latents_and_high_for_equal_ones() -> None:
    """For q(z|x) = N(x, s^2) with x = (a, a) the latents are nearly equal: TC = -log(1 - r^2) / 2 of a Gaussian."""
    torch.manual_seed(0)
    a, b = torch.randn(2000, 2).T
    for means, expected in ((torch.stack([a, b], -1), 0.0), (torch.stack([a, a], -1), -0.5 * math.log(1 - 0.8**2))):
        qz = Independent(Normal(means, torch.full_like(means, 0.5)), 1)  # var 1.25, covariance 1: r = 0.8
        latent = LatentTerms(qz.rsample(torch.Size([1])), qz, qz)
        found = load_example("beta_tc").total_correlation(latent, len(means))
        assert float(found) == pytest.approx(expected, abs=0.1)


def test_total_correlation_of_the_example_is_that_of_all_training_images() -> None:
    """Two images far apart, one batch of both: q(z) of N images has 1 / N of the image itself, and the rest of the other."""
    means = torch.tensor([[0.0, 0.0], [50.0, 50.0]])
    qz = Independent(Normal(means, torch.ones_like(means)), 1)
    found = [
        float(load_example("beta_tc").total_correlation(LatentTerms(means[None], qz, qz), num)) for num in (2, 10, 1000)
    ]
    assert found == pytest.approx([math.log(2), math.log(10), math.log(1000)], rel=1e-5)


def test_a_plugin_is_used_from_the_command_line_and_needed_to_read_its_model(tmp_path: Path) -> None:
    plugin = EXAMPLES / "laplace_likelihood.py"
    name = "model.likelihood={name: trained-laplace, initial_scale: 0.5}"
    done("train", "digits", *QUICK, "--out", tmp_path / "run", "--set", name, "--plugin", plugin)
    assert strict_json(tmp_path / "run" / "config.json")["likelihood"] == {"name": "trained-laplace", "initial_scale": 0.5}
    done("--plugin", plugin, "sample", tmp_path / "run", "-n", 4, "-o", tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size > 100


def test_a_recipe_in_yaml_names_a_plugin_s_part(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    parts = "encoder: {name: patches}, decoder: {name: mlp}, likelihood: {name: gaussian}"
    recipe.write_text(f"data: {{name: digits}}\nmodel: {{latent_dim: 4, {parts}}}\n")
    done("train", recipe, *QUICK, "--out", tmp_path / "run", "--plugin", EXAMPLES / "own_encoder.py")
    assert strict_json(tmp_path / "run" / "config.json")["encoder"]["name"] == "patches"


@pytest.mark.parametrize(
    ("text", "noun"),
    [(None, "Python file"), ("raise KeyError('mine')", "KeyError.*mine"), ("def broken(:", "SyntaxError")],
)
def test_a_plugin_that_cannot_be_loaded_is_one_line(text: str | None, noun: str, tmp_path: Path) -> None:
    plugin = tmp_path / "parts.py"
    if text is not None:
        plugin.write_text(text)
    outcome = vae("train", "digits", "--plugin", plugin)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert re.search(f"--plugin .*parts.py: .*{noun}", outcome.err)


def test_nothing_in_a_folder_or_recipe_can_ask_for_a_plugin(tmp_path: Path) -> None:
    """A plugin is code that the user names on the command line, never something that a file asks for."""
    recipe = tmp_path / "mine.yaml"
    parts = "encoder: {name: mlp}, decoder: {name: mlp}, likelihood: {name: gaussian}"
    recipe.write_text(f"plugin: evil.py\ndata: {{name: digits}}\nmodel: {{latent_dim: 4, {parts}}}\n")
    outcome = vae("train", recipe)
    assert outcome.code == 2
    assert "plugin: unknown key" in outcome.err


@pytest.mark.parametrize("command", ["sample", "reconstruct", "evaluate", "score", "embed", "map", "report"])
def test_commands_refuse_a_model_of_other_data_in_one_line(command: str, tabular: Path) -> None:
    outcome = vae(command, tabular, "--plugin", EXAMPLES / "tabular.py")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert re.search(r"shape \(20,\).*images", outcome.err)


@pytest.fixture(scope="module")
def tabular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load_example("tabular").main(tmp_path_factory.mktemp("tabular") / "run", 1).folder


def test_a_plugin_s_part_is_named_when_it_is_missing(tabular: Path) -> None:
    command = [sys.executable, "-m", "vaekit", "sample", str(tabular)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert re.search("'gaussian-columns'.*--plugin", process.stderr)
