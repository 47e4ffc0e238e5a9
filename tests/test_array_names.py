"""The arrays of ``.npz`` files of well-known data sets: which are images, labels and splits, and which are not opened."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import Refuse, done, vae
from tests.hostile_arrays import array, npz
from tests.hostile_files import MARKER, Trap
from vaekit.core.errors import DataError
from vaekit.data import load_images

pytestmark = pytest.mark.usefixtures("empty_cache")

GRAY = np.random.default_rng(0).integers(0, 256, (12, 6, 5), np.uint8)
CLASSES = np.arange(12) % 3


def saved(folder: Path, **arrays: Any) -> Path:
    """A ``.npz`` file of these arrays."""
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def labels(path: Path, split: str = "all") -> list[int] | None:
    """The labels of a split."""
    images = load_images(path, split)
    return None if images.labels is None else images.labels.tolist()


@pytest.mark.parametrize("key", ["images", "image", "imgs", "img", "x", "X", "data", "pixels", "samples", "arr_0", "train"])
def test_names_of_images(key: str, tmp_path: Path) -> None:
    images = load_images(saved(tmp_path, **{key: GRAY}), "all")
    np.testing.assert_array_equal(images.pixels[:, 0].numpy(), GRAY)
    assert images.labels is None


@pytest.mark.parametrize("images", ["images", "x", "data"])
@pytest.mark.parametrize("key", ["labels", "label", "y", "Y", "targets", "target"])
def test_names_of_labels(images: str, key: str, tmp_path: Path) -> None:
    assert labels(saved(tmp_path, **{images: GRAY, key: CLASSES})) == CLASSES.tolist()


@pytest.mark.parametrize(
    ("train_images", "train_labels", "test_images", "test_labels"),
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("trainX", "trainY", "testX", "testY"),
        ("images_train", "labels_train", "images_test", "labels_test"),
        ("training_images", "training_labels", "val_images", "val_labels"),
        ("x_train", "y_train", "x_valid", "y_valid"),
        ("train", "train_labels", "test", "test_labels"),
        ("images", "labels", "test_images", "test_labels"),
    ],
)
def test_names_of_splits(train_images: str, train_labels: str, test_images: str, test_labels: str, tmp_path: Path) -> None:
    arrays = {train_images: GRAY[:8], train_labels: CLASSES[:8], test_images: GRAY[8:], test_labels: CLASSES[8:, None]}
    path = saved(tmp_path, **arrays)
    np.testing.assert_array_equal(load_images(path).pixels[:, 0].numpy(), GRAY[:8])
    np.testing.assert_array_equal(load_images(path, "test").pixels[:, 0].numpy(), GRAY[8:])
    assert (labels(path, "train"), labels(path, "test")) == (CLASSES[:8].tolist(), CLASSES[8:].tolist())


def test_medmnist_with_all_of_its_splits(tmp_path: Path) -> None:
    arrays = {f"{split}_images": GRAY[:4] + n for n, split in enumerate(("train", "val", "test"))}
    arrays |= {f"{split}_labels": CLASSES[:4, None] for split in ("train", "val", "test")}
    out = done("data", saved(tmp_path, **arrays), "-o", tmp_path / "x.png").splitlines()
    assert [line for line in out if line.endswith("images, gray")] == [
        "train: 4 images, gray",
        "validation: 4 images, gray",
        "test: 4 images, gray",
    ]
    np.testing.assert_array_equal(load_images(tmp_path / "set.npz", "test").pixels[:, 0].numpy(), GRAY[:4] + 2)


def test_a_needless_pickled_array_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That of dSprites cannot even be unpickled by newer versions of NumPy."""
    trap = Trap(tmp_path)
    np.savez(tmp_path / "pickled.npz", metadata=np.array([trap], object))
    members = {"imgs": array(GRAY), "latents_classes": array(np.zeros((12, 6), np.int64))}
    with np.load(tmp_path / "pickled.npz") as file:
        metadata = file.zip.read("metadata.npy")
    (tmp_path / "dsprites.npz").write_bytes(npz(metadata=metadata, **members))
    images = load_images(tmp_path / "dsprites.npz", "all")
    np.testing.assert_array_equal(images.pixels[:, 0].numpy(), GRAY)
    assert images.labels is None
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("reads imgs; leaves out metadata: it holds Python objects, latents_classes")
    assert not list(tmp_path.glob(f"{MARKER}*"))


def test_pickled_images_and_labels_are_refused(tmp_path: Path) -> None:
    for arrays in ({"images": GRAY.astype(object)}, {"images": GRAY, "labels": CLASSES.astype(object)}):
        with pytest.raises(DataError, match=r"set.npz: .*Python objects"):
            load_images(saved(tmp_path, **arrays), "all")


def test_of_several_images_those_with_the_shape_of_images_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The digits of scikit-learn, saved with all their fields."""
    path = saved(tmp_path, data=GRAY.reshape(12, -1), images=GRAY, target=CLASSES, x=GRAY.reshape(12, -1))
    np.testing.assert_array_equal(load_images(path, "all").pixels[:, 0].numpy(), GRAY)
    assert labels(path) == CLASSES.tolist()
    assert "leaves out data, x" in capsys.readouterr().err
    path = saved(tmp_path, images=GRAY.reshape(12, -1), x=GRAY)
    np.testing.assert_array_equal(load_images(path, "all").pixels[:, 0].numpy(), GRAY)


def test_labels_that_belong_to_the_images_come_first(tmp_path: Path) -> None:
    assert labels(saved(tmp_path, x=GRAY, y=CLASSES, labels=CLASSES[::-1])) == CLASSES.tolist()
    assert labels(saved(tmp_path, images=GRAY, y=CLASSES[::-1], labels=CLASSES)) == CLASSES.tolist()


def test_arrays_without_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", GRAY, CLASSES)
    assert labels(tmp_path / "two.npz") == CLASSES.tolist()
    np.savez(tmp_path / "other.npz", GRAY, GRAY[:3])
    assert labels(tmp_path / "other.npz") is None


def test_one_hot_labels(tmp_path: Path) -> None:
    assert labels(saved(tmp_path, images=GRAY, labels=np.eye(3)[CLASSES])) == CLASSES.tolist()
    images = load_images(saved(tmp_path, images=GRAY[:6], labels=np.eye(3, dtype=bool)[CLASSES[:6]]), "all")
    assert images.classes == ("0", "1", "2")


def test_several_labels_for_each_image_are_left_out_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ChestMNIST has 14 findings for each image."""
    images = load_images(saved(tmp_path, train_images=GRAY, train_labels=np.ones((12, 14), np.uint8)), "all")
    assert (len(images), images.labels) == (12, None)
    assert "train_labels holds 14 values for each image" in capsys.readouterr().err


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set.npz: 5 labels for 12 images"):
        load_images(saved(tmp_path, images=GRAY, label=CLASSES[:5]), "all")


def test_a_mean_beside_the_splits_is_no_split(tmp_path: Path) -> None:
    path = saved(tmp_path, x_train=GRAY, x_mean=GRAY.mean(), y_train=CLASSES, test=np.array([0, 1]))
    assert vae("data", path, "-o", tmp_path / "x.png").out.startswith("train: 12 images")
    assert len(load_images(path, "all")) == 12


def test_unknown_names_are_listed(tmp_path: Path, refuse: Refuse) -> None:
    saved(tmp_path, faces=GRAY, names=CLASSES)
    refuse("data", "set.npz", says=("set.npz: holds faces, names", "'images'"))
