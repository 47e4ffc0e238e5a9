"""File operations of a process: counted, and made to fail or to be the last, by a small library in front of libc.

The library (``operations.c``) has to be loaded when Python starts. :func:`ensure_loaded` builds it and starts Python
again with it.
"""

import ctypes
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

SOURCE = Path(__file__).with_name("operations.c")


class Kind(IntFlag):
    """The kinds of file operations, with the values of ``operations.c``."""

    OPEN, WRITE, SYNC, RENAME, REMOVE, MKDIR, RESIZE, LINK, MODE, READ = (1 << bit for bit in range(10))


CHANGES = Kind.OPEN | Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.REMOVE | Kind.MKDIR | Kind.RESIZE | Kind.LINK | Kind.MODE
"""Everything that can change what is on disk; ``READ`` is opening a file to read it."""


class Action(IntEnum):
    """What happens at an operation, with the values of ``operations.c``."""

    OBSERVE = 0
    DIE_BEFORE = 1
    DIE_HALFWAY = 2
    """A write writes half of its data; any other operation is done, and is the last."""
    FAIL_ONCE = 3
    FAIL_FOREVER = 4
    MOVE_AWAY = 5
    """The watched folder is renamed, as if somebody had removed it."""
    STOP = 6
    """The process stops before the operation until it is told to continue."""


FAILING = {
    "ENOSPC": (errno.ENOSPC, Kind.OPEN | Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.MKDIR | Kind.RESIZE | Kind.LINK),
    "EDQUOT": (errno.EDQUOT, Kind.OPEN | Kind.WRITE | Kind.SYNC | Kind.MKDIR | Kind.RESIZE),
    "EROFS": (errno.EROFS, CHANGES & ~Kind.SYNC),
    "EACCES": (errno.EACCES, Kind.OPEN | Kind.RENAME | Kind.REMOVE | Kind.MKDIR | Kind.LINK | Kind.MODE),
    "EIO": (errno.EIO, CHANGES),
    "EMFILE": (errno.EMFILE, Kind.OPEN | Kind.READ),
    "READ-EIO": (errno.EIO, Kind.READ),
    "READ-EACCES": (errno.EACCES, Kind.READ),
}
"""Errors of a file system by name, with the operations that they concern."""


@dataclass(frozen=True)
class Fault:
    """What happens at the ``nth`` operation, from 0, of some kinds."""

    action: Action = Action.OBSERVE
    nth: int = -1
    kinds: Kind = CHANGES
    error: int = 0


@dataclass(frozen=True)
class Operation:
    """An operation as it was logged; ``at`` is nanoseconds of the monotonic clock."""

    kind: str
    at: int
    inode: int
    size: int
    path: str


def read_log(path: Path) -> list[Operation]:
    """Reads the log of a watched process."""
    if not path.exists():
        return []
    rows = [line.split("\t", 4) for line in path.read_text(errors="backslashreplace").split("\n") if line]
    return [Operation(kind, int(at), int(inode), int(size), name) for kind, at, inode, size, name in rows]


def available() -> bool:
    """Whether the library can be built and loaded here."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def build() -> Path:
    """Builds the library, once for each version of its source."""
    source = SOURCE.read_bytes()
    library = Path(tempfile.gettempdir()) / f"vaekit-operations-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not library.exists():
        partial = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", partial, SOURCE, "-ldl"], check=True)
        partial.replace(library)
    return library


def environment() -> dict[str, str]:
    """The environment of a Python process that has the library, one thread, and no network."""
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "MPLBACKEND": "Agg"}
    return {**os.environ, **settings, "LD_PRELOAD": str(build())}


def ensure_loaded(module: str, arguments: list[str]) -> None:
    """Starts ``python -m module`` again with the library, unless it is there."""
    if not available():
        sys.exit("the suite of faults needs Linux and a C compiler (cc)")
    if os.environ.get("LD_PRELOAD") != str(build()):
        os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment())


def watch(folder: Path, log: Path, fault: Fault) -> None:
    """From now on logs the operations of this process below a folder, and does what the fault says."""
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    ctypes.CDLL(None).faults_watch(
        os.fsencode(folder), descriptor, int(fault.kinds), ctypes.c_long(fault.nth), int(fault.action), fault.error
    )
