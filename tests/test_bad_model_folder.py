"""Damaged and malicious model folders: each loads or is an error of one line, and nothing in it is executed."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import vaekit
from tests.bad_input import HUGE, VALUES, forge_config, result_or_message, small_model, truncate
from tests.commands import Refuse
from vaekit.core.config import to_data
from vaekit.core.tensor_files import read_header, read_tensors, write_tensors
from vaekit.models import describe_vae, load_vae, save_vae
from vaekit.models.folder_format import FORMAT


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of a small model."""
    save_vae(small_model(), tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    forge_config(folder, config)


@pytest.mark.parametrize("keep", [0, 0.001, 0.3, 0.999])
def test_truncated_weights(keep: float, run_copy: Path, refuse: Refuse) -> None:
    truncate(run_copy / "model.safetensors", keep)
    for command in (
        ["sample", run_copy],
        ["evaluate", run_copy],
        ["reconstruct", run_copy],
        ["interpolate", run_copy, 0, 1],
    ):
        refuse(*command, says=("copy/model.safetensors: ", "damaged"))


def test_missing_weights(run_copy: Path, refuse: Refuse) -> None:
    (run_copy / "model.safetensors").unlink()
    refuse("sample", run_copy, says=("copy/model.safetensors: ", "missing"))


def test_folder_without_a_model(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for command in (["sample", "empty"], ["evaluate", "empty"], ["reconstruct", "empty", "--data", "digits"]):
        refuse(*command, says=("empty: ", "config.json"))


@pytest.mark.parametrize(
    "options", [{"likelihood": "continuous-bernoulli"}, {"classes": 3}], ids=["same shapes", "other shapes"]
)
def test_weights_of_another_model(options: dict[str, Any], small: Path, refuse: Refuse, tmp_path: Path) -> None:
    save_vae(small_model(**options), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", small)
    refuse("sample", small, says=("model/model.safetensors: ", "config.json"))


def test_weights_of_other_shapes(small: Path, refuse: Refuse) -> None:
    path = small / "model.safetensors"
    other = read_tensors(path) | {"posterior.mu.weight": torch.zeros(3, 6)}
    write_tensors(path, other, read_header(path).metadata)
    refuse("sample", small, says=("model/model.safetensors: ", "config.json"))


def test_weights_without_a_checksum(small: Path, refuse: Refuse) -> None:
    save_file(load_file(small / "model.safetensors"), small / "model.safetensors")
    refuse("sample", small, says=("model/model.safetensors: ", "checksum"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float, run_copy: Path, refuse: Refuse) -> None:
    path = run_copy / "model.safetensors"
    weights = read_tensors(path)
    weights["decoder.output.bias"][3] = value
    write_tensors(path, weights, read_header(path).metadata)
    for command in (["sample"], ["evaluate"], ["embed"], ["score"], ["map"], ["report"]):
        refuse(*command, run_copy, says=("copy/model.safetensors: ", "decoder.output.bias", "finite"))


@pytest.mark.parametrize("position", range(0, 100, 7))
def test_any_changed_bit_of_the_weights_is_noticed(position: int, small: Path, refuse: Refuse) -> None:
    data = bytearray((small / "model.safetensors").read_bytes())
    data[-1 - position] ^= 1 << position % 8
    (small / "model.safetensors").write_bytes(data)
    refuse("sample", small, says=("model/model.safetensors: ", "checksum"))


def test_loading_a_model_leaves_the_generators_alone(small: Path) -> None:
    before = torch.get_rng_state()
    load_vae(small)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_large_configuration_costs_nothing(small: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are far smaller than what the configuration declares: it is refused before a large layer is filled."""

    def initialize(weight: torch.Tensor, **options: object) -> None:
        assert weight.numel() < 10**7

    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", initialize)
    change_config(small, lambda c: c["encoder"].update(hidden=[30000, 30000]))
    refuse("sample", small, says=("model/config.json: ", "larger", "model.safetensors"))


BAD_CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[str, ...]]] = {
    "unknown part": (lambda c: c["encoder"].update(name="mpl"), ("encoder.name", "'mpl'", "'mlp'")),
    "import path": (lambda c: c["encoder"].update(name="torch.nn.Linear"), ("encoder.name", "torch.nn.Linear")),
    "function": (lambda c: c["likelihood"].update(name="os.system"), ("likelihood.name", "os.system")),
    "module in the folder": (lambda c: c["decoder"].update(name="evil.Decoder"), ("decoder.name", "evil.Decoder")),
    "list as name": (lambda c: c["prior"].update(name=["mlp"]), ("prior.name", "['mlp']")),
    "no name": (lambda c: c["posterior"].clear(), ("posterior.name",)),
    "unknown argument": (lambda c: c["encoder"].update(hiden=[6]), ("encoder.hiden", "'hidden'")),
    "inferred argument": (lambda c: c["encoder"].update(shape=[1, 4, 5]), ("encoder.shape", "unknown key")),
    "wrong type": (lambda c: c["encoder"].update(hidden="wide"), ("encoder.hidden", "'wide'")),
    "unknown key": (lambda c: c.update(latents=2), ("latents", "latent_dim")),
    "missing key": (lambda c: c.pop("decoder"), ("decoder: missing",)),
    "part that is not a mapping": (lambda c: c.update(encoder="mlp"), ("encoder", "'mlp'")),
    "no latents": (lambda c: c.update(latent_dim=0), ("latent_dim", "at least 1")),
    "negative side": (lambda c: c.update(shape=[1, -4, 5]), ("shape", "at least 1")),
    "two sides": (lambda c: c.update(shape=[4, 5]), ("shape",)),
    "unknown condition": (lambda c: c.update(condition={"name": "text"}), ("condition.name", "class-label")),
    "no classes": (lambda c: c.update(condition={"name": "class-label", "classes": []}), ("condition.classes",)),
    "too large to build": (lambda c: c.update(latent_dim=HUGE), ("config.json",)),
    "too large to count": (lambda c: c.update(latent_dim=10**30), ("config.json",)),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_invalid_configuration(case: str, small: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    change, says = BAD_CONFIGS[case]
    change_config(small, change)
    module = small / "evil.py"
    module.write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(small))
    refuse("sample", small, says=("model/config.json", *says))
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"{",
        b"[1, 2]",
        b"null",
        b'"mlp"',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"latent_dim": ' + b"9" * 5000 + b"}",
        b'{"format": %d, "latent_dim": NaN}' % FORMAT,
    ],
    ids=["empty", "text", "truncated", "list", "null", "string", "bytes", "deep", "long number", "NaN"],
)
def test_configuration_that_is_not_a_json_object(text: bytes, small: Path, refuse: Refuse) -> None:
    (small / "config.json").write_bytes(text)
    refuse("sample", small, says=("model/config.json",))


def nested_keys(data: Any) -> list[tuple[Any, ...]]:
    """The paths to everything in nested dictionaries and lists."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for key, value in items for path in [(key,), *((key, *rest) for rest in nested_keys(value))]]


BASE = json.loads(json.dumps(to_data(describe_vae(small_model(classes=3)))))
EDIT = st.tuples(st.sampled_from(nested_keys(BASE)), st.none() | st.tuples(VALUES))
EDITS = st.lists(EDIT, min_size=1, max_size=3)


def edit(edits: list[tuple[tuple[Any, ...], tuple[Any] | None]]) -> Any:
    """The configuration with some values replaced and some removed."""
    config = json.loads(json.dumps(BASE))
    for (*parents, key), value in edits:
        section = config
        try:
            for parent in parents:
                section = section[parent]
            if value is None:
                del section[key]
            else:
                section[key] = value[0]
        except (KeyError, IndexError, TypeError):  # removed by an earlier edit
            continue
    return config


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS)
def test_any_configuration_loads_or_is_refused(small: Path, edits: list[Any]) -> None:
    save_vae(small_model(classes=3), small)
    forge_config(small, edit(edits))
    result = result_or_message(lambda: load_vae(small))
    assert isinstance(result, vaekit.VAE) or str(small) in result


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["config.json", "model.safetensors"]), position=st.integers(0, 1200), byte=st.integers(0, 255))
def test_any_changed_byte_loads_or_is_refused(small: Path, name: str, position: int, byte: int) -> None:
    save_vae(small_model(), small)
    data = bytearray((small / name).read_bytes())
    data[position % len(data)] = byte
    (small / name).write_bytes(data)
    result = result_or_message(lambda: load_vae(small))
    assert str(small) in result if isinstance(result, str) else result.shape == (1, 4, 5)


READERS = [["sample"], ["reconstruct"], ["interpolate", "0", "1"], ["evaluate"]]


@pytest.mark.parametrize("command", [*READERS, ["train", "--resume"]])
@pytest.mark.parametrize("run", ["nowhere", "./no/where", "/nowhere/at/all"])
def test_missing_run(command: list[str], run: str, refuse: Refuse) -> None:
    name, *rest = command
    args = [name, *rest, run] if name == "train" else [name, run, *rest]
    refuse(*args, says=(str(Path(run)),))


def test_model_folder_without_its_images(small: Path, refuse: Refuse) -> None:
    for args in (["evaluate", small], ["reconstruct", small], ["interpolate", small, 0, 1]):
        refuse(*args, says=("model: ", "images"))
