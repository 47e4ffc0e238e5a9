"""Devices, precision and processes.

``accelerate`` chooses the device and runs the networks in bfloat16. It is told of one process only: with several it would
wrap the model in ``DistributedDataParallel``, which expects one backward pass with a gradient of every weight in each step.
A step may have two losses, or weights that it does not use: :meth:`vaekit.training.step.Step.descend` averages gradients.
"""

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vaekit.core.errors import RunError, suggest
from vaekit.core.launcher import asked_in_vain, launched_processes, launched_rank, local_rank
from vaekit.core.processes import join, num_processes
from vaekit.core.progress import notify
from vaekit.core.safe_text import printable, printable_value
from vaekit.training.variables import MAX_VALUE, hidden_from_accelerate, note_ignored_settings, require_exact_arithmetic

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable that chooses the GPUs that a process sees."""
NO_GPU = ("", "-1", "NoDevFiles")
"""The values of it by which a user asks for no GPU."""
SHARDING = ("DEEPSPEED", "FSDP", "MEGATRON_LM")
"""The ways of ``accelerate`` to distribute a model over processes."""


def join_processes(device: str) -> None:
    """Joins the processes that a launcher started; does nothing without one, or if they have joined.

    Arguments:
        device: The device to train on. On GPUs each process takes the one with its number on the machine.

    Raises:
        RunError: If the processes do not find each other, or if there are fewer GPUs than processes.
    """
    alone = launched_processes() == 1 or num_processes() > 1
    if not alone:
        _refuse_sharding()
    if launched_rank() == 0:
        note_ignored_settings()
    if device == "auto" and not torch.cuda.is_available() and os.environ.get(VISIBLE, "") not in NO_GPU:
        notify(f"no GPU can be used{_hiding()}, so the training is on another device; set {VISIBLE} to one that exists")
    if asked_in_vain():
        notify("accelerate launch starts one process on the CPU; for several use torchrun --nproc_per_node")
    if alone:
        return
    _require_device(device)
    if device != "cpu" and torch.cuda.is_available():
        if local_rank() >= torch.cuda.device_count():
            raise RunError(
                f"process {local_rank()} of this machine has no GPU, there are {torch.cuda.device_count()}{_hiding()}; "
                "start one process for each GPU, or use --device cpu"
            )
        torch.cuda.set_device(local_rank())
        join("cpu:gloo,cuda:nccl")
    elif device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        raise RunError("device: several processes cannot train on mps; start one with vae train, or use --device cpu")
    else:
        join("gloo")


def _refuse_sharding() -> None:
    for name in SHARDING:
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise RunError(
                f"accelerate is configured for {name}, and vae trains a whole model in each process; use torchrun, "
                f"or remove ACCELERATE_USE_{name} from the environment"
            )


def make_accelerator(device: str, precision: str) -> Accelerator:
    """Returns the device and precision to train with.

    Raises:
        RunError: If the device does not exist, or the environment asks for less precise arithmetic.
    """
    _require_device(device)
    require_exact_arithmetic()
    AcceleratorState._reset_state(reset_partial_state=True)  # else a process could only ever use one precision
    with hidden_from_accelerate():
        return Accelerator(cpu=device == "cpu", mixed_precision={"float32": "no", "bfloat16": "bf16"}[precision])


def find_device(name: str) -> torch.device:
    """Returns the device that ``auto``, ``cpu``, ``cuda`` or ``mps`` means on this machine.

    Raises:
        RunError: If it does not exist.
    """
    device: torch.device = make_accelerator(name, "float32").device
    return device


def _require_device(device: str) -> None:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device not in ("auto", *available):
        raise RunError(f"device: unknown name {printable_value(device)}{suggest(device, ('auto', *available))}")
    if device != "auto" and not available[device]:
        known = " and ".join(name for name, is_available in available.items() if is_available)
        hiding = _hiding() if device == "cuda" else ""
        raise RunError(f"device: there is no {device} on this machine, only {known}{hiding}; use --device auto")


def _hiding() -> str:
    """The variable that chooses the GPUs that a process sees, if it is set."""
    value = os.environ.get(VISIBLE)
    return "" if value is None else f" ({VISIBLE}={printable(value, MAX_VALUE) or repr(value)})"
