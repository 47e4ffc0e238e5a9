"""Every command as a user runs it, on digits, and what it wrote opened and checked by number."""

import json
import os
import re
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import typer
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import vaekit
from tests.commands import QUICK, SHAPE, done, near, start, tiles, vae
from vaekit.cli import app
from vaekit.core.config import to_data
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_gray_levels
from vaekit.distributions import Bernoulli, DiagonalGaussian, StandardNormal
from vaekit.evaluation.likelihood.bounds import elbo_of_each, elbo_terms
from vaekit.evaluation.model_evaluation import QUICK as QUICK_EFFORT
from vaekit.evaluation.model_evaluation import brief
from vaekit.networks import MLPDecoder, MLPEncoder
from vaekit.plots.grids import layout
from vaekit.runs.recipe import load_recipe, recipe_names
from vaekit.runs.run_folder import STATE, RunFolder
from vaekit.training import read_state

COMMANDS = (
    *("train", "recipes", "data", "sample", "reconstruct", "traverse", "manifold", "interpolate", "map", "animate"),
    *("curves", "rates", "errors", "evaluate", "score", "embed", "reproduce", "report", "compare"),
)
NUM_TRAIN, NUM_VALID, NUM_TEST = 1294, 144, 359
"""The 1,797 digits: a fifth to test, and a tenth of the rest to validate."""
NUM_PARAMETERS = (
    (64 * 256 + 256) + (256 * 128 + 128) + 2 * (128 * 8 + 8) + (8 * 128 + 128) + (128 * 256 + 256) + (256 * 64 + 64)
)
NUM_OBSERVED = 2
"""The numbers that the learned scale keeps beside the parameters: itself, and how many images it has seen."""


def planned(*args: object) -> dict[str, Any]:
    """The recipe that a training would follow."""
    with patch.dict(os.environ, COLUMNS="400"):
        recipe = yaml.safe_load(done("train", "--dry-run", *args).split("\n", 1)[1])
    assert isinstance(recipe, dict)
    return recipe


def weights_equal(a: Path, b: Path) -> bool:
    """Whether two runs have the same weights, bit for bit."""
    first, second = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    """A record of metrics without what depends on the clock."""
    return {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}


