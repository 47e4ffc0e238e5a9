"""Starts several processes as a launcher does, for tests; each calls one function of a test file.

They are forked from a process that has imported everything, so that a start takes a tenth of a second.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable

import torch

from vaekit.core.processes import leave
from vaekit.training import join_processes

PRELOADED = ["tests.test_processes"]


def launch(num: int, work: Callable[..., None], *arguments: object, timeout: float = 120) -> list[int]:
    """Calls ``work(*arguments)`` in ``num`` processes and returns their exit codes; none may exceed the timeout."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    context = multiprocessing.get_context("forkserver")
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(num)}
    environments = [{**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num)]
    started = [context.Process(target=_begin, args=(environment, work, arguments)) for environment in environments]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(timeout)
            assert process.exitcode is not None, "a process goes on for too long"
        return [process.exitcode for process in started]
    finally:
        for process in started:
            process.kill()
            process.join()


def together(num: int, work: Callable[..., None], *arguments: object) -> None:
    """Calls ``work(*arguments)`` in ``num`` processes that have joined; none may fail."""
    assert launch(num, _join, work, *arguments) == [0] * num


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _begin(environment: dict[str, str], work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    work(*arguments)


def _join(work: Callable[..., None], *arguments: object) -> None:
    join_processes("cpu")
    work(*arguments)
    leave()
