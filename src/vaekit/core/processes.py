"""The processes that train one model together, and what they tell each other.

A launcher starts them (:mod:`vaekit.core.launcher`), each with the same command; they join once and exchange tensors by
``gloo`` on the CPU and by NCCL between GPUs. Every process holds everything: the weights, the state of the optimizer, the
order of the images, the random generators. So the first can write a checkpoint alone at any time, and a run can go on with
another number of processes. What each computes of a batch is in :mod:`vaekit.core.shares`.

Without a launcher there is one process, number 0. Then every function here returns its argument, and nothing is exchanged.
A function that exchanges something must be called by all processes, in the same order.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from hashlib import blake2b
from itertools import count
from threading import Timer
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from vaekit.core.errors import RunError
from vaekit.core.launcher import ADDRESS, launched_processes, note_joined, require_address
from vaekit.core.safe_text import MAX_NAME, printable

JOIN_TIMEOUT = timedelta(minutes=2)
"""How long a process waits for the others to start. Launchers start all at the same time."""
PATIENCE = 10.0
"""The number of seconds after which a process says that it waits for the others."""
TIMEOUT = timedelta(minutes=30)
"""How long a process waits for another that neither answers nor ends. The end of a process is noticed at once by its closed
connections; this is for a machine that was cut off. Preparing data and writing images must take less."""

_joins = count()


class ProcessLost(RunError):
    """Another process of the run ended or cannot be reached."""


def join(backend: str) -> None:
    """Joins the processes that a launcher started, once all of them have come.

    Arguments:
        backend: As of ``torch.distributed.init_process_group``: ``gloo``, or ``cpu:gloo,cuda:nccl``.

    Raises:
        RunError: If the others do not come within :data:`JOIN_TIMEOUT`.
    """
    require_address()
    waiting = Timer(PATIENCE, _say_waiting)
    waiting.daemon = True
    waiting.start()
    try:
        shared, rank, num = next(iter(rendezvous("env://", timeout=JOIN_TIMEOUT)))
        store = PrefixStore(f"vaekit/{next(_joins)}", shared)  # keys of processes that joined before are not used again
        dist.init_process_group(backend, timeout=TIMEOUT, store=store, rank=rank, world_size=num)
        wait()
        note_joined()
    except (RuntimeError, ValueError, ProcessLost) as error:
        raise RunError(
            f"the processes of this run did not find each other ({_reason(error)}); start all of them with torchrun, or "
            "remove RANK and WORLD_SIZE from the environment to train in one"
        ) from None
    finally:
        waiting.cancel()


def _say_waiting() -> None:
    """Says what a process waits for, since the variables of a launcher may be left over from another program."""
    place = ":".join(printable(os.environ.get(name, ""), MAX_NAME) for name in ADDRESS)
    others = f"RANK={os.environ.get('RANK')} waits at {place} for the others of WORLD_SIZE={launched_processes()}"
    print(f"{others}; if there are none, stop it and remove RANK and WORLD_SIZE from the environment", file=sys.stderr)


def leave() -> None:
    """Ends the connection of the processes, all together; afterwards each is alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def num_processes() -> int:
    """Returns the number of processes that have joined; 1 for a process that is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Returns the number of this process, from 0 on."""
    return dist.get_rank() if num_processes() > 1 else 0


def is_main() -> bool:
    """Returns whether this is process 0, the one that writes files and prints."""
    return rank() == 0


def wait() -> None:
    """Waits until every process has come here.

    Raises:
        ProcessLost: If one of them ended.
    """
    any_process(False)


def any_process(flag: bool) -> bool:
    """Returns whether the flag is true in any process, so that all take the same decision.

    Raises:
        ProcessLost: If one of them ended.
    """
    if num_processes() == 1:
        return flag
    return bool(add_up(torch.tensor([float(flag)])) > 0)


def on_main(action: Callable[[], object]) -> None:
    """Runs an action in process 0 only; the others wait for its end.

    Raises:
        ProcessLost: In the others, if it failed in process 0, where its own error is raised.
    """
    error: Exception | None = None
    if is_main():
        try:
            action()
        except Exception as raised:  # whatever it is, the others must not wait for this process
            error = raised
    failed = any_process(error is not None)
    if error is not None:
        raise error
    if failed:
        raise ProcessLost(f"rank {rank()} of {num_processes()} processes stopped, because rank 0 did")


def require_same(what: str, text: str) -> None:
    """Checks that a text is the same in all processes.

    Raises:
        RunError: If it is not; ``what`` names it.
    """
    number = int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "little")
    _require_same(torch.tensor([number]), f"{what}: differs between the processes; start all with the same command and data")


def require_same_tensors(what: str, tensors: Iterable[Tensor]) -> None:
    """Checks that tensors are the same in all processes, by the sum of their bytes.

    Raises:
        RunError: If they are not; ``what`` names them.
    """
    if num_processes() > 1:
        sums = [tensor.detach().reshape(-1).view(torch.uint8).sum(dtype=torch.int64).cpu() for tensor in tensors]
        _require_same(torch.stack(sums), f"{what}: differ between the processes; move weights by Step.descend alone")


def _require_same(numbers: Tensor, message: str) -> None:
    if num_processes() == 1:
        return
    largest = torch.cat([numbers, -numbers])
    _exchange(dist.all_reduce, largest, dist.ReduceOp.MAX)
    if not torch.equal(largest[: len(numbers)], -largest[len(numbers) :]):
        raise RunError(message)


def add_up(values: Tensor) -> Tensor:
    """Returns the sum of a tensor over all processes, the same bits in each.

    Raises:
        ProcessLost: If one of them ended.
    """
    if num_processes() == 1:
        return values
    total = values.detach().clone(memory_format=torch.contiguous_format)
    _exchange(dist.all_reduce, total)
    return total


def add_up_all(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors on one device by their sums over all processes, with one exchange for each type.

    Raises:
        ProcessLost: If one of them ended.
    """
    _by_type(tensors, dist.all_reduce)


def replicate(tensors: Iterable[Tensor]) -> None:
    """Replaces tensors by those of process 0.

    Raises:
        ProcessLost: If one of the processes ended.
    """
    _by_type(list(tensors), dist.broadcast, 0)


def _by_type(tensors: Sequence[Tensor], collective: Callable[..., object], *arguments: int) -> None:
    """Applies a collective operation to all tensors of a type, joined to one vector."""
    if num_processes() == 1:
        return
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor.detach() for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.flatten() for tensor in alike])
        _exchange(collective, flat, *arguments)
        for tensor, part in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _exchange(collective: Callable[..., object], *arguments: Any) -> None:
    """Runs a collective operation of torch."""
    try:
        collective(*arguments)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ProcessLost(
            f"rank {rank()} of {num_processes()} processes stopped, because another ended or cannot be reached "
            f"({_reason(error)})"
        ) from None


def _reason(error: Exception) -> str:
    """The first sentence of an error of torch, without the place in its source."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    sentence = line.split(". ")[0]
    return sentence.partition("] ")[2] or sentence if sentence.startswith("[") else sentence
