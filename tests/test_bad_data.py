"""Data that cannot be used for training: each is an error of one line and exit code 2, and changes nothing."""

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.bad_input import Make, noise, truncate, write_image
from tests.commands import Refuse


def folder_with(name: str, data: bytes | None) -> Make:
    """A folder of five images and one other file, which is a truncated image if ``data`` is None."""

    def make(path: Path) -> None:
        for index in range(5):
            write_image(path / f"image{index}.png")
        (path / name).write_bytes((path / "image0.png").read_bytes()[:60] if data is None else data)

    return make


def text_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no image\n")


def escaping_zip(path: Path) -> None:
    """A zip whose image would be written beside the folder that it is unpacked to."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.png", b"")


def escaping_tar(path: Path) -> None:
    """A tar whose image would be written beside the folder that it is unpacked to."""
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("../evil.png"))


def text_zip(path: Path) -> None:
    """A zip without an image."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")


def truncated_array(name: str, keep: float) -> Make:
    """An array file that is truncated to a share of its size."""

    def make(path: Path) -> None:
        if name.endswith(".npz"):
            np.savez(path, images=noise(20, 8, 8))
        else:
            np.save(path, noise(20, 8, 8))
        truncate(path, keep)

    return make


BAD_DATA: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "empty folder": ("pics", Path.mkdir, ("pics: no images",)),
    "folder of text": ("pics", text_folder, ("pics: no images",)),
    "folder with a file that is not an image": ("pics", folder_with("bad.png", b"hello"), ("pics: ", "bad.png", "image")),
    "folder with a truncated image": ("pics", folder_with("bad.png", None), ("bad.png",)),
    "another kind of file": ("pics.doc", lambda path: path.write_bytes(b"PK"), ("pics.doc", "folder", ".npz", ".zip")),
    "damaged zip": ("pics.zip", lambda path: path.write_bytes(b"PK"), ("pics.zip", "archive")),
    "zip with a path out of it": ("pics.zip", escaping_zip, ("pics.zip", "../evil.png", "outside")),
    "tar with a path out of it": ("pics.tar", escaping_tar, ("pics.tar", "evil.png", "outside")),
    "archive of text": ("pics.zip", text_zip, ("pics.zip: no images",)),
    "damaged parquet": ("a.parquet", lambda path: path.write_bytes(b"PAR1"), ("a.parquet: ", "safely")),
    "list of nothing": ("list.txt", lambda path: path.write_text("# none\n"), ("list", "no images")),
    "list of missing files": (
        "list.txt",
        lambda path: path.write_text("a.png\nb.png\n"),
        ("2 of 2 images", "a.png", "b.png"),
    ),
    "list that is not text": ("list.txt", lambda path: path.write_bytes(b"\xff\xfe\x00\x80"), ("list.txt", "list of files")),
    "array of another shape": (
        "a.npy",
        lambda path: np.save(path, noise(20, 3, 32, 32)),
        ("3x32x32", "3x9x9", "--size 32x32"),
    ),
    "pickled objects": ("a.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True), ("a.npy", "NumPy")),
    "pickled objects in an archive": (
        "a.npz",
        lambda path: np.savez(path, images=np.array([{}], object)),
        ("a.npz", "NumPy"),
    ),
    "truncated array": ("a.npy", truncated_array("a.npy", 0.5), ("a.npy", "NumPy")),
    "array truncated in its header": ("a.npy", truncated_array("a.npy", 0.03), ("a.npy", "NumPy")),
    "empty array file": ("a.npy", truncated_array("a.npy", 0), ("a.npy", "empty")),
    "truncated archive": ("a.npz", truncated_array("a.npz", 0.5), ("a.npz", "NumPy")),
    "empty archive": ("a.npz", truncated_array("a.npz", 0), ("a.npz", "empty")),
    "archive without images": (
        "a.npz",
        lambda path: np.savez(path, faces=noise(20, 8, 8)),
        ("a.npz", "faces", "'images'"),
    ),
    "labels of other images": (
        "a.npz",
        lambda path: np.savez(path, images=noise(20, 8, 8), labels=np.arange(19)),
        ("19 labels", "20 images"),
    ),
    "17 channels": ("a.npy", lambda path: np.save(path, noise(20, 17, 18, 18)), ("a.npy", "(20, 17, 18, 18)")),
    "two axes": ("a.npy", lambda path: np.save(path, noise(20, 64)), ("a.npy", "(20, 64)")),
    "complex numbers": ("a.npy", lambda path: np.save(path, noise(20, 8, 8) * 1j), ("a.npy", "complex128")),
    "not a number": ("a.npy", lambda path: np.save(path, np.full((20, 8, 8), np.nan)), ("a: image 0", "finite")),
    "missing pixels": ("a.npy", lambda path: np.save(path, noise(20, 8, 8) - 3e38), ("a: ", "-3e+38", "data.levels")),
    "no images": ("a.npy", lambda path: np.save(path, noise(0, 8, 8)), ("a.npy: ", "no images")),
    "one image": ("a.npy", lambda path: np.save(path, noise(1, 8, 8)), ("a: one image",)),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_cannot_be_used(case: str, refuse: Refuse, tmp_path: Path) -> None:
    name, make, says = BAD_DATA[case]
    make(tmp_path / name)
    size = ["--size", "9"] if case == "array of another shape" else []
    refuse("train", "--data", name, *size, "--out", "run", says=says)
    refuse("train", "digits", "--data", name, *size, "--out", "run")


def test_array_of_another_shape_than_the_recipe(refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 3, 32, 32))
    says = ("3x32x32", "1x28x28", "--size 32x32 --channels 3")
    refuse("train", "mnist-mlp", "--data", "a.npy", "--out", "run", says=says)


def test_nothing_is_unpickled(refuse: Refuse, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    np.save(tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=np.array([Trap()], object))
    refuse("train", "--data", "a.npy", "--out", "run")
    refuse("train", "--data", "b.npz", "--out", "run")
    assert not (tmp_path / "executed").exists()


def test_conditional_model_of_images_without_labels(refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 8, 8))
    refuse("train", "--data", "a.npy", "--conditional", "--out", "run", says=("a: ", "labels", "--conditional"))


def test_cache_that_cannot_be_written(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "file" / "cache"))
    line = refuse("train", "--out", "run", says=("file/cache: ", "VAEKIT_CACHE"))
    assert "--clear" not in line  # the disk is not full
