"""What a launcher of several processes, such as ``torchrun`` or ``accelerate launch``, tells each of them.

It sets environment variables: ``WORLD_SIZE``, the number of processes on all machines, ``RANK``, the number of this one, and
``LOCAL_RANK``, its number on its machine. They are read here, without torch, so that a command knows at once whether it is
the first process, the only one that prints and writes. The processes join in :mod:`vaekit.core.processes`.
"""

import os

from vaekit.core.errors import RunError

ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
"""The variables that hold the address at which the processes meet."""


def launched_processes() -> int:
    """Returns the number of processes that a launcher started, on all machines; 1 without a launcher.

    Raises:
        RunError: If the variables are no numbers.
    """
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def launched_rank() -> int:
    """Returns the number of this process, from 0 on; 0 without a launcher."""
    return _number("RANK", 0) if launched_processes() > 1 else 0


def local_rank() -> int:
    """Returns the number of this process on its machine, from 0 on."""
    return _number("LOCAL_RANK", 0) if launched_processes() > 1 else 0


def asked_in_vain() -> bool:
    """Returns whether ``accelerate launch`` was asked for several processes and started one, as it does on the CPU."""
    return "RANK" not in os.environ and "MASTER_ADDR" in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ


def require_address() -> None:
    """Checks that a launcher named the place where its processes meet.

    Raises:
        RunError: If not: then the other variables are left from elsewhere, and nobody would come.
    """
    for name in ADDRESS:
        if not os.environ.get(name):
            raise RunError(
                f"RANK and WORLD_SIZE={launched_processes()} are set, but {name} is not; start several processes with "
                "torchrun, or remove RANK and WORLD_SIZE from the environment to train in one"
            )


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    if not value:
        return default
    if not value.isdecimal() or len(value) > 9:
        raise RunError(f"{name}={value[:20]!r} in the environment is no number of processes; remove it, or use torchrun")
    return int(value)
