"""State on disk, without pickle: nested dictionaries of tensors and plain values in one safetensors file.

Tensors go into the file as they are, and the rest goes into its metadata as JSON with a reference where each tensor stood.
The file appears under its name when it is whole, so that a run killed while saving keeps its last checkpoint.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file

from vaekit.core.errors import RunError
from vaekit.core.files import atomic_path

TENSOR, ITEMS = "__tensor__", "__items__"


def write_state(path: Path, state: Any) -> None:
    """Writes nested dictionaries and lists of tensors, numbers, strings and None."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_take_tensors(state, tensors))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata={"state": text})


def read_state(path: Path) -> Any:
    """Reads what :func:`write_state` wrote; tuples come back as lists.

    Raises:
        RunError: If there is no such file, or it is damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
            return _put_tensors(json.loads(file.metadata()["state"]), tensors)
    except FileNotFoundError:
        raise RunError(f"{path}: no checkpoint there, so there is nothing to resume") from None
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: damaged or cut short ({error}), so the run cannot be resumed") from None


def _take_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {TENSOR: key}
    if isinstance(value, dict):
        return {ITEMS: [[key, _take_tensors(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_take_tensors(item, tensors) for item in value]
    return value


def _put_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict) and TENSOR in value:
        return tensors[value[TENSOR]]
    if isinstance(value, dict):
        return {key: _put_tensors(item, tensors) for key, item in value[ITEMS]}
    if isinstance(value, list):
        return [_put_tensors(item, tensors) for item in value]
    return value
