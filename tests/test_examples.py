"""The examples run as they are, learn, and are read back; each is a page, and needs no change of the package."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

import vaekit
from vaekit.core.plugins import load_plugin

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
MAX_LINES = 60


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    load_plugin(EXAMPLES / f"{name}.py")
    import sys

    return sys.modules[f"vaekit_plugin_{name}"] or module


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
