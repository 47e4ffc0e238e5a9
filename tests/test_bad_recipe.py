"""Invalid recipes, options and command lines: each is an error of one line and exit code 2, and changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bad_input import HUGE, VALUES, result_or_message
from tests.commands import Refuse, vae
from vaekit.core.config import to_data
from vaekit.core.errors import ConfigError
from vaekit.runs.overrides import parse_overrides
from vaekit.runs.recipe import complete, load_recipe

BAD_OVERRIDES = {
    # unknown keys, with the nearest known one
    "training.epoch=3": ("training.epoch", "'epochs'"),
    "trainig.epochs=3": ("trainig", "'training'"),
    "model.encoder.hiden=[8]": ("model.encoder.hiden", "'hidden'"),
    "optimizer.weight_decy=0.1": ("optimizer.weight_decy", "'weight_decay'"),
    "objective.beta={name: linear, epoch: 3}": ("objective.beta", "epoch"),
    "data.binarise=dynamic": ("data.binarise", "'binarize'"),
    "scheduler.warm=1": ("scheduler.warm", "'warmup'"),
    # unknown names, with the nearest known one
    "model.likelihood.name=bernouli": ("model.likelihood.name", "'bernouli'", "'bernoulli'"),
    "model.encoder.name=mpl": ("model.encoder.name", "'mlp'"),
    "model.prior.name=normal": ("model.prior.name", "'standard-normal'"),
    "objective.name=elb": ("objective.name", "'elbo'"),
    "optimizer.name=adm": ("optimizer.name", "'adam'"),
    "scheduler.name=cosin": ("scheduler.name", "'cosine'"),
    "model.encoder.name=torch.nn.Linear": ("model.encoder.name", "torch.nn.Linear"),
    "model.encoder.activation=relo": ("model.encoder.activation", "'relu'", "'relo'"),
    "data.binarize=maybe": ("data.binarize", "'dynamic'", "'maybe'"),
    "training.device=tpu": ("training.device", "'cuda'", "'tpu'"),
    "training.precision=float8": ("training.precision", "'bfloat16'", "'float8'"),
    # wrong types
    "training.epochs=many": ("training.epochs", "integer", "'many'"),
    "training.epochs=1.5": ("training.epochs", "integer", "1.5"),
    "model.latent_dim=[1]": ("model.latent_dim", "integer", "[1]"),
    "data.validation=some": ("data.validation", "number", "'some'"),
    "data.name=5": ("data.name", "string"),
    "model=3": ("model", "a section of keys and values"),
    "model.encoder=mlp": ("model.encoder", "a section of keys and values", "'mlp'"),
    "model.encoder={}": ("model.encoder.name",),
    "training=null": ("training", "a section of keys and values"),
    "data.name.first=x": ("data.name.first", "data.name"),
    "optimizer.betas=[0.9]": ("optimizer.betas",),
    # wrong ranges
    "training.batch_size=0": ("training.batch_size", "greater than 0"),
    "training.seed=-1": ("training.seed", "greater than or equal to 0"),
    "training.ema=1": ("training.ema", "less than 1"),
    "training.clip_norm=0": ("training.clip_norm", "greater than 0"),
    "training.patience=0": ("training.patience", "greater than 0"),
    "data.validation=1": ("data.validation", "less than 1"),
    "data.size=0": ("data.size", "1"),
    "data.channels=17": ("data.channels", "16"),
    "data.levels=[9,3]": ("data.levels", "pair"),
    "data.levels=bright": ("data.levels", "auto"),
    "evaluation.num_samples=-1": ("evaluation.num_samples", "greater than or equal to 0"),
    "evaluation.num_samples=10000000000": ("evaluation.num_samples", "less than or equal to 1000000"),
    "objective.num_samples=100000": ("objective.num_samples", "less than or equal to 10000"),
    "model.encoder.hidden=[]": ("model.encoder.hidden", "at least 1"),
    "model.encoder.hidden=[8, 0]": ("model.encoder.hidden", "greater than 0"),
    "model.likelihood.scale=0": ("model.likelihood.scale", "greater than"),
    "objective.beta=-1": ("objective.beta", "greater than or equal to 0", "-1"),
    "optimizer.lr=-1e-3": ("optimizer.lr", "greater than 0", "-0.001"),
    "objective.beta=.nan": ("objective.beta", "finite", "nan"),
    "optimizer.lr=.inf": ("optimizer.lr", "finite", "inf"),
    "objective={name: elbo, free_bits: 1, capacity: 2}": ("free_bits", "capacity"),
    # invalid assignments
    "nonsense": ("--set nonsense", "place=value"),
    "=3": ("--set =3", "place=value"),
    "data.size=[8": ("--set data.size=[8", "YAML"),
}


@pytest.mark.parametrize("override", BAD_OVERRIDES)
def test_invalid_override(override: str, refuse: Refuse) -> None:
    refuse("train", "--set", override, "--out", "run", says=BAD_OVERRIDES[override])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["mnist-mpl"], ("mnist-mpl", "'mnist-mlp'", "vae recipes")),
        (["zzz"], ("zzz: ", "recipe", "digits")),
        (["nowhere.yaml"], ("nowhere.yaml: ",)),
        (["--data", "mnits"], ("mnits: ", "'mnist'")),
        (["--data", "./nowhere"], ("./nowhere: ", "path")),
        (["--lr", "-1"], ("optimizer.lr", "greater than 0", "-1")),
        (["--lr", "0"], ("optimizer.lr", "greater than 0", "0")),
        (["--lr", "nan"], ("optimizer.lr", "finite", "nan")),
        (["--latent-dim", "0"], ("model.latent_dim", "greater than 0", "got 0")),
        (["--epochs", "0"], ("training.epochs", "greater than 0", "got 0")),
        (["--beta", "nan"], ("objective.beta", "finite", "nan")),
        (["--batch-size", "-5"], ("training.batch_size", "greater than 0", "-5")),
        (["--seed", "-1"], ("training.seed", "greater than or equal to 0", "-1")),
        (["--device", "tpu"], ("--device", "'cuda'", "'tpu'")),
        (["--seed", str(2**70)], ("seed", "less than")),
        (["--latent-dim", str(HUGE)], ("model.latent_dim", "less than or equal to 1000000")),
        (["--set", f"model.encoder.hidden=[{HUGE}]"], ("memory",)),
    ],
)
def test_invalid_option(args: list[str], says: tuple[str, ...], refuse: Refuse) -> None:
    refuse("train", *args, "--out", "run", says=says)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train", "--epochs", "many"], ("--epochs", "integer")),
        (["train", "--epoch", "3"], ("--epoch", "--epochs")),
        (["sample", "run", "-n", "0"], ("-n", "1")),
        (["interpolate", "run", "0", "1", "--steps", "1"], ("--steps", "2")),
        (["sample"], ("RUN",)),
        (["trian"], ("trian", "train")),
    ],
)
def test_invalid_command_line(args: list[str], says: tuple[str, ...], refuse: Refuse) -> None:
    refuse(*args, says=says)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_device(refuse: Refuse) -> None:
    refuse("train", "--device", "cuda", "--out", "run", says=("no cuda", "cpu", "--device auto"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"title: [", ("not YAML",)),
        (b"", ("mapping", "data")),
        (b"- 1\n- 2\n", ("mapping", "data")),
        (b"\xff\xfe\x00recipe", ("cannot be read",)),
        (b"title: \x00\n", ("not YAML",)),
        (b"title: only a title\n", ("data: missing",)),
        (b"data: {name: digits}\nmodel: {latent_dim: 2, encoder: {name: mlp}, decoder: {name: mlp}}\n", ("likelihood",)),
        (b"data: &a {name: digits, more: *a}\nmodel: {}\n", ("recipe.yaml", "alias", "line 1, column 7")),
        (b"1: 2\n", ("key 1", "quotes")),
    ],
)
def test_invalid_recipe_file(text: bytes, says: tuple[str, ...], refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(text)
    refuse("train", "recipe.yaml", "--out", "run", says=says)


def test_recipe_without_an_optimizer_takes_a_learning_rate(tmp_path: Path) -> None:
    recipe, path = to_data(load_recipe("digits")), tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump({key: recipe[key] for key in ("data", "model")}))
    changed = load_recipe(path, {"lr": 0.5, "beta": 2, "scheduler.warmup": 3})
    assert (changed.optimizer["name"], changed.optimizer["lr"]) == ("adam", 0.5)
    assert (changed.objective["name"], changed.scheduler["warmup"]) == ("elbo", 3)


def dotted_keys(data: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a recipe."""
    if not isinstance(data, dict):
        return [prefix]
    return [prefix] * bool(prefix) + [p for key in data for p in dotted_keys(data[key], f"{prefix}.{key}".lstrip("."))]


@settings(max_examples=100, deadline=None)
@given(key=st.sampled_from(dotted_keys(to_data(load_recipe("digits")))), value=VALUES)
def test_any_override_gives_a_recipe_or_an_error(key: str, value: object) -> None:
    result = result_or_message(lambda: load_recipe("digits", {key: value}))
    if isinstance(result, str):
        assert result.startswith(key.split(".")[0])
    else:
        assert complete(to_data(result), {}) == result


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_any_assignment_is_parsed_or_refused(text: str) -> None:
    result = result_or_message(lambda: parse_overrides([text]))
    if isinstance(result, str):
        assert result.startswith(f"--set {text}: ")
    else:
        assert list(result) == [text.partition("=")[0].strip()]


# --debug


@pytest.mark.parametrize("args", [("--debug", "train", "mnist-mpl"), ("train", "mnist-mpl", "--debug")])
def test_debug_raises_the_error_with_its_traceback(args: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"mnist-mpl: .*recipe") as raised:
        vae(*args)
    assert "load_outline" in [entry.name for entry in raised.traceback]
