"""Wrong arguments in Python: an error of vaekit in one line, never one of a library below."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaekit
from tests.commands import done
from vaekit.core.errors import VaekitError
from vaekit.runs.run_folder import RunFolder

Call = Callable[[RunFolder], Any]
MISTAKES: dict[str, tuple[Call, str]] = {
    "load None": (lambda run: vaekit.load(None), "a path, got None"),  # type: ignore[arg-type]
    "load a model": (lambda run: vaekit.load(run.model), "a path, got VAE"),  # type: ignore[arg-type]
    "train a number": (lambda run: vaekit.train(3), "what is .*, got 3"),  # type: ignore[arg-type]
    "train into a number": (lambda run: vaekit.train("digits", out=3), "out is .*, got 3"),  # type: ignore[arg-type]
    "evaluate a number": (lambda run: vaekit.evaluate(3), "run is .* a path, got 3"),  # type: ignore[arg-type]
    "score an array": (lambda run: vaekit.score(run, np.zeros((3, 8, 8))), "data is .*ndarray of shape"),  # type: ignore[arg-type]
    "embed None": (lambda run: vaekit.embed(None), "run is .*, got None"),  # type: ignore[arg-type]
    "no samples": (lambda run: run.model.sample(0), "at least 1, got 0"),
    "minus one sample": (lambda run: run.model.sample(-1), "at least 1, got -1"),
    "no samples in a gallery": (lambda run: run.gallery.samples(0), "at least 1, got 0"),
    "no images to reconstruct": (lambda run: run.model.reconstruct(torch.zeros(0, 1, 8, 8)), "at least 1, got 0"),
    "no steps": (lambda run: run.model.interpolate(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), steps=0), "steps.*got 0"),
    "an array of text to encode": (lambda run: run.model.encode(np.array(["a"])), "no image"),
    "text as a number of samples": (lambda run: run.model.sample("3"), "a whole number .*, got '3'"),  # type: ignore[arg-type]
    "half a sample": (lambda run: run.model.sample(1.5), "a whole number .*, got 1.5"),  # type: ignore[arg-type]
    "a negative side": (lambda run: vaekit.load_images("digits", size=-3), "size -3: give a side"),
    "no side": (lambda run: vaekit.load_images("digits", size=(8, 0)), "size .*: give a side"),
    "text as a side": (lambda run: vaekit.load_images("digits", size="abc"), "size 'abc': give a side"),  # type: ignore[arg-type]
    "an unknown score": (lambda run: vaekit.score(run, by="log_py"), "by is log_px, .* got 'log_py' .*mean"),  # type: ignore[arg-type]
    "a negative number of samples": (lambda run: vaekit.EvaluationConfig(num_samples=-1), "num_samples .* got -1"),
    "a mistyped setting": (lambda run: vaekit.train("digits", epoch=3), "epoch: unknown key .*'epochs'"),
    "the name of an objective": (lambda run: vaekit.train("digits", objective="iwae"), "objective.name"),  # type: ignore[arg-type]
    "a section that is a number": (
        lambda run: vaekit.train("digits", model=1),
        "model: .* a section of keys and values, got 1",
    ),
    "an empty list": (
        lambda run: vaekit.train("digits", **{"model.encoder.hidden": []}),
        "model.encoder.hidden: .* at least 1 item, got",
    ),
    "an unknown projection": (lambda run: run.gallery.latent_map("foo"), "pca, tsne or umap, got 'foo'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_argument_is_one_line(name: str, trained: Path) -> None:
    call, says = MISTAKES[name]
    with pytest.raises(VaekitError, match=says) as raised:
        call(RunFolder(trained))
    assert "\n" not in str(raised.value)


def test_a_model_folder_has_no_metrics_and_says_what_computes_them(trained: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(trained / name, tmp_path)
    with pytest.raises(VaekitError, match=r"a model folder.*vae evaluate"):
        RunFolder(tmp_path).metrics  # noqa: B018


def test_a_single_callback_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(VaekitError, match="callbacks is a list of Callbacks, got Callback"):
        vaekit.train("digits", out=tmp_path / "run", callbacks=vaekit.Callback())  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_callback_that_is_none_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(VaekitError, match="callbacks is a list of Callbacks, got"):
        vaekit.train("digits", out=tmp_path / "run", callbacks=[3])  # type: ignore[list-item]
    assert not (tmp_path / "run").exists()


def test_numbers_are_names_of_waypoints(trained: Path) -> None:
    gallery = RunFolder(trained).gallery
    assert np.array_equal(np.asarray(gallery.interpolation("1", 9)), np.asarray(gallery.interpolation("1", "9")))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, ""])
def test_runs_without_a_history_are_compared(text: str | None, run_copy: Path, trained: Path, tmp_path: Path) -> None:
    (run_copy / "metrics.jsonl").unlink()
    if text is not None:
        (run_copy / "metrics.jsonl").write_text(text)
    done("compare", run_copy, trained, "-o", tmp_path / "x.html")
    assert "epochs" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_a_mistake_in_the_recipe_of_a_run_names_the_file(run_copy: Path, tmp_path: Path) -> None:
    path = run_copy / "recipe.yaml"
    path.write_text(path.read_text().replace("scale: learned", "scale: lgarned"))
    with pytest.raises(VaekitError, match=rf"{path}: model.likelihood.scale: "):
        RunFolder(run_copy).recipe  # noqa: B018
