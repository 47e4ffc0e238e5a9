"""Commands of ``vae`` in forked processes: packages are imported once, and a command begins within milliseconds.

Each command has a working folder, files for its output, a limit of time and of memory, and perhaps a fault or signals.
"""

import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from tests.faults.drawing import leave_out
from tests.faults.operations import Fault, Operation, read_log, watch

GIGABYTE = 1 << 30
ADDRESS_SPACE = 6 * GIGABYTE
"""How much more address space than the parent a command may have; a limit of real memory does not exist."""
FILE_SIZE = 2 * GIGABYTE
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Signals = tuple[tuple[float, int], ...]
"""Signals, each with the seconds after the start."""


@dataclass(frozen=True)
class Command:
    """A command line and what befalls it.

    Arguments:
        args: The arguments of ``vae``.
        fault: What happens at one of its file operations; None does not watch them.
        signals: Signals, each with the seconds after the start.
        seconds: The limit of time, after which it is killed.
        environment: Variables to add.
        watched: The folder whose operations are watched; by default the working folder.
        drawn: Whether figures and reports are drawn; else they are constant files.
    """

    args: tuple[str, ...]
    fault: Fault | None = None
    signals: Signals = ()
    seconds: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict)
    watched: Path | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    ``code`` is negative for a signal, as in :mod:`subprocess`; ``busy`` is its seconds of processor time, ``memory`` its
    largest size in bytes, with all packages.
    """

    args: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float
    busy: float
    memory: int
    timed_out: bool
    operations: tuple[Operation, ...]

    @property
    def traceback(self) -> str:
        """The last line of a traceback with the innermost place in vaekit; empty if there was none."""
        if "Traceback (most recent call last)" not in self.err:
            return ""
        lines = self.err.strip().splitlines()
        places = [line.split("/vaekit/", 1)[1] for line in lines if line.startswith("  File") and "/vaekit/" in line]
        place = places[-1].replace('"', "").replace(", line ", ":").replace(", in ", " ") if places else "?"
        return f"{lines[-1][:160]} [{place}]"


class Running:
    """A command that was started."""

    def __init__(self, command: Command, folder: Path, logs: Path) -> None:
        self.command = command
        logs.mkdir(parents=True, exist_ok=True)
        number = sum(1 for _ in logs.glob("*.out"))
        self.out, self.err, self.log = (logs / f"{number:02d}.{kind}" for kind in ("out", "err", "operations"))
        for path in (self.out, self.err):
            path.touch()
        self.begun = time.monotonic()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # a signal waits until the child is ready for it
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, folder, self.out, self.err, self.log)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wait_until_stopped(self) -> None:
        """Waits until the process has stopped at an operation, or has ended."""
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def go_on(self) -> None:
        """Lets a process that has stopped continue."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> Finished:
        """Waits for the end of the command, and sends its signals meanwhile."""
        descriptor = os.pidfd_open(self.pid)
        try:
            timed_out = not self._wait_until_gone(descriptor)
        finally:
            os.close(descriptor)
        if timed_out:
            os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        return Finished(
            self.command.args,
            os.waitstatus_to_exitcode(status),
            self.out.read_text(errors="backslashreplace"),
            self.err.read_text(errors="backslashreplace"),
            time.monotonic() - self.begun,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            timed_out,
            tuple(read_log(self.log)),
        )

    def _wait_until_gone(self, descriptor: int) -> bool:
        """Whether the process ended within its time."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        for at, number in [*sorted(self.command.signals), (self.command.seconds, 0)]:
            left = self.begun + at - time.monotonic()
            if poll.poll(max(0.0, 1000 * left)):
                return True
            if number:
                os.kill(self.pid, number)
        return False


def run(command: Command, folder: Path, logs: Path) -> Finished:
    """Runs a command in a folder to its end; ``logs`` is where its output goes."""
    return Running(command, folder, logs).wait()


def warm(commands: Sequence[tuple[str, ...]], folder: Path) -> None:
    """Imports here whatever these commands import, so that later children need not.

    Raises:
        RuntimeError: If one of the commands fails.
    """
    from vaekit.cli import main  # noqa: F401 (what every command needs)

    names = folder / "modules"
    for args in commands:
        _in_child(partial(_list_modules, args, folder, names))
        for name in names.read_text().split():
            if name not in sys.modules:
                _import(name)


def _become(command: Command, folder: Path, out: Path, err: Path, log: Path) -> NoReturn:
    """Turns this process into the command."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        os.environ.update(command.environment)
        tempfile.tempdir = None  # to be read from the environment again
        for number in HANDLED:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        _limit()
        _redirect(out, err)
        if not command.drawn:
            leave_out()
        if command.fault is not None:
            watch(command.watched or folder, log, command.fault)
        code = _call_main(command.args)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 120
        os._exit(code)


def _call_main(args: tuple[str, ...]) -> int:
    """Runs the command in this process as Python would, and returns its exit code."""
    from vaekit.__main__ import main

    sys.argv = ["vae", *args]
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    except KeyboardInterrupt:  # before the command has begun
        return 130
    try:
        main()
    except SystemExit as stop:
        if stop.code is not None and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _limit() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE, size + ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _redirect(out: Path, err: Path) -> None:
    """Sends both streams to files, with the encodings that a terminal has."""
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (open as long as the process)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115


def _in_child(work: Callable[[], None]) -> None:
    """Does something in a child, which must succeed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise RuntimeError("a command fails without any fault")


def _list_modules(args: tuple[str, ...], folder: Path, names: Path) -> None:
    os.chdir(folder)
    _redirect(folder / "out", folder / "err")
    code = _call_main(args)
    sys.stdout.flush()
    if code:
        raise RuntimeError(f"vae {' '.join(args)}: {code} {(folder / 'err').read_text()}")
    names.write_text("\n".join(sys.modules))


def _import(name: str) -> None:
    try:
        __import__(name)
    except Exception:  # some modules are made by code and can be imported by nobody
        return
