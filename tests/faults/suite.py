"""Running many cases: in several processes, each case in a folder of its own that is removed when nothing went wrong."""

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from tests.faults.verdict import Verdict


@contextmanager
def scratch_folder(keep: bool) -> Iterator[Path]:
    """A folder for cases, in memory where there is such a file system; with the cache of images."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="vaekit-faults-", dir=memory if os.access(memory, os.W_OK) else None))
    os.environ["VAEKIT_CACHE"] = str(folder / "cache")
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def in_processes(work: Callable[[Any], Any], items: Sequence[Any], jobs: int) -> Iterator[Any]:
    """Yields ``work(item)`` for each item, in order, from forked processes."""
    if jobs == 1 or len(items) <= 1:
        yield from map(work, items)
        return
    global _work
    _work = work  # forked processes have it, so that it need not be sent
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_call_work, items, chunksize=1)


class Suite(Protocol):
    """A suite of cases."""

    def cases(self, num: int, seed: int) -> list[str]:
        """The names of about ``num`` cases."""
        ...

    def judge(self, name: str, folder: Path) -> Verdict:
        """Tries a case in an empty folder."""
        ...


def in_folder(suite: Suite, name: str, scratch: Path, keep: bool, verbose: bool) -> Verdict:
    """Judges a case in a new folder; an error of the suite itself is a verdict, too."""
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix="case-"))
    try:
        return suite.judge(name, folder)
    except Exception:
        return Verdict(name, "suite failed", traceback.format_exc(limit=-3), "tests/faults")
    finally:
        if verbose:
            _show(folder / "logs")
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _show(logs: Path) -> None:
    """Prints what the commands of a case printed."""
    for path in sorted(logs.iterdir()):
        text = path.read_text(errors="backslashreplace")
        print(f"--- {path.name}\n{text}", end="" if text.endswith("\n") else "\n")


_work: Callable[..., object] | None = None


def _call_work(item: object) -> object:
    assert _work is not None
    return _work(item)
