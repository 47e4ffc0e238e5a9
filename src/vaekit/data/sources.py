"""Sources: where pictures come from.

A name resolves in this order: an existing path; ``$VAEKIT_DATA/NAME`` if that folder exists; the table of names; else the id
of a data set on the Hugging Face Hub. A hub id is downloaded to a folder, and a folder is read by ``datasets``, so that
a hub repository, a copy of one on disk and a folder of pictures are one path.
"""

import errno
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from vaekit.data.decode import Pictures
from vaekit.errors import DataError, suggest

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


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How an operating system says that something does not fit on the disk."""

UNPACKED = "unpacked"
"""The folder that an archive is unpacked to, within the scratch folder of a reading."""


@dataclass(frozen=True)
class RawSplit:
    """A split as its source holds it: N pictures, encoded or not, labels of shape (N) or None, and the names of classes."""

    pictures: Pictures
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()


class Source(ABC):
    """Somewhere pictures come from.

    Attributes:
        name: What to call the pictures.
        root: The folder that its pictures lie in, if they do.
        fitted: Whether the pictures may be cut and scaled to another size; arrays are taken as they are.
    """

    name: str
    fitted: bool = True
    root: Path | None = None

    def inside(self, name: str, scratch: Path) -> str:
        """Returns the name of a picture as the source calls it, without the folders above."""
        for root in (scratch / UNPACKED, self.root):
            if root is not None and Path(name).is_relative_to(root):
                return str(Path(name).relative_to(root))
        return name

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Returns what tells these pictures from others, as data, without reading them."""

    @abstractmethod
    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits by name.

        Arguments:
            scratch: A folder for what reading leaves behind, removed afterwards.

        Raises:
            DataError: If they cannot be read.
        """


class Digits(Source):
    """The 1,797 handwritten 8x8 digits that come with scikit-learn: real data that needs no download.

    References:
        | Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998), https://doi.org/10.24432/C50P49
    """

    name = DIGITS

    def identity(self) -> dict[str, Any]:
        """Returns the name: the pictures never change."""
        return {"embedded": self.name}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; grey levels of 0 to 16 become 0 to 255."""
        from sklearn.datasets import load_digits  # heavy, and only needed for this source

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": RawSplit(pixels, digits.target.astype(np.int64), tuple(str(d) for d in digits.target_names))}


class File(Source):
    """A file that holds pictures; it is called as the file is, up to the first point.

    Arguments:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.split(".")[0] or path.name

    def identity(self) -> dict[str, Any]:
        """Returns the path, the size and the time of the last change."""
        return {"file": str(self.path.resolve())} | _stamp(self.path)


class ArrayFile(File):
    """A ``.npy`` file of pictures, or an ``.npz`` file of pictures and labels, perhaps with splits.

    An ``.npz`` file holds ``images`` and ``labels`` (or ``x`` and ``y``), or the same with a split behind them:
    ``x_train, y_train, x_test, y_test``.
    """

    fitted = False

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the arrays; nothing is ever unpickled."""
        try:
            if self.path.suffix == ".npy":
                arrays = {"images": np.load(self.path, allow_pickle=False, mmap_mode="r")}
            else:
                with self.path.open("rb") as file:  # np.load itself leaves a damaged archive open
                    loaded = np.load(file, allow_pickle=False)
                    arrays = {key: loaded[key] for key in loaded.files}
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: not a NumPy array that can be read safely ({error})") from None
        splits = {}
        for key, array in arrays.items():
            kind, _, split = key.partition("_")
            if kind in ("images", "x"):
                labels = arrays.get(key.replace(kind, "labels" if kind == "images" else "y", 1))
                splits[split or "train"] = RawSplit(as_pixels(array, str(self.path)), *_labels(labels))
        if not splits:
            raise DataError(f"{self.path}: holds {', '.join(arrays)}; call the pictures 'images' and their labels 'labels'")
        return splits


class Folder(Source):
    """A folder of pictures, or one laid out as a hub repository (parquet, ``metadata.csv``), read by ``datasets``."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = self.root = path
        self.name = name or path.resolve().name

    def identity(self) -> dict[str, Any]:
        """Returns the path and, for each file, its size and the time of its last change."""
        files = sorted(file for file in self.path.rglob("*") if file.is_file())
        return {"folder": str(self.path.resolve()), "files": {str(f.relative_to(self.path)): _stamp(f) for f in files}}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits; pictures stay encoded."""
        return _load(self.path, scratch, str(self.path))


class Archive(File):
    """A zip or tar archive of what could be a folder."""

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Unpacks the archive for as long as it takes to decode it."""
        folder = scratch / UNPACKED
        try:
            if zipfile.is_zipfile(self.path):
                _unzip(self.path, folder)
            else:
                with tarfile.open(self.path) as archive:
                    archive.extractall(folder, filter="data")  # which refuses whatever would land outside
        except (OSError, EOFError, RuntimeError, ValueError, BadZipFile, zlib.error, tarfile.TarError) as error:
            _raise_full_disk(error)
            raise DataError(f"{self.path}: not an archive that can be unpacked safely ({error})") from None
        return Folder(folder, self.name).read(scratch)


class Parquet(File):
    """A parquet file with a column of encoded pictures, as hub repositories hold them."""

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; pictures stay encoded."""
        return _load(self.path, scratch, "parquet", data_files=str(self.path))


