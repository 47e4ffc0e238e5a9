"""Fixtures: a separate cache, real data if there are any, and trained runs."""

import gc
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import vaekit
from tests.commands import Refuse, contents, one_line, vae
from vaekit.core.files import write_text
from vaekit.experiment.train import run as train
from vaekit.runs.recipe import load_recipe


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of decoded images for the test session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEKIT_CACHE", str(folder))
        yield folder


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a background process of a shell; its children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)
"""Small tensors are faster on one core, and sums do not depend on the number of cores."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Gives each test the same random numbers, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for a test, and no folder of local copies."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VAEKIT_CACHE", str(folder))
    monkeypatch.delenv("VAEKIT_DATA", raising=False)
    return folder


@pytest.fixture(scope="module")
def garbage_collected() -> Iterator[None]:
    """Collects garbage after the tests of a file, so that its warnings do not appear in another file."""
    yield
    with warnings.catch_warnings(action="ignore"):
        gc.collect()


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data."""
    folder = os.environ.get("VAEKIT_DATA")
    if not folder:
        pytest.skip("VAEKIT_DATA names no folder with real data (mnist, fashion-mnist, freyfaces, pokemon)")
    return Path(folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs on digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return train(load_recipe("digits", {"epochs": 3, "evaluation.num_samples": 10}), folder).folder


@pytest.fixture(scope="session")
def trained_conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional run of three epochs on digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits-conditional"
    overrides = {"epochs": 3, "conditional": True, "evaluation.num_samples": 10}
    return train(load_recipe("digits", overrides), folder).folder


@pytest.fixture
def run_copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run, named ``copy``, that a test may damage."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a line for a report, and no curves, which take longer than everything else of a short run."""

    class Page:
        def save(self, path: Path) -> None:
            write_text(path, "a report")

    monkeypatch.setattr("vaekit.experiment.finish.run_report", lambda run, gallery: Page())
    monkeypatch.setattr("vaekit.experiment.finish.write_curves", lambda folder: None)
    monkeypatch.setattr("vaekit.experiment.run_writer.write_curves", lambda folder: None)


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Runs a command in an empty folder; it must fail with one line and leave the folder unchanged, apart from locks."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object, says: tuple[str, ...] = ()) -> str:
        before = contents(tmp_path)
        line = one_line(vae(*args), *says)
        assert contents(tmp_path) == before
        return line

    return run


@pytest.fixture(scope="session")
def digits() -> vaekit.ImageSet:
    """The test images of the digits."""
    return vaekit.load_images("digits", "test")
