"""Sources: where images come from.

A name resolves in this order: an existing path; ``$VAEKIT_DATA/NAME`` if that folder exists; the table of names; else the id
of a data set on the Hugging Face Hub. A hub id is downloaded to a folder, and a folder in the Hub's layout is read by
``datasets``, so that a repository and a copy of one on disk are one path.

What holds several configurations is asked for one by ``NAME:CONFIG``, and the Hub for a revision (a branch, tag or commit)
by ``NAME@REVISION`` or ``NAME:CONFIG@REVISION``. A folder on disk, also one below ``$VAEKIT_DATA``, has no revisions: to ask
it for one is refused, rather than answered with images of which nobody knows whether they are of that revision.
"""

import glob
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from vaekit.core.errors import DataError, suggest
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.repositories import load
from vaekit.data.sources.source import UNPACKED, File, RawSplit, Source, configured, raise_full_disk, stamp

NAMES = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "pokemon": "huggan/pokemon",
}
"""Short names of data sets on the Hugging Face Hub."""

DIGITS = "digits"
"""The name of the embedded data set."""

HUB_TIMEOUT = 5.0
"""Seconds to wait for the Hugging Face Hub before saying that it cannot be reached."""
MAX_SAID = 160
"""How many characters of another package's error are passed on."""


class Digits(Source):
    """The 1,797 handwritten 8x8 digits that come with scikit-learn: real data that needs no download.

    References:
        | Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998), https://doi.org/10.24432/C50P49
    """

    name = DIGITS

    def identity(self) -> dict[str, Any]:
        """Returns the name: the images never change."""
        return {"embedded": self.name}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; gray levels of 0 to 16 become 0 to 255."""
        from sklearn.datasets import load_digits  # heavy, and only needed for this source

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": RawSplit(pixels, digits.target.astype(np.int64), tuple(str(d) for d in digits.target_names))}


class ArrayFile(File):
    """A ``.npy`` file of images, or an ``.npz`` file of images and labels, perhaps with splits.

    An ``.npz`` file holds ``images`` and ``labels`` (or ``x`` and ``y``), or the same with a split behind them:
    ``x_train, y_train, x_test, y_test``.
    """

    fitted = False

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the arrays; nothing is ever unpickled."""
        try:
            with self.path.open("rb") as file:  # np.load itself leaves a damaged archive open
                is_array = file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
                file.seek(0)
                if is_array:
                    arrays = {"images": np.load(self.path, allow_pickle=False, mmap_mode="r")}
                else:
                    loaded = np.load(file, allow_pickle=False)
                    arrays = {key: loaded[key] for key in loaded.files}
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: not a NumPy array that can be read safely ({error})") from None
        pixels, labels = {}, {}
        for key, array in arrays.items():
            kind, _, split = key.partition("_")
            if kind in ("images", "x"):
                pixels[split or "train"] = as_pixels(array, str(self.path))
                given = arrays.get(key.replace(kind, "labels" if kind == "images" else "y", 1))
                if given is not None:
                    labels[split or "train"] = np.ravel(given)
        if not pixels:
            raise DataError(f"{self.path}: holds {', '.join(arrays)}; call the images 'images' and their labels 'labels'")
        # Classes are those of all splits, since a small one may lack some.
        known = np.unique(np.concatenate(list(labels.values()))) if labels else np.empty(0)
        places = {split: np.searchsorted(known, given).astype(np.int64) for split, given in labels.items()}
        classes = tuple(str(name) for name in known)
        return {split: RawSplit(array, places.get(split), classes) for split, array in pixels.items()}


class Archive(File):
    """A zip or tar archive of what could be a folder.

    Arguments:
        path: Where it lies.
        config: Which of its configurations to read, if it has several.
    """

    def __init__(self, path: Path, config: str | None = None) -> None:
        super().__init__(path)
        self.config = config
        self.name = configured(self.name, config)

    def identity(self) -> dict[str, Any]:
        """Returns the path, the configuration, the size and the time of the last change."""
        return super().identity() | ({"config": self.config} if self.config else {})

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Unpacks the archive for as long as it takes to decode it."""
        folder = scratch / UNPACKED
        folder.mkdir()
        try:
            if zipfile.is_zipfile(self.path):
                _unzip(self.path, folder)
            else:
                with tarfile.open(self.path) as archive:  # whose filter lets nothing land outside
                    archive.extractall(folder, _within_room(archive, folder), filter="data")
        except (OSError, EOFError, RuntimeError, ValueError, BadZipFile, zlib.error, tarfile.TarError) as error:
            raise_full_disk(error)
            raise DataError(f"{self.path}: not an archive that can be unpacked safely ({error})") from None
        return Folder(folder, str(self.path), self.config).read(scratch)


class Parquet(File):
    """A parquet file with a column of encoded images, as hub repositories hold them."""

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; images stay encoded."""
        return load(str(self.path), scratch, "parquet", data_files=glob.escape(str(self.path)))


