"""The Hugging Face Hub cannot be reached: commands end with an error of one line, after one request."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Outcome, one_line

COMMANDS = {"train": ["train", "mnist-mlp", "--out", "run"], "sample": ["sample", "nobody/nothing", "-o", "x.png"]}
RUN_COMMANDS = """
import json, sys
from pathlib import Path
from tests.commands import vae

for name, command in json.loads(sys.argv[1]).items():
    outcome = vae(*command)
    print(json.dumps([name, vars(outcome), sorted(path.name for path in Path.cwd().iterdir())]), flush=True)
"""


@pytest.fixture(scope="module")
def requests() -> list[str]:
    """The paths that are requested at the silent port."""
    return []


@pytest.fixture(scope="module")
def silent_port(requests: list[str]) -> Iterator[int]:
    """A port that accepts requests and never answers."""
    connections: list[socket.socket] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def accept() -> None:
            while True:
                try:
                    connections.append(server.accept()[0])
                    requests.append(connections[-1].recv(1000).decode().split()[1])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


@pytest.fixture(scope="module")
def closed_port() -> int:
    """A port that refuses connections."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.fixture(scope="module")
def outcomes(
    silent_port: int, closed_port: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[Outcome, list[str]]]:
    """The outcome of each command with each port as the hub, and the files that it leaves."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VAEKIT_DATA", "HF_"))}
    kept["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [kept.get("PYTHONPATH")])])
    processes: dict[str, subprocess.Popen[str]] = {}
    for name, port in (("silent", silent_port), ("closed", closed_port)):
        hub: dict[str, Any] = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path_factory.mktemp("hf"))}
        hub["VAEKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))  # separate, or the processes would wait for each other
        processes[name] = subprocess.Popen(
            [sys.executable, "-c", RUN_COMMANDS, json.dumps(COMMANDS)],
            cwd=tmp_path_factory.mktemp(name),
            env=kept | hub | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
    lines = {port: process.communicate()[0].splitlines() for port, process in processes.items()}
    return {
        (name, port): (Outcome(**outcome), files)
        for port, printed in lines.items()
        for name, outcome, files in map(json.loads, printed)
    }


@pytest.mark.parametrize("port", ["silent", "closed"])
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", ("mnist: ", "Hub", "VAEKIT_DATA", "--data digits")),
        ("sample", ("nobody/nothing: ", "Hub")),
    ],
)
def test_hub_that_cannot_be_reached(
    command: str, port: str, says: tuple[str, ...], outcomes: dict[tuple[str, str], tuple[Outcome, list[str]]]
) -> None:
    outcome, files = outcomes[command, port]
    one_line(outcome, *says)
    assert files == []


def test_silent_hub_gets_one_request_for_each_repository(
    outcomes: dict[tuple[str, str], tuple[Outcome, list[str]]], requests: list[str]
) -> None:
    """After a request with a timeout, only earlier downloads are used: huggingface_hub itself waits without a timeout."""
    assert len(outcomes) == 4
    about_repositories = [path for path in requests if path.startswith(("/api/datasets/", "/api/models/", "/datasets/"))]
    assert about_repositories == ["/api/datasets/ylecun/mnist", "/api/models/nobody/nothing"]
