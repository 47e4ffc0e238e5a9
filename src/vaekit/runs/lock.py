"""The lock of a run folder: one process writes a run at a time.

The operating system releases the lock when its process ends, however it ends. Reading needs no lock, since every file is
written whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vaekit.core.errors import RunError
from vaekit.core.files import describe_os_error, remove_partials

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a run folder if there is none, and holds its lock; a folder that is still empty at the end is removed.

    Temporary files that killed processes left are removed, too.

    Raises:
        RunError: If another process holds the lock, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process is writing this run; wait for it, or choose another with --out") from None
    except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
        place = getattr(error, "filename", None) or folder
        raise RunError(
            f"{place}: cannot be written ({describe_os_error(error)}); mend or remove it, or use another folder"
        ) from None
    try:
        with suppress(OSError):  # what is left over harms nothing
            remove_partials(folder)
        yield
    finally:
        _remove_if_empty(folder)
        lock.release()


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
