"""From a name to a source of images.

A name is looked up in this order: an existing path, unless it is a run that has a known name; ``$VAEKIT_DATA/NAME`` if that
folder exists; the known names; else it is the id of a data set on the Hugging Face Hub. A repository is downloaded to a
folder, and a folder in the Hub's layout is read by ``datasets``, so a repository and a copy of it on disk are read by the
same code.

``NAME:CONFIG`` selects one of several configurations. ``NAME@REVISION`` or ``NAME:CONFIG@REVISION`` selects a revision (a
branch, tag or commit) on the Hub. A folder on disk, also one below ``$VAEKIT_DATA``, has no revisions: since the revision of
a copy is unknown, a name with a revision is refused there.
"""

import glob
import os
from difflib import get_close_matches
from pathlib import Path

from vaekit.core.errors import MAX_COMPARED, DataError, suggest
from vaekit.core.safe_text import printable
from vaekit.data.sources import idx
from vaekit.data.sources.archives import Archive
from vaekit.data.sources.arrays import DIGITS, ArrayFile, Digits
from vaekit.data.sources.file_kinds import image_suffixes
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.hub import Hub
from vaekit.data.sources.idx import IdxFile
from vaekit.data.sources.label_tables import LabelTable
from vaekit.data.sources.layouts import Layout, known_layout
from vaekit.data.sources.lists import FileList, OneImage
from vaekit.data.sources.repositories import check_files, load_splits
from vaekit.data.sources.source import FileSource, RawSplit, Source, shorten_name

OnDisk = Folder | FileSource | FileList | OneImage | Layout
"""A source on this disk."""
NAMES = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "pokemon": "huggan/pokemon",
}
"""Short names of data sets on the Hugging Face Hub."""
KNOWN = (DIGITS, *NAMES)
"""The known names."""


