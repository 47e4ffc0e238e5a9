"""Relative paths of images: a run finds them from another folder, and elsewhere if they are the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.commands import done, one_line, vae, weights_equal
from tests.image_sources import write_images
from vaekit.runs.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("empty_cache", "no_report")

OPTIONS = ("--epochs", 1, "--batch-size", 8, "--set", "evaluation.num_samples=0", "--set", "data.binarize=none")


def write_photos(folder: Path, first: int = 0) -> Path:
    """Twenty images in two classes."""
    return write_images(folder, [f"{'ab'[n % 2]}/{n:02}.png" for n in range(first, first + 20)])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run on ``../photos``, and another that is the current one."""
    write_photos(tmp_path / "photos")
    for name in ("project", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    done("train", "--data", "../photos", *OPTIONS, "--out", "run")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def test_a_relative_path_is_kept_as_it_was_typed_and_found_from_another_folder(project: Path) -> None:
    run = RunFolder(project / "run")
    assert run.recipe.data.name == "../photos"
    assert run.environment["source"] == run.source == str(project.parent / "photos")
    shutil.copytree(project / "run", project.parent / "copy")
    out = done("train", "--resume", "../copy", "--epochs", 2)
    assert "images of photos to train on" in out
    assert len(RunFolder("../copy").history) == 2
    assert len(run.images(split="train")) == 16
    assert (run.images().name, len(run.images())) == ("photos", 4)


def test_a_folder_of_the_same_name_is_not_taken_for_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(project.parent / "else" / "photos", 100)
    (project.parent / "else" / "here").mkdir()
    monkeypatch.chdir(project.parent / "else" / "here")
    done("train", "--resume", project / "run", "--epochs", 2)
    assert len(RunFolder(project / "run").history) == 2


def test_moved_images_are_accepted_by_their_content(project: Path) -> None:
    shutil.copytree(project / "run", project.parent / "stays")
    done("train", "--resume", "../stays", "--epochs", 2)
    (project.parent / "photos").rename(project.parent / "moved")
    line = one_line(vae("train", "--resume", "../project/run", "--epochs", 2), "../photos", "--data")
    assert str(project.parent / "photos") in line
    done("train", "--resume", "../project/run", "--epochs", 2, "--data", "../moved")
    run = RunFolder("../project/run")
    assert (run.recipe.data.name, run.source) == ("../photos", str(project.parent / "moved"))
    assert weights_equal(project / "run", project.parent / "stays")
    done("train", "--resume", "../project/run", "--epochs", 3)  # the new place is remembered
    assert len(run.history) == 3


def test_other_images_elsewhere_are_refused(project: Path) -> None:
    write_photos(project.parent / "other", 1)
    before = (project / "run" / "environment.json").read_bytes()
    for data in ("../other", "digits"):
        one_line(vae("train", "--resume", "../project/run", "--epochs", 2, "--data", data), data, "not the images")
    one_line(vae("train", "--resume", "../project/run", "--epochs", 2, "--data", "../gone"), "../gone")
    assert (project / "run" / "environment.json").read_bytes() == before
    assert len(RunFolder("../project/run").history) == 1


def test_other_labels_are_refused_for_a_conditional_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    done("train", "--data", "photos", *OPTIONS, "--conditional", "--out", "run")
    arrays = RunFolder("run").images(split="train")
    names = sorted(path.name for path in (tmp_path / "photos").rglob("*.png"))
    for n, name in enumerate(sorted(names, key=lambda name: ("ab"[int(name[:2]) % 2], name))):
        target = tmp_path / "other" / f"{'a' if n < 9 else 'b'}/{n:02}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        [source] = (tmp_path / "photos").rglob(name)
        shutil.copy(source, target)
    assert len(arrays) == 16
    one_line(vae("train", "--resume", "run", "--epochs", 2, "--data", "other"), "other", "labels")
    shutil.copytree("photos", "same")
    done("train", "--resume", "run", "--epochs", 2, "--data", "same")


def test_an_array_file_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 256, (20, 5, 7), np.uint8))
    monkeypatch.chdir(tmp_path)
    done("train", "--data", "a.npz", *OPTIONS, "--out", "run")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    done("train", "--resume", "../run", "--epochs", 2)
    assert RunFolder("../run").source == str(tmp_path / "a.npz")


def test_names_and_absolute_paths_are_not_recorded(trained: Path, tmp_path: Path) -> None:
    assert "source" not in RunFolder(trained).environment
    assert RunFolder(trained).source == "digits"
    done("train", "--data", write_photos(tmp_path / "photos"), *OPTIONS, "--out", tmp_path / "run")
    assert "source" not in RunFolder(tmp_path / "run").environment
    assert RunFolder(tmp_path / "run").source == str(tmp_path / "photos")


def test_a_run_without_a_record_is_read_as_before(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / "run" / "environment.json"
    facts = json.loads(path.read_text())
    for recorded in (None, 7, ["a"]):
        path.write_text(json.dumps({key: value for key, value in facts.items() if key != "source"} | {"source": recorded}))
        monkeypatch.chdir(project)
        assert RunFolder("run").source == "../photos"
        assert len(RunFolder("run").images(split="train")) == 16


@pytest.mark.parametrize("command", ["reconstruct", "evaluate", "score"])
def test_a_run_whose_images_are_gone_hints_at_data(command: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent / "elsewhere")
    (project.parent / "photos").rename(project.parent / "moved")
    one_line(vae(command, "../project/run"), "photos", "--data")
    path = project / "run" / "environment.json"  # of an absolute path nothing is recorded, nor by earlier versions
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "source"}))
    one_line(vae(command, "../project/run"), "../photos", "elsewhere now, say where with --data")
    if command != "score":
        assert vae(command, "../project/run", "--data", "../moved", *(["--quick"] * (command == "evaluate"))).code == 0