def strict_json(path: Path) -> Any:
    """Reads JSON as the standard has it, which knows neither NaN nor Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path.name} holds {constant}, which is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: two that share a busy core are many times slower on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs by ``vae train``."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    out = done(
        *("train", "digits", "--epochs", 2, "--seed", 3, "--out", folder),
        *("--set", "evaluation.num_samples=20", "--set", "training.images_every=1"),
    )
    assert f"{NUM_TRAIN:,} 1x8x8 images of digits to learn from, {NUM_VALID} to validate, {NUM_TEST} to test" in out
    assert re.findall(r"^epoch (\d)/2", out, re.MULTILINE) == ["1", "2"]
    return folder


@pytest.fixture(scope="module")
def digits() -> vaekit.ImageSet:
    """The test digits."""
    return vaekit.load_images("digits", "test")


# vae train


def test_recipe_is_the_one_that_was_asked_for(run_folder: Path) -> None:
    overrides = {"epochs": 2, "seed": 3, "evaluation.num_samples": 20, "training.images_every": 1}
    assert RunFolder(run_folder).recipe == load_recipe("digits", overrides)
    assert yaml.safe_load((run_folder / "recipe.yaml").read_text())["training"]["batch_size"] == 64


def test_weights_are_as_many_as_the_recipe_says(run_folder: Path) -> None:
    weights = load_file(run_folder / "model.safetensors")
    assert sum(value.numel() for value in weights.values()) == NUM_PARAMETERS + NUM_OBSERVED
    assert RunFolder(run_folder).metrics["parameters"] == NUM_PARAMETERS
    config = json.loads((run_folder / "config.json").read_text())
    assert (config["shape"], config["latent_dim"], config["encoder"]["hidden"]) == ([1, 8, 8], 8, [256, 128])


def test_history_has_a_line_an_epoch_that_adds_up(run_folder: Path) -> None:
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
    # The KL weight rises from 0 to 1 over ten epochs, and the learning rate to 0.002 over one.
    sizes = np.array([64] * (steps - 1) + [NUM_TRAIN - 64 * (steps - 1)])
    assert history[0]["train"]["beta"] == pytest.approx((sizes * np.arange(steps) / steps / 10).sum() / NUM_TRAIN, abs=1e-6)
    assert history[0]["lr"] == pytest.approx(0.002 * (0.01 + 0.99 * (steps - 1) / steps))
    assert history[1]["train"]["elbo"] > history[0]["train"]["elbo"]
    best = max(history, key=lambda record: record["valid"]["elbo"])
    assert best["best"]
    assert RunFolder(run_folder).metrics["best_epoch"] == best["epoch"]


def test_final_numbers_are_the_models_on_the_test_split(run_folder: Path, digits: vaekit.ImageSet) -> None:
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
    again = vaekit.evaluate(model, digits, effort=brief(20, None))
    assert {key: metrics[key] for key in again} == again


def test_environment_says_what_the_run_ran_on(run_folder: Path, digits: vaekit.ImageSet) -> None:
    environment = strict_json(run_folder / "environment.json")
    assert environment["seed"] == 3
    assert environment["parameters"] == NUM_PARAMETERS
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["packages"]["vaekit"] == vaekit.__version__
    assert environment["data"]["test"] == digits.fingerprint
    assert "vae train digits --epochs 2" in environment["command"]


def test_images_have_their_size_and_something_on_them(run_folder: Path, digits: vaekit.ImageSet) -> None:
    images = run_folder / "images"
    model = vaekit.load(run_folder)
    pairs = tiles(images / "reconstructions.png", 80, columns=10).unflatten(0, (4, 2, 10))
    shown = digits.first(40).pixels
    assert torch.equal(pairs[:, 0].flatten(0, 1), shown)
    assert torch.equal(pairs[:, 1].flatten(0, 1), to_gray_levels(model.reconstruct(shown)))
    with fixed_seed(0):
        samples = to_gray_levels(model.sample(40))
    assert torch.equal(tiles(images / "samples.png", 40, columns=10), samples)
    curves = Image.open(images / "curves.png")
    assert curves.size == (1200, 720)
    assert len(np.unique(np.array(curves.convert("L")))) > 50
    epochs = {path.name for path in (images / "epochs").iterdir()}
    assert epochs == {f"{name}-{epoch:04d}.png" for name in ("reconstructions", "samples") for epoch in (1, 2)}
    for name in epochs:
        levels = np.unique(np.array(Image.open(images / "epochs" / name)))
        assert len(levels) > 16, name


def test_checkpoint_is_of_the_last_epoch(run_folder: Path) -> None:
    state = read_state(run_folder / STATE)
    assert (state["progress"]["epoch"], state["progress"]["images_seen"]) == (2, 2 * NUM_TRAIN)
    assert state["progress"]["best_elbo"] == max(record["valid"]["elbo"] for record in RunFolder(run_folder).history)
    assert sum(value.numel() for value in state["model"].values()) == NUM_PARAMETERS + NUM_OBSERVED


def test_running_the_recipe_again_gives_the_same_run(run_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    done("train", run_folder / "recipe.yaml", "--out", again)
    assert weights_equal(run_folder, again)
    assert [without_time(r) for r in RunFolder(again).history] == [without_time(r) for r in RunFolder(run_folder).history]
    assert without_time(RunFolder(again).metrics) == without_time(RunFolder(run_folder).metrics)
    assert (again / "recipe.yaml").read_text() == (run_folder / "recipe.yaml").read_text()


def test_force_replaces_a_run_and_nothing_else_does(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done("train", *QUICK, "--out", out)
    (out / "images" / "old.png").write_text("of the old run")
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
    plan, recipe = out.split("\n", 1)
    expected = load_recipe("digits", {"epochs": 7, "model.encoder.hidden": [32, 16]})
    assert yaml.safe_load(recipe) == to_data(expected)
    parameters = (
        NUM_PARAMETERS - (64 * 256 + 256 + 256 * 128 + 128 + 2 * 128 * 8) + (64 * 32 + 32 + 32 * 16 + 16 + 2 * 16 * 8)
    )
    assert f"{parameters:,} parameters; 21 steps an epoch" in plan
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_a_resume_trains_nothing(run_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_folder, tmp_path / "copy")
    vae("train", "--resume", copy, "--epochs", 3, "--dry-run")
    assert len(RunFolder(copy).history) == 2
    assert RunFolder(copy).recipe.training.epochs == 2


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
def test_set_changes_the_place_that_it_names(change: str, place: str, value: object) -> None:
    found: Any = planned("--set", change)
    for key in place.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    "options",
    [
        ["--lr", "0.5", "--set", "optimizer.name=sgd"],
        ["--set", "optimizer.lr=0.5", "--set", "optimizer.name=sgd"],
        ["--set", "optimizer.name=sgd", "--set", "optimizer.lr=0.5"],
    ],
)
def test_another_part_keeps_the_arguments_that_were_given_with_it(options: list[str]) -> None:
    recipe = planned(*options)
    assert (recipe["optimizer"]["name"], recipe["optimizer"]["lr"]) == ("sgd", 0.5)


@pytest.mark.parametrize("name", ["run [old]", "run [bold]", "run [/old]"])
def test_folder_with_brackets_is_printed_as_it_is(name: str, tmp_path: Path) -> None:
    assert f"{tmp_path / name}\n" in done("train", "--dry-run", "--out", tmp_path / name)


@pytest.mark.parametrize("place", [".", "link"])
def test_empty_folder_can_become_a_run(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder if place == "." else tmp_path)
    done("train", *QUICK, "--out", place)
    assert RunFolder(folder).metrics["epochs"] == 1


def test_interrupted_training_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    options = ("--epochs", 8, "--batch-size", 32, "--set", "evaluation.num_samples=0")
    folder = tmp_path / "run"
    process = start("train", *options, "--out", folder)
    deadline = time.monotonic() + 60
    while not (folder / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    [line] = err.splitlines()
    assert line.endswith(f"go on with: vae train --resume {folder}")
    stopped = re.match(r"stopped in epoch (\d+), after step (\d+);", line)
    assert stopped is not None
    epoch, step = map(int, stopped.groups())
    assert read_state(folder / STATE)["progress"]["step"] == step
    assert len(RunFolder(folder).history) == epoch - 1 < 8
    assert not (folder / "metrics.json").exists()

    out = done("train", "--resume", folder)
    assert f"going on after {epoch - 1} epochs, step {step:,}" in out
    done("train", *options, "--out", tmp_path / "whole")
    assert weights_equal(folder, tmp_path / "whole")
    assert [without_time(r) for r in RunFolder(folder).history] == [
        without_time(r) for r in RunFolder(tmp_path / "whole").history
    ]
    assert without_time(RunFolder(folder).metrics) == without_time(RunFolder(tmp_path / "whole").metrics)


def test_interrupted_evaluation_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with patch("vaekit.evaluation.model_evaluation.evaluate", side_effect=KeyboardInterrupt):
        outcome = vae("train", *QUICK, "--out", folder)
    assert outcome.code == 130
    assert f"vae train --resume {folder}" in outcome.err
    done("train", "--resume", folder)
    assert RunFolder(folder).metrics["epochs"] == len(RunFolder(folder).history) == 1


# vae recipes, --version, --help


def test_recipes_are_named_with_their_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    out = done("recipes")
    rows = {line.split()[0]: line for line in out.splitlines() if line[:1].strip() and line.split()[0] in recipe_names()}
    assert sorted(rows) == recipe_names()
    for name, row in rows.items():
        recipe = load_recipe(name)
        assert recipe.title in row
        assert recipe.needs in out
        assert recipe.reference in out


def test_recipes_are_told_in_full_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = done("recipes")
    assert "…" not in out
    for name in recipe_names():
        recipe = load_recipe(name)
        for word in f"{recipe.title} {recipe.needs} {recipe.reference}".split():
            assert word in out


def test_version_is_the_packages() -> None:
    assert done("--version") == f"vaekit {vaekit.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_can_be_typed(command: str) -> None:
    out = done(command, "--help")
    examples = [line.strip() for line in out.splitlines() if line.strip().startswith("vae ")]
    assert "Example" in out
    assert examples
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for example in examples:
        _, name, *args = shlex.split(example)
        assert name == command
        commands[name].make_context(name, args)  # raises for an option that is not there


def test_help_names_every_command() -> None:
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


# vae sample


def test_samples_are_the_models_in_their_place(trained: Path, tmp_path: Path) -> None:
    def sample(seed: int, name: str) -> Tensor:
        done("sample", trained, "-n", 23, "--seed", seed, "-o", tmp_path / name)
        return tiles(tmp_path / name, 23, columns=10)

    model = vaekit.load(trained)
    with fixed_seed(5):
        expected = to_gray_levels(model.sample(23))
    assert torch.equal(sample(5, "a.png"), expected)
    assert torch.equal(sample(5, "b.png"), expected)
    assert not torch.equal(sample(6, "c.png"), expected)


def test_samples_go_among_the_images_of_the_run(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    path = copy / "images" / "samples.png"
    assert done("sample", copy).replace("\n", "") == str(path)
    model = vaekit.load(copy)
    with fixed_seed(0):
        assert torch.equal(tiles(path, 100, columns=10), to_gray_levels(model.sample(100)))


def test_temperature_zero_draws_the_priors_mean(trained: Path, tmp_path: Path) -> None:
    done("sample", trained, "-n", 9, "--temperature", 0, "-o", tmp_path / "cold.png")
    model = vaekit.load(trained)
    with model.inference():
        mean = to_gray_levels(model.decode(torch.zeros(9, 8)).mean)
    cold = tiles(tmp_path / "cold.png", 9, columns=3)
    assert torch.equal(cold, mean)
    assert (cold == cold[0]).all()
    done("sample", trained, "-n", 9, "-o", tmp_path / "warm.png")
    assert not (tiles(tmp_path / "warm.png", 9, columns=3) == cold).all()


@pytest.mark.parametrize("names", [["7"], ["2", "5", "0"]])
def test_labels_choose_the_class(names: list[str], trained_conditional: Path, tmp_path: Path) -> None:
    options = [option for name in names for option in ("--label", name)]
    done("sample", trained_conditional, *options, "-n", 8, "-o", tmp_path / "x.png")
    labels = torch.tensor([int(name) for name in names]).repeat(8)[:8]
    model = vaekit.load(trained_conditional)
    with fixed_seed(0):
        expected = to_gray_levels(model.sample(8, labels))
    with fixed_seed(0):
        other = to_gray_levels(model.sample(8, (labels + 1) % 10))
    found = tiles(tmp_path / "x.png", 8, columns=3)
    assert torch.equal(found, expected)
    assert not torch.equal(found, other)


def test_conditional_samples_show_each_class_in_turn(trained_conditional: Path, tmp_path: Path) -> None:
    done("sample", trained_conditional, "-n", 20, "-o", tmp_path / "x.png")
    model = vaekit.load(trained_conditional)
    with fixed_seed(0):
        expected = model.sample(20, torch.arange(10).repeat(2))
    assert torch.equal(tiles(tmp_path / "x.png", 20, columns=10), to_gray_levels(expected))


# vae reconstruct


def pairs(path: Path, num: int) -> tuple[Tensor, Tensor]:
    """The originals and reconstructions of one row of pairs."""
    above, below = tiles(path, 2 * num, columns=num).unflatten(0, (2, num))
    return above, below


def beside(path: Path, num: int) -> tuple[Tensor, Tensor]:
    """The originals and reconstructions of rows of two, which have words below them."""
    factor, gap = layout(SHAPE[-1], 2)
    with Image.open(path) as image:
        height = num * (SHAPE[-1] * factor + gap) + gap
        assert np.array(image)[height:].min() < 100
        image.crop((0, 0, image.width, height)).save(path)
    originals, reconstructions = tiles(path, 2 * num, columns=2).unflatten(0, (num, 2)).unbind(1)
    return originals, reconstructions


def test_reconstructions_stand_below_their_originals(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    done("reconstruct", trained, "-n", 6, "-o", tmp_path / "x.png")
    shown = digits.first(6).pixels
    above, below = pairs(tmp_path / "x.png", 6)
    assert torch.equal(above, shown)
    assert torch.equal(below, to_gray_levels(vaekit.load(trained).reconstruct(shown)))


def test_image_files_are_fitted_and_reconstructed(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    gray = digits.first(2).pixels[:, 0].numpy()
    Image.fromarray(gray[0]).save(tmp_path / "same.png")
    Image.fromarray(np.stack([gray[1]] * 3, -1)).save(tmp_path / "color.png")
    Image.new("L", (30, 20), 77).save(tmp_path / "large.png")
    files = [tmp_path / f"{name}.png" for name in ("same", "color", "large")]
    done("reconstruct", trained, *files, "-o", tmp_path / "x.png")
    shown = torch.cat([digits.first(2).pixels, torch.full((1, *SHAPE), 77, dtype=torch.uint8)])
    originals, reconstructions = beside(tmp_path / "x.png", 3)
    assert torch.equal(originals, shown)
    assert torch.equal(reconstructions, to_gray_levels(vaekit.load(trained).reconstruct(shown)))


@pytest.mark.parametrize(
    ("terminal", "display", "files"), [(True, ":0", 1), (False, ":0", 1), (True, "", 1), (True, ":0", 0)]
)
def test_own_images_are_shown_where_there_is_a_window(
    terminal: bool, display: str, files: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image))
    monkeypatch.setattr("vaekit.cli.options.sys.platform", "linux")
    monkeypatch.setattr("vaekit.cli.options.is_terminal", lambda: terminal)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    Image.new("L", (8, 8), 77).save(tmp_path / "own.png")
    done("reconstruct", trained, *[tmp_path / "own.png"] * files, "-o", tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()
    assert len(shown) == int(terminal and display != "" and files == 1)


def test_labels_of_image_files_are_told_to_the_model(
    trained_conditional: Path, digits: vaekit.ImageSet, tmp_path: Path
) -> None:
    shown, model = digits.first(2).pixels, vaekit.load(trained_conditional)
    for index in (0, 1):
        Image.fromarray(shown[index, 0].numpy()).save(tmp_path / f"{index}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for names, labels in ((["4"], [4, 4]), (["1", "8"], [1, 8])):
        options = [option for name in names for option in ("--label", name)]
        done("reconstruct", trained_conditional, *files, *options, "-o", tmp_path / "x.png")
        expected = to_gray_levels(model.reconstruct(shown, torch.tensor(labels)))
        assert torch.equal(beside(tmp_path / "x.png", 2)[1], expected)
    done("reconstruct", trained_conditional, "-n", 2, "-o", tmp_path / "own.png")
    assert digits.labels is not None
    own = to_gray_levels(model.reconstruct(shown, digits.labels[:2]))
    assert torch.equal(pairs(tmp_path / "own.png", 2)[1], own)


# vae interpolate


def test_interpolation_goes_from_one_reconstruction_to_the_other(
    trained: Path, digits: vaekit.ImageSet, tmp_path: Path
) -> None:
    done("interpolate", trained, "@3", "@7", "--steps", 5, "-o", tmp_path / "x.png")
    model, ends = vaekit.load(trained), digits.pixels[[3, 7]]
    strip = tiles(tmp_path / "x.png", 5, columns=5)
    near(strip[[0, 4]], to_gray_levels(model.reconstruct(ends)))
    with model.inference():
        first, last = model.encode(ends).mean
        middle = model.decode(((first + last) / 2)[None]).mean
    near(strip[[2]], to_gray_levels(middle))


def test_interpolation_takes_files_and_labels(trained_conditional: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    Image.fromarray(digits.pixels[3, 0].numpy()).save(tmp_path / "three.png")
    ends, model = digits.pixels[[3, 7]], vaekit.load(trained_conditional)
    assert digits.labels is not None
    seven = int(digits.labels[7])
    done(
        "interpolate",
        trained_conditional,
        tmp_path / "three.png",
        "@7",
        "--steps",
        4,
        "--label",
        2,
        "-o",
        tmp_path / "x.png",
    )
    expected = model.interpolate(ends[0], ends[1], 4, torch.tensor([2, seven]))
    strip = tiles(tmp_path / "x.png", 4, columns=4)
    assert torch.equal(strip, to_gray_levels(expected))
    near(strip[[0, 3]], to_gray_levels(model.reconstruct(ends, torch.tensor([2, seven]))))


# vae evaluate


def test_evaluation_writes_the_numbers_of_the_package(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    annealed = ("--annealed", 6, "--chains", 3, "--distributions", 7)
    weighed = ("--num-samples", 20, "--max-images", 50)
    out = done("evaluate", trained, "--quick", *weighed, *annealed, "--seed", 4, "-o", tmp_path / "x.json")
    how = replace(QUICK_EFFORT.annealing, chains=3, distributions=7)
    effort = replace(QUICK_EFFORT, num_samples=20, max_images=50, annealed=6, annealing=how)
    expected = vaekit.evaluate(
        vaekit.load(trained), digits, train=RunFolder(trained).images(split="train"), effort=effort, seed=4
    )
    written = strict_json(tmp_path / "x.json")
    assert written == expected
    assert (written["log_likelihood"]["num_images"], written["elbo"]["num_images"]) == (50, NUM_TEST)
    said = {key: written["annealed"][key] for key in ("num_annealed", "num_images", "num_samples", "steps")}
    assert said == {"num_annealed": 6, "num_images": 50, "num_samples": 3, "steps": 7}
    assert "3 chains each, 7 steps, 6 of 50 images" in out
    elbo = expected["elbo"]
    assert f"{elbo['value']:.2f} ± {elbo['standard_error']:.2f}" in out
    assert str(tmp_path / "x.json") in out
    assert expected["collapse"]["verdict"] in out
    for words in ("FD-cnn", "linear probe", "mutual information", "log p(x), AIS"):
        assert words in out


def test_evaluation_of_other_images_is_of_them(trained: Path, digits: vaekit.ImageSet, tmp_path: Path) -> None:
    assert digits.labels is not None
    np.savez(tmp_path / "few.npz", x_train=digits.pixels[:40], x_test=digits.pixels[40:60])
    done("evaluate", trained, "--data", tmp_path / "few.npz", "--quick", "--num-samples", 0, "-o", tmp_path / "x.json")
    elbo = elbo_terms(vaekit.load(trained), digits.take(torch.arange(40, 60)))["elbo"]
    written = strict_json(tmp_path / "x.json")
    assert written["elbo"]["num_images"] == 20
    assert written["elbo"]["value"] == pytest.approx(elbo.value, abs=1e-5)
    assert "log_likelihood" not in written
    assert set(written["left_out"]) == {"fidelity", "usefulness"}


def test_long_evaluation_says_beforehand_how_long(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--quick", "--num-samples", 2, "--annealed", 0, "--refined", 1, "-o", tmp_path / "x.json")
    assert "about" not in done("evaluate", trained, *options)
    monkeypatch.setattr("vaekit.cli.evaluate_commands.LONG", 0.0)
    said = done("evaluate", trained, *options).splitlines()[0]
    assert re.fullmatch(
        r"about .*s: .*s for importance samples, .*s for refinement; --quick and the options take less", said
    )


def test_an_fid_needs_training_images_and_weights(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 8, 8), np.uint8))
    options = ("--features", "inception", "-o", tmp_path / "x.json")
    alone = vae("evaluate", trained, "--data", tmp_path / "few.npz", *options)
    assert alone.code == 2
    assert "an FID is a distance from training images, and there are none" in alone.err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    offline = vae("evaluate", trained, *options)
    assert offline.code == 2
    assert "the weights of Inception cannot be had" in offline.err
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_is_no_file_to_write(place: str, trained: Path) -> None:
    refused = vae("evaluate", trained, "-o", place)
    assert refused.code == 2
    assert f"{place}: cannot be written (it is a folder)" in refused.err
    assert vae("score", trained, "-o", place).code == 2


def test_quick_evaluation_says_what_it_cut(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.cli.evaluate_commands.QUICK_SECONDS", 0.0)
    out = done("evaluate", trained, "--quick", "--refined", 2, "-o", tmp_path / "x.json")
    assert out.startswith("quick: 0 images weighed, 0 annealed, 2 refined; more would take over 0 s for a part\n")
    written = strict_json(tmp_path / "x.json")
    assert not {"log_likelihood", "annealed"} & set(written)
    assert written["amortization_gap"]["num_images"] == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what is there")
@pytest.mark.parametrize("command", ["evaluate", "score", "embed"])
def test_device_that_is_not_there_is_named(command: str, trained: Path, tmp_path: Path) -> None:
    result = vae(command, trained, "--device", "cuda", "-o", tmp_path / ("x.json" if command == "evaluate" else "x.csv"))
    assert result.code == 2
    assert "device: there is no cuda on this machine, only cpu; use --device auto" in result.err
    assert [*tmp_path.iterdir()] == []


def test_evaluation_of_a_single_image_is_json(trained: Path, tmp_path: Path) -> None:
    done("evaluate", trained, "--quick", "--num-samples", 2, "--max-images", 1, "-o", tmp_path / "x.json")
    assert strict_json(tmp_path / "x.json")["log_likelihood"]["num_images"] == 1


# Python

MEANS, LOGVARS = torch.tensor([0.5, -0.3, 0.0]), torch.tensor([0.2, 0.0, 0.3])
SMALL = (1, 4, 5)


def blind(means: Tensor = MEANS, logvars: Tensor = LOGVARS) -> tuple[vaekit.VAE, Tensor]:
    """A VAE whose posterior and images are constant, so that all of its numbers are known, and its logits."""
    posterior, decoder = DiagonalGaussian(6, 3), MLPDecoder(3, SMALL, hidden=[6])
    logits = torch.linspace(-2, 2, 20)
    with torch.no_grad():
        for head, value in ((posterior.mu, means), (posterior.logvar, logvars), (decoder.output, logits)):
            head.weight.zero_()
            head.bias.copy_(value)
    model = vaekit.VAE(MLPEncoder(SMALL, hidden=[6]), posterior, StandardNormal(3), decoder, Bernoulli())
    return model.eval(), logits.view(SMALL)


def test_methods_of_a_model_give_the_numbers_of_the_formulas() -> None:
    model, logits = blind()
    x = (torch.rand(7, *SMALL) < 0.5).byte() * 255
    log_px = (x / 255 * logits - F.softplus(logits)).flatten(1).sum(1)
    rate = 0.5 * (MEANS**2 + LOGVARS.exp() - 1 - LOGVARS).sum()
    torch.testing.assert_close(model.encode(x).mean, MEANS.expand(7, 3))
    torch.testing.assert_close(model.encode(x).variance, LOGVARS.exp().expand(7, 3))
    torch.testing.assert_close(model.decode(torch.randn(2, 7, 3)).mean, logits.sigmoid().expand(2, 7, *SMALL))
    torch.testing.assert_close(model.decode(torch.randn(7, 3)).log_prob(x / 255), log_px)
    torch.testing.assert_close(model.elbo(x), log_px - rate)
    torch.testing.assert_close(model.elbo(x, num_samples=3), log_px - rate)
    torch.testing.assert_close(model.sample(4), logits.sigmoid().expand(4, *SMALL))
    torch.testing.assert_close(model.reconstruct(x), logits.sigmoid().expand(7, *SMALL))
    torch.testing.assert_close(model.interpolate(x[0], x[1], 6), logits.sigmoid().expand(6, *SMALL))
    # log p(x) is log p(x|z) here, whatever the posterior: exactly where it is the prior, in the limit elsewhere.
    torch.testing.assert_close(model.log_likelihood(x, num_samples=20_000), log_px, atol=0.05, rtol=0)
    exact, _ = blind(torch.zeros(3), torch.zeros(3))
    torch.testing.assert_close(exact.log_likelihood(x, num_samples=3), log_px)


def test_methods_of_a_trained_model_fit_together(trained: Path, digits: vaekit.ImageSet) -> None:
    model, x = vaekit.load(trained), digits.first(5).pixels
    with model.inference():
        means = model.encode(x).mean
        torch.testing.assert_close(means, model.posterior.mu(model.encoder(x / 255)))
        torch.testing.assert_close(model.reconstruct(x), model.decode(means).mean)
        line = torch.stack([torch.lerp(means[0], means[1], weight) for weight in (0.0, 0.25, 0.5, 0.75, 1.0)])
        torch.testing.assert_close(model.interpolate(x[0], x[1], 5), model.decode(line).mean)
        with fixed_seed(1):
            images = model.sample(6)
        with fixed_seed(1):
            torch.testing.assert_close(images, model.decode(torch.randn(6, 8)).mean)
    bound = model.log_likelihood(x, num_samples=500)
    assert bound.shape == (5,)
    assert (bound > torch.stack([model.elbo(x) for _ in range(50)]).mean(0)).all()


def stripes(num: int) -> vaekit.ImageSet:
    """Black images with a white row or column."""
    store = torch.zeros(num, *SMALL, dtype=torch.uint8)
    for index in range(num):
        store[index, 0, index % 4] = 255
    return vaekit.ImageSet(store, name="stripes")


def test_parts_put_together_by_hand_train_and_load(tmp_path: Path) -> None:
    parts = MLPEncoder(SMALL, hidden=[16]), DiagonalGaussian(16, 2), StandardNormal(2)
    model = vaekit.VAE(*parts, MLPDecoder(2, SMALL, hidden=[16]), Bernoulli())
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "lr": 0.02, "evaluation.num_samples": 5}
    run = vaekit.train(model, stripes(60), objective=vaekit.ELBO(beta=0.5), out=tmp_path / "run", **options)
    assert to_data(run.recipe.objective["beta"]) in (0.5, {"name": "constant", "value": 0.5})
    # Six of the sixty are for testing, and five of the rest for validation.
    assert [record["images_seen"] for record in run.history] == [49, 98, 147, 196]
    assert run.metrics["elbo"]["num_images"] == 6
    for record in run.history:
        train = record["train"]
        assert train["loss"] == pytest.approx(train["distortion"] + 0.5 * train["rate"], rel=1e-5)
    assert run.history[-1]["valid"]["elbo"] > run.history[0]["valid"]["elbo"] + 0.2
    assert run.metrics["best_epoch"] == 4
    loaded, x = vaekit.load(tmp_path / "run"), stripes(4).pixels
    torch.testing.assert_close(loaded.reconstruct(x), model.reconstruct(x), atol=0, rtol=0)


def test_images_to_test_on_can_be_given(tmp_path: Path) -> None:
    model, _ = blind()
    options: dict[str, Any] = {"epochs": 1, "lr": 1e-9, "evaluation.num_samples": 0}
    run = vaekit.train(model, stripes(20), test=stripes(12), out=tmp_path / "run", **options)
    elbo = elbo_terms(run.model, stripes(12))["elbo"]
    assert run.metrics["elbo"]["num_images"] == 12
    assert run.metrics["elbo"]["value"] == pytest.approx(elbo.value, abs=1e-5)


def test_a_recipe_on_other_images_does_not_call_them_its_own(tmp_path: Path) -> None:
    images = vaekit.ImageSet(torch.randint(0, 256, (50, *SHAPE), dtype=torch.uint8), name="noise")
    options: dict[str, Any] = {"epochs": 1, "evaluation.num_samples": 0}
    run = vaekit.train("digits", images, out=tmp_path / "run", **options)
    assert run.metrics["data"]["name"] == "noise"
    assert run.recipe.data.name != "digits"
    assert run.recipe.title == f"{load_recipe('digits').title}, on noise"
    assert (run.recipe.needs, run.recipe.expected) == ("", {})
    with pytest.raises(vaekit.VaekitError, match="noise"):
        run.images()


def test_public_names_are_those_that_are_listed() -> None:
    for name in vaekit.__all__:
        assert getattr(vaekit, name).__name__.lower().startswith(name.lower()[:4])
    assert set(dir(vaekit)) >= {*vaekit.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        vaekit.tarin  # noqa: B018
