"""Data sets on the Hugging Face Hub, and downloads from it."""

import os
from pathlib import Path
from textwrap import shorten
from typing import Any

from vaekit.core.errors import DataError
from vaekit.core.files import user_path
from vaekit.data.sources.arrays import DIGITS
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.source import RawSplit, Source, heif_option, name_with_config

HUB_TIMEOUT = 5.0
"""The number of seconds to wait for the Hugging Face Hub."""
MAX_ERROR_LENGTH = 160
"""The largest number of characters of another package's error message that are shown."""


class Hub(Source):
    """A data set on the Hugging Face Hub.

    Arguments:
        repo: The id of the repository.
        short_name: The name in messages; the id by default.
        revision: The branch, tag or commit; ``main`` by default.
        config: The configuration to read, if it has several; the whole repository is downloaded.
        hint: What is near a path of this name, as in `` (did you mean 'x/set'?)``, if its name may be a misspelled path.
    """

    def __init__(
        self,
        repo: str,
        short_name: str | None = None,
        revision: str | None = None,
        config: str | None = None,
        hint: str = "",
    ) -> None:
        self.repo, self.short_name = repo, short_name or repo
        self.name = name_with_config(self.short_name, config)
        self.revision, self.config = revision, config
        self.no_path = f"no such path{hint}, and " if hint else ""

    def identity(self) -> dict[str, Any]:
        """Returns the id, the configuration and the revision, so that images in the cache need no network."""
        options = heif_option() | ({"config": self.config} if self.config else {})
        return {"hub": self.repo, "revision": self.revision or "main"} | options

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Downloads the repository, or uses an earlier download of it, and reads its folder."""
        from huggingface_hub.errors import (
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        requested = self.repo if self.revision is None else f"{self.repo} at revision {self.revision}"
        try:
            self.root = download(self.repo, "dataset", self.revision)
        except LocalEntryNotFoundError:
            raise DataError(
                f"{self.name}: {self.no_path}the Hugging Face Hub cannot be reached and {requested} was never downloaded "
                f"here; connect once, set VAEKIT_DATA to a folder that holds {self.short_name}/, give --data a folder, or "
                f"use --data {DIGITS}"
            ) from None
        except RepositoryNotFoundError:
            raise DataError(
                f"{self.repo}: {self.no_path}no such data set on the Hugging Face Hub, or it is private"
            ) from None
        except RevisionNotFoundError:
            raise DataError(f"{self.repo}: has no revision {self.revision} on the Hugging Face Hub") from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise DataError(f"{self.repo}: could not be downloaded ({describe_error(error)})") from None
        return Folder(self.root, self.short_name, self.config).read(scratch)


def download(repo: str, kind: str, revision: str | None, patterns: list[str] | None = None) -> Path:
    """Downloads a repository, or uses an earlier download if the hub does not answer in time.

    Arguments:
        repo: The id of the repository.
        kind: ``dataset`` or ``model``.
        revision: The branch, tag or commit; None for ``main``.
        patterns: The files to download; None for all.

    Returns:
        The folder of the download.

    Raises:
        Exception: Those of ``huggingface_hub.snapshot_download``.
    """
    from huggingface_hub import HfApi, snapshot_download  # heavy, and only needed for a download
    from huggingface_hub.errors import HfHubHTTPError

    try:  # snapshot_download has no timeout
        HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=HUB_TIMEOUT)
        reachable = True
    except HfHubHTTPError:
        reachable = True  # the hub answers; snapshot_download raises its error
    except Exception:  # whatever the HTTP library raises
        reachable = False
    options: dict[str, Any] = {"allow_patterns": patterns} if patterns else {}
    return Path(snapshot_download(repo, repo_type=kind, revision=revision, local_files_only=not reachable, **options))


def describe_error(error: BaseException) -> str:
    """Returns the reason why a download failed, in a line."""
    from huggingface_hub.errors import LocalEntryNotFoundError  # imported already by download

    if isinstance(error, LocalEntryNotFoundError):  # its own message advises options of its package
        return "it cannot be reached, and nothing was downloaded before"
    return shorten(str(error), MAX_ERROR_LENGTH, placeholder=" ...", break_on_hyphens=False)


def find_weights(repo: str, file: str, noun: str, instead: str) -> Path:
    """Returns the path of a file of a model, in ``$VAEKIT_DATA`` if that folder holds it, otherwise downloaded.

    Arguments:
        repo: The id of the repository, and the folder in ``$VAEKIT_DATA``.
        file: The file.
        noun: What the model is called in messages.
        instead: What to do without the file, for messages.

    Raises:
        DataError: If it cannot be downloaded.
    """
    from huggingface_hub.errors import HfHubHTTPError

    local = user_path(os.environ.get("VAEKIT_DATA", "")) / repo / file
    if "VAEKIT_DATA" in os.environ and local.is_file():
        return local
    try:
        path = download(repo, "model", None, [file]) / file
        path.stat()
        return path
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            f"{repo}: the weights of {noun} cannot be downloaded from the Hub ({describe_error(error)}); connect once, "
            f"put them into $VAEKIT_DATA/{repo}/{file}, or {instead}"
        ) from None
