"""Checkpoints without pickle: nested dictionaries of tensors and plain values, the two newest of a run.

A state is one safetensors file: tensors as they are, and the rest as JSON in the metadata with a reference where each tensor
stood. A checkpoint is named after its step. The one before is removed only when the new one is on the disk and has been read
back, so there is one to go on from at every instant.
"""

import json
from pathlib import Path
from typing import Any

import torch

from vaekit.core.command_text import anew_command
from vaekit.core.errors import RunError
from vaekit.core.progress import notify
from vaekit.core.tensor_files import DamagedFile, check, read_header, read_tensors, write_tensors

TENSOR, ITEMS, STATE = "__tensor__", "__items__", "state"
NUM_KEPT = 2
"""The number of checkpoints of a run that are kept."""


class Checkpoints:
    """The checkpoints of a run in a folder, ``step-000000120.safetensors`` and so on.

    Arguments:
        folder: The folder; it is made when the first checkpoint is written.
        belongs_to: A hash of what the run is (its recipe and its images), which each checkpoint carries.
    """

    def __init__(self, folder: Path, belongs_to: str) -> None:
        self.folder = folder
        self.belongs_to = belongs_to

    @property
    def paths(self) -> list[Path]:
        """The files, the newest first."""
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)

    def write(self, state: dict[str, Any]) -> None:
        """Writes the checkpoint of a state, whose ``progress`` names the step.

        Raises:
            OSError: If it cannot be written; the one before stays.
            RunError: If what was written cannot be read back.
        """
        path = self.folder / f"step-{state['progress']['step']:09d}.safetensors"
        write_state(path, state, self.belongs_to)
        _verify(path)
        for other in self.paths:
            if other > path:
                other.unlink()
        for old in self.paths[NUM_KEPT:]:
            old.unlink()

    def read(self) -> dict[str, Any]:
        """Reads the newest checkpoint that is whole; a line says where a newer one is damaged.

        Raises:
            RunError: If there is none, or it belongs to another run.
        """
        reasons = []
        for path in self.paths:
            try:
                state: dict[str, Any] = read_state(path, self.belongs_to)
            except DamagedCheckpoint as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                notify(f"{reason}; going on from the one before, of step {state['progress']['step']:,}")
            return state
        if reasons:
            raise RunError(f"{reasons[0]}; there is no other checkpoint, so train anew: {anew_command(self.folder.parent)}")
        raise RunError(
            f"{self.folder}: no checkpoint there, so there is nothing to resume; "
            f"train anew: {anew_command(self.folder.parent)}"
        )


class DamagedCheckpoint(RunError):
    """A checkpoint that is not as it was written."""


def write_state(path: Path, state: Any, belongs_to: str = "") -> None:
    """Writes nested dictionaries and lists of tensors, numbers, strings and None.

    Raises:
        OSError: If it cannot be written.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_take_tensors(state, tensors))
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, tensors, {STATE: text, "belongs_to": belongs_to})


def read_state(path: Path, belongs_to: str = "") -> Any:
    """Reads what :func:`write_state` wrote; tuples come back as lists.

    Raises:
        DamagedCheckpoint: If it is damaged.
        RunError: If there is no such file, or it belongs to something else.
    """
    try:
        header = read_header(path)
        metadata = header.metadata
        if belongs_to and header.checksum is None:
            raise DamagedFile("it has no checksum")
        if metadata.get("belongs_to", "") != belongs_to:
            raise RunError(f"{path}: the checkpoint of another run (other images or another recipe); put back its own")
        return _put_tensors(json.loads(metadata[STATE]), read_tensors(path))
    except FileNotFoundError:
        raise RunError(f"{path}: no checkpoint there, so there is nothing to resume") from None
    except (DamagedFile, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path}: damaged or cut short ({error})") from None


def _verify(path: Path) -> None:
    try:
        check(path)
    except (DamagedFile, FileNotFoundError) as error:
        raise RunError(f"{path}: was not stored as it was written ({error}); check the disk") from None


def _take_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = value
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