class FileList(Source):
    """A text file with the path of an image in each line, from where the list lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path.parent
        self.name = path.stem

    def identity(self) -> dict[str, Any]:
        """Returns the list's path and, for each image, its size and the time of its last change."""
        files = {str(file): stamp(file) for file in self._files() if os.path.isfile(file)}
        return {"list": str(self.path.resolve()), "files": files} | stamp(self.path)

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split without labels; images stay encoded."""
        return {"train": RawSplit(self._files())}

    def _files(self) -> list[Path]:
        try:
            lines = [line.strip() for line in self.path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: not a list of files that can be read ({error})") from None
        return [self.path.parent / line for line in lines if line and not line.startswith("#")]


class Hub(Source):
    """A data set on the Hugging Face Hub.

    Arguments:
        repo: Its id.
        name: What to call it; its id by default.
        revision: The branch, tag or commit; ``main`` by default.
        config: Which of its configurations to read, if it has several; the whole repository is downloaded.
    """

    def __init__(self, repo: str, name: str | None = None, revision: str | None = None, config: str | None = None) -> None:
        self.repo, self.called = repo, name or repo
        self.name = configured(self.called, config)
        self.revision, self.config = revision, config

    def identity(self) -> dict[str, Any]:
        """Returns the id, the configuration and the revision, so that images in the cache need no network."""
        return {"hub": self.repo, "revision": self.revision or "main"} | ({"config": self.config} if self.config else {})

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Downloads the repository, or finds an earlier download of it, and reads its folder."""
        from huggingface_hub.errors import (
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        wanted = self.repo if self.revision is None else f"{self.repo} at revision {self.revision}"
        try:
            self.root = download(self.repo, "dataset", self.revision)
        except LocalEntryNotFoundError:
            raise DataError(
                f"{self.name}: the Hugging Face Hub cannot be reached and {wanted} was never downloaded here; connect "
                f"once, set VAEKIT_DATA to a folder that holds {self.called}/, give --data a folder, or use --data {DIGITS}"
            ) from None
        except RepositoryNotFoundError:
            raise DataError(f"{self.repo}: no such data set on the Hugging Face Hub, or it is private") from None
        except RevisionNotFoundError:
            raise DataError(f"{self.repo}: has no revision {self.revision} on the Hugging Face Hub") from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise DataError(f"{self.repo}: could not be downloaded ({said(error)})") from None
        return Folder(self.root, self.called, self.config).read(scratch)


FILES: dict[tuple[str, ...], type[ArrayFile | Archive | Parquet | FileList]] = {
    (".npy", ".npz"): ArrayFile,
    (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"): Archive,
    (".parquet",): Parquet,
    (".txt",): FileList,
}
"""What a file is by how its name ends."""


def download(repo: str, kind: str, revision: str | None, patterns: list[str] | None = None) -> Path:
    """Downloads a repository, or finds an earlier download of it where the hub does not answer in time.

    Raises:
        Exception: Those of ``huggingface_hub.snapshot_download``.
    """
    from huggingface_hub import HfApi, snapshot_download  # heavy, and only needed for a download
    from huggingface_hub.errors import HfHubHTTPError

    try:  # snapshot_download itself would wait for ever
        HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=HUB_TIMEOUT)
        silent = False
    except HfHubHTTPError:
        silent = False  # the hub answers, and snapshot_download says what
    except Exception:  # whatever the HTTP library raises
        silent = True
    options: dict[str, Any] = {"allow_patterns": patterns} if patterns else {}
    return Path(snapshot_download(repo, repo_type=kind, revision=revision, local_files_only=silent, **options))


def said(error: BaseException) -> str:
    """Returns what went wrong with a download, in a line."""
    from huggingface_hub.errors import LocalEntryNotFoundError  # loaded by then

    if isinstance(error, LocalEntryNotFoundError):  # the package advises to change its own options
        return "it cannot be reached, and nothing was downloaded before"
    return shorten(str(error), MAX_SAID, placeholder=" ...", break_on_hyphens=False)


def resolve(name: str | Path) -> Source:
    """Finds the source that a name means, perhaps with a configuration and a revision behind it.

    Raises:
        DataError: If it is neither a path, nor a known name, nor the form of a hub id; the nearest names are offered.
    """
    text = str(name)
    if (found := _on_disk(text, None)) is not None:
        return found
    rest, at, revision = text.partition("@")
    called, colon, config = rest.partition(":")
    if (at and not revision) or (colon and not config):
        raise DataError(f"{text}: write it as NAME:CONFIG@REVISION, where :CONFIG and @REVISION may be left out")
    if ":" in revision:  # which no revision holds
        revision, _, config = revision.partition(":")
        raise DataError(f"{text}: the configuration comes before the revision, as in {rest}:{config}@{revision}")
    if (at or colon) and (found := _on_disk(called, config or None)) is not None:
        if revision:
            raise DataError(
                f"{text}: {found.path} is a copy on this disk, of which nobody knows the revision; "
                f"leave out @{revision} to use it, or move it away to ask the Hugging Face Hub"
            )
        return found
    if called == DIGITS:
        if at or colon:
            raise DataError(f"{text}: {DIGITS} comes with the package, without configurations or revisions")
        return Digits()
    if called in NAMES:
        return Hub(NAMES[called], called, revision or None, config or None)
    if called.count("/") == 1 and not text.startswith((".", "/", "~")) and all(called.split("/")):
        return Hub(called, called, revision or None, config or None)
    raise DataError(f"{text}: no such path, data set or hub id{suggest(called, [DIGITS, *NAMES])}")


def _on_disk(text: str, config: str | None) -> Folder | File | FileList | None:
    """The source that lies on this disk under a name, if there is one."""
    path = Path(os.path.expanduser(text))
    local = os.environ.get("VAEKIT_DATA")
    if _is_there(path):
        return Folder(path, config=config) if path.is_dir() else _file(path, config)
    if local and not path.is_absolute() and _is_there(Path(local) / path) and (Path(local) / path).is_dir():
        return Folder(Path(local) / path, text, config)
    return None


def _is_there(path: Path) -> bool:
    """Whether a file or folder is there.

    Raises:
        DataError: If nobody may know.
    """
    try:
        path.stat()
    except PermissionError:
        raise DataError(f"{path}: may not be looked at (Permission denied); ask its owner") from None
    except (OSError, ValueError):  # which names are that are too long, or no paths at all
        return False
    return True


def _file(path: Path, config: str | None) -> File | FileList:
    """The source that a file is by how its name ends."""
    for suffixes, kind in FILES.items():
        if path.name.lower().endswith(suffixes):
            if kind is Archive:
                return Archive(path, config)
            if config is not None:
                raise DataError(f"{path}: a file of this kind has no configurations; leave out :{config}")
            return kind(path)
    known = ", ".join(suffix for suffixes in FILES for suffix in suffixes)
    raise DataError(f"{path}: images come as a folder, a known name, a hub id, or a file that ends in {known}")


def as_pixels(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Returns an array of images as gray levels of shape (N, C, H, W).

    Arguments:
        array: Shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels; uint8, bool, or floating point in [0, 1].
        what: What they are, for messages.

    Raises:
        DataError: If the shape or the values are none of these.
    """
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or not ({1, 3} & {array.shape[1], array.shape[3]}):
        raise DataError(f"{what}: images have shape (N, H, W), (N, C, H, W) or (N, H, W, C), got {array.shape}")
    if array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if array.dtype == np.bool_:
        return np.where(array, np.uint8(255), np.uint8(0))
    if np.issubdtype(array.dtype, np.floating) and array.size and array.min() >= 0 and array.max() <= 1:
        pixels: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
        return pixels
    raise DataError(f"{what}: pixels are uint8, bool, or floating point between 0 and 1, got {array.dtype} beyond that")


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{name} would land outside of it")
        _refuse_more_than_fits(sum(member.file_size for member in archive.infolist()), folder)
        archive.extractall(folder)


def _within_room(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The members of an archive one by one, for as long as the disk can take them."""
    for member in archive:
        _refuse_more_than_fits(member.size, folder)
        yield member


def _refuse_more_than_fits(num_bytes: int, folder: Path) -> None:
    """Raises ValueError before a disk is filled up by what claims to be larger than the room that is left."""
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ValueError(f"it would take {num_bytes / 1e9:,.1f} GB, where {free / 1e9:,.1f} GB are free")