class FileList(Source):
    """A text file with the path of a picture in each line, from where the list lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path.parent
        self.name = path.stem

    def identity(self) -> dict[str, Any]:
        """Returns the list's path and, for each picture, its size and the time of its last change."""
        files = {str(file): _stamp(file) for file in self._files() if file.is_file()}
        return {"list": str(self.path.resolve()), "files": files} | _stamp(self.path)

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split without labels; pictures stay encoded."""
        return {"train": RawSplit(self._files())}

    def _files(self) -> list[Path]:
        try:
            lines = [line.strip() for line in self.path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: not a list of files that can be read ({error})") from None
        return [self.path.parent / line for line in lines if line and not line.startswith("#")]


class Hub(Source):
    """A data set on the Hugging Face Hub, by its id."""

    def __init__(self, repo: str, name: str | None = None, revision: str | None = None) -> None:
        self.repo = repo
        self.name = name or repo
        self.revision = revision

    def identity(self) -> dict[str, Any]:
        """Returns the id and the revision, so that pictures in the cache need no network."""
        return {"hub": self.repo, "revision": self.revision or "main"}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Downloads the repository, or finds an earlier download of it, and reads its folder."""
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

        try:
            folder = download(self.repo, "dataset", self.revision)
        except LocalEntryNotFoundError:
            raise DataError(
                f"{self.name}: the Hugging Face Hub cannot be reached and {self.repo} was never downloaded here; connect "
                f"once, set VAEKIT_DATA to a folder that holds {self.name}/, give --data a folder, or use --data {DIGITS}"
            ) from None
        except RepositoryNotFoundError:
            raise DataError(f"{self.repo}: no such data set on the Hugging Face Hub, or it is private") from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise DataError(f"{self.repo}: could not be downloaded ({' '.join(str(error).split())[:160]})") from None
        return Folder(folder, self.name).read(scratch)


FILES: dict[tuple[str, ...], Callable[[Path], Source]] = {
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


def resolve(name: str | Path) -> Source:
    """Finds the source that a name means.

    Raises:
        DataError: If it is neither a path, nor a known name, nor the form of a hub id; the nearest names are offered.
    """
    path, text = Path(name).expanduser(), str(name)
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        for suffixes, source in FILES.items():
            if path.name.lower().endswith(suffixes):
                return source(path)
        known = ", ".join(suffix for suffixes in FILES for suffix in suffixes)
        raise DataError(f"{path}: pictures come as a folder, a known name, a hub id, or a file that ends in {known}")
    local = os.environ.get("VAEKIT_DATA")
    if local and not path.is_absolute() and (Path(local) / path).is_dir():
        return Folder(Path(local) / path, text)
    if text == DIGITS:
        return Digits()
    if text in NAMES:
        return Hub(NAMES[text], text)
    repo, _, revision = text.partition("@")
    if repo.count("/") == 1 and not text.startswith((".", "/", "~")) and all(repo.split("/")):
        return Hub(repo, repo, revision or None)
    raise DataError(f"{text}: no such path, data set or hub id{suggest(text, [DIGITS, *NAMES])}")


def as_pixels(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Returns an array of pictures as grey levels of shape (N, C, H, W).

    Arguments:
        array: Shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels; uint8, bool, or floating point in [0, 1].
        what: What they are, for messages.

    Raises:
        DataError: If the shape or the values are none of these.
    """
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or not ({1, 3} & {array.shape[1], array.shape[3]}):
        raise DataError(f"{what}: pictures have shape (N, H, W), (N, C, H, W) or (N, H, W, C), got {array.shape}")
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


@dataclass(frozen=True)
class _Cells(Sequence[Any]):
    """The cells of an Arrow column of encoded pictures, as the bytes or the path that each holds."""

    column: Any

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        cell = self.column[index].as_py()
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])


def _load(path: Path, scratch: Path, *what: str, **options: Any) -> dict[str, RawSplit]:
    """Reads what lies at a path by ``datasets``; pictures stay encoded."""
    import datasets  # heavy, and only needed when the cache does not have the pictures yet

    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(*what, cache_dir=str(scratch), **options)
    except Exception as error:  # whatever its many builders raise, there is nothing to read
        _raise_full_disk(error)
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"{path}: no pictures found there, nor a data set in the hub's layout ({reason})") from None
    return {str(split): _raw(data, path) for split, data in found.items()}


def _raw(data: Any, path: Path) -> RawSplit:
    """A split of ``datasets`` as the bytes or the path of each picture, with labels where it has any."""
    import datasets

    images = [key for key, feature in data.features.items() if isinstance(feature, datasets.Image)]
    if not images:
        raise DataError(f"{path}: no pictures found there (columns: {', '.join(data.features)})")
    labels = [key for key, feature in data.features.items() if isinstance(feature, datasets.ClassLabel)]
    encoded = data.cast_column(images[0], datasets.Image(decode=False)).with_format("arrow")
    cells = encoded[:][images[0]].combine_chunks()
    if not labels:
        return RawSplit(_Cells(cells))
    values = np.asarray(encoded[:][labels[0]], dtype=np.int64)
    return RawSplit(_Cells(cells), values, tuple(data.features[labels[0]].names))


def _raise_full_disk(error: BaseException) -> None:
    """Raises the lack of room that is behind an error, if it is."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in NO_ROOM:
            raise behind
        behind = behind.__cause__ or behind.__context__


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{name} would land outside of it")
        archive.extractall(folder)


def _labels(labels: NDArray[Any] | None) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if labels is None:
        return None, ()
    names, values = np.unique(labels, return_inverse=True)
    return values.reshape(-1).astype(np.int64), tuple(str(name) for name in names)


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}
