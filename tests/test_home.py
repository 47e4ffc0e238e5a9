"""The home folder: ``~`` in every path that a user gives, and no home folder at all."""

import os
import pwd
import shutil
from pathlib import Path

import numpy as np
import pytest

import vaekit
from tests.commands import done, one_line, vae
from vaekit.core.errors import DataError
from vaekit.core.files import user_path
from vaekit.data.cache import cache_folder
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.resolve import resolve


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another folder to work in."""
    home = tmp_path / "home"
    (tmp_path / "here").mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path / "here")
    return home


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No home folder, as in a container whose user is a number that no list of users holds."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("VAEKIT_CACHE")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


def test_paths_begin_in_the_home_folder(home: Path, trained: Path, no_report: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(trained, home / "run")
    np.save(home / "x.npy", np.zeros((20, 8, 8), np.uint8))
    assert done("sample", "~/run", "-o", "~/a.png") == f"{home / 'a.png'}\n"
    assert done("sample", "~/run", "-n", 1) == f"{home / 'run' / 'images' / 'sample-num-1.png'}\n"
    assert done("reconstruct", "~/run", "~/a.png", "-o", "~/b.png") == f"{home / 'b.png'}\n"
    assert "finished after 3 epochs" in done("train", "--resume", "~/run")
    assert vaekit.RunFolder("~/run").folder == home / "run"
    run = vaekit.train("digits", epochs=1, out="~/other")
    assert run.folder == home / "other"
    done("train", "~/run/recipe.yaml", "--epochs", 1, "--set", "evaluation.num_samples=0", "--out", "~/third")
    assert (home / "third" / "metrics.json").is_file()
    done("data", "~/x.npy", "-o", "~/sheet.png")
    monkeypatch.setenv("VAEKIT_CACHE", "~/cache")
    assert cache_folder() == home / "cache"
    (home / "sets" / "holiday").mkdir(parents=True)
    monkeypatch.setenv("VAEKIT_DATA", "~/sets")
    source = resolve("holiday")
    assert isinstance(source, Folder)
    assert source.path == home / "sets" / "holiday"
    assert os.listdir() == []


def test_a_file_whose_name_begins_with_a_tilde_is_itself(home: Path) -> None:
    for name in ("~$draft.png", "~no-such-user-x", "a/~/b", "~\0"):
        assert user_path(name) == Path(name)
    assert user_path("~") == home


def test_a_plugin_in_the_home_folder(home: Path) -> None:
    (home / "mine.py").write_text("print('loaded')", encoding="utf-8")
    assert done("--plugin", "~/mine.py", "--version").startswith("loaded\n")


def test_without_a_home_folder(no_home: None) -> None:
    with pytest.raises(DataError, match=r"home folder.*VAEKIT_CACHE"):
        cache_folder()
    with pytest.raises(DataError, match=r"^~/x: the home folder"):
        user_path("~/x")
    assert user_path("x/~") == Path("x/~")
    one_line(vae("data", "--cache"), "home folder", "VAEKIT_CACHE")
    one_line(vae("sample", "~/run"), "~/run", "home folder")
    one_line(vae("train", "--out", "~/run", "--epochs", 1), "~/run", "home folder")


def test_a_library_that_needs_a_home_folder(no_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.runs.run_folder.download", lambda *_: Path.home())
    one_line(vae("sample", "someone/model"), "home folder", "HOME")
