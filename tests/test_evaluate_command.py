"""``vae evaluate``: the metrics that it writes, and its options."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import vaekit
from tests.commands import done, strict_json, vae
from vaekit.core.rounding import with_error
from vaekit.evaluation.evaluation_config import QUICK
from vaekit.evaluation.likelihood.bounds import elbo_terms
from vaekit.runs import run_folder, run_records
from vaekit.runs.run_folder import RunFolder

NUM_TEST = 359
"""The number of test images of the digits."""


def test_evaluation_writes_the_metrics_of_the_python_function(
    trained: Path, digits: vaekit.ImageSet, tmp_path: Path
) -> None:
    annealed = ("--num-annealed", 6, "--num-chains", 3, "--num-distributions", 7)
    importance = ("--num-samples", 20, "--max-images", 50)
    out = done("evaluate", trained, "--quick", *importance, *annealed, "--seed", 4, "-o", tmp_path / "x.json")
    annealing = replace(QUICK.annealing, num_chains=3, num_distributions=7)
    config = replace(QUICK, num_samples=20, max_images=50, num_annealed=6, annealing=annealing)
    train = RunFolder(trained).images(split="train")
    expected = vaekit.evaluate_model(vaekit.load(trained), digits, train=train, config=config, seed=4).to_data()
    written = strict_json(tmp_path / "x.json")
    assert written == expected
    assert vaekit.evaluate(trained, config=config, seed=4).to_data() == expected
    assert (written["log_likelihood"]["num_images"], written["elbo"]["num_images"]) == (50, NUM_TEST)
    counts = {key: written["annealed"][key] for key in ("num_annealed", "num_images", "num_samples", "steps")}
    assert counts == {"num_annealed": 6, "num_images": 50, "num_samples": 3, "steps": 7}
    assert "3 chains each, 7 steps, 6 of 50 images" in out
    elbo = expected["elbo"]
    assert with_error(elbo["value"], elbo["standard_error"], 2) in out
    assert str(tmp_path / "x.json") in out
    assert expected["collapse"]["verdict"] in out
    for words in ("FD-cnn", "linear probe", "mutual information", "log p(x), AIS"):
        assert words in out


def test_evaluation_of_other_images_measures_them(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    assert digits.labels is not None
    np.savez(tmp_path / "few.npz", x_train=digits.pixels[:40], x_test=digits.pixels[40:60])
    done("evaluate", trained, "--data", tmp_path / "few.npz", "--quick", "--num-samples", 0, "-o", tmp_path / "x.json")
    elbo = elbo_terms(vaekit.load(trained), digits.take(torch.arange(40, 60)))["elbo"]
    written = strict_json(tmp_path / "x.json")
    assert written["elbo"]["num_images"] == 20
    assert written["elbo"]["value"] == pytest.approx(elbo.value, abs=1e-5)
    assert "log_likelihood" not in written
    assert set(written["left_out"]) == {"fidelity", "usefulness"}


def test_long_evaluation_prints_a_forecast(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--quick", "--num-samples", 2, "--num-annealed", 0, "--num-refined", 1, "-o", tmp_path / "x.json")
    assert "about" not in done("evaluate", trained, *options)
    monkeypatch.setattr("vaekit.cli.evaluate_commands.ANNOUNCED_SECONDS", 0.0)
    monkeypatch.setattr("vaekit.cli.evaluate_commands.QUICK_SECONDS", 1e9)  # also on a machine that is busy
    line = done("evaluate", trained, *options).splitlines()[0]
    assert re.match("about .*s: .*s for importance samples, .*s for refinement", line)


def test_fid_needs_training_images_and_weights(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 8, 8), np.uint8))
    options = ("--features", "inception", "-o", tmp_path / "x.json")
    alone = vae("evaluate", trained, "--data", tmp_path / "few.npz", *options)
    assert alone.code == 2
    assert re.search("FID.*training images", alone.err)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    offline = vae("evaluate", trained, *options)
    assert offline.code == 2
    assert re.search("weights.*Inception", offline.err)
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("place", [".", "/"])
def test_output_that_is_a_folder_is_refused(place: str, trained: Path) -> None:
    refused = vae("evaluate", trained, "-o", place)
    assert refused.code == 2
    assert re.search(f"{re.escape(place)}: .*folder", refused.err)
    assert vae("score", trained, "-o", place).code == 2


def test_quick_evaluation_lists_its_reductions(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.cli.evaluate_commands.QUICK_SECONDS", 0.0)
    out = done("evaluate", trained, "--quick", "--num-refined", 2, "-o", tmp_path / "x.json")
    assert re.match("quick: 0 images for importance sampling, 0 annealed, 2 refined", out)
    written = strict_json(tmp_path / "x.json")
    assert not {"log_likelihood", "annealed"} & set(written)
    assert written["amortization_gap"]["num_images"] == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="cuda is available")
@pytest.mark.parametrize("command", ["evaluate", "score", "embed"])
def test_missing_device_is_refused(command: str, trained: Path, tmp_path: Path) -> None:
    result = vae(command, trained, "--device", "cuda", "-o", tmp_path / ("x.json" if command == "evaluate" else "x.csv"))
    assert result.code == 2
    assert re.search("device.*cuda", result.err)
    assert [*tmp_path.iterdir()] == []


def test_evaluation_of_a_single_image_is_json(trained: Path, tmp_path: Path) -> None:
    done("evaluate", trained, "--quick", "--num-samples", 2, "--max-images", 1, "-o", tmp_path / "x.json")
    assert strict_json(tmp_path / "x.json")["log_likelihood"]["num_images"] == 1


def test_evaluation_loads_each_input_once(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model, the recipe, and the training and test images."""
    calls: list[object] = []

    def count(module: ModuleType, name: str, key: Callable[..., object]) -> None:
        original = getattr(module, name)

        def counting(*args: Any, **options: Any) -> Any:
            calls.append(key(*args))
            return original(*args, **options)

        monkeypatch.setattr(module, name, counting)

    count(run_folder, "load_vae", lambda folder, run: "model")
    count(run_records, "read_recipe", lambda *args: "recipe")
    count(run_folder, "load_images", lambda source, split: (source, split))
    options = ("--num-samples", 2, "--num-annealed", 0, "--num-refined", 0)
    done("evaluate", trained, "--quick", *options, "-o", tmp_path / "x.json")
    assert sorted(map(str, calls)) == ["('digits', 'test')", "('digits', 'train')", "model", "recipe"]
