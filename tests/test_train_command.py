"""``vae train``: the files of a run folder, checked by number, and the options of the command."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import vaekit
from tests.commands import QUICK, done, newest_state, strict_json, tiles, vae, weights_equal, without_time
from vaekit.core.config import to_data
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_gray_levels
from vaekit.evaluation.evaluation_config import BRIEF
from vaekit.evaluation.likelihood.bounds import elbo_of_each
from vaekit.runs.recipe import load_recipe
from vaekit.runs.run_folder import RunFolder

NUM_TRAIN, NUM_VALID, NUM_TEST = 1294, 144, 359
"""The 1,797 digits: a fifth for the test, and a tenth of the rest for validation."""
NUM_PARAMETERS = (
    (64 * 256 + 256) + (256 * 128 + 128) + 2 * (128 * 8 + 8) + (8 * 128 + 128) + (128 * 256 + 256) + (256 * 64 + 64)
)
NUM_OBSERVED = 2
"""The buffers of the learned scale: the scale and the number of images that it is averaged over."""


def planned(*args: object) -> dict[str, Any]:
    """The recipe that ``--dry-run`` prints."""
    with patch.dict(os.environ, COLUMNS="400"):
        recipe = yaml.safe_load(done("train", "--dry-run", *args).split("\n", 3)[3])
    assert isinstance(recipe, dict)
    return recipe


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs by ``vae train``."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    out = done(
        *("train", "digits", "--epochs", 2, "--seed", 3, "--out", folder),
        *("--set", "evaluation.num_samples=20", "--set", "training.images_every=1"),
    )
    assert f"{NUM_TRAIN:,} 1x8x8 images of digits to train on, {NUM_VALID} to validate, {NUM_TEST} to test" in out
    assert re.findall(r"^ +(\d)/2 ", out, re.MULTILINE) == ["1", "2"]
    return folder


def test_recipe_has_the_overrides(run_folder: Path) -> None:
    overrides = {"epochs": 2, "seed": 3, "evaluation.num_samples": 20, "training.images_every": 1}
    assert RunFolder(run_folder).recipe == load_recipe("digits", overrides)
    assert yaml.safe_load((run_folder / "recipe.yaml").read_text())["training"]["batch_size"] == 64


def test_number_of_weights_follows_from_the_recipe(run_folder: Path) -> None:
    weights = load_file(run_folder / "model.safetensors")
    assert sum(value.numel() for value in weights.values()) == NUM_PARAMETERS + NUM_OBSERVED
    assert RunFolder(run_folder).metrics["parameters"] == NUM_PARAMETERS
    config = json.loads((run_folder / "config.json").read_text())
    assert (config["shape"], config["latent_dim"], config["encoder"]["hidden"]) == ([1, 8, 8], 8, [256, 128])


def test_history_has_one_consistent_line_per_epoch(run_folder: Path) -> None:
    history = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    steps = -(-NUM_TRAIN // 64)
    assert [record["epoch"] for record in history] == [1, 2]
    for record in history:
        assert (record["step"], record["images_seen"]) == (steps * record["epoch"], NUM_TRAIN * record["epoch"])
        for part in (record["train"], record["valid"]):
            assert part["elbo"] == pytest.approx(-(part["distortion"] + part["rate"]), abs=1e-4)
            assert part["rate"] >= 0
        assert record["images_per_second"] == pytest.approx(record["images_seen"] / record["seconds"])
        assert record["grad_norm"] > 0
    # The KL weight rises from 0 to 1 over ten epochs, and the learning rate to 0.003 over one.
    sizes = np.array([64] * (steps - 1) + [NUM_TRAIN - 64 * (steps - 1)])
    assert history[0]["train"]["beta"] == pytest.approx((sizes * np.arange(steps) / steps / 10).sum() / NUM_TRAIN, abs=1e-6)
    assert history[0]["lr"] == pytest.approx(0.003 * (0.01 + 0.99 * (steps - 1) / steps))
    assert history[1]["train"]["elbo"] > history[0]["train"]["elbo"]
    best = max(history, key=lambda record: record["valid"]["elbo"])
    assert best["best"]
    assert RunFolder(run_folder).metrics["best_epoch"] == best["epoch"]


def test_final_metrics_are_those_of_the_model_on_the_test_split(run_folder: Path, digits: vaekit.ImageSet) -> None:
    metrics = strict_json(run_folder / "metrics.json")
    model = vaekit.load(run_folder)
    elbo = -sum(elbo_of_each(model, digits)).double()
    assert metrics["elbo"]["num_images"] == metrics["data"]["num_images"] == len(digits) == NUM_TEST
    assert metrics["elbo"]["unit"] == "nats per image"
    assert metrics["elbo"]["value"] == pytest.approx(float(elbo.mean()), abs=1e-9)
    assert metrics["elbo"]["standard_error"] == pytest.approx(float(elbo.std()) / NUM_TEST**0.5, rel=1e-9)
    terms = metrics["distortion"]["value"] + metrics["rate"]["value"]
    assert metrics["elbo"]["value"] == pytest.approx(-terms, abs=1e-4)
    assert metrics["log_likelihood"]["value"] > metrics["elbo"]["value"]
    assert metrics["log_likelihood"]["num_samples"] == 20
    again = vaekit.evaluate_model(model, digits, config=replace(BRIEF, num_samples=20, max_images=None)).to_data()
    assert {key: metrics[key] for key in again} == again


def test_environment_has_versions_seed_data_and_command(run_folder: Path, digits: vaekit.ImageSet) -> None:
    environment = strict_json(run_folder / "environment.json")
    assert environment["seed"] == 3
    assert environment["parameters"] == NUM_PARAMETERS
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["packages"]["vaekit"] == vaekit.__version__
    assert environment["data"]["test"] == digits.fingerprint
    assert "vae train digits --epochs 2" in environment["command"]


def test_images_are_reconstructions_samples_and_curves(run_folder: Path, digits: vaekit.ImageSet) -> None:
    images = run_folder / "images"
    model = vaekit.load(run_folder)
    pairs = tiles(images / "reconstructions.png", 80, columns=10, pairs=True).unflatten(0, (4, 2, 10))
    shown = digits.spread(40, 0).pixels
    assert torch.equal(pairs[:, 0].flatten(0, 1), shown)
    assert torch.equal(pairs[:, 1].flatten(0, 1), to_gray_levels(model.reconstruct(shown)))
    with fixed_seed(0):
        samples = to_gray_levels(model.sample(40))
    assert torch.equal(tiles(images / "samples.png", 40, columns=10), samples)
    with Image.open(images / "curves.png") as curves:
        assert curves.size[0] == 1800
        assert len(np.unique(np.array(curves.convert("L")))) > 50
    steps = sorted(int(path.stem.removeprefix("step-")) for path in (images / "film").glob("step-*.webp"))
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 19, 23, 27, 32, 38, 42]


def test_checkpoint_is_of_the_last_epoch(run_folder: Path) -> None:
    state = newest_state(run_folder)
    assert (state["progress"]["epoch"], state["progress"]["images_seen"]) == (2, 2 * NUM_TRAIN)
    assert state["progress"]["best_elbo"] == max(record["valid"]["elbo"] for record in RunFolder(run_folder).history)
    assert sum(value.numel() for value in state["step"]["modules"]["model"].values()) == NUM_PARAMETERS + NUM_OBSERVED


def test_running_the_recipe_again_gives_the_same_run(run_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    done("train", run_folder / "recipe.yaml", "--out", again)
    assert weights_equal(run_folder, again)
    assert [without_time(r) for r in RunFolder(again).history] == [without_time(r) for r in RunFolder(run_folder).history]
    assert without_time(RunFolder(again).metrics) == without_time(RunFolder(run_folder).metrics)
    assert (again / "recipe.yaml").read_text() == (run_folder / "recipe.yaml").read_text()


def test_only_force_replaces_a_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done("train", *QUICK, "--out", out)
    (out / "images" / "old.png").write_text("old run")
    before = (out / "model.safetensors").read_bytes()
    refused = vae("train", *QUICK, "--seed", 1, "--out", out)
    assert refused.code == 2
    assert "--force" in refused.err
    assert (out / "model.safetensors").read_bytes() == before
    done("train", *QUICK, "--seed", 1, "--out", out, "--force")
    assert RunFolder(out).recipe.training.seed == 1
    assert (out / "model.safetensors").read_bytes() != before
    assert not (out / "images" / "old.png").exists()


def test_command_and_python_train_the_same_model(tmp_path: Path) -> None:
    done("train", "digits", *QUICK, "--latent-dim", 3, "--beta", 2, "--lr", 0.01, "--out", tmp_path / "a")
    run = vaekit.train(
        *("digits",),
        **{"epochs": 1, "batch_size": 400, "evaluation.num_samples": 0, "latent_dim": 3, "beta": 2, "lr": 0.01},
        out=tmp_path / "b",
    )
    assert weights_equal(tmp_path / "a", tmp_path / "b")
    assert run.recipe == RunFolder(tmp_path / "a").recipe
    assert run.model.latent_dim == 3
    assert "log_likelihood" not in run.metrics
    train = run.history[0]["train"]
    assert train["loss"] == pytest.approx(train["distortion"] + 2 * train["rate"], rel=1e-5)


def test_dry_run_prints_the_recipe_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = done("train", "--dry-run", "--epochs", 7, "--set", "model.encoder.hidden=[32,16]")
    *lines, recipe = out.split("\n", 3)
    plan = "\n".join(lines)
    expected = load_recipe("digits", {"epochs": 7, "model.encoder.hidden": [32, 16]})
    assert yaml.safe_load(recipe) == to_data(expected)
    parameters = (
        NUM_PARAMETERS - (64 * 256 + 256 + 256 * 128 + 128 + 2 * 128 * 8) + (64 * 32 + 32 + 32 * 16 + 16 + 2 * 16 * 8)
    )
    assert f"{parameters:,} parameters; 21 steps per epoch" in plan
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "place", "value"),
    [
        ("data.binarize=static", "data.binarize", "static"),
        ("training.clip_norm=5", "training.clip_norm", 5.0),
        ("training.ema=null", "training.ema", None),
        ("optimizer.lr=1e-3", "optimizer.lr", 0.001),
        ("model.likelihood.name=bernoulli", "model.likelihood", {"name": "bernoulli"}),
        ("objective.beta={name: cyclical, epochs: 4}", "objective.beta.ramp", 0.5),
        ("data.size=[8, 8]", "data.size", [8, 8]),
        ("epochs=3", "training.epochs", 3),
    ],
)
def test_set_changes_the_named_place(change: str, place: str, value: object) -> None:
    node: Any = planned("--set", change)
    for key in place.split("."):
        node = node[key]
    assert node == value


@pytest.mark.parametrize(
    "options",
    [
        ["--lr", "0.5", "--set", "optimizer.name=sgd"],
        ["--set", "optimizer.lr=0.5", "--set", "optimizer.name=sgd"],
        ["--set", "optimizer.name=sgd", "--set", "optimizer.lr=0.5"],
    ],
)
def test_new_part_keeps_the_arguments_given_with_it(options: list[str]) -> None:
    recipe = planned(*options)
    assert (recipe["optimizer"]["name"], recipe["optimizer"]["lr"]) == ("sgd", 0.5)


@pytest.mark.parametrize("name", ["run [old]", "run [bold]", "run [/old]"])
def test_folder_name_with_brackets_is_printed_unchanged(name: str, tmp_path: Path) -> None:
    assert f"\n{tmp_path / name}: about " in done("train", "--dry-run", "--out", tmp_path / name)


@pytest.mark.parametrize("place", [".", "link"])
def test_empty_folder_becomes_a_run(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder if place == "." else tmp_path)
    done("train", *QUICK, "--out", place)
    assert RunFolder(folder).metrics["epochs"] == 1
