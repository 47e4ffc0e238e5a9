"""What is left out of a source is said each time, and is in the metrics; one file does not remove the classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaekit
from tests.commands import QUICK, vae
from vaekit.data import remarks
from vaekit.data.remarks import describe_skipped, skipped_images


def write_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_classes(folder: Path, num: int, *names: str) -> Path:
    for name in names:
        for number in range(num):
            write_image(folder / name / f"{number}.png", number)
    return folder


def loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[vaekit.ImageSet, str]:
    capsys.readouterr()
    images = vaekit.load_images(folder, "train")
    return images, capsys.readouterr().err


def load_as_another_process(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[vaekit.ImageSet, str]:
    monkeypatch.setattr(remarks, "_SAID", set())
    return loaded(folder, capsys)


def test_skipped_images_are_named_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classes(tmp_path / "x", 20, "a", "b")
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG damaged")
    _, first = loaded(folder, capsys)
    _, same_process = loaded(folder, capsys)
    images, later = load_as_another_process(folder, capsys, monkeypatch)
    assert "1 of 41 images left out; a/broken.png" in first
    assert (same_process, later) == ("", first)
    assert [image.name for image in images.skipped] == ["a/broken.png"]
    assert [image["name"] for image in skipped_images(images, images.first(3), None)] == ["a/broken.png"]


def test_skipped_images_are_in_the_metrics(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "x", 20, "a", "b")
    (folder / "b" / "broken.png").write_bytes(b"\x89PNG damaged")
    outcome = vae("train", "digits", "--data", folder, "--out", tmp_path / "run", *QUICK)
    assert outcome.code == 0, outcome.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [image["name"] for image in metrics["skipped"]] == ["b/broken.png"]
    assert describe_skipped(metrics).startswith("1 image of the source could not be read and is left out: b/broken.png: ")
    assert describe_skipped({}) == ""


@pytest.mark.parametrize("num", [2, 3, 10])
def test_one_file_beside_class_folders_removes_no_class(
    num: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_classes(tmp_path / "x", num, "a", "b")
    write_image(folder / "cover.png")
    images, shown = loaded(folder, capsys)
    assert images.class_names == ("a", "b")
    assert "1 image beside the folders of the classes is left out: cover.png" in shown


def test_one_file_beside_the_folder_of_class_folders_removes_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_classes(tmp_path / "x", 5, "photos/a", "photos/b")
    write_image(folder / "cover.png")
    images, shown = loaded(folder, capsys)
    assert images.class_names == ("a", "b")
    assert "1 image beside the folders of the classes is left out: cover.png" in shown


def test_folders_that_are_no_classes_are_said_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classes(tmp_path / "x", 5, "photos/a", "photos/b")
    for number in range(5):
        write_image(folder / f"{number}.png", number)
    images, first = loaded(folder, capsys)
    assert images.labels is None
    assert "5 of 15 images are beside folders" in first
    assert load_as_another_process(folder, capsys, monkeypatch)[1] == first


def test_one_folder_beside_images_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_classes(tmp_path / "x", 12, "more")
    write_image(folder / "cover.png")
    images, shown = loaded(folder, capsys)
    assert (images.labels, len(images), shown) == (None, 10, "")
