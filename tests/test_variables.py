"""Environment variables: what is left there by other programs changes nothing that the recipe says, or is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor

from tests.commands import QUICK, start, weights_equal
from vaekit.core.errors import RunError
from vaekit.core.terms import StepContext
from vaekit.data import load_images
from vaekit.experiment.prepare import build_model, make_trainer
from vaekit.runs.recipe import load_recipe
from vaekit.training import find_device, join_processes

OF_ACCELERATE = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_GRADIENT_CLIPPING": "0.001",
    "ACCELERATE_MIXED_PRECISION": "fp8",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_DYNAMO_BACKEND": "inductor",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "MEGATRON_LM_TP_DEGREE": "2",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "PARALLELISM_CONFIG_TP_SIZE": "2",
    "ACCELERATE_DEBUG_MODE": "perhaps",
    "ACCELERATE_USE_SAGEMAKER": "true",
    "ACCELERATE_CPU_AFFINITY": "1",
    "FORK_LAUNCHED": "perhaps",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_SIZE": "2",
    "PMI_SIZE": "2",
}


def first_gradient(**overrides: Any) -> list[Tensor]:
    """The gradients of the first update of a model of the digits."""
    images = load_images("digits", "train", size=8, channels=1).first(20)
    recipe = load_recipe("digits", {"optimizer": {"name": "sgd", "lr": 1.0}, "training.clip_norm": None, **overrides})
    torch.manual_seed(1)
    trainer = make_trainer(recipe, build_model(recipe, images), images, None, lambda model: {})
    return gradient_of(trainer)


def gradient_of(trainer: Any) -> list[Tensor]:
    before = [weight.detach().clone() for weight in trainer.step.model.parameters()]
    trainer.step.train()
    torch.manual_seed(2)
    trainer.step(next(iter(trainer.batches)), StepContext())
    return [a - b.detach() for a, b in zip(before, trainer.step.model.parameters(), strict=True)]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second)) and max(float(x.abs().max()) for x in first) > 0.01


def test_variables_of_accelerate_change_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = first_gradient()
    for name, value in OF_ACCELERATE.items():
        monkeypatch.setenv(name, value)
    assert equal(first_gradient(), expected)
    assert find_device("cpu") == torch.device("cpu")


def test_accumulation_of_another_accelerator_of_the_process_changes_no_gradient() -> None:
    """All accelerators of a process share the number of steps."""
    expected = first_gradient()
    images = load_images("digits", "train", size=8, channels=1).first(20)
    recipe = load_recipe("digits", {"optimizer": {"name": "sgd", "lr": 1.0}, "training.clip_norm": None})
    torch.manual_seed(1)
    trainer = make_trainer(recipe, build_model(recipe, images), images, None, lambda model: {})
    try:
        Accelerator(cpu=True, gradient_accumulation_steps=4)
        assert trainer.step.setup.accelerator.gradient_accumulation_steps == 4
        assert equal(gradient_of(trainer), expected)
    finally:
        GradientState._reset_state()
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_run_says_which_variables_of_accelerate_change_nothing(tmp_path: Path) -> None:
    variables = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "ACCELERATE_MIXED_PRECISION": "bf16"}
    defaults = {"ACCELERATE_USE_CPU": "False", "ACCELERATE_DYNAMO_BACKEND": "no", "LOCAL_RANK": "0"}
    lines = []
    for name, environment in {"plain": {}, "launched": {**variables, **defaults}}.items():
        process = start("train", "digits", *QUICK, "--out", tmp_path / name, **environment)
        said = process.communicate(timeout=120)[1].splitlines()
        lines.append([line for line in said if " left" not in line])  # without the progress of a slow machine
        assert process.returncode == 0, lines
    assert lines == [
        [],
        [
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4, ACCELERATE_MIXED_PRECISION=bf16 in the environment change nothing: "
            "the recipe decides; use --batch-size, --precision, --device or --set"
        ],
    ]
    assert weights_equal(tmp_path / "plain", tmp_path / "launched")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
        ("DNNL_DEFAULT_FPMATH_MODE", "any"),
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"),
    ],
)
def test_variables_that_lower_the_precision_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match=rf"^{name}={value} in the environment .*; remove it"):
        find_device("cpu")


def test_variables_that_ask_for_full_precision_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT")
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "0")
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "")
    assert find_device("cpu").type == "cpu"


def test_a_choice_of_gpus_that_leaves_none_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts with ``CUDA_VISIBLE_DEVICES=1`` train on the CPU of a machine that has GPU 0 alone."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for value, device in (("", "auto"), ("-1", "auto"), ("1", "cpu"), ("1", "auto")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        join_processes(device)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("no GPU can be used (CUDA_VISIBLE_DEVICES=1), so the training is on another device")


@pytest.mark.parametrize(("value", "shown"), [("", "''"), ("-1", "-1"), ("7", "7")])
def test_hidden_gpus_are_named_by_their_variable(value: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    with pytest.raises(RunError, match=rf"no cuda .* \(CUDA_VISIBLE_DEVICES={shown}\); use --device auto"):
        find_device("cuda")
