"""Folders in the layout of another program, which are not read as folders of images."""

from pathlib import Path

from vaekit.core.errors import DataError
from vaekit.data.sources.idx import IdxFolder
from vaekit.data.sources.saved_datasets import SavedDataset

Layout = IdxFolder | SavedDataset
"""The source that such a folder is."""


def known_layout(path: Path, name: str | None = None, config: str | None = None) -> Layout | None:
    """Returns the source of a folder in one of these layouts; None for any other folder.

    Arguments:
        path: The folder.
        name: The name of its images; the folder's name by default.
        config: The configuration to read.

    Raises:
        DataError: If a layout without configurations is asked for one.
    """
    if SavedDataset.matches(path):
        if config is not None:
            raise DataError(f"{path}: a saved data set has no configurations; leave out :{config}")
        return SavedDataset(path, name)
    return IdxFolder(path, name, config) if IdxFolder.matches(path) else None
