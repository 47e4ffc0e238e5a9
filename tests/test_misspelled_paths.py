"""A path that does not exist is answered as a path, with the nearest name in its folder, and not looked up on the Hub."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from tests.commands import Refuse
from tests.image_sources import write_images
from vaekit.data.sources.hub import Hub
from vaekit.data.sources.resolve import resolve


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``x`` with an array, a zip and a folder of images, beside which commands run."""
    write_images(tmp_path / "x" / "holiday", ["0.png"])
    np.save(tmp_path / "x" / "digits-2.npy", np.zeros((4, 4, 4), np.uint8))
    (tmp_path / "x" / "pictures.zip").write_bytes(b"PK")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x/digit-2.npy", ("no such file", "'x/digits-2.npy'")),
        ("x/picture.zip", ("no such file", "'x/pictures.zip'")),
        ("x/zzz.parquet", ("no such file in x",)),
        ("x/photo.jpg", ("no such file",)),
        ("./x/holidays", ("no such path", "'x/holiday'")),
        ("y/a.npy", ("no such file", "no folder y")),
        ("y/z/a", ("no such path", "no folder y/z")),
        ("nowhere.npz", ("no such file",)),
        ("mnits", ("no such path", "'mnist'")),
    ],
)
def test_misspelled_path(name: str, says: tuple[str, ...], refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.data.sources.hub.download", lambda *args: pytest.fail("the Hub was asked"))
    line = refuse("data", name, says=(f"{name}: ", *says))
    assert "Hub" not in line.replace("hub id", "")


def test_what_may_be_a_path_or_a_hub_id_is_said_to_be_neither(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = RepositoryNotFoundError("no", response=SimpleNamespace(headers={}, request=None))
    for error in (LocalEntryNotFoundError("offline"), missing):

        def download(*args: object, error: Exception = error) -> Path:
            raise error

        monkeypatch.setattr("vaekit.data.sources.hub.download", download)
        refuse("data", "x/holidy", says=("x/holidy: no such path (did you mean 'x/holiday'?), and", "Hugging Face Hub"))
        line = refuse("data", "someone/holiday", says=("someone/holiday: ", "Hugging Face Hub"))
        assert "no such path" not in line


def test_hub_ids_are_not_taken_for_files() -> None:
    for name in ("user/set", "user/set.v2", "user/set@main", "x/holidays:small"):
        assert isinstance(resolve(name), Hub)
