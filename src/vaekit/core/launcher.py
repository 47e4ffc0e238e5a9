"""What a launcher of several processes, such as ``torchrun`` or ``accelerate launch``, tells each of them.

It sets environment variables: ``WORLD_SIZE``, the number of processes on all machines, ``RANK``, the number of this one, and
``LOCAL_RANK``, its number on its machine. They are read here, without torch, so that a command knows at once whether it is
the first process, the only one that prints and writes. The processes join in :mod:`vaekit.core.processes`.

The variables may also be left over from another program. Without the address at which the processes meet, which every
launcher sets, they mean nothing: training in several processes is refused, and all other commands run as usual.
"""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from vaekit.core.errors import RunError

ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
"""The variables that hold the address at which the processes meet."""
MAX_PORTS = 2**16
"""The number of ports of a machine."""

_joins: list[int] = []


def launched_processes() -> int:
    """Returns the number of processes that a launcher started, on all machines; 1 without a launcher.

    Raises:
        RunError: If the variables are no numbers.
    """
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def launched_rank() -> int:
    """Returns the number of this process, from 0 on; 0 without a launcher."""
    return _number("RANK", 0) if launched_processes() > 1 and all(map(os.environ.get, ADDRESS)) else 0


def names_itself() -> bool:
    """Returns whether the launcher is ``torchrun`` or uses it, so that its variables are not left over."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def local_rank() -> int:
    """Returns the number of this process on its machine, from 0 on."""
    return _number("LOCAL_RANK", 0) if launched_processes() > 1 else 0


def note_joined() -> None:
    """Notes that this process has joined others."""
    _joins.append(_number("RANK", 0))


def end_process(code: int) -> NoReturn:
    """Ends this process; if it has joined others, without Python's own end, in which threads of torch would abort it."""
    if not _joins:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # of a terminal that was closed
            stream.flush()
    os._exit(code)


def asked_in_vain() -> bool:
    """Returns whether ``accelerate launch`` was asked for several processes and started one, as it does on the CPU."""
    return "RANK" not in os.environ and "MASTER_ADDR" in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ


def require_address() -> None:
    """Checks that a launcher named the place where its processes meet, and numbered them.

    Raises:
        RunError: If not: then the variables are left from elsewhere, and nobody would come.
    """
    num, variables = launched_processes(), "RANK and WORLD_SIZE"
    advice = f"start several processes with torchrun, or remove {variables} from the environment to train in one"
    for name in ADDRESS:
        if not os.environ.get(name):
            raise RunError(f"{variables}={num} are set, but {name} is not; {advice}")
    if _number("MASTER_PORT", 0) >= MAX_PORTS:
        raise RunError(f"MASTER_PORT={os.environ['MASTER_PORT']} in the environment is no port; {advice}")
    if _number("RANK", 0) >= num:
        raise RunError(f"RANK={os.environ['RANK']} in the environment is not below WORLD_SIZE={num}; {advice}")


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdecimal()) or len(value) > 9:
        raise RunError(
            f"{name}={value[:20]!r} in the environment is not a number as a launcher sets it; remove it, or use torchrun"
        )
    return int(value)
