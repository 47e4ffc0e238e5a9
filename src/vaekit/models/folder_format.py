"""The format of model folders and run folders: the names of a model's files, and the versions that are read."""

from pathlib import Path
from typing import Any

from vaekit.core.errors import RunError
from vaekit.core.safe_text import printable_value

CONFIG, WEIGHTS = "config.json", "model.safetensors"
RUN_MARKS = ("recipe.yaml", "environment.json")
"""What a run folder has beside its model."""
FORMAT, READABLE, CHECKSUMS_SINCE = 4, (2, 3, 4), 3
"""The version of folders that is written, those that are read, and the first whose weights have a checksum. Version 4 adds
how images are prepared to the configuration."""


def check_format(data: Any, folder: Path) -> None:
    """Refuses a folder that was written in another version of the format.

    Arguments:
        data: What its ``config.json`` or ``environment.json`` holds; the first version had no ``format``.
        folder: The folder, for the message.

    Raises:
        RunError: If the version is none that is read.
    """
    version = data.get("format") if isinstance(data, dict) else FORMAT
    if version is None and "_class_name" in data:
        raise RunError(f"{folder}: a model of diffusers, and vaekit reads its own; name the run that it was exported from")
    if version is None:
        raise RunError(
            f"{folder}: its files name no version of the folder format, so they are damaged, or of version 1, which is no "
            "longer read; copy them again, or train anew"
        )
    if version not in READABLE:
        remedy = "update vaekit" if isinstance(version, int) and version > FORMAT else "train it again"
        shown = printable_value(version, 40)
        raise RunError(f"{folder}: written in version {shown} of the folder format, this is version {FORMAT}; {remedy}")
