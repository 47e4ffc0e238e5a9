"""Walking a folder: its files at any depth, each once, without hidden ones."""

import heapq
import os
from pathlib import Path

from vaekit.core.errors import DataError
from vaekit.data.sources.file_kinds import HIDDEN


def files_below(root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the files below a folder, sorted and without hidden ones, and the folders that cannot be read.

    Links to folders are followed last. No folder is read twice, and none that contains the root.

    Raises:
        DataError: If the folder itself cannot be read.
    """
    home, folders, links = os.path.realpath(root), [str(root)], list[str]()
    seen, files, unreadable = set[str](), list[Path](), list[Path]()
    while folders or links:
        here = folders.pop() if folders else heapq.heappop(links)
        real = os.path.realpath(here)
        if real in seen or home.startswith(os.path.join(real, "")):
            continue
        seen.add(real)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith(HIDDEN):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        heapq.heappush(links, entry.path)
                    else:
                        files.append(Path(entry.path))
        except OSError as error:
            if here == str(root):
                raise DataError(f"{root}: cannot be read ({error.strerror}); change its permissions") from None
            unreadable.append(Path(here))
    return sorted(files, key=str), sorted(unreadable)
