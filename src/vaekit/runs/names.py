"""The names of recipes, which are also those of run folders.

A recipe may come from a stranger, and its name says where the run is written: it is the name of a folder, never a path.
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from vaekit.core.safe_text import MAX_NAME, printable

MAX_FOLDER_NAME = 100
"""The maximum length of the name of a recipe."""


def check_folder_name(name: str) -> str:
    """Returns the name of a folder.

    Raises:
        ValueError: If it is a path, too long, or holds characters that cannot be shown as they are.
    """
    is_path = name in ("", ".", "..") or any(character in name for character in "/\\")
    if is_path or name != printable(name) or len(name) > MAX_FOLDER_NAME:
        raise ValueError(
            f"names the run folder, so it takes 1 to {MAX_FOLDER_NAME} characters that can be printed, and no / or \\; "
            f"got {printable(repr(name), MAX_NAME)}"
        )
    return name


FolderName = Annotated[str, AfterValidator(check_folder_name)]
"""The name of a folder, as a field of a recipe."""


def folder_name(name: str) -> str:
    """Returns the name of a folder for a data set of any name: ``user-set`` for ``user/set``."""
    return re.sub(r"[/\\\s]+", "-", printable(name, MAX_FOLDER_NAME)).strip("-.") or "data"


def short_name(source: str) -> str:
    """Returns the last part of a path, or the whole name of another source."""
    try:
        return Path(source).resolve().name if Path(source).exists() else source
    except (OSError, ValueError):  # a name that no path can have, such as one that is too long
        return source
