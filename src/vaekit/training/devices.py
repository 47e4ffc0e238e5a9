"""Devices and precision, by ``accelerate``."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vaekit.core.errors import RunError


def make_accelerator(device: str, precision: str) -> Accelerator:
    """Returns the device and precision to train with.

    Raises:
        RunError: If the device does not exist, or several processes were launched.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device != "auto" and not available[device]:
        known = " and ".join(name for name, is_available in available.items() if is_available)
        raise RunError(f"device: there is no {device} on this machine, only {known}; use --device auto")
    AcceleratorState._reset_state(reset_partial_state=True)  # else a process could only ever use one precision
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision={"float32": "no", "bfloat16": "bf16"}[precision])
    if accelerator.num_processes > 1:
        raise RunError("training in several processes is not supported yet; start one with vae train")
    return accelerator


def find_device(name: str) -> torch.device:
    """Returns the device that ``auto``, ``cpu``, ``cuda`` or ``mps`` means on this machine.

    Raises:
        RunError: If it does not exist.
    """
    device: torch.device = make_accelerator(name, "float32").device
    return device