class Parquet(FileSource):
    """A parquet file with a column of encoded images, as in hub repositories."""

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; images stay encoded."""
        check_files(str(self.path), self.path, [self.path], scratch)
        return load_splits(str(self.path), self.path.parent, scratch, "", "parquet", data_files=glob.escape(str(self.path)))


MAX_NAMES = 20_000
"""The number of names in a folder that a misspelled one is compared with."""
NEAR = 0.5
"""How similar a name is, from 0 to 1, that is offered for one that does not exist."""
RUN_FILES = (("recipe.yaml", "environment.json"), ("config.json", "model.safetensors"))
"""The files that are together in a run folder, and in a model folder."""

FILE_SOURCES: dict[tuple[str, ...], type[ArrayFile | Archive | Parquet | FileList | IdxFile | OneImage]] = {
    (".npy", ".npz"): ArrayFile,
    idx.SUFFIXES: IdxFile,
    (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"): Archive,
    (".parquet",): Parquet,
    (".txt",): FileList,
    (".csv", ".tsv"): LabelTable,
    tuple(sorted(image_suffixes())): OneImage,
}
"""The source that a file is, by its suffix."""
SUGGESTED = tuple(suffix for kinds in FILE_SOURCES for suffix in kinds if suffix not in image_suffixes())
"""The suffixes that a message offers, without those of single images."""


def resolve(name: str | Path) -> Source:
    """Returns the source of a name, which may end in a configuration and a revision.

    A name that ends as files do, or has more or fewer parts than ``user/set``, is a path; so a misspelled path is never
    looked up on the Hub. Of what could be both, the Hub's error says that there is no such path, too.

    Raises:
        DataError: If it is not a path, a known name, or a hub id; the nearest names are suggested.
    """
    text = str(name)
    if not text:
        raise DataError("no source of images: the name is empty")
    if (source := _on_disk(text, None)) is not None:
        return source
    base, config, revision = _parts(text)
    has_parts = base != text
    if has_parts and (source := _on_disk(base, config)) is not None:
        if revision:
            raise DataError(
                f"{text}: {source.path} is a copy on this disk, and its revision is unknown; "
                f"leave out @{revision} to use it, or move it away to use the Hugging Face Hub"
            )
        return source
    if base == DIGITS:
        if has_parts:
            raise DataError(f"{text}: {DIGITS} comes with the package, without configurations or revisions")
        return Digits()
    if base in NAMES:
        return Hub(NAMES[base], base, revision, config)
    is_file = text.lower().endswith(tuple(suffix for suffixes in FILE_SOURCES for suffix in suffixes))
    if base.count("/") == 1 and not is_file and not text.startswith((".", "/", "~")) and all(base.split("/")):
        return Hub(base, base, revision, config, hint=nearest_path(base))
    kind = "file" if is_file else "path, data set or hub id"
    raise DataError(f"{shorten_name(text)}: no such {kind}{nearest_path(text) or _no_folder(text) or suggest(base, KNOWN)}")


def _parts(text: str) -> tuple[str, str | None, str | None]:
    """The name, the configuration and the revision of ``NAME:CONFIG@REVISION``; None for those that it does not have.

    Raises:
        DataError: If one is empty, or they are in another order.
    """
    rest, at, revision = text.partition("@")
    base, colon, config = rest.partition(":")
    if (at and not revision) or (colon and not config):
        raise DataError(f"{text}: write it as NAME:CONFIG@REVISION, where :CONFIG and @REVISION are optional")
    if ":" in revision:  # no revision contains a colon
        revision, _, config = revision.partition(":")
        raise DataError(f"{text}: the configuration comes before the revision, as in {rest}:{config}@{revision}")
    return base, config or None, revision or None


def nearest_path(text: str) -> str:
    """Returns what is near a path that does not exist, for the end of a message; empty if its folder does not exist."""
    path = Path(os.path.expanduser(text))
    try:
        names = [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    except (OSError, ValueError):
        return ""
    near = get_close_matches(path.name, names[:MAX_NAMES], n=1, cutoff=NEAR) if len(path.name) <= MAX_COMPARED else []
    if near:
        return f" (did you mean {printable(repr(str(Path(text).parent / near[0])))}?)"
    return "" if path.parent == Path() else f" in {path.parent}"


def _no_folder(text: str) -> str:
    """The words about a path whose folder does not exist; empty if it does, or if the text names no folder."""
    parent = Path(os.path.expanduser(text)).parent
    return "" if parent == Path() or _exists(parent) else f", there is no folder {shorten_name(str(parent))}"


def _on_disk(text: str, config: str | None) -> OnDisk | None:
    """The source on this disk with a name, if there is one."""
    path = Path(os.path.expanduser(text))
    local = os.path.expanduser(os.environ.get("VAEKIT_DATA", ""))
    if _exists(path) and not (text in KNOWN and _is_run(path)):
        return _path_source(path, config)
    if local and not path.is_absolute() and _exists(Path(local) / path) and (Path(local) / path).is_dir():
        return known_layout(Path(local) / path, text, config) or Folder(Path(local) / path, text, config)
    return None


def _path_source(path: Path, config: str | None) -> OnDisk:
    """The source that a file or folder is.

    Raises:
        DataError: If it is a run, which holds plots but no images to train on, or neither a file nor a folder.
    """
    if _is_run(path):
        raise DataError(f"{path}: a run or model folder, not images; give the folder or name of the images themselves")
    if path.is_dir():
        return known_layout(path, config=config) or Folder(path, config=config)
    if not path.is_file():  # a pipe, on which reading could wait forever, a socket or a device
        raise DataError(f"{path}: neither a file nor a folder; give a folder or file of images")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: an empty file; it was perhaps not copied or downloaded to its end")
    return _file_source(path, config)


def _is_run(path: Path) -> bool:
    """Whether a path is a run folder or a model folder."""
    return any(all(os.path.isfile(path / name) for name in names) for names in RUN_FILES)


def _exists(path: Path) -> bool:
    """Whether a file or folder exists.

    Raises:
        DataError: If the permissions do not allow to check it.
    """
    try:
        path.stat()
    except PermissionError:
        raise DataError(f"{path}: cannot be opened (Permission denied); change its permissions") from None
    except (OSError, ValueError):  # also raised for names that are too long or are not paths
        return False
    return True


def _file_source(path: Path, config: str | None) -> OnDisk:
    """The source that a file is, by its suffix."""
    for suffixes, kind in FILE_SOURCES.items():
        if path.name.lower().endswith(suffixes):
            if kind is Archive:
                return Archive(path, config)
            if config is not None:
                raise DataError(f"{path}: a file of this kind has no configurations; leave out :{config}")
            return kind(path)
    known = ", ".join(SUGGESTED)
    raise DataError(f"{path}: not a source of images; give a folder, a known name, a hub id, or a file that ends in {known}")
